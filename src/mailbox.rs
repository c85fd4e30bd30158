//! The mailbox between an orchestrator and the workers of a pool: names of files and what stands in them.
//!
//! Refuses to know who writes and reads them when. A worker's folder is its own but for what the orchestrator puts into
//! it: orders into the inbox, requests to stop, and the inbox's end.
//!
//! ```text
//! pools/<generation>/            one pool; `revoked` there ends all its workers
//!   pool.json  owner.json        what the pool is, and whose
//!   submissions/<n>.json, .job   what was to be submitted, and the job that came of it
//!   scripts/<n>.sh  out/<n>_<task>.out
//!   workers/<key>/               one process
//!     hello.json  heartbeat  bye.json    of the worker
//!     number  stop-<order>               of the orchestrator
//!     inbox/<order>.json         put there by the orchestrator
//!     taken/<order>.json         renamed by the worker: it has begun with it
//!     closed/                    the inbox, renamed by whichever side ends the worker: nothing arrives any more
//! ```

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::protocol::Process;
use crate::units::StageId;

/// Version of this language; a worker of another is not given work.
pub const FORMAT: u32 = 1;
/// Folder of the workers in that of the pool.
pub const WORKERS: &str = "workers";
/// Folder of what is submitted.
pub const SUBMISSIONS: &str = "submissions";
pub const SCRIPTS: &str = "scripts";
/// Folder of what jobs print.
pub const OUT: &str = "out";
/// What the pool is.
pub const POOL_FILE: &str = "pool.json";
/// The orchestrator that the pool belongs to.
pub const OWNER_FILE: &str = "owner.json";
/// The end of a whole pool.
pub const REVOKED: &str = "revoked";
/// Beside it: its jobs were cancelled, too.
pub const SETTLED: &str = "settled";
/// Who a worker is.
pub const HELLO_FILE: &str = "hello.json";
/// The sign of life.
pub const BEAT_FILE: &str = "heartbeat";
/// Why a worker has left.
pub const BYE_FILE: &str = "bye.json";
/// The number that the orchestrator has given to a worker.
pub const NUMBER_FILE: &str = "number";
pub const INBOX: &str = "inbox";
/// Orders that were begun.
pub const TAKEN: &str = "taken";
/// The inbox after its end.
pub const CLOSED: &str = "closed";

/// Who a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Must be [`FORMAT`].
    #[serde(rename = "post")]
    pub format: u32,
    /// Version of the worker's program.
    pub version: String,
    pub process: Process,
    /// Name of its machine.
    pub host: String,
    /// Its node, by Slurm's name.
    pub node: Option<String>,
    /// Number of its job, or of the array that it is a task of.
    pub job: Option<u64>,
    /// Its index in the array.
    pub task: Option<u64>,
    /// Number of the submission that it belongs to.
    pub submission: u64,
    /// Milliseconds between two signs of life.
    pub beat_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub process: Process,
    /// Name of its machine.
    pub host: String,
}

/// A job that a worker is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number among the worker's orders, from 1.
    pub number: u64,
    pub stage: StageId,
    pub attempt: u32,
    /// The job's file, absolute.
    pub job: PathBuf,
}

/// A sign of life. Clocks of two machines are never compared: what counts is that it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// How many there were.
    pub beat: u64,
    /// Number of the order taken last; 0: none.
    pub taken: u64,
}

/// A worker's last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// Why it has left.
    pub why: Leaving,
}

/// Why a worker leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// Nobody had work for it.
    Idle,
    /// The time of its job is up, or too short for another stage.
    TimeIsUp,
    /// It was told to by a signal.
    Terminated,
    /// Its orchestrator has no use for it any more.
    Revoked,
    /// It cannot go on: nothing can be written, or a job could not be read.
    Failed,
}

impl Leaving {
    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Idle => "nobody had work for it",
            Self::TimeIsUp => "the time of its job was up",
            Self::Terminated => "it was told to end",
            Self::Revoked => "it was revoked",
            Self::Failed => "it could not go on",
        }
    }
}

/// Name of the file of an order.
pub fn order_file(number: u64) -> String {
    format!("{number:06}.json")
}

/// Number of the order in a file of this name; none: it holds no order (yet).
pub fn order_number(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok()
}

/// Name of the file that asks a worker to stop with an order.
pub fn stop_file(number: u64) -> String {
    format!("stop-{number:06}")
}

/// Name of a worker's folder; `again` tells processes of one task apart.
pub fn worker_key(submission: u64, job: Option<u64>, task: Option<u64>, again: u32) -> String {
    let part = |number: Option<u64>| number.map_or("x".to_owned(), |number| number.to_string());
    let again = if again == 0 { String::new() } else { format!("-{again}") };
    format!("{submission}-{}-{}{again}", part(job), part(task))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_found_again_and_half_written_ones_are_none() {
        for number in [1, 999_999, 1_000_000, u64::MAX] {
            assert_eq!(order_number(&order_file(number)), Some(number));
        }
        for name in ["", ".json", "000001.json.77.tmp", "x.json", "-1.json", ".nfs0001"] {
            assert_eq!(order_number(name), None, "{name}");
        }
    }
}
