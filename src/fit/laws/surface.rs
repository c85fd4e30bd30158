//! Any law of loss over size and tokens: what enters it, how it is compared, and how it is shown.
//!
//! Refuses to know its formula, and how its constants are found.

use std::collections::BTreeSet;

use serde_json::json;

use crate::fit::design::Design;
use crate::fit::kept::hash_of;
use crate::fit::law::{Data, Fitted, Found, LeftOut, OfLoss, Options, Place, Said};
use crate::fit::loss::chinchilla::{ComputeOptimal, Objective};
use crate::fit::loss::forms::{Role, Surface};
use crate::fit::loss::loss_fit::{Extrapolation, HoldOutReport, LossFit, Prediction, Residual};
use crate::fit::loss::loss_law::{self, PointFit};
use crate::fit::loss::model_selection::LossOf;
use crate::fit::loss::objective::Form;
use crate::fit::loss::optimum;
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::statistics::interval95;
use crate::fit::observation::{Observation, best_per_cell};
use crate::fit::refusal::Refusal;
use crate::fit::view::{Constant, HeldOut, Point, View, fact};
use crate::fit::{Estimate, Warning};
use crate::units::human_count;

/// Fits a law to the runs that were tuned, and gives them beside it.
pub(super) fn fit<F: Form<K>, const K: usize>(
    data: &Data,
    options: &Options<'_>,
) -> Result<(Found<LossFit<F>>, Vec<Observation>), Refusal> {
    // Where nothing but size and tokens is known, every run counts; else the law is that of runs that were tuned.
    let is_bare = |run: &Observation| run.lr.is_none() && run.batch_tokens.is_none() && run.schedule.is_none();
    let (best, others) = if data.runs.iter().all(is_bare) {
        (data.runs.clone(), Vec::new())
    } else {
        best_per_cell(&data.runs)
    };
    let began = (options.clock)();
    let point = PointFit::<F, K>::new(
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
    let identity = law.clone();
    let mut found = Found::new(law, &identity, left_out);
    found.data_hash = Some(hash_of(&best));
    found.beside.insert(
        "timings_ms".to_owned(),
        json!({ "point": point_ms, "bootstrap": draws_ms, "total": total }),
    );
    Ok((found, best))
}

/// Predicts runs from a fit to the tuned ones among those that it has seen.
pub(super) fn compare<F: Form<K>, const K: usize>(
    seen: &[Observation],
    objective: Objective,
) -> Result<LossOf, Refusal> {
    let (best, _) = best_per_cell(seen);
    let law = FittedConstants::<F, K>::new(Design::new(best), objective)?.law;
    Ok(Box::new(move |run| Some(law.loss(run.params, run.tokens))))
}

impl<F: Surface> Fitted for LossFit<F> {
    fn at(&self, place: Place) -> Option<Said> {
        let Place { params, tokens, .. } = place;
        Some(Said {
            loss: Some(self.predict(params, tokens)),
            sensitivity_to_e: self.sensitivity_to_e(params, tokens),
            extrapolation: Some(self.extrapolation(params, tokens)),
            ..Said::default()
        })
    }

    fn of_loss(&self) -> Option<&dyn OfLoss> {
        Some(self)
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn view(&self) -> View {
        let constant = |(name, role): &(&str, Role)| Constant {
            unit: if *role == Role::Floor { "nats/token" } else { "" },
            ..Constant::new(*name, self.parameters[*name])
        };
        View {
            formula: F::FORMULA.to_owned(),
            rests_on: format!("{} runs", self.n),
            constants: F::CONSTANTS.iter().map(constant).collect(),
            tables: Vec::new(),
            facts: facts(self),
            points: points(self),
            held_out: held_out(self),
        }
    }
}

impl<F: Surface> OfLoss for LossFit<F> {
    fn name(&self) -> &str {
        &self.law
    }

    fn formula(&self) -> &'static str {
        F::FORMULA
    }

    fn loss(&self, params: f64, tokens: f64) -> f64 {
        self.surface().loss(params, tokens)
    }

    fn predict(&self, params: f64, tokens: f64) -> Prediction {
        Self::predict(self, params, tokens)
    }

    fn extrapolation(&self, params: f64, tokens: f64) -> Extrapolation {
        Self::extrapolation(self, params, tokens)
    }

    fn optimal_tokens(&self, params: f64) -> Option<Estimate> {
        let of = |law: &F| match law.additive() {
            Some(law) => Some(law.optimal_tokens(params)).filter(|tokens| tokens.is_finite()),
            None => optimum::optimal_tokens(|n, d| law.loss(n, d), params),
        };
        let draws: Vec<f64> = self.draws.iter().filter_map(of).collect();
        Some(Estimate {
            value: of(&self.surface())?,
            se: None,
            ci95: interval95(&draws),
        })
    }

    fn compute_optimal(&self, flops: f64) -> Option<ComputeOptimal> {
        let law = self.surface();
        match law.additive() {
            Some(law) => Some(law.compute_optimal(flops)),
            None => optimum::compute_optimal(|n, d| law.loss(n, d), flops),
        }
    }

    fn objective(&self) -> Objective {
        self.objective.kind
    }

    fn hold_out(&self) -> Option<&HoldOutReport> {
        self.hold_out.as_ref()
    }

    fn runs(&self) -> usize {
        self.n
    }

    fn residuals(&self) -> &[Residual] {
        &self.residuals
    }
}

fn points<F>(law: &LossFit<F>) -> Vec<Point> {
    let held_out: BTreeSet<&str> = law
        .hold_out
        .iter()
        .flat_map(|report| report.points.iter().map(|run| run.label.as_str()))
        .collect();
    let point = |run: &Residual| Point {
        label: run.label.clone(),
        params: run.params,
        tokens: run.tokens,
        loss: run.measured,
        is_held_out: held_out.contains(run.label.as_str()),
    };
    law.residuals.iter().map(point).collect()
}

fn held_out<F>(law: &LossFit<F>) -> Vec<HeldOut> {
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

/// What N counts, in words.
fn convention(name: &str) -> String {
    match name {
        "params_total" => "all parameters, the embedding too".to_owned(),
        "params_non_embedding" => "parameters without the embedding".to_owned(),
        other => other.replace('-', " "),
    }
}

fn facts<F: Surface>(law: &LossFit<F>) -> Vec<(String, String)> {
    let objective = match law.objective.delta {
        Some(delta) => format!("Huber on log loss, δ = {delta}: {:.4e}", law.objective.value),
        None => format!("least squares: {:.4e}", law.objective.value),
    };
    let solver = format!("{:?}; Newton's method from several starts", law.status);
    let mut facts = vec![
        fact("objective", objective),
        fact("solver", solver.to_lowercase()),
        fact("intervals", format!("{} resamples of configurations", law.draws.len())),
        fact("noise", format!("{:.2} % of the loss", law.noise * 100.0)),
        fact("N counts", convention(&law.convention)),
    ];
    facts.extend(law.widening.as_ref().map(|widening| {
        let (each, by, fits) = (100.0 * widening.per_e_fold, &widening.by, widening.rolled_fits);
        let text = format!("{each:.2} % of the loss per e-fold beyond the data, from {fits} fits rolled along {by}");
        fact("intervals widen by", text)
    }));
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
