//! Which laws a sweep will carry once it is trained, and what the others lack: told from its plan, before a token is
//! spent.
//!
//! Refuses to know losses: a grid that carries a law may still have its best values at the edge.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::fit::design::{CONFIGURATIONS_MIN, Design, VALUES_MIN, distinct};
use crate::fit::law::Needs;
use crate::fit::laws::LAWS;
use crate::fit::observation::Observation;
use crate::record::TrialRow;
use crate::setup::Factor::{Batch, Budget, LearningRate, Schedule, Seed, Size};
use crate::setup::Setup;
use crate::spec::ScheduleName;

/// Whether a sweep will carry a law.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Its name, as `fit --law` takes it.
    pub law: &'static str,
    pub carried: bool,
    /// What it lacks, in words; none: nothing.
    pub lacks: Option<String>,
}

/// What each law of the list will find in the trials of a sweep.
pub fn laws(trials: &[TrialRow]) -> Vec<Carried> {
    let decaying: Vec<&TrialRow> = trials
        .iter()
        .filter(|row| row.schedule != ScheduleName::Constant)
        .collect();
    let loss = lack_of_points(&decaying);
    let each = LAWS.iter().map(|law| {
        let lacks = match law.about.needs {
            Needs::Runs if law.about.name == "three-term" => loss.clone().or_else(|| lack_of_batches(&decaying)),
            Needs::Runs => loss.clone(),
            Needs::LearningRates => lack_of_rates(trials),
            Needs::Grids => lack_of_grids(trials),
            Needs::BatchCurves => lack_of_batches_at_one_size(&decaying),
            Needs::LossCurves => lack_of_schedules(trials),
        };
        Carried {
            law: law.about.name,
            carried: lacks.is_none(),
            lacks,
        }
    });
    each.collect()
}

/// A law of loss is fitted to one run of each size and budget; what they cannot carry is refused by their design.
fn lack_of_points(trials: &[&TrialRow]) -> Option<String> {
    if trials.is_empty() {
        return Some("a schedule that decays: a constant one has no final loss".to_owned());
    }
    let points: BTreeSet<(u64, u64)> = trials.iter().map(|row| place(row)).collect();
    let rows = points.into_iter().map(|(params, tokens)| Observation {
        label: String::new(),
        params: params as f64,
        tokens: tokens as f64,
        loss: 1.0,
        lr: None,
        batch_tokens: None,
        schedule: None,
        seed: None,
        flops: None,
        setup: None,
    });
    Design::new(rows.collect())
        .check(VALUES_MIN, CONFIGURATIONS_MIN)
        .err()
        .map(|refusal| refusal.to_string())
}

fn lack_of_batches(trials: &[&TrialRow]) -> Option<String> {
    let batches = distinct(trials.iter().map(|row| row.batch_tokens as f64)).len();
    too_few("batches", batches)
}

/// Settings in which runs of a group are equal, and the values that they try.
fn tried<'a, K: Ord, V: Ord>(
    trials: impl IntoIterator<Item = &'a TrialRow>,
    group: impl Fn(&TrialRow) -> K,
    value: impl Fn(&TrialRow) -> V,
) -> BTreeMap<K, BTreeSet<V>> {
    let mut groups: BTreeMap<K, BTreeSet<V>> = BTreeMap::new();
    for row in trials {
        groups.entry(group(row)).or_default().insert(value(row));
    }
    groups
}

/// A best rate lies between two worse ones.
fn lack_of_rates(trials: &[TrialRow]) -> Option<String> {
    let alike = |row: &TrialRow| Setup::from(row).without([LearningRate, Seed]);
    let groups = tried(trials, alike, |row| row.lr.to_bits());
    let most = groups.values().map(BTreeSet::len).max().unwrap_or(0);
    too_few("learning rates at one size, budget and batch", most)
}

/// A valley over both needs three of each in the same place, and the law three sizes and budgets of such places.
fn lack_of_grids(trials: &[TrialRow]) -> Option<String> {
    let alike = |row: &TrialRow| {
        (
            place(row),
            Setup::from(row).without([LearningRate, Batch, Seed, Size, Budget]),
        )
    };
    let rates = tried(trials, alike, |row| row.lr.to_bits());
    let batches = tried(trials, alike, |row| row.batch_tokens);
    let is_grid = |(key, rates): &(&((u64, u64), Setup), &BTreeSet<u64>)| {
        rates.len() >= VALUES_MIN && batches[*key].len() >= VALUES_MIN
    };
    let grids: BTreeSet<(u64, u64)> = rates.iter().filter(is_grid).map(|(key, _)| key.0).collect();
    if grids.is_empty() {
        let most = |values: Vec<usize>| values.into_iter().max().unwrap_or(0);
        let rates = most(rates.values().map(BTreeSet::len).collect());
        let batches = most(batches.values().map(BTreeSet::len).collect());
        return Some(format!(
            "three learning rates and three batches at one size and budget; {rates} and {batches} here"
        ));
    }
    let sizes = distinct(grids.iter().map(|(params, _)| *params as f64)).len();
    let budgets = distinct(grids.iter().map(|(_, tokens)| *tokens as f64)).len();
    too_few("sizes with such grids", sizes).or_else(|| too_few("budgets with such grids", budgets))
}

fn lack_of_batches_at_one_size(trials: &[&TrialRow]) -> Option<String> {
    let alike = |row: &TrialRow| Setup::from(row).without([LearningRate, Batch, Seed, Budget]);
    let groups = tried(trials.iter().copied(), alike, |row| row.batch_tokens);
    let most = groups.values().map(BTreeSet::len).max().unwrap_or(0);
    too_few("batches at one size", most)
}

/// What a decay is worth shows in two schedules of runs that are equal in all else.
fn lack_of_schedules(trials: &[TrialRow]) -> Option<String> {
    let alike = |row: &TrialRow| Setup::from(row).without([Schedule, Budget, LearningRate, Seed]);
    let schedule = |row: &TrialRow| {
        let decay = row.decay_fraction.map(f64::to_bits);
        // A constant rate is one schedule at every length.
        let length = (row.schedule != ScheduleName::Constant).then_some(row.tokens_asked);
        (row.schedule.name(), decay, length)
    };
    let most = tried(trials, alike, schedule).values().map(BTreeSet::len).max();
    (most.unwrap_or(0) < 2).then(|| "two schedules of one size and batch".to_owned())
}

fn place(row: &TrialRow) -> (u64, u64) {
    (row.params_non_embedding, row.tokens_asked)
}

fn too_few(of: &str, found: usize) -> Option<String> {
    (found < VALUES_MIN).then(|| format!("three {of}; {found} here"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::tests::trial;

    fn grid(sizes: &[u64], budgets: &[u64], rates: &[f64], batches: &[u64]) -> Vec<TrialRow> {
        let mut rows = Vec::new();
        for &params in sizes {
            for &tokens in budgets {
                for &lr in rates {
                    rows.extend(batches.iter().map(|&batch| {
                        trial("t", |row| {
                            (row.params_non_embedding, row.tokens_asked) = (params, tokens);
                            (row.lr, row.batch_tokens) = (lr, batch);
                        })
                    }));
                }
            }
        }
        rows
    }

    fn carried(rows: &[TrialRow]) -> Vec<&'static str> {
        laws(rows)
            .into_iter()
            .filter(|law| law.carried)
            .map(|law| law.law)
            .collect()
    }

    fn lacks(rows: &[TrialRow], law: &str) -> String {
        let found = laws(rows).into_iter().find(|it| it.law == law).expect("a law");
        found.lacks.unwrap_or_default()
    }

    const SIZES: [u64; 3] = [6_000, 13_000, 24_000];
    const BUDGETS: [u64; 3] = [200_000, 400_000, 800_000];
    const RATES: [f64; 3] = [5e-3, 1e-2, 2e-2];

    #[test]
    fn two_budgets_carry_no_law_of_loss_and_three_do() {
        let two = grid(&SIZES, &BUDGETS[..2], &RATES, &[2048]);
        assert!(!carried(&two).contains(&"chinchilla"), "{:?}", laws(&two));
        assert!(
            lacks(&two, "chinchilla").contains("three token budgets"),
            "{:?}",
            laws(&two)
        );
        let three = grid(&SIZES, &BUDGETS, &RATES, &[2048]);
        assert!(carried(&three).contains(&"chinchilla") && carried(&three).contains(&"lr"));
        assert!(!carried(&three).contains(&"lr-batch") && !carried(&three).contains(&"three-term"));
        assert_eq!(lacks(&three, "batch"), "three batches at one size; 1 here");
    }

    #[test]
    fn rates_and_batches_make_grids_only_where_they_meet() {
        let all = grid(&SIZES, &BUDGETS, &RATES, &[1024, 2048, 4096]);
        for law in ["chinchilla", "three-term", "lr", "lr-batch", "batch"] {
            assert!(carried(&all).contains(&law), "{law}: {:?}", laws(&all));
        }
        let mut apart = grid(&SIZES, &BUDGETS[..1], &RATES, &[2048]);
        apart.extend(grid(&SIZES, &BUDGETS[1..], &RATES[..1], &[1024, 2048, 4096]));
        assert!(lacks(&apart, "lr-batch").contains("at one size and budget; 3 and 3 here"));
    }

    #[test]
    fn a_constant_rate_has_no_final_loss_and_is_a_schedule_of_its_own() {
        let mut rows = grid(&SIZES, &BUDGETS, &RATES, &[2048]);
        for row in &mut rows {
            row.schedule = ScheduleName::Constant;
            row.decay_fraction = None;
        }
        assert!(lacks(&rows, "chinchilla").contains("a schedule that decays"));
        assert!(lacks(&rows, "annealing").contains("two schedules"), "{:?}", laws(&rows));
        rows.extend(grid(&SIZES[..1], &BUDGETS[..1], &RATES, &[2048]));
        assert_eq!(lacks(&rows, "annealing"), "");
    }
}
