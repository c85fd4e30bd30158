//! Attempts whose orchestrator went away: their workers are gone or sent away, and what they said is taken in.
//!
//! Refuses to know what is trained next.

use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::exec::{self, Lost};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::hearing::{Hearing, event_of};
use crate::sched::Outcome;
use crate::stage::StageState;
use crate::store::{Entry, RunningRow, Said, Store};
use crate::units::StageId;
use crate::wire::{Cause, Line, Process, Resume};
use crate::workdir::disk_bytes;

/// How long a worker that has lost its orchestrator may take to hand its stage back.
const FAREWELL: Duration = Duration::from_secs(30);

/// Takes in what the workers of an earlier orchestrator have left; afterwards nothing runs in this home.
pub(super) async fn reclaim(context: &Context, store: &mut Store) -> Result<(), Failure> {
    let rows = store.running().await?;
    for row in &rows {
        send_away(context, row).await;
        let stage = StageId(row.stage.clone());
        let state = store.stage_state(&stage).await?;
        let known = store.checkpoints(&stage).await?;
        let attempt = u32::try_from(row.attempt).unwrap_or(u32::MAX);
        let folder = context.workdir.resolved(Path::new(&row.folder));
        let newest = known.first().map(|resume| resume.step);
        // Whatever was written down before is not written again.
        let is_new = |line: &Line| match line {
            Line::Started { .. } => row.pid.is_none(),
            Line::Left { resume, .. } => newest.is_none_or(|newest| resume.step > newest),
            Line::Point(_)
            | Line::Diverged { .. }
            | Line::Finished { .. }
            | Line::Failed { .. }
            | Line::Stopped { .. } => true,
        };
        let inside: Vec<Resume> = if is_remade(state) { Vec::new() } else { known };
        let mut hearing = Hearing::new(&context.workdir, stage, attempt, inside);
        hearing.bytes = disk_bytes(&folder);
        let lines = exec::left_behind(&folder, attempt).unwrap_or_default();
        let mut heard = hearing.hear(lines.into_iter().filter(is_new).collect());
        let lost = Lost {
            cause: Cause::WorkerLost,
            message: "its orchestrator went away".to_owned(),
        };
        let Some((mut outcome, detail)) = hearing.ending(heard.last.take(), Some(lost)) else {
            continue;
        };
        if is_remade(state) && outcome == Outcome::Diverged {
            outcome = Outcome::Faulted(Cause::Other);
        }
        if matches!(outcome, Outcome::Completed | Outcome::Diverged) {
            heard.unneeded.extend(hearing.states());
        }
        heard.said.push(Said::Entry(Entry::Stage {
            stage: hearing.stage.clone(),
            event: event_of(outcome, attempt),
            detail,
        }));
        store
            .take_in(&context.now(), &hearing.stage, attempt, &heard.said)
            .await?;
        remove(&heard.unneeded);
    }
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
