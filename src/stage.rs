//! The life of a stage: what it is in its tree, which steps are lawful, and what they make of a trial.
//!
//! The state is a fold over events with [`StageState::next`] that refuses unlawful pairs. Refuses to know who
//! launches a stage and where its events are kept.

use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// What a stage is in its tree.
    pub enum StageKind {
        /// Warm-up and stable part, shared by whatever follows it.
        Trunk = "trunk",
        /// The decay at the end of a trunk.
        Decay = "decay",
        /// A run that cannot be shared: its learning rate knows its end from the beginning.
        Whole = "whole",
    }
}

words! {
    /// What has become of a trial.
    pub enum TrialState {
        /// Some of its stages are still to be trained.
        Pending = "pending",
        /// One of its stages is being trained.
        Running = "running",
        /// Trained to its end.
        Complete = "complete",
        /// A loss was not finite: a result, the edge of stability.
        Diverged = "diverged",
        /// Given up after its attempts; the cause is in its attempts.
        Failed = "failed",
        /// Taken out by the user.
        Cancelled = "cancelled",
    }
}

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// Not begun, or to be tried again.
    Pending,
    /// This attempt is on a worker.
    Running {
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Trained to its end; frozen.
    Complete,
    /// A loss was not finite; a result, frozen.
    Diverged,
    /// Complete, but the state at its end is gone: this attempt makes it again.
    Remaking { attempt: u32 },
    /// Its attempts are used up.
    Failed,
}

/// What can happen to a stage, as written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageEvent {
    /// An attempt is handed to a worker.
    Launched {
        /// Which attempt, from 1; larger than any before.
        attempt: u32,
    },
    /// The attempt reached the stage's end.
    Completed { attempt: u32 },
    /// The attempt saw a loss that was not finite.
    Diverged { attempt: u32 },
    /// The attempt ended without a result; it may be tried again.
    Faulted { attempt: u32 },
    /// No further attempt is made by itself.
    GaveUp,
    /// The user asks for another attempt.
    Reopened,
}

/// An event that no stage in this state can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stage that is {state:?} cannot have {event:?}")]
pub struct UnlawfulEvent {
    state: StageState,
    event: StageEvent,
}

impl StageState {
    /// The state after an event: the only place that knows which steps are lawful.
    pub fn next(self, event: StageEvent) -> Result<Self, UnlawfulEvent> {
        match (self, event) {
            (Self::Pending, StageEvent::Launched { attempt }) => Ok(Self::Running { attempt }),
            (Self::Running { attempt }, StageEvent::Completed { attempt: of }) if attempt == of => Ok(Self::Complete),
            (Self::Running { attempt }, StageEvent::Diverged { attempt: of }) if attempt == of => Ok(Self::Diverged),
            (Self::Running { attempt }, StageEvent::Faulted { attempt: of }) if attempt == of => Ok(Self::Pending),
            // What was measured stands; only the state is made again, and it must be the same one.
            (Self::Complete, StageEvent::Launched { attempt }) => Ok(Self::Remaking { attempt }),
            (
                Self::Remaking { attempt },
                StageEvent::Completed { attempt: of } | StageEvent::Faulted { attempt: of },
            ) if attempt == of => Ok(Self::Complete),
            (Self::Pending, StageEvent::GaveUp) => Ok(Self::Failed),
            (Self::Failed, StageEvent::Reopened) => Ok(Self::Pending),
            (state, event) => Err(UnlawfulEvent { state, event }),
        }
    }

    /// The name in the database and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running { .. } => "running",
            Self::Complete | Self::Remaking { .. } => "complete",
            Self::Diverged => "diverged",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = StageEvent> {
        (0u8..6, 1u32..4).prop_map(|(kind, attempt)| match kind {
            0 => StageEvent::Launched { attempt },
            1 => StageEvent::Completed { attempt },
            2 => StageEvent::Diverged { attempt },
            3 => StageEvent::Faulted { attempt },
            4 => StageEvent::GaveUp,
            _ => StageEvent::Reopened,
        })
    }

    proptest! {
        #[test]
        fn results_are_frozen_whatever_comes(events in prop::collection::vec(event(), 0..20)) {
            for result in [StageState::Complete, StageState::Diverged] {
                let last = events.iter().fold(result, |state, event| state.next(*event).unwrap_or(state));
                prop_assert_eq!(last.name(), result.name());
            }
        }
    }

    #[test]
    fn a_worker_that_was_taken_for_dead_cannot_report_any_more() {
        let running = StageState::Running { attempt: 2 };
        assert!(running.next(StageEvent::Completed { attempt: 1 }).is_err());
        assert_eq!(
            running.next(StageEvent::Completed { attempt: 2 }),
            Ok(StageState::Complete)
        );
    }
}
