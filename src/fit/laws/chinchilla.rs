//! The law of loss over size and tokens (Hoffmann et al. 2022): what enters it, and how it is shown.
//!
//! Refuses to know how its constants are found.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use crate::fit::design::Design;
use crate::fit::kept::hash_of;
use crate::fit::law::{About, Data, Fitted, Found, Law, LeftOut, LeftOutForm, Needs, Options, Place, Said};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::isoflop::{self, Agreement, BudgetRun};
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::loss::loss_law::{self, PointFit};
use crate::fit::loss::model_selection::LossOf;
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::observation::{Observation, best_per_cell};
use crate::fit::refusal::Refusal;
use crate::fit::view::{Constant, HeldOut, Point, View, fact};
use crate::fit::{Estimate, Warning};
use crate::units::human_count;

/// L(N, D) = E + A/N^α + B/D^β.
#[derive(Debug)]
pub struct Chinchilla;

impl Law for Chinchilla {
    type Fit = LossFit;
    const ABOUT: About = About {
        name: "chinchilla",
        tells: "the loss over size and tokens",
        formula: "L(N, D) = E + A / N^α + B / D^β",
        source: "Hoffmann et al. 2022, arXiv 2203.15556, approach 3",
        limits: "runs at their best learning rate and batch, schedules ended",
        needs: Needs::Runs,
        beside: Some("lr"),
        compare: Some(compare),
        work_max: Some(25_000_000),
        left_out: LeftOutForm::Objects,
    };

    fn fit(data: &Data, options: &Options<'_>) -> Result<Found<LossFit>, Refusal> {
        // Where nothing but size and tokens is known, every run counts; else the law is that of runs that were tuned.
        let is_bare = |run: &Observation| run.lr.is_none() && run.batch_tokens.is_none() && run.schedule.is_none();
        let (best, others) = if data.runs.iter().all(is_bare) {
            (data.runs.clone(), Vec::new())
        } else {
            best_per_cell(&data.runs)
        };
        let began = (options.clock)();
        let point = PointFit::new(
            &best,
            &loss_law::Options {
                objective: options.objective,
                hold_out: options.hold_out,
                bootstrap: options.bootstrap,
                seed: 0,
                threads: options.threads,
            },
        )?;
        let point_ms = (options.clock)() - began;
        let spread = point.draw();
        let draws_ms = (options.clock)() - began - point_ms;
        let mut law = point.finish(spread);
        let total = (options.clock)() - began;
        data.convention.clone_into(&mut law.convention);
        let mut left_out = data.left_out.clone();
        left_out.extend(others.into_iter().map(LeftOut::from));
        let check = cross_check(&best, &law, options.bootstrap);
        let identity = law.clone();
        let mut found = Found::new(law, &identity, left_out);
        found.data_hash = Some(hash_of(&best));
        found.facts.extend(check.as_ref().map(CrossCheck::fact));
        found.beside.insert(
            "timings_ms".to_owned(),
            json!({ "point": point_ms, "bootstrap": draws_ms, "total": total }),
        );
        found.beside.insert("isoflop".to_owned(), json!(check));
        Ok(found)
    }
}

/// Predicts runs from a fit to the tuned ones among those that it has seen.
fn compare(seen: &[Observation], objective: Objective) -> Result<LossOf, Refusal> {
    let (best, _) = best_per_cell(seen);
    let law = FittedConstants::new(Design::new(best), objective)?.law;
    Ok(Box::new(move |run| Some(law.loss(run.params, run.tokens))))
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

impl Fitted for LossFit {
    fn at(&self, place: Place) -> Option<Said> {
        let Place { params, tokens, .. } = place;
        Some(Said {
            loss: Some(self.predict(params, tokens)),
            sensitivity_to_e: self.sensitivity_to_e(params, tokens),
            extrapolation: Some(self.extrapolation(params, tokens)),
            ..Said::default()
        })
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn view(&self) -> View {
        let constants = [("E", "nats/token"), ("A", ""), ("alpha", ""), ("B", ""), ("beta", "")];
        let constant = |(name, unit): (&str, &'static str)| Constant {
            unit,
            ..Constant::new(name, self.parameters[name])
        };
        View {
            formula: Chinchilla::ABOUT.formula.to_owned(),
            rests_on: format!("{} runs", self.n),
            constants: constants.into_iter().map(constant).collect(),
            tables: Vec::new(),
            facts: facts(self),
            points: points(self),
            held_out: held_out(self),
        }
    }
}

fn points(law: &LossFit) -> Vec<Point> {
    let held_out: BTreeSet<&str> = law
        .hold_out
        .iter()
        .flat_map(|report| report.points.iter().map(|run| run.label.as_str()))
        .collect();
    let point = |run: &crate::fit::loss::loss_fit::Residual| Point {
        label: run.label.clone(),
        params: run.params,
        tokens: run.tokens,
        loss: run.measured,
        is_held_out: held_out.contains(run.label.as_str()),
    };
    law.residuals.iter().map(point).collect()
}

fn held_out(law: &LossFit) -> Vec<HeldOut> {
    let runs = law.hold_out.iter().flat_map(|report| &report.points);
    runs.map(|run| HeldOut {
        label: run.label.clone(),
        params: run.params,
        tokens: run.tokens,
        loss: run.loss,
        predicted: run.predicted,
        ci95: run.ci95_new_run,
    })
    .collect()
}

fn facts(law: &LossFit) -> Vec<(String, String)> {
    let objective = match law.objective.delta {
        Some(delta) => format!("Huber on log loss, δ = {delta}: {:.4e}", law.objective.value),
        None => format!("least squares: {:.4e}", law.objective.value),
    };
    let solver = format!(
        "{:?}; a grid of exponents, then Newton's method on all five",
        law.status
    );
    let mut facts = vec![
        fact("objective", objective),
        fact("solver", solver.to_lowercase()),
        fact("intervals", format!("{} resamples of configurations", law.draws.len())),
        fact("noise", format!("{:.2} % of the loss", law.noise * 100.0)),
    ];
    facts.extend(law.hold_out.as_ref().map(|held| {
        let covered = held.covered.map_or_else(String::new, |share| {
            format!(", {:.0} % of them inside their intervals", share * 100.0)
        });
        let (above, error) = (human_count(held.above), held.mean_abs_rel_error * 100.0);
        fact(
            "hold-out",
            format!(
                "{} runs above {above} {} predicted to {error:.2} % from the others{covered}",
                held.n, held.by
            ),
        )
    }));
    facts.extend(law.allocation.iter().map(|(name, it)| {
        let range = it
            .ci95
            .map_or_else(String::new, |[a, b]| format!(" ({a:.2} to {b:.2})"));
        let name = if name == "a" {
            "optimal N grows as"
        } else {
            "optimal D grows as"
        };
        fact(name, format!("C^{:.2}{range}", it.value))
    }));
    facts
}
