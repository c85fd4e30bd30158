//! The folders of pools on the shared file system: which lie there, whose they are, and which are over.
//!
//! Refuses to know what is done about them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::exec::pool::remote_worker::read;
use crate::exec::pool::settings::Settings;
use crate::mailbox;
use crate::workdir::write_atomic;

/// What a pool is: written when it is made, compared by the next orchestrator.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    #[serde(rename = "post")]
    format: u32,
    version: String,
    home: String,
    program: Vec<String>,
    /// Everything of the profile that a running worker has.
    shape: String,
    /// Word of the batch system; pools of the first version are all Slurm's.
    #[serde(default = "first_system")]
    pub(super) system: String,
}

fn first_system() -> String {
    "slurm".to_owned()
}

impl Note {
    fn of(settings: &Settings) -> Self {
        let mut shape = settings.profile.clone();
        // These change nothing for a worker that runs.
        shape.max_workers = 0;
        shape.idle = Duration::ZERO;
        let program = settings.program.iter();
        Self {
            format: mailbox::FORMAT,
            version: settings.version.clone(),
            home: settings.home.clone(),
            program: program.map(|word| word.to_string_lossy().into_owned()).collect(),
            shape: format!("{shape:?}"),
            system: settings.system.word().to_owned(),
        }
    }

    /// The note in the folder of a pool; none: there is none that can be read.
    pub(super) fn read(folder: &Path) -> std::io::Result<Option<Self>> {
        read(&folder.join(mailbox::POOL_FILE))
    }

    /// The name of this pool in the comments of jobs.
    pub(super) fn pool_name(&self, folder: &Path) -> String {
        pool_name(&self.home, folder)
    }
}

/// The name of a pool in the comments of jobs.
pub(super) fn pool_name(home: &str, folder: &Path) -> String {
    format!("{home}.{}", generation(folder))
}

/// The name of a pool's folder: `g0001`.
pub(super) fn generation(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_revoked(folder: &Path) -> bool {
    folder.join(mailbox::REVOKED).exists()
}

/// Whether nothing of a pool is left in the batch system.
fn is_settled(folder: &Path) -> bool {
    is_revoked(folder) && folder.join(mailbox::SETTLED).exists()
}

/// The pools that a folder holds with their numbers, the newest last.
fn all(pools: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    if !pools.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(pools)? {
        let folder = entry?.path();
        let number = generation(&folder).strip_prefix('g').and_then(|it| it.parse().ok());
        found.extend(number.map(|number| (number, folder)));
    }
    found.sort();
    Ok(found)
}

/// Pools that are over, but for the newest of all, which says what the next is called.
pub fn revoked(pools: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = all(pools)?;
    found.pop();
    let folders = found.into_iter().map(|(_, folder)| folder);
    Ok(folders.filter(|folder| is_settled(folder)).collect())
}

/// The newest pool that can be taken over.
pub(super) fn adoptable(settings: &Settings) -> std::io::Result<Option<PathBuf>> {
    let ours = Note::of(settings);
    for (_, folder) in all(&settings.pools)?.into_iter().rev() {
        if !is_revoked(&folder) && Note::read(&folder)?.is_some_and(|note| note == ours) {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}

/// The pools that are not over, but for the one that can be taken over by a run with the settings `keep`.
///
/// A run on a cluster also sees to those that are revoked and whose jobs nobody could cancel.
pub(super) fn others(pools: &Path, keep: Option<&Settings>) -> std::io::Result<Vec<PathBuf>> {
    let kept = match keep {
        Some(settings) => adoptable(settings)?,
        None => None,
    };
    let is_over = |folder: &Path| match keep {
        Some(_) => is_settled(folder),
        None => is_revoked(folder),
    };
    let found = all(pools)?.into_iter().map(|(_, folder)| folder);
    Ok(found
        .filter(|folder| !is_over(folder) && Some(folder) != kept.as_ref())
        .collect())
}

/// Whether an earlier run has left a pool that has to be revoked.
pub fn has_others(pools: &Path, keep: Option<&Settings>) -> std::io::Result<bool> {
    Ok(!others(pools, keep)?.is_empty())
}

/// Makes the folder of the next pool.
pub(super) fn create(settings: &Settings) -> std::io::Result<PathBuf> {
    let number = all(&settings.pools)?.last().map_or(1, |(newest, _)| newest + 1);
    let folder = settings.pools.join(format!("g{number:04}"));
    fs::create_dir(&folder)?;
    // Before its first worker comes.
    for name in [mailbox::WORKERS, mailbox::OUT, mailbox::SCRIPTS, mailbox::SUBMISSIONS] {
        fs::create_dir(folder.join(name))?;
    }
    let note = serde_json::to_vec_pretty(&Note::of(settings)).map_err(std::io::Error::other)?;
    write_atomic(&folder.join(mailbox::POOL_FILE), &note)?;
    Ok(folder)
}

/// Ends a pool: its workers stop at their next sign of life, and those that come later leave at once.
pub(super) fn revoke(folder: &Path) -> std::io::Result<()> {
    fs::write(folder.join(mailbox::REVOKED), "")
}

/// The folders of a pool's workers, with their names.
pub(super) fn workers(pool: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let folder = pool.join(mailbox::WORKERS);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(key) = entry.file_name().into_string()
            && !key.starts_with('.')
        {
            folders.push((key, entry.path()));
        }
    }
    Ok(folders)
}
