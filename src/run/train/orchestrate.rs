//! `sandbox run`: from a file to its last word; what happens between is the [`driver`](crate::run::train::driver)'s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::plan::{Known, StagePlan, TrialPlan};
use crate::protocol;
use crate::record::{TrialState, count_states};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::home::databases;
use crate::run::planning::{self, Planned};
use crate::run::train::cluster;
use crate::run::train::driver::{Driver, Equipment};
use crate::run::train::progress::{Progress, StoppedBy, Trained};
use crate::run::train::recovery::recover;
use crate::run::train::request::Request;
use crate::run::train::resources;
use crate::spec::Sweep;
use crate::store::Store;
use crate::units::StageId;

/// The last word of `run`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub sweep: String,
    /// Its trials by state.
    pub counts: BTreeMap<&'static str, u64>,
    /// What this call trained.
    pub trained: Trained,
    /// Seconds of this call.
    pub seconds: f64,
    /// Why it ended before all was done.
    pub stopped_by: Option<StoppedBy>,
    /// The trials that failed.
    pub failed: Vec<FailedTrial>,
    #[serde(skip)]
    pub exit: u8,
}

/// A trial that failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailedTrial {
    pub trial: String,
    pub cause: String,
    /// Where to read more.
    pub log: String,
}

/// Trains what is missing of a sweep.
pub async fn run(
    context: &Context,
    request: &Request,
    observe: &mut dyn FnMut(Progress<'_>),
) -> Result<Summary, Failure> {
    let began = Instant::now();
    // Everything that can be wrong with the file and its data is found before anything is touched.
    let (sweep, text, notes) = planning::read_sweep(&request.file, &request.sets)?;
    let unknown = planning::plan_sweep(
        context,
        sweep.clone(),
        text.clone(),
        Vec::new(),
        Known::default(),
        (BTreeMap::new(), None),
    )?;
    planning::verify_data(context, &unknown)?;
    let _lock = context.workdir.lock(&context.holder())?;
    let mut store = Store::open(context.workdir.database()).await?;
    if let Some(warning) = databases::note(context, &mut store).await? {
        observe(Progress::Word(&warning));
    }
    let mut equipment = equipment(context, request, &sweep, &text, store, observe).await?;
    let hours = sweep
        .budget
        .hours
        .into_iter()
        .chain(request.hours)
        .min_by(f64::total_cmp);
    let deadline = hours.map(|hours| began + Duration::from_secs_f64(hours * 3600.0));
    let mut trained = Trained::default();
    let mut rounds = 0;
    loop {
        let known = equipment.store.known(&sweep.name).await?;
        let rates = equipment.store.rates().await?;
        let planned = planning::plan_sweep(context, sweep.clone(), text.clone(), notes.clone(), known, rates)?;
        planning::announce(context, &mut equipment.store, &planned).await?;
        let (stages, capped) = choose(&planned);
        observe(Progress::Planned {
            planned: &planned,
            stages: &stages,
        });
        let mut driver = Driver::new(context, &planned, equipment, &stages, request, deadline).await?;
        let stopped = driver.play(observe).await;
        let (back, more, needs_plan) = driver.leave();
        equipment = back;
        trained.stages += more.stages;
        trained.tokens += more.tokens;
        trained.flops += more.flops;
        // A state that was lost is made again by a new plan. At worst every state is, one after another.
        rounds += 1;
        if needs_plan && matches!(stopped, Ok(None)) && rounds <= planned.plan.stages.len() {
            continue;
        }
        let closed = equipment.workers.close().await;
        let stopped_by = stopped?.or(capped);
        if let Some(word) = closed? {
            observe(Progress::Word(&word));
        }
        let seconds = began.elapsed().as_secs_f64();
        return summary(context, &mut equipment.store, &planned, trained, seconds, stopped_by).await;
    }
}

/// What the run works with, after everything is settled that earlier runs have left.
async fn equipment(
    context: &Context,
    request: &Request,
    sweep: &Sweep,
    text: &str,
    mut store: Store,
    observe: &mut dyn FnMut(Progress<'_>),
) -> Result<Equipment, Failure> {
    let silence = resources::silence(sweep);
    let running = cluster::running(&mut store).await?;
    let mut word = |text: &str| observe(Progress::Word(text));
    let (workers, adopted) = match &request.cluster {
        None => {
            let workers = cluster::local_workers(context, silence, &running, &mut word).await?;
            (workers, Vec::new())
        }
        Some(cluster) => {
            let known = store.known(&sweep.name).await?;
            let nothing = (BTreeMap::new(), None);
            let planned = planning::plan_sweep(context, sweep.clone(), text.to_owned(), Vec::new(), known, nothing)?;
            if let Some(lack) = cluster.lacks_cores(&planned) {
                word(&lack);
            }
            let wanted = cluster::wanted(&planned, running.clone());
            let settings = cluster.settings(context, silence)?;
            cluster::cluster_workers(settings, &running, &wanted, &mut word).await?
        }
    };
    let at_work = recover(context, &mut store, &adopted).await?;
    Ok(Equipment {
        store,
        workers,
        at_work,
    })
}

/// The stages that this call may train, parents before children, and the limit that left out the rest.
fn choose(planned: &Planned) -> (Vec<StagePlan>, Option<StoppedBy>) {
    let (trials, capped) = affordable(planned);
    let missing = planned.plan.missing_for(trials, &planned.known);
    (missing.into_iter().cloned().collect(), capped)
}

/// The trials that this call may train, and the limit that left out the rest.
fn affordable(planned: &Planned) -> (Vec<&TrialPlan>, Option<StoppedBy>) {
    let flops: BTreeMap<&StageId, f64> = planned.plan.stages.iter().map(|it| (&it.id, it.flops())).collect();
    let mut chosen = Vec::new();
    let mut stages = BTreeSet::new();
    let mut spent = 0.0;
    for trial in &planned.plan.trials {
        let missing = trial.missing(&planned.known);
        if missing.is_empty() {
            continue;
        }
        if planned.sweep.run_cap.is_some_and(|cap| chosen.len() as u64 >= cap) {
            return (chosen, Some(StoppedBy::RunCap));
        }
        // A stage that an earlier trial has brought in costs nothing more.
        let new: Vec<&StageId> = missing.into_iter().filter(|id| !stages.contains(id)).collect();
        spent += new.iter().map(|id| flops[id]).sum::<f64>();
        if planned.sweep.budget.flops.is_some_and(|budget| spent > budget) {
            return (chosen, Some(StoppedBy::Budget));
        }
        stages.extend(new);
        chosen.push(trial);
    }
    (chosen, None)
}

async fn summary(
    context: &Context,
    store: &mut Store,
    planned: &Planned,
    trained: Trained,
    seconds: f64,
    stopped_by: Option<StoppedBy>,
) -> Result<Summary, Failure> {
    let sweep = planned.plan.sweep.clone();
    let counts = count_states(store.trials(Some(&sweep)).await?.iter().map(|row| row.state));
    let mut failed: Vec<FailedTrial> = Vec::new();
    for (trial, cause, folder) in store.failures(&sweep).await? {
        if failed.iter().all(|other| other.trial != trial) {
            failed.push(FailedTrial {
                trial,
                cause,
                log: log_of(&context.workdir.resolved(Path::new(&folder))),
            });
        }
    }
    let exit = match stopped_by {
        Some(why) => why.exit(),
        None if counts[TrialState::Failed.name()] > 0 => exit::SOME_FAILED,
        None => 0,
    };
    Ok(Summary {
        sweep,
        counts,
        trained,
        seconds,
        stopped_by,
        failed,
        exit,
    })
}

fn log_of(folder: &Path) -> String {
    folder.join(protocol::LINES_FILE).display().to_string()
}
