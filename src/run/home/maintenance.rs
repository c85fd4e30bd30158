//! Looking after a home: what is on disk and not needed, whether the database is sound, trials taken out.
//!
//! Refuses to know how it is printed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;

use crate::exec::pool;
use crate::record::{TrialRow, TrialState};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::store::{Entry, Problem, Store};
use crate::units::StageId;

/// Whether a database is what its log says.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Entries of the log.
    pub events: u64,
    /// States on disk whose bytes were read.
    pub checkpoints: u64,
    pub problems: Vec<Problem>,
}

/// Replays the log, and reads every state on disk.
pub async fn check(context: &Context) -> Result<Checked, Failure> {
    let mut store = context.store().await?;
    let (events, mut problems) = store.check().await?;
    let states = store.all_checkpoints().await?;
    for (stage, resume) in &states {
        let path = context.workdir.resolved(&resume.checkpoint.path);
        let what = match fs::read(&path) {
            Ok(bytes) if blake3::hash(&bytes).to_hex().as_str() == resume.checkpoint.hash => continue,
            Ok(_) => "its bytes are not those that were written".to_owned(),
            Err(error) => error.to_string(),
        };
        problems.push(Problem {
            table: path.display().to_string(),
            key: stage.0.clone(),
            what: format!("{what}; the next run makes the state again where one is needed"),
        });
    }
    Ok(Checked {
        ok: problems.is_empty(),
        events,
        checkpoints: states.len() as u64,
        problems,
    })
}

/// What `gc` removes, or would.
#[derive(Debug, Serialize)]
pub struct Collected {
    /// Whether nothing was removed.
    pub dry_run: bool,
    pub removed: Vec<Removed>,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the states that stay, for longer or further runs.
    pub kept_bytes: u64,
}

/// Something that nothing needs.
#[derive(Debug, Serialize)]
pub struct Removed {
    pub path: String,
    pub bytes: u64,
    /// Why nothing needs it.
    pub why: &'static str,
}

/// What is asked of `gc`.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub dry_run: bool,
    /// Also states that only a sweep that grows would need.
    pub states: bool,
}

/// Removes what nothing needs. Nothing may run meanwhile.
pub async fn collect(context: &Context, request: Request) -> Result<Collected, Failure> {
    // Before the lock: it would make a home where there is none.
    let mut store = context.store().await?;
    let _lock = context.workdir.lock(&context.holder())?;
    let mut removed = idle_pools(context)?;
    if request.states {
        for (stage, resume) in idle_states(&mut store).await? {
            let path = context.workdir.resolved(&resume.checkpoint.path);
            let bytes = size(&path);
            if !request.dry_run {
                let entry = Entry::Dropped {
                    stage,
                    steps: vec![resume.step],
                    why: "gc --states".to_owned(),
                };
                store.append(&context.now(), &[entry]).await?;
            }
            removed.push((path, bytes, "no pending stage starts from this state"));
        }
    }
    let idle: BTreeSet<PathBuf> = removed.iter().map(|(path, ..)| path.clone()).collect();
    let needed: BTreeSet<PathBuf> = store
        .all_checkpoints()
        .await?
        .into_iter()
        .map(|(_, resume)| context.workdir.resolved(&resume.checkpoint.path))
        .filter(|path| !idle.contains(path))
        .collect();
    let known = store.attempts().await?;
    removed.extend(leftovers(context, &needed, &idle, &|stage| known.contains_key(stage))?);
    if !request.dry_run {
        for (path, ..) in &removed {
            let gone = if path.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
            match gone {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(Collected {
        dry_run: request.dry_run,
        bytes: removed.iter().map(|(_, bytes, _)| bytes).sum(),
        kept_bytes: needed.iter().map(|path| size(path)).sum(),
        removed: removed
            .into_iter()
            .map(|(path, bytes, why)| Removed {
                path: path.display().to_string(),
                bytes,
                why,
            })
            .collect(),
    })
}

/// Pools of workers that are over; refused where one may be at work.
fn idle_pools(context: &Context) -> Result<Vec<(PathBuf, u64, &'static str)>, Failure> {
    let pools = context.workdir.pools();
    if pool::has_others(&pools, None)? {
        // They hold no lock, and what they have written is not in the database yet.
        return Err(Failure::new(
            exit::HELD,
            "home_held",
            "a run on Slurm has left workers that may still train",
            "run its sweep again, there or here: that takes in what they wrote, or ends them",
        ));
    }
    let over = pool::revoked(&pools)?.into_iter();
    Ok(over
        .map(|pool| {
            let bytes = crate::workdir::disk_bytes(&pool);
            (pool, bytes, "a pool of workers that is over")
        })
        .collect())
}

/// States that no stage that is still to be trained starts from.
async fn idle_states(store: &mut Store) -> Result<Vec<(StageId, crate::protocol::Resume)>, Failure> {
    let wanted = store.wanted_states().await?;
    let states = store.all_checkpoints().await?;
    Ok(states
        .into_iter()
        .filter(|(stage, _)| !wanted.contains(stage))
        .collect())
}

/// Files that the database does not know.
fn leftovers(
    context: &Context,
    needed: &BTreeSet<PathBuf>,
    idle: &BTreeSet<PathBuf>,
    is_known: &dyn Fn(&StageId) -> bool,
) -> Result<Vec<(PathBuf, u64, &'static str)>, Failure> {
    let mut found = Vec::new();
    for stage in entries(&context.workdir.stages())? {
        let name = stage.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_known(&StageId(name)) {
            found.push((
                stage.clone(),
                crate::workdir::disk_bytes(&stage),
                "the database does not know this stage",
            ));
            continue;
        }
        for file in entries(&stage)?
            .iter()
            .map(|attempt| entries(attempt))
            .collect::<Result<Vec<_>, _>>()?
            .concat()
        {
            let is_state = file
                .extension()
                .is_some_and(|kind| kind == "safetensors" || kind == "tmp");
            if is_state && !needed.contains(&file) && !idle.contains(&file) {
                let bytes = size(&file);
                found.push((file, bytes, "no stage starts from this state"));
            }
        }
    }
    for folder in entries(&context.workdir.data())? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') && folder.extension().is_some_and(|kind| kind == "tmp") {
            let bytes = crate::workdir::disk_bytes(&folder);
            found.push((folder, bytes, "data whose preparation did not come to its end"));
        }
    }
    Ok(found)
}

/// What is in a folder; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    Ok(entries)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// Trials that were taken out, or brought back.
#[derive(Debug, Serialize)]
pub struct Cancelled {
    pub trials: Vec<String>,
    /// Trials that were asked for but have a result, or none to bring back.
    pub left_alone: u64,
}

/// Takes trials out, or brings them back. A run that is under way hears of it.
pub async fn cancel(context: &Context, rows: &[TrialRow], undo: bool) -> Result<Cancelled, Failure> {
    let is_meant = |row: &&TrialRow| match row.state {
        TrialState::Pending | TrialState::Running | TrialState::Failed => !undo,
        TrialState::Cancelled => undo,
        TrialState::Complete | TrialState::Diverged => false,
    };
    let meant: Vec<&TrialRow> = rows.iter().filter(is_meant).collect();
    let sweeps: BTreeSet<&str> = meant.iter().map(|row| row.sweep.as_str()).collect();
    let entries: Vec<Entry> = sweeps
        .into_iter()
        .map(|sweep| Entry::Cancelled {
            sweep: sweep.to_owned(),
            trials: meant
                .iter()
                .filter(|row| row.sweep == sweep)
                .map(|row| row.trial.clone())
                .collect(),
            undo,
        })
        .collect();
    if !entries.is_empty() {
        context.store().await?.append(&context.now(), &entries).await?;
    }
    Ok(Cancelled {
        left_alone: (rows.len() - meant.len()) as u64,
        trials: meant.iter().map(|row| row.trial.clone()).collect(),
    })
}
