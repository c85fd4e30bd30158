//! What there is to do: trials cut into stages, equal states folded into one, and what each part costs.
//!
//! Refuses to know what has run beyond the plain [`Known`] that it is handed, and who will run the rest.

pub mod identity;
pub mod resolve;
pub mod tree;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::config::RunConfig;
use crate::model::flops;
use crate::spec::TrialSpec;
use crate::stage::{StageKind, StageState, TrialState};
use crate::units::{StageId, Steps, Tokens, TrialId};
use crate::words::words;

/// One stage of the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StagePlan {
    /// Names the state that it reaches.
    pub id: StageId,
    /// The stage it starts from; none: the initial weights.
    pub parent: Option<StageId>,
    /// Names the run that it is a part of, wherever that is cut.
    pub lineage: String,
    /// What it is in its tree.
    pub kind: StageKind,
    /// The configuration, as far as its end can tell.
    pub config: RunConfig,
    pub from: Steps,
    pub to: Steps,
}

impl StagePlan {
    /// Tokens that it trains.
    pub fn tokens(&self) -> Tokens {
        Tokens(self.config.tokens_at(self.to).0 - self.config.tokens_at(self.from).0)
    }

    /// FLOPs that it costs.
    pub fn flops(&self) -> f64 {
        flops_per_token(&self.config) * self.tokens().as_f64()
    }
}

/// Training FLOPs per token of a configuration.
pub fn flops_per_token(config: &RunConfig) -> f64 {
    flops::per_token(config.shape, config.vocab, config.context)
}

/// One trial, resolved and cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialPlan {
    pub id: TrialId,
    /// The whole hash behind the name.
    pub config_hash: String,
    /// A name that people can read.
    pub slug: String,
    pub spec: TrialSpec,
    pub config: RunConfig,
    /// Steps of the whole run.
    pub steps: Steps,
    /// Its stages, from the initial weights to its end.
    pub stages: Vec<StageId>,
}

impl TrialPlan {
    /// Tokens of the whole run.
    pub fn tokens(&self) -> Tokens {
        self.config.tokens_at(self.steps)
    }

    /// The budget that was asked, in tokens: the whole run is the nearest number of whole batches.
    pub fn tokens_asked(&self) -> Tokens {
        let budget = self.spec.settings.tokens;
        budget.resolve(self.config.shape.params_non_embedding())
    }

    /// FLOPs of the whole run, as if it ran alone.
    pub fn flops(&self) -> f64 {
        flops_per_token(&self.config) * self.tokens().as_f64()
    }

    /// Its stages that have to be trained now, the last first.
    ///
    /// Walks from its end towards its beginning and stops where a state is at hand. A stage behind a diverged one has
    /// nothing to start from and is not in the list.
    pub fn missing(&self, known: &Known) -> Vec<&StageId> {
        let mut needed = Vec::new();
        if known.cancelled.contains(&self.id) {
            return needed;
        }
        for id in self.stages.iter().rev() {
            match known.state(id) {
                StageState::Diverged => return Vec::new(),
                StageState::Complete if needed.is_empty() && !known.keeps_ends => break,
                StageState::Complete if known.has_state(id) => break,
                StageState::Complete
                | StageState::Remaking { .. }
                | StageState::Pending
                | StageState::Running { .. }
                | StageState::Failed => needed.push(id),
            }
        }
        needed
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub sweep: String,
    /// Its trials, in the order of the file.
    pub trials: Vec<TrialPlan>,
    /// The tree, parents before children.
    pub stages: Vec<StagePlan>,
}

/// What is known of a stage that was planned before.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownStage {
    /// As it was planned then.
    pub plan: StagePlan,
    pub state: StageState,
    /// Whether its end can still be continued from.
    pub has_state: bool,
}

/// What is known of earlier work.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Known {
    /// Every stage that was ever planned in this home.
    pub stages: BTreeMap<StageId, KnownStage>,
    /// The trials of the sweep's earlier versions: name to slug and settings.
    pub trials: BTreeMap<TrialId, TrialSpec>,
    /// Trials of the sweep that the user has taken out.
    pub cancelled: BTreeSet<TrialId>,
    /// Whether the state at the end of every trial is wanted as well.
    pub keeps_ends: bool,
}

impl Known {
    /// Where a stage stands.
    pub fn state(&self, stage: &StageId) -> StageState {
        self.stages.get(stage).map_or(StageState::Pending, |known| known.state)
    }

    /// Whether the end of a stage can be continued from.
    fn has_state(&self, stage: &StageId) -> bool {
        self.stages.get(stage).is_some_and(|known| known.has_state)
    }
}

words! {
    /// Why a trial will run, or not.
    pub enum Reason {
        /// Nothing of it has been trained.
        New = "new",
        /// An earlier version of the sweep had it with other settings.
        Changed = "changed",
        Retry = "retry",
        /// A part of it has been trained.
        Continue = "continue",
        /// There is nothing to do.
        Complete = "complete",
        /// The user has taken it out.
        Cancelled = "cancelled",
    }
}

impl Plan {
    /// The stage of that name.
    pub fn stage(&self, id: &StageId) -> Option<&StagePlan> {
        self.stages.iter().find(|stage| &stage.id == id)
    }

    /// The stages that have to be trained now, parents before children.
    pub fn missing(&self, known: &Known) -> Vec<&StagePlan> {
        self.missing_for(self.trials.iter(), known)
    }

    /// The same, for some of the trials.
    pub fn missing_for<'a>(&self, trials: impl IntoIterator<Item = &'a TrialPlan>, known: &Known) -> Vec<&StagePlan> {
        let wanted: BTreeSet<&StageId> = trials.into_iter().flat_map(|trial| trial.missing(known)).collect();
        self.stages.iter().filter(|stage| wanted.contains(&stage.id)).collect()
    }

    /// Why each trial will run, in the order of the trials, with a sentence.
    pub fn reasons(&self, known: &Known) -> Vec<(Reason, String)> {
        self.trials.iter().map(|trial| reason(trial, known)).collect()
    }
}

/// What has become of a trial, told from its stages.
pub fn trial_state(stages: &[StageState]) -> TrialState {
    let any = |wanted: fn(&StageState) -> bool| stages.iter().any(wanted);
    let is_complete = |state: &StageState| matches!(state, StageState::Complete | StageState::Remaking { .. });
    if stages.last().is_some_and(is_complete) {
        TrialState::Complete
    } else if any(|state| *state == StageState::Diverged) {
        TrialState::Diverged
    } else if any(|state| *state == StageState::Failed) {
        TrialState::Failed
    } else if any(|state| matches!(state, StageState::Running { .. })) {
        TrialState::Running
    } else {
        TrialState::Pending
    }
}

fn reason(trial: &TrialPlan, known: &Known) -> (Reason, String) {
    let states: Vec<StageState> = trial.stages.iter().map(|id| known.state(id)).collect();
    let done = states.iter().filter(|state| **state == StageState::Complete).count();
    let state = trial_state(&states);
    let has_result = matches!(state, TrialState::Complete | TrialState::Diverged);
    if known.cancelled.contains(&trial.id) && !has_result {
        return (
            Reason::Cancelled,
            "taken out; `sandbox cancel --undo` brings it back".to_owned(),
        );
    }
    match state {
        TrialState::Complete if !trial.missing(known).is_empty() => (
            Reason::Continue,
            "trained to its end; its weights are made again to be kept".to_owned(),
        ),
        TrialState::Complete => (Reason::Complete, "trained to its end".to_owned()),
        TrialState::Diverged => (Reason::Complete, "diverged, which is a result".to_owned()),
        TrialState::Failed => (Reason::Retry, "its attempts failed".to_owned()),
        TrialState::Pending | TrialState::Running | TrialState::Cancelled if done > 0 => (
            Reason::Continue,
            format!("{done} of {} stages are trained", states.len()),
        ),
        TrialState::Pending | TrialState::Running | TrialState::Cancelled => changed(trial, known)
            .map_or((Reason::New, "nothing of it is trained".to_owned()), |why| {
                (Reason::Changed, why)
            }),
    }
}

/// What is different from the trial that had the same axes in an earlier version of the sweep.
fn changed(trial: &TrialPlan, known: &Known) -> Option<String> {
    if known.trials.contains_key(&trial.id) {
        return None;
    }
    let before = known.trials.values().find(|spec| spec.axes == trial.spec.axes)?;
    let old = serde_json::to_value(&before.settings).ok()?;
    let new = serde_json::to_value(&trial.spec.settings).ok()?;
    let differences: Vec<String> = new
        .as_object()?
        .iter()
        .filter(|(key, value)| old.get(key) != Some(value))
        .map(|(key, value)| format!("{key}: {} → {value}", old.get(key).unwrap_or(&serde_json::Value::Null)))
        .collect();
    Some(if differences.is_empty() {
        "the training code, the data or the machine is another".to_owned()
    } else {
        differences.join(", ")
    })
}

#[cfg(test)]
mod tests;
