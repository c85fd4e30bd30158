//! From the laws of a sweep to a recipe that is kept, and the experiments that its failing gates ask for.
//!
//! Refuses to know how laws are fitted and what a recipe says.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::fit::batch_law::{self, BatchLaw};
use crate::fit::lr_batch::LrBatchLaw;
use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;
use crate::model::config::ADAM_EPS;
use crate::recipe::build::{self, Ask, EqualLoss, Evidence};
use crate::recipe::next::{self, Tried, Widening};
use crate::recipe::{Coordinates, OptimizerItem, Recipe};
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fitting::{self, Laws, Request};
use crate::run::lr_batch_fitting;
use crate::run::sources::Source;
use crate::spec;
use crate::store::Store;
use crate::workdir::write_atomic;

/// The name under which a coordinate check is kept.
const COORDINATES: &str = "coordinates";

/// Writes the recipe that the laws of a sweep carry; refused where they carry none.
pub async fn advise(
    context: &Context,
    store: &mut Store,
    sweep: &str,
    laws: &Laws,
    ask: &Ask,
) -> Result<Recipe, Failure> {
    let nexts = Nexts::new(context, store, sweep, &laws.trials).await?;
    refuse_edges(laws, &nexts)?;
    let batch = Batch::of(context, store, sweep, &laws.trials).await?;
    let evidence = Evidence {
        loss: laws.loss.as_ref().ok().map(|kept| (kept.fit.as_str(), &kept.law)),
        lr: laws.lr.as_ref().ok().map(|kept| (kept.fit.as_str(), &kept.law)),
        lr_batch: batch.joint.as_ref().map(|(fit, law)| (fit.as_str(), law)),
        equal_loss: batch.equal_loss.as_ref().map(|(fit, law)| EqualLoss {
            fit,
            law,
            trials: batch.trials,
        }),
        batch_refused: batch.refused,
        batches: batch.sizes,
        multipliers: setting(store, sweep, &laws.trials, "multipliers")
            .await?
            .unwrap_or_default(),
        optimizer: optimizer(store, sweep, &laws.trials).await?,
        is_mup: laws.trials.iter().all(|row| row.parametrization == "mup"),
        coordinates: coordinates(store).await?,
        wsd_less_cosine: wsd_less_cosine(&laws.trials),
    };
    let (mut recipe, widenings) = build::build(ask, &evidence);
    for (gate, widening) in recipe.gates.iter_mut().zip(widenings) {
        if let Some(widening) = widening {
            let why = format!("The gate `{}` of the recipe failed: {}", gate.name, gate.why);
            gate.next = nexts.write(widening, &why)?;
        }
    }
    let body = serde_json::to_value(&recipe).map_err(std::io::Error::other)?;
    store
        .add_recipe(&context.now(), &recipe.recipe, Some(sweep), &body)
        .await?;
    Ok(recipe)
}

/// No law at all, or no learning rate between two worse ones: no recipe, but the sweep to run next.
fn refuse_edges(laws: &Laws, nexts: &Nexts<'_>) -> Result<(), Failure> {
    let Err(lr) = &laws.lr else { return Ok(()) };
    if laws.loss.is_ok() && !matches!(lr, Refusal::OptimumAtEdge { .. }) {
        return Ok(());
    }
    let mut failure = fitting::refused(lr);
    if let Err(loss) = &laws.loss {
        failure.hints.push(format!("and the law of loss was refused: {loss}"));
    }
    let widening = nexts.beyond_the_best(&laws.trials);
    if let Some(next) = nexts.write(widening, &format!("The recipe was refused: {lr}"))? {
        failure.hints.push(format!("run next: {next}"));
    }
    Err(failure)
}

/// Writes the experiments to run next.
struct Nexts<'a> {
    context: &'a Context,
    sweep: &'a str,
    base: String,
    tried: Tried,
}

impl<'a> Nexts<'a> {
    async fn new(
        context: &'a Context,
        store: &mut Store,
        sweep: &'a str,
        trials: &[TrialRow],
    ) -> Result<Self, Failure> {
        let row = store.sweeps().await?.into_iter().find(|row| row.sweep == sweep);
        let rising = |of: fn(&TrialRow) -> u64| -> Vec<u64> {
            let values: BTreeSet<u64> = trials.iter().map(of).collect();
            values.into_iter().collect()
        };
        let mut lrs: Vec<f64> = trials.iter().map(|row| row.lr).collect();
        lrs.sort_by(f64::total_cmp);
        lrs.dedup();
        Ok(Self {
            context,
            sweep,
            base: row.map(|row| row.spec).unwrap_or_default(),
            tried: Tried {
                lrs,
                largest: trials.iter().map(|row| row.params_non_embedding).max().unwrap_or(0),
                batches: rising(|row| row.batch_tokens),
                tokens: rising(|row| row.tokens),
                seeds: rising(|row| row.seed),
            },
        })
    }

    /// The grid of learning rates, widened where its best values lie: of each size and number of tokens.
    fn beyond_the_best(&self, trials: &[TrialRow]) -> Widening {
        let mut best: BTreeMap<(u64, u64), (f64, f64)> = BTreeMap::new();
        for row in trials {
            let Some(loss) = row.final_loss else { continue };
            let place = best
                .entry((row.params_non_embedding, row.tokens))
                .or_insert((loss, row.lr));
            if loss < place.0 {
                *place = (loss, row.lr);
            }
        }
        let is_best = |lr: Option<&f64>| best.values().any(|(_, best)| Some(best) == lr);
        let (below, above) = (is_best(self.tried.lrs.first()), is_best(self.tried.lrs.last()));
        Widening::LearningRates {
            below: below || best.is_empty(),
            above: above || best.is_empty(),
            // Else the best is the last that did not diverge.
            between: !below && !above && !best.is_empty(),
        }
    }

    /// Writes a sweep file and gives its path; none where the sweep's own file cannot be widened.
    fn write(&self, widening: Widening, why: &str) -> Result<Option<String>, Failure> {
        let Some(text) = next::widened(&self.base, &self.tried, widening, why) else {
            return Ok(None);
        };
        let name = format!("{}-{}.yaml", self.sweep, widening.name());
        let path = self.context.workdir.next_sweep(&name);
        let shown = path.display().to_string();
        // What cannot be read back is not handed out.
        if spec::read(&text, &shown, &[]).is_err() {
            return Ok(None);
        }
        write_atomic(&path, text.as_bytes())?;
        Ok(Some(shown))
    }
}

/// What the trials say of the batch.
struct Batch {
    joint: Option<(String, LrBatchLaw)>,
    equal_loss: Option<(String, BatchLaw)>,
    refused: Option<String>,
    trials: u64,
    sizes: usize,
}

impl Batch {
    async fn of(context: &Context, store: &mut Store, sweep: &str, trials: &[TrialRow]) -> Result<Self, Failure> {
        let sizes: BTreeSet<u64> = trials.iter().map(|row| row.batch_tokens).collect();
        let runs: Vec<Observation> = trials.iter().filter_map(fitting::observation).collect();
        let mut batch = Self {
            joint: None,
            equal_loss: None,
            refused: None,
            trials: runs.len() as u64,
            sizes: sizes.len(),
        };
        if batch.sizes < 2 {
            return Ok(batch);
        }
        match lr_batch_fitting::fit(context, store, Source::Named(Some(sweep)), &Request::default()).await {
            Ok((kept, law)) => batch.joint = Some((kept.fit, law)),
            Err(failure) => batch.refused = Some(failure.message),
        }
        if let Ok(law) = batch_law::fit(&batch_law::curves(&runs)) {
            let fit = fitting::name(&law);
            fitting::keep(context, store, Some(sweep), &fit, "batch", &law).await?;
            batch.equal_loss = Some((fit, law));
        }
        Ok(batch)
    }
}

/// The data that the proxies were trained on.
pub async fn data_name(store: &mut Store, sweep: &str, trials: &[TrialRow]) -> Result<String, Failure> {
    Ok(setting(store, sweep, trials, "data").await?.unwrap_or_default())
}

/// One of the settings of the proxies: that of the first trial.
async fn setting<T: DeserializeOwned>(
    store: &mut Store,
    sweep: &str,
    trials: &[TrialRow],
    name: &str,
) -> Result<Option<T>, Failure> {
    let Some(first) = trials.first() else { return Ok(None) };
    let settings = store.settings(sweep, &first.trial).await?;
    Ok(serde_json::from_value(settings[name].clone()).ok())
}

async fn optimizer(store: &mut Store, sweep: &str, trials: &[TrialRow]) -> Result<OptimizerItem, Failure> {
    let mut item = OptimizerItem {
        beta1: 0.9,
        beta2: 0.95,
        eps: ADAM_EPS,
        weight_decay: 0.1,
        clip: 1.0,
    };
    for (name, value) in [
        ("beta1", &mut item.beta1),
        ("beta2", &mut item.beta2),
        ("weight_decay", &mut item.weight_decay),
        ("clip", &mut item.clip),
    ] {
        if let Some(set) = setting(store, sweep, trials, name).await? {
            *value = set;
        }
    }
    Ok(item)
}

/// Keeps what a coordinate check has found.
pub async fn keep_coordinates(context: &Context, store: &mut Store, found: &Coordinates) -> Result<(), Failure> {
    fitting::keep(context, store, None, &fitting::name(found), COORDINATES, found).await
}

/// The newest coordinate check of this home.
async fn coordinates(store: &mut Store) -> Result<Option<Coordinates>, Failure> {
    let row = store.newest_fit(&[COORDINATES]).await?;
    Ok(row.and_then(|row| serde_json::from_value(row.body).ok()))
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
