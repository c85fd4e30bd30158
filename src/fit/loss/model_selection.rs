//! Which of several laws of loss to believe: the one that best predicts the runs that it has not seen.
//!
//! Refuses to compare what laws minimise: each minimises something else, and more constants always fit better.

use serde::{Deserialize, Serialize};

use crate::fit::design::{CONFIGURATIONS_MIN, Design, VALUES_MIN};
use crate::fit::loss::bootstrap_intervals::DrawOptions;
use crate::fit::loss::checks::hold_out::{Axis, HoldOut, cut, cuts};
use crate::fit::loss::checks::outliers;
use crate::fit::loss::chinchilla::{Law, Objective};
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::statistics;
use crate::fit::observation::{Observation, best_per_cell};
use crate::fit::refusal::Refusal;

/// The loss of a run by a fitted law; none where the run does not say what the law needs.
pub type LossOf = Box<dyn Fn(&Observation) -> Option<f64>>;

/// Fits a law of loss to runs, to predict others; what is minimised is for laws that leave it open.
pub type Compare = fn(&[Observation], Objective) -> Result<LossOf, Refusal>;

/// How a law did on the runs that were held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Runs that were held out: the best of each size and number of tokens.
    pub n: usize,
    /// The mean of |predicted − loss| / loss.
    pub mean_abs_rel_error: f64,
    /// The largest of them.
    pub max_abs_rel_error: f64,
}

/// Fits the law without the runs that are held out, and predicts the best of these at each size and number of tokens:
/// the same runs for every law. None when nothing is held out.
///
/// # Errors
/// The refusal of the law by the other runs.
pub fn held_out_error(
    runs: &[Observation],
    law: Compare,
    objective: Objective,
    hold_out: HoldOut,
) -> Result<Option<HeldOut>, Refusal> {
    let design = Design::new(runs.to_vec());
    let Some((axis, limit)) = cut(hold_out, &design) else {
        return Ok(None);
    };
    let (held, seen): (Vec<_>, Vec<_>) = runs.iter().cloned().partition(|run| axis.of(run) > limit);
    let (held, _) = best_per_cell(&held);
    if held.is_empty() {
        return Ok(None);
    }
    let loss_of = law(&seen, objective)?;
    let error = |run: &Observation| Some((loss_of(run)? - run.loss).abs() / run.loss);
    let errors: Vec<f64> = held.iter().filter_map(error).collect();
    Ok(statistics::mean(&errors).map(|mean| HeldOut {
        n: errors.len(),
        mean_abs_rel_error: mean,
        max_abs_rel_error: errors.iter().copied().fold(0.0, f64::max),
    }))
}

/// A law that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    pub law: &'static str,
    /// What was minimised, where the hold-out chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// How it did on the runs held out; none: it has no answer.
    pub hold_out: Option<HeldOut>,
    /// Why it has none.
    pub refused: Option<String>,
}

/// Tries laws of loss, each with its name, on the runs that are held out; the best comes first.
///
/// # Errors
/// `not_identified` where none has an answer.
pub fn try_all(
    laws: &[(&'static str, Compare)],
    runs: &[Observation],
    objective: Objective,
    hold_out: HoldOut,
) -> Result<Vec<Tried>, Refusal> {
    let attempt = |&(law, compare): &(&'static str, Compare)| {
        let (hold_out, refused) = match held_out_error(runs, compare, objective, hold_out) {
            Ok(Some(held)) => (Some(held), None),
            Ok(None) => (None, Some("no run lies above the limit of the hold-out".to_owned())),
            Err(refusal) => (None, Some(refusal.to_string())),
        };
        Tried {
            law,
            objective: None,
            hold_out,
            refused,
        }
    };
    let mut tried: Vec<Tried> = laws.iter().map(attempt).collect();
    let error = |it: &Tried| {
        it.hold_out
            .as_ref()
            .map_or(f64::INFINITY, |held| held.mean_abs_rel_error)
    };
    tried.sort_by(|a, b| error(a).total_cmp(&error(b)));
    if tried.iter().all(|it| it.hold_out.is_none()) {
        let why = "no law predicts runs that it has not seen: there is nothing to choose by".to_owned();
        return Err(Refusal::NotIdentified { why });
    }
    Ok(tried)
}

/// The law that predicts best, and how each did.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What to fit, by which objective: the law that was chosen, then the others by how well they predict. Of laws none
    /// of which has an answer, the first.
    pub order: Vec<(&'static str, Objective)>,
    /// All of them, in the order of the list of laws.
    pub tried: Vec<Tried>,
}

/// Rolled fits along each axis; each is one of every law by every objective.
const CUTS_MAX: usize = 5;
/// Who answers fewer than this share of the cuts that others answer has no part in the comparison.
const ANSWERED_MIN: f64 = 0.5;
/// Relative errors that differ by less are the same: losses are measured no better.
const SAME_ERROR: f64 = 1e-4;
/// Nor do errors differ that are within this share of each other,
const SAME_SHARE: f64 = 0.2;
/// or within so many standard errors of their difference: the cuts see the same runs again.
const SAME_SE: f64 = 2.0;
/// The share of the configurations that a cut leaves to fit, where there are such cuts.
const SEEN_MIN: f64 = 0.4;

/// Chooses among laws, simple ones first, and among objectives: a hold-out is rolled forward along the axis of the design
/// (compute where runs come in groups of equal compute, else size and then tokens), each law predicts the larger runs
/// from the smaller ones, and the first law within noise of the best is taken. Runs far off the additive law have no
/// part, and where there are any, least squares has none either.
pub fn choose(
    laws: &[(&'static str, Compare)],
    runs: &[Observation],
    objectives: &[Objective],
    threads: usize,
) -> Choice {
    let (runs, is_clean) = without_outliers(runs);
    let robust = [Objective::Huber];
    let objectives = if is_clean || objectives.len() < 2 {
        objectives
    } else {
        &robust[..]
    };
    let splits = splits(&runs);
    let jobs: Vec<(&'static str, Compare, Objective)> = laws
        .iter()
        .flat_map(|&(law, compare)| objectives.iter().map(move |&objective| (law, compare, objective)))
        .collect();
    let rolled = in_parallel(&jobs, threads, |&(law, compare, objective)| {
        let answers = splits.iter().map(|split| split.errors(compare, objective));
        Candidate {
            law,
            objective,
            answers: answers.collect(),
        }
    });
    best_of(laws, objectives[0], &rolled)
}

/// Configurations beyond this number teach little more, and each is fitted many times over.
const CONFIGURATIONS_MAX: usize = 1500;

/// The runs without those far off the additive law, and whether there were none; of very many every second, third or
/// further configuration.
fn without_outliers(runs: &[Observation]) -> (Vec<Observation>, bool) {
    let (best, _) = best_per_cell(runs);
    let all = Design::new(best.clone());
    let step = all.configurations.div_ceil(CONFIGURATIONS_MAX);
    if step > 1 {
        let kept = all
            .configuration
            .iter()
            .zip(&all.rows)
            .filter(|(number, _)| *number % step == 0);
        return without_outliers(&kept.map(|(_, row)| row.clone()).collect::<Vec<_>>());
    }
    let draws = DrawOptions {
        count: 0,
        seed: 0,
        threads: 1,
    };
    let found = FittedConstants::<Law, 5>::new(Design::new(best), Objective::Huber)
        .ok()
        .and_then(|core| outliers::find(&core, draws));
    let Some(found) = found else {
        return (runs.to_vec(), true);
    };
    let is_far = |run: &Observation| found.labels.contains(&run.label);
    (runs.iter().filter(|run| !is_far(run)).cloned().collect(), false)
}

/// Of some cuts those that leave enough to fit; all of them where there are none such.
pub(in crate::fit) fn late(mut cuts: Vec<f64>, design: &Design, axis: Axis) -> Vec<f64> {
    let seen = |limit: f64| design.rows.iter().filter(|row| axis.of(row) < limit).count() as f64;
    let is_late = |limit: &f64| seen(*limit) >= SEEN_MIN * design.rows.len() as f64;
    if cuts.iter().any(is_late) {
        cuts.retain(is_late);
    }
    cuts
}

/// A cut through the runs.
struct Split {
    seen: Vec<Observation>,
    held: Vec<Observation>,
}

/// The relative errors of one cut, or why there are none.
type Answer = Result<Vec<f64>, String>;

impl Split {
    fn errors(&self, compare: Compare, objective: Objective) -> Answer {
        let loss_of = compare(&self.seen, objective).map_err(|refusal| refusal.to_string())?;
        let error = |run: &Observation| Some((loss_of(run)? - run.loss).abs() / run.loss);
        let errors: Option<Vec<f64>> = self.held.iter().map(error).collect();
        errors.ok_or_else(|| "the runs do not say what the law needs".to_owned())
    }
}

fn splits(runs: &[Observation]) -> Vec<Split> {
    let design = Design::new(best_per_cell(runs).0);
    let axes = match Axis::of_design(&design) {
        Axis::Flops => vec![Axis::Flops],
        Axis::Params | Axis::Tokens => vec![Axis::Params, Axis::Tokens],
    };
    let mut splits = Vec::new();
    for axis in axes {
        let cuts = late(cuts(&design, axis, [VALUES_MIN, CONFIGURATIONS_MIN]), &design, axis);
        let kept = cuts.len().min(CUTS_MAX);
        for k in 0..kept {
            // Evenly over all, the last among them.
            let limit = cuts[(k + 1) * cuts.len() / kept - 1];
            let (held, seen): (Vec<_>, Vec<_>) = runs.iter().cloned().partition(|run| axis.of(run) >= limit);
            let (held, _) = best_per_cell(&held);
            splits.push(Split { seen, held });
        }
    }
    splits
}

/// A law by an objective, and its answer to each cut.
#[derive(Clone)]
struct Candidate {
    law: &'static str,
    objective: Objective,
    answers: Vec<Answer>,
}

impl Candidate {
    fn answered(&self) -> usize {
        self.answers.iter().filter(|answer| answer.is_ok()).count()
    }

    /// The mean errors at some cuts.
    fn means(&self, cuts: &[usize]) -> Vec<f64> {
        let answers = cuts.iter().filter_map(|&cut| self.answers[cut].as_ref().ok());
        answers.filter_map(|errors| statistics::mean(errors)).collect()
    }

    fn held_out(&self, cuts: &[usize]) -> Option<HeldOut> {
        let all: Vec<f64> = cuts
            .iter()
            .filter_map(|&cut| self.answers[cut].as_ref().ok())
            .flatten()
            .copied()
            .collect();
        Some(HeldOut {
            n: all.len(),
            mean_abs_rel_error: statistics::mean(&self.means(cuts))?,
            max_abs_rel_error: all.iter().copied().fold(0.0, f64::max),
        })
    }

    fn refused(&self) -> Option<String> {
        let mut refusals = self.answers.iter().filter_map(|answer| answer.as_ref().err());
        refusals.next().cloned()
    }
}

/// How much more the first errs than the second, cut by cut, and the standard error of that.
fn difference(a: &[f64], b: &[f64]) -> (f64, f64) {
    let each: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let error = statistics::standard_deviation(&each).map_or(0.0, |sd| sd / (each.len() as f64).sqrt());
    (statistics::mean(&each).unwrap_or(0.0), error)
}

/// Whether one errs no more than the other, within noise.
fn is_as_good(one: &[f64], other: &[f64]) -> bool {
    let (more, error) = difference(one, other);
    let least = SAME_SHARE * statistics::mean(other).unwrap_or(0.0);
    more <= (SAME_SE * error).max(least).max(SAME_ERROR)
}

fn best_of(laws: &[(&'static str, Compare)], objective: Objective, rolled: &[Candidate]) -> Choice {
    let most = rolled.iter().map(Candidate::answered).max().unwrap_or(0);
    let is_able = |it: &&Candidate| most > 0 && it.answered() as f64 >= ANSWERED_MIN * most as f64;
    let able: Vec<&Candidate> = rolled.iter().filter(is_able).collect();
    // Errors compare over the same runs alone.
    let cuts: Vec<usize> = (0..rolled.first().map_or(0, |it| it.answers.len()))
        .filter(|&cut| able.iter().all(|it| it.answers[cut].is_ok()))
        .collect();
    let mean = |it: &Candidate| statistics::mean(&it.means(&cuts)).unwrap_or(f64::INFINITY);
    let lowest = |of: &mut dyn Iterator<Item = &&Candidate>| -> Option<Candidate> {
        of.min_by(|a, b| mean(a).total_cmp(&mean(b)))
            .map(|best| (*best).clone())
    };
    // Of each law the objective that predicts better; of equals the first.
    let of_law = |law: &str| {
        let best = lowest(&mut able.iter().filter(|it| it.law == law))?;
        let first = able.iter().find(|it| it.law == law)?;
        let is_first = is_as_good(&first.means(&cuts), &best.means(&cuts));
        Some(if is_first { (*first).clone() } else { best })
    };
    let mut each: Vec<Candidate> = laws.iter().filter_map(|(law, _)| of_law(law)).collect();
    let tried = laws.iter().map(|(law, _)| {
        let answer = each.iter().find(|it| it.law == *law);
        let refusal = rolled.iter().find(|it| it.law == *law).and_then(Candidate::refused);
        Tried {
            law,
            objective: answer.map(|it| it.objective),
            hold_out: answer.and_then(|it| it.held_out(&cuts)),
            refused: match answer {
                Some(_) => None,
                None => Some(refusal.unwrap_or_else(|| "no cut leaves it enough runs".to_owned())),
            },
        }
    });
    let tried = tried.collect();
    if let Some(best) = lowest(&mut each.iter().collect::<Vec<_>>().iter()) {
        let chosen = each
            .iter()
            .position(|it| is_as_good(&it.means(&cuts), &best.means(&cuts)));
        let chosen = each.remove(chosen.unwrap_or(0));
        each.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
        each.insert(0, chosen);
    }
    let mut order: Vec<(&'static str, Objective)> = each.iter().map(|it| (it.law, it.objective)).collect();
    if let Some((first, _)) = laws.first().filter(|_| order.is_empty()) {
        order.push((first, objective));
    }
    Choice { order, tried }
}

/// What becomes of each item, in order, on so many threads.
fn in_parallel<T: Sync, R: Send>(items: &[T], threads: usize, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let share = items.len().div_ceil(threads.clamp(1, items.len().max(1))).max(1);
    let each = &each;
    std::thread::scope(|scope| {
        let handles: Vec<_> = items
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(each).collect::<Vec<R>>()))
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().expect("a fit does not panic"))
            .collect()
    })
}

#[cfg(test)]
mod tests;
