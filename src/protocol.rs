//! What a worker is told (a job) and what it says (lines): the only language between the two programs.
//!
//! Refuses to know how jobs and lines travel. A job is a JSON file in the folder of its attempt; lines are JSON, one
//! an event, appended to `lines.jsonl` there.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::config::RunConfig;
use crate::units::{StageId, Steps};
use crate::words::words;

/// Version of this language; both programs refuse another.
pub const PROTOCOL: u32 = 3;
/// Name of the job file in the folder of an attempt.
pub const JOB_FILE: &str = "job.json";
/// Name of the file of lines in the folder of an attempt.
pub const LINES_FILE: &str = "lines.jsonl";
/// Name of the checkpoint in the folder of an attempt.
pub const CHECKPOINT_FILE: &str = "state.safetensors";

words! {
    /// Who answers a job.
    pub enum Trainer {
        /// A real proxy, trained.
        Proxy = "proxy",
        /// A planted law, for tests of everything around it.
        Toy = "toy",
        Imported = "imported",
    }
}

/// A checkpoint that a stage starts from or leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub path: PathBuf,
    /// blake3 of the file.
    pub hash: String,
    /// Size of the file; 0: the first schema did not tell.
    #[serde(default)]
    pub bytes: u64,
}

/// A state inside a stage, left behind so that another attempt need not begin anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Steps done, from the beginning of the run.
    pub step: Steps,
    pub checkpoint: Checkpoint,
}

/// How often a worker leaves a state behind inside a stage. Never changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// After so many seconds, less often where a state takes long to write.
    Seconds(f64),
    /// After so many steps.
    Steps(u64),
}

/// Name of the file of a state inside a stage.
pub fn resume_file(step: Steps) -> String {
    format!("state-{}.safetensors", step.0)
}

/// One stage to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Must be [`PROTOCOL`].
    pub protocol: u32,
    /// Version of the program that wrote the job; the worker refuses another.
    pub version: String,
    pub stage: StageId,
    /// Which attempt at the stage this is, from 1.
    pub attempt: u32,
    pub config: RunConfig,
    /// Steps done before the stage.
    pub from: Steps,
    /// Steps done after it.
    pub to: Steps,
    /// The state to start from; none: the initial weights.
    pub parent: Option<Checkpoint>,
    /// States that earlier attempts left behind, the newest first; the first whole one is started from.
    pub resume: Vec<Resume>,
    /// How often to leave such a state behind.
    pub checkpoint_every: Interval,
    /// Whether a later stage starts from this one's end, so that a checkpoint must be left behind.
    pub keep_state: bool,
    /// Folder of the prepared data.
    pub data: PathBuf,
    /// Windows of each held-out set that are evaluated at the end, the first so many.
    pub eval_windows: u64,
    /// Device by libtorch's name: `cpu`, `cuda:0`.
    pub device: String,
}

/// The split of a point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Split(pub String);

impl Split {
    pub fn train() -> Self {
        Self("train".to_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps done, from the beginning of the run.
    pub step: u64,
    /// What the loss was measured on.
    pub split: Split,
    /// Nats per token.
    pub loss: f64,
    /// Learning rate of the embedding's group in this step; none for evaluations.
    pub lr: Option<f64>,
    /// Global norm of the gradient before clipping; none for evaluations.
    pub grad_norm: Option<f64>,
    /// Bits per byte of text; none for training.
    pub bits_per_byte: Option<f64>,
}

words! {
    /// Why an attempt ended without a result.
    pub enum Cause {
        /// The worker went away without a word.
        WorkerLost = "worker_lost",
        /// The machine or the card had no memory left.
        OutOfMemory = "out_of_memory",
        /// No room on the disk.
        DiskFull = "disk_full",
        /// The state to start from is not what it was.
        DamagedCheckpoint = "damaged_checkpoint",
        /// The worker said nothing for too long.
        TimedOut = "timed_out",
        /// The prepared data is missing or damaged.
        Data = "data",
        /// The worker could not do what the job asks: another version, no such device.
        Refused = "refused",
        /// It was asked to stop; nobody's fault.
        Interrupted = "interrupted",
        /// Anything else, as the worker put it.
        Other = "other",
    }
}

/// A process that cannot be mistaken for another: numbers are used again, these three together are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot; none where the system does not tell.
    pub started: Option<u64>,
    /// The boot that it belongs to; none where the system does not tell.
    pub boot: Option<String>,
}

impl Process {
    /// A process as Linux tells of it in `/proc`, which `read` reads.
    pub fn of(pid: u32, read: &dyn Fn(&str) -> Option<String>) -> Self {
        let boot = read("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned());
        // The name in brackets may hold blanks; behind it stands the state, and 19 fields on the start (proc(5)).
        let started = read(&format!("/proc/{pid}/stat")).and_then(|stat| {
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            // One that is dead and only waits to be counted does nothing any more.
            let is_alive = !matches!(fields.next()?, "Z" | "X");
            fields.nth(18).filter(|_| is_alive)?.parse().ok()
        });
        Self { pid, started, boot }
    }
}

/// The exit code of a worker that could not even write its last line, so that its end still has a cause.
pub fn exit_code(cause: Cause) -> u8 {
    match cause {
        Cause::DiskFull => EXIT_DISK_FULL,
        Cause::Refused => EXIT_REFUSED,
        _ => 1,
    }
}

/// What was asked of it cannot be: the exit code of usage, here and in the main program.
const EXIT_REFUSED: u8 = 2;

/// `ENOSPC`, as a program's exit code.
const EXIT_DISK_FULL: u8 = 28;

/// The cause that a worker's exit code tells; none: it tells nothing.
pub fn cause_of_exit(code: i32) -> Option<Cause> {
    (code == i32::from(EXIT_DISK_FULL)).then_some(Cause::DiskFull)
}

/// Where the time of a job went, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Opening the data and the state to start from.
    pub load: f64,
    pub data: f64,
    /// Forward, backward and update.
    pub step: f64,
    /// Writing states, those inside the stage too.
    pub checkpoint: f64,
    pub evaluation: f64,
    pub lines: f64,
}

/// What a worker says, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The stage begins, or goes on where an earlier attempt stopped.
    Started {
        /// Steps done before this attempt's first.
        from: Steps,
        /// States of [`Job::resume`] that could not be used, and why.
        unusable: Vec<String>,
        /// Process of the worker.
        process: Process,
        /// Name of the machine.
        host: String,
        /// Device as libtorch names it, with the model of the card or processor.
        device: String,
        /// Version of libtorch; none for the toy trainer.
        libtorch: Option<String>,
    },
    Point(Point),
    /// A state was left behind; every point up to its step has been said.
    Left {
        /// Where, and the state.
        #[serde(flatten)]
        resume: Resume,
        /// Seconds of training in this attempt so far.
        seconds: f64,
    },
    /// A loss was not finite: a result, and the end of the line.
    Diverged {
        /// Steps done when it was seen.
        step: u64,
    },
    /// The stage is complete.
    Finished {
        /// The state at its end, where one was asked for.
        checkpoint: Option<Checkpoint>,
        /// Seconds of training, without loading and evaluation.
        seconds: f64,
        /// Peak memory of the worker in bytes, where the system tells.
        peak_bytes: Option<u64>,
        /// Where the time went; none: the worker does not tell.
        spent: Option<Spent>,
    },
    /// The attempt ended without a result.
    Failed {
        cause: Cause,
        message: String,
    },
    /// The worker was asked to stop and did.
    Stopped {
        /// Seconds of training in this attempt.
        seconds: f64,
    },
}

impl Line {
    pub fn is_last(&self) -> bool {
        match self {
            Self::Started { .. } | Self::Point(_) | Self::Left { .. } => false,
            Self::Diverged { .. } | Self::Finished { .. } | Self::Failed { .. } | Self::Stopped { .. } => true,
        }
    }
}

/// A line that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("line {number} of the worker cannot be read: {source}")]
pub struct LineError {
    number: usize,
    source: serde_json::Error,
}

/// A line as it stands in the file: every one names its attempt, so that nothing of another can pass for it.
#[derive(Serialize, Deserialize)]
struct Attributed<L> {
    attempt: u32,
    said: L,
}

/// Appends a line of an attempt to `text`.
pub fn write_line(text: &mut Vec<u8>, attempt: u32, line: &Line) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *text, &Attributed { attempt, said: line })?;
    text.push(b'\n');
    Ok(())
}

/// Reads the complete lines of `text`, and says how many bytes they take; a torn last line is left for later.
///
/// What another attempt has written there is passed over: its worker was taken for dead, and has no say any more.
pub fn read_lines(text: &str, attempt: u32) -> Result<(Vec<Line>, usize), LineError> {
    let complete = text.rfind('\n').map_or(0, |end| end + 1);
    let mut lines = Vec::new();
    for (index, line) in text[..complete].lines().enumerate() {
        let attributed: Attributed<Line> = serde_json::from_str(line).map_err(|source| LineError {
            number: index + 1,
            source,
        })?;
        if attributed.attempt == attempt {
            lines.push(attributed.said);
        }
    }
    Ok((lines, complete))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cut_anywhere_gives_a_prefix_of_its_lines() {
        let point = Point {
            step: 3,
            split: Split::train(),
            loss: 2.5,
            lr: Some(0.01),
            grad_norm: Some(1.5),
            bits_per_byte: None,
        };
        let lines = [
            Line::Point(point),
            Line::Diverged { step: 4 },
            Line::Failed {
                cause: Cause::OutOfMemory,
                message: "é".to_owned(),
            },
            Line::Stopped { seconds: 0.5 },
        ];
        let text = text_of(&lines, 2);
        for cut in 0..=text.len() {
            if let Some(part) = text.get(..cut) {
                let (read, used) = read_lines(part, 2).expect("whole lines can be read");
                assert_eq!(read[..], lines[..read.len()]);
                assert!(used <= cut && (cut < text.len() || read.len() == lines.len()));
            }
        }
    }
    #[test]
    fn what_another_attempt_writes_is_passed_over() {
        let text = text_of(&[Line::Stopped { seconds: 1.0 }], 1) + &text_of(&[Line::Diverged { step: 9 }], 2);
        let (read, used) = read_lines(&text, 2).expect("lines");
        assert_eq!((read, used), (vec![Line::Diverged { step: 9 }], text.len()));
    }

    fn text_of(lines: &[Line], attempt: u32) -> String {
        let mut text = Vec::new();
        for line in lines {
            write_line(&mut text, attempt, line).expect("a line is JSON");
        }
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}
