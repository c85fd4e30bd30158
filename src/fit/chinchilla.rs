//! The law `L(N, D) = E + A / N^α + B / D^β` and its solver (Hoffmann et al., 2203.15556, approach 3; MiniCPM 4.5).
//!
//! Inside, N and D are divided by their geometric means, so that the answer does not depend on their units. Starts come
//! from variable projection (for given exponents the rest is linear and non-negative); all five parameters are then
//! polished together by Levenberg and Marquardt's method with Huber's weights. Every step lowers the objective.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::fit::small::{non_negative, solve};

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Sum of Huber's function of the error of log loss, δ = [`HUBER_DELTA`].
    Huber,
    /// Sum of squared errors of the loss.
    LeastSquares,
}

/// Where Huber's function turns from a parabola into lines (Hoffmann et al.).
pub const HUBER_DELTA: f64 = 1e-3;

/// Exponents outside of this are taken for a sign that there is no power law.
pub const EXPONENT_BOUNDS: [f64; 2] = [0.01, 3.0];

/// The five parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// Irreducible loss.
    pub e: f64,
    /// Coefficient of the size.
    pub a: f64,
    /// Exponent of the size.
    pub alpha: f64,
    /// Coefficient of the tokens.
    pub b: f64,
    /// Exponent of the tokens.
    pub beta: f64,
}

impl Law {
    /// The loss at a size and a number of tokens.
    pub fn loss(&self, params: f64, tokens: f64) -> f64 {
        self.e + self.a / params.powf(self.alpha) + self.b / tokens.powf(self.beta)
    }

    /// The size and tokens with the least loss for `C = 6 N D` (Hoffmann et al., equation 4).
    pub fn optimum(&self, flops: f64) -> (f64, f64) {
        let g = (self.alpha * self.a / (self.beta * self.b)).powf(1.0 / (self.alpha + self.beta));
        let params = g * (flops / 6.0).powf(self.beta / (self.alpha + self.beta));
        (params, flops / 6.0 / params)
    }

    /// The tokens that are compute-optimal for a size: those for which [`Law::optimum`] would choose it.
    pub fn optimal_tokens(&self, params: f64) -> f64 {
        let g = (self.alpha * self.a / (self.beta * self.b)).powf(1.0 / (self.alpha + self.beta));
        let flops = 6.0 * (params / g).powf((self.alpha + self.beta) / self.beta);
        flops / 6.0 / params
    }
}

/// One weighted row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Parameters.
    pub params: f64,
    /// Tokens.
    pub tokens: f64,
    /// Loss.
    pub loss: f64,
    /// How often it counts.
    pub weight: f64,
}

/// How a solution was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No further step lowers the objective.
    Converged,
    /// An exponent stands at its bound.
    AtBound,
    /// The objective hardly changes along some direction, or the steps ran out.
    Flat,
}

/// A solution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solution {
    /// The parameters.
    pub law: Law,
    /// Value of the objective.
    pub objective: f64,
    /// How it was reached.
    pub status: Status,
}

/// ln A', ln B', ln E, α, β of the normalised problem.
type Theta = [f64; 5];

/// ln E below this is zero for all purposes.
const LN_E_LEAST: f64 = -14.0;
const STEPS_MAX: usize = 3000;
/// Relative decrease of the objective below which the point fit stops.
const TOLERANCE: f64 = 1e-13;
/// The same for a resample, which starts at the point fit and needs no more than its own noise.
const TOLERANCE_RESAMPLE: f64 = 1e-7;
/// Starts that are polished.
const STARTS: usize = 6;

/// The problem with N and D divided by their geometric means.
struct Problem {
    objective: Objective,
    /// ln(N / N0), ln(D / D0), loss, ln loss, weight.
    rows: Vec<[f64; 5]>,
    ln_n0: f64,
    ln_d0: f64,
}

impl Problem {
    fn new(rows: &[Row], objective: Objective) -> Self {
        // Sums depend on their order in the last bits; sorted rows make the answer blind to it.
        let mut rows = rows.to_vec();
        let key = |row: &Row| [row.params, row.tokens, row.loss, row.weight];
        rows.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(Ordering::Equal));
        let total: f64 = rows.iter().map(|row| row.weight).sum();
        let mean = |value: fn(&Row) -> f64| rows.iter().map(|row| row.weight * value(row).ln()).sum::<f64>() / total;
        let (ln_n0, ln_d0) = (mean(|row| row.params), mean(|row| row.tokens));
        let prepare = |row: &Row| {
            [
                row.params.ln() - ln_n0,
                row.tokens.ln() - ln_d0,
                row.loss,
                row.loss.ln(),
                row.weight,
            ]
        };
        Self {
            objective,
            rows: rows.iter().map(prepare).collect(),
            ln_n0,
            ln_d0,
        }
    }

    fn value(&self, theta: &Theta) -> f64 {
        let [ln_a, ln_b, ln_e, alpha, beta] = *theta;
        let e = ln_e.exp();
        self.rows
            .iter()
            .map(|&[n, d, loss, ln_loss, weight]| {
                let predicted = e + (ln_a - alpha * n).exp() + (ln_b - beta * d).exp();
                weight
                    * match self.objective {
                        Objective::LeastSquares => (predicted - loss).powi(2),
                        Objective::Huber => huber(predicted.ln() - ln_loss),
                    }
            })
            .sum()
    }

    /// Gradient and Gauss-Newton matrix of the objective, with Huber's weights.
    fn normal(&self, theta: &Theta) -> ([[f64; 5]; 5], Theta) {
        let [ln_a, ln_b, ln_e, alpha, beta] = *theta;
        let e = ln_e.exp();
        let mut matrix = [[0.0; 5]; 5];
        let mut gradient = [0.0; 5];
        for &[n, d, loss, ln_loss, weight] in &self.rows {
            let (of_n, of_d) = ((ln_a - alpha * n).exp(), (ln_b - beta * d).exp());
            let predicted = e + of_n + of_d;
            let (residual, scale, weight) = match self.objective {
                Objective::LeastSquares => (predicted - loss, 1.0, weight),
                Objective::Huber => {
                    let residual = predicted.ln() - ln_loss;
                    let huber_weight = if residual.abs() <= HUBER_DELTA {
                        1.0
                    } else {
                        HUBER_DELTA / residual.abs()
                    };
                    (residual, 1.0 / predicted, weight * huber_weight)
                }
            };
            let slopes = [
                of_n * scale,
                of_d * scale,
                e * scale,
                -n * of_n * scale,
                -d * of_d * scale,
            ];
            for i in 0..5 {
                gradient[i] += weight * residual * slopes[i];
                for j in 0..=i {
                    matrix[i][j] += weight * slopes[i] * slopes[j];
                }
            }
        }
        for i in 0..5 {
            for j in i + 1..5 {
                matrix[i][j] = matrix[j][i];
            }
        }
        (matrix, gradient)
    }

    /// The linear parameters for given exponents, on relative errors: nearly what the errors of log loss are.
    fn project(&self, alpha: f64, beta: f64) -> Option<Theta> {
        let mut gram = [[0.0; 3]; 3];
        let mut right = [0.0; 3];
        for &[n, d, loss, _, weight] in &self.rows {
            let scale = match self.objective {
                Objective::LeastSquares => 1.0,
                Objective::Huber => 1.0 / loss,
            };
            let columns = [scale, (-alpha * n).exp() * scale, (-beta * d).exp() * scale];
            for i in 0..3 {
                right[i] += weight * columns[i] * loss * scale;
                for j in 0..3 {
                    gram[i][j] += weight * columns[i] * columns[j];
                }
            }
        }
        let [e, a, b] = non_negative(&gram, &right)?;
        let ln = |value: f64| value.max(1e-9).ln();
        Some([ln(a), ln(b), ln(e).max(LN_E_LEAST), alpha, beta])
    }

    /// The best starts of a grid of exponents.
    fn starts(&self) -> Vec<Theta> {
        const EXPONENTS: [f64; 12] = [0.03, 0.06, 0.1, 0.16, 0.24, 0.33, 0.43, 0.55, 0.75, 1.0, 1.5, 2.2];
        let mut found: Vec<(f64, Theta)> = EXPONENTS
            .iter()
            .flat_map(|&alpha| EXPONENTS.iter().map(move |&beta| (alpha, beta)))
            .filter_map(|(alpha, beta)| self.project(alpha, beta))
            .map(|theta| (self.value(&theta), theta))
            .collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.into_iter().take(STARTS).map(|(_, theta)| theta).collect()
    }

    /// Goes down from a start; says whether it arrived.
    fn polish(&self, start: Theta, tolerance: f64) -> (Theta, f64, bool) {
        let mut theta = start;
        let mut value = self.value(&theta);
        let mut damping = 1e-3;
        let mut quiet = 0;
        for _ in 0..STEPS_MAX {
            let (matrix, gradient) = self.normal(&theta);
            let Some((next, next_value)) = self.step(&theta, value, &matrix, &gradient, &mut damping) else {
                return (theta, value, true);
            };
            let decrease = value - next_value;
            (theta, value) = (next, next_value);
            // One short step can be an accident of the damping; several are the end.
            quiet = if decrease <= tolerance * value { quiet + 1 } else { 0 };
            if quiet >= 5 || value < 1e-26 {
                return (theta, value, true);
            }
        }
        (theta, value, false)
    }

    /// One step that lowers the objective; none where no damping finds one.
    fn step(
        &self,
        theta: &Theta,
        value: f64,
        matrix: &[[f64; 5]; 5],
        gradient: &Theta,
        damping: &mut f64,
    ) -> Option<(Theta, f64)> {
        for _ in 0..40 {
            let mut damped = *matrix;
            for (i, row) in damped.iter_mut().enumerate() {
                row[i] += *damping * row[i] + 1e-300;
            }
            if let Some(change) = solve(&damped, &gradient.map(|g| -g)) {
                let next = bounded(std::array::from_fn(|i| theta[i] + change[i]));
                let next_value = self.value(&next);
                if next_value < value {
                    *damping = (*damping * 0.2).max(1e-12);
                    return Some((next, next_value));
                }
            }
            *damping *= 5.0;
            if *damping > 1e12 {
                return None;
            }
        }
        None
    }

    fn solution(&self, theta: &Theta, objective: f64, arrived: bool) -> Solution {
        let [ln_a, ln_b, ln_e, alpha, beta] = *theta;
        let at_bound = [alpha, beta]
            .iter()
            .any(|x| *x <= EXPONENT_BOUNDS[0] * 1.001 || *x >= EXPONENT_BOUNDS[1] * 0.999);
        let status = match (at_bound, arrived) {
            (true, _) => Status::AtBound,
            (false, true) => Status::Converged,
            (false, false) => Status::Flat,
        };
        let e = if ln_e <= LN_E_LEAST { 0.0 } else { ln_e.exp() };
        let law = Law {
            e,
            a: (ln_a + alpha * self.ln_n0).exp(),
            alpha,
            b: (ln_b + beta * self.ln_d0).exp(),
            beta,
        };
        Solution { law, objective, status }
    }
}

fn bounded(theta: Theta) -> Theta {
    let [ln_a, ln_b, ln_e, alpha, beta] = theta;
    let [least, most] = EXPONENT_BOUNDS;
    [
        ln_a,
        ln_b,
        ln_e.max(LN_E_LEAST),
        alpha.clamp(least, most),
        beta.clamp(least, most),
    ]
}

fn huber(residual: f64) -> f64 {
    let size = residual.abs();
    if size <= HUBER_DELTA {
        0.5 * size * size
    } else {
        HUBER_DELTA * (size - 0.5 * HUBER_DELTA)
    }
}

/// Fits the law; the rows must have at least three sizes and three budgets, all numbers positive.
pub fn fit(rows: &[Row], objective: Objective) -> Solution {
    let problem = Problem::new(rows, objective);
    let best = problem
        .starts()
        .into_iter()
        .map(|start| problem.polish(start, TOLERANCE))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or(([0.0, 0.0, 0.0, 0.5, 0.5], f64::INFINITY, false));
    problem.solution(&best.0, best.1, best.2)
}

/// Fits a resample, from the fit of all rows.
pub fn refit(rows: &[Row], objective: Objective, near: &Law) -> Solution {
    let problem = Problem::new(rows, objective);
    let start = [
        near.a.ln() - near.alpha * problem.ln_n0,
        near.b.ln() - near.beta * problem.ln_d0,
        near.e.max(1e-6).ln(),
        near.alpha,
        near.beta,
    ];
    let (theta, value, arrived) = problem.polish(bounded(start), TOLERANCE_RESAMPLE);
    problem.solution(&theta, value, arrived)
}

#[cfg(test)]
mod tests;
