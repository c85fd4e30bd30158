//! What a step of a study costs: by the tree of stages, with what is trained already free.
//!
//! Refuses to know what is trained: whoever asks for a decision says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::config::DeviceKind;
use crate::model::data_info::DataInfo;
use crate::plan::resolve::Machine;
use crate::plan::{Known, Plan, StagePlan, tree};
use crate::protocol::Trainer;
use crate::spec::study_file::Unit;
use crate::spec::{self, Sweep};

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

/// What sweeps are planned with.
#[derive(Debug, Clone, Copy)]
pub struct Planning<'a> {
    pub data: &'a BTreeMap<String, DataInfo>,
    pub device: DeviceKind,
    pub trainer: Trainer,
    /// What is trained already.
    pub known: &'a Known,
    /// FLOPs per second of the whole machine.
    pub flops_per_second: f64,
}

impl Planning<'_> {
    /// Some sweeps planned as one: what they share is one stage; none without sweeps.
    ///
    /// # Errors
    /// Why one cannot be planned.
    pub fn plan(&self, texts: &[&str]) -> Result<Option<Plan>, String> {
        let mut all: Option<Sweep> = None;
        for text in texts {
            let (sweep, _) = spec::read(text, "step.yaml", &[])
                .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
            match &mut all {
                Some(all) => all.trials.extend(sweep.trials),
                None => all = Some(sweep),
            }
        }
        let plan = |sweep: Sweep| {
            let machine = Machine {
                device: self.device,
                threads: sweep.resources.threads,
            };
            tree::plan(&sweep, self.data, machine, self.trainer, self.known).map_err(|error| error.to_string())
        };
        all.map(plan).transpose()
    }

    /// What is left to train of some sweeps together.
    ///
    /// # Errors
    /// Why one cannot be planned.
    pub fn cost(&self, texts: &[&str]) -> Result<Cost, String> {
        let Some(plan) = self.plan(texts)? else {
            return Ok(Cost::default());
        };
        let missing = plan.missing(self.known);
        // The sum of nothing is -0.0.
        let flops = missing.iter().map(|stage| StagePlan::flops(stage)).sum::<f64>() + 0.0;
        let trials = plan.trials.iter().filter(|trial| !trial.missing(self.known).is_empty());
        Ok(Cost {
            trials: trials.count() as u64,
            tokens: missing.iter().map(|stage| stage.tokens().0).sum(),
            flops,
            seconds: flops / self.flops_per_second.max(1.0),
        })
    }
}
