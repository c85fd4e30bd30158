//! The laws of a sweep that its recipe and its page rest on.
//!
//! Refuses to know what they make of them.

use crate::fit::Warning;
use crate::fit::law::{AnyKept, Kept, LeftOut, OfLoss};
use crate::fit::laws::Lr;
use crate::fit::rate::learning_rate::LrFit;
use crate::fit::refusal::Refusal;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::source::{LAW_OF_RATE, Runs, selected};
use crate::run::fit::{Request, fit_one, law_of_loss};
use crate::run::sweep_set::SweepSet;
use crate::store::Store;

/// The laws of a sweep.
#[derive(Debug)]
pub struct Laws {
    /// The law of loss that predicts larger runs best.
    pub loss: Result<AnyKept, Refusal>,
    /// The law of the learning rate.
    pub lr: Result<Kept<LrFit>, Refusal>,
    /// What they rest on.
    pub runs: Runs,
}

impl Laws {
    /// The law of loss with the name of its fit.
    pub fn of_loss(&self) -> Option<(&str, &dyn OfLoss)> {
        let kept = &self.loss.as_ref().ok()?.kept;
        Some((&kept.fit, kept.law.of_loss()?))
    }

    /// Which trials each law rests on, in words, where they differ in more than laws vary.
    pub fn selected(&self) -> Vec<Warning> {
        let of = |law: &str, left_out: &[LeftOut]| selected(law, self.runs.trials.as_deref(), left_out);
        let lr = self.lr.as_ref().ok();
        let lr = lr.and_then(|kept| of(LAW_OF_RATE, &kept.left_out));
        let loss = self.loss.as_ref().ok();
        let loss = loss.and_then(|kept| of("the law of loss", &kept.kept.left_out));
        lr.into_iter().chain(loss).collect()
    }

    /// The trials, finished or not.
    pub fn trials(&self) -> &[TrialRow] {
        self.runs.trials.as_deref().unwrap_or_default()
    }
}

/// Fits the laws of a sweep, or of several as one, and keeps those that are not refused.
pub async fn laws(context: &Context, store: &mut Store, sweeps: &SweepSet) -> Result<Laws, Failure> {
    let runs = Runs::of_sweeps(context, store, sweeps, &Request::default()).await?;
    let lr = fit_one::<Lr>(context, store, &runs).await?;
    let loss = law_of_loss(context, store, &runs).await?;
    Ok(Laws { loss, lr, runs })
}
