//! What one trial trains, in the terms of a sweep file: every default is filled in, units are as they were written.
//!
//! Refuses to know what a setting is called in a file (`axes`).

use serde::{Deserialize, Serialize};

use crate::model::config::Precision;
use crate::model::mup::{Multipliers, Parametrization};
use crate::model::schedule::Decay;
use crate::model::shape::Shape;
use crate::units::{Length, TokenBudget, Tokens};
use crate::words::words;

/// What a trial trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Name of the rung, or the shape spelt out (`w64-l4-h4`).
    pub model: String,
    pub shape: Shape,
    /// How initialisation and learning rates follow the width.
    pub parametrization: Parametrization,
    /// Peak learning rate of the embedding's group.
    pub lr: f64,
    /// Tokens in a batch.
    pub batch_tokens: Tokens,
    /// Sequences in one forward pass; none: chosen by the plan.
    pub micro_batch: Option<u64>,
    /// Tokens of the run.
    pub tokens: TokenBudget,
    /// Tokens in a sequence.
    pub context: u64,
    /// Name of the prepared data.
    pub data: String,
    pub schedule: ScheduleSettings,
    /// Weight decay, coupled to the learning rate.
    pub weight_decay: f64,
    /// Decay of the first moment of `AdamW`.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Largest global norm of the gradient.
    pub clip: f64,
    /// The constants of the parametrisation.
    pub multipliers: Multipliers,
    pub precision: Precision,
    pub seed: u64,
    /// An axis of tests: what an axis needs is a row of the table and what the compiler asks for.
    #[cfg(test)]
    #[serde(default, skip_serializing_if = "crate::model::config::is_zero")]
    pub of_a_test: f64,
}

words! {
    /// Which schedule the learning rate follows.
    pub enum ScheduleName {
        Wsd = "wsd",
        Cosine = "cosine",
        Linear = "linear",
        /// Warm-up, then the peak for ever.
        Constant = "constant",
    }
}

/// A schedule, in the terms of a sweep file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSettings {
    pub name: ScheduleName,
    /// Length of the warm-up, in tokens by default: a share of the end forbids sharing trunks.
    pub warmup: Length,
    /// Share of the run that decays (WSD).
    pub decay_fraction: f64,
    /// Form of the decay (WSD).
    pub decay: Decay,
    /// Share of the peak at the end.
    pub final_fraction: f64,
}
