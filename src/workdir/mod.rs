//! Every path of a home, atomic writes, and the lock that one orchestrator holds.
//!
//! Refuses to know what the files mean.

pub mod mount;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::units::StageId;

/// Name of what the worker of an attempt printed, in the attempt's folder; only where workers have no logs of their own.
pub const WORKER_LOG: &str = "worker.log";

/// The folder that holds a database, prepared data, checkpoints and the files of workers.
#[derive(Debug, Clone)]
pub struct Workdir {
    home: PathBuf,
    database: PathBuf,
}

/// Who holds a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub host: String,
    /// Since when, ISO 8601 UTC.
    pub since: String,
}

impl Holder {
    /// Whether it was a process of this machine that is no longer there.
    fn is_gone(&self) -> bool {
        let here = rustix::system::uname();
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let is_there = |pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH);
        here.nodename().to_string_lossy() == self.host.as_str() && pid.is_none_or(|pid| !is_there(pid))
    }
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkdirError {
    /// Somebody else runs there.
    #[error("another orchestrator holds `{}`{}", home.display(), holder.as_ref().map_or(String::new(), |h| format!(": pid {} on {} since {}", h.pid, h.host, h.since)))]
    Held {
        home: PathBuf,
        /// Who, where it says so.
        holder: Option<Holder>,
    },
    /// The disk does not do what is asked.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The lock of a home; it is free again when this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    file: fs::File,
}

impl Lock {
    fn try_take(path: &Path) -> std::io::Result<Option<Self>> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        match file.file().try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Workdir {
    /// A home at `home`, with its database there or where `database` says. Nothing is created.
    pub fn new(home: &Path, database: Option<&Path>) -> Self {
        let database = database.map_or_else(|| home.join("sandbox.db"), Path::to_path_buf);
        Self {
            home: home.to_path_buf(),
            database,
        }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Which database was used with this home last.
    pub fn database_note(&self) -> PathBuf {
        self.home.join("database.json")
    }

    /// Prepared data, a folder each.
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// A path as it is recorded: from the home on, so that a home can be moved.
    pub fn recorded(&self, path: &Path) -> PathBuf {
        let home = fs::canonicalize(&self.home).unwrap_or_else(|_| self.home.clone());
        let absolute = std::path::absolute(&self.home).unwrap_or_else(|_| self.home.clone());
        path.strip_prefix(&home)
            .or_else(|_| path.strip_prefix(&absolute))
            .or_else(|_| path.strip_prefix(&self.home))
            .unwrap_or(path)
            .to_owned()
    }

    /// A recorded path as it can be opened.
    pub fn resolved(&self, recorded: &Path) -> PathBuf {
        self.home.join(recorded)
    }

    /// The folder of all stages.
    pub fn stages(&self) -> PathBuf {
        self.home.join("stages")
    }

    /// The folder of one attempt at a stage.
    pub fn attempt(&self, stage: &StageId, attempt: u32) -> PathBuf {
        self.stages().join(&stage.0).join(attempt.to_string())
    }

    /// What a worker prints on its standard error.
    pub fn worker_log(&self, worker: usize) -> PathBuf {
        self.home.join("workers").join(format!("{worker}.log"))
    }

    /// The pools of workers on a cluster.
    pub fn pools(&self) -> PathBuf {
        self.home.join("pools")
    }

    /// What the cluster's workers ask for.
    pub fn profile(&self) -> PathBuf {
        self.home.join("slurm.yaml")
    }

    /// A sweep file that is to be run next.
    pub fn next_sweep(&self, name: &str) -> PathBuf {
        self.home.join("next").join(name)
    }

    /// The folder of a study: the files of its sweeps.
    pub fn study(&self, name: &str) -> PathBuf {
        self.home.join("studies").join(name)
    }

    fn lock_file(&self) -> PathBuf {
        self.home.join("sandbox.lock")
    }

    fn holder_file(&self) -> PathBuf {
        self.home.join("sandbox.lock.json")
    }

    /// Creates the home if need be, so that files can be written there.
    pub fn create(&self) -> Result<(), WorkdirError> {
        fs::create_dir_all(&self.home)?;
        Ok(())
    }

    /// Takes the lock for an orchestrator.
    pub fn lock(&self, holder: &Holder) -> Result<Lock, WorkdirError> {
        self.create()?;
        let Some(lock) = Lock::try_take(&self.lock_file())? else {
            return Err(WorkdirError::Held {
                home: self.home.clone(),
                holder: self.read_holder(),
            });
        };
        let text = serde_json::to_string(holder).map_err(std::io::Error::other)?;
        write_atomic(&self.holder_file(), text.as_bytes())?;
        Ok(lock)
    }

    /// Who runs there now; none: nobody.
    pub fn holder(&self) -> Result<Option<Holder>, WorkdirError> {
        if !self.lock_file().exists() {
            return Ok(None);
        }
        // To try the lock is to hold it for a moment, in which no orchestrator can begin: not where its process is gone.
        let note = self.read_holder();
        if note.is_some_and(|note| note.is_gone()) {
            return Ok(None);
        }
        // The lock is the truth; the note beside it only says who.
        let free = Lock::try_take(&self.lock_file())?;
        Ok(if free.is_some() { None } else { self.read_holder() })
    }

    fn read_holder(&self) -> Option<Holder> {
        let text = fs::read_to_string(self.holder_file()).ok()?;
        serde_json::from_str(&text).ok()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The kernel frees it anyway; an error here leaves nothing behind.
        drop(self.file.file().unlock());
    }
}

/// Writes a file whole or not at all: under another name, to the disk, then renamed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_renamed(path, bytes, true)
}

/// The same for a file that nobody needs after the machine has crashed: it is not forced to the disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_renamed(path, bytes, false)
}

fn write_renamed(path: &Path, bytes: &[u8], sync: bool) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if sync { file.sync_all() } else { Ok(()) }
    });
    if let Err(error) = written {
        // A full disk needs the room.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    fs::rename(&temporary, path)
}

impl Workdir {
    /// Bytes of the home's files but for those of stages, which can be very many, and of the database.
    pub fn bytes_beside_stages(&self) -> u64 {
        let entries = fs::read_dir(&self.home).into_iter().flatten().flatten();
        let beside = entries.filter(|entry| entry.path() != self.stages());
        let home: u64 = beside.map(|entry| bytes_of(&entry)).sum();
        let elsewhere = self.database.parent() != Some(self.home.as_path());
        home + if elsewhere {
            fs::metadata(&self.database).map_or(0, |meta| meta.len())
        } else {
            0
        }
    }
}

fn bytes_of(entry: &fs::DirEntry) -> u64 {
    match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    }
}

/// Bytes of all files under a folder; a folder that is not there has none.
pub fn disk_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries.flatten().map(|entry| bytes_of(&entry)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_held_by_one_at_a_time_and_says_by_whom() {
        let folder = tempfile::tempdir().expect("a folder");
        let workdir = Workdir::new(folder.path(), None);
        let holder = Holder {
            pid: 7,
            host: "here".to_owned(),
            since: "2026-01-01T00:00:00Z".to_owned(),
        };
        let lock = workdir.lock(&holder).expect("free");
        assert_eq!(workdir.holder().expect("readable"), Some(holder.clone()));
        match workdir.lock(&holder) {
            Err(WorkdirError::Held { holder: Some(by), .. }) => assert_eq!(by, holder),
            other => panic!("a held home must refuse: {other:?}"),
        }
        drop(lock);
        assert_eq!(workdir.holder().expect("readable"), None);
    }

    #[test]
    fn a_process_that_is_gone_holds_nothing_and_its_lock_is_not_even_tried() {
        let folder = tempfile::tempdir().expect("a folder");
        let workdir = Workdir::new(folder.path(), None);
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let note = |pid| Holder {
            pid,
            host: host.clone(),
            since: String::new(),
        };
        let lock = workdir.lock(&note(std::process::id())).expect("free");
        assert!(workdir.holder().expect("readable").is_some(), "this process is there");
        // No process has this number: Linux gives none above 2^22.
        drop(lock);
        let lock = workdir.lock(&note(4_194_400)).expect("free");
        assert_eq!(workdir.holder().expect("readable"), None, "whatever its lock says");
        drop(lock);
    }

    #[test]
    fn an_atomic_write_leaves_no_other_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/file.json");
        write_atomic(&path, b"one").expect("written");
        write_atomic(&path, b"two").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        assert_eq!(fs::read_dir(folder.path().join("deep")).expect("there").count(), 1);
        assert_eq!(disk_bytes(folder.path()), 3);
    }
}
