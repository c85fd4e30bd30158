//! From a sweep file to a plan: reads what the pure planner must be told.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;

use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::manifest::Manifest;
use crate::model::data_info::DataInfo;
use crate::model::initial_loss::{initial_loss, uniform_loss};
use crate::plan::resolve::Machine;
use crate::plan::tree::{self, PlanError};
use crate::plan::{self, Known, Plan, Reason};
use crate::record::{TrialRow, TrialState};
use crate::run::context::Context;
use crate::run::failure::{At, Failure};
use crate::spec::{self, Sweep};
use crate::store::{Entry, Store, TrialEntry, rate_key};

/// A sweep, read and planned.
#[derive(Debug)]
pub struct Planned {
    pub sweep: Sweep,
    /// Its file, with what `--set` changed noted at its end.
    pub text: String,
    /// What there is to do.
    pub plan: Plan,
    /// What was known before.
    pub known: Known,
    /// The data that it names.
    pub data: BTreeMap<String, DataInfo>,
    /// What the reader wants to say.
    pub notes: Vec<String>,
    /// FLOPs per second and slot, by shape and over all, as this home has measured them.
    pub rates: (BTreeMap<String, f64>, Option<f64>),
}

/// Reads a sweep file.
pub fn read_sweep(path: &Path, sets: &[String]) -> Result<(Sweep, String, Vec<String>), Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::invalid(
            "no_sweep_file",
            error.to_string(),
            "`sandbox init` writes a commented sweep that runs",
        )
    })?;
    let file = path.display().to_string();
    let (sweep, notes) = spec::read(&text, &file, sets).map_err(|mistakes| invalid_sweep(&file, mistakes))?;
    let mut recorded = text;
    for set in sets {
        recorded.push_str(&format!("\n# --set {set}"));
    }
    Ok((
        sweep,
        recorded,
        notes
            .into_iter()
            .map(|note| format!("{file}:{}: {}", note.line, note.text))
            .collect(),
    ))
}

fn invalid_sweep(file: &str, mistakes: Vec<spec::syntax::mistakes::Mistake>) -> Failure {
    let count = mistakes.len();
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    let mut failure = Failure::invalid(
        "invalid_sweep",
        format!("`{file}` has {count} {noun}; nothing was changed"),
        "",
    );
    failure.at = mistakes.into_iter().map(At::from).collect();
    failure
}

/// Plans a sweep file against what the home knows. Changes nothing.
pub async fn plan_file(context: &Context, path: &Path, sets: &[String]) -> Result<Planned, Failure> {
    let (sweep, text, notes) = read_sweep(path, sets)?;
    let (known, rates) = if context.workdir.database().exists() {
        let mut store = context.store().await?;
        (store.known(&sweep.name).await?, store.rates().await?)
    } else {
        (Known::default(), (BTreeMap::new(), None))
    };
    plan_sweep(context, sweep, text, notes, known, rates)
}

/// Plans a sweep that was read, with what is known.
pub fn plan_sweep(
    context: &Context,
    sweep: Sweep,
    text: String,
    notes: Vec<String>,
    mut known: Known,
    rates: (BTreeMap<String, f64>, Option<f64>),
) -> Result<Planned, Failure> {
    let data = data_of(context, &sweep)?;
    known.keeps_ends = sweep.resources.keep_weights;
    let machine = Machine {
        device: context.device,
        threads: sweep.resources.threads,
    };
    let plan = tree::plan(&sweep, &data, machine, context.trainer, &known).map_err(plan_failure)?;
    let mut notes = notes;
    notes.extend(high_beginnings(&plan));
    Ok(Planned {
        sweep,
        text,
        plan,
        known,
        data,
        notes,
        rates,
    })
}

/// A sentence about models that begin far above ln V, where there are any: a reader would take it for a fault.
fn high_beginnings(plan: &Plan) -> Option<String> {
    const NATS: f64 = 1.0;
    let mut found: BTreeMap<u64, (&str, f64, f64)> = BTreeMap::new();
    for trial in &plan.trials {
        let (initial, uniform) = (initial_loss(&trial.config), uniform_loss(&trial.config));
        if initial > uniform + NATS {
            let model = trial.spec.settings.model.as_str();
            found.insert(trial.config.shape.params_non_embedding().0, (model, initial, uniform));
        }
    }
    let each: Vec<String> = found
        .values()
        .map(|(model, initial, _)| format!("{model} at about {initial:.0}"))
        .collect();
    let (_, _, uniform) = found.values().next()?;
    Some(format!(
        "first losses in nats: {} (ln V is {uniform:.1}): below muP's base width logits are scaled up, which a few hundred \
         steps undo; a smaller `base_width` begins near ln V",
        each.join(", ")
    ))
}

fn plan_failure(error: PlanError) -> Failure {
    let message = error.to_string();
    match error {
        PlanError::NoData { name } => Failure::invalid("no_data", message, &prepare_hint(&name)),
        PlanError::Trial { .. } => Failure::invalid("invalid_trial", message, ""),
        PlanError::NoName(_) => Failure::invalid("invalid_trial", message, "look for NaN or inf in the sweep"),
    }
}

/// The corpus that every machine that built the project has.
const RUST_SOURCES: &str = "rust-sources";

fn prepare_hint(name: &str) -> String {
    let source = if name == RUST_SOURCES { RUST_SOURCES } else { "PATH…" };
    format!(
        "prepare it: `sandbox data prepare {source} --name {name} --tokenizer byte`; `sandbox data list` shows what is there"
    )
}

/// The data that a sweep names, as far as it is prepared.
fn data_of(context: &Context, sweep: &Sweep) -> Result<BTreeMap<String, DataInfo>, Failure> {
    let mut found = BTreeMap::new();
    for trial in &sweep.trials {
        let name = &trial.settings.data;
        let folder = context.workdir.data().join(name);
        if !found.contains_key(name) && folder.is_dir() {
            let manifest = Manifest::read(&folder).map_err(data_failure)?;
            found.insert(name.clone(), manifest.info());
        }
    }
    Ok(found)
}

/// Reads the data of a sweep from end to end: a run trains on what was prepared, or not at all.
pub fn verify_data(context: &Context, planned: &Planned) -> Result<(), Failure> {
    planned.data.keys().try_for_each(|name| {
        let data = Dataset::open(&context.workdir.data().join(name)).map_err(data_failure)?;
        data.verify().map_err(data_failure)
    })
}

/// A failure of the data floor, in the user's terms.
#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
pub fn data_failure(error: DataError) -> Failure {
    let exit = if error.is_environment() {
        crate::run::failure::exit::ENVIRONMENT
    } else {
        crate::run::failure::exit::INVALID
    };
    Failure::new(exit, error.code(), error.to_string(), &error.hint().unwrap_or_default())
}

impl Planned {
    /// The entries of the log that announce the stages of this plan which the home does not know yet, word for word.
    fn entries(&self, context: &Context) -> Vec<Entry> {
        self.plan
            .stages
            .iter()
            .filter(|stage| {
                self.known
                    .stages
                    .get(&stage.id)
                    .is_none_or(|known| known.plan != **stage)
            })
            .map(|stage| Entry::StagePlanned {
                stage: Box::new(stage.clone()),
                trainer: context.trainer,
            })
            .collect()
    }

    /// The entry of the log that announces the sweep and its trials.
    fn sweep_entry(&self, context: &Context) -> Entry {
        Entry::SweepPlanned {
            sweep: self.plan.sweep.clone(),
            description: self.sweep.description.clone(),
            target_params: self.sweep.target.map(|params| params.0),
            spec: self.text.clone(),
            trials: self
                .plan
                .trials
                .iter()
                .map(|trial| self.trial_entry(context, trial))
                .collect(),
        }
    }

    /// A trial as the tables will have it, with no result in it.
    pub fn trial_row(&self, context: &Context, trial: &plan::TrialPlan) -> TrialRow {
        self.trial_entry(context, trial).row
    }

    fn trial_entry(&self, context: &Context, trial: &plan::TrialPlan) -> TrialEntry {
        let settings = &trial.spec.settings;
        let config = &trial.config;
        let data = &self.data[&settings.data];
        let schedule = config.schedule;
        let is_wsd = settings.schedule.name == spec::ScheduleName::Wsd;
        let row = TrialRow {
            trial: trial.id.0.clone(),
            sweep: self.plan.sweep.clone(),
            slug: trial.slug.clone(),
            state: TrialState::Pending,
            trainer: context.trainer,
            model: settings.model.clone(),
            params_non_embedding: config.shape.params_non_embedding().0,
            params_total: config.shape.params_total(config.vocab).0,
            width: config.shape.width,
            layers: config.shape.layers,
            heads: config.shape.heads,
            vocab: config.vocab,
            context: config.context,
            parametrization: config.parametrization,
            lr: config.optimizer.lr,
            batch_tokens: config.batch_tokens.0,
            schedule: settings.schedule.name,
            warmup_tokens: config.tokens_at(schedule.warmup).0,
            decay_fraction: is_wsd.then_some(settings.schedule.decay_fraction),
            tokens: trial.tokens().0,
            tokens_asked: trial.tokens_asked().0,
            steps: trial.steps.0,
            seed: config.seed,
            flops: trial.flops(),
            final_loss: None,
            bits_per_byte: None,
            diverged_at_tokens: None,
            device: None,
            numerics: config.numerics.name(),
            code_epoch: plan::identity::EPOCH,
            code_version: None,
            data_hash: config.data_hash.clone(),
            config_hash: trial.config_hash.clone(),
            seconds: None,
            axes: trial.spec.axes.clone(),
            setup: TrialRow::setup_of(settings),
        };
        TrialEntry {
            row,
            stages: trial.stages.clone(),
            flops_per_token: plan::flops_per_token(config),
            decayed: schedule.is_finished_at(trial.steps),
            held_out: data.held_out.first().map(|(name, _)| name.clone()).unwrap_or_default(),
            settings: serde_json::to_value(settings).unwrap_or_default(),
        }
    }

    /// How many trials have each reason; reasons without a trial are there with 0.
    pub fn reasons(&self) -> BTreeMap<&'static str, u64> {
        let mut counts: BTreeMap<&'static str, u64> = Reason::ALL.iter().map(|reason| (reason.name(), 0)).collect();
        for (reason, _) in self.plan.reasons(&self.known) {
            *counts.entry(reason.name()).or_default() += 1;
        }
        counts
    }

    /// Seconds that this stage takes a worker: measured where possible.
    pub fn seconds(&self, stage: &plan::StagePlan) -> f64 {
        let (by_shape, over_all) = &self.rates;
        let rate = by_shape
            .get(&rate_key(&stage.config))
            .copied()
            .or(*over_all)
            .unwrap_or(ASSUMED_FLOPS_PER_SECOND);
        stage.flops() / rate
    }

    /// Whether the speeds are this machine's own.
    pub fn rate_source(&self) -> &'static str {
        if self.rates.1.is_some() { "measured" } else { "assumed" }
    }
}

/// FLOPs per second and slot before anything was measured: a third of one core's matrix peak.
const ASSUMED_FLOPS_PER_SECOND: f64 = 3e10;

/// Announces a plan in the database; one that was announced before, word for word, is not announced again.
pub async fn announce(context: &Context, store: &mut Store, planned: &Planned) -> Result<(), Failure> {
    let mut entries = planned.entries(context);
    let sweep = planned.sweep_entry(context);
    if store.newest_plan(&planned.plan.sweep).await?.as_ref() != Some(&sweep) {
        entries.push(sweep);
    }
    Ok(store.append(&context.now(), &entries).await?)
}
