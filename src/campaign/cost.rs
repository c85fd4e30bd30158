//! What a step of a study costs: by the tree of stages, with what is trained already free.
//!
//! Refuses to plan: whoever asks for a decision knows the plan.

use serde::{Deserialize, Serialize};

use crate::spec::study_file::Unit;

/// What is left to train of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Trials that lack something.
    pub trials: u64,
    pub tokens: u64,
    pub flops: f64,
    /// Seconds on the machine of the study, all of it at work.
    pub seconds: f64,
}

impl Cost {
    /// In the unit of a budget.
    pub fn in_unit(self, unit: Unit) -> f64 {
        match unit {
            Unit::Hours => self.seconds / 3600.0,
            Unit::Flops => self.flops,
            Unit::Tokens => self.tokens as f64,
        }
    }

    /// What it is more than another.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            trials: self.trials.saturating_sub(other.trials),
            tokens: self.tokens.saturating_sub(other.tokens),
            flops: (self.flops - other.flops).max(0.0),
            seconds: (self.seconds - other.seconds).max(0.0),
        }
    }

    /// Of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            trials: self.trials + other.trials,
            tokens: self.tokens + other.tokens,
            flops: self.flops + other.flops,
            seconds: self.seconds + other.seconds,
        }
    }
}

/// What sweeps cost.
pub trait Costs {
    /// What is left to train of some sweeps together, told from their files: what they share counts once.
    ///
    /// # Errors
    /// Why one cannot be planned.
    fn of(&self, texts: &[&str]) -> Result<Cost, String>;
}
