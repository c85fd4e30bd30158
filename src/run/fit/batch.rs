//! The law of the batch by curves of equal loss, from trials or a table to a result that is kept.
//!
//! Chooses what the curves are read from. Refuses to know how the law is printed or drawn.

use serde::{Deserialize, Serialize};

use crate::fit::batch::equal_loss_curves::{self, BatchCurve, ReadFrom};
use crate::fit::batch::optimal_batch::{self, BatchLaw};
use crate::fit::observation::Observation;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::loss::{self, Request};
use crate::run::sources::{self, Source};
use crate::store::Store;
use crate::study::select;

/// The name of the law in the database and on the command line.
pub const LAW: &str = "batch";

/// The law, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptBatch {
    /// Its name.
    pub fit: String,
    /// `batch`.
    #[serde(rename = "law")]
    pub kind: String,
    /// The sweep, import or file.
    pub source: String,
    /// What the curves are read from.
    pub read_from: ReadFrom,
    /// The trials, or the rows of a table, that the curves are read from.
    pub trials: Vec<String>,
    /// The law.
    #[serde(flatten)]
    pub law: BatchLaw,
}

/// Curves, and the names of what they were read from.
struct Curves {
    read_from: ReadFrom,
    trials: Vec<String>,
    each: Vec<BatchCurve>,
}

/// Fits the law of a source and keeps it.
pub async fn fit(
    context: &Context,
    store: &mut Store,
    source: Source<'_>,
    request: &Request,
) -> Result<KeptBatch, Failure> {
    let runs = sources::runs(context, store, source, request).await?;
    let curves = match runs.trials {
        Some(trials) => curves_of(store, &trials).await?,
        None => of_budgets(&runs.observations),
    };
    fit_curves(context, store, &runs.name, None, curves).await
}

/// Fits the law of the trials of a sweep and keeps it.
pub async fn fit_trials(
    context: &Context,
    store: &mut Store,
    sweep: &str,
    trials: &[TrialRow],
) -> Result<KeptBatch, Failure> {
    let curves = curves_of(store, trials).await?;
    fit_curves(context, store, sweep, Some(sweep), curves).await
}

async fn fit_curves(
    context: &Context,
    store: &mut Store,
    source: &str,
    sweep: Option<&str>,
    curves: Curves,
) -> Result<KeptBatch, Failure> {
    let law = optimal_batch::fit(&curves.each).map_err(|refusal| loss::refused(&refusal))?;
    let kept = KeptBatch {
        fit: loss::name(&law),
        kind: LAW.to_owned(),
        source: source.to_owned(),
        read_from: curves.read_from,
        trials: curves.trials,
        law,
    };
    loss::keep(context, store, sweep, &kept.fit, LAW, &kept).await?;
    Ok(kept)
}

/// Final losses where a size has three batches of three budgets each or more: they are held out, and the rate has come
/// down. Else the training loss along the runs.
async fn curves_of(store: &mut Store, trials: &[TrialRow]) -> Result<Curves, Failure> {
    let runs: Vec<Observation> = trials.iter().filter_map(loss::observation).collect();
    if select::shows_best_batch(trials) {
        return Ok(of_budgets(&runs));
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
    Ok(Curves {
        read_from: ReadFrom::TrainingLosses,
        trials: longest.into_iter().map(|row| row.trial.clone()).collect(),
        each: curves,
    })
}

fn of_budgets(runs: &[Observation]) -> Curves {
    Curves {
        read_from: ReadFrom::FinalLosses,
        trials: runs.iter().map(|run| run.label.clone()).collect(),
        each: equal_loss_curves::of_budgets(runs),
    }
}
