//! The laws of a sweep that its recipe and its page rest on.
//!
//! Refuses to know what they make of them.

use crate::fit::law::Kept;
use crate::fit::laws::{Chinchilla, Lr};
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::rate::learning_rate::LrFit;
use crate::fit::refusal::Refusal;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::source::Runs;
use crate::run::fit::{Request, fit_one};
use crate::run::sweep_set::SweepSet;
use crate::store::Store;

/// The laws of a sweep.
#[derive(Debug)]
pub struct Laws {
    /// The law of loss.
    pub loss: Result<Kept<LossFit>, Refusal>,
    /// The law of the learning rate.
    pub lr: Result<Kept<LrFit>, Refusal>,
    /// What they rest on.
    pub runs: Runs,
}

impl Laws {
    /// The trials, finished or not.
    pub fn trials(&self) -> &[TrialRow] {
        self.runs.trials.as_deref().unwrap_or_default()
    }
}

/// Fits the laws of a sweep, or of several as one, and keeps those that are not refused.
pub async fn laws(context: &Context, store: &mut Store, sweeps: &SweepSet) -> Result<Laws, Failure> {
    let runs = Runs::of_sweeps(context, store, sweeps, &Request::default()).await?;
    let lr = fit_one::<Lr>(context, store, &runs).await?;
    let loss = fit_one::<Chinchilla>(context, store, &runs).await?;
    Ok(Laws { loss, lr, runs })
}
