//! Why a law is refused, and what a law that is given must be read with.
//!
//! Codes are part of the command line's contract. Refuses to know how they are printed.

use serde::{Deserialize, Serialize};

/// Why the data cannot carry a law. Each has a code that scripts rely on, and says what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Fewer than three model sizes (sizes within 2 % are one).
    #[error("{sizes} model size(s), and a law over size needs at least 3; train more sizes")]
    TooFewSizes {
        /// How many there are.
        sizes: usize,
    },
    /// Fewer than three token budgets (budgets within 2 % are one).
    #[error(
        "{budgets} token budget(s), and a law over tokens needs at least 3; train more budgets"
    )]
    TooFewBudgets {
        /// How many there are.
        budgets: usize,
    },
    /// Curves of one schedule do not say what another schedule does.
    #[error("all curves follow the schedule `{schedule}`; add a run with another schedule")]
    SingleSchedule {
        /// Which schedule.
        schedule: String,
    },
    /// The best constant lies at the end of the range that is searched.
    #[error(
        "{parameter} ran to {value}, the end of its range; the data do not bend this way: add sizes or budgets further apart"
    )]
    AtBound {
        /// Which constant.
        parameter: &'static str,
        /// Where it stopped.
        value: f64,
    },
    /// No grid brackets its minimum.
    #[error("in all {groups} group(s) the best {what} is at the edge of its grid; extend the grid")]
    OptimumAtEdge {
        /// What was varied.
        what: &'static str,
        /// How many groups of runs were looked at.
        groups: usize,
    },
    /// Different constants describe the data equally well.
    #[error("the constants cannot be told apart: {why}")]
    NotIdentified {
        /// What is missing.
        why: String,
    },
    /// The rows come from the toy trainer.
    #[error(
        "{rows} row(s) come from the toy trainer, which answers from a planted law; pass --toy to fit them"
    )]
    ToyData {
        /// How many.
        rows: usize,
    },
    /// There is no finished run.
    #[error("no run has finished its schedule; only decayed final losses enter a law")]
    NotFinished,
}

impl Refusal {
    /// The code that scripts rely on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooFewSizes { .. } => "too_few_sizes",
            Self::TooFewBudgets { .. } => "too_few_budgets",
            Self::SingleSchedule { .. } => "single_schedule",
            Self::AtBound { .. } => "at_bound",
            Self::OptimumAtEdge { .. } => "optimum_at_edge",
            Self::NotIdentified { .. } => "not_identified",
            Self::ToyData { .. } => "toy_data",
            Self::NotFinished => "not_finished",
        }
    }
}

/// What a reader of a fit must know before trusting it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Which kind.
    pub code: WarningCode,
    /// The sentence for people.
    pub text: String,
}

impl Warning {
    /// A warning.
    pub(crate) fn new(code: WarningCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

/// The kinds of warnings, by the names that they have in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// The irreducible loss E came out as zero: the runs are far from it, and predictions far away are too low.
    IrreducibleLossAtZero,
    /// An exponent's interval is wider than a factor of three, or reaches the end of its range.
    ExponentUncertain,
    /// There are too few sizes to hold the largest out.
    HoldOutTooSmall,
    /// There are too few sizes to check intervals against held-out runs: they are of the bootstrap alone.
    ExtrapolationUnchecked,
    /// Runs lie far off the law that the others agree on.
    Outliers,
    /// Typical residuals exceed 3 % of the loss.
    PoorFit,
    /// Replicates agree better with one another than with the law.
    LackOfFit,
    /// Part of the bootstrap did not reach a minimum, and its draws are left out.
    DrawsLost,
}
