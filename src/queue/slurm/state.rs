//! What Slurm's names of states mean for a worker.
//!
//! Refuses to know where the names come from.

use crate::queue::{EndReason, TaskState};

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
}
