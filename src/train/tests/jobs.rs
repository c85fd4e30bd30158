//! Whole jobs, from a file to the last line, on a small data set that is prepared here.

use std::path::{Path, PathBuf};

use sandbox::data::manifest::{FORMAT, Manifest, Split};
use sandbox::data::shards::{ShardWriter, Width};
use sandbox::model::config::{Precision, RunConfig};
use sandbox::protocol::{
    CHECKPOINT_FILE, Cause, Checkpoint, Interval, JOB_FILE, Job, LINES_FILE, Line, PROTOCOL, Point, Resume, read_lines,
};
use sandbox::units::{StageId, Steps};

use super::config;
use crate::job::{Shelf, VERSION};

/// A folder with prepared data, and the jobs' folders.
struct Bench {
    folder: tempfile::TempDir,
    hash: String,
}

impl Bench {
    /// Training tokens count up from 0, again and again: a proxy can learn that in a few steps.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs_err::create_dir(&data).expect("a folder");
        let split = |name: &str, tokens: u32, text_bytes: Option<u64>| {
            let mut writer = ShardWriter::new(&data, name, Width::Two, 1000);
            let tokens: Vec<u32> = (0..tokens).map(|token| token % 64).collect();
            writer.write(&tokens).expect("writes");
            Split {
                name: name.to_owned(),
                documents: 1,
                tokens: tokens.len() as u64,
                text_bytes,
                shards: writer.finish().expect("finishes"),
            }
        };
        let splits = vec![
            split("train", 3000, Some(6000)),
            split("held_out", 400, Some(800)),
            split("numbers", 100, None),
            split("short", 16, None),
        ];
        let mut manifest = Manifest {
            format: FORMAT,
            name: "counting".to_owned(),
            hash: String::new(),
            inputs_hash: String::new(),
            sources: Vec::new(),
            tokenizer: "synthetic".to_owned(),
            tokenizer_hash: None,
            vocab: 64,
            end_of_document: None,
            token_bytes: 2,
            documents: 4,
            duplicates_dropped: 0,
            entropy_rate_nats: None,
            splits,
        };
        manifest.hash = manifest.tokens_hash();
        manifest.write(&data).expect("writes");
        Self {
            hash: manifest.hash,
            folder,
        }
    }

    fn config(&self) -> RunConfig {
        RunConfig {
            data_hash: self.hash.clone(),
            ..config(32, 2, 2)
        }
    }

    fn job(&self, config: RunConfig, from: u64, to: u64, parent: Option<Checkpoint>) -> Job {
        Job {
            protocol: PROTOCOL,
            version: VERSION.to_owned(),
            stage: StageId("stage".to_owned()),
            attempt: 1,
            config,
            from: Steps(from),
            to: Steps(to),
            parent,
            resume: Vec::new(),
            checkpoint_every: Interval::Seconds(60.0),
            keep_state: true,
            data: self.folder.path().join("data"),
            eval_windows: 10,
            device: "cpu".to_owned(),
        }
    }

    /// Does a job in a new folder of that name; stops it when `stopped` says so.
    fn run(&self, name: &str, job: &Job, stopped: &dyn Fn() -> bool) -> (PathBuf, Vec<Line>) {
        let folder = self.folder.path().join(name);
        fs_err::create_dir(&folder).expect("a folder");
        let file = folder.join(JOB_FILE);
        fs_err::write(&file, serde_json::to_string(job).expect("JSON")).expect("writes");
        crate::do_job(&file, &mut Shelf::default(), false, stopped).expect("the last line is written");
        let lines = lines(&folder, job.attempt);
        (folder, lines)
    }
}

fn lines(folder: &Path, attempt: u32) -> Vec<Line> {
    let text = fs_err::read_to_string(folder.join(LINES_FILE)).expect("lines");
    let (lines, used) = read_lines(&text, attempt).expect("JSON lines");
    assert_eq!(used, text.len(), "whole lines only");
    let (last, before) = lines.split_last().expect("a last line");
    assert!(last.is_last() && before.iter().all(|line| !line.is_last()));
    lines
}

fn points(lines: &[Line]) -> Vec<Point> {
    let point = |line: &Line| match line {
        Line::Point(point) => Some(point.clone()),
        Line::Started { .. }
        | Line::Left { .. }
        | Line::Diverged { .. }
        | Line::Finished { .. }
        | Line::Failed { .. }
        | Line::Stopped { .. } => None,
    };
    lines.iter().filter_map(point).collect()
}

fn never() -> bool {
    false
}

#[test]
fn a_job_records_every_step_then_each_held_out_set_then_its_end() {
    let bench = Bench::new();
    let (folder, lines) = bench.run("a", &bench.job(bench.config(), 0, 40, None), &never);
    assert!(matches!(lines[0], Line::Started { .. }), "{:?}", lines[0]);
    let points = points(&lines);
    let steps: Vec<u64> = points.iter().map(|point| point.step).collect();
    assert_eq!(steps, (1..=40).chain([40, 40]).collect::<Vec<u64>>());
    let sets: Vec<&str> = points[40..].iter().map(|point| point.split.0.as_str()).collect();
    assert_eq!(sets, ["held_out", "numbers"], "a set without a window has no loss");
    let (text, numbers) = (&points[40], &points[41]);
    assert!(
        points[0].loss > 4.0 && text.loss < 2.0,
        "{} {}",
        points[0].loss,
        text.loss
    );
    let bits = text.bits_per_byte.expect("two bytes a token");
    assert!((bits - text.loss / std::f64::consts::LN_2 / 2.0).abs() < 1e-12);
    assert_eq!(numbers.bits_per_byte, None, "no text, no bytes");
    let Some(Line::Finished {
        checkpoint: Some(checkpoint),
        ..
    }) = lines.last()
    else {
        panic!("{:?}", lines.last());
    };
    assert_eq!(checkpoint.path, folder.join(CHECKPOINT_FILE));
    let file = fs_err::read(&checkpoint.path).expect("reads");
    assert_eq!(checkpoint.hash, blake3::hash(&file).to_hex().as_str());
}

#[test]
fn a_fork_says_what_the_unforked_run_says_bit_for_bit() {
    let bench = Bench::new();
    let (_, whole) = bench.run("whole", &bench.job(bench.config(), 0, 8, None), &never);
    let (_, trunk) = bench.run("trunk", &bench.job(bench.config(), 0, 5, None), &never);
    let Some(Line::Finished { checkpoint, .. }) = trunk.last() else {
        panic!("{:?}", trunk.last());
    };
    let fork = bench.job(bench.config(), 5, 8, checkpoint.clone());
    let (_, fork) = bench.run("fork", &fork, &never);
    let (whole, trunk, fork) = (points(&whole), points(&trunk), points(&fork));
    assert_eq!(whole[..5], trunk[..5]);
    assert_eq!(whole[5..], fork[..]);
}

#[test]
fn a_diverged_run_ends_with_its_step_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let mut config = bench.config();
    config.optimizer.lr = 1e30;
    let (folder, lines) = bench.run("a", &bench.job(config, 0, 40, None), &never);
    let steps = points(&lines).len() as u64;
    assert_eq!(lines.last(), Some(&Line::Diverged { step: steps }));
    assert!(steps < 40 && points(&lines).iter().all(|point| point.loss.is_finite()));
    assert!(!folder.join(CHECKPOINT_FILE).exists());
}

#[test]
fn a_stop_is_the_last_word() {
    let bench = Bench::new();
    let asked = std::cell::Cell::new(0);
    let stopped = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let (folder, lines) = bench.run("a", &bench.job(bench.config(), 0, 40, None), &stopped);
    assert_eq!(points(&lines).len(), 3);
    assert!(matches!(lines.last(), Some(Line::Stopped { .. })), "{lines:?}");
    assert!(!folder.join(CHECKPOINT_FILE).exists());
}

/// The states that were left behind, the newest first.
fn left(lines: &[Line]) -> Vec<Resume> {
    let left = |line: &Line| match line {
        Line::Left { resume, .. } => Some(resume.clone()),
        Line::Started { .. }
        | Line::Point(_)
        | Line::Diverged { .. }
        | Line::Finished { .. }
        | Line::Failed { .. }
        | Line::Stopped { .. } => None,
    };
    lines.iter().rev().filter_map(left).collect()
}

fn end_hash(lines: &[Line]) -> String {
    match lines.last() {
        Some(Line::Finished {
            checkpoint: Some(checkpoint),
            ..
        }) => checkpoint.hash.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_attempt_that_goes_on_says_the_same_bits_as_one_that_never_stopped() {
    let bench = Bench::new();
    let mut job = bench.job(bench.config(), 0, 12, None);
    let (_, whole) = bench.run("whole", &job, &never);
    job.checkpoint_every = Interval::Steps(4);
    let asked = std::cell::Cell::new(0);
    let stopped = || {
        asked.set(asked.get() + 1);
        asked.get() > 10
    };
    let (_, first) = bench.run("first", &job, &stopped);
    let states = left(&first);
    let steps: Vec<u64> = states.iter().map(|state| state.step.0).collect();
    assert_eq!(steps, [10, 8, 4], "every four steps, and where it was stopped");
    // The newest state is damaged: the one before serves.
    fs_err::write(&states[0].checkpoint.path, "not what it was").expect("writes");
    job.attempt = 2;
    job.resume = states;
    let (_, second) = bench.run("second", &job, &never);
    match &second[0] {
        Line::Started { from, unusable, .. } => assert_eq!((from.0, unusable.len()), (8, 1)),
        other => panic!("{other:?}"),
    }
    let (whole_points, first, rest) = (points(&whole), points(&first), points(&second));
    assert_eq!(whole_points[..8], first[..8]);
    assert_eq!(whole_points[8..], rest[..]);
    assert_eq!(end_hash(&whole), end_hash(&second), "the same state, to the bit");
}

#[test]
fn a_job_that_was_stopped_in_its_evaluation_only_evaluates() {
    let bench = Bench::new();
    let mut job = bench.job(bench.config(), 0, 5, None);
    let (_, whole) = bench.run("whole", &job, &never);
    let asked = std::cell::Cell::new(0);
    let stopped = || {
        asked.set(asked.get() + 1);
        asked.get() > 5
    };
    let (_, first) = bench.run("first", &job, &stopped);
    job.resume = left(&first);
    assert_eq!(job.resume[0].step, Steps(5));
    let (_, second) = bench.run("second", &job, &never);
    assert_eq!(points(&whole)[5..], points(&second)[..]);
    assert_eq!(end_hash(&whole), end_hash(&second));
}

/// What makes a job one that cannot be done.
type Change = fn(&mut Job);

#[test]
fn jobs_that_cannot_be_done_say_why() {
    let bench = Bench::new();
    let cause = |name: &str, change: &dyn Fn(&mut Job)| {
        let mut job = bench.job(bench.config(), 0, 2, None);
        change(&mut job);
        match bench.run(name, &job, &never).1.last() {
            Some(Line::Failed { cause, .. }) => *cause,
            other => panic!("{name}: {other:?}"),
        }
    };
    let outside = |job: &mut Job| {
        job.resume = vec![Resume {
            step: Steps(3),
            checkpoint: Checkpoint {
                path: PathBuf::from("/nowhere"),
                hash: String::new(),
                bytes: 0,
            },
        }];
    };
    let refused: [(&str, Change); 8] = [
        ("resume", outside),
        ("version", |job| job.version = "0.0.0".to_owned()),
        ("protocol", |job| job.protocol += 1),
        ("precision", |job| job.config.precision = Precision::Bfloat16),
        ("device", |job| job.device = "cuda:99".to_owned()),
        ("batch", |job| job.config.batch_tokens.0 += 1),
        ("shape", |job| job.config.shape.head_dim = 7),
        ("parent", |job| job.from = Steps(1)),
    ];
    for (name, change) in refused {
        assert_eq!(cause(name, &change), Cause::Refused, "{name}");
    }
    let other_data = |job: &mut Job| job.config.data_hash = "other".to_owned();
    assert_eq!(cause("hash", &other_data), Cause::Data);
    assert_eq!(cause("no_data", &|job| job.data.push("nowhere")), Cause::Data);
    let context = |job: &mut Job| {
        job.config.context = 4096;
        job.config.batch_tokens.0 = 4096;
    };
    assert_eq!(cause("context", &context), Cause::Data);
    let parent = |job: &mut Job| {
        job.from = Steps(1);
        job.parent = Some(Checkpoint {
            path: PathBuf::from("/nowhere"),
            hash: String::new(),
            bytes: 0,
        });
    };
    assert_eq!(cause("checkpoint", &parent), Cause::DamagedCheckpoint);
}
