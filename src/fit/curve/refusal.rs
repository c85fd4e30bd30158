//! Why a curve is refused: no number is better than a wrong one. Refuses to know who is told.

/// A refusal; its code is a contract.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no curve to fit")]
    NoCurves,
    /// A number that no run can have.
    #[error("curve {name}, row {row}: {what}")]
    BadRow {
        name: String,
        /// The row, from 1.
        row: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A curve that is wrong as a whole.
    #[error("curve {name}: {what}")]
    BadCurve {
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// A curve has a few rows only.
    #[error("curve {name} has {found} rows after its warm-up; {least} are the least")]
    TooFewPoints {
        name: String,
        /// Rows after the warm-up.
        found: usize,
        least: usize,
    },
    /// A loss that stays or rises is no training that a law could tell of.
    #[error("the loss of curve {name} does not fall: {first:.4} in its first tenth, {last:.4} in its last")]
    NotFalling {
        name: String,
        /// The mean loss of its first tenth.
        first: f64,
        /// The same of its last.
        last: f64,
    },
    /// The curves do not tell what a decay is worth, and the law is asked about another schedule.
    #[error(
        "no decay beside a constant rate was seen, so what a decay is worth is not known: nothing is said of {name}"
    )]
    SingleSchedule {
        /// The schedule that was asked for.
        name: String,
    },
    /// A stored fit lacks a constant.
    #[error("the fit has no usable constant {name}")]
    BadFit { name: &'static str },
    /// A run that no schedule can be made for.
    #[error("no schedule can be made: {what}")]
    BadPlan { what: &'static str },
}

impl Refusal {
    /// Whether a table is to be mended, and not what a good one cannot carry.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::SingleSchedule { .. } | Self::TooFewPoints { .. } | Self::NotFalling { .. } => false,
            Self::NoCurves
            | Self::BadRow { .. }
            | Self::BadCurve { .. }
            | Self::BadFit { .. }
            | Self::BadPlan { .. } => true,
        }
    }

    /// The code of the contract.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCurves => "no_curves",
            Self::BadRow { .. } => "bad_row",
            Self::BadCurve { .. } => "bad_curve",
            Self::TooFewPoints { .. } => "too_few_points",
            Self::NotFalling { .. } => "not_falling",
            Self::SingleSchedule { .. } => "single_schedule",
            Self::BadFit { .. } => "bad_fit",
            Self::BadPlan { .. } => "bad_plan",
        }
    }

    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoCurves => "name at least one curve",
            Self::BadRow { .. } | Self::BadCurve { .. } => "mend or leave out the row",
            Self::TooFewPoints { .. } => "record the loss more often, or leave out the curve",
            Self::NotFalling { .. } => "look at the column of the loss, or leave out the curve",
            Self::SingleSchedule { .. } => "fit a constant rate beside the decay: a WSD run alone holds both",
            Self::BadFit { .. } => "fit the curves again",
            Self::BadPlan { .. } => "mend the numbers of the run",
        }
    }
}
