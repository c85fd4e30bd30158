//! From the laws of a sweep to a recipe that is kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::mup::Multipliers;
use crate::recipe::Recipe;
use crate::recipe::build::{self, Ask, Evidence};
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fitting::{self, Laws};
use crate::store::Store;

/// Writes the recipe that the laws of a sweep carry; refused where they carry none.
pub async fn advise(
    context: &Context,
    store: &mut Store,
    sweep: &str,
    laws: &Laws,
    ask: &Ask,
) -> Result<Recipe, Failure> {
    if let (Err(loss), Err(lr)) = (&laws.loss, &laws.lr) {
        // The learning rate is what is missed most; its refusal says which end of the grid to widen.
        let mut failure = fitting::refused(lr);
        failure.hints.push(format!("and the law of loss was refused: {loss}"));
        failure
            .hints
            .push("run next: sweeps/minicpm-lr-transfer.yaml".to_owned());
        return Err(failure);
    }
    let evidence = Evidence {
        loss: laws.loss.as_ref().ok().map(|kept| (kept.fit.as_str(), &kept.law)),
        lr: laws.lr.as_ref().ok().map(|kept| (kept.fit.as_str(), &kept.law)),
        multipliers: multipliers(store, sweep, &laws.trials).await?,
        is_mup: laws.trials.iter().all(|row| row.parametrization == "mup"),
        batches: laws
            .trials
            .iter()
            .map(|row| row.batch_tokens)
            .collect::<BTreeSet<_>>()
            .len(),
        wsd_less_cosine: wsd_less_cosine(&laws.trials),
    };
    let recipe = build::build(ask, &evidence);
    let body = serde_json::to_value(&recipe).map_err(std::io::Error::other)?;
    store
        .add_recipe(&context.now(), &recipe.recipe, Some(sweep), &body)
        .await?;
    Ok(recipe)
}

/// The constants that the proxies were trained with.
async fn multipliers(store: &mut Store, sweep: &str, trials: &[TrialRow]) -> Result<Multipliers, Failure> {
    let Some(first) = trials.first() else {
        return Ok(Multipliers::default());
    };
    let settings = store.settings(sweep, &first.trial).await?;
    Ok(serde_json::from_value(settings["multipliers"].clone()).unwrap_or_default())
}

/// Pairs of a WSD and a cosine run that differ in nothing else, and the mean difference of their losses.
fn wsd_less_cosine(trials: &[TrialRow]) -> Option<(u64, f64)> {
    let key = |row: &TrialRow| {
        (
            row.params_non_embedding,
            row.tokens,
            row.lr.to_bits(),
            row.batch_tokens,
            row.seed,
            row.warmup_tokens,
            row.parametrization.clone(),
        )
    };
    let mut wsd: BTreeMap<_, f64> = BTreeMap::new();
    for row in trials.iter().filter(|row| row.schedule == "wsd") {
        if let Some(loss) = row.final_loss {
            // Several decays may fit one cosine; the best of them is what WSD can do.
            let best = wsd.entry(key(row)).or_insert(loss);
            *best = best.min(loss);
        }
    }
    let differences: Vec<f64> = trials
        .iter()
        .filter(|row| row.schedule == "cosine")
        .filter_map(|row| Some(wsd.get(&key(row))? - row.final_loss?))
        .collect();
    let n = differences.len() as u64;
    (n > 0).then(|| (n, differences.iter().sum::<f64>() / n as f64))
}
