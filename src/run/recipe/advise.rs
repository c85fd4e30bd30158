//! From the laws of a sweep to a recipe that is kept, and the experiments that its failing gates ask for.
//!
//! Refuses to know how laws are fitted and what a recipe says.

use std::collections::BTreeSet;

use crate::fit::law::{Kept, LeftOut};
use crate::fit::laws::{Batch as BatchLaw, BatchFit};
use crate::fit::refusal::Refusal;
use crate::recipe::Recipe;
use crate::recipe::build;
use crate::recipe::evidence::{Ask, EqualLoss, Evidence, Proxies, Size};
use crate::recipe::next::Widening;
use crate::record::{TrialRow, TrialState};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::fit::sweep::{self, Laws};
use crate::run::fit::{fit_one, refused};
use crate::run::recipe::coordinates;
use crate::run::recipe::next_runs::{self, NextRun};
use crate::run::sweep_set::SweepSet;
use crate::spec::Settings;
use crate::store::Store;
use crate::study::next_sweep::{NextSweep, batch_edges, beyond_the_best, for_a_law_of_loss};
use crate::study::proxies::{self, Best};

/// A recipe, and the sweeps that its failing gates ask for, in the order in which to run them.
#[derive(Debug)]
pub struct Advice {
    pub recipe: Recipe,
    pub next: Vec<NextRun>,
}

/// Writes the recipe that the laws of a sweep carry; refused where they carry none.
pub async fn advise(
    context: &Context,
    store: &mut Store,
    sweeps: &SweepSet,
    laws: &Laws,
    batch: &Batch,
    ask: &Ask,
) -> Result<Advice, Failure> {
    refuse(context, store, sweeps, laws).await?;
    let next = next_sweep(sweeps, laws.trials());
    let evidence = Evidence {
        loss: laws.of_loss(),
        lr: laws.lr.as_ref().ok().map(|kept| (kept.fit.as_str(), &kept.law)),
        lr_batch: laws.joint().map(|kept| (kept.fit.as_str(), &kept.law.law)),
        equal_loss: batch.equal_loss.as_ref().map(|kept| EqualLoss {
            fit: &kept.fit,
            law: &kept.law.law,
            trials: kept.law.trials.len() as u64,
        }),
        batch_refused: laws
            .lr_batch
            .as_ref()
            .and_then(|it| Some(it.as_ref().err()?.to_string())),
        batches: batch.sizes,
        batch_edges: batch_edges(laws.of_schedule.trials.as_deref().unwrap_or_default()),
        selected: laws.selected.clone(),
        proxies: proxies(store, laws).await?,
        coordinates: coordinates::newest(store).await?,
    };
    let (mut recipe, widenings) = build::build(ask, &evidence);
    check_budget(&recipe, ask)?;
    let mut files = Vec::new();
    for (gate, widening) in recipe.gates.iter_mut().zip(widenings) {
        if let Some(widening) = widening {
            let why = format!("The gate `{}` of the recipe failed: {}", gate.name, gate.why);
            let file = next.file(&[widening], &why);
            let path = file.as_ref().map(|file| context.workdir.next_sweep(&file.name));
            gate.next = path.map(|path| path.display().to_string());
            files.extend(file);
        }
    }
    let next = next_runs::write(context, store, files).await?;
    let body = serde_json::to_value(&recipe).map_err(std::io::Error::other)?;
    store
        .add_recipe(&context.now(), &recipe.recipe, Some(sweeps.name()), &body)
        .await?;
    Ok(Advice { recipe, next })
}

/// What did not enter the law of the learning rate.
fn left_out(laws: &Laws) -> &[LeftOut] {
    laws.lr.as_ref().map_or(&[][..], |kept| &kept.left_out)
}

fn best(laws: &Laws) -> Result<Best<'_>, Failure> {
    proxies::best(laws.trials(), laws.set_aside()).map_err(|left_out| refused(&Refusal::NotFinished { left_out }))
}

/// What the best trial of the largest size was trained with.
pub async fn settings_of_best(store: &mut Store, laws: &Laws) -> Result<Settings, Failure> {
    settings(store, best(laws)?.of_all).await
}

/// The settings that a recipe takes from the proxies: those of the best trial of the largest size.
async fn proxies(store: &mut Store, laws: &Laws) -> Result<Proxies, Failure> {
    let best = best(laws)?;
    let decaying = match best.decaying {
        Some(row) => Some(settings(store, row).await?),
        None => None,
    };
    let of_best = settings(store, best.of_all).await?;
    Ok(proxies::proxies(
        best.of_all,
        &of_best,
        decaying.as_ref(),
        laws.trials(),
        left_out(laws),
    ))
}

async fn settings(store: &mut Store, row: &TrialRow) -> Result<Settings, Failure> {
    let settings = store.settings(&row.sweep, &row.trial).await?;
    Ok(serde_json::from_value(settings).map_err(std::io::Error::other)?)
}

/// Refuses a budget that nobody can train: less than one batch, or more than any text.
fn check_budget(recipe: &Recipe, ask: &Ask) -> Result<(), Failure> {
    const TOKENS_MAX: f64 = 1e17;
    let number = |item: &str| recipe.items.get(item).and_then(|item| item.value.as_f64());
    let batch = number("batch_tokens").unwrap_or(0.0);
    if recipe
        .items
        .get("tokens")
        .is_some_and(|tokens| tokens.withheld.is_some())
    {
        return Ok(());
    }
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
    let mut failure = match sweep::laws(context, store, sweeps).await {
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
        let file = next_sweep(sweeps, &trials).file(&[lower], why);
        hand_over(&mut failure, next_runs::write(context, store, file).await?);
    }
    Err(failure)
}

/// No law of loss, or no learning rate between two worse ones: no recipe, but the sweep to run next.
async fn refuse(context: &Context, store: &mut Store, sweeps: &SweepSet, laws: &Laws) -> Result<(), Failure> {
    let of_rate = laws.of_rate.trials.as_deref().unwrap_or_default();
    let (refusal, mut widenings) = match (&laws.lr, &laws.loss) {
        (Err(edge @ Refusal::OptimumAtEdge { .. }), _) if laws.joint().is_none() => {
            (edge, vec![beyond_the_best(of_rate)])
        }
        (_, Err(loss)) => (loss, Vec::new()),
        (Ok(_) | Err(_), Ok(_)) => return Ok(()),
    };
    // One sweep for all that is missing: after it there is a recipe.
    if laws.loss.is_err() {
        widenings.extend(for_a_law_of_loss(laws.trials()));
    }
    let mut failure = refused(refusal);
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
    let why = format!("The recipe was refused: {refusal}");
    let file = next_sweep(sweeps, laws.trials()).file(&widenings, &why);
    hand_over(&mut failure, next_runs::write(context, store, file).await?);
    Err(failure)
}

fn next_sweep<'a>(sweeps: &'a SweepSet, trials: &[TrialRow]) -> NextSweep<'a> {
    let files = sweeps
        .sweeps()
        .iter()
        .map(|row| (row.sweep.as_str(), row.spec.as_str()));
    NextSweep::new(files, trials)
}

/// Names the sweeps to run next in a refusal.
fn hand_over(failure: &mut Failure, next: Vec<NextRun>) {
    failure
        .hints
        .extend(next.iter().map(|next| format!("run next: {}", next.file)));
    if let Some(first) = next.first() {
        let cost = first.cost();
        failure.hints.push(format!(
            "it costs {cost}; `--run-next` runs it and joins it to the study"
        ));
    }
    failure.next = next.into_iter().map(|next| next.file).collect();
}

/// What the trials say of the batch, beside the law of rate and batch.
#[derive(Debug)]
pub struct Batch {
    /// By curves of equal loss.
    pub equal_loss: Option<Kept<BatchFit>>,
    sizes: usize,
}

impl Batch {
    /// Fits the batch by curves of equal loss to the trials of a sweep, where they have several, and keeps it.
    pub async fn of(context: &Context, store: &mut Store, laws: &Laws) -> Result<Self, Failure> {
        let sizes: BTreeSet<u64> = laws.trials().iter().map(|row| row.batch_tokens).collect();
        let mut batch = Self {
            equal_loss: None,
            sizes: sizes.len(),
        };
        if batch.sizes > 1 {
            batch.equal_loss = fit_one::<BatchLaw>(context, store, &laws.of_schedule).await?.ok();
            // What was fitted on the way is not what a reader asks `last` for.
            if let Ok(law) = &laws.loss {
                store.touch_fit(&context.now(), &law.kept.fit).await?;
            }
        }
        Ok(batch)
    }
}
