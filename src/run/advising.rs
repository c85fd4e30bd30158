//! From the laws of a sweep to a recipe that is kept, and the experiments that its failing gates ask for.
//!
//! Refuses to know how laws are fitted and what a recipe says.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::fit::lr_batch::LrBatchLaw;
use crate::fit::refusal::Refusal;
use crate::model::config::ADAM_EPS;
use crate::recipe::build::{self, Ask, EqualLoss, Evidence};
use crate::recipe::next::{self, Tried, Widening};
use crate::recipe::{Coordinates, OptimizerItem, Recipe};
use crate::record::TrialRow;
use crate::report::bowls::pairs_of;
use crate::run::batch_fitting::{self, KeptBatch};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::fitting::{self, Laws, Request};
use crate::run::lr_batch_fitting;
use crate::run::sources::Source;
use crate::run::sweep_set::SweepSet;
use crate::spec;
use crate::store::{Store, SweepRow};
use crate::workdir::write_atomic;

/// The name under which a coordinate check is kept.
const COORDINATES: &str = "coordinates";

/// Writes the recipe that the laws of a sweep carry; refused where they carry none.
pub async fn advise(
    context: &Context,
    store: &mut Store,
    sweeps: &SweepSet,
    laws: &Laws,
    ask: &Ask,
) -> Result<Recipe, Failure> {
    let nexts = Nexts::new(context, sweeps, &laws.trials);
    refuse_edges(laws, &nexts)?;
    let batch = Batch::of(context, store, sweeps.name(), &laws.trials).await?;
    let evidence = Evidence {
        loss: laws.loss.as_ref().ok().map(|kept| (kept.fit.as_str(), &kept.law)),
        lr: laws.lr.as_ref().ok().map(|kept| (kept.fit.as_str(), &kept.law)),
        lr_batch: batch.joint.as_ref().map(|(fit, law)| (fit.as_str(), law)),
        equal_loss: batch.equal_loss.as_ref().map(|kept| EqualLoss {
            fit: &kept.fit,
            law: &kept.law,
            trials: kept.trials.len() as u64,
        }),
        batch_refused: batch.refused,
        batches: batch.sizes,
        multipliers: setting(store, &laws.trials, "multipliers").await?.unwrap_or_default(),
        optimizer: optimizer(store, &laws.trials).await?,
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
        .add_recipe(&context.now(), &recipe.recipe, Some(sweeps.name()), &body)
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
    let widening = Nexts::beyond_the_best(&laws.trials);
    if let Some(next) = nexts.write(widening, &format!("The recipe was refused: {lr}"))? {
        failure.hints.push(format!("run next: {next}"));
    }
    Err(failure)
}

/// Writes the experiments to run next.
struct Nexts<'a> {
    context: &'a Context,
    bases: Vec<Base<'a>>,
}

/// A sweep that can be widened.
struct Base<'a> {
    sweep: &'a SweepRow,
    tried: Tried,
}

impl<'a> Base<'a> {
    fn new(sweep: &'a SweepRow, trials: &[TrialRow]) -> Self {
        let here: Vec<&TrialRow> = trials.iter().filter(|row| row.sweep == sweep.sweep).collect();
        let rising = |of: fn(&TrialRow) -> u64| -> Vec<u64> {
            let values: BTreeSet<u64> = here.iter().map(|row| of(row)).collect();
            values.into_iter().collect()
        };
        let mut lrs: Vec<f64> = here.iter().map(|row| row.lr).collect();
        lrs.sort_by(f64::total_cmp);
        lrs.dedup();
        let tried = Tried {
            lrs,
            largest: here.iter().map(|row| row.params_non_embedding).max().unwrap_or(0),
            batches: rising(|row| row.batch_tokens),
            tokens: rising(|row| row.tokens),
            seeds: rising(|row| row.seed),
        };
        Self { sweep, tried }
    }

    /// How much it says of what is to be widened.
    fn breadth(&self, widening: Widening) -> u64 {
        let tried = &self.tried;
        match widening {
            Widening::LearningRates { .. } | Widening::Seeds => tried.lrs.len() as u64,
            Widening::Sizes => tried.largest,
            Widening::Tokens => tried.tokens.len() as u64,
            Widening::Batches => tried.batches.len() as u64,
        }
    }
}

impl<'a> Nexts<'a> {
    fn new(context: &'a Context, sweeps: &'a SweepSet, trials: &[TrialRow]) -> Self {
        Self {
            context,
            bases: sweeps.sweeps().iter().map(|row| Base::new(row, trials)).collect(),
        }
    }

    /// Of several sweeps, the one that says most of it; of equals the one that was named first.
    fn base(&self, widening: Widening) -> Option<&Base<'a>> {
        self.bases.iter().rev().max_by_key(|base| base.breadth(widening))
    }

    /// The grid of learning rates, widened where its best values lie: of each size and number of tokens.
    fn beyond_the_best(trials: &[TrialRow]) -> Widening {
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
        let of_all: BTreeSet<u64> = trials.iter().map(|row| row.lr.to_bits()).collect();
        let [lowest, highest] = [of_all.first(), of_all.last()].map(|bits| bits.map(|&bits| f64::from_bits(bits)));
        let (below, above) = (is_best(lowest.as_ref()), is_best(highest.as_ref()));
        Widening::LearningRates {
            below: below || best.is_empty(),
            above: above || best.is_empty(),
            // Else the best is the last that did not diverge.
            between: !below && !above && !best.is_empty(),
        }
    }

    /// Writes a sweep file and gives its path; none where the sweep's own file cannot be widened.
    fn write(&self, widening: Widening, why: &str) -> Result<Option<String>, Failure> {
        let Some(base) = self.base(widening) else {
            return Ok(None);
        };
        let Some(text) = next::widened(&base.sweep.spec, &base.tried, widening, why) else {
            return Ok(None);
        };
        let name = format!("{}-{}.yaml", base.sweep.sweep, widening.name());
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
    equal_loss: Option<KeptBatch>,
    refused: Option<String>,
    sizes: usize,
}

impl Batch {
    async fn of(context: &Context, store: &mut Store, sweep: &str, trials: &[TrialRow]) -> Result<Self, Failure> {
        let sizes: BTreeSet<u64> = trials.iter().map(|row| row.batch_tokens).collect();
        let mut batch = Self {
            joint: None,
            equal_loss: None,
            refused: None,
            sizes: sizes.len(),
        };
        if batch.sizes < 2 {
            return Ok(batch);
        }
        match lr_batch_fitting::fit(context, store, Source::Named(Some(sweep)), &Request::default()).await {
            Ok((kept, law)) => batch.joint = Some((kept.fit, law)),
            Err(failure) => batch.refused = Some(failure.message),
        }
        match batch_fitting::fit_trials(context, store, sweep, trials).await {
            Ok(kept) => batch.equal_loss = Some(kept),
            Err(failure) if failure.exit == exit::REFUSED => {}
            Err(failure) => return Err(failure),
        }
        Ok(batch)
    }
}

/// The data that the proxies were trained on.
pub async fn data_name(store: &mut Store, trials: &[TrialRow]) -> Result<String, Failure> {
    Ok(setting(store, trials, "data").await?.unwrap_or_default())
}

/// One of the settings of the proxies: that of the first trial.
async fn setting<T: DeserializeOwned>(
    store: &mut Store,
    trials: &[TrialRow],
    name: &str,
) -> Result<Option<T>, Failure> {
    let Some(first) = trials.first() else { return Ok(None) };
    let settings = store.settings(&first.sweep, &first.trial).await?;
    Ok(serde_json::from_value(settings[name].clone()).ok())
}

async fn optimizer(store: &mut Store, trials: &[TrialRow]) -> Result<OptimizerItem, Failure> {
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
        if let Some(set) = setting(store, trials, name).await? {
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
    // Several decays may fit one cosine; the best of them is what WSD can do.
    let mut differences: BTreeMap<&str, f64> = BTreeMap::new();
    for (wsd, cosine) in pairs_of(trials) {
        if let (Some(wsd), Some(less)) = (wsd.final_loss, cosine.final_loss) {
            let best = differences.entry(cosine.trial.as_str()).or_insert(wsd - less);
            *best = best.min(wsd - less);
        }
    }
    let n = differences.len() as u64;
    (n > 0).then(|| (n, differences.values().sum::<f64>() / n as f64))
}
