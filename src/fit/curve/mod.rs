//! Laws of the whole loss curve: what a schedule of learning rates costs in loss, step by step.
//!
//! ```text
//! curve → path (rates between the rows, areas) → law (columns) → search (constants) → fit → predict, score
//!                                                                                     decay: which WSD is best
//! ```
//! Plain numbers in, plain numbers out, the same bits each time. Refuses to know where curves come from, how tokens
//! and steps convert, and who reads a law.

mod check;
pub mod decay;
mod fit;
mod law;
mod path;
mod predict;
mod refusal;
mod search;
mod spread;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Estimate, Warning};
pub use fit::fit;
pub use predict::{cautions, predict, score};
pub use refusal::Refusal;

/// A recorded row of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Updates made, from 1; rows that begin with 0 are counted from there.
    pub step: f64,
    /// Learning rate of the update.
    pub lr: f64,
    /// Loss, in nats per token.
    pub loss: f64,
}

/// The loss of a run under its schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The run, as messages name it.
    pub name: String,
    /// Its rows, in order of steps.
    pub points: Vec<CurvePoint>,
}

impl Curve {
    /// The schedule alone, with so many steps of warm-up before the first row (see [`Schedule::warmup`]).
    pub fn schedule(&self, warmup: f64) -> Schedule {
        Schedule {
            name: self.name.clone(),
            warmup,
            points: self
                .points
                .iter()
                .map(|p| RatePoint { step: p.step, lr: p.lr })
                .collect(),
        }
    }
}

/// A learning rate at a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatePoint {
    /// Updates made, from 1; rows that begin with 0 are counted from there.
    pub step: f64,
    /// Learning rate of the update.
    pub lr: f64,
}

/// Learning rates at some steps; between them the rate is linear, save that a lone change between two constant
/// stretches is a jump at the later row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// As messages name it.
    pub name: String,
    /// Steps over which the rate rose from zero to that of the first point, where the points do not show it. Zero:
    /// nothing is known, and the first rate counts from step 1, as Tissue et al. count it.
    pub warmup: f64,
    /// Rates, in order of steps.
    pub points: Vec<RatePoint>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// `L0 + A·S1^-α − C·S2` with `S1 = Σ η` and `S2 = Σ m`, `m_i = λ·m_{i−1} + η_{i−1} − η_i`
    /// (Tissue et al. 2024, arXiv 2408.11029).
    Annealing,
    /// `L0 + A·S1^-α − B·Σ_k (η_{k−1} − η_k)·G(η_k^-γ·S_k)` with `G(x) = 1 − (1 + C·x)^-β`, `S_k = Σ_{τ≥k} η_τ`,
    /// and the warm-up within `S1` (Luo et al. 2025, arXiv 2503.12811).
    #[serde(alias = "multi_power")]
    MultiPower,
}

/// A constant of a law.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "KeptParameter")]
pub struct Parameter {
    #[serde(flatten)]
    pub estimate: Estimate,
    pub source: Origin,
}

/// Where a constant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The curves say it.
    Fitted,
    /// The curves do not say it; it is that of a published fit.
    Published,
}

/// A constant as it is kept; of older homes its value alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum KeptParameter {
    Whole {
        #[serde(flatten)]
        estimate: Estimate,
        source: Origin,
    },
    Value(f64),
}

impl From<KeptParameter> for Parameter {
    fn from(kept: KeptParameter) -> Self {
        match kept {
            KeptParameter::Whole { estimate, source } => Self { estimate, source },
            KeptParameter::Value(value) => Self::from(value),
        }
    }
}

impl From<f64> for Parameter {
    /// A fitted constant of which only the value is known.
    fn from(value: f64) -> Self {
        let (se, ci95) = (None, None);
        Self {
            estimate: Estimate { value, se, ci95 },
            source: Origin::Fitted,
        }
    }
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Converged,
    /// Its steps ran out.
    Stopped,
}

/// How well a prediction met a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub name: String,
    /// Rows compared: those after the warm-up.
    pub n: usize,
    /// One minus the squared error as a share of the variance of the loss; zero where the loss does not vary.
    pub r2: f64,
    /// Mean absolute error, in nats per token.
    pub mae: f64,
    /// Largest error, as a share of the loss.
    pub worst: f64,
}

/// A fitted law: all that a prediction needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurveFit {
    pub law: Law,
    /// Its constants by the names of its paper: `L0`, `A`, `alpha`, then `C`, `lambda` or `B`, `C`, `beta`, `gamma`.
    pub parameters: BTreeMap<String, Parameter>,
    /// Sum over rows of Huber (δ = 1e-3) on log loss; curves with many rows are averaged in bins first.
    pub objective: f64,
    /// How the search ended.
    pub status: Status,
    /// Schedules that differ; a shorter run of the same schedule does not count.
    pub schedules: usize,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
    /// How well the law meets what it was fitted on.
    pub train: Vec<Score>,
    /// The schedules that differ, thinned.
    pub trained_on: Vec<Schedule>,
}

impl CurveFit {
    /// The values of its constants by their names.
    fn values(&self) -> BTreeMap<String, f64> {
        let values = self.parameters.iter();
        values.map(|(name, it)| (name.clone(), it.estimate.value)).collect()
    }
}
