//! Why a law is refused: the data cannot carry it, and no number is better than a wrong one.

use crate::fit::curve;

/// A refusal; its code is a contract.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A law in N needs sizes.
    #[error("this law needs {needed} sizes at least; {found} differ here")]
    TooFewSizes {
        /// Sizes that differ by more than 2 %.
        found: usize,
        needed: usize,
    },
    /// A law in D needs token budgets.
    #[error("a law in D needs three token budgets at least; {found} differ here")]
    TooFewBudgets {
        /// Budgets that differ by more than 2 %.
        found: usize,
    },
    /// An exponent ran to the border of what makes sense.
    #[error("the exponent {name} ran to its bound {bound}: the data does not show a power law there")]
    AtBound { name: &'static str, bound: f64 },
    /// No group has a best learning rate between two worse ones.
    #[error("the lowest loss lies at the edge of the grid in all {groups} groups")]
    OptimumAtEdge {
        /// Groups of equal size and tokens.
        groups: usize,
    },
    /// Several parameters explain the data equally well.
    #[error("the data does not identify the law: {why}")]
    NotIdentified { why: String },
    /// Rows of the toy trainer.
    #[error("{rows} rows come from the toy trainer")]
    ToyData { rows: usize },
    #[error("no run has finished its schedule, {left_out} were left out")]
    NotFinished {
        /// Runs that were left out.
        left_out: usize,
    },
    /// A number that no run can have.
    #[error("run {label}: {what}")]
    BadObservation {
        label: String,
        /// What is wrong with it.
        what: String,
    },
    /// A law of loss curves refuses.
    #[error(transparent)]
    Curves(#[from] curve::Refusal),
}

impl Refusal {
    /// Whether the user's input is at fault, and not what a good input cannot carry.
    pub fn is_mistake(&self) -> bool {
        matches!(self, Self::Curves(refusal) if refusal.is_mistake())
    }

    /// The code of the contract.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooFewSizes { .. } => "too_few_sizes",
            Self::TooFewBudgets { .. } => "too_few_budgets",
            Self::AtBound { .. } => "at_bound",
            Self::OptimumAtEdge { .. } => "optimum_at_edge",
            Self::NotIdentified { .. } => "not_identified",
            Self::ToyData { .. } => "toy_data",
            Self::NotFinished { .. } => "not_finished",
            Self::BadObservation { .. } => "bad_observation",
            Self::Curves(refusal) => refusal.code(),
        }
    }

    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooFewSizes { .. } => "add sizes to `model` and run the sweep again: only what is missing is trained",
            Self::TooFewBudgets { .. } => "add budgets to `tokens`: with WSD each costs only its decay",
            Self::AtBound { .. } | Self::NotIdentified { .. } => {
                "span more: sizes and tokens over a factor of ten each"
            }
            Self::OptimumAtEdge { .. } => {
                "widen the grid (`lr`, the batch or the sizes) beyond the edge where the lowest loss lies"
            }
            Self::ToyData { .. } => "pass `--toy` if this is a test",
            Self::NotFinished { .. } => "finish the sweep with `sandbox run`; a constant schedule has no final loss",
            Self::BadObservation { .. } => "mend or leave out the row",
            Self::Curves(refusal) => refusal.hint(),
        }
    }
}
