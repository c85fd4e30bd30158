//! The law of the final loss with everything that says how far to trust it: intervals from resampled configurations,
//! the largest size held out, and a widening for extrapolation that is learnt from the fit's own misses.

use std::collections::BTreeMap;

use crate::fit::chinchilla::{self, HUBER_DELTA, Law, Objective, Row, Status};
use crate::fit::loss_fit::{HoldOutResult, LossFit, ObjectiveValue, Prediction, Residual, Seen, distance};
use crate::fit::observation::{Observation, distinct, same};
use crate::fit::refusal::Refusal;
use crate::fit::statistics::{deviation, interval95};
use crate::fit::{Estimate, Warning};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// The fewest sizes, and the fewest budgets, that carry a law with an exponent for each.
const LEAST: usize = 3;

/// What is held out and predicted by a second fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HoldOut {
    /// The largest size.
    Largest,
    /// Nothing.
    None,
    /// Runs of more parameters.
    ParamsAbove(f64),
    /// Runs of more FLOPs, `6 N D`.
    FlopsAbove(f64),
}

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// What is minimised.
    pub objective: Objective,
    /// What is held out.
    pub hold_out: HoldOut,
    /// Resamples.
    pub bootstrap: usize,
    /// Seed of the resamples.
    pub seed: u64,
    /// Threads for the resamples; the result does not depend on it.
    pub threads: usize,
}

/// Fits the law of loss.
pub fn loss_law(runs: &[Observation], options: &Options) -> Result<LossFit, Refusal> {
    for run in runs {
        run.check()?;
    }
    let sizes = distinct(runs.iter().map(|run| run.params));
    let budgets = distinct(runs.iter().map(|run| run.tokens));
    if runs.is_empty() {
        return Err(Refusal::NotFinished { left_out: 0 });
    }
    if sizes.len() < LEAST {
        return Err(Refusal::TooFewSizes { found: sizes.len() });
    }
    if budgets.len() < LEAST {
        return Err(Refusal::TooFewBudgets { found: budgets.len() });
    }
    if runs.len() < 6 {
        let why = format!("five parameters from {} runs", runs.len());
        return Err(Refusal::NotIdentified { why });
    }
    let mut fit = core(runs, options, &sizes)?;
    fit.widening = rolling_misses(runs, options.objective, &sizes);
    fit.hold_out = hold_out(runs, options, &sizes);
    fit.warnings = warnings(&fit, options);
    Ok(fit)
}

/// The fit and its resamples, without anything held out.
fn core(runs: &[Observation], options: &Options, sizes: &[f64]) -> Result<LossFit, Refusal> {
    let clusters = clusters(runs);
    let rows: Vec<Row> = clusters.iter().flatten().copied().collect();
    let solution = chinchilla::fit(&rows, options.objective);
    let law = solution.law;
    if solution.status == Status::AtBound {
        let [least, most] = chinchilla::EXPONENT_BOUNDS;
        let near = |value: f64| value <= least * 1.001 || value >= most * 0.999;
        let (name, value) = if near(law.alpha) {
            ("alpha", law.alpha)
        } else {
            ("beta", law.beta)
        };
        return Err(Refusal::AtBound { name, bound: value });
    }
    let residuals: Vec<Residual> = runs
        .iter()
        .map(|run| Residual {
            label: run.label.clone(),
            params: run.params,
            tokens: run.tokens,
            measured: run.loss,
            predicted: law.loss(run.params, run.tokens),
        })
        .collect();
    // Five parameters are paid for.
    let freedom = (runs.len().saturating_sub(5)).max(1) as f64;
    let squares: f64 = residuals.iter().map(|r| (r.measured / r.predicted).ln().powi(2)).sum();
    let draws = resample(&clusters, options, &law);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold([f64::INFINITY, 0.0_f64], |[least, most], value| {
            [least.min(value), most.max(value)]
        })
    };
    let seen = Seen {
        params: range(&mut runs.iter().map(|run| run.params)),
        tokens: range(&mut runs.iter().map(|run| run.tokens)),
        flops_max: runs.iter().map(|run| 6.0 * run.params * run.tokens).fold(0.0, f64::max),
        sizes: sizes.len(),
    };
    let delta = (options.objective == Objective::Huber).then_some(HUBER_DELTA);
    Ok(LossFit {
        law: "chinchilla".to_owned(),
        status: solution.status,
        n: runs.len(),
        convention: String::new(),
        objective: ObjectiveValue {
            kind: options.objective,
            delta,
            value: solution.objective,
        },
        parameters: parameters(&law, &draws),
        allocation: allocation(&law, &draws),
        hold_out: None,
        warnings: Vec::new(),
        seen,
        noise: (squares / freedom).sqrt(),
        widening: None,
        residuals,
        draws,
    })
}

/// The rows of each configuration: seeds stay together.
fn clusters(runs: &[Observation]) -> Vec<Vec<Row>> {
    let mut clusters: BTreeMap<_, Vec<Row>> = BTreeMap::new();
    for run in runs {
        let row = Row {
            params: run.params,
            tokens: run.tokens,
            loss: run.loss,
            weight: 1.0,
        };
        clusters.entry(run.configuration()).or_default().push(row);
    }
    clusters.into_values().collect()
}

/// Fits to configurations that are drawn with replacement. A draw that lost a size or a budget, or ran to a bound, says
/// nothing about a law and is left out.
fn resample(clusters: &[Vec<Row>], options: &Options, law: &Law) -> Vec<Law> {
    let threads = options.threads.max(1);
    let one = |draw: usize| -> Option<Law> {
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        // A stream of its own for each draw: the result does not depend on which thread makes it.
        random.set_stream(draw as u64);
        let mut weights = vec![0u32; clusters.len()];
        for _ in 0..clusters.len() {
            weights[random.random_range(0..clusters.len())] += 1;
        }
        let drawn: Vec<Row> = clusters
            .iter()
            .zip(&weights)
            .filter(|(_, weight)| **weight > 0)
            .flat_map(|(rows, weight)| {
                rows.iter().map(|row| Row {
                    weight: f64::from(*weight),
                    ..*row
                })
            })
            .collect();
        let enough = distinct(drawn.iter().map(|row| row.params)).len() >= LEAST
            && distinct(drawn.iter().map(|row| row.tokens)).len() >= LEAST;
        let solution = enough.then(|| chinchilla::refit(&drawn, options.objective, law))?;
        (solution.status != Status::AtBound).then_some(solution.law)
    };
    let chunk = options.bootstrap.div_ceil(threads).max(1);
    let ranges: Vec<_> = (0..options.bootstrap)
        .step_by(chunk)
        .map(|from| from..(from + chunk).min(options.bootstrap))
        .collect();
    std::thread::scope(|scope| {
        let one = &one;
        let workers: Vec<_> = ranges
            .into_iter()
            .map(|range| scope.spawn(move || range.filter_map(one).collect::<Vec<_>>()))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a fit does not panic"))
            .collect()
    })
}

fn estimate(value: f64, draws: &[Law], of: impl Fn(&Law) -> f64) -> Estimate {
    let values: Vec<f64> = draws.iter().map(of).collect();
    let ci95 = interval95(&values);
    Estimate {
        value,
        se: ci95.and(deviation(&values)),
        ci95,
    }
}

fn parameters(law: &Law, draws: &[Law]) -> BTreeMap<String, Estimate> {
    let of: [(&str, fn(&Law) -> f64); 5] = [
        ("E", |l| l.e),
        ("A", |l| l.a),
        ("alpha", |l| l.alpha),
        ("B", |l| l.b),
        ("beta", |l| l.beta),
    ];
    of.into_iter()
        .map(|(name, of)| (name.to_owned(), estimate(of(law), draws, of)))
        .collect()
}

/// `N_opt ∝ C^a`, `D_opt ∝ C^b` (Hoffmann et al., equation 4).
fn allocation(law: &Law, draws: &[Law]) -> BTreeMap<String, Estimate> {
    let of: [(&str, fn(&Law) -> f64); 2] = [
        ("a", |l| l.beta / (l.alpha + l.beta)),
        ("b", |l| l.alpha / (l.alpha + l.beta)),
    ];
    of.into_iter()
        .map(|(name, of)| (name.to_owned(), estimate(of(law), draws, of)))
        .collect()
}

/// Fits up to each size and predicts the next: how much a miss grows with the distance. None of fewer than four sizes.
fn rolling_misses(runs: &[Observation], objective: Objective, sizes: &[f64]) -> Option<f64> {
    let mut squares = Vec::new();
    for cut in LEAST..sizes.len() {
        let is_known = |run: &&Observation| run.params < sizes[cut] / 1.01;
        let known: Vec<Row> = runs
            .iter()
            .filter(is_known)
            .map(|run| Row {
                params: run.params,
                tokens: run.tokens,
                loss: run.loss,
                weight: 1.0,
            })
            .collect();
        if known.len() < 6 || distinct(known.iter().map(|row| row.tokens)).len() < LEAST {
            continue;
        }
        let solution = chinchilla::fit(&known, objective);
        let (n, d) = (sizes[cut - 1], known.iter().map(|row| row.tokens).fold(0.0, f64::max));
        for run in runs.iter().filter(|run| same(run.params, sizes[cut])) {
            let distance = distance(run.params, run.tokens, n, d);
            let miss = (solution.law.loss(run.params, run.tokens) / run.loss).ln();
            squares.push((miss / distance).powi(2));
        }
    }
    (!squares.is_empty()).then(|| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
}

fn hold_out(runs: &[Observation], options: &Options, sizes: &[f64]) -> Option<HoldOutResult> {
    let flops = |run: &Observation| 6.0 * run.params * run.tokens;
    let (by, above, is_out): (&str, f64, Box<dyn Fn(&Observation) -> bool>) = match options.hold_out {
        HoldOut::None => return None,
        HoldOut::Largest => {
            let largest = *sizes.last()?;
            (
                "params",
                sizes[sizes.len() - 2],
                Box::new(move |run| same(run.params, largest) || run.params > largest),
            )
        }
        HoldOut::ParamsAbove(above) => ("params", above, Box::new(move |run| run.params > above)),
        HoldOut::FlopsAbove(above) => ("flops", above, Box::new(move |run| flops(run) > above)),
    };
    let (out, kept): (Vec<Observation>, Vec<Observation>) = runs.iter().cloned().partition(|run| is_out(run));
    let kept_sizes = distinct(kept.iter().map(|run| run.params));
    if out.is_empty() || kept.len() < 6 || kept_sizes.len() < LEAST {
        return None;
    }
    let mut fit = core(&kept, options, &kept_sizes).ok()?;
    fit.widening = rolling_misses(&kept, options.objective, &kept_sizes);
    let predictions: Vec<(f64, Prediction)> = out
        .iter()
        .map(|run| (run.loss, fit.predict(run.params, run.tokens)))
        .collect();
    let error: f64 = predictions.iter().map(|(loss, p)| (p.mean / loss - 1.0).abs()).sum();
    let inside = predictions
        .iter()
        .filter_map(|(loss, p)| p.ci95_new_run.map(|[low, high]| low <= *loss && *loss <= high));
    let inside: Vec<bool> = inside.collect();
    let covered =
        (inside.len() == out.len()).then(|| inside.iter().filter(|inside| **inside).count() as f64 / out.len() as f64);
    Some(HoldOutResult {
        by: by.to_owned(),
        above,
        n: out.len(),
        mean_abs_rel_error: error / out.len() as f64,
        covered,
    })
}

fn warnings(fit: &LossFit, options: &Options) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if fit.status == Status::Flat {
        warnings.push(Warning::new(
            "flat",
            "the objective is nearly flat around the solution; its parameters are loose",
        ));
    }
    if fit.parameters["E"].value < 1e-3 {
        let text = "the irreducible loss came out as zero: these runs are too far from it to show it";
        warnings.push(Warning::new("irreducible_loss_at_zero", text));
    }
    if options.hold_out != HoldOut::None && fit.hold_out.is_none() {
        warnings.push(Warning::new(
            "no_hold_out",
            "too few sizes to hold one out and still fit a law",
        ));
    }
    if fit.widening.is_none() {
        let text = "fewer than four sizes: intervals beyond the seen runs are not widened by observed misses";
        warnings.push(Warning::new("extrapolation_not_calibrated", text));
    }
    if fit.draws.len() < options.bootstrap * 9 / 10 {
        let text = format!(
            "{} of {} resamples could not carry the law and were left out of the intervals",
            options.bootstrap - fit.draws.len(),
            options.bootstrap
        );
        warnings.push(Warning::new("resamples_left_out", text));
    }
    warnings
}

#[cfg(test)]
mod tests;
