//! What Slurm's commands print, as values: any text gives some answer, and what is not understood is kept as it is.
//!
//! Refuses to know how the commands are run.

use crate::queue::slurm::state::task_state;
use crate::queue::{Exit, Listing, Site, Task, TaskId, TaskState};

/// A partition, or a part of it whose nodes are in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub name: String,
    /// Whether jobs go there that name none.
    pub is_default: bool,
    /// Whether it takes jobs: `up`.
    pub availability: String,
    /// The longest time of a job, in Slurm's words.
    pub time_limit: String,
    pub nodes: u64,
    /// Their state, in Slurm's word.
    pub state: String,
    /// Cores of a node, `4` or `4+`.
    pub cpus: String,
    /// Memory of a node in MB, `4000` or `4000+`.
    pub memory: String,
    /// Cards and other things; empty: none.
    pub gres: String,
    /// Features; empty: none.
    pub features: String,
}

/// The columns that `squeue -O` is asked for, and their widths in bytes.
const COLUMNS: [(&str, usize); 7] = [
    ("ArrayJobID", 24),
    ("ArrayTaskID", 24),
    ("State", 24),
    ("exit_code", 16),
    ("NodeList", 80),
    ("Comment", 120),
    ("Reason", 120),
];

/// The argument of `squeue -O` whose output [`squeue`] reads.
pub fn squeue_format() -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, width)| format!("{name}:{width}")).collect();
    columns.join(",")
}

/// The argument of `sacct -o` whose output [`sacct`] reads.
pub const SACCT_FORMAT: &str = "JobID,State,ExitCode,NodeList,Comment";

/// The argument of `sinfo -o` whose output [`sinfo`] reads.
pub const SINFO_FORMAT: &str = "%P|%a|%l|%D|%T|%c|%m|%G|%f";

/// Reads what `squeue -h -r -O` printed: columns of fixed widths in bytes, without anything between them.
pub fn squeue(text: &str) -> Listing {
    listing(text, |line| {
        let mut rest = line.as_bytes();
        let mut columns = COLUMNS.iter().map(|&(_, width)| {
            let (column, behind) = rest.split_at(width.min(rest.len()));
            rest = behind;
            given(String::from_utf8_lossy(column).trim())
        });
        let mut next = || columns.next().unwrap_or_default();
        let (job, task, state, exit) = (next(), next(), next(), next());
        let id = TaskId {
            job: job.parse().ok()?,
            task: task.parse().ok(),
        };
        let state = task_state(&state);
        Some(Task {
            id,
            exit: wait_status(&exit).filter(|_| matches!(state, TaskState::Gone(_))),
            state,
            nodes: next(),
            comment: next(),
            reason: next(),
        })
    })
}

/// Reads what `scontrol show job -o` printed.
pub fn show_jobs(text: &str) -> Listing {
    listing(text, |line| {
        let fields = fields(line);
        let get = |key: &str| {
            fields
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.as_str())
        };
        let own: u64 = get("JobId")?.parse().ok()?;
        let job = get("ArrayJobId").and_then(|id| id.parse().ok()).unwrap_or(own);
        let state = task_state(get("JobState").unwrap_or(""));
        Some(Task {
            id: TaskId {
                job,
                // `4-5%4`: tasks that wait together have no index of their own.
                task: get("ArrayTaskId").and_then(|task| task.parse().ok()),
            },
            exit: get("ExitCode")
                .and_then(exit)
                .filter(|_| matches!(state, TaskState::Gone(_))),
            state,
            nodes: given(get("NodeList").unwrap_or("")),
            comment: given(get("Comment").unwrap_or("")),
            reason: given(get("Reason").unwrap_or("")),
        })
    })
}

/// Reads what `sacct -X -n -P -o` printed.
pub fn sacct(text: &str) -> Listing {
    listing(text, |line| {
        let mut columns = line.splitn(5, '|');
        let id = task_id(columns.next()?)?;
        let state = task_state(columns.next()?);
        let exit = columns.next().and_then(exit);
        Some(Task {
            id,
            exit: exit.filter(|_| matches!(state, TaskState::Gone(_))),
            state,
            nodes: given(columns.next().unwrap_or("")),
            comment: given(columns.next().unwrap_or("")),
            reason: String::new(),
        })
    })
}

/// Reads what `scontrol show config` printed; what is not told is as where nothing is configured.
pub fn show_config(text: &str) -> Site {
    let mut site = Site::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim();
        match key.trim() {
            "MaxArraySize" => site.max_array = value.parse().unwrap_or(site.max_array),
            "SLURM_VERSION" => site.version = Some(value.to_owned()),
            "AccountingStorageType" => {
                site.has_accounting = !(value.is_empty() || value == "(null)" || value.ends_with("none"));
            }
            "KillWait" => site.kill_wait = value.split_whitespace().next().and_then(|it| it.parse().ok()),
            _ => {}
        }
    }
    site
}

/// Reads what `sinfo -h -o` printed.
pub fn sinfo(text: &str) -> Vec<Partition> {
    let read = |line: &str| {
        let columns: Vec<&str> = line.splitn(9, '|').map(str::trim).collect();
        let [
            partition,
            availability,
            time_limit,
            nodes,
            state,
            cpus,
            memory,
            gres,
            features,
        ] = columns[..]
        else {
            return None;
        };
        let name = partition.trim_end_matches('*');
        Some(Partition {
            name: name.to_owned(),
            is_default: partition != name,
            availability: availability.to_owned(),
            time_limit: time_limit.to_owned(),
            nodes: nodes.parse().ok()?,
            state: state.to_owned(),
            cpus: cpus.to_owned(),
            memory: memory.to_owned(),
            gres: given(gres),
            features: given(features),
        })
    };
    text.lines().filter_map(read).collect()
}

/// The number of the job that `sbatch --parsable` printed: `12`, `12;cluster`.
///
/// What a site's plugins print before it is passed over.
pub fn submitted(text: &str) -> Option<u64> {
    let mut lines = text.lines().rev().map(str::trim);
    lines.find_map(|line| line.split(';').next()?.trim().parse().ok())
}

/// The task that `12`, `12_3` or `12.batch` names.
pub fn task_id(text: &str) -> Option<TaskId> {
    let text = text.trim().split(['.', '+']).next()?;
    Some(match text.split_once('_') {
        Some((job, task)) => TaskId {
            job: job.parse().ok()?,
            // `[4-5%4]`: tasks that wait together.
            task: task.parse().ok(),
        },
        None => TaskId {
            job: text.parse().ok()?,
            task: None,
        },
    })
}

fn listing(text: &str, read: impl Fn(&str) -> Option<Task>) -> Listing {
    let mut listing = Listing::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match read(line) {
            Some(task) => listing.tasks.push(task),
            None => listing.odd.push(line.to_owned()),
        }
    }
    listing
}

/// A value, empty where Slurm says that there is none.
fn given(text: &str) -> String {
    match text {
        "(null)" | "N/A" | "None" | "none" | "None assigned" | "Unknown" => String::new(),
        _ => text.to_owned(),
    }
}

/// `code:signal`.
fn exit(text: &str) -> Option<Exit> {
    let (code, signal) = text.trim().split_once(':')?;
    Some(Exit {
        code: code.parse().ok()?,
        signal: signal.parse().ok()?,
    })
}

/// `squeue`'s exit code: what `wait` gave, or `code:signal` where a version prints it so.
fn wait_status(text: &str) -> Option<Exit> {
    if text.contains(':') {
        return exit(text);
    }
    let status: i32 = text.parse().ok()?;
    Some(Exit {
        code: (status >> 8) & 0xff,
        signal: status & 0x7f,
    })
}

/// `Key=value` pairs, whose values may hold blanks: a word that begins with a name and `=` begins the next pair.
fn fields(line: &str) -> Vec<(&str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for word in line.split(' ') {
        let is_name = |key: &str| {
            key.starts_with(|c: char| c.is_ascii_uppercase())
                && key
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_/:".contains(&byte))
        };
        match word.split_once('=').filter(|(key, _)| is_name(key)) {
            Some((key, value)) => fields.push((key, value.to_owned())),
            None => {
                if let Some((_, value)) = fields.last_mut().filter(|_| !word.is_empty()) {
                    value.push(' ');
                    value.push_str(word);
                }
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests;
