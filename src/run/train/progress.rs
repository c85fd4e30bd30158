//! What a run tells while it trains, and why it stopped before all was done.
//!
//! Refuses to know how it is displayed.

use serde::{Serialize, Serializer};

use crate::plan::StagePlan;
use crate::protocol::Point;
use crate::run::failure::exit;
use crate::run::planning::Planned;
use crate::sched::Outcome;

/// Something that a display may want to show.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The plan is made: this much is to be trained.
    Planned {
        planned: &'a Planned,
        /// The stages that this call trains.
        stages: &'a [StagePlan],
    },
    /// A stage is on a worker.
    Launched(&'a StagePlan),
    /// Training steps were made; the newest.
    Point(&'a StagePlan, &'a Point),
    Ended(&'a StagePlan, Outcome, Option<&'a str>),
    /// A signal, or a limit: what runs is being stopped.
    Stopping(&'a str),
    /// What is to be known of the workers.
    Word(&'a str),
}

/// What a call trained.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Trained {
    /// Stages that reached an end.
    pub stages: u64,
    pub tokens: u64,
    pub flops: f64,
}

/// Why a run stopped before all was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM. It has the word of SIGINT; the exit code tells the two apart.
    Terminate,
    /// The sweep's budget of hours or FLOPs is used up.
    Budget,
    /// The sweep's `run_cap`: as many trials as one call may train.
    RunCap,
    /// A stage failed, and `--fail-fast` was asked for.
    FailFast,
    /// The disk is full.
    Disk,
}

impl StoppedBy {
    /// Its word in JSON and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt | Self::Terminate => "signal",
            Self::Budget => "budget",
            Self::RunCap => "run_cap",
            Self::FailFast => "fail_fast",
            Self::Disk => "disk",
        }
    }

    /// The exit code of a run that it stopped.
    pub fn exit(self) -> u8 {
        match self {
            Self::Interrupt => exit::SIGINT,
            Self::Terminate => exit::SIGTERM,
            Self::Budget | Self::RunCap => exit::LIMIT,
            Self::FailFast => exit::SOME_FAILED,
            Self::Disk => exit::ENVIRONMENT,
        }
    }
}

impl Serialize for StoppedBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_and_exit_codes_of_a_stop_are_those_of_the_contract() {
        let contract = [
            (StoppedBy::Interrupt, "signal", 130),
            (StoppedBy::Terminate, "signal", 143),
            (StoppedBy::Budget, "budget", 7),
            (StoppedBy::RunCap, "run_cap", 7),
            (StoppedBy::FailFast, "fail_fast", 3),
            (StoppedBy::Disk, "disk", 6),
        ];
        for (why, word, code) in contract {
            assert_eq!(serde_json::to_value(why).expect("JSON"), word);
            assert_eq!((why.name(), why.exit()), (word, code));
        }
    }
}
