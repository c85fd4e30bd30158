//! Which runs of a study make one set: of one parametrization and schedule, and of one batch where batches compete.
//!
//! Refuses to fit: whether a set carries a law is tried by who asks for it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::fit::numeric::statistics;
use crate::model::mup::Parametrization;
use crate::record::{TrialRow, TrialState};
use crate::spec::ScheduleName;

/// Of equal coverage is who has this share of the most settings: a run that failed makes no other choice.
const AS_MANY: f64 = 0.8;

/// What the runs of a set have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub parametrization: Parametrization,
    pub schedule: ScheduleName,
    /// The tokens of a batch; none: at no size and budget were several tried.
    pub batch_tokens: Option<u64>,
}

impl Kind {
    pub fn has(&self, row: &TrialRow) -> bool {
        row.parametrization == self.parametrization
            && row.schedule == self.schedule
            && self.batch_tokens.is_none_or(|batch| row.batch_tokens == batch)
    }

    /// The same at every batch.
    #[must_use]
    pub fn at_every_batch(self) -> Self {
        Self {
            batch_tokens: None,
            ..self
        }
    }
}

/// All sets of the runs that have ended, the one to prefer first: of those with about the most settings muP's, and of
/// these the one with the lowest losses over the sizes and budgets that all have. First the schedule is chosen so, then
/// the batch.
pub fn ranked<'a>(trials: impl IntoIterator<Item = &'a TrialRow>) -> Vec<Kind> {
    let ended = |row: &&TrialRow| row.final_loss.is_some() || row.state == TrialState::Diverged;
    let ended: Vec<&TrialRow> = trials.into_iter().filter(ended).collect();
    let schedules = in_order(
        &ended,
        |row| (row.schedule.name(), row.parametrization.name()),
        // muP's rates are those that a recipe needs.
        |(_, parametrization)| parametrization == Parametrization::Mup.name(),
    );
    let mut kinds = Vec::new();
    for of_schedule in schedules {
        let first = of_schedule[0];
        let kind = Kind {
            parametrization: first.parametrization,
            schedule: first.schedule,
            batch_tokens: None,
        };
        if compete(&of_schedule) {
            let batches = in_order(&of_schedule, |row| row.batch_tokens, |_| true);
            kinds.extend(batches.into_iter().map(|of_batch| Kind {
                batch_tokens: Some(of_batch[0].batch_tokens),
                ..kind
            }));
        } else {
            kinds.push(kind);
        }
    }
    kinds
}

type Place = (u64, u64);

fn place(row: &TrialRow) -> Place {
    (row.params_non_embedding, row.tokens_asked)
}

/// Whether at some size and budget several batches were tried.
fn compete(runs: &[&TrialRow]) -> bool {
    let mut batches: BTreeMap<Place, u64> = BTreeMap::new();
    runs.iter()
        .any(|row| *batches.entry(place(row)).or_insert(row.batch_tokens) != row.batch_tokens)
}

/// Whether at some size and budget several learning rates were tried.
pub fn has_grid<'a>(trials: impl IntoIterator<Item = &'a TrialRow>) -> bool {
    let mut rates: BTreeMap<Place, u64> = BTreeMap::new();
    trials
        .into_iter()
        .any(|row| *rates.entry(place(row)).or_insert(row.lr.to_bits()) != row.lr.to_bits())
}

/// The runs that have one key.
struct Group<'a, K> {
    key: K,
    runs: Vec<&'a TrialRow>,
    /// Different learning rates and batches over the sizes and budgets.
    settings: usize,
    /// ln of the lowest loss of each size and budget.
    lowest: BTreeMap<Place, f64>,
}

impl<'a, K> Group<'a, K> {
    fn new(key: K, runs: Vec<&'a TrialRow>) -> Self {
        let settings: BTreeSet<(Place, u64, u64)> = runs
            .iter()
            .map(|row| (place(row), row.lr.to_bits(), row.batch_tokens))
            .collect();
        let mut lowest = BTreeMap::new();
        for row in &runs {
            let best = lowest.entry(place(row)).or_insert(f64::INFINITY);
            *best = best.min(row.final_loss.map_or(f64::INFINITY, f64::ln));
        }
        Self {
            key,
            runs,
            settings: settings.len(),
            lowest,
        }
    }

    fn sum(&self, places: &[Place]) -> f64 {
        places.iter().map(|at| self.lowest[at]).sum()
    }

    /// Whether its losses are no worse than those of another by more than twice the standard error of the mean difference.
    fn is_as_good(&self, other: &Self, places: &[Place]) -> bool {
        let differences: Vec<f64> = places.iter().map(|at| self.lowest[at] - other.lowest[at]).collect();
        let count = differences.len() as f64;
        let error = statistics::standard_deviation(&differences).map_or(0.0, |sd| 2.0 * sd / count.sqrt());
        statistics::mean(&differences).is_none_or(|mean| mean <= error)
    }
}

/// The runs by key: first those of the kinds with about as many settings as any, and of these those that are preferred,
/// by their losses over the places that all of them have (where losses do not differ beyond their error, the last key).
/// Then the rest, those with the most settings first.
fn in_order<'a, K: Ord + Copy>(
    runs: &[&'a TrialRow],
    key: impl Fn(&TrialRow) -> K,
    is_preferred: impl Fn(K) -> bool,
) -> Vec<Vec<&'a TrialRow>> {
    let mut by_key: BTreeMap<K, Vec<&TrialRow>> = BTreeMap::new();
    for &row in runs {
        by_key.entry(key(row)).or_default().push(row);
    }
    let groups: Vec<Group<'a, K>> = by_key.into_iter().map(|(key, runs)| Group::new(key, runs)).collect();
    let most = groups.iter().map(|it| it.settings).max().unwrap_or(0) as f64;
    let has_many = |it: &Group<'a, K>| it.settings as f64 >= AS_MANY * most;
    let is_any = groups.iter().any(|it| has_many(it) && is_preferred(it.key));
    let (first, mut rest): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|it| has_many(it) && is_preferred(it.key) == is_any);
    rest.sort_by_key(|it| Reverse((is_preferred(it.key), it.settings, it.key)));
    let first = by_loss(first);
    first.into_iter().chain(rest).map(|it| it.runs).collect()
}

fn by_loss<K: Ord + Copy>(mut groups: Vec<Group<'_, K>>) -> Vec<Group<'_, K>> {
    let in_all = |at: &&Place| groups.iter().all(|it| it.lowest.contains_key(at));
    let places: BTreeSet<Place> = groups
        .iter()
        .flat_map(|it| it.lowest.keys())
        .filter(in_all)
        .copied()
        .collect();
    let places: Vec<Place> = places.into_iter().collect();
    groups.sort_by(|a, b| a.sum(&places).total_cmp(&b.sum(&places)).then(b.key.cmp(&a.key)));
    let best = (0..groups.len())
        .filter(|&at| groups[at].is_as_good(&groups[0], &places))
        .max_by_key(|&at| groups[at].key);
    if let Some(best) = best {
        groups[..=best].rotate_right(1);
    }
    groups
}
