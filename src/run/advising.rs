//! From the laws of a sweep to a recipe that is kept, and the experiments that its failing gates ask for.
//!
//! Refuses to know how laws are fitted and what a recipe says.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::fit::lr_batch::LrBatchLaw;
use crate::fit::refusal::Refusal;
use crate::plan::identity::EPOCH;
use crate::recipe::build::{self, Ask, EqualLoss, Evidence, Size};
use crate::recipe::next::{self, Tried, Widening};
use crate::recipe::{Coordinates, Recipe};
use crate::record::{TrialRow, TrialState};
use crate::run::batch_fitting::{self, KeptBatch};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit, unless_refused};
use crate::run::fitting::{self, Laws, Request};
use crate::run::lr_batch_fitting;
use crate::run::predicting;
use crate::run::proxies;
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
    refuse(laws, &nexts)?;
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
        proxies: proxies::proxies(store, laws).await?,
        coordinates: coordinates(store).await?,
    };
    let (mut recipe, widenings) = build::build(ask, &evidence);
    check_budget(&recipe, ask)?;
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
    // What was fitted on the way is not what a reader asks `last` for.
    if let Ok(kept) = &laws.loss {
        store.touch_fit(&context.now(), &kept.fit).await?;
    }
    Ok(recipe)
}

/// Refuses a budget that nobody can train: less than one batch, or more than any text.
fn check_budget(recipe: &Recipe, ask: &Ask) -> Result<(), Failure> {
    const TOKENS_MAX: f64 = 1e17;
    let number = |item: &str| recipe.items.get(item).and_then(|item| item.value.as_f64());
    let batch = number("batch_tokens").unwrap_or(0.0);
    let tokens = number("tokens").filter(|tokens| (batch.max(1.0)..=TOKENS_MAX).contains(tokens));
    if tokens.is_some() {
        return Ok(());
    }
    let message = format!(
        "that budget is no number of tokens from one batch ({batch:.0}) to {TOKENS_MAX:.0e}: it would be {:.3e}",
        number("tokens").unwrap_or(f64::INFINITY)
    );
    Err(match ask.size {
        Size::Optimal => Failure::refused("budget_out_of_range", message, "say how long it is: `--tokens 1T`"),
        Size::Tokens(_) | Size::Flops(_) | Size::Hours { .. } => Failure::invalid("usage", message, "ask for another"),
    })
}

/// Fits the laws of a sweep for a recipe; where nothing can be fitted for every rate diverged, says what to run next.
pub async fn laws(context: &Context, store: &mut Store, sweeps: &SweepSet) -> Result<Laws, Failure> {
    let mut failure = match fitting::fit_sweeps(context, store, sweeps, &Request::default()).await {
        Ok(laws) => return Ok(laws),
        Err(failure) => failure,
    };
    let trials = sweeps.trials(store).await?;
    if failure.exit == exit::REFUSED && trials.iter().all(|row| row.state == TrialState::Diverged) {
        let lower = Widening::LearningRates {
            below: true,
            above: false,
            between: false,
        };
        let why = "Every trial diverged: lower learning rates.";
        failure
            .hints
            .extend(Nexts::new(context, sweeps, &trials).hint(lower, why)?);
    }
    Err(failure)
}

/// No law of loss, or no learning rate between two worse ones: no recipe, but the sweep to run next.
fn refuse(laws: &Laws, nexts: &Nexts<'_>) -> Result<(), Failure> {
    let (refusal, widening) = match (&laws.lr, &laws.loss) {
        (Err(edge @ Refusal::OptimumAtEdge { .. }), _) => (edge, Nexts::beyond_the_best(&laws.trials)),
        (_, Err(loss @ Refusal::TooFewBudgets { .. })) => (loss, Widening::Tokens),
        (_, Err(loss)) => (loss, Widening::Sizes),
        (Ok(_) | Err(_), Ok(_)) => return Ok(()),
    };
    let mut failure = fitting::refused(refusal);
    match (&laws.lr, &laws.loss) {
        (Ok(_), Err(_)) => {
            let hint = "the learning rate has its law: `--law lr` of `sandbox fit` and of `sandbox predict`";
            failure.hints.push(hint.to_owned());
        }
        (Err(_), Err(loss)) if loss != refusal => {
            failure.hints.push(format!("and the law of loss was refused: {loss}"));
        }
        (Ok(_) | Err(_), _) => {}
    }
    failure
        .hints
        .extend(nexts.hint(widening, &format!("The recipe was refused: {refusal}"))?);
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
    trials: usize,
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
            context: here.iter().map(|row| row.context).max().unwrap_or(0),
        };
        Self {
            sweep,
            tried,
            trials: here.len(),
        }
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

    /// Writes a sweep file and says where.
    fn hint(&self, widening: Widening, why: &str) -> Result<Option<String>, Failure> {
        let path = self.write(widening, why)?;
        Ok(path.map(|path| format!("run next: {path}")))
    }

    /// Writes a sweep file and gives its path; none where the sweep's own file cannot be widened.
    fn write(&self, widening: Widening, why: &str) -> Result<Option<String>, Failure> {
        let Some(base) = self.base(widening) else {
            return Ok(None);
        };
        let Some(text) = next::widened(&base.sweep.sweep, &base.sweep.spec, &base.tried, widening, why) else {
            return Ok(None);
        };
        let name = format!("{}-{}.yaml", base.sweep.sweep, widening.name());
        let path = self.context.workdir.next_sweep(&name);
        let shown = path.display().to_string();
        // What cannot be read back, or asks for nothing more, is not handed out.
        if spec::read(&text, &shown, &[]).is_ok_and(|(sweep, _)| sweep.trials.len() > base.trials) {
            write_atomic(&path, text.as_bytes())?;
            return Ok(Some(shown));
        }
        Ok(None)
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
        let joint = lr_batch_fitting::fit(context, store, Source::Named(Some(sweep)), &Request::default()).await;
        match unless_refused(joint)? {
            Ok((kept, law)) => batch.joint = Some((kept.fit, law)),
            Err(refusal) => batch.refused = Some(refusal.message),
        }
        batch.equal_loss = unless_refused(batch_fitting::fit_trials(context, store, sweep, trials).await)?.ok();
        Ok(batch)
    }
}

/// Keeps what a coordinate check has found.
pub async fn keep_coordinates(context: &Context, store: &mut Store, found: &Coordinates) -> Result<(), Failure> {
    let kept = KeptCoordinates {
        found: *found,
        code_epoch: EPOCH,
    };
    fitting::keep(context, store, None, &fitting::name(&kept), COORDINATES, &kept).await
}

/// A coordinate check, and whose arithmetic it checked.
#[derive(Serialize, Deserialize)]
struct KeptCoordinates {
    #[serde(flatten)]
    found: Coordinates,
    /// None: it is older than such a number.
    #[serde(default)]
    code_epoch: u64,
}

/// The newest coordinate check of this home, if it checked the arithmetic of this program.
async fn coordinates(store: &mut Store) -> Result<Option<Coordinates>, Failure> {
    let Some(row) = store.newest_fit(&[COORDINATES]).await? else {
        return Ok(None);
    };
    let kept: KeptCoordinates = predicting::read(&row)?;
    Ok((kept.code_epoch == EPOCH).then_some(kept.found))
}
