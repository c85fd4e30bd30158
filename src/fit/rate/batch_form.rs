//! Whether the best batch moves with tokens alone or with size, too: whichever predicts groups that it has not seen.
//!
//! Rolls forward: groups of each size are predicted from those of smaller sizes, and of each budget from those of smaller
//! budgets. Refuses to decide by an interval: an exponent can differ from zero and still predict worse.

use serde::{Deserialize, Serialize};

use crate::fit::design::SAME_SIZE;
use crate::fit::numeric::statistics;
use crate::fit::rate::lr_batch_surface::{self, Free, GROUPS_MIN, Group, Sums, VALUES_MIN};

/// Everything moves.
pub(super) const SIZE_AND_TOKENS: Free = [true; 6];
/// The batch does not move with size: the form of Step Law.
pub(super) const TOKENS: Free = [true, true, true, true, false, true];

/// What the best batch moves with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchForm {
    #[default]
    Tokens,
    SizeAndTokens,
}

impl BatchForm {
    pub fn formula(self) -> &'static str {
        match self {
            Self::Tokens => "batch = c \u{b7} D^b",
            Self::SizeAndTokens => "batch = c \u{b7} N^a \u{b7} D^b",
        }
    }

    pub(super) fn free(self) -> Free {
        match self {
            Self::Tokens => TOKENS,
            Self::SizeAndTokens => SIZE_AND_TOKENS,
        }
    }
}

/// How a form did on groups that it had not seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FormTried {
    pub form: BatchForm,
    /// Groups that were predicted.
    pub n: usize,
    /// The root of the mean square by which the predicted valley misses their losses, as a share of the loss.
    pub miss: f64,
}

/// The form that predicts better, and how both did; tokens alone where the difference is within its own error, or where
/// too few groups can be predicted.
pub(super) fn choose(sums: &Sums, groups: &[&Group]) -> (BatchForm, Vec<FormTried>) {
    let forms = [BatchForm::Tokens, BatchForm::SizeAndTokens];
    let rolled = [
        rolled(sums, groups, |group| group.params),
        rolled(sums, groups, |group| group.tokens),
    ]
    .concat();
    if rolled.is_empty() {
        return (BatchForm::default(), Vec::new());
    }
    let n = rolled.len();
    let tried = |at: usize| FormTried {
        form: forms[at],
        n,
        miss: (rolled.iter().map(|misses| misses[at]).sum::<f64>() / n as f64).sqrt(),
    };
    let gains: Vec<f64> = rolled.iter().map(|[tokens, both]| tokens - both).collect();
    let gain = statistics::mean(&gains).unwrap_or(0.0);
    let error = statistics::standard_deviation(&gains).map_or(f64::INFINITY, |sd| sd / (n as f64).sqrt());
    let form = forms[usize::from(gain > error)];
    (form, vec![tried(0), tried(1)])
}

/// The mean squares by which both forms miss each group, fitted to the groups that come before it.
fn rolled(sums: &Sums, groups: &[&Group], of: fn(&Group) -> f64) -> Vec<[f64; 2]> {
    let one = |at: usize| {
        let before = |i: usize| of(groups[i]) * (1.0 + SAME_SIZE) < of(groups[at]);
        let seen: Vec<&Group> = (0..groups.len()).filter(|&i| before(i)).map(|i| groups[i]).collect();
        let [sizes, budgets] = lr_batch_surface::sizes_and_budgets(&seen);
        if sizes < VALUES_MIN || budgets < VALUES_MIN || seen.len() < GROUPS_MIN {
            return None;
        }
        let tokens = sums.of_some(TOKENS, before)?;
        let both = sums.of_some(SIZE_AND_TOKENS, before)?;
        Some([sums.missed(&tokens, at), sums.missed(&both, at)])
    };
    (0..groups.len()).filter_map(one).collect()
}
