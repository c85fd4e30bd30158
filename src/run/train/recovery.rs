//! Attempts whose orchestrator went away: their workers are gone or sent away, and what they said is taken in.
//!
//! Refuses to know what is trained next.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::exec::pool::Adopted;
use crate::exec::{self, Lost, Written};
use crate::protocol::{Cause, Process};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::train::attempt::{Attempt, event_of};
use crate::sched::Outcome;
use crate::stage::StageState;
use crate::store::{Entry, RunningRow, Said, Store};
use crate::units::StageId;
use crate::workdir::disk_bytes;

/// How long a worker that has lost its orchestrator may take to hand its stage back.
const FAREWELL: Duration = Duration::from_secs(30);

/// Takes in what the workers of an earlier orchestrator have left, but for the attempts that somebody still makes: how
/// those are heard on. Afterwards nothing else runs in this home.
pub(super) async fn recover(
    context: &Context,
    store: &mut Store,
    adopted: &[Adopted],
) -> Result<BTreeMap<StageId, Attempt>, Failure> {
    let mut going_on = BTreeMap::new();
    for row in &store.running().await? {
        let attempt = attempt_of(context, store, row).await?;
        let is_adopted = |it: &Adopted| it.stage == attempt.stage && it.attempt == attempt.number;
        if adopted.iter().any(is_adopted) {
            going_on.insert(attempt.stage.clone(), attempt);
        } else {
            send_away(context, row).await;
            take_in(context, store, row, attempt).await?;
        }
    }
    Ok(going_on)
}

/// How an attempt that is recorded as running is heard from here on.
async fn attempt_of(context: &Context, store: &mut Store, row: &RunningRow) -> Result<Attempt, Failure> {
    let stage = StageId(row.stage.clone());
    let known = store.checkpoints(&stage).await?;
    let newest = known.first().map(|resume| resume.step);
    let inside = if is_remade(store.stage_state(&stage).await?) {
        Vec::new()
    } else {
        known
    };
    let attempt = u32::try_from(row.attempt).unwrap_or(u32::MAX);
    Ok(Attempt::new(&context.workdir, stage, attempt, inside).heard_before(row.pid.is_some(), newest))
}

/// Takes in what the worker of an attempt has left, and that it has ended.
async fn take_in(context: &Context, store: &mut Store, row: &RunningRow, mut attempt: Attempt) -> Result<(), Failure> {
    let state = store.stage_state(&attempt.stage).await?;
    let folder = context.workdir.resolved(Path::new(&row.folder));
    attempt.bytes = disk_bytes(&folder);
    let Written { lines, garbled } = exec::left_behind(&folder, attempt.number)?;
    let lost = match garbled {
        Some(message) => Lost {
            cause: Cause::Other,
            message,
        },
        None => Lost {
            // What nobody has begun was not lost by a worker.
            cause: if lines.is_empty() && row.pid.is_none() {
                Cause::Interrupted
            } else {
                Cause::WorkerLost
            },
            message: "its orchestrator went away".to_owned(),
        },
    };
    let mut heard = attempt.hear(lines);
    let Some((mut outcome, detail)) = attempt.ending(heard.last.take(), Some(lost)) else {
        return Ok(());
    };
    if is_remade(state) && outcome == Outcome::Diverged {
        outcome = Outcome::Faulted(Cause::Other);
    }
    if matches!(outcome, Outcome::Completed | Outcome::Diverged) {
        heard.unneeded.extend(attempt.states());
    }
    heard.said.push(Said::Entry(Entry::Stage {
        stage: attempt.stage.clone(),
        event: event_of(outcome, attempt.number),
        detail,
    }));
    store
        .take_in(&context.now(), &attempt.stage, attempt.number, &heard.said)
        .await?;
    remove(&heard.unneeded);
    Ok(())
}

/// Whether only the state at the end of a complete stage is made again.
fn is_remade(state: StageState) -> bool {
    matches!(state, StageState::Remaking { .. })
}

/// Removes files that nothing needs; what cannot be removed is found by `gc`.
pub(super) fn remove(files: &[std::path::PathBuf]) {
    for file in files {
        drop(fs::remove_file(file));
    }
}

/// Waits until the worker of an attempt is gone; a worker without an orchestrator stops by itself, or is killed.
async fn send_away(context: &Context, row: &RunningRow) {
    let Some(pid) = row.pid.and_then(|pid| u32::try_from(pid).ok()) else {
        return;
    };
    if row.host.as_deref() != Some(context.host.as_str()) || row.pid_started.is_none() {
        return;
    }
    let is_there = || {
        let now = Process::of(pid, &|path| fs::read_to_string(path).ok());
        now.started == row.pid_started && now.boot == row.boot
    };
    let since = Instant::now();
    while is_there() {
        if since.elapsed() > FAREWELL {
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
