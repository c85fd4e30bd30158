//! What Slurm's names of states mean for a worker.
//!
//! Refuses to know where the names come from.

use crate::protocol::Cause;

/// Where a job stands, as far as Slurm says.
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
    /// Slurm says something that this program does not know; whatever it means, the worker's own word counts.
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
    /// Somebody cancelled it.
    Cancelled,
    /// It is being ended; Slurm does not say why yet.
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

/// Where a job in this state stands: `RUNNING`, `R`, `CANCELLED by 1000`, `CANCELLED+`, `completing`.
pub fn task_state(state: &str) -> TaskState {
    let word = state
        .split_whitespace()
        .next()
        .unwrap_or("")
        .trim_end_matches(['+', '*']);
    match word.to_ascii_uppercase().as_str() {
        "PENDING" | "PD" | "CONFIGURING" | "CF" | "REQUEUED" | "RQ" | "REQUEUE_FED" | "RF" | "REQUEUE_HOLD" | "RH"
        | "RESV_DEL_HOLD" | "RD" | "SPECIAL_EXIT" | "SE" | "POWER_UP_NODE" => TaskState::Queued,
        "RUNNING" | "R" | "RESIZING" | "RS" | "SIGNALING" | "SI" | "EXPEDITING" => TaskState::Running,
        "SUSPENDED" | "S" | "STOPPED" | "ST" => TaskState::Paused,
        "COMPLETING" | "CG" | "STAGE_OUT" | "SO" => TaskState::Gone(EndReason::Ending),
        "COMPLETED" | "CD" => TaskState::Gone(EndReason::Completed),
        "FAILED" | "F" | "LAUNCH_FAILED" | "RECONFIG_FAIL" => TaskState::Gone(EndReason::Failed),
        "OUT_OF_MEMORY" | "OOM" => TaskState::Gone(EndReason::OutOfMemory),
        "TIMEOUT" | "TO" | "DEADLINE" | "DL" => TaskState::Gone(EndReason::TimeLimit),
        "NODE_FAIL" | "NF" | "BOOT_FAIL" | "BF" => TaskState::Gone(EndReason::NodeFail),
        "PREEMPTED" | "PR" => TaskState::Gone(EndReason::Preempted),
        "CANCELLED" | "CA" | "REVOKED" | "RV" => TaskState::Gone(EndReason::Cancelled),
        _ => TaskState::Unknown(state.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_state_is_known_and_anything_else_survives() {
        let documented = "BOOT_FAIL CANCELLED COMPLETED CONFIGURING COMPLETING DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY \
                          PENDING PREEMPTED RUNNING RESV_DEL_HOLD REQUEUE_FED REQUEUE_HOLD REQUEUED RESIZING REVOKED \
                          SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED TIMEOUT LAUNCH_FAILED";
        for state in documented.split_whitespace() {
            assert!(!matches!(task_state(state), TaskState::Unknown(_)), "{state}");
        }
        assert_eq!(task_state("CANCELLED by 1000"), TaskState::Gone(EndReason::Cancelled));
        assert_eq!(task_state("CANCELLED+"), TaskState::Gone(EndReason::Cancelled));
        assert_eq!(
            task_state("DREAMING of x"),
            TaskState::Unknown("DREAMING of x".to_owned())
        );
        assert_eq!(task_state(""), TaskState::Unknown(String::new()));
    }

    #[test]
    fn what_a_site_does_is_nobodys_fault() {
        assert_eq!(EndReason::Preempted.cause(), Cause::Interrupted);
        assert_eq!(EndReason::OutOfMemory.cause(), Cause::OutOfMemory);
        assert_eq!(EndReason::Failed.cause(), Cause::WorkerLost);
    }
}
