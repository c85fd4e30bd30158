//! The law of the final loss with everything that says how far to trust it: intervals from resampled configurations,
//! the largest size held out, and a widening for extrapolation that is learnt from the fit's own misses.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::fit::chinchilla::{self, HUBER_DELTA, Law, Objective, Row, Status};
use crate::fit::observation::{Observation, distinct, same};
use crate::fit::refusal::Refusal;
use crate::fit::statistics::{deviation, interval95, quantile};
use crate::fit::{Estimate, Warning};

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

/// A fitted law of loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossFit {
    /// `chinchilla`.
    pub law: String,
    /// How the solution was reached.
    pub status: Status,
    /// Runs that entered.
    pub n: usize,
    /// Which N.
    pub convention: String,
    /// What was minimised, and its value.
    pub objective: ObjectiveValue,
    /// The parameters by name: E, A, alpha, B, beta.
    pub parameters: BTreeMap<String, Estimate>,
    /// Exponents of the compute-optimal N and D in C.
    pub allocation: BTreeMap<String, Estimate>,
    /// How well runs were predicted that the fit had not seen.
    pub hold_out: Option<HoldOutResult>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
    /// Sizes and tokens that were seen: the border of extrapolation.
    pub seen: Seen,
    /// Standard deviation of the errors of log loss.
    pub noise: f64,
    /// What a miss grows by with each factor e beyond the seen sizes or tokens, as a standard deviation of log loss.
    pub widening: Option<f64>,
    /// Each run with its predicted and its measured loss.
    pub residuals: Vec<Residual>,
    /// The resampled laws.
    pub draws: Vec<Law>,
}

/// What was minimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveValue {
    /// Which.
    pub kind: Objective,
    /// Huber's δ.
    pub delta: Option<f64>,
    /// Its value at the solution.
    pub value: f64,
}

/// The ranges of the runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Smallest and largest N.
    pub params: [f64; 2],
    /// Smallest and largest D.
    pub tokens: [f64; 2],
    /// Largest `6 N D`.
    pub flops_max: f64,
    /// Sizes that differ by more than 2 %.
    pub sizes: usize,
}

/// How well held-out runs were predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HoldOutResult {
    /// `params` or `flops`.
    pub by: String,
    /// Above what.
    pub above: f64,
    /// Runs that were held out.
    pub n: usize,
    /// Mean of |predicted / measured − 1|.
    pub mean_abs_rel_error: f64,
    /// Share of them inside the 95 % interval for a new run; none without resamples.
    pub covered: Option<f64>,
}

/// One run against the law.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// The run.
    pub label: String,
    /// N.
    pub params: f64,
    /// D.
    pub tokens: f64,
    /// Measured loss.
    pub measured: f64,
    /// Predicted loss.
    pub predicted: f64,
}

/// A predicted loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Of the law.
    pub mean: f64,
    /// 95 % interval of the mean of many runs.
    pub ci95_mean: Option<[f64; 2]>,
    /// 95 % interval of one new run.
    pub ci95_new_run: Option<[f64; 2]>,
}

/// How far beyond the seen runs a point lies, as factors; 1 inside.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extrapolation {
    /// In N.
    pub params: f64,
    /// In D.
    pub tokens: f64,
    /// In `6 N D`.
    pub flops: f64,
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

/// Log distance beyond the seen sizes and tokens.
fn distance(params: f64, tokens: f64, params_max: f64, tokens_max: f64) -> f64 {
    let beyond = |value: f64, most: f64| (value / most).ln().max(0.0);
    beyond(params, params_max).hypot(beyond(tokens, tokens_max))
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

impl LossFit {
    /// The fitted law.
    pub fn point(&self) -> Law {
        let value = |name: &str| self.parameters[name].value;
        Law {
            e: value("E"),
            a: value("A"),
            alpha: value("alpha"),
            b: value("B"),
            beta: value("beta"),
        }
    }

    /// The loss at a size and a number of tokens, with intervals.
    ///
    /// The interval of the mean is that of the resamples, widened beyond the seen runs by the misses of the rolling
    /// hold-out; that of a new run adds the noise of a run. Widths add as standard deviations of log loss do.
    pub fn predict(&self, params: f64, tokens: f64) -> Prediction {
        let mean = self.point().loss(params, tokens);
        let mut drawn: Vec<f64> = self
            .draws
            .iter()
            .map(|law| (law.loss(params, tokens) / mean).ln())
            .collect();
        drawn.sort_by(f64::total_cmp);
        let [_, n] = self.seen.params;
        let [_, d] = self.seen.tokens;
        let beyond = 1.96 * self.widening.unwrap_or(0.0) * distance(params, tokens, n, d);
        let interval = |extra: f64| {
            let (low, high) = (quantile(&drawn, 0.025)?, quantile(&drawn, 0.975)?);
            let width = |side: f64| side.hypot(beyond).hypot(extra);
            Some([mean * (-width(low.min(0.0))).exp(), mean * width(high.max(0.0)).exp()])
        };
        let enough = drawn.len() >= 20;
        let ci95 = |extra: f64| if enough { interval(extra) } else { None };
        Prediction {
            mean,
            ci95_mean: ci95(0.0),
            ci95_new_run: ci95(1.96 * self.noise),
        }
    }

    /// How far beyond the seen runs a point lies.
    pub fn extrapolation(&self, params: f64, tokens: f64) -> Extrapolation {
        let factor = |value: f64, most: f64| (value / most).max(1.0);
        Extrapolation {
            params: factor(params, self.seen.params[1]),
            tokens: factor(tokens, self.seen.tokens[1]),
            flops: factor(6.0 * params * tokens, self.seen.flops_max),
        }
    }
}

#[cfg(test)]
mod tests;
