//! What a pool is made of, how long it waits, and why it cannot be had.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::exec::pool::batch_system::{BatchSystem, CallError};
use crate::mailbox::Owner;
use crate::queue::script::{ScriptError, Wanted};
use crate::spec::profile::Profile;

/// What a pool is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What its jobs run on.
    pub system: Arc<dyn BatchSystem>,
    /// The folder of all pools, absolute, on the shared file system.
    pub pools: PathBuf,
    /// What tells this home from others in the comments of jobs: letters, digits, `.`, `-` and `_`.
    pub home: String,
    /// What a worker asks for.
    pub profile: Profile,
    /// The worker's program and its arguments before those of the pool.
    pub program: Vec<OsString>,
    /// Version of the program; workers of another are not given work.
    pub version: String,
    /// This process, which the pool will belong to.
    pub owner: Owner,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Settings {
    /// So many workers of these settings for the pool in a folder; `first` numbers their first submission.
    pub fn wanted<'a>(&'a self, folder: &'a Path, pool: &'a str, workers: u64, first: u64) -> Wanted<'a> {
        Wanted {
            profile: &self.profile,
            folder,
            pool,
            workers,
            first,
            program: &self.program,
        }
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Silence after which a worker is taken for dead, whatever the batch system says.
    pub lease: Duration,
    /// The same where the batch system says that its job is gone.
    pub short_lease: Duration,
    /// How long a worker that beats may say nothing of its stage.
    pub silence: Duration,
    /// Time between two looks at the workers' folders.
    pub look: Duration,
    /// Time between two questions to the batch system.
    pub ask: Duration,
    /// How long workers may take to end by themselves at the end of a run.
    pub farewell: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            lease: Duration::from_mins(2),
            short_lease: Duration::from_secs(15),
            silence: Duration::from_mins(15),
            look: Duration::from_secs(1),
            ask: Duration::from_secs(15),
            farewell: Duration::from_secs(30),
        }
    }
}

/// Why a pool cannot be had, or goes on no longer.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The shared folder does not do what is asked.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Nothing can be submitted from there.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The batch system does not answer, or its commands are not there.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The batch system refuses the jobs.
    #[error("{system} refuses the workers: {message}; correct the profile")]
    Refused { system: &'static str, message: String },
    /// Somebody else has the pool now.
    #[error("another orchestrator, pid {} on {}, has taken over `{}`; one home has one orchestrator", owner.process.pid, owner.host, pool.display())]
    Superseded { owner: Owner, pool: PathBuf },
    /// Workers were started and none came.
    #[error(
        "{submissions} submissions in a row brought no worker that began to work: read what they printed in `{out}`, and \
         what the profile's `setup` does; where nothing stands there, the nodes do not see this folder, or not `{program}`"
    )]
    FailedSubmissions {
        submissions: u32,
        /// Folder of what they printed.
        out: PathBuf,
        program: String,
    },
}
