//! From the trials of a sweep to laws that are kept: what enters, what is left out and why.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::fit::chinchilla::Objective;
use crate::fit::learning_rate::{self, LrFit, LrRun};
use crate::fit::loss_fit::LossFit;
use crate::fit::loss_law::{self, HoldOut, Options};
use crate::fit::observation::{Observation, best_per_cell};
use crate::fit::refusal::Refusal;
use crate::record::{TrialRow, TrialState};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::store::{FitRow, Store};
use crate::wire::Trainer;

/// The name of the law of loss in the database.
const CHINCHILLA: &str = "chinchilla";

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// What is minimised.
    pub objective: Objective,
    /// What is held out.
    pub hold_out: HoldOut,
    /// Resamples.
    pub bootstrap: usize,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            objective: Objective::Huber,
            hold_out: HoldOut::Largest,
            bootstrap: 1000,
        }
    }
}

/// A law that is kept under a name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept<T> {
    /// Its name.
    pub fit: String,
    /// The law.
    #[serde(flatten)]
    pub law: T,
    /// Trials that did not enter, with the reason.
    pub left_out: Vec<LeftOut>,
}

/// A trial that did not enter a law.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub trial: String,
    /// Why.
    pub reason: String,
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
}

/// A refusal, in the user's terms.
pub fn refused(refusal: &Refusal) -> Failure {
    Failure::refused(refusal.code(), refusal.to_string(), refusal.hint())
}

/// The name of the sweep that is meant: the one that is named, or the one that was planned last.
pub async fn sweep_name(store: &mut Store, asked: Option<&str>) -> Result<String, Failure> {
    let names: Vec<String> = store.sweeps().await?.into_iter().map(|row| row.sweep).collect();
    match asked {
        Some(name) if names.iter().any(|known| known == name) => Ok(name.to_owned()),
        Some(name) => Err(Failure::unknown_sweep(name, &names)),
        None => store
            .newest_sweep()
            .await?
            .ok_or_else(|| Failure::unknown_sweep("", &names)),
    }
}

/// Fits the laws of a sweep and keeps those that are not refused.
pub async fn fit_sweep(context: &Context, store: &mut Store, sweep: &str, request: &Request) -> Result<Laws, Failure> {
    let trials = store.trials(Some(sweep)).await?;
    if let Err(refusal) = check(&trials, context.trainer) {
        return Err(refused(&refusal));
    }
    let loss = loss(context, &trials, request);
    let lr = lr(&trials);
    if let Ok(kept) = &loss {
        keep(context, store, sweep, &kept.fit, CHINCHILLA, kept).await?;
    }
    if let Ok(kept) = &lr {
        keep(context, store, sweep, &kept.fit, "lr", kept).await?;
    }
    Ok(Laws { loss, lr, trials })
}

/// What no law may rest on.
fn check(trials: &[TrialRow], trainer: Trainer) -> Result<(), Refusal> {
    let toys = trials.iter().filter(|row| row.trainer == Trainer::Toy.name()).count();
    if toys > 0 && trainer != Trainer::Toy {
        return Err(Refusal::ToyData { rows: toys });
    }
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

fn loss(context: &Context, trials: &[TrialRow], request: &Request) -> Result<Kept<LossFit>, Refusal> {
    let mut left_out: Vec<LeftOut> = trials
        .iter()
        .filter(|row| row.final_loss.is_none())
        .map(|row| LeftOut {
            trial: row.trial.clone(),
            reason: unfinished(row).to_owned(),
        })
        .collect();
    let observations: Vec<Observation> = trials.iter().filter_map(observation).collect();
    let (best, others) = best_per_cell(&observations);
    left_out.extend(others.into_iter().map(|(trial, reason)| LeftOut { trial, reason }));
    let options = Options {
        objective: request.objective,
        hold_out: request.hold_out,
        bootstrap: request.bootstrap,
        seed: 0,
        threads: context.cores as usize,
    };
    let mut law = loss_law::loss_law(&best, &options)?;
    "params_non_embedding".clone_into(&mut law.convention);
    Ok(Kept {
        fit: name(&law),
        law,
        left_out,
    })
}

/// Why a trial has no final loss.
pub fn unfinished(row: &TrialRow) -> &'static str {
    match row.state {
        TrialState::Complete => "its schedule does not decay, so its loss is not a final one",
        TrialState::Diverged => "diverged: the edge of stability, not a loss",
        TrialState::Failed => "failed",
        TrialState::Cancelled => "cancelled",
        TrialState::Pending | TrialState::Running => "not finished",
    }
}

fn observation(row: &TrialRow) -> Option<Observation> {
    Some(Observation {
        label: row.trial.clone(),
        params: row.params_non_embedding as f64,
        tokens: row.tokens as f64,
        loss: row.final_loss?,
        lr: Some(row.lr),
        batch_tokens: Some(row.batch_tokens as f64),
        schedule: Some(row.schedule.clone()),
        seed: Some(row.seed),
    })
}

/// The learning rates compare where all else is equal: the schedule, batch and parametrisation with the most trials.
fn lr(trials: &[TrialRow]) -> Result<Kept<LrFit>, Refusal> {
    let kind = |row: &TrialRow| (row.schedule.clone(), row.batch_tokens, row.parametrization.clone());
    let mut counts: BTreeMap<_, BTreeSet<(u64, u64, u64)>> = BTreeMap::new();
    for row in trials {
        let place = (row.params_non_embedding, row.tokens, row.lr.to_bits());
        counts.entry(kind(row)).or_default().insert(place);
    }
    let most = counts
        .iter()
        .max_by_key(|(_, places)| places.len())
        .map(|(kind, _)| kind.clone());
    let ended = |row: &&TrialRow| row.final_loss.is_some() || row.state == TrialState::Diverged;
    let mut left_out = Vec::new();
    let mut runs = Vec::new();
    for row in trials.iter().filter(ended) {
        if Some(kind(row)) == most {
            runs.push(LrRun {
                model: row.model.clone(),
                params: row.params_non_embedding as f64,
                width: row.width as f64,
                tokens: row.tokens as f64,
                lr: row.lr,
                loss: row.final_loss,
            });
        } else {
            let reason = "another schedule, batch or parametrization than most".to_owned();
            left_out.push(LeftOut {
                trial: row.trial.clone(),
                reason,
            });
        }
    }
    let law = learning_rate::fit(&runs)?;
    Ok(Kept {
        fit: name(&law),
        law,
        left_out,
    })
}

/// The same law gets the same name.
fn name(law: &impl Serialize) -> String {
    let text = serde_json::to_string(law).unwrap_or_default();
    blake3::hash(text.as_bytes()).to_hex().chars().take(12).collect()
}

async fn keep(
    context: &Context,
    store: &mut Store,
    sweep: &str,
    fit: &str,
    law: &str,
    body: &impl Serialize,
) -> Result<(), Failure> {
    let body = serde_json::to_value(body).map_err(std::io::Error::other)?;
    let row = FitRow {
        fit: fit.to_owned(),
        sweep: Some(sweep.to_owned()),
        law: law.to_owned(),
        body,
    };
    Ok(store.add_fit(&context.now(), &row).await?)
}

/// The one fit that is meant, with its law of loss.
pub async fn stored_loss_fit(store: &mut Store, name: &str) -> Result<(String, LossFit), Failure> {
    let mut found: Vec<FitRow> = if name == "last" {
        store.newest_fit(CHINCHILLA).await?.into_iter().collect()
    } else {
        store
            .fits(name)
            .await?
            .into_iter()
            .filter(|row| row.law == CHINCHILLA)
            .collect()
    };
    match (found.pop(), found.len()) {
        (Some(row), 0) => {
            let law = serde_json::from_value(row.body).map_err(|error| {
                Failure::environment(
                    "damaged_database",
                    format!("fit {} cannot be read: {error}", row.fit),
                    "fit again",
                )
            })?;
            Ok((row.fit, law))
        }
        (None, _) => Err(Failure::invalid(
            "unknown_fit",
            format!("there is no law of loss `{name}`"),
            "`sandbox fit SWEEP` makes one; `last` is the newest",
        )),
        (Some(_), _) => Err(Failure::invalid(
            "ambiguous_fit",
            format!("`{name}` is the beginning of several fits"),
            "give more characters",
        )),
    }
}
