//! Which runs a law or a figure takes: those that compare, for they differ in nothing but what is compared.
//!
//! Refuses to fit, and to draw.

use std::collections::{BTreeMap, BTreeSet};

use crate::fit::observation::Observation;
use crate::record::{TrialRow, TrialState};
use crate::setup::Factor::{Batch, Budget, LearningRate, Schedule, Seed, Size};
use crate::setup::Setup;
use crate::study::alike::alike;
use crate::study::{LeftOut, one_set};

/// Why a run does not compare with the others of its size and tokens.
const OTHER_SETTINGS: &str = "other settings than most runs of its kind";

/// For a law of the learning rate. Of the trials that have ended: the schedule, batch and parametrization with the most
/// learning rates (of those with about as many, muP before the standard one, then the lowest losses); of these, at each
/// size and budget, the other settings with the most; of these, the grids. The rest
/// with the reason.
pub fn lr_grids(trials: &[TrialRow]) -> (Vec<&TrialRow>, Vec<LeftOut>) {
    let ended = |row: &&TrialRow| row.final_loss.is_some() || row.state == TrialState::Diverged;
    let mut runs: Vec<&TrialRow> = trials.iter().filter(ended).collect();
    let mut left_out = Vec::new();
    let sieves: [(Sieve, &str); 3] = [
        (
            of_one_kind,
            "another schedule, batch or parametrization than the runs that were chosen",
        ),
        (of_equal_settings, OTHER_SETTINGS),
        (of_grids, "one learning rate alone at this size and these tokens"),
    ];
    for (sieve, reason) in sieves {
        let kept = sieve(&runs);
        let (kept, out) = parted(runs, &kept);
        left_out.extend(out.into_iter().map(|row| LeftOut::new(&row.trial, reason)));
        runs = kept;
    }
    (runs, left_out)
}

/// Whether each run stays.
type Sieve = fn(&[&TrialRow]) -> Vec<bool>;

fn place(row: &TrialRow) -> (u64, u64) {
    (row.params_non_embedding, row.tokens_asked)
}

fn of_one_kind(runs: &[&TrialRow]) -> Vec<bool> {
    let chosen = one_set::ranked(runs.iter().copied()).into_iter().next();
    runs.iter()
        .map(|row| chosen.is_some_and(|kind| kind.has(row)))
        .collect()
}

/// Which runs a law rests on and which not, in words; none where all are of one schedule, batch and parametrization.
pub fn words(law: &str, trials: &[TrialRow], left_out: &BTreeSet<&str>) -> Option<String> {
    let ended: Vec<&TrialRow> = trials.iter().filter(|row| row.final_loss.is_some()).collect();
    let (out, entered): (Vec<&TrialRow>, Vec<&TrialRow>) =
        ended.iter().partition(|row| left_out.contains(row.trial.as_str()));
    let all = described(&ended);
    if out.is_empty() || all.iter().all(|(_, values)| values.len() < 2) {
        return None;
    }
    let list = |rows: &[&TrialRow]| {
        let each = described(rows);
        // What is one for all runs tells nothing.
        let differing = each.iter().zip(&all).filter(|(_, (_, of_all))| of_all.len() > 1);
        let texts = differing.map(|((name, values), _)| {
            let values: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
            format!("{name} {}", values.join(", "))
        });
        texts.collect::<Vec<_>>().join("; ")
    };
    Some(format!(
        "{law} rests on {} of {} runs ({}) and not on {} ({})",
        entered.len(),
        ended.len(),
        list(&entered),
        out.len(),
        list(&out)
    ))
}

/// The schedules, batches and parametrizations of some runs, each in words, batches by their size.
fn described(rows: &[&TrialRow]) -> [(&'static str, BTreeSet<(u64, String)>); 3] {
    let each = |of: fn(&TrialRow) -> (u64, String)| rows.iter().map(|row| of(row)).collect();
    [
        ("schedule", each(|row| (0, row.schedule.name().to_owned()))),
        ("batch", each(|row| (row.batch_tokens, row.batch_tokens.to_string()))),
        (
            "parametrization",
            each(|row| (0, row.parametrization.name().to_owned())),
        ),
    ]
}

fn of_equal_settings(runs: &[&TrialRow]) -> Vec<bool> {
    alike(runs, |row| {
        let kind = Setup::from(*row).without([Size, Budget, LearningRate, Seed]);
        (place(row), kind, row.lr.to_bits())
    })
}

/// A size and tokens with one rate alone are no grid with its best at the edge; where there is no grid at all, all stay.
fn of_grids(runs: &[&TrialRow]) -> Vec<bool> {
    let mut rates: BTreeMap<(u64, u64), BTreeSet<u64>> = BTreeMap::new();
    for row in runs {
        rates.entry(place(row)).or_default().insert(row.lr.to_bits());
    }
    let is_grid = |row: &&TrialRow| rates.get(&place(row)).is_some_and(|rates| rates.len() > 1);
    let is_any = runs.iter().any(is_grid);
    runs.iter().map(|row| !is_any || is_grid(row)).collect()
}

/// For a law of learning rate and batch: at each size the settings with the most rates, batches and budgets. The rest
/// with the reason. Of runs that are known by nothing else, all.
pub fn lr_and_batch(runs: Vec<Observation>) -> (Vec<Observation>, Vec<LeftOut>) {
    let kept = alike(&runs, |run| {
        let bits = |number: Option<f64>| number.map(f64::to_bits);
        let varied = (bits(run.lr), bits(run.batch_tokens), run.tokens.to_bits());
        let setup = run.setup.clone();
        let kind = setup.map(|setup| setup.without([Size, Budget, LearningRate, Batch, Seed]));
        (run.params.to_bits(), kind, varied)
    });
    let (kept, out) = parted(runs, &kept);
    let left_out = out.iter().map(|run| LeftOut::new(&run.label, OTHER_SETTINGS));
    (kept, left_out.collect())
}

/// For curves of equal loss along single runs: at each size the runs of the longest budget and of one kind, that with
/// the most batches, and of each batch the run that ended lowest. Along different schedules equal tokens do not compare.
pub fn longest(trials: &[TrialRow]) -> Vec<&TrialRow> {
    type Best<'a> = BTreeMap<u64, (f64, &'a TrialRow)>;
    let mut longest: BTreeMap<u64, u64> = BTreeMap::new();
    for row in trials.iter().filter(|row| row.final_loss.is_some()) {
        let budget = longest.entry(row.params_non_embedding).or_default();
        *budget = row.tokens_asked.max(*budget);
    }
    let mut sizes: BTreeMap<u64, BTreeMap<(&str, Setup), Best<'_>>> = BTreeMap::new();
    for row in trials {
        let size = row.params_non_embedding;
        let is_longest = longest.get(&size) == Some(&row.tokens_asked);
        let Some(loss) = row.final_loss.filter(|_| is_longest) else {
            continue;
        };
        let setup = Setup::from(row).without([Budget, LearningRate, Batch, Seed]);
        let kind = (row.schedule.name(), setup);
        let of_kind = sizes.entry(size).or_default().entry(kind).or_default();
        let best = of_kind.entry(row.batch_tokens).or_insert((loss, row));
        if loss < best.0 {
            *best = (loss, row);
        }
    }
    sizes
        .into_values()
        .filter_map(|kinds| kinds.into_values().max_by_key(BTreeMap::len))
        .flat_map(BTreeMap::into_values)
        .map(|(_, row)| row)
        .collect()
}

/// Whether final losses show a best batch: some size has three batches of three budgets each, or more.
pub fn shows_best_batch(trials: &[TrialRow]) -> bool {
    const LEAST: usize = 3;
    let mut budgets: BTreeMap<(u64, u64), BTreeSet<u64>> = BTreeMap::new();
    for row in trials.iter().filter(|row| row.final_loss.is_some()) {
        let curve = (row.params_non_embedding, row.batch_tokens);
        budgets.entry(curve).or_default().insert(row.tokens_asked);
    }
    let mut batches: BTreeMap<u64, usize> = BTreeMap::new();
    for ((size, _), budgets) in budgets {
        *batches.entry(size).or_default() += usize::from(budgets.len() >= LEAST);
    }
    batches.values().any(|&batches| batches >= LEAST)
}

/// For a law of loss curves: the first run that differs from the first of all in more than the schedule, its peak and
/// the seed, and the settings in which it does.
pub fn first_unlike<'a>(trials: &[&'a TrialRow]) -> Option<(&'a TrialRow, Vec<String>)> {
    let setup = |row: &TrialRow| Setup::from(row).without([Schedule, Budget, LearningRate, Seed]);
    let first = setup(trials.first()?);
    trials.iter().find_map(|row| {
        let differences = first.differences(&setup(row));
        (!differences.is_empty()).then_some((*row, differences))
    })
}

/// For a picture of what was varied most: the runs that have ended, of the kind with the most of them; of kinds with as
/// many, `wsd` before `cosine`.
pub fn of_most_frequent_kind(trials: &[TrialRow]) -> Vec<&TrialRow> {
    let mut kinds: BTreeMap<(&str, u64, Setup), Vec<&TrialRow>> = BTreeMap::new();
    let ended = |row: &&TrialRow| row.final_loss.is_some() || row.diverged_at_tokens.is_some();
    for row in trials.iter().filter(ended) {
        let setup = Setup::from(row).without([Size, Budget, LearningRate, Seed]);
        let kind = (row.schedule.name(), row.batch_tokens, setup);
        kinds.entry(kind).or_default().push(row);
    }
    kinds.into_values().max_by_key(Vec::len).unwrap_or_default()
}

/// The items that are kept, and the others.
fn parted<T>(items: Vec<T>, kept: &[bool]) -> (Vec<T>, Vec<T>) {
    let mut kept = kept.iter();
    items.into_iter().partition(|_| kept.next() == Some(&true))
}
