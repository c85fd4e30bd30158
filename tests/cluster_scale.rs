//! The scheduler and the pool of a cluster against workers and a Slurm that are make-believe, losses among them: every
//! stage ends once. `make bench-cluster` runs the same with 1,000 workers and 100,000 stages and says what a stage costs.

#![expect(clippy::print_stdout, reason = "what a stage costs is to be seen")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;
use sandbox::exec::pool::{Pool, Settings, Timeouts};
use sandbox::exec::slurm::Client;
use sandbox::mailbox::{self, Beat, Hello, Order, Owner};
use sandbox::protocol::{Cause, LINES_FILE, Line, Process, write_line};
use sandbox::sched::{Device, Effect, Limits, News, Outcome, Scheduler, Task};
use sandbox::spec::profile::Profile;
use sandbox::units::{StageId, Steps};

/// The environment variable that tells the process of the test from the one that starts it.
const INNER: &str = "SCALE_INNER";

#[test]
fn losses_of_many_workers_cost_no_stage() {
    if std::env::var_os(INNER).is_some() {
        return;
    }
    let shims = tempfile::tempdir().expect("a folder");
    for (name, text) in [
        ("scontrol", "echo 'MaxArraySize = 10001'"),
        ("sbatch", "echo 1"),
        ("squeue", "true"),
        ("scancel", "true"),
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let path = shims.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let status = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "inner", "--nocapture"])
        .env(INNER, "1")
        .env("PATH", format!("{}:{}", shims.path().display(), path.display()))
        .status();
    assert!(status.expect("started").success());
}

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var_os(name).and_then(|text| text.into_string().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn inner() {
    if std::env::var_os(INNER).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("a runtime")
        .block_on(simulate(number("SCALE_WORKERS", 100), number("SCALE_STAGES", 2000)));
}

fn settings(home: &Path, workers: u64) -> Settings {
    Settings {
        system: Arc::new(Client::new([])),
        pools: home.join("pools"),
        home: "scale".to_owned(),
        profile: Profile {
            max_workers: workers,
            ..Profile::default()
        },
        program: vec!["worker".into()],
        version: "1".to_owned(),
        owner: Owner {
            process: Process::of(1, &|_| None),
            host: "here".to_owned(),
        },
        timeouts: Timeouts {
            lease: Duration::from_secs(4),
            look: Duration::from_millis(200),
            ask: Duration::from_millis(500),
            short_lease: Duration::from_secs(4),
            ..Timeouts::default()
        },
    }
}

async fn simulate(workers: u64, count: u64) {
    let home = tempfile::tempdir().expect("a folder");
    let (mut pool, adopted) = Pool::open(settings(home.path(), workers), &|_, _| false)
        .await
        .expect("a pool");
    assert!(adopted.is_empty());
    let is_over = Arc::new(AtomicBool::new(false));
    let site = std::thread::spawn({
        let (pool, is_over) = (home.path().join("pools/g0001"), Arc::clone(&is_over));
        move || make_believe(&pool, &is_over)
    });
    let mut orchestrator = Orchestrator {
        home: home.path().to_owned(),
        scheduler: scheduler(count, workers),
        own: Duration::ZERO,
        attempts: BTreeMap::new(),
        done: BTreeSet::new(),
        lost: 0,
        is_done: false,
    };
    orchestrator.take(News::Start, &mut pool);
    while !orchestrator.is_done {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = on_cpu();
        let news = pool.poll().expect("news");
        orchestrator.own += on_cpu().saturating_sub(began);
        for news in news {
            orchestrator.hear(&news, &mut pool);
        }
    }
    is_over.store(true, Ordering::Release);
    let died = site.join().expect("joined");
    let Orchestrator { own, done, lost, .. } = orchestrator;
    assert_eq!(done.len() as u64, count);
    assert!(died > 0 && lost <= died, "{lost} of {died}");
    let each = own.as_secs_f64() * 1e3 / count as f64;
    println!("{count} stages on {workers} workers, {died} of them lost: {each:.3} ms of a processor for a stage");
}

/// Stages in trunks of four, so that some wait for others.
fn scheduler(count: u64, workers: u64) -> Scheduler {
    let name = |index: u64| StageId(format!("{index:06}"));
    let task = |index: u64| Task {
        stage: name(index),
        parent: (!index.is_multiple_of(4)).then(|| name(index - 1)),
        slots: 1,
        bytes: 0,
        path_flops: (4 - index % 4) as f64,
        flops: 1.0,
        is_decay: false,
        attempts: 0,
        halvings: 0,
        halvings_max: 0,
        remake: false,
        is_running: false,
    };
    let limits = Limits {
        devices: vec![Device {
            slots: workers,
            bytes: None,
        }],
        retries: BTreeMap::from([(Cause::WorkerLost, 1000)]),
        default_retries: 0,
        fail_fast: false,
    };
    Scheduler::new((0..count).map(task).collect(), limits)
}

/// What drives the two: as a run does, without a database.
struct Orchestrator {
    home: PathBuf,
    scheduler: Scheduler,
    /// Time on a processor, of the scheduler and of the pool.
    own: Duration,
    attempts: BTreeMap<StageId, u32>,
    done: BTreeSet<StageId>,
    lost: u64,
    is_done: bool,
}

impl Orchestrator {
    fn take(&mut self, news: News, pool: &mut Pool) {
        let began = on_cpu();
        for effect in self.scheduler.handle(news).expect("lawful") {
            match effect {
                Effect::Launch { stage, attempt, .. } => {
                    let folder = self.home.join(format!("stages/{}/{attempt}", stage.0));
                    fs::create_dir_all(&folder).expect("a folder");
                    let before = self.attempts.insert(stage.clone(), attempt);
                    assert_eq!(before.unwrap_or(0) + 1, attempt, "attempts are counted");
                    pool.launch(stage, attempt, &folder.join("job.json"));
                }
                Effect::Done => self.is_done = true,
                Effect::Record(..) | Effect::Stop(_) => {}
            }
        }
        self.own += on_cpu().saturating_sub(began);
    }

    fn hear(&mut self, news: &sandbox::exec::News, pool: &mut Pool) {
        assert_eq!(self.attempts[&news.stage], news.attempt);
        let outcome = if news.lost.is_some() {
            self.lost += 1;
            Outcome::Faulted(Cause::WorkerLost)
        } else if news.lines.last().is_some_and(Line::is_last) {
            assert!(self.done.insert(news.stage.clone()), "ended twice");
            Outcome::Completed
        } else {
            return;
        };
        let stage = news.stage.clone();
        self.take(
            News::Ended {
                stage,
                outcome,
                has_moved: true,
            },
            pool,
        );
    }
}

/// Time that this thread has had on a processor, in the kernel and out of it.
fn on_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(
        text.split(' ')
            .next()
            .and_then(|it| it.parse().ok())
            .expect("nanoseconds"),
    )
}

struct Worker {
    folder: PathBuf,
    beat: u64,
    taken: u64,
}

/// Workers and their Slurm: one comes for every task that is submitted, and every so often one dies with a stage.
fn make_believe(pool: &Path, is_over: &AtomicBool) -> u64 {
    let (mut workers, mut next, mut died, mut taken): (Vec<Worker>, u64, u64, u64) = (Vec::new(), 1, 0, 0);
    while !is_over.load(Ordering::Acquire) {
        let intent = pool.join(format!("submissions/{next}.json"));
        if let Ok(text) = fs::read(&intent) {
            let intent: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            for task in 0..intent["tasks"].as_u64().expect("a number") {
                workers.push(come(pool, next, task));
            }
            next += 1;
        }
        let mut index = 0;
        while index < workers.len() {
            let worker = &mut workers[index];
            if let Some(order) = take(worker) {
                taken += 1;
                if taken % 997 == 0 {
                    died += 1;
                    workers.swap_remove(index);
                    continue;
                }
                train(&order);
            }
            worker.beat += 1;
            if worker.beat.is_multiple_of(4) {
                let beat = Beat {
                    beat: worker.beat,
                    taken: worker.taken,
                };
                let made = worker.folder.join("inbox/heartbeat");
                fs::write(&made, serde_json::to_vec(&beat).expect("JSON")).expect("written");
                fs::rename(&made, worker.folder.join(mailbox::BEAT_FILE)).expect("renamed");
            }
            index += 1;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    died
}

fn come(pool: &Path, submission: u64, task: u64) -> Worker {
    let folder = pool
        .join("workers")
        .join(mailbox::worker_key(submission, Some(submission), Some(task), 0));
    for name in [mailbox::INBOX, mailbox::TAKEN] {
        fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    let hello = Hello {
        format: mailbox::FORMAT,
        version: "1".to_owned(),
        process: Process::of(1, &|_| None),
        host: "h".to_owned(),
        node: None,
        job: Some(submission),
        task: Some(task),
        submission,
        beat_ms: 100,
    };
    fs::write(folder.join("hello.tmp"), serde_json::to_vec(&hello).expect("JSON")).expect("written");
    fs::rename(folder.join("hello.tmp"), folder.join(mailbox::HELLO_FILE)).expect("renamed");
    Worker {
        folder,
        beat: 0,
        taken: 0,
    }
}

fn take(worker: &mut Worker) -> Option<Order> {
    let name = mailbox::order_file(worker.taken + 1);
    let taken = worker.folder.join(mailbox::TAKEN).join(&name);
    fs::rename(worker.folder.join(mailbox::INBOX).join(&name), &taken).ok()?;
    worker.taken += 1;
    serde_json::from_slice(&fs::read(taken).ok()?).ok()
}

fn train(order: &Order) {
    let mut text = Vec::new();
    let started = Line::Started {
        from: Steps(0),
        unusable: Vec::new(),
        process: Process::of(1, &|_| None),
        host: "h".to_owned(),
        device: "none".to_owned(),
        libtorch: None,
    };
    let finished = Line::Finished {
        checkpoint: None,
        seconds: 0.0,
        peak_bytes: None,
        spent: None,
    };
    for line in [started, finished] {
        write_line(&mut text, order.attempt, &line).expect("JSON");
    }
    fs::write(order.job.with_file_name(LINES_FILE), text).expect("written");
}
