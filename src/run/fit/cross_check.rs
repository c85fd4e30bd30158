//! The compute-optimal size by another way: minima at equal compute beside the law of loss.
//!
//! Refuses to know how either is printed.

use serde::Serialize;

use crate::fit::Estimate;
use crate::fit::loss::isoflop::{self, Agreement, BudgetRun};
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::observation::Observation;

/// What profiles of equal compute say of a law.
#[derive(Debug, Clone, Serialize)]
pub struct CrossCheck {
    /// a of `N_opt ∝ C^a`, from the minima of the profiles.
    pub exponent: Estimate,
    /// Budgets whose minimum lies between two worse sizes.
    pub bracketed: usize,
    /// Whether the law's own a lies in that exponent's interval.
    pub verdict: Agreement,
}

/// Compares; none where the runs tell no compute or too few minima are bracketed.
pub fn cross_check(runs: &[Observation], law: &LossFit, draws: usize) -> Option<CrossCheck> {
    let run = |run: &Observation| {
        Some(BudgetRun {
            label: run.label.clone(),
            flops: run.flops?,
            params: run.params,
            tokens: run.tokens,
            loss: run.loss,
        })
    };
    let runs: Vec<BudgetRun> = runs.iter().filter_map(run).collect();
    let fit = isoflop::fit(&runs, Draws { count: draws, seed: 0 }).ok()?;
    Some(CrossCheck {
        exponent: fit.params.exponent,
        bracketed: fit.bracketed,
        verdict: fit.agreement(law.allocation.get("a")?.value),
    })
}
