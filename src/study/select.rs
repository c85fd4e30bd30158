//! The trials that a law of the learning rate rests on: learning rates compare where all else is equal.
//!
//! Refuses to fit.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::mup::Parametrization;
use crate::record::{TrialRow, TrialState};
use crate::study::LeftOut;
use crate::study::alike::alike;

/// Why a run does not compare with the others of its size and tokens.
pub const OTHER_SETTINGS: &str = "other settings than most runs of its kind";

/// Of the trials that have ended: the schedule, batch and parametrisation with the most learning rates; of these, at
/// each size and number of tokens, the other settings with the most; of these, the grids. The rest with the reason.
pub fn choose(trials: &[TrialRow]) -> (Vec<&TrialRow>, Vec<LeftOut>) {
    let ended = |row: &&TrialRow| row.final_loss.is_some() || row.state == TrialState::Diverged;
    let mut runs: Vec<&TrialRow> = trials.iter().filter(ended).collect();
    let mut left_out = Vec::new();
    let sieves: [(Sieve, &str); 3] = [
        (of_one_kind, "another schedule, batch or parametrization than most"),
        (of_equal_settings, OTHER_SETTINGS),
        (of_grids, "one learning rate alone at this size and these tokens"),
    ];
    for (sieve, reason) in sieves {
        let kept = sieve(&runs);
        let mut kept = kept.into_iter();
        runs.retain(|row| {
            let is_kept = kept.next().unwrap_or(false);
            if !is_kept {
                left_out.push(LeftOut {
                    trial: row.trial.clone(),
                    reason: reason.to_owned(),
                });
            }
            is_kept
        });
    }
    (runs, left_out)
}

/// Whether each run stays.
type Sieve = fn(&[&TrialRow]) -> Vec<bool>;

fn place(row: &TrialRow) -> (u64, u64) {
    (row.params_non_embedding, row.tokens)
}

fn of_one_kind(runs: &[&TrialRow]) -> Vec<bool> {
    alike(runs, |row| {
        // Of kinds with as many rates the last counts: muP, whose rates a recipe needs, before the standard one.
        let is_mup = row.parametrization == Parametrization::Mup.name();
        let kind = (is_mup, &row.schedule, row.batch_tokens, &row.parametrization);
        ((), kind, (place(row), row.lr.to_bits()))
    })
}

fn of_equal_settings(runs: &[&TrialRow]) -> Vec<bool> {
    alike(runs, |row| (place(row), &row.setup, row.lr.to_bits()))
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
