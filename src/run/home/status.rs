//! How a home stands: its sweeps, what runs now, one trial from close by. What `status`, `show` and `logs` say.
//!
//! Reads only. Refuses to know who asks and how the answer is shown.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use serde::Serialize;

use crate::protocol::LINES_FILE;
use crate::record::{StageRow, TrialRow};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::store::{RunningRow, StageAttempt, Store};
use crate::workdir::Holder;
use crate::workdir::WORKER_LOG;

/// A home at one moment.
#[derive(Debug, Serialize)]
pub struct HomeStatus {
    pub home: String,
    /// Who runs there now.
    pub orchestrator: Option<Holder>,
    /// Bytes of all its files.
    pub disk_bytes: u64,
    /// Its sweeps, by name.
    pub sweeps: Vec<SweepStatus>,
    /// The stages that workers have now.
    pub running: Vec<RunningStage>,
    /// The trials, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<Vec<TrialRow>>,
}

/// A sweep at one moment.
#[derive(Debug, Serialize)]
pub struct SweepStatus {
    pub sweep: String,
    /// Its trials by state.
    pub counts: BTreeMap<&'static str, u64>,
    /// How long the rest takes at the speed that this home has measured over all.
    pub seconds_left: Option<f64>,
    /// FLOPs still to be trained.
    #[serde(skip)]
    pub flops_left: f64,
}

/// A stage on a worker.
#[derive(Debug, Serialize)]
pub struct RunningStage {
    /// What is recorded of it.
    #[serde(flatten)]
    pub row: RunningRow,
    /// What its trial is called, and the sweep that calls it so.
    pub slug: String,
    pub sweep: String,
    /// The mean since the attempt began.
    pub tokens_per_second: Option<f64>,
}

/// One trial in full.
#[derive(Debug, Serialize)]
pub struct TrialStatus {
    #[serde(flatten)]
    pub row: TrialRow,
    /// What was asked of it.
    pub settings: serde_json::Value,
    /// Its stages in order.
    pub stages: Vec<StageWithAttempts>,
}

/// A stage, and every attempt at it.
#[derive(Debug, Serialize)]
pub struct StageWithAttempts {
    #[serde(flatten)]
    pub row: StageRow,
    /// The attempts, the first first.
    pub attempts_made: Vec<StageAttempt>,
}

/// What was said during one attempt.
#[derive(Debug, Serialize)]
pub struct AttemptLog {
    pub stage: String,
    pub attempt: u64,
    pub lines: Vec<String>,
    /// What the worker printed on its standard error, which the attempts of one worker share.
    pub stderr: Vec<String>,
}

/// How the home stands, or one sweep of it.
pub async fn status(context: &Context, only: Option<&str>) -> Result<HomeStatus, Failure> {
    if context.workdir.database().exists() {
        let mut store = context.store().await?;
        status_of(context, Some(&mut store), only).await
    } else {
        status_of(context, None, only).await
    }
}

/// The same of a database that is already open; none: there is none yet.
pub async fn status_of(
    context: &Context,
    store: Option<&mut Store>,
    only: Option<&str>,
) -> Result<HomeStatus, Failure> {
    let orchestrator = context.workdir.holder()?;
    let mut sweeps = Vec::new();
    let mut running = Vec::new();
    let mut stages = 0;
    if let Some(store) = store {
        let names: Vec<String> = store.sweeps().await?.into_iter().map(|row| row.sweep).collect();
        if let Some(unknown) = only.filter(|only| names.iter().all(|name| name != only)) {
            return Err(Failure::unknown_sweep(unknown, &names));
        }
        let rate = store.rate().await?;
        for name in names.into_iter().filter(|name| only.is_none_or(|only| only == name)) {
            sweeps.push(sweep_status(context, store, name, rate).await?);
        }
        stages = store.stage_bytes().await?;
        // Without an orchestrator nothing runs, whatever a crash left in the table.
        if orchestrator.is_some() {
            for row in store.running().await? {
                let trial = store.trial_named(&row.trial, None).await?;
                running.push(running_stage(row, trial.as_ref()));
            }
        }
    }
    Ok(HomeStatus {
        home: context.workdir.home().display().to_string(),
        orchestrator,
        disk_bytes: context.workdir.bytes_beside_stages() + stages,
        sweeps,
        running,
        trials: None,
    })
}

async fn sweep_status(
    context: &Context,
    store: &mut Store,
    sweep: String,
    rate: Option<f64>,
) -> Result<SweepStatus, Failure> {
    let counts = store.counts(&sweep).await?;
    let flops_left = store.flops_left(&sweep).await?;
    let seconds_left = if flops_left == 0.0 {
        Some(0.0)
    } else {
        rate.map(|rate| flops_left / rate / context.slots() as f64)
    };
    Ok(SweepStatus {
        sweep,
        counts,
        seconds_left,
        flops_left,
    })
}

fn running_stage(row: RunningRow, trial: Option<&TrialRow>) -> RunningStage {
    let since: Option<jiff::Timestamp> = row.since.parse().ok();
    let seconds = since.map(|since| (jiff::Timestamp::now().as_millisecond() - since.as_millisecond()) as f64 / 1000.0);
    let tokens_per_second = seconds
        .filter(|seconds| *seconds > 0.5)
        .map(|seconds| row.tokens_made as f64 / seconds);
    RunningStage {
        slug: trial.map_or_else(|| row.trial.clone(), |trial| trial.slug.clone()),
        sweep: trial.map_or_else(String::new, |trial| trial.sweep.clone()),
        row,
        tokens_per_second,
    }
}

/// One trial with its stages and attempts.
pub async fn trial_status(store: &mut Store, row: TrialRow) -> Result<TrialStatus, Failure> {
    let settings = store.settings(&row.sweep, &row.trial).await?;
    let mut stages = Vec::new();
    for stage in store.path(&row.sweep, &row.trial).await? {
        let attempts_made = store.attempts_at(&stage.stage).await?;
        stages.push(StageWithAttempts {
            row: stage,
            attempts_made,
        });
    }
    Ok(TrialStatus { row, settings, stages })
}

/// What was said during every attempt at the stages of a trial; of each file `read` takes what is wanted.
pub async fn logs_of(
    context: &Context,
    store: &mut Store,
    row: &TrialRow,
    read: fn(&Path) -> std::io::Result<Vec<String>>,
) -> Result<Vec<AttemptLog>, Failure> {
    let mut logs = Vec::new();
    for stage in store.path(&row.sweep, &row.trial).await? {
        for attempt in store.attempts_at(&stage.stage).await? {
            let folder = context.workdir.resolved(Path::new(&attempt.folder));
            let lines = or_nothing(read(&folder.join(LINES_FILE)))?;
            let beside = folder.join(WORKER_LOG);
            let stderr = match attempt.worker {
                // On a cluster what a worker printed lies beside its lines.
                _ if beside.exists() => read(&beside)?,
                Some(worker) => or_nothing(read(&context.workdir.worker_log(worker as usize)))?,
                None => Vec::new(),
            };
            logs.push(AttemptLog {
                stage: attempt.stage,
                attempt: attempt.attempt,
                lines,
                stderr,
            });
        }
    }
    Ok(logs)
}

/// Every line of a file.
pub fn whole(path: &Path) -> std::io::Result<Vec<String>> {
    Ok(fs::read_to_string(path)?.lines().map(str::to_owned).collect())
}

/// An attempt that never reached its worker said nothing.
fn or_nothing(lines: std::io::Result<Vec<String>>) -> Result<Vec<String>, Failure> {
    match lines {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => Ok(other?),
    }
}
