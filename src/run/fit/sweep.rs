//! The laws of a sweep that its recipe and its page rest on, and the one set of runs on which these rest.
//!
//! Refuses to know what they make of them.

use std::collections::BTreeSet;

use crate::fit::Warning;
use crate::fit::law::{AnyKept, Kept, LeftOut, OfLoss};
use crate::fit::laws::{Lr, LrBatch, LrBatchFit};
use crate::fit::rate::learning_rate::LrFit;
use crate::fit::refusal::Refusal;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::source::{LAW_OF_RATE, Runs, selected};
use crate::run::fit::{Request, fit_one, law_of_loss};
use crate::run::sweep_set::SweepSet;
use crate::store::Store;
use crate::study::one_set::{self, Kind};

/// Why a run does not count that is of another set.
const OTHER_SET: &str = "another schedule, batch or parametrization than the runs that were chosen";

/// The laws of a sweep.
#[derive(Debug)]
pub struct Laws {
    /// The law of loss that predicts larger runs best.
    pub loss: Result<AnyKept, Refusal>,
    /// The law of the learning rate.
    pub lr: Result<Kept<LrFit>, Refusal>,
    /// The law of learning rate and batch together; none: no size and budget has several batches.
    pub lr_batch: Option<Result<Kept<LrBatchFit>, Refusal>>,
    /// Which runs they rest on, in words, where these differ in more than laws vary.
    pub selected: Vec<Warning>,
    /// All runs.
    pub runs: Runs,
    /// The runs of one schedule and parametrization.
    pub of_schedule: Runs,
    /// The runs of the law of the learning rate; they share their batch, too, where batches compete.
    pub of_rate: Runs,
}

impl Laws {
    /// The law of loss with the name of its fit.
    pub fn of_loss(&self) -> Option<(&str, &dyn OfLoss)> {
        let kept = &self.loss.as_ref().ok()?.kept;
        Some((&kept.fit, kept.law.of_loss()?))
    }

    /// The law of learning rate and batch, where the runs carry it.
    pub fn joint(&self) -> Option<&Kept<LrBatchFit>> {
        self.lr_batch.as_ref()?.as_ref().ok()
    }

    /// What is not of the set of runs on which a recipe rests.
    pub fn set_aside(&self) -> &[LeftOut] {
        match self.joint() {
            Some(_) => self.of_schedule.set_aside(),
            None => self.of_rate.set_aside(),
        }
    }

    /// The trials, finished or not.
    pub fn trials(&self) -> &[TrialRow] {
        self.runs.trials.as_deref().unwrap_or_default()
    }
}

/// Fits the laws of a sweep, or of several as one, to one set of its runs, and keeps those that are not refused.
///
/// The set is the first of [`one_set::ranked`] that carries a law of loss and a law of the rate; the runs of all its
/// batches where they carry the law of rate and batch. Where none does, each law takes the runs that suit it, and that
/// is said.
pub async fn laws(context: &Context, store: &mut Store, sweeps: &SweepSet) -> Result<Laws, Failure> {
    let runs = Runs::of_sweeps(context, store, sweeps, &Request::default()).await?;
    let kinds = one_set::ranked(runs.trials.iter().flatten());
    let mut first: Option<Tried> = None;
    for &kind in &kinds {
        let tried = try_set(context, store, &runs, kind).await?;
        // Where the best set has rates to choose from and none is known to be best, no worse set stands in for it.
        let is_open = tried.lr.is_err() && one_set::has_grid(tried.of_rate.trials.iter().flatten());
        if tried.is_whole() || (first.is_none() && is_open) {
            return Ok(tried.laws(runs));
        }
        if first.as_ref().is_none_or(|first| first.lr.is_err() && tried.lr.is_ok()) {
            first = Some(tried);
        }
    }
    let Some(mut apart) = first else {
        let why = "no trial has ended".to_owned();
        let refused = Refusal::NotIdentified { why };
        return Ok(Laws {
            loss: Err(refused.clone()),
            lr: Err(refused),
            lr_batch: None,
            selected: Vec::new(),
            of_schedule: runs.only(|_| true, OTHER_SET),
            of_rate: runs.only(|_| true, OTHER_SET),
            runs,
        });
    };
    if kinds.len() > 1 && apart.lr.is_ok() {
        apart.loss = law_of_loss(context, store, &runs).await?;
        apart.is_apart = true;
    }
    Ok(apart.laws(runs))
}

/// The laws of one set.
struct Tried {
    kind: Kind,
    loss: Result<AnyKept, Refusal>,
    lr: Result<Kept<LrFit>, Refusal>,
    lr_batch: Option<Result<Kept<LrBatchFit>, Refusal>>,
    of_schedule: Runs,
    of_rate: Runs,
    /// Whether the law of loss takes other runs than that of the rate.
    is_apart: bool,
}

/// Fits the laws of one set: that of the loss to the runs of all batches where they carry a law of rate and batch.
async fn try_set(context: &Context, store: &mut Store, runs: &Runs, kind: Kind) -> Result<Tried, Failure> {
    let every_batch = kind.at_every_batch();
    let of_schedule = runs.only(|row| every_batch.has(row), OTHER_SET);
    let of_rate = runs.only(|row| kind.has(row), OTHER_SET);
    let lr_batch = match kind.batch_tokens {
        Some(_) => Some(fit_one::<LrBatch>(context, store, &of_schedule).await?),
        None => None,
    };
    let is_joint = matches!(lr_batch, Some(Ok(_)));
    let lr = fit_one::<Lr>(context, store, &of_rate).await?;
    let loss = law_of_loss(context, store, if is_joint { &of_schedule } else { &of_rate }).await?;
    Ok(Tried {
        kind,
        loss,
        lr,
        lr_batch,
        of_schedule,
        of_rate,
        is_apart: false,
    })
}

impl Tried {
    fn is_joint(&self) -> bool {
        matches!(self.lr_batch, Some(Ok(_)))
    }

    /// Whether one set of runs carries a law of loss and a law of the rate.
    fn is_whole(&self) -> bool {
        self.loss.is_ok() && (self.lr.is_ok() || self.is_joint())
    }

    fn laws(self, runs: Runs) -> Laws {
        Laws {
            selected: self.selected(&runs),
            loss: self.loss,
            lr: self.lr,
            lr_batch: self.lr_batch,
            of_schedule: self.of_schedule,
            of_rate: self.of_rate,
            runs,
        }
    }

    fn selected(&self, runs: &Runs) -> Vec<Warning> {
        let trials = runs.trials.as_deref();
        let of_rate = self.of_rate.set_aside();
        if self.is_apart {
            let loss = self.loss.as_ref().map_or(&[][..], |law| &law.kept.left_out);
            let each = [
                selected(LAW_OF_RATE, trials, of_rate),
                selected("the law of loss", trials, loss),
            ];
            return each.into_iter().flatten().chain([self.apart()]).collect();
        }
        if self.is_joint() {
            let within = self.of_schedule.trials.as_deref();
            let recipe = selected("the recipe", trials, self.of_schedule.set_aside());
            let here: BTreeSet<&str> = within.iter().copied().flatten().map(|row| row.trial.as_str()).collect();
            let others: Vec<LeftOut> = of_rate
                .iter()
                .filter(|it| here.contains(it.trial.as_str()))
                .cloned()
                .collect();
            return [
                recipe,
                selected("whether the rate carries over, at one batch,", within, &others),
            ]
            .into_iter()
            .flatten()
            .collect();
        }
        selected("the recipe", trials, of_rate).into_iter().collect()
    }

    fn apart(&self) -> Warning {
        let batch = self
            .kind
            .batch_tokens
            .map_or_else(String::new, |batch| format!(" and batch {batch}"));
        let text = format!(
            "no one schedule and batch carries both laws, so that of the loss rests on other runs than that of the \
             learning rate (schedule {}{batch}): vary the rate where the sizes and budgets are varied",
            self.kind.schedule.name()
        );
        Warning::new("two_sets_of_runs", text)
    }
}
