//! From the trials of a sweep to laws that are kept: what enters, what is left out and why.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::loss::loss_law::{HoldOut, Options, PointFit};
use crate::fit::observation::{Observation, best_per_cell};
use crate::fit::rate::learning_rate::{self, LrFit, LrRun};
use crate::fit::refusal::Refusal;
use crate::protocol::Trainer;
use crate::record::{TrialRow, TrialState};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::cross_check::{CrossCheck, cross_check};
use crate::run::fit::table::{self, Mapping, TableRuns};
use crate::run::sources;
use crate::run::sweep_set::SweepSet;
use crate::setup::{Factor, Setup};
use crate::spec;
use crate::store::{FitRow, ImportRow, Store};
use crate::study::filter::Filter;
use crate::study::{LeftOut, select};

/// The name of the law of loss in the database.
pub const CHINCHILLA: &str = "chinchilla";

/// The name of the law of the learning rate there.
pub const LR: &str = "lr";

/// How to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What is minimised.
    pub objective: Objective,
    /// What is held out.
    pub hold_out: HoldOut,
    /// Resamples.
    pub bootstrap: usize,
    /// Trials of a sweep that count; none: all.
    pub condition: Option<String>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            objective: Objective::Huber,
            hold_out: HoldOut::Largest,
            bootstrap: 1000,
            condition: None,
        }
    }
}

/// A law that is kept under a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept<T> {
    /// Its name.
    pub fit: String,
    /// The law.
    #[serde(flatten)]
    pub law: T,
    /// The sweep or the file that it rests on.
    pub source: String,
    /// Hash of the runs that it rests on.
    pub data_hash: String,
    /// Trials that did not enter, with the reason.
    pub left_out: Vec<LeftOut>,
}

/// How long a fit took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Timings {
    /// The constants.
    pub point: f64,
    /// How sure they are.
    pub bootstrap: f64,
    /// All of it, with runs held out.
    pub total: f64,
}

/// The laws of a sweep.
#[derive(Debug)]
pub struct Laws {
    /// The law of loss.
    pub loss: Result<Kept<LossFit>, Refusal>,
    /// The law of the learning rate.
    pub lr: Result<Kept<LrFit>, Refusal>,
    /// The trials.
    pub trials: Vec<TrialRow>,
    /// How long the law of loss took.
    pub timings: Timings,
}

/// A refusal, in the user's terms.
pub fn refused(refusal: &Refusal) -> Failure {
    Failure::refused(refusal.code(), refusal.to_string(), refusal.hint())
}

/// Fits the laws of a sweep, or of several as one, and keeps those that are not refused.
pub async fn fit_sweeps(
    context: &Context,
    store: &mut Store,
    sweeps: &SweepSet,
    request: &Request,
) -> Result<Laws, Failure> {
    let sweep = sweeps.name();
    let trials = counting(store, sweeps, request).await?;
    if let Err(refusal) = check(&trials, context.trainer) {
        let mut failure = refused(&refusal);
        if trials.iter().all(|row| row.state == TrialState::Diverged) {
            failure.message = format!("all {} trials diverged, so there is no loss", trials.len());
            failure.hints = vec!["try lower learning rates: `sandbox recipe` writes the sweep to run next".to_owned()];
        }
        return Err(failure);
    }
    let mut timings = Timings::default();
    let loss = loss(context, sweep, &trials, request, &mut timings);
    let lr = lr(sweep, &trials);
    if let Ok(kept) = &lr {
        keep(context, store, Some(sweep), &kept.fit, LR, kept).await?;
    }
    if let Ok(kept) = &loss {
        keep(context, store, Some(sweep), &kept.fit, CHINCHILLA, kept).await?;
    }
    Ok(Laws {
        loss,
        lr,
        trials,
        timings,
    })
}

/// The trials that count.
pub(in crate::run) async fn counting(
    store: &mut Store,
    sweeps: &SweepSet,
    request: &Request,
) -> Result<Vec<TrialRow>, Failure> {
    let mut trials = sweeps.trials(store).await?;
    let filter = Filter::new(request.condition.as_deref(), &trials)?;
    let all = trials.len();
    trials.retain(|trial| filter.holds(trial));
    if trials.is_empty() && all > 0 {
        let message = format!("the condition of `--where` holds for none of {all} trials");
        return Err(Failure::invalid(
            "nothing_matches",
            message,
            "`sandbox status --trials` lists them",
        ));
    }
    Ok(trials)
}

/// The law of loss of somebody's runs.
#[derive(Debug)]
pub struct TableFit {
    /// The law.
    pub kept: Kept<LossFit>,
    /// How long it took.
    pub timings: Timings,
    /// What minima at equal compute say of it.
    pub isoflop: Option<CrossCheck>,
}

/// Fits the law of loss to the runs of somebody's table, and keeps it.
pub async fn fit_table(
    context: &Context,
    store: &mut Store,
    path: &Path,
    mapping: &Mapping,
    request: &Request,
) -> Result<TableFit, Failure> {
    let TableRuns { runs, left_out, .. } = table::read(path, mapping)?;
    fit_runs(context, store, &path.display().to_string(), runs, left_out, request).await
}

/// Fits the law of loss to runs that were imported, and keeps it.
pub async fn fit_import(
    context: &Context,
    store: &mut Store,
    import: &str,
    request: &Request,
) -> Result<TableFit, Failure> {
    let (runs, left_out) = sources::imported(store, import, request).await?;
    fit_runs(context, store, import, runs, left_out, request).await
}

/// Fits the law of loss to somebody's runs, and keeps it.
async fn fit_runs(
    context: &Context,
    store: &mut Store,
    source: &str,
    runs: Vec<Observation>,
    left_out: Vec<(String, String)>,
    request: &Request,
) -> Result<TableFit, Failure> {
    affordable(source, runs.len(), request.bootstrap)?;
    // Where nothing but size and tokens is known, every run counts; else the law is that of runs that were tuned.
    let is_bare = |run: &Observation| run.lr.is_none() && run.batch_tokens.is_none() && run.schedule.is_none();
    let (best, others) = if runs.iter().all(is_bare) {
        (runs, Vec::new())
    } else {
        best_per_cell(&runs)
    };
    let mut timings = Timings::default();
    let mut law = timed_law(context, &best, request, &mut timings).map_err(|refusal| refused(&refusal))?;
    "as-given".clone_into(&mut law.convention);
    let left_out = left_out.into_iter().chain(others);
    let kept = Kept {
        fit: name(&law),
        law,
        source: source.to_owned(),
        data_hash: hash_of(&best),
        left_out: left_out.map(|(trial, reason)| LeftOut { trial, reason }).collect(),
    };
    keep(context, store, None, &kept.fit, CHINCHILLA, &kept).await?;
    Ok(TableFit {
        isoflop: cross_check(&best, &kept.law, request.bootstrap),
        kept,
        timings,
    })
}

/// Runs that were imported.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// Their name here.
    pub import: String,
    /// Whether others of that name were there before.
    pub replaced: bool,
    /// The file.
    pub source: String,
    /// How many.
    pub runs: usize,
    /// Rows that did not enter.
    pub left_out: Vec<LeftOut>,
}

/// Keeps the runs of somebody's table under a name.
pub async fn import(context: &Context, path: &Path, mapping: &Mapping, name: &str) -> Result<Imported, Failure> {
    if let Err(wrong) = spec::check_name(name) {
        return Err(Failure::invalid("bad_name", wrong, "choose one with `--name`"));
    }
    let TableRuns { runs, left_out, hash } = table::read(path, mapping)?;
    if runs.is_empty() {
        let message = format!("`{}` has no run that counts", path.display());
        return Err(Failure::invalid("no_runs", message, ""));
    }
    let mut store = context.store_or_new().await?;
    if store.sweeps().await?.iter().any(|row| row.sweep == name) {
        let message = format!("there is a sweep `{name}` in this home");
        return Err(Failure::invalid("name_taken", message, "choose another with `--name`"));
    }
    let replaced = store.imports().await?.iter().any(|known| known == name);
    let row = ImportRow {
        import: name.to_owned(),
        source: path.display().to_string(),
        source_hash: hash,
    };
    store.add_import(&context.now(), &row, &runs).await?;
    Ok(Imported {
        import: row.import,
        replaced,
        source: row.source,
        runs: runs.len(),
        left_out: left_out
            .into_iter()
            .map(|(trial, reason)| LeftOut { trial, reason })
            .collect(),
    })
}

/// Refuses what would take hours: every draw fits every run anew.
fn affordable(source: &str, runs: usize, bootstrap: usize) -> Result<(), Failure> {
    const WORK_MAX: usize = 25_000_000;
    // Runs held out are predicted by further fits, also without a bootstrap.
    const FITS: usize = 50;
    if runs * bootstrap.max(FITS) <= WORK_MAX {
        return Ok(());
    }
    let most = if runs * FITS > WORK_MAX {
        "sample the rows: a law of five constants needs no more".to_owned()
    } else {
        format!("`--bootstrap {}` at most, or sample the rows", WORK_MAX / runs)
    };
    Err(Failure::invalid(
        "too_many_rows",
        format!("`{source}` has {runs} runs; {bootstrap} draws of a law on them would take hours"),
        &most,
    ))
}

/// Fits the law of loss, and takes the time of each part.
fn timed_law(
    context: &Context,
    runs: &[Observation],
    request: &Request,
    timings: &mut Timings,
) -> Result<LossFit, Refusal> {
    let options = Options {
        objective: request.objective,
        hold_out: request.hold_out,
        bootstrap: request.bootstrap,
        seed: 0,
        threads: context.cores as usize,
    };
    let since = |began: Instant| began.elapsed().as_secs_f64() * 1000.0;
    let began = Instant::now();
    let point = PointFit::new(runs, &options)?;
    timings.point = since(began);
    let spread = point.draw();
    timings.bootstrap = since(began) - timings.point;
    let law = point.finish(spread);
    timings.total = since(began);
    Ok(law)
}

/// Hash of runs, whatever their order.
fn hash_of(runs: &[impl Serialize]) -> String {
    let mut lines: Vec<String> = runs
        .iter()
        .map(|run| serde_json::to_string(run).unwrap_or_default())
        .collect();
    lines.sort_unstable();
    blake3::hash(lines.join("\n").as_bytes()).to_hex().to_string()
}

/// What the toy has answered is no measurement, unless it is asked for.
pub(in crate::run) fn no_toys(trials: &[TrialRow], trainer: Trainer) -> Result<(), Refusal> {
    let toys = trials.iter().filter(|row| row.trainer == Trainer::Toy.name()).count();
    if toys > 0 && trainer != Trainer::Toy {
        return Err(Refusal::ToyData { rows: toys });
    }
    Ok(())
}

/// What no law may rest on.
pub(in crate::run) fn check(trials: &[TrialRow], trainer: Trainer) -> Result<(), Refusal> {
    no_toys(trials, trainer)?;
    let finished: Vec<&TrialRow> = trials.iter().filter(|row| row.final_loss.is_some()).collect();
    if finished.is_empty() {
        return Err(Refusal::NotFinished { left_out: trials.len() });
    }
    let data: BTreeSet<&str> = finished.iter().map(|row| row.data_hash.as_str()).collect();
    if data.len() > 1 {
        let why = format!(
            "the trials are trained on {} different data, whose losses do not compare",
            data.len()
        );
        return Err(Refusal::NotIdentified { why });
    }
    Ok(())
}

fn loss(
    context: &Context,
    sweep: &str,
    trials: &[TrialRow],
    request: &Request,
    timings: &mut Timings,
) -> Result<Kept<LossFit>, Refusal> {
    let mut left_out: Vec<LeftOut> = trials
        .iter()
        .filter_map(|row| {
            Some(LeftOut {
                trial: row.trial.clone(),
                reason: row.why_no_loss()?.to_owned(),
            })
        })
        .collect();
    let observations: Vec<Observation> = trials.iter().filter_map(observation).collect();
    let (best, others) = best_per_cell(&observations);
    left_out.extend(others.into_iter().map(|(trial, reason)| LeftOut { trial, reason }));
    let mut law = timed_law(context, &best, request, timings)?;
    "params_non_embedding".clone_into(&mut law.convention);
    Ok(Kept {
        fit: name(&law),
        law,
        source: sweep.to_owned(),
        data_hash: hash_of(&best),
        left_out,
    })
}

pub(in crate::run) fn observation(row: &TrialRow) -> Option<Observation> {
    Some(Observation {
        label: row.trial.clone(),
        params: row.params_non_embedding as f64,
        tokens: row.tokens as f64,
        loss: row.final_loss?,
        lr: Some(row.lr),
        batch_tokens: Some(row.batch_tokens as f64),
        schedule: Some(row.schedule.clone()),
        seed: Some(row.seed),
        // Laws count 6ND; what a trial cost in full is another number.
        flops: None,
        setup: Some(Setup::from(row).without([Factor::Seed])),
    })
}

fn lr(sweep: &str, trials: &[TrialRow]) -> Result<Kept<LrFit>, Refusal> {
    let (chosen, left_out) = select::lr_grids(trials);
    let run = |row: &&TrialRow| LrRun {
        model: row.model.clone(),
        params: row.params_non_embedding as f64,
        width: row.width as f64,
        tokens: row.tokens as f64,
        lr: row.lr,
        loss: row.final_loss,
    };
    let runs: Vec<LrRun> = chosen.iter().map(run).collect();
    let law = learning_rate::fit(&runs)?;
    Ok(Kept {
        fit: name(&law),
        law,
        source: sweep.to_owned(),
        data_hash: hash_of(&runs),
        left_out,
    })
}

/// The same law gets the same name.
pub(in crate::run) fn name(law: &impl Serialize) -> String {
    let text = serde_json::to_string(law).unwrap_or_default();
    blake3::hash(text.as_bytes()).to_hex().chars().take(12).collect()
}

pub(in crate::run) async fn keep(
    context: &Context,
    store: &mut Store,
    sweep: Option<&str>,
    fit: &str,
    law: &str,
    body: &impl Serialize,
) -> Result<(), Failure> {
    let body = serde_json::to_value(body).map_err(std::io::Error::other)?;
    let row = FitRow {
        fit: fit.to_owned(),
        sweep: sweep.map(str::to_owned),
        law: law.to_owned(),
        body,
    };
    Ok(store.add_fit(&context.now(), &row).await?)
}
