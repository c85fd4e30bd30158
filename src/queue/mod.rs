//! A batch system as values: what is submitted to it, and what it says of its jobs. Its texts are read and written in
//! a module of its own for each (`slurm`).
//!
//! Refuses to know processes, files and clocks: `exec` runs the commands.

pub mod script;
pub mod slurm;

use crate::protocol::Cause;

/// What a site allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Indexes of an array stay below it; 0: no arrays.
    pub max_array: u64,
    /// Version of the batch system, where it is told.
    pub version: Option<String>,
    /// Whether the site keeps accounts of past jobs.
    pub has_accounting: bool,
    /// Seconds between a job's SIGTERM and its SIGKILL.
    pub kill_wait: Option<u64>,
}

impl Default for Site {
    /// What is assumed where the site does not tell: Slurm's own defaults.
    fn default() -> Self {
        Self {
            max_array: 1001,
            version: None,
            has_accounting: false,
            kill_wait: None,
        }
    }
}

/// A job, or one task of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// Number of the job, or of the array.
    pub job: u64,
    /// Index in the array; none: no array.
    pub task: Option<u64>,
}

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.task {
            Some(task) => write!(f, "{}_{task}", self.job),
            None => write!(f, "{}", self.job),
        }
    }
}

/// What the batch system says of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub state: TaskState,
    /// The nodes, as it writes them; empty: none yet.
    pub nodes: String,
    /// The comment it was submitted with; empty: none, or not asked.
    pub comment: String,
    /// Why it stands there, in its word.
    pub reason: String,
    /// How its script ended, once it has.
    pub exit: Option<Exit>,
}

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    /// The signal that ended it; 0: none.
    pub signal: i32,
}

/// A listing: what was understood, and the lines that were not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub tasks: Vec<Task>,
    /// Lines that are none.
    pub odd: Vec<String>,
}

/// Where a job stands, as far as the batch system says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// It waits for its turn.
    Queued,
    /// It has a node, and its processes may run.
    Running,
    /// It is held still: its processes live and do nothing.
    Paused,
    /// Its processes are over, or are being ended.
    Gone(EndReason),
    /// Something that this program does not know; whatever it means, the worker's own word counts.
    Unknown(String),
}

/// Why a job is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its script ended with exit code 0.
    Completed,
    /// Its script ended with another.
    Failed,
    /// It used more memory than it had asked for.
    OutOfMemory,
    /// Its time was up.
    TimeLimit,
    /// Its node failed, or never came up.
    NodeFail,
    /// Somebody more important needed the node.
    Preempted,
    Cancelled,
    /// It is being ended; it is not said why yet.
    Ending,
}

impl EndReason {
    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Completed => "its job ended by itself",
            Self::Failed => "its job failed",
            Self::OutOfMemory => "its job used more memory than it had asked for; raise `memory` in the profile",
            Self::TimeLimit => "its job's time was up; raise `time` in the profile",
            Self::NodeFail => "its node failed",
            Self::Preempted => "its job was preempted",
            Self::Cancelled => "its job was cancelled",
            Self::Ending => "its job was being ended",
        }
    }

    /// The cause of the fault of a stage that was cut off by it.
    pub fn cause(self) -> Cause {
        match self {
            Self::OutOfMemory => Cause::OutOfMemory,
            // What a site does to jobs is nobody's fault, and as often as it likes.
            Self::TimeLimit | Self::Preempted | Self::NodeFail | Self::Cancelled => Cause::Interrupted,
            Self::Completed | Self::Failed | Self::Ending => Cause::WorkerLost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_site_does_is_nobodys_fault() {
        assert_eq!(EndReason::Preempted.cause(), Cause::Interrupted);
        assert_eq!(EndReason::OutOfMemory.cause(), Cause::OutOfMemory);
        assert_eq!(EndReason::Failed.cause(), Cause::WorkerLost);
    }
}
