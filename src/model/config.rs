//! Everything that determines the training state of a proxy, and nothing else.
//!
//! Two equal configurations at the same step are the same state, bit for bit on CPU. Names, paths, executors and
//! limits are not in here; `plan` hashes what is.

use serde::{Deserialize, Serialize};

use crate::model::mup::{Group, Multipliers, Parametrization, Scaling};
use crate::model::schedule::Schedule;
use crate::model::shape::Shape;
use crate::units::{Steps, Tokens};
use crate::words::words;

words! {
    /// The arithmetic of a run.
    pub enum Precision {
        /// float32 throughout.
        Float32 = "float32",
        /// bfloat16 products with float32 master weights; needs CUDA.
        Bfloat16 = "bfloat16",
    }
}

words! {
    /// The kind of device that does the arithmetic; two kinds give different bits.
    pub enum DeviceKind {
        Cpu = "cpu",
        Cuda = "cuda",
    }
}

/// Whatever else changes bits; chosen by the plan alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numerics {
    /// The kind of device.
    pub device: DeviceKind,
    /// Threads of one worker.
    pub threads: u64,
    /// Sequences in one forward pass; a batch is accumulated from as many as it takes.
    pub micro_batch: u64,
}

impl Numerics {
    /// A short name, for tables: `cpu/1t/mb16`.
    pub fn name(&self) -> String {
        format!("{}/{}t/mb{}", self.device.name(), self.threads, self.micro_batch)
    }
}

/// `AdamW` with the decay coupled to the learning rate of the group: `p −= lr_group · weight_decay · p`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Optimizer {
    /// Peak learning rate of the embedding's group.
    pub lr: f64,
    /// Weight decay, multiplied by each group's learning rate; applies to all parameters.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Largest global norm of the gradient.
    pub clip: f64,
}

/// The configuration of one training run.
///
/// A field that came later is written only where it is not its default, so that the names of older runs stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    pub shape: Shape,
    /// Size of the vocabulary, a property of the data.
    pub vocab: u64,
    /// Tokens in a sequence.
    pub context: u64,
    /// How initialisation and learning rates follow the width.
    pub parametrization: Parametrization,
    pub multipliers: Multipliers,
    pub optimizer: Optimizer,
    /// Tokens in a batch: whole sequences.
    pub batch_tokens: Tokens,
    pub schedule: Schedule,
    /// Seed of the initial weights and of the order of the data.
    pub seed: u64,
    /// Hash of the prepared data.
    pub data_hash: String,
    pub precision: Precision,
    /// Whatever else changes bits.
    pub numerics: Numerics,
    #[cfg(test)]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub of_a_test: f64,
}

/// Whether a field is left out of the text that names are hashed from.
#[cfg(test)]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
pub(crate) fn is_zero(value: &f64) -> bool {
    value.to_bits() == 0
}

/// Added to the mean square in the norms (`MiniCPM`'s configuration).
pub const RMS_EPS: f64 = 1e-5;

/// Base of the rotary frequencies (`MiniCPM`'s configuration).
pub const ROPE_THETA: f64 = 1e4;

/// The number that `AdamW` adds to the root of the second moment, in every run here.
pub const ADAM_EPS: f64 = 1e-8;

impl RunConfig {
    /// muP's table for this run.
    pub fn scaling(&self) -> Scaling {
        Scaling::new(self.shape, self.parametrization, self.multipliers)
    }

    /// Peak learning rate of the matrices of the layers.
    pub fn lr_hidden(&self) -> f64 {
        self.optimizer.lr * self.scaling().lr_factor(Group::Matrix)
    }

    /// Learning rate of the embedding's group at the update that follows `done` steps.
    pub fn lr_at(&self, done: Steps) -> f64 {
        self.optimizer.lr * self.schedule.factor(done)
    }

    /// Sequences in a batch.
    pub fn sequences(&self) -> u64 {
        self.batch_tokens.0 / self.context
    }

    /// Tokens seen after so many steps.
    pub fn tokens_at(&self, steps: Steps) -> Tokens {
        Tokens(steps.0 * self.batch_tokens.0)
    }

    /// The configuration as far as a state after `position` steps can tell.
    #[must_use]
    pub fn prefix(&self, position: Steps) -> Self {
        Self {
            schedule: self.schedule.prefix(position),
            ..self.clone()
        }
    }
}
