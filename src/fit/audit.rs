//! Forecasts replayed: what would have been said of the larger runs, had only the smaller ones been there.
//!
//! Everything beyond a cut is hidden, a law is chosen and fitted on the rest, and each hidden run is compared with its
//! forecast. Refuses to give a number where the runs below a cut carry no law.

use serde::Serialize;

use crate::fit::design::{CONFIGURATIONS_MIN, Design, VALUES_MIN};
use crate::fit::law::{AnyKept, Data, Entry, Options, Place};
use crate::fit::laws;
use crate::fit::loss::checks::hold_out::{Axis, HoldOut, possible_cuts, values};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::loss_fit::{Prediction, Range};
use crate::fit::loss::model_selection::{self, Compare};
use crate::fit::numeric::statistics::mean;
use crate::fit::observation::{Observation, best_per_cell};

/// How forecasts are to be replayed.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The laws of loss to choose from at each cut; one alone is not compared.
    pub laws: &'a [&'static Entry],
    /// What is minimised; none: Huber's loss, or what predicts better where laws are compared.
    pub objective: Option<Objective>,
    /// Cuts of each set, at most.
    pub cuts: usize,
    /// Draws for the intervals of each forecast.
    pub bootstrap: usize,
    /// Threads; no result depends on it.
    pub threads: usize,
    /// Milliseconds since some moment.
    pub clock: &'a dyn Fn() -> f64,
}

/// How forecasts did on the runs that they had not seen; all missing where none was made.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// Runs that were forecast, one forecast each at every cut.
    pub n: Option<usize>,
    /// The mean of |forecast − measured| / measured.
    pub mean_abs_rel_error: Option<f64>,
    /// The mean of (forecast − measured) / measured: above zero, forecasts are too high.
    pub bias: Option<f64>,
    /// The share of runs inside the 50 % interval of a new run.
    pub covered50: Option<f64>,
    /// The same of the 80 % interval.
    pub covered80: Option<f64>,
    /// The same of the 95 % interval.
    pub covered95: Option<f64>,
    /// The mean full width of the 95 % interval of a new run, relative to the loss, over the mean error. Where errors
    /// are normal and the interval is right, it is 4.9.
    pub width_over_error: Option<f64>,
}

/// A run that was hidden, and its forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    pub label: String,
    pub params: f64,
    pub tokens: f64,
    /// Its compute, as a multiple of the largest among the runs that were seen.
    pub compute_ratio: f64,
    /// The loss that it had, nats per token.
    pub measured: f64,
    pub forecast: Prediction,
}

/// One cut through a set of runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CutAudit {
    /// The largest value that was seen along the axis; all beyond it was hidden.
    pub at: f64,
    /// The axis: `params`, or `flops` where runs come in groups of equal compute.
    pub by: &'static str,
    /// Runs up to the cut, before any is left out as not tuned.
    pub seen: usize,
    /// The law that was chosen from them.
    pub law: Option<&'static str>,
    #[serde(flatten)]
    pub figures: Figures,
    /// Why there is no forecast.
    pub refused: Option<String>,
    /// The hidden runs.
    #[serde(skip)]
    pub runs: Vec<Scored>,
}

/// The forecasts of one set of runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetAudit {
    /// The file, the import or the sweep.
    pub source: String,
    /// The law that was chosen at the last cut with a forecast.
    pub law: Option<&'static str>,
    /// Over all cuts.
    #[serde(flatten)]
    pub figures: Figures,
    /// From the cut with the fewest runs to that with the most.
    pub cuts: Vec<CutAudit>,
    /// Why there is no forecast at all.
    pub refused: Option<String>,
}

/// The forecasts of several sets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    pub sets: Vec<SetAudit>,
    /// Over every forecast of every set.
    pub all: Figures,
}

impl Audit {
    /// Sums sets up.
    pub fn new(sets: Vec<SetAudit>) -> Self {
        let all = Figures::of(sets.iter().flat_map(SetAudit::runs));
        Self { sets, all }
    }
}

impl SetAudit {
    /// Every forecast.
    pub fn runs(&self) -> impl Iterator<Item = &Scored> {
        self.cuts.iter().flat_map(|cut| &cut.runs)
    }
}

impl Scored {
    /// (forecast − measured) / measured.
    pub fn error(&self) -> f64 {
        (self.forecast.mean - self.measured) / self.measured
    }

    /// Whether the measured loss lies within an interval of the forecast, where there is one.
    pub fn is_inside(&self, interval: Option<[f64; 2]>) -> Option<bool> {
        interval.map(|[low, high]| low <= self.measured && self.measured <= high)
    }
}

impl Figures {
    /// Of some forecasts; nothing of none.
    pub fn of<'a>(runs: impl Iterator<Item = &'a Scored>) -> Self {
        let runs: Vec<&Scored> = runs.collect();
        let mean_of = |of: &dyn Fn(&Scored) -> Option<f64>| {
            let known: Option<Vec<f64>> = runs.iter().map(|run| of(run)).collect();
            known.and_then(|known| mean(&known))
        };
        let share = |of: fn(&Prediction) -> Option<[f64; 2]>| {
            mean_of(&|run| {
                run.is_inside(of(&run.forecast))
                    .map(|inside| f64::from(u8::from(inside)))
            })
        };
        let error = mean_of(&|run| Some(run.error().abs()));
        let width = mean_of(&|run| {
            let [low, high] = run.forecast.ci95_new_run?;
            Some((high - low) / run.measured)
        });
        Self {
            n: (!runs.is_empty()).then_some(runs.len()),
            mean_abs_rel_error: error,
            bias: mean_of(&|run| Some(run.error())),
            covered50: share(|forecast| forecast.ci50),
            covered80: share(|forecast| forecast.ci80),
            covered95: share(|forecast| forecast.ci95_new_run),
            width_over_error: width.zip(error).map(|(width, error)| width / error),
        }
    }
}

/// Replays the forecasts of one set of runs: at each cut the law is chosen, fitted and asked.
pub fn replay(source: &str, data: &Data, ask: &Ask<'_>) -> SetAudit {
    // The hidden losses choose the tuned runs here, and so the cuts, but never what is fitted.
    let design = Design::new(best_per_cell(&data.runs).0);
    let axis = Axis::of_design(&design);
    let limits = limits(&design, axis, ask.cuts);
    let cuts: Vec<CutAudit> = limits.into_iter().map(|limit| at_cut(data, axis, limit, ask)).collect();
    let is_all_refused = cuts.iter().all(|cut| cut.refused.is_some());
    let why = || {
        let of_last = cuts.last().and_then(|cut| cut.refused.clone());
        of_last.unwrap_or_else(|| "all runs have one size: nothing lies beyond a cut".to_owned())
    };
    SetAudit {
        source: source.to_owned(),
        law: cuts.iter().rev().find_map(|cut| cut.law),
        figures: Figures::of(cuts.iter().flat_map(|cut| &cut.runs)),
        refused: is_all_refused.then(why),
        cuts,
    }
}

/// The values from which on runs are hidden: evenly over those by which laws are chosen, the last among them: below
/// each lie 40 % of the runs, where there are such, and they may carry a law. Where there is none such, over all but the first, so that each says why it carries none.
fn limits(design: &Design, axis: Axis, most: usize) -> Vec<f64> {
    let possible = possible_cuts(design, axis, [VALUES_MIN, CONFIGURATIONS_MIN]);
    let mut limits = model_selection::late(possible, design, axis);
    if limits.is_empty() {
        limits = values(design, axis).into_iter().skip(1).collect();
    }
    let kept = limits.len().min(most);
    (0..kept).map(|k| limits[(k + 1) * limits.len() / kept - 1]).collect()
}

fn at_cut(data: &Data, axis: Axis, limit: f64, ask: &Ask<'_>) -> CutAudit {
    let (held, seen): (Vec<Observation>, Vec<Observation>) =
        data.runs.iter().cloned().partition(|run| axis.of(run) >= limit);
    let range = Range::of_runs(&seen);
    let mut cut = CutAudit {
        at: seen.iter().map(|run| axis.of(run)).fold(0.0, f64::max),
        by: axis.name(),
        seen: seen.len(),
        law: None,
        figures: Figures::default(),
        refused: None,
        runs: Vec::new(),
    };
    let seen = Data {
        runs: seen,
        ..data.clone()
    };
    let forecasts = fitted(&seen, ask).and_then(|law| Ok((law.about.name, forecasts(&law, &held, range)?)));
    match forecasts {
        Ok((law, runs)) => {
            cut.law = Some(law);
            cut.figures = Figures::of(runs.iter());
            cut.runs = runs;
        }
        Err(why) => cut.refused = Some(why),
    }
    cut
}

/// The law that these runs choose, fitted to them; of several the next best where one is refused.
fn fitted(seen: &Data, ask: &Ask<'_>) -> Result<AnyKept, String> {
    let mut refused = None;
    for (law, objective) in in_order(&seen.runs, ask) {
        if let Some(why) = too_much(law, seen.runs.len(), ask.bootstrap) {
            return Err(why);
        }
        let options = Options {
            objective,
            hold_out: HoldOut::None,
            bootstrap: ask.bootstrap,
            threads: ask.threads,
            clock: ask.clock,
        };
        match (law.fit)(seen, &options) {
            Ok(fitted) => return Ok(fitted),
            Err(refusal) => refused = refused.or_else(|| Some(format!("{refusal} ({})", refusal.code()))),
        }
    }
    Err(refused.unwrap_or_else(|| "there is no law to try".to_owned()))
}

/// The laws to try in turn, and what each minimises.
fn in_order(seen: &[Observation], ask: &Ask<'_>) -> Vec<(&'static Entry, Objective)> {
    if let [law] = ask.laws {
        return vec![(law, ask.objective.unwrap_or_default())];
    }
    let comparing = ask
        .laws
        .iter()
        .filter_map(|law| Some((law.about.name, law.about.compare?)));
    let comparing: Vec<(&'static str, Compare)> = comparing.collect();
    let objectives = ask
        .objective
        .map_or_else(|| vec![Objective::Huber, Objective::LeastSquares], |one| vec![one]);
    let choice = model_selection::choose(&comparing, seen, &objectives, ask.threads);
    let order = choice.order.into_iter();
    order
        .filter_map(|(law, objective)| Some((laws::named(law)?, objective)))
        .collect()
}

/// Why a law would take hours on so many runs.
fn too_much(law: &Entry, runs: usize, bootstrap: usize) -> Option<String> {
    let work_max = law.about.work_max.filter(|most| runs * bootstrap > *most)?;
    let most = work_max / runs;
    Some(format!(
        "{bootstrap} draws of a law on {runs} runs would take hours: `--bootstrap {most}` at most"
    ))
}

/// What a law says of the best of the hidden runs at each size and number of tokens, beside what came.
fn forecasts(law: &AnyKept, held: &[Observation], range: Range) -> Result<Vec<Scored>, String> {
    let (held, _) = best_per_cell(held);
    let forecast = |run: &Observation| {
        let place = Place {
            params: run.params,
            tokens: run.tokens,
            batch_tokens: run.batch_tokens,
        };
        law.kept.law.at(place)?.loss.filter(|loss| loss.mean.is_finite())
    };
    let scored = |run: Observation| {
        let forecast = forecast(&run).ok_or_else(|| format!("{} says nothing of `{}`", law.about.name, run.label))?;
        Ok(Scored {
            compute_ratio: run.compute() / range.flops[1],
            label: run.label,
            params: run.params,
            tokens: run.tokens,
            measured: run.loss,
            forecast,
        })
    };
    held.into_iter().map(scored).collect()
}
