//! Cuts trials into stages and folds equal states.
//!
//! A trunk is cut wherever a trial leaves it, and where an earlier sweep left a state that can be continued. A state
//! is named by what it is, so equal ones fold by themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::config::RunConfig;
use crate::model::data_info::DataInfo;
use crate::plan::identity::{self, NoName};
use crate::plan::resolve::{self, Machine, ResolveError};
use crate::plan::{Known, Plan, StagePlan, TrialPlan};
use crate::protocol::Trainer;
use crate::spec::{Sweep, TrialSpec};
use crate::stage::StageKind;
use crate::stage::StageState;
use crate::units::{StageId, Steps};

/// Why a sweep cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The data is not prepared.
    #[error("data `{name}` is not prepared")]
    NoData {
        /// The name that the sweep gives.
        name: String,
    },
    /// A trial cannot be trained as asked.
    #[error("trial {slug}: {error}")]
    Trial { slug: String, error: ResolveError },
    /// A configuration has no stable name.
    #[error(transparent)]
    NoName(#[from] NoName),
}

/// Plans a sweep: `data` holds what is prepared, by name; `known` what was planned before.
pub fn plan(
    sweep: &Sweep,
    data: &BTreeMap<String, DataInfo>,
    machine: Machine,
    trainer: Trainer,
    known: &Known,
) -> Result<Plan, PlanError> {
    let mut trials = Vec::new();
    let mut seen = BTreeSet::new();
    for spec in &sweep.trials {
        let trial = resolve_trial(spec, data, machine, trainer)?;
        // Two settings can come to the same steps; they are one trial.
        if seen.insert(trial.id.clone()) {
            trials.push(trial);
        }
    }
    let mut forest = Forest::new(trainer, known, &trials)?;
    for trial in &mut trials {
        trial.stages = forest.path(&trial.config, trial.steps)?;
    }
    Ok(Plan {
        sweep: sweep.name.clone(),
        trials,
        stages: forest.in_order(),
    })
}

fn resolve_trial(
    spec: &TrialSpec,
    data: &BTreeMap<String, DataInfo>,
    machine: Machine,
    trainer: Trainer,
) -> Result<TrialPlan, PlanError> {
    let settings = &spec.settings;
    let info = data.get(&settings.data).ok_or_else(|| PlanError::NoData {
        name: settings.data.clone(),
    })?;
    let slug = slug(spec);
    let (config, steps) = resolve::resolve(settings, info, machine).map_err(|error| PlanError::Trial {
        slug: slug.clone(),
        error,
    })?;
    let config_hash = identity::config_hash(&config, trainer, steps)?;
    let id = identity::trial_id(&config_hash);
    Ok(TrialPlan {
        id,
        config_hash,
        slug,
        spec: spec.clone(),
        config,
        steps,
        stages: Vec::new(),
    })
}

/// A readable name: the model, then whatever varies.
fn slug(spec: &TrialSpec) -> String {
    let mut parts = vec![spec.settings.model.clone()];
    for (axis, value) in &spec.axes {
        if axis == "model" || axis.starts_with("shape.") {
            continue;
        }
        let name = axis.rsplit('.').next().unwrap_or(axis);
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        // Values such as `wsd` speak for themselves.
        parts.push(if name == "name" || name == "decay" {
            text
        } else {
            format!("{name}{text}")
        });
    }
    parts.join("-")
}

/// The stages that are being gathered, by the state they reach.
struct Forest<'a> {
    trainer: Trainer,
    known: &'a Known,
    /// For each lineage, where its trunk is cut.
    cuts: BTreeMap<String, BTreeSet<Steps>>,
    stages: BTreeMap<StageId, StagePlan>,
}

impl<'a> Forest<'a> {
    fn new(trainer: Trainer, known: &'a Known, trials: &[TrialPlan]) -> Result<Self, NoName> {
        let mut cuts: BTreeMap<String, BTreeSet<Steps>> = BTreeMap::new();
        for trial in trials {
            let at = trial.config.schedule.shared_until(trial.steps);
            cuts.entry(identity::lineage(&trial.config, trainer, at)?)
                .or_default()
                .insert(at);
        }
        for stage in known.stages.values() {
            let at_hand = stage.state == StageState::Complete && stage.has_state;
            if let Some(wanted) = cuts.get_mut(&stage.plan.lineage).filter(|_| at_hand) {
                wanted.insert(stage.plan.to);
            }
        }
        Ok(Self {
            trainer,
            known,
            cuts,
            stages: BTreeMap::new(),
        })
    }

    /// The stages of one run, from the initial weights to its end.
    fn path(&mut self, config: &RunConfig, end: Steps) -> Result<Vec<StageId>, NoName> {
        let shared = config.schedule.shared_until(end);
        let kind = if shared == end {
            StageKind::Trunk
        } else if shared.0 == 0 {
            StageKind::Whole
        } else {
            StageKind::Decay
        };
        let parent = match kind {
            StageKind::Trunk => self.trunk_before(config, end)?,
            StageKind::Decay if shared.0 > 0 => Some(self.trunk(config, shared)?),
            StageKind::Decay | StageKind::Whole => None,
        };
        let last = self.add(config, kind, parent, end)?;
        Ok(self.ancestry(last))
    }

    /// The trunk's stage that ends at `position`, with all before it.
    fn trunk(&mut self, config: &RunConfig, position: Steps) -> Result<StageId, NoName> {
        let parent = self.trunk_before(config, position)?;
        self.add(config, StageKind::Trunk, parent, position)
    }

    /// The trunk's stage that `position` continues from.
    fn trunk_before(&mut self, config: &RunConfig, position: Steps) -> Result<Option<StageId>, NoName> {
        let id = identity::stage_id(config, self.trainer, position)?;
        // A state that exists keeps the stages that it was trained by, wherever new cuts fall.
        let before = if let Some(known) = self
            .known
            .stages
            .get(&id)
            .filter(|known| known.state == StageState::Complete)
        {
            known.plan.from
        } else {
            let lineage = identity::lineage(config, self.trainer, position)?;
            let cuts = self.cuts.get(&lineage);
            cuts.and_then(|cuts| cuts.range(..position).next_back().copied())
                .unwrap_or_default()
        };
        if before.0 == 0 {
            Ok(None)
        } else {
            self.trunk(config, before).map(Some)
        }
    }

    fn add(
        &mut self,
        config: &RunConfig,
        kind: StageKind,
        parent: Option<StageId>,
        to: Steps,
    ) -> Result<StageId, NoName> {
        let id = identity::stage_id(config, self.trainer, to)?;
        let from = parent.as_ref().map_or(Steps(0), |parent| self.stages[parent].to);
        let lineage = identity::lineage(config, self.trainer, to)?;
        let stage = StagePlan {
            id: id.clone(),
            parent,
            lineage,
            kind,
            config: config.prefix(to),
            from,
            to,
        };
        self.stages.entry(id.clone()).or_insert(stage);
        Ok(id)
    }

    fn ancestry(&self, last: StageId) -> Vec<StageId> {
        let mut path = vec![last];
        while let Some(parent) = path.last().and_then(|id| self.stages[id].parent.clone()) {
            path.push(parent);
        }
        path.reverse();
        path
    }

    /// All stages, parents before children, in an order that depends on nothing but the stages.
    fn in_order(self) -> Vec<StagePlan> {
        let mut stages: Vec<StagePlan> = self.stages.into_values().collect();
        stages.sort_by(|a, b| (&a.from, &a.id).cmp(&(&b.from, &b.id)));
        stages
    }
}
