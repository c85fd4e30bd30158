//! The profile of a cluster: what a worker asks Slurm for, read from YAML with every mistake at its line.
//!
//! Refuses to know how a script is made of it, and what the cluster can give.

use std::time::Duration;

use crate::spec::mistake::{Findings, Mistake, Place, Wrong, closest};
use crate::spec::tree::{Data, Entry, Node, parse, quoted};

/// What a worker asks Slurm for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Partition; none: the site's default.
    pub partition: Option<String>,
    /// Account that is charged.
    pub account: Option<String>,
    /// Quality of service.
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
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let mistakes = read(text, "gpu.yaml").expect_err(text);
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_whole_profile_is_read() {
        let text = "
partition: gpu
account: lab-7
qos: long
time: 1-12:00:00
gpus: a100:1
cpus: 8
memory: 32 GiB
constraint: a100&nvlink
sbatch: [--reservation=night, --exclusive]
setup: |
  module load cuda/12
  export X='a b'
max_workers: 1_000
idle: 90s
";
        let profile = read(text, "gpu.yaml").expect("a profile");
        assert_eq!(profile.time, Some(Duration::from_hours(36)));
        assert_eq!(profile.memory.as_deref(), Some("32G"));
        assert_eq!(profile.setup, ["module load cuda/12\nexport X='a b'"]);
        assert_eq!((profile.max_workers, profile.idle), (1000, Duration::from_secs(90)));
        assert_eq!(profile.sbatch, ["--reservation=night", "--exclusive"]);
    }

    #[test]
    fn nothing_asked_for_is_a_profile() {
        for text in ["", "# only a comment\n", "{}", "~", "time: ~\npartition:\n"] {
            assert_eq!(read(text, "f").expect(text), Profile::default(), "{text:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_what_was_meant() {
        let told = mistakes("partition: gpu\npartitoin: cpu\nmem: 3G\n");
        assert_eq!(told.len(), 2);
        assert!(
            told[0].starts_with("gpu.yaml:2:1: partitoin:") && told[0].ends_with("try: partition"),
            "{told:?}"
        );
        assert!(
            told[1].starts_with("gpu.yaml:3:1: mem:") && told[1].ends_with("try: memory"),
            "{told:?}"
        );
    }

    #[test]
    fn every_mistake_is_told() {
        let told = mistakes(
            "cpus: 0\nmemory: 4000\ntime: soon\nidle: 5\ngpus: a b:1\nsbatch: [--array=0-3, -o x, night]\naccount: a b\n",
        );
        assert_eq!(told.len(), 9, "{told:#?}");
        assert!(told[5].contains("set by the pool itself"), "{told:#?}");
        assert_eq!(mistakes("- 1\n").len(), 1);
        assert_eq!(mistakes("partition: gpu\npartition: cpu\n").len(), 1);
    }

    #[test]
    fn a_time_too_short_for_a_hand_back_is_refused() {
        assert!(mistakes("time: 5\n")[0].contains("3 minutes"));
        assert!(read("time: 10\n", "f").is_ok());
    }

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        for (text, seconds) in [
            ("90", 5400),
            ("90:30", 5430),
            ("1:30:00", 5400),
            ("2-0", 172_800),
            ("2-1:30", 178_200),
            ("0-0:0:5", 5),
            ("4h", 14_400),
        ] {
            assert_eq!(time(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "0",
            "-1",
            "1-",
            "a:b",
            "1:2:3:4",
            "99999999999999999999",
            "99999999999999999-0",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
