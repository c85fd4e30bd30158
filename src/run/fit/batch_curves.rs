//! The curves that a law of the batch is read from: final losses of several budgets, or the training loss along runs.
//!
//! Refuses to fit.

use crate::fit::batch::equal_loss_curves::{self, BatchCurve, ReadFrom};
use crate::fit::law::BatchCurves;
use crate::fit::observation::Observation;
use crate::record::TrialRow;
use crate::run::failure::Failure;
use crate::store::Store;
use crate::study::select;

/// Final losses where a size has three batches of three budgets each or more: they are held out, and the rate has come
/// down. Else the training loss along the runs.
pub(super) async fn of_trials(
    store: &mut Store,
    trials: &[TrialRow],
    runs: &[Observation],
) -> Result<BatchCurves, Failure> {
    if select::shows_best_batch(trials) {
        return Ok(of_budgets(runs));
    }
    let mut curves = Vec::new();
    let longest = select::longest(trials);
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
            points: equal_loss_curves::windows(&after),
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
        each: equal_loss_curves::of_budgets(runs),
    }
}
