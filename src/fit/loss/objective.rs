//! Runs as the solver sees them: logarithms about their means, and the objective with its slopes.
//!
//! A law of loss tells value and slopes by [`Form`]. Works in `n = ln N − mean`, `d = ln D − mean`, so that the units of N and D cannot matter. Refuses to search.

use crate::fit::design::{CONFIGURATIONS_MIN, VALUES_MIN};
use crate::fit::loss::chinchilla::{HUBER_DELTA, Objective};
use crate::fit::loss::forms::Surface;

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    /// ln N − its mean.
    pub(crate) n: f64,
    /// ln D − its mean.
    pub(crate) d: f64,
    /// ln D itself, for laws whose constants depend on the unit of tokens.
    pub(crate) ln_tokens: f64,
}

/// A law of loss as the solver sees it: K numbers to move, about the geometric means of N and D.
pub(crate) trait Form<const K: usize>: Surface {
    /// What value and slopes share, so that powers are taken once.
    type Terms: Copy;
    /// Exponents that are no knowledge at an end of their range, with their places.
    const BOUNDED: &'static [(&'static str, usize)];
    /// The place of the irreducible loss.
    const FLOOR: Option<usize>;
    /// Sizes that differ, and configurations, at least.
    const DESIGN_MIN: [usize; 2] = [VALUES_MIN, CONFIGURATIONS_MIN];

    fn terms(theta: &[f64; K], spot: Spot) -> Self::Terms;

    fn predicted(theta: &[f64; K], terms: &Self::Terms) -> f64;

    /// What size and what data add to the loss, as far as the law keeps them apart.
    fn parts(theta: &[f64; K], terms: &Self::Terms) -> [f64; 2];

    /// The slopes of the loss, times `scale`.
    fn gradient(theta: &[f64; K], terms: &Self::Terms, spot: Spot, scale: f64) -> [f64; K];

    /// Adds the second derivatives of the loss, times `scale` and `second`, to the lower triangle.
    fn add_bend(
        theta: &[f64; K],
        terms: &Self::Terms,
        spot: Spot,
        scale: f64,
        second: f64,
        hessian: &mut [[f64; K]; K],
    );

    /// The range in which each number is searched.
    fn limits(table: &ObjectiveTable) -> [(f64, f64); K];

    /// Where the search begins.
    fn starts(table: &ObjectiveTable) -> Vec<[f64; K]>;

    /// The law in parameters and tokens; `centre` holds the means of ln N and ln D.
    fn law(theta: &[f64; K], centre: (f64, f64)) -> Self;
}

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

    /// The same rows under least squares.
    pub(crate) fn by_least_squares(&self) -> Self {
        Self {
            objective: Objective::LeastSquares,
            ..self.clone()
        }
    }

    pub(crate) fn objective(&self) -> Objective {
        self.objective
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.n.len()
    }

    /// The means of ln N and ln D.
    pub(crate) fn centre(&self) -> (f64, f64) {
        self.centre
    }

    fn spot(&self, i: usize) -> Spot {
        Spot {
            n: self.n[i],
            d: self.d[i],
            ln_tokens: self.d[i] + self.centre.1,
        }
    }

    /// The loss that the law gives for row `i`.
    pub(crate) fn predicted<F: Form<K>, const K: usize>(&self, theta: &[f64; K], i: usize) -> f64 {
        F::predicted(theta, &F::terms(theta, self.spot(i)))
    }

    /// The slopes of ln loss at row `i`.
    pub(crate) fn log_gradient<F: Form<K>, const K: usize>(&self, theta: &[f64; K], i: usize) -> [f64; K] {
        let terms = F::terms(theta, self.spot(i));
        F::gradient(theta, &terms, self.spot(i), 1.0 / F::predicted(theta, &terms))
    }

    /// The residual that the objective looks at: in log loss for Huber, in loss for least squares.
    pub(crate) fn residual<F: Form<K>, const K: usize>(&self, theta: &[f64; K], i: usize) -> f64 {
        match self.objective {
            Objective::Huber => self.predicted::<F, K>(theta, i).ln() - self.ln_loss[i],
            Objective::LeastSquares => self.predicted::<F, K>(theta, i) - self.loss[i],
        }
    }

    /// The largest share of the loss that the size term and the data term reach on any row.
    pub(crate) fn largest_shares<F: Form<K>, const K: usize>(&self, theta: &[f64; K]) -> (f64, f64) {
        (0..self.len()).fold((0.0, 0.0), |(size_share, data_share), i| {
            let [size, data] = F::parts(theta, &F::terms(theta, self.spot(i)));
            (
                f64::max(size_share, size / self.loss[i]),
                f64::max(data_share, data / self.loss[i]),
            )
        })
    }

    /// The objective at `theta`, each row with its weight; the Huber sum is that of the papers, least squares
    /// is the sum of squares.
    pub(crate) fn value<F: Form<K>, const K: usize>(&self, theta: &[f64; K]) -> f64 {
        let sum: f64 = (0..self.len())
            .map(|i| self.weight[i] * self.rho(self.residual::<F, K>(theta, i)))
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

    /// The smallest and the largest loss.
    fn losses(&self) -> (f64, f64) {
        self.loss.iter().fold((f64::INFINITY, 0.0), |(low, high), &loss| {
            (f64::min(low, loss), f64::max(high, loss))
        })
    }

    /// The range of an irreducible loss.
    pub(crate) fn floor_limits(&self) -> (f64, f64) {
        (0.0, self.losses().1)
    }

    /// The range of the logarithm of a term at the mean of its variable: between a billionth of the loss and twenty
    /// times the largest.
    pub(crate) fn term_limits(&self) -> (f64, f64) {
        let (low, high) = self.losses();
        (low.ln() - 20.0, high.ln() + 3.0)
    }
}

/// The objective's shape at one point.
pub(crate) struct Slopes<const K: usize> {
    /// The sum of `rho`.
    pub(crate) value: f64,
    pub(crate) gradient: [f64; K],
    pub(crate) hessian: [[f64; K]; K],
    /// The Gauss-Newton matrix with the weights of iteratively reweighted least squares: positive, and steeper
    /// than the Hessian where residuals are large.
    pub(crate) majorant: [[f64; K]; K],
}

impl ObjectiveTable {
    /// Value, gradient, Hessian and majorant in one pass over the rows.
    pub(crate) fn shape<F: Form<K>, const K: usize>(&self, theta: &[f64; K]) -> Slopes<K> {
        let mut shape = Slopes {
            value: 0.0,
            gradient: [0.0; K],
            hessian: [[0.0; K]; K],
            majorant: [[0.0; K]; K],
        };
        for i in 0..self.len() {
            let weight = self.weight[i];
            if weight == 0.0 {
                continue;
            }
            let spot = self.spot(i);
            let terms = F::terms(theta, spot);
            let predicted = F::predicted(theta, &terms);
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
            let g = F::gradient(theta, &terms, spot, scale);
            shape.value += weight * self.rho(r);
            for j in 0..K {
                shape.gradient[j] += weight * slope * g[j];
                let (h, m) = (weight * outer * g[j], weight * relative_weight * g[j]);
                for (k, &other) in g.iter().enumerate().take(j + 1) {
                    shape.hessian[j][k] += h * other;
                    shape.majorant[j][k] += m * other;
                }
            }
            F::add_bend(theta, &terms, spot, scale, weight * slope, &mut shape.hessian);
        }
        for j in 0..K {
            for k in 0..j {
                shape.hessian[k][j] = shape.hessian[j][k];
                shape.majorant[k][j] = shape.majorant[j][k];
            }
        }
        shape
    }
}
