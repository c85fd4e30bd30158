//! `sandbox run`: from a file to its last word; what happens between is the [`orchestra`](crate::run::orchestra)'s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::plan::{Known, StagePlan, TrialPlan};
use crate::record::{TrialState, count_states};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::orchestra::Orchestra;
use crate::run::planning::{self, Planned};
use crate::sched::Outcome;
use crate::stage::StageEvent;
use crate::store::{Entry, StageDetail, Store};
use crate::units::StageId;
use crate::wire::{self, Cause, Point};

/// What `run` was asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// The sweep file.
    pub file: PathBuf,
    /// Changes to it.
    pub sets: Vec<String>,
    /// Whether the first failure ends everything.
    pub fail_fast: bool,
    /// Workers at once; none: what the sweep says, else as many as the machine carries.
    pub workers: Option<u64>,
}

/// Something that a display may want to show.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The plan is made: this much is to be trained.
    Planned {
        /// The plan.
        planned: &'a Planned,
        /// The stages that this call trains.
        stages: &'a [StagePlan],
    },
    /// A stage is on a worker.
    Launched(&'a StagePlan),
    /// A training step was made.
    Point(&'a StagePlan, &'a Point),
    /// A stage ended.
    Ended(&'a StagePlan, Outcome, Option<&'a str>),
    /// A signal, or a limit: what runs is being stopped.
    Stopping(&'a str),
}

/// The last word of `run`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The sweep.
    pub sweep: String,
    /// Its trials by state.
    pub counts: BTreeMap<&'static str, u64>,
    /// What this call trained.
    pub trained: Trained,
    /// Seconds of this call.
    pub seconds: f64,
    /// Why it ended before all was done.
    pub stopped_by: Option<&'static str>,
    /// The trials that failed.
    pub failed: Vec<FailedTrial>,
    /// The exit code.
    #[serde(skip)]
    pub exit: u8,
}

/// What a call trained.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Trained {
    /// Stages that reached an end.
    pub stages: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Their FLOPs.
    pub flops: f64,
}

/// A trial that failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailedTrial {
    /// Its name.
    pub trial: String,
    /// Why.
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
    reclaim(context, &mut store).await?;
    let known = store.known(&sweep.name).await?;
    let rates = store.rates().await?;
    let planned = planning::plan_sweep(context, sweep, text, notes, known, rates)?;
    planning::announce(context, &mut store, &planned).await?;
    let (chosen, capped) = choose(&planned);
    let stages: Vec<StagePlan> = planned
        .plan
        .missing_for(chosen.iter().copied(), &planned.known)
        .into_iter()
        .cloned()
        .collect();
    observe(Progress::Planned {
        planned: &planned,
        stages: &stages,
    });
    let mut orchestra = Orchestra::new(context, &planned, store, &stages, request).await?;
    let stopped = orchestra.play(observe).await;
    let (mut store, trained) = orchestra.close().await;
    let stopped_by = stopped?.or(capped);
    summary(&mut store, &planned, trained, began.elapsed().as_secs_f64(), stopped_by).await
}

/// Stages that were running when their orchestrator went away: lost workers, to be tried again.
async fn reclaim(context: &Context, store: &mut Store) -> Result<(), Failure> {
    let entries: Vec<Entry> = store
        .running()
        .await?
        .into_iter()
        .map(|row| Entry::Stage {
            stage: StageId(row.stage),
            event: StageEvent::Faulted {
                attempt: u32::try_from(row.attempt).unwrap_or(u32::MAX),
            },
            detail: StageDetail {
                cause: Some(Cause::WorkerLost),
                message: Some("its orchestrator went away".to_owned()),
                ..StageDetail::default()
            },
        })
        .collect();
    if entries.is_empty() {
        return Ok(());
    }
    Ok(store.append(&context.now(), &entries).await?)
}

/// The trials that this call may train, and the limit that left out the rest.
fn choose(planned: &Planned) -> (Vec<&TrialPlan>, Option<&'static str>) {
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
            return (chosen, Some("run_cap"));
        }
        // A stage that an earlier trial has brought in costs nothing more.
        let new: Vec<&StageId> = missing.into_iter().filter(|id| !stages.contains(id)).collect();
        spent += new.iter().map(|id| flops[id]).sum::<f64>();
        if planned.sweep.budget.flops.is_some_and(|budget| spent > budget) {
            return (chosen, Some("budget"));
        }
        stages.extend(new);
        chosen.push(trial);
    }
    (chosen, None)
}

async fn summary(
    store: &mut Store,
    planned: &Planned,
    trained: Trained,
    seconds: f64,
    stopped_by: Option<&'static str>,
) -> Result<Summary, Failure> {
    let sweep = planned.plan.sweep.clone();
    let counts = count_states(store.trials(Some(&sweep)).await?.iter().map(|row| row.state));
    let mut failed: Vec<FailedTrial> = Vec::new();
    for (trial, cause, folder) in store.failures(&sweep).await? {
        if failed.iter().all(|other| other.trial != trial) {
            failed.push(FailedTrial {
                trial,
                cause,
                log: log_of(Path::new(&folder)),
            });
        }
    }
    let exit = match stopped_by {
        Some("signal") => exit::SIGINT,
        Some("sigterm") => exit::SIGTERM,
        Some("disk") => exit::ENVIRONMENT,
        Some("budget" | "run_cap") => exit::LIMIT,
        Some(_) => exit::SOME_FAILED,
        None if counts[TrialState::Failed.name()] > 0 => exit::SOME_FAILED,
        None => 0,
    };
    // The contract knows one word for both signals; the exit code tells them apart.
    let stopped_by = stopped_by.map(|why| if why == "sigterm" { "signal" } else { why });
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
    folder.join(wire::LINES_FILE).display().to_string()
}
