//! Profiles of clusters: what is read, and what is said of wrong ones.

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
