//! How a law is to be fitted, and a refusal in the user's terms.
//!
//! Refuses to fit.

use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::loss_law::HoldOut;
use crate::fit::refusal::Refusal;
use crate::run::failure::Failure;

/// Which parameters N counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counts {
    /// All but the embedding.
    #[default]
    NonEmbedding,
    Total,
}

impl Counts {
    /// What a fit calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NonEmbedding => "params_non_embedding",
            Self::Total => "params_total",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What is minimised; none: Huber's loss on log loss, or what a hold-out prefers where it chooses.
    pub objective: Option<Objective>,
    /// Whether a hold-out chooses what is minimised, also for a law that is named.
    pub objective_by_hold_out: bool,
    /// What N counts, for trials of a sweep.
    pub counts: Counts,
    /// What is held out.
    pub hold_out: HoldOut,
    pub bootstrap: usize,
    /// Trials of a sweep, or rows of a table, that count; none: all.
    pub condition: Option<String>,
    /// Loss curves to fit, by file or trial; none of a sweep: all others.
    pub train: Vec<String>,
    /// Loss curves to predict, which the fit does not see.
    pub predict: Vec<String>,
    /// Steps of warm-up that the curves do not show.
    pub warmup: f64,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            objective: None,
            objective_by_hold_out: false,
            counts: Counts::default(),
            hold_out: HoldOut::Largest,
            bootstrap: 1000,
            condition: None,
            train: Vec::new(),
            predict: Vec::new(),
            warmup: 0.0,
        }
    }
}

/// Why a run does not count that a condition does not hold for.
pub(in crate::run) const CONDITION: &str = "the condition leaves it out";

/// A condition that leaves nothing.
pub(super) fn nothing_matches(all: usize, what: &str, hint: &str) -> Failure {
    let message = format!("the condition of `--where` holds for none of {all} {what}");
    Failure::invalid("nothing_matches", message, hint)
}

/// A refusal, in the user's terms: bad input is the user's to mend, what a good one cannot carry is refused.
pub fn refused(refusal: &Refusal) -> Failure {
    if refusal.is_mistake() {
        return Failure::invalid(refusal.code(), refusal.to_string(), refusal.hint());
    }
    Failure::refused(refusal.code(), refusal.to_string(), refusal.hint())
}
