//! The law of loss over size and tokens (Hoffmann et al. 2022): what enters it, and how it is shown.
//!
//! Refuses to know how its constants are found.

use serde::Serialize;
use serde_json::json;

use crate::fit::Estimate;
use crate::fit::law::{About, Data, Found, Law, LeftOutForm, Needs, Options};
use crate::fit::laws::surface;
use crate::fit::loss::chinchilla::Law as AdditiveLaw;
use crate::fit::loss::forms::Surface as _;
use crate::fit::loss::isoflop::{self, Agreement, BudgetRun};
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;
use crate::fit::view::fact;

/// L(N, D) = E + A/N^α + B/D^β.
#[derive(Debug)]
pub struct Chinchilla;

impl Law for Chinchilla {
    type Fit = LossFit;
    const ABOUT: About = About {
        name: AdditiveLaw::NAME,
        tells: "the loss over size and tokens",
        formula: AdditiveLaw::FORMULA,
        source: "Hoffmann et al. 2022, arXiv 2203.15556, approach 3",
        limits: "runs at their best learning rate and batch, schedules ended",
        needs: Needs::Runs,
        beside: Some("lr"),
        compare: Some(surface::compare::<AdditiveLaw, 5>),
        work_max: Some(25_000_000),
        left_out: LeftOutForm::Objects,
    };

    fn fit(data: &Data, options: &Options<'_>) -> Result<Found<LossFit>, Refusal> {
        let (mut found, best) = surface::fit::<AdditiveLaw, 5>(data, options)?;
        let check = cross_check(&best, &found.law, options.bootstrap);
        found.facts.extend(check.as_ref().map(CrossCheck::fact));
        found.beside.insert("isoflop".to_owned(), json!(check));
        Ok(found)
    }
}

/// What profiles of equal compute say of the law.
#[derive(Debug, Clone, Serialize)]
struct CrossCheck {
    /// a of `N_opt ∝ C^a`, from the minima of the profiles.
    exponent: Estimate,
    /// Budgets whose minimum lies between two worse sizes.
    bracketed: usize,
    /// Whether the law's own a lies in that exponent's interval.
    verdict: Agreement,
}

impl CrossCheck {
    fn fact(&self) -> (String, String) {
        let verdict = match self.verdict {
            Agreement::Agrees => "agrees",
            Agreement::Below => "is smaller than that allows",
            Agreement::Above => "is larger than that allows",
            Agreement::NotKnown => "cannot be compared",
        };
        let (exponent, budgets) = (self.exponent.value, self.bracketed);
        fact(
            "at equal compute",
            format!("N_opt ∝ C^{exponent:.3} over {budgets} budgets with a minimum; the law's exponent {verdict}"),
        )
    }
}

/// Compares the law with minima at equal compute; none where runs tell no compute or too few minima are bracketed.
fn cross_check(runs: &[Observation], law: &LossFit, draws: usize) -> Option<CrossCheck> {
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
