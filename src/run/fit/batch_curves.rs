//! The curves that a law of the batch is read from: final losses of several budgets, or the training loss along runs.
//!
//! Refuses to fit.

use std::collections::{BTreeMap, BTreeSet};

use crate::fit::batch_curves::{self, BatchCurve, ReadFrom};
use crate::fit::design::SAME_SIZE;
use crate::fit::law::BatchCurves;
use crate::fit::observation::Observation;
use crate::record::TrialRow;
use crate::run::failure::Failure;
use crate::store::Store;

/// Budgets of one size and batch that make a curve of final losses.
const BUDGETS_MIN: usize = 3;
/// Such curves at one size that can show a best batch.
const BATCHES_MIN: usize = 3;

/// Final losses where a size has three batches of three budgets each or more: they are held out, and the rate has come
/// down. Else the training loss along the runs.
pub(super) async fn of_trials(
    store: &mut Store,
    trials: &[TrialRow],
    runs: &[Observation],
) -> Result<BatchCurves, Failure> {
    let mut budgets: BTreeMap<(u64, u64), BTreeSet<u64>> = BTreeMap::new();
    for row in trials.iter().filter(|row| row.final_loss.is_some()) {
        let place = (row.params_non_embedding, row.batch_tokens);
        budgets.entry(place).or_default().insert(row.tokens);
    }
    let mut batches: BTreeMap<u64, usize> = BTreeMap::new();
    for ((size, _), budgets) in budgets {
        *batches.entry(size).or_default() += usize::from(budgets.len() >= BUDGETS_MIN);
    }
    if batches.values().any(|&batches| batches >= BATCHES_MIN) {
        return Ok(of_budgets(runs));
    }
    let mut curves = Vec::new();
    let longest = longest(trials);
    for row in &longest {
        let steps = store.training_curve(&row.sweep, &row.trial).await?;
        let batch = row.batch_tokens as f64;
        // While the rate rises a loss tells of the warm-up, once it falls, of the decay: where that begins is another
        // number of tokens at every budget.
        let end = row.tokens as f64 * (1.0 - row.decay_fraction.unwrap_or(0.0));
        let after: Vec<(f64, f64)> = steps
            .into_iter()
            .map(|(step, _, loss)| (step * batch, loss))
            .filter(|&(tokens, _)| tokens > row.warmup_tokens as f64 && tokens <= end)
            .collect();
        curves.push(BatchCurve {
            label: row.trial.clone(),
            params: row.params_non_embedding as f64,
            batch_tokens: batch,
            points: batch_curves::windows(&after),
        });
    }
    Ok(BatchCurves {
        read_from: ReadFrom::TrainingLosses,
        trials: longest.into_iter().map(|row| row.trial.clone()).collect(),
        each: curves,
    })
}

/// Final losses of several budgets.
pub(super) fn of_budgets(runs: &[Observation]) -> BatchCurves {
    BatchCurves {
        read_from: ReadFrom::FinalLosses,
        trials: runs.iter().map(|run| run.label.clone()).collect(),
        each: batch_curves::of_budgets(runs),
    }
}

/// For each size the longest runs of one schedule, that with the most batches, and of each batch the run that ended
/// lowest: along different schedules equal tokens do not compare.
fn longest(trials: &[TrialRow]) -> Vec<&TrialRow> {
    type Best<'a> = BTreeMap<u64, (f64, &'a TrialRow)>;
    type Setup = BTreeMap<String, String>;
    let mut longest: BTreeMap<u64, f64> = BTreeMap::new();
    for row in trials.iter().filter(|row| row.final_loss.is_some()) {
        let tokens = longest.entry(row.params_non_embedding).or_default();
        *tokens = tokens.max(row.tokens as f64);
    }
    let mut sizes: BTreeMap<u64, BTreeMap<(&str, &str, &Setup), Best<'_>>> = BTreeMap::new();
    for row in trials {
        let size = row.params_non_embedding;
        // Whole steps: the same budget is not the same number of tokens at every batch.
        let is_long = |longest: &f64| row.tokens as f64 * (1.0 + SAME_SIZE) >= *longest;
        let Some(loss) = row.final_loss.filter(|_| longest.get(&size).is_some_and(is_long)) else {
            continue;
        };
        let kind = (row.schedule.as_str(), row.parametrization.as_str(), &row.setup);
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
