//! The loss curves that the page draws: which trials, and how few points tell how they ran.
//!
//! Costs what is shown, however much was recorded. Refuses to know how curves are drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::record::{TrialRow, TrialState};
use crate::run::failure::Failure;
use crate::store::{LeanTrial, PathStage, Store};

/// Curves that are drawn where nobody asks for another number.
pub(super) const SHOWN: usize = 150;
/// The most that can be asked for.
pub(super) const SHOWN_MAX: usize = 400;
/// Points for each e-fold of steps, so that a logarithmic axis is even.
const PER_EFOLD: f64 = 14.0;
/// Points for each stage, so that a short decay at the end of a linear axis is there too.
const PER_STAGE: u64 = 32;
/// Stages whose points are kept at hand.
const KEPT_MAX: usize = 4000;

/// Steps and losses of stages to which nothing will be added.
pub(super) type Thinned = BTreeMap<String, Arc<Vec<(f64, f64)>>>;

/// The curves of a sweep.
#[derive(Debug, Serialize)]
pub(super) struct CurvesView {
    pub(super) sweep: String,
    /// Trials that have a curve.
    pub(super) drawable: usize,
    /// Every size of the sweep, drawn or not, so that each keeps its colour.
    pub(super) sizes: Vec<SizeView>,
    pub(super) curves: Vec<CurveView>,
}

/// A size of proxies.
#[derive(Debug, Serialize)]
pub(super) struct SizeView {
    model: String,
    params: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct CurveView {
    trial: String,
    slug: String,
    state: TrialState,
    model: String,
    params: u64,
    lr: f64,
    final_loss: Option<f64>,
    points: Vec<(u64, f64)>,
}

/// What a curve needs of a whole row.
pub(super) fn lean(row: &TrialRow) -> LeanTrial {
    LeanTrial {
        trial: row.trial.clone(),
        slug: row.slug.clone(),
        state: row.state,
        model: row.model.clone(),
        params: row.params_non_embedding,
        lr: row.lr,
        batch_tokens: row.batch_tokens,
        tokens_asked: row.tokens_asked,
        final_loss: row.final_loss,
        has_begun: true,
    }
}

/// The sizes of a sweep, the smallest first.
pub(super) fn sizes(trials: &[LeanTrial]) -> Vec<SizeView> {
    let sizes: BTreeSet<(u64, &str)> = trials.iter().map(|it| (it.params, it.model.as_str())).collect();
    let view = |(params, model): (u64, &str)| SizeView {
        model: model.to_owned(),
        params,
    };
    sizes.into_iter().map(view).collect()
}

/// The trials to draw: all that run, then the others that have begun, thinned evenly in the order of size and loss, with the
/// best of every size among them. Also how many there are to choose from.
pub(super) fn choose(trials: &[LeanTrial], most: usize) -> (Vec<&LeanTrial>, usize) {
    let begun = trials.iter().filter(|it| it.has_begun);
    let (running, mut over): (Vec<&LeanTrial>, Vec<&LeanTrial>) = begun.partition(|it| it.state == TrialState::Running);
    let drawable = running.len() + over.len();
    over.sort_by(|a, b| {
        let (loss_a, loss_b) = (
            a.final_loss.unwrap_or(f64::INFINITY),
            b.final_loss.unwrap_or(f64::INFINITY),
        );
        (a.params, &a.model)
            .cmp(&(b.params, &b.model))
            .then(loss_a.total_cmp(&loss_b))
    });
    let mut chosen: Vec<&LeanTrial> = running.into_iter().take(most).collect();
    let room = most - chosen.len();
    if over.len() <= room {
        chosen.extend(over);
        return (chosen, drawable);
    }
    let mut sizes = BTreeSet::new();
    let (best, others): (Vec<_>, Vec<_>) = over.into_iter().partition(|it| sizes.insert((it.params, &it.model)));
    let room = room.saturating_sub(best.len());
    chosen.extend(best);
    chosen.truncate(most);
    let count = others.len();
    chosen.extend((0..room).filter_map(|at| others.get(at * count / room.max(1)).copied()));
    (chosen, drawable)
}

/// Where the curve of a stage is cut into pieces.
pub(super) fn edges(from: u64, to: u64) -> Vec<u64> {
    let mut edges = BTreeSet::from([from, to]);
    let length = to.saturating_sub(from);
    edges.extend((1..PER_STAGE).map(|piece| from + length * piece / PER_STAGE));
    let first = ((from.max(1) as f64).ln() * PER_EFOLD).ceil() as u64;
    let last = ((to.max(1) as f64).ln() * PER_EFOLD).floor() as u64;
    let even = (first..=last).map(|at| (at as f64 / PER_EFOLD).exp().round() as u64);
    edges.extend(even.filter(|step| (from..=to).contains(step)));
    edges.into_iter().collect()
}

/// The curves of these trials of a sweep.
pub(super) async fn curves(
    store: &mut Store,
    kept: &mut Thinned,
    sweep: &str,
    trials: &[&LeanTrial],
) -> Result<Vec<CurveView>, Failure> {
    let names: Vec<&str> = trials.iter().map(|it| it.trial.as_str()).collect();
    let paths = store.paths(sweep, &names).await?;
    if kept.len() > KEPT_MAX {
        kept.clear();
    }
    // Trials share stages: each is read once.
    let mut read = Thinned::new();
    for stage in paths.values().flatten() {
        if !kept.contains_key(&stage.stage) && !read.contains_key(&stage.stage) {
            let points = store
                .thinned(&stage.stage, &edges(stage.from_steps, stage.to_steps))
                .await?;
            let into = if stage.is_over { &mut *kept } else { &mut read };
            into.insert(stage.stage.clone(), Arc::new(points));
        }
    }
    let points_of = |stage: &PathStage| kept.get(&stage.stage).or_else(|| read.get(&stage.stage)).cloned();
    let views = trials.iter().map(|it| {
        let stages = paths.get(&it.trial).into_iter().flatten().filter_map(points_of);
        let points = stages.flat_map(|points| points.to_vec());
        CurveView {
            trial: it.trial.clone(),
            slug: it.slug.clone(),
            state: it.state,
            model: it.model.clone(),
            params: it.params,
            lr: it.lr,
            final_loss: it.final_loss,
            points: points
                .map(|(step, loss)| {
                    (
                        (step * it.batch_tokens as f64).round() as u64,
                        (loss * 1e5).round() / 1e5,
                    )
                })
                .collect(),
        }
    });
    Ok(views.filter(|view| !view.points.is_empty()).collect())
}

/// Final losses at one learning rate of one size, budget and batch.
#[derive(Debug, Serialize)]
pub(super) struct RateView {
    model: String,
    params: u64,
    /// The budget that was asked: the same at every batch.
    tokens: u64,
    batch_tokens: u64,
    lr: f64,
    /// The lowest mean of final losses over the seeds of equal settings; none: all that ended diverged.
    loss: Option<f64>,
    /// The lowest and the highest of these seeds.
    range: Option<[f64; 2]>,
    /// How many seeds there are.
    seeds: u64,
    /// A trial of them, that with the lowest loss.
    trial: Option<String>,
    complete: u64,
    diverged: u64,
}

/// What a trial is called without its seed: equal names are equal settings.
fn without_seed(slug: &str) -> String {
    let is_seed = |part: &&str| {
        part.strip_prefix("seed")
            .is_some_and(|rest| rest.parse::<u64>().is_ok())
    };
    let parts: Vec<&str> = slug.split('-').filter(|part| !is_seed(part)).collect();
    parts.join("-")
}

/// Loss against learning rate, by size, budget and batch.
pub(super) fn rates(trials: &[LeanTrial]) -> Vec<RateView> {
    type Settings<'a> = BTreeMap<String, Vec<(f64, &'a str)>>;
    type Place<'a> = (u64, &'a str, u64, u64, u64);
    let mut rates: BTreeMap<Place<'_>, (RateView, Settings<'_>)> = BTreeMap::new();
    for it in trials {
        let is_diverged = it.state == TrialState::Diverged;
        if !is_diverged && it.final_loss.is_none() {
            continue;
        }
        // Positive numbers have the order of their bits.
        let place = (
            it.params,
            it.model.as_str(),
            it.tokens_asked,
            it.batch_tokens,
            it.lr.to_bits(),
        );
        let (rate, settings) = rates
            .entry(place)
            .or_insert_with(|| (RateView::of(it), Settings::new()));
        rate.diverged += u64::from(is_diverged);
        rate.complete += u64::from(!is_diverged);
        if let Some(loss) = it.final_loss {
            let seeds = settings.entry(without_seed(&it.slug)).or_default();
            seeds.push((loss, it.trial.as_str()));
        }
    }
    rates
        .into_values()
        .map(|(rate, settings)| rate.with(settings.into_values()))
        .collect()
}

impl RateView {
    fn of(it: &LeanTrial) -> Self {
        Self {
            model: it.model.clone(),
            params: it.params,
            tokens: it.tokens_asked,
            batch_tokens: it.batch_tokens,
            lr: it.lr,
            loss: None,
            range: None,
            seeds: 0,
            trial: None,
            complete: 0,
            diverged: 0,
        }
    }

    /// With the losses of the settings whose mean over seeds is the lowest.
    fn with<'a>(self, settings: impl Iterator<Item = Vec<(f64, &'a str)>>) -> Self {
        let mean = |seeds: &[(f64, &str)]| seeds.iter().map(|it| it.0).sum::<f64>() / seeds.len() as f64;
        let Some(mut seeds) = settings.min_by(|a, b| mean(a).total_cmp(&mean(b))) else {
            return self;
        };
        seeds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let ends = seeds.first().zip(seeds.last());
        Self {
            loss: Some(mean(&seeds)),
            range: ends.map(|(first, last)| [first.0, last.0]),
            seeds: seeds.len() as u64,
            trial: ends.map(|(first, _)| first.1.to_owned()),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(name: usize, params: u64, state: TrialState, loss: Option<f64>) -> LeanTrial {
        LeanTrial {
            trial: name.to_string(),
            slug: name.to_string(),
            state,
            model: format!("{params}"),
            params,
            lr: 0.01 * (1 + name % 3) as f64,
            batch_tokens: 1,
            tokens_asked: 100,
            final_loss: loss,
            has_begun: state != TrialState::Pending,
        }
    }

    #[test]
    fn what_runs_and_the_best_of_every_size_are_among_few_curves() {
        let mut trials: Vec<LeanTrial> = (0..1000)
            .map(|at| {
                trial(
                    at,
                    1 + at as u64 % 5,
                    TrialState::Complete,
                    Some(3.0 - at as f64 * 1e-3),
                )
            })
            .collect();
        trials.push(trial(1000, 9, TrialState::Running, None));
        trials.push(trial(1001, 9, TrialState::Pending, None));
        let (chosen, drawable) = choose(&trials, 40);
        assert_eq!((chosen.len(), drawable), (40, 1001));
        for best in ["995", "996", "997", "998", "999", "1000"] {
            assert!(chosen.iter().any(|it| it.trial == best), "{best}");
        }
        assert_eq!(choose(&trials, 2000).0.len(), 1001);
        assert_eq!(choose(&trials, 0).0.len(), 0);
    }

    #[test]
    fn the_pieces_of_a_stage_reach_from_its_beginning_to_its_end_and_stay_few() {
        for (from, to) in [(0, 1), (0, 7), (0, 1000), (900, 1000), (0, 10_000_000)] {
            let edges = edges(from, to);
            assert_eq!((edges[0], edges[edges.len() - 1]), (from, to));
            assert!(edges.len() < 300, "{} pieces from {from} to {to}", edges.len());
            assert!(edges.windows(2).all(|edge| edge[0] < edge[1]));
        }
        assert!(edges(900, 1000).len() > 30, "a decay is short and must be seen");
    }

    #[test]
    fn a_point_is_the_mean_over_seeds_and_what_diverged_is_counted() {
        let at = |name: usize, slug: &str, loss: Option<f64>| LeanTrial {
            slug: slug.to_owned(),
            ..trial(
                name,
                5,
                if loss.is_some() {
                    TrialState::Complete
                } else {
                    TrialState::Diverged
                },
                loss,
            )
        };
        let trials = [
            at(0, "5-lr0.01-seed0", Some(3.0)),
            at(3, "5-lr0.01-seed1", Some(2.5)),
            at(6, "5-lr0.01-seed2", None),
            // Other settings, and worse.
            at(9, "5-lr0.01-clip2-seed0", Some(2.9)),
        ];
        let rates = rates(&trials);
        assert_eq!(rates.len(), 1);
        let rate = &rates[0];
        assert_eq!(
            (rate.complete, rate.diverged, rate.loss, rate.seeds),
            (3, 1, Some(2.75), 2)
        );
        assert_eq!((rate.range, rate.trial.as_deref()), (Some([2.5, 3.0]), Some("3")));
        let mut other_batch = trials.to_vec();
        other_batch[3].batch_tokens = 2;
        assert_eq!(super::rates(&other_batch).len(), 2, "another batch is another point");
    }
}
