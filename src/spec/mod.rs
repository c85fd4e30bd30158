//! What was asked: sweep files, read and expanded into trials.
//!
//! Refuses to know what a trial costs and whether it has run.

mod axes;
mod draw;
mod edit;
mod expand;
pub mod expr;
mod lex;
pub mod mistake;
mod parameters;
pub mod profile;
mod read;
pub mod resolve;
mod sections;
#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what was written is what must come out, bit for bit")]
mod tests;
mod tree;
mod trials;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::config::Precision;
use crate::model::mup::{Multipliers, Parametrization};
use crate::model::schedule::Decay;
use crate::model::shape::Shape;
use crate::spec::mistake::{Findings, Mistake, Note, Place, Wrong};
use crate::units::{Length, Params, TokenBudget, Tokens};

/// A sweep, read and checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Its name.
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
    /// Training FLOPs.
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

/// What a trial trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Name of the rung, or the shape spelt out (`w64-l4-h4`).
    pub model: String,
    /// The shape.
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
    /// The schedule.
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
    /// The arithmetic.
    pub precision: Precision,
    /// Seed.
    pub seed: u64,
}

/// The name of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    /// Warm-up, stable, decay.
    Wsd,
    /// Half a cosine.
    Cosine,
    /// A straight line.
    Linear,
    /// Warm-up, then the peak for ever.
    Constant,
}

impl ScheduleName {
    /// The name in sweeps and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wsd => "wsd",
            Self::Cosine => "cosine",
            Self::Linear => "linear",
            Self::Constant => "constant",
        }
    }
}

/// A schedule, in the terms of a sweep file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSettings {
    /// Which.
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

/// Refuses a name that no sweep could have; says what one looks like.
pub fn check_name(name: &str) -> Result<(), String> {
    match axes::read_name(name) {
        // `last` means the newest.
        Ok(name) if name == "last" => Err("`last` is no name: it means the newest".to_owned()),
        Ok(_) => Ok(()),
        Err(wrong) => Err(wrong.message),
    }
}

/// The commented sweep that `sandbox init` writes.
pub const TEMPLATE: &str = include_str!("template.yaml");

/// Reads the sweep in `text`, with the `--set` arguments put over it.
///
/// `file` is how the caller names the file; its stem names the sweep if the file does not. Gives the sweep with notes
/// on what means nothing, or all mistakes at once, in the order of the file.
pub fn read(text: &str, file: &str, sets: &[String]) -> Result<(Sweep, Vec<Note>), Vec<Mistake>> {
    let mut findings = Findings::new(file, sets);
    let sweep = read_sweep(text, file, sets, &mut findings);
    findings.conclude(sweep)
}

fn read_sweep(text: &str, file: &str, sets: &[String], findings: &mut Findings) -> Option<Sweep> {
    let root = tree::parse(text, None, findings);
    if findings.count() > 0 && root.is_none() {
        return None;
    }
    let Some(mut root) = root.filter(|root| !root.is_null()) else {
        let wrong = Wrong::new("the file is empty; `sandbox init` writes a sweep to start from");
        findings.mistake(Place::START, "", wrong);
        return None;
    };
    edit::apply(&mut root, sets, findings);
    let stem = Path::new(file)
        .file_stem()
        .map_or_else(|| "sweep".into(), |stem| stem.to_string_lossy());
    let draft = read::draft(&root, &stem, findings)?;
    let (trials, axes) = expand::expand(&draft, findings)?;
    Some(Sweep {
        name: draft.name,
        description: draft.description,
        trials,
        axes,
        run_cap: draft.run_cap,
        budget: draft.budget,
        retry: draft.retry,
        resources: draft.resources,
        target: draft.target,
    })
}
