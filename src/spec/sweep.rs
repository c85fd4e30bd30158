//! A sweep as it was asked for: its trials, what it may cost and what a worker gets.
//!
//! Refuses to know the file that it was read from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::settings::Settings;
use crate::units::Params;

/// A sweep, read and checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    pub name: String,
    /// What is asked, in a sentence.
    pub description: Option<String>,
    /// Its trials, in the order of the file, each configuration once.
    pub trials: Vec<TrialSpec>,
    /// Paths of the axes that take more than one value, in the order of the file (`lr`, `schedule.name`, `seed`).
    pub axes: Vec<String>,
    /// The most trials one call of `run` starts.
    pub run_cap: Option<u64>,
    /// What the sweep may cost.
    pub budget: Budget,
    /// Attempts after a fault, by cause; causes that are not named get [`DEFAULT_RETRIES`].
    pub retry: BTreeMap<String, u32>,
    /// What a worker gets.
    pub resources: Resources,
    /// The size of the run that the recipe is for.
    pub target: Option<Params>,
}

/// Attempts after a fault whose cause the sweep does not name.
pub const DEFAULT_RETRIES: u32 = 2;

/// What a sweep may cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Budget {
    pub flops: Option<f64>,
    /// Hours of one run of the program.
    pub hours: Option<f64>,
}

/// What a worker gets.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Workers at once; none: as many as the machine carries.
    pub workers: Option<u64>,
    /// Threads of each; none: one.
    pub threads: Option<u64>,
    /// Share of a GPU for each; none: one.
    pub gpus: Option<f64>,
    /// Seconds after which a worker leaves a state behind inside a stage.
    pub checkpoint_seconds: Option<f64>,
    /// The same in tokens; comes before the seconds.
    pub checkpoint_tokens: Option<u64>,
    /// Seconds that a worker may say nothing before it is taken for hung.
    pub timeout_seconds: Option<f64>,
    /// Whether the state at the end of every trial is kept, so that it can be exported.
    #[serde(default)]
    pub keep_weights: bool,
}

/// One trial that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialSpec {
    /// The values of the axes that vary, by path.
    pub axes: BTreeMap<String, serde_json::Value>,
    /// Everything that is set, varied or not.
    pub settings: Settings,
}
