//! Runs as the solver sees them: logarithms about their means, and the objective with its slopes.
//!
//! Works in `n = ln N − mean`, `d = ln D − mean`, so that the units of N and D cannot matter. Refuses to search.

use crate::fit::loss::chinchilla::{EXPONENT_RANGE, HUBER_DELTA, Law, Objective};

/// The constants that the solver moves: E, ln A', α, ln B', β; A' and B' are the terms at the geometric mean of
/// N and of D.
pub(crate) type Theta = [f64; 5];

/// Places in [`Theta`].
pub(crate) const E: usize = 0;
pub(crate) const LN_A: usize = 1;
pub(crate) const ALPHA: usize = 2;
pub(crate) const LN_B: usize = 3;
pub(crate) const BETA: usize = 4;

/// A table in normalised logarithms, with a weight for each row.
#[derive(Debug, Clone)]
pub(crate) struct ObjectiveTable {
    /// ln N − its mean.
    pub(crate) n: Vec<f64>,
    /// ln D − its mean.
    pub(crate) d: Vec<f64>,
    pub(crate) loss: Vec<f64>,
    ln_loss: Vec<f64>,
    /// How much each row counts.
    pub(crate) weight: Vec<f64>,
    /// The means of ln N and ln D.
    centre: (f64, f64),
    objective: Objective,
}

impl ObjectiveTable {
    /// A table of (params, tokens, loss), all rows of weight one.
    pub(crate) fn new(rows: &[(f64, f64, f64)], objective: Objective) -> Self {
        let count = rows.len() as f64;
        let centre_n = rows.iter().map(|r| r.0.ln()).sum::<f64>() / count;
        let centre_d = rows.iter().map(|r| r.1.ln()).sum::<f64>() / count;
        Self {
            n: rows.iter().map(|r| r.0.ln() - centre_n).collect(),
            d: rows.iter().map(|r| r.1.ln() - centre_d).collect(),
            loss: rows.iter().map(|r| r.2).collect(),
            ln_loss: rows.iter().map(|r| r.2.ln()).collect(),
            weight: vec![1.0; rows.len()],
            centre: (centre_n, centre_d),
            objective,
        }
    }

    /// The same rows with other weights (bootstrap over configurations).
    pub(crate) fn set_weights(&mut self, weights: impl Iterator<Item = f64>) {
        for (slot, weight) in self.weight.iter_mut().zip(weights) {
            *slot = weight;
        }
    }

    /// The same rows with other losses (bootstrap of residuals).
    pub(crate) fn set_losses(&mut self, losses: impl Iterator<Item = f64>) {
        for ((slot, ln_slot), loss) in self.loss.iter_mut().zip(&mut self.ln_loss).zip(losses) {
            *slot = loss;
            *ln_slot = loss.ln();
        }
    }

    pub(crate) fn objective(&self) -> Objective {
        self.objective
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.n.len()
    }

    /// The constants in parameters and tokens.
    pub(crate) fn law(&self, theta: &Theta) -> Law {
        Law {
            e: theta[E],
            a: theta[ALPHA].mul_add(self.centre.0, theta[LN_A]).exp(),
            alpha: theta[ALPHA],
            b: theta[BETA].mul_add(self.centre.1, theta[LN_B]).exp(),
            beta: theta[BETA],
        }
    }

    /// The two reducible terms of row `i`.
    fn terms(&self, theta: &Theta, i: usize) -> (f64, f64) {
        (
            (theta[LN_A] - theta[ALPHA] * self.n[i]).exp(),
            (theta[LN_B] - theta[BETA] * self.d[i]).exp(),
        )
    }

    /// The loss that the law gives for row `i`.
    pub(crate) fn predicted(&self, theta: &Theta, i: usize) -> f64 {
        let (size, data) = self.terms(theta, i);
        theta[E] + size + data
    }

    /// The residual that the objective looks at: in log loss for Huber, in loss for least squares.
    pub(crate) fn residual(&self, theta: &Theta, i: usize) -> f64 {
        match self.objective {
            Objective::Huber => self.predicted(theta, i).ln() - self.ln_loss[i],
            Objective::LeastSquares => self.predicted(theta, i) - self.loss[i],
        }
    }

    /// The largest share of the loss that the size term and the data term reach on any row.
    pub(crate) fn largest_shares(&self, theta: &Theta) -> (f64, f64) {
        (0..self.len()).fold((0.0, 0.0), |(size_share, data_share), i| {
            let (size, data) = self.terms(theta, i);
            (
                f64::max(size_share, size / self.loss[i]),
                f64::max(data_share, data / self.loss[i]),
            )
        })
    }

    /// The objective at `theta`, each row with its weight; the Huber sum is that of the papers, least squares
    /// is the sum of squares.
    pub(crate) fn value(&self, theta: &Theta) -> f64 {
        let sum: f64 = (0..self.len())
            .map(|i| self.weight[i] * self.rho(self.residual(theta, i)))
            .sum();
        match self.objective {
            Objective::Huber => sum,
            // `rho` is half a square, so that its derivative is the residual.
            Objective::LeastSquares => 2.0 * sum,
        }
    }

    /// What one residual costs.
    pub(crate) fn rho(&self, r: f64) -> f64 {
        match self.objective {
            Objective::Huber if r.abs() > HUBER_DELTA => HUBER_DELTA * (r.abs() - 0.5 * HUBER_DELTA),
            Objective::Huber | Objective::LeastSquares => 0.5 * r * r,
        }
    }

    /// The range in which each constant is searched.
    pub(crate) fn limits(&self) -> [(f64, f64); 5] {
        let (low, high) = self.loss.iter().fold((f64::INFINITY, 0.0), |(low, high), &loss| {
            (f64::min(low, loss), f64::max(high, loss))
        });
        // A term at the mean of its variable is between a billionth of the loss and twenty times the largest.
        let term = (low.ln() - 20.0, high.ln() + 3.0);
        [(0.0, high), term, EXPONENT_RANGE, term, EXPONENT_RANGE]
    }
}

/// The objective's shape at one point.
pub(crate) struct Slopes {
    /// The sum of `rho`.
    pub(crate) value: f64,
    pub(crate) gradient: Theta,
    pub(crate) hessian: [[f64; 5]; 5],
    /// The Gauss-Newton matrix with the weights of iteratively reweighted least squares: positive, and steeper
    /// than the Hessian where residuals are large.
    pub(crate) majorant: [[f64; 5]; 5],
}

impl ObjectiveTable {
    /// Value, gradient, Hessian and majorant in one pass over the rows.
    pub(crate) fn shape(&self, theta: &Theta) -> Slopes {
        let mut shape = Slopes {
            value: 0.0,
            gradient: [0.0; 5],
            hessian: [[0.0; 5]; 5],
            majorant: [[0.0; 5]; 5],
        };
        for i in 0..self.len() {
            let weight = self.weight[i];
            if weight == 0.0 {
                continue;
            }
            let (size, data) = self.terms(theta, i);
            let predicted = theta[E] + size + data;
            let (r, scale) = match self.objective {
                Objective::Huber => (predicted.ln() - self.ln_loss[i], 1.0 / predicted),
                Objective::LeastSquares => (predicted - self.loss[i], 1.0),
            };
            let outside = self.objective == Objective::Huber && r.abs() > HUBER_DELTA;
            let (slope, bend, relative_weight) = if outside {
                (HUBER_DELTA.copysign(r), 0.0, HUBER_DELTA / r.abs())
            } else {
                (r, 1.0, 1.0)
            };
            // ∇² ln p = ∇²p / p − ∇ln p ∇ln pᵀ; of p itself there is only the first part.
            let outer = match self.objective {
                Objective::Huber => bend - slope,
                Objective::LeastSquares => bend,
            };
            let (n, d) = (self.n[i], self.d[i]);
            let (size, data) = (size * scale, data * scale);
            let g = [scale, size, -n * size, data, -d * data];
            shape.value += weight * self.rho(r);
            for j in 0..5 {
                shape.gradient[j] += weight * slope * g[j];
                let (h, m) = (weight * outer * g[j], weight * relative_weight * g[j]);
                for (k, &other) in g.iter().enumerate().take(j + 1) {
                    shape.hessian[j][k] += h * other;
                    shape.majorant[j][k] += m * other;
                }
            }
            let second = weight * slope;
            shape.hessian[LN_A][LN_A] += second * size;
            shape.hessian[ALPHA][LN_A] -= second * n * size;
            shape.hessian[ALPHA][ALPHA] += second * n * n * size;
            shape.hessian[LN_B][LN_B] += second * data;
            shape.hessian[BETA][LN_B] -= second * d * data;
            shape.hessian[BETA][BETA] += second * d * d * data;
        }
        for j in 0..5 {
            for k in 0..j {
                shape.hessian[k][j] = shape.hessian[j][k];
                shape.majorant[k][j] = shape.majorant[j][k];
            }
        }
        shape
    }
}
