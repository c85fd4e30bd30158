//! The profile of a cluster: what a worker asks Slurm for, read from YAML with every mistake at its line.
//!
//! Refuses to know how a script is made of it, and what the cluster can give.

use std::time::Duration;

use crate::spec::syntax::mistakes::{Findings, Mistake, Place, Wrong, closest};
use crate::spec::syntax::tree::{Data, Entry, Node, parse, quoted};

/// What a worker asks Slurm for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Partition; none: the site's default.
    pub partition: Option<String>,
    /// Account that is charged.
    pub account: Option<String>,
    pub qos: Option<String>,
    /// How long one worker may run, in whole minutes' resolution of Slurm; none: the partition's default.
    pub time: Option<Duration>,
    /// Cards of a worker, as `--gres=gpu:…` takes them: `1`, `a100:1`.
    pub gpus: Option<String>,
    /// Cores of a worker.
    pub cpus: Option<u64>,
    /// Memory of a worker, as `--mem` takes it: `16G`.
    pub memory: Option<String>,
    /// Features that a node must have.
    pub constraint: Option<String>,
    /// Further arguments of `sbatch`, as they are.
    pub sbatch: Vec<String>,
    /// Lines of shell before the worker begins: modules, environment.
    pub setup: Vec<String>,
    /// Workers at once, at most.
    pub max_workers: u64,
    /// How long a worker waits for another stage before it leaves.
    pub idle: Duration,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            qos: None,
            time: None,
            gpus: None,
            cpus: None,
            memory: None,
            constraint: None,
            sbatch: Vec::new(),
            setup: Vec::new(),
            max_workers: 4,
            idle: Duration::from_mins(5),
        }
    }
}

/// The shortest time that makes sense.
const SHORTEST: Duration = Duration::from_mins(10);

/// Keys of a profile.
const KEYS: &[&str] = &[
    "partition",
    "account",
    "qos",
    "time",
    "gpus",
    "cpus",
    "memory",
    "constraint",
    "sbatch",
    "setup",
    "max_workers",
    "idle",
];

/// What other tools call the same, so that a wrong key gets the right answer.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("mem", "memory"),
    ("time_limit", "time"),
    ("timeout", "time"),
    ("walltime", "time"),
    ("gres", "gpus"),
    ("cpus_per_task", "cpus"),
    ("queue", "partition"),
    ("workers", "max_workers"),
    ("nodes", "max_workers"),
    ("modules", "setup"),
    ("idle_time", "idle"),
    ("extra", "sbatch"),
    ("feature", "constraint"),
];

/// Arguments of `sbatch` that the pool gives itself.
const OURS: &[&str] = &[
    "array",
    "a",
    "comment",
    "requeue",
    "no-requeue",
    "signal",
    "open-mode",
    "output",
    "o",
    "error",
    "e",
    "chdir",
    "D",
    "parsable",
    "wrap",
    "wait",
    "W",
    "job-name",
    "J",
    "export",
    "test-only",
    "clusters",
    "M",
    "ntasks",
    "n",
    "nodes",
    "N",
];

/// Reads a profile; `file` is how the caller names it.
pub fn read(text: &str, file: &str) -> Result<Profile, Vec<Mistake>> {
    let mut findings = Findings::new(file, &[]);
    let profile = match parse(text, None, &mut findings) {
        Some(node) => draft(&node, &mut findings),
        // An empty file asks for nothing in particular.
        None => Some(Profile::default()),
    };
    findings.conclude(profile).map(|(profile, _)| profile)
}

fn draft(root: &Node, findings: &mut Findings) -> Option<Profile> {
    if root.is_null() {
        return Some(Profile::default());
    }
    let Data::Map(entries) = &root.data else {
        let wrong = Wrong::new(format!("expected a mapping of keys, found {}", root.found()));
        findings.mistake(root.place, "", wrong.with("partition: gpu"));
        return None;
    };
    let mut profile = Profile::default();
    for entry in entries {
        read_entry(entry, &mut profile, findings);
    }
    Some(profile)
}

fn read_entry(entry: &Entry, profile: &mut Profile, findings: &mut Findings) {
    let node = &entry.value;
    if node.is_null() && KEYS.contains(&entry.key.as_str()) {
        return;
    }
    let key = entry.key.as_str();
    match key {
        "partition" => profile.partition = read_word(node, key, findings),
        "account" => profile.account = read_word(node, key, findings),
        "qos" => profile.qos = read_word(node, key, findings),
        "constraint" => profile.constraint = read_word(node, key, findings),
        "time" => profile.time = read_time(node, findings),
        "gpus" => profile.gpus = read_with(node, key, findings, gpus, "a number of cards, or type:number", "a100:1"),
        "memory" => profile.memory = read_with(node, key, findings, memory, "an amount of memory", "16G"),
        "cpus" => profile.cpus = read_with(node, key, findings, count, "a whole number from 1", "4"),
        "max_workers" => {
            let read = read_with(node, key, findings, count, "a whole number from 1", "16");
            profile.max_workers = read.unwrap_or(profile.max_workers);
        }
        "idle" => {
            let read = read_with(node, key, findings, duration, "a duration in s, m or h", "5m");
            profile.idle = read.unwrap_or(profile.idle);
        }
        "sbatch" => profile.sbatch = read_arguments(node, findings),
        "setup" => profile.setup = read_setup(node, findings),
        _ => unknown_key(entry, findings),
    }
}

fn unknown_key(entry: &Entry, findings: &mut Findings) {
    let lower = entry.key.to_lowercase().replace('-', "_");
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == lower);
    let near = other
        .map(|(_, key)| *key)
        .or_else(|| closest(&lower, KEYS.iter().copied()));
    let message = format!("there is no {}; there is {}", quoted(&entry.key), KEYS.join(", "));
    findings.mistake(entry.place, &entry.key, Wrong::new(message).maybe(near));
}

/// A value that `read` understands.
fn read_with<T>(
    node: &Node,
    key: &str,
    findings: &mut Findings,
    read: fn(&str) -> Option<T>,
    expected: &str,
    example: &str,
) -> Option<T> {
    let value = node.text().and_then(|text| read(text.trim()));
    if value.is_none() {
        let wrong = Wrong::new(format!("expected {expected}, found {}", node.found()));
        findings.mistake(node.place, key, wrong.with(example));
    }
    value
}

/// A time with room for more than the hand-back at its end.
fn read_time(node: &Node, findings: &mut Findings) -> Option<Duration> {
    let read = read_with(node, "time", findings, time, "a time as Slurm writes it", "4:00:00")?;
    if read < SHORTEST {
        let message = "a worker hands its stage back up to 3 minutes before its time is up: give it 10 or more";
        findings.mistake(node.place, "time", Wrong::new(message).with("1:00:00"));
        return None;
    }
    Some(read)
}

/// A name that goes into an argument as it is.
fn read_word(node: &Node, key: &str, findings: &mut Findings) -> Option<String> {
    let is_name = |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let value = node.text().filter(|text| is_name(text)).map(str::to_owned);
    if value.is_none() {
        let wrong = Wrong::new(format!("expected a name without blanks, found {}", node.found()));
        findings.mistake(node.place, key, wrong);
    }
    value
}

/// The lines of a list, or of one text.
fn read_lines(node: &Node, key: &str, findings: &mut Findings) -> Vec<(Place, String)> {
    match &node.data {
        Data::List(items) => items.iter().flat_map(|item| read_lines(item, key, findings)).collect(),
        Data::Scalar { text, .. } if text.contains('\0') => {
            findings.mistake(node.place, key, Wrong::new("a text with a zero byte"));
            Vec::new()
        }
        Data::Scalar { text, .. } => vec![(node.place, text.clone())],
        Data::Map(_) => {
            let wrong = Wrong::new(format!("expected a list of texts, found {}", node.found()));
            findings.mistake(node.place, key, wrong.with("[\"…\"]"));
            Vec::new()
        }
    }
}

fn read_setup(node: &Node, findings: &mut Findings) -> Vec<String> {
    let lines = read_lines(node, "setup", findings).into_iter();
    lines.map(|(_, text)| text.trim_end().to_owned()).collect()
}

fn read_arguments(node: &Node, findings: &mut Findings) -> Vec<String> {
    let mut arguments = Vec::new();
    for (place, text) in read_lines(node, "sbatch", findings) {
        let long = text
            .strip_prefix("--")
            .map(|rest| rest.split('=').next().unwrap_or(rest));
        let short = text
            .strip_prefix('-')
            .and_then(|rest| rest.get(..1))
            .filter(|_| long.is_none());
        match long.or(short) {
            Some(name) if OURS.contains(&name) => {
                let wrong = Wrong::new(format!("{} is set by the pool itself", quoted(&text)));
                findings.mistake(place, "sbatch", wrong.with("leave it out"));
            }
            Some(_) => arguments.push(text),
            None => {
                let wrong = Wrong::new(format!("expected an option with its value, found {}", quoted(&text)));
                findings.mistake(
                    place,
                    "sbatch",
                    wrong.with("[\"--reservation=night\", \"--exclusive\"]"),
                );
            }
        }
    }
    arguments
}

fn count(text: &str) -> Option<u64> {
    text.replace('_', "").parse().ok().filter(|&count| count > 0)
}

/// `2`, `a100:2`.
fn gpus(text: &str) -> Option<String> {
    let is_type = |kind: &str| !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let (kind, number) = text
        .rsplit_once(':')
        .map_or((None, text), |(kind, number)| (Some(kind), number));
    let number: u64 = number.parse().ok()?;
    (number > 0 && kind.is_none_or(is_type)).then(|| text.to_owned())
}

/// `16G`, `16000M`, `16GB`; Slurm takes megabytes where no unit stands, which nobody expects.
fn memory(text: &str) -> Option<String> {
    let upper = text.to_uppercase();
    let unit = upper
        .strip_suffix("IB")
        .or_else(|| upper.strip_suffix('B'))
        .unwrap_or(&upper);
    let number = unit.strip_suffix(['K', 'M', 'G', 'T'])?.trim_end();
    let is_amount = number.parse::<u64>().is_ok_and(|number| number > 0);
    is_amount.then(|| format!("{number}{}", &unit[unit.len() - 1..]))
}

/// `90s`, `5m`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let (number, factor) = match text.chars().last()? {
        's' => (&text[..text.len() - 1], 1),
        'm' => (&text[..text.len() - 1], 60),
        'h' => (&text[..text.len() - 1], 3600),
        _ => return None,
    };
    let seconds = number.trim().parse::<u64>().ok()?.checked_mul(factor)?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// A time as Slurm writes it: `minutes`, `m:s`, `h:m:s`, `d-h`, `d-h:m`, `d-h:m:s`; or `4h`, `90m`.
pub(crate) fn time(text: &str) -> Option<Duration> {
    if let Some(duration) = duration(text) {
        return Some(duration);
    }
    let part = |text: &str| text.parse::<u64>().ok();
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(part(days)?), rest),
        None => (None, text),
    };
    let parts: Vec<u64> = rest.split(':').map(part).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match (days, parts.as_slice()) {
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let total = days
        .unwrap_or(0)
        .checked_mul(86_400)?
        .checked_add(hours.checked_mul(3600)?)?
        .checked_add(minutes.checked_mul(60)?)?
        .checked_add(seconds)?;
    (total > 0).then(|| Duration::from_secs(total))
}

#[cfg(test)]
mod tests;
