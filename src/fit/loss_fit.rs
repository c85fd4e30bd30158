//! A fitted law of loss: what is kept of it, and what it says elsewhere.
//!
//! Refuses to know how it was fitted: a stored fit predicts the same as a fresh one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::chinchilla::{Law, Objective, Status};
use crate::fit::statistics::quantile;
use crate::fit::{Estimate, Warning};

/// A fitted law of loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossFit {
    /// `chinchilla`.
    pub law: String,
    /// How the solution was reached.
    pub status: Status,
    /// Runs that entered.
    pub n: usize,
    /// Which N.
    pub convention: String,
    /// What was minimised, and its value.
    pub objective: ObjectiveValue,
    /// The parameters by name: E, A, alpha, B, beta.
    pub parameters: BTreeMap<String, Estimate>,
    /// Exponents of the compute-optimal N and D in C.
    pub allocation: BTreeMap<String, Estimate>,
    /// How well runs were predicted that the fit had not seen.
    pub hold_out: Option<HoldOutResult>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
    /// Sizes and tokens that were seen: the border of extrapolation.
    pub seen: Seen,
    /// Standard deviation of the errors of log loss.
    pub noise: f64,
    /// What a miss grows by with each factor e beyond the seen sizes or tokens, as a standard deviation of log loss.
    pub widening: Option<f64>,
    /// Each run with its predicted and its measured loss.
    pub residuals: Vec<Residual>,
    /// The resampled laws.
    pub draws: Vec<Law>,
}

/// What was minimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveValue {
    /// Which.
    pub kind: Objective,
    /// Huber's δ.
    pub delta: Option<f64>,
    /// Its value at the solution.
    pub value: f64,
}

/// The ranges of the runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Smallest and largest N.
    pub params: [f64; 2],
    /// Smallest and largest D.
    pub tokens: [f64; 2],
    /// Largest `6 N D`.
    pub flops_max: f64,
    /// Sizes that differ by more than 2 %.
    pub sizes: usize,
}

/// How well held-out runs were predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HoldOutResult {
    /// `params` or `flops`.
    pub by: String,
    /// Above what.
    pub above: f64,
    /// Runs that were held out.
    pub n: usize,
    /// Mean of |predicted / measured − 1|.
    pub mean_abs_rel_error: f64,
    /// Share of them inside the 95 % interval for a new run; none without resamples.
    pub covered: Option<f64>,
}

/// One run against the law.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// The run.
    pub label: String,
    /// N.
    pub params: f64,
    /// D.
    pub tokens: f64,
    /// Measured loss.
    pub measured: f64,
    /// Predicted loss.
    pub predicted: f64,
}

/// A predicted loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Of the law.
    pub mean: f64,
    /// 95 % interval of the mean of many runs.
    pub ci95_mean: Option<[f64; 2]>,
    /// 95 % interval of one new run.
    pub ci95_new_run: Option<[f64; 2]>,
}

/// How far beyond the seen runs a point lies, as factors; 1 inside.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extrapolation {
    /// In N.
    pub params: f64,
    /// In D.
    pub tokens: f64,
    /// In `6 N D`.
    pub flops: f64,
}

impl LossFit {
    /// The fitted law.
    pub fn point(&self) -> Law {
        let value = |name: &str| self.parameters[name].value;
        Law {
            e: value("E"),
            a: value("A"),
            alpha: value("alpha"),
            b: value("B"),
            beta: value("beta"),
        }
    }

    /// The loss at a size and a number of tokens, with intervals.
    ///
    /// The interval of the mean is that of the resamples, widened beyond the seen runs by the misses of the rolling
    /// hold-out; that of a new run adds the noise of a run. Widths add as standard deviations of log loss do.
    pub fn predict(&self, params: f64, tokens: f64) -> Prediction {
        let mean = self.point().loss(params, tokens);
        let mut drawn: Vec<f64> = self
            .draws
            .iter()
            .map(|law| (law.loss(params, tokens) / mean).ln())
            .collect();
        drawn.sort_by(f64::total_cmp);
        let [_, n] = self.seen.params;
        let [_, d] = self.seen.tokens;
        let beyond = 1.96 * self.widening.unwrap_or(0.0) * distance(params, tokens, n, d);
        let interval = |extra: f64| {
            let (low, high) = (quantile(&drawn, 0.025)?, quantile(&drawn, 0.975)?);
            let width = |side: f64| side.hypot(beyond).hypot(extra);
            Some([mean * (-width(low.min(0.0))).exp(), mean * width(high.max(0.0)).exp()])
        };
        let enough = drawn.len() >= 20;
        let ci95 = |extra: f64| if enough { interval(extra) } else { None };
        Prediction {
            mean,
            ci95_mean: ci95(0.0),
            ci95_new_run: ci95(1.96 * self.noise),
        }
    }

    /// How far beyond the seen runs a point lies.
    pub fn extrapolation(&self, params: f64, tokens: f64) -> Extrapolation {
        let factor = |value: f64, most: f64| (value / most).max(1.0);
        Extrapolation {
            params: factor(params, self.seen.params[1]),
            tokens: factor(tokens, self.seen.tokens[1]),
            flops: factor(6.0 * params * tokens, self.seen.flops_max),
        }
    }
}

/// Log distance beyond the seen sizes and tokens.
pub fn distance(params: f64, tokens: f64, params_max: f64, tokens_max: f64) -> f64 {
    let beyond = |value: f64, most: f64| (value / most).ln().max(0.0);
    beyond(params, params_max).hypot(beyond(tokens, tokens_max))
}
