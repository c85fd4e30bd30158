//! The real programs on a private Slurm cluster of four nodes, and what sites do to jobs: no row is lost, none is there
//! twice, and the losses are those of the local pool, to the bit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use sandbox::store::{RunningRow, StageAttempt, Store};
use serde_json::Value;

use crate::skip::skip;
use crate::world::World;

/// Steps of a trial in most tests: with the slow steps that the workers are asked for, four seconds.
const STEPS: u64 = 200;
const FOUR: &str = "max_workers: 4\nidle: 20s\n";

/// So many trials of so many steps, with a state left behind at every tenth.
fn sweep(trials: u64, steps: u64) -> String {
    let rates: Vec<String> = (1..=trials).map(|index| format!("{}e-3", 2 * index)).collect();
    format!(
        "
name: q
data: text
parameters:
  model: 6K
  lr: [{}]
  tokens: {}
  batch_tokens: 1000
  context: 50
  schedule: {{name: cosine, warmup: 2000}}
resources: {{checkpoint_tokens: 10000}}
",
        rates.join(", "),
        steps * 1000
    )
}

/// A cluster with a home beside it; it ends with this value.
struct Cluster {
    folder: tempfile::TempDir,
    world: World,
    /// A folder of commands that come before Slurm's.
    shims: Option<PathBuf>,
}

impl Cluster {
    /// None, and the reason is printed, where Slurm is not installed.
    fn start(test: &str, options: &[(&str, &str)]) -> Option<Self> {
        let has = |name: &str| {
            ["/usr/sbin", "/usr/bin"]
                .iter()
                .any(|folder| Path::new(folder).join(name).exists())
        };
        if !["slurmctld", "slurmd", "sbatch", "munged"].iter().all(|name| has(name)) {
            skip(
                test,
                "Slurm is not installed (apt-get install --no-install-recommends slurmctld slurmd slurm-client munge)",
            );
            return None;
        }
        let cluster = Self {
            folder: tempfile::tempdir().expect("a folder"),
            world: World::new(),
            shims: None,
        };
        let script = cluster.script(&["start"]).envs(options.iter().copied()).status();
        assert!(script.expect("bash").success(), "the cluster starts");
        cluster.world.prepare_text();
        Some(cluster)
    }

    fn script(&self, words: &[&str]) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slurm/cluster.sh"));
        command.arg(words[0]).arg(self.folder.path()).args(&words[1..]);
        command.stdout(Stdio::null());
        command
    }

    fn controller(&self) {
        assert!(self.script(&["controller"]).status().expect("bash").success());
    }

    fn slurm(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .env("SLURM_CONF", self.folder.path().join("slurm.conf"))
            .output()
            .expect("a command of Slurm");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The process of one of the cluster's daemons.
    fn daemon(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.path().join(format!("{name}.pid"))).expect("a pid file");
        text.trim().to_owned()
    }

    /// The program in the cluster's environment, in which some things stand that must not matter.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command
            .env("SLURM_CONF", self.folder.path().join("slurm.conf"))
            .env("SQUEUE_FORMAT", "%i")
            .env("SBATCH_PARTITION", "nowhere")
            .env("SANDBOX_HASTE", "15");
        if let Some(shims) = &self.shims {
            let path = std::env::var_os("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{}", shims.display(), path.display()));
        }
        command
    }

    /// Runs so many trials of so many slow steps.
    fn run(&self, trials: u64, steps: u64, profile: &str) -> Run {
        self.world.write("q.yaml", &sweep(trials, steps));
        self.world.write("profile.yaml", profile);
        let err = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.world.path("err"))
            .expect("opened");
        let mut command = self.command(&["run", "q.yaml", "--on", "slurm", "--profile", "profile.yaml", "--json"]);
        command.env("SANDBOX_FAIL", "slow@*:*x99");
        command.stdout(Stdio::null()).stderr(err.into_file());
        Run(command.spawn().expect("the program starts"))
    }

    fn err(&self) -> String {
        fs::read_to_string(self.world.path("err")).unwrap_or_default()
    }

    /// What the database says, once there is one.
    fn ask<T: Default>(&self, question: impl AsyncFnOnce(&mut Store) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            match Store::open_existing(&self.world.home().join("sandbox.db")).await {
                Ok(mut store) => question(&mut store).await,
                Err(_) => T::default(),
            }
        })
    }

    fn running(&self) -> Vec<RunningRow> {
        self.ask(async |store| store.running().await.unwrap_or_default())
    }

    /// Every attempt at every stage, in order.
    fn attempts(&self) -> BTreeMap<String, Vec<StageAttempt>> {
        self.ask(async |store| {
            let mut all = BTreeMap::new();
            for stage in store.attempts().await.unwrap_or_default().into_keys() {
                let attempts = store.attempts_at(&stage.0).await.unwrap_or_default();
                all.insert(stage.0, attempts);
            }
            all
        })
    }

    fn count(&self) -> usize {
        self.attempts().values().map(Vec::len).sum()
    }

    /// Why attempts ended without a result.
    fn faults(&self) -> Vec<String> {
        let attempts = self.attempts();
        let faults = attempts.values().flatten().filter_map(|attempt| {
            let cause = attempt.cause.as_deref()?;
            Some(format!("{cause}: {}", attempt.message.as_deref().unwrap_or_default()))
        });
        faults.collect()
    }

    fn generation(&self, number: u32) -> PathBuf {
        self.world.home().join(format!("pools/g{number:04}"))
    }

    /// The folders of workers, in order.
    fn workers(&self, generation: u32) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.generation(generation).join("workers"));
        let mut folders: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join("hello.json").exists())
            .collect();
        folders.sort();
        folders
    }

    /// Waits until so many workers are in the middle of a stage, beyond a state.
    fn await_middle(&self, workers: usize) {
        self.wait("workers in the middle", 30, || {
            let rows = self.running();
            let has_left = |row: &&RunningRow| {
                let lines = self.world.home().join(&row.folder).join("lines.jsonl");
                fs::read_to_string(lines).is_ok_and(|text| text.contains("\"left\""))
            };
            rows.iter().filter(|row| row.pid.is_some()).filter(has_left).count() >= workers
        });
    }

    fn wait(&self, what: &str, seconds: u64, is_so: impl Fn() -> bool) {
        let since = Instant::now();
        while !is_so() {
            assert!(
                since.elapsed() < Duration::from_secs(seconds),
                "no {what}\n{}",
                self.err()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Every trial is complete, nothing is missing and nothing twice, and all is as the local pool makes it.
    fn check(&self, trials: u64) {
        let counts = &self.world.run(&["status", "--json"]).ok()["sweeps"][0]["counts"];
        assert_eq!(counts["complete"], trials, "{counts}\n{}", self.err());
        let local = World::new();
        local.prepare_text();
        local.write(
            "q.yaml",
            &fs::read_to_string(self.world.path("q.yaml")).expect("a sweep"),
        );
        local.run(&["run", "q.yaml", "--json"]).ok();
        assert_eq!(self.world.digest(), local.digest());
    }

    /// No attempt trains again what lies before the last state.
    fn check_beginnings(&self) {
        for (stage, attempts) in self.attempts() {
            let mut newest = 0;
            for attempt in attempts {
                if let Some(from) = attempt.from_steps {
                    assert_eq!(from, newest, "{stage} attempt {}\n{}", attempt.attempt, self.err());
                }
                let lines = self.world.home().join(&attempt.folder).join("lines.jsonl");
                for line in fs::read_to_string(lines).unwrap_or_default().lines() {
                    let line: Value = serde_json::from_str(line).expect("a whole line");
                    if let Some(step) = line["said"]["left"]["step"].as_u64() {
                        newest = step;
                    }
                }
            }
        }
    }

    fn submissions(&self, generation: u32) -> usize {
        let entries = fs::read_dir(self.generation(generation).join("submissions"));
        let is_one = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|it| it == "json");
        entries.into_iter().flatten().flatten().filter(is_one).count()
    }

    /// Numbers of the arrays that Slurm knows with a comment.
    fn arrays(&self) -> BTreeSet<String> {
        let text = self.slurm("squeue", &["-h", "-r", "-t", "all", "-O", "ArrayJobID:20,Comment:40"]);
        let jobs = text.lines().filter(|line| line.contains("sandbox:"));
        jobs.filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect()
    }

    /// Puts a command of this name before Slurm's; `$real` is the real one.
    fn shim(&mut self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = self.world.path("shims");
        let here = self.world.path("");
        let script = format!("#!/bin/bash\nhome={}\nreal=/usr/bin/{name}\n{text}\n", here.display());
        let path = self.world.write(&format!("shims/{name}"), &script);
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        self.shims = Some(folder);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.script(&["stop"]).status());
    }
}

fn hello(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("hello.json")).expect("a hello")).expect("JSON")
}

fn bye(folder: &Path) -> Option<String> {
    let bye: Value = serde_json::from_slice(&fs::read(folder.join("bye.json")).ok()?).expect("JSON");
    bye["why"].as_str().map(str::to_owned)
}

/// A run of the orchestrator; it ends with this value.
struct Run(Child);

impl Run {
    fn wait(&mut self, cluster: &Cluster, seconds: u64) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("waited") {
                return status;
            }
            assert!(
                since.elapsed() < Duration::from_secs(seconds),
                "it goes on and on\n{}",
                cluster.err()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn succeeds(&mut self, cluster: &Cluster, seconds: u64) {
        let status = self.wait(cluster, seconds);
        assert!(status.success(), "{status}\n{}", cluster.err());
    }

    fn kill(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("waited");
    }

    fn signal(&self, name: &str) {
        kill(name, &self.0.id().to_string());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn kill(signal: &str, pid: &str) {
    let mut command = Command::new("kill");
    command
        .arg(format!("-{signal}"))
        .arg(pid)
        .status()
        .expect("a signal is sent");
}

#[test]
fn a_sweep_on_slurm_has_the_losses_of_the_local_pool() {
    let Some(cluster) = Cluster::start("a_sweep_on_slurm_has_the_losses_of_the_local_pool", &[]) else {
        return;
    };
    // Trunks that are shared, two schedules, one rate that diverges.
    let shared = "
name: q
data: text
parameters:
  model: [6K, 13K]
  lr: [3e-3, 1e9]
  tokens: [30k, 60k]
  batch_tokens: 1000
  context: 50
  schedule: {name: [wsd, cosine], warmup: 2000}
";
    cluster.world.write("home/slurm.yaml", "max_workers: 3\n");
    cluster
        .world
        .write("q.yaml", &format!("{shared}resources: {{threads: 2}}\n"));
    let ran = cluster
        .command(&["run", "q.yaml", "--on", "slurm", "--json"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("write `cpus: 2`"), "{said}");
    let summary: Value = serde_json::from_slice(&ran.stdout).expect("one JSON value");
    assert_eq!(
        (&summary["counts"]["complete"], &summary["counts"]["diverged"]),
        (&8.into(), &8.into())
    );
    cluster.check(8);
    assert_eq!(
        (cluster.workers(1).len(), cluster.submissions(1)),
        (3, 1),
        "the home's profile"
    );
    let all_revoked = cluster
        .workers(1)
        .iter()
        .all(|folder| bye(folder).as_deref() == Some("revoked"));
    assert!(all_revoked, "told to leave at the end");
    let again = cluster
        .command(&["run", "q.yaml", "--on", "slurm", "--json"])
        .output()
        .expect("it runs");
    let summary: Value = serde_json::from_slice(&again.stdout).expect("one JSON value");
    assert_eq!(summary["trained"]["stages"], 0, "everything is there");
    assert!(cluster.slurm("squeue", &["-h"]).is_empty(), "nobody is left");
}

#[test]
fn what_a_cluster_worker_prints_stands_in_the_logs_of_its_trials() {
    let Some(cluster) = Cluster::start("what_a_cluster_worker_prints_stands_in_the_logs_of_its_trials", &[]) else {
        return;
    };
    cluster
        .run(2, 20, "max_workers: 2\nsetup: echo modules are loaded\n")
        .succeeds(&cluster, 60);
    let trials = cluster.world.run(&["status", "q", "--json"]).ok();
    let shown = cluster.ask(async |store| store.trials(Some("q")).await.unwrap_or_default());
    assert_eq!(shown.len(), 2, "{trials}");
    let logs = cluster.world.run(&["logs", &shown[0].trial, "--json"]).ok();
    assert_eq!(logs[0]["stderr"][0], "modules are loaded", "{logs}");
}

#[test]
fn an_array_larger_than_the_site_allows_is_cut() {
    let test = "an_array_larger_than_the_site_allows_is_cut";
    let Some(cluster) = Cluster::start(test, &[("CLUSTER_MAX_ARRAY", "3")]) else {
        return;
    };
    cluster.run(12, 20, "max_workers: 8\n").succeeds(&cluster, 60);
    cluster.check(12);
    assert_eq!(cluster.submissions(1), 3, "3 and 3 and 2");
}

#[test]
fn a_cancelled_task_hands_its_stage_back() {
    let Some(cluster) = Cluster::start("a_cancelled_task_hands_its_stage_back", &[]) else {
        return;
    };
    let mut run = cluster.run(4, STEPS, FOUR);
    cluster.await_middle(4);
    let hello = hello(&cluster.workers(1)[1]);
    cluster.slurm("scancel", &[&format!("{}_{}", hello["job"], hello["task"])]);
    run.succeeds(&cluster, 60);
    cluster.check(4);
    cluster.check_beginnings();
    assert_eq!(cluster.count(), 5);
    assert!(cluster.faults()[0].starts_with("interrupted"), "{:?}", cluster.faults());
}

#[test]
fn a_killed_cluster_worker_costs_one_attempt() {
    let Some(cluster) = Cluster::start("a_killed_cluster_worker_costs_one_attempt", &[]) else {
        return;
    };
    let mut run = cluster.run(4, STEPS, FOUR);
    cluster.await_middle(4);
    kill("KILL", &hello(&cluster.workers(1)[2])["process"]["pid"].to_string());
    run.succeeds(&cluster, 60);
    cluster.check(4);
    cluster.check_beginnings();
    assert_eq!(cluster.count(), 5);
    let why = &cluster.faults()[0];
    assert!(why.contains("worker_lost") && why.contains("no sign of life"), "{why}");
}

#[test]
fn a_worker_frozen_past_its_lease_finds_itself_revoked_when_it_thaws() {
    let test = "a_worker_frozen_past_its_lease_finds_itself_revoked_when_it_thaws";
    let Some(mut cluster) = Cluster::start(test, &[]) else {
        return;
    };
    // Slurm would thaw it with the first signal of `scancel`, and kill it with the last.
    cluster.shim("scancel", "exit 0");
    let mut run = cluster.run(4, 900, FOUR);
    cluster.await_middle(4);
    let folder = cluster.workers(1)[0].clone();
    let pid = hello(&folder)["process"]["pid"].to_string();
    kill("STOP", &pid);
    cluster.wait("fault", 30, || !cluster.faults().is_empty());
    assert!(
        cluster.faults()[0].contains("no sign of life"),
        "{:?}",
        cluster.faults()
    );
    kill("CONT", &pid);
    cluster.wait("last word", 10, || bye(&folder).is_some());
    assert_eq!(bye(&folder).as_deref(), Some("revoked"));
    run.succeeds(&cluster, 90);
    cluster.check(4);
    assert_eq!(cluster.count(), 5);
}

#[test]
fn a_frozen_orchestrator_blames_nobody() {
    let Some(cluster) = Cluster::start("a_frozen_orchestrator_blames_nobody", &[]) else {
        return;
    };
    let mut run = cluster.run(4, 700, FOUR);
    cluster.await_middle(4);
    run.signal("STOP");
    // A worker that is frozen for less than its lease is nobody's loss either.
    let pid = hello(&cluster.workers(1)[0])["process"]["pid"].to_string();
    kill("STOP", &pid);
    std::thread::sleep(Duration::from_secs(10));
    run.signal("CONT");
    std::thread::sleep(Duration::from_secs(2));
    kill("CONT", &pid);
    run.succeeds(&cluster, 60);
    cluster.check(4);
    assert_eq!(cluster.count(), 4);
}

#[test]
fn a_node_that_goes_down_costs_the_attempts_on_it() {
    let test = "a_node_that_goes_down_costs_the_attempts_on_it";
    let Some(cluster) = Cluster::start(test, &[("CLUSTER_CPUS", "1")]) else {
        return;
    };
    let mut run = cluster.run(4, STEPS, FOUR);
    cluster.await_middle(4);
    cluster.slurm("scontrol", &["update", "nodename=n2", "state=DOWN", "reason=x"]);
    cluster.wait("fault", 30, || !cluster.faults().is_empty());
    run.succeeds(&cluster, 60);
    cluster.check(4);
    cluster.check_beginnings();
    assert_eq!(cluster.count(), 5);
}

#[test]
fn a_worker_whose_slurmd_is_dead_finishes_what_it_does() {
    let test = "a_worker_whose_slurmd_is_dead_finishes_what_it_does";
    let Some(cluster) = Cluster::start(test, &[("CLUSTER_CPUS", "1")]) else {
        return;
    };
    let mut run = cluster.run(4, 1500, FOUR);
    cluster.await_middle(4);
    kill("KILL", &cluster.daemon("slurmd.n3"));
    cluster.wait("node that is down", 60, || {
        cluster.slurm("sinfo", &["-h", "-N", "-o", "%N %T"]).contains("n3 down")
    });
    let states = cluster.slurm("squeue", &["-h", "-t", "all", "-o", "%T"]);
    assert!(states.contains("NODE_FAIL"), "{states}");
    run.succeeds(&cluster, 120);
    cluster.check(4);
    // Slurm has lost the job; the worker, whose word counts, has not.
    assert_eq!(cluster.count(), 4);
}

#[test]
fn a_controller_that_is_away_for_a_while_is_waited_for() {
    let Some(cluster) = Cluster::start("a_controller_that_is_away_for_a_while_is_waited_for", &[]) else {
        return;
    };
    let mut run = cluster.run(8, STEPS, FOUR);
    cluster.await_middle(4);
    // It saves what it knows; one that is killed may not, and then has its nodes kill what it does not know.
    kill("TERM", &cluster.daemon("slurmctld"));
    std::thread::sleep(Duration::from_secs(2));
    // A worker is lost meanwhile, and nobody can be asked for another.
    kill("KILL", &hello(&cluster.workers(1)[2])["process"]["pid"].to_string());
    cluster.wait("fault", 30, || !cluster.faults().is_empty());
    cluster.controller();
    run.succeeds(&cluster, 120);
    cluster.check(8);
    cluster.check_beginnings();
    assert_eq!(cluster.count(), 9);
}

#[test]
fn an_accepted_submission_that_is_lost_is_noticed() {
    let Some(cluster) = Cluster::start("an_accepted_submission_that_is_lost_is_noticed", &[]) else {
        return;
    };
    cluster.slurm("scontrol", &["update", "nodename=n[1-4]", "state=DRAIN", "reason=x"]);
    let mut run = cluster.run(4, 50, FOUR);
    cluster.wait("accepted job", 20, || {
        cluster.generation(1).join("submissions/1.job").exists()
    });
    kill("KILL", &cluster.daemon("slurmctld"));
    let states = fs::read_dir(cluster.folder.path().join("state")).expect("a folder");
    for entry in states.flatten() {
        drop(fs::remove_file(entry.path()));
    }
    cluster.controller();
    run.succeeds(&cluster, 120);
    cluster.check(4);
    assert_eq!((cluster.submissions(1), cluster.count()), (2, 4));
}

#[test]
fn what_was_accepted_although_sbatch_said_otherwise_is_not_submitted_twice() {
    let test = "what_was_accepted_although_sbatch_said_otherwise_is_not_submitted_twice";
    let Some(mut cluster) = Cluster::start(test, &[]) else {
        return;
    };
    let text = "echo x >>$home/calls; $real \"$@\" >/dev/null\n\
                echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1";
    cluster.shim("sbatch", text);
    cluster.run(8, 50, FOUR).succeeds(&cluster, 60);
    cluster.check(8);
    assert_eq!(fs::read_to_string(cluster.world.path("calls")).expect("calls"), "x\n");
    assert_eq!((cluster.arrays().len(), cluster.workers(1).len()), (1, 4));
}

#[test]
fn what_was_not_accepted_is_submitted_again_under_its_key() {
    let Some(mut cluster) = Cluster::start("what_was_not_accepted_is_submitted_again_under_its_key", &[]) else {
        return;
    };
    let text = "echo x >>$home/calls; [[ $(wc -l <$home/calls) -gt 2 ]] && exec $real \"$@\"\n\
                echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1";
    cluster.shim("sbatch", text);
    cluster.run(8, 50, FOUR).succeeds(&cluster, 90);
    cluster.check(8);
    assert_eq!((cluster.arrays().len(), cluster.submissions(1)), (1, 1));
}

#[test]
fn a_submission_that_arrives_late_and_twice_is_cancelled_once() {
    let Some(mut cluster) = Cluster::start("a_submission_that_arrives_late_and_twice_is_cancelled_once", &[]) else {
        return;
    };
    // The first call arrives long after it was given up.
    let text = "echo x >>$home/calls; if [[ $(wc -l <$home/calls) -eq 1 ]]; then\n\
                (sleep 9; $real \"$@\" >>$home/late) >/dev/null 2>&1 </dev/null & disown\n\
                echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1; fi; exec $real \"$@\"";
    cluster.shim("sbatch", text);
    cluster.run(8, 300, FOUR).succeeds(&cluster, 90);
    cluster.check(8);
    assert_eq!((cluster.arrays().len(), cluster.count()), (2, 8));
    let states = cluster.slurm("squeue", &["-h", "-r", "-t", "all", "-o", "%T"]);
    assert!(states.contains("CANCELLED"), "{states}");
}

#[test]
fn a_controller_killed_right_after_a_submission_costs_nothing() {
    let Some(mut cluster) = Cluster::start("a_controller_killed_right_after_a_submission_costs_nothing", &[]) else {
        return;
    };
    let pid = cluster.daemon("slurmctld");
    let restart = format!(
        "{} controller {}",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slurm/cluster.sh"),
        cluster.folder.path().display()
    );
    let text = format!(
        "if [[ -e $home/done ]]; then exec $real \"$@\"; fi; touch $home/done\n\
         $real \"$@\"; kill -KILL {pid}; (sleep 5; {restart}) >/dev/null 2>&1 </dev/null & disown"
    );
    cluster.shim("sbatch", &text);
    cluster.run(8, 100, FOUR).succeeds(&cluster, 120);
    cluster.check(8);
}

#[test]
fn a_dead_orchestrators_workers_are_taken_over() {
    let Some(cluster) = Cluster::start("a_dead_orchestrators_workers_are_taken_over", &[]) else {
        return;
    };
    let mut run = cluster.run(8, STEPS, FOUR);
    cluster.await_middle(4);
    run.kill();
    let arrays = cluster.arrays();
    std::thread::sleep(Duration::from_millis(500));
    cluster.run(8, STEPS, FOUR).succeeds(&cluster, 60);
    cluster.check(8);
    cluster.check_beginnings();
    assert_eq!((cluster.count(), cluster.submissions(1)), (8, 1));
    assert_eq!(cluster.arrays(), arrays);
    assert!(!cluster.generation(2).exists());
}

#[test]
fn what_ended_while_nobody_listened_is_taken_in() {
    let Some(cluster) = Cluster::start("what_ended_while_nobody_listened_is_taken_in", &[]) else {
        return;
    };
    let mut run = cluster.run(8, 150, FOUR);
    cluster.await_middle(4);
    run.kill();
    // One is killed, the others end by themselves.
    kill("KILL", &hello(&cluster.workers(1)[2])["process"]["pid"].to_string());
    std::thread::sleep(Duration::from_secs(5));
    cluster.run(8, 150, FOUR).succeeds(&cluster, 60);
    cluster.check(8);
    cluster.check_beginnings();
    assert_eq!(cluster.count(), 9);
}

#[test]
fn a_leftover_pool_of_another_shape_is_revoked() {
    let Some(cluster) = Cluster::start("a_leftover_pool_of_another_shape_is_revoked", &[]) else {
        return;
    };
    let mut run = cluster.run(4, 300, FOUR);
    cluster.await_middle(4);
    run.kill();
    let gc = cluster.world.run(&["gc", "--json"]);
    assert_eq!((gc.code, gc.error().as_str()), (5, "home_held"), "they may still train");
    let old = cluster.workers(1);
    cluster.run(4, 300, "max_workers: 4\ncpus: 2\n").succeeds(&cluster, 90);
    cluster.check(4);
    cluster.check_beginnings();
    assert_eq!(cluster.count(), 8, "each was handed back, and went on elsewhere");
    assert!(old.iter().all(|folder| bye(folder).is_some()));
    assert!(!cluster.workers(2).is_empty());
    cluster.world.run(&["gc", "--json"]).ok();
    assert!(!cluster.generation(1).exists() && cluster.generation(2).exists());
}

#[test]
fn a_local_run_revokes_what_a_run_on_slurm_has_left() {
    let Some(cluster) = Cluster::start("a_local_run_revokes_what_a_run_on_slurm_has_left", &[]) else {
        return;
    };
    let mut run = cluster.run(4, 300, FOUR);
    cluster.await_middle(4);
    run.kill();
    let ran = cluster.command(&["run", "q.yaml", "--json"]).output().expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("hand their stages back"));
    cluster.check(4);
    cluster.check_beginnings();
    assert_eq!(cluster.count(), 8);
    assert!(cluster.workers(1).iter().all(|folder| bye(folder).is_some()));
    cluster.wait("empty queue", 20, || cluster.slurm("squeue", &["-h"]).is_empty());
}

#[test]
fn an_orphan_that_slurm_has_forgotten_leaves_when_it_is_revoked() {
    let test = "an_orphan_that_slurm_has_forgotten_leaves_when_it_is_revoked";
    let Some(cluster) = Cluster::start(test, &[("CLUSTER_CPUS", "1")]) else {
        return;
    };
    let mut run = cluster.run(4, 1000, FOUR);
    cluster.await_middle(4);
    run.kill();
    // No daemon is left that could end it.
    let old = cluster.workers(1);
    let node = hello(&old[0])["node"].as_str().expect("a node").to_owned();
    kill("KILL", &cluster.daemon(&format!("slurmd.{node}")));
    cluster
        .run(4, 1000, "max_workers: 4\nmemory: 100M\n")
        .succeeds(&cluster, 180);
    cluster.check(4);
    assert_eq!(bye(&old[0]).as_deref(), Some("revoked"));
}

#[test]
fn an_interrupt_hands_everything_back_and_the_next_run_goes_on() {
    let Some(cluster) = Cluster::start("an_interrupt_hands_everything_back_and_the_next_run_goes_on", &[]) else {
        return;
    };
    let mut run = cluster.run(8, STEPS, FOUR);
    cluster.await_middle(4);
    run.signal("INT");
    assert_eq!(run.wait(&cluster, 30).code(), Some(130));
    cluster.wait("empty queue", 10, || cluster.slurm("squeue", &["-h"]).is_empty());
    assert!(cluster.workers(1).iter().all(|folder| bye(folder).is_some()));
    cluster.run(8, STEPS, FOUR).succeeds(&cluster, 60);
    cluster.check(8);
    cluster.check_beginnings();
    assert_eq!(cluster.count(), 12);
}

#[test]
fn a_time_limit_makes_a_worker_hand_its_stage_back() {
    let Some(cluster) = Cluster::start("a_time_limit_makes_a_worker_hand_its_stage_back", &[]) else {
        return;
    };
    // Slurm looks at the time left twice a minute, and sends the signal 120 seconds before the end.
    cluster
        .run(1, 4000, "max_workers: 1\nsbatch: [--time=3]\n")
        .succeeds(&cluster, 400);
    cluster.check(1);
    cluster.check_beginnings();
    let time_is_up = |folder: &PathBuf| bye(folder).as_deref() == Some("time_is_up");
    assert!(cluster.workers(1).iter().any(time_is_up), "{:?}", cluster.workers(1));
    assert!(
        cluster.faults().iter().all(|why| why.starts_with("interrupted")),
        "{:?}",
        cluster.faults()
    );
}

#[test]
fn a_cancelled_trial_is_stopped_on_the_cluster() {
    let Some(cluster) = Cluster::start("a_cancelled_trial_is_stopped_on_the_cluster", &[]) else {
        return;
    };
    let mut run = cluster.run(4, 600, FOUR);
    cluster.await_middle(4);
    cluster
        .world
        .run(&["cancel", "q", "--where", "lr > 5e-3", "--json"])
        .ok();
    run.wait(&cluster, 60);
    let counts = &cluster.world.run(&["status", "--json"]).ok()["sweeps"][0]["counts"];
    assert_eq!(
        (&counts["complete"], &counts["cancelled"]),
        (&2.into(), &2.into()),
        "{counts}"
    );
}

#[test]
fn workers_that_never_come_are_given_up() {
    let Some(cluster) = Cluster::start("workers_that_never_come_are_given_up", &[]) else {
        return;
    };
    let mut run = cluster.run(4, 50, "max_workers: 2\nsetup: exit 3\n");
    assert_eq!(run.wait(&cluster, 90).code(), Some(6));
    assert!(
        cluster.err().contains("3 submissions in a row brought no worker"),
        "{}",
        cluster.err()
    );
}

/// A line for a profile's `setup`: in the background, as soon as this worker has said hello, sends it a signal.
fn at_hello(cluster: &Cluster, signal: &str) -> String {
    let hellos = format!("{}/pools/g0001/workers/*/hello.json", cluster.world.home().display());
    format!("(while ! grep -q \"\\\"pid\\\": $$,\" {hellos} 2>/dev/null; do sleep 0.02; done; kill -{signal} $$) &")
}

#[test]
fn workers_that_die_before_they_begin_are_given_up() {
    let Some(cluster) = Cluster::start("workers_that_die_before_they_begin_are_given_up", &[]) else {
        return;
    };
    let profile = format!(
        "max_workers: 1\nidle: 20s\nsetup: |\n  {}\n",
        at_hello(&cluster, "KILL")
    );
    let status = cluster.run(2, STEPS, &profile).wait(&cluster, 120);
    assert_eq!(status.code(), Some(6), "{}", cluster.err());
    assert!(
        cluster.err().contains("no worker that began to work"),
        "{}",
        cluster.err()
    );
    assert_eq!(cluster.submissions(1), 3);
    assert_eq!(cluster.workers(1).len(), 3, "each had said hello");
}

#[test]
fn an_order_that_was_taken_back_is_not_found_again_by_the_next_orchestrator() {
    let test = "an_order_that_was_taken_back_is_not_found_again_by_the_next_orchestrator";
    let Some(cluster) = Cluster::start(test, &[]) else {
        return;
    };
    let mark = cluster.world.path("frozen");
    let freeze = at_hello(&cluster, "STOP");
    let once = format!("mkdir {} 2>/dev/null && {{ {freeze} }}", mark.display());
    let profile = format!("max_workers: 2\nidle: 20s\nsetup: |\n  {once}\n");
    let mut run = cluster.run(2, STEPS, &profile);
    cluster.wait("order that another worker gets", 60, || {
        cluster.err().contains("another worker gets what it had")
    });
    cluster.await_middle(1);
    run.kill();
    cluster.run(2, STEPS, &profile).succeeds(&cluster, 60);
    assert_eq!(cluster.count(), 2, "{:?}", cluster.faults());
    cluster.check(2);
    cluster.check_beginnings();
}

#[test]
fn an_interrupt_stops_what_lies_with_a_worker_that_never_begins() {
    let Some(cluster) = Cluster::start("an_interrupt_stops_what_lies_with_a_worker_that_never_begins", &[]) else {
        return;
    };
    let profile = format!(
        "max_workers: 1\nidle: 20s\nsetup: |\n  {}\n",
        at_hello(&cluster, "STOP")
    );
    let mut run = cluster.run(2, STEPS, &profile);
    cluster.wait("worker", 30, || {
        cluster.workers(1).len() == 1 && cluster.running().len() == 1
    });
    run.signal("INT");
    assert_eq!(run.wait(&cluster, 60).code(), Some(130), "{}", cluster.err());
    assert_eq!(cluster.submissions(1), 1, "nothing is submitted after the interrupt");
}

#[test]
fn a_profile_that_slurm_or_we_refuse_is_told() {
    let Some(cluster) = Cluster::start("a_profile_that_slurm_or_we_refuse_is_told", &[]) else {
        return;
    };
    assert_eq!(
        cluster.run(4, 50, "partition: nowhere\n").wait(&cluster, 30).code(),
        Some(6)
    );
    assert!(
        cluster.err().contains("invalid partition specified"),
        "{}",
        cluster.err()
    );
    assert_eq!(cluster.run(4, 50, "gres: gpu:1\n").wait(&cluster, 30).code(), Some(2));
}

#[test]
fn the_doctor_says_what_a_cluster_lacks() {
    let Some(cluster) = Cluster::start("the_doctor_says_what_a_cluster_lacks", &[("CLUSTER_GPUS", "2")]) else {
        return;
    };
    let told = |profile: &str| {
        cluster.world.write("profile.yaml", profile);
        let arguments = ["doctor", "--on", "slurm", "--profile", "profile.yaml", "--json"];
        let output = cluster.command(&arguments).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = told("gpus: 1\n");
    assert!(code == Some(0) && text.contains("Slurm would take"), "{text}");
    let (code, text) = told("gpus: 3\n");
    assert!(code == Some(6) && text.contains("Slurm would not take"), "{text}");
    let (_, text) = told("partition: nowhere\n");
    assert!(text.contains("write one of these into the profile: main"), "{text}");
    assert!(cluster.arrays().is_empty(), "nothing was submitted");
}

#[test]
fn emulated_cards_are_given_to_one_worker_each() {
    let test = "emulated_cards_are_given_to_one_worker_each";
    let Some(cluster) = Cluster::start(test, &[("CLUSTER_GPUS", "1")]) else {
        return;
    };
    // The toy takes any device; a real proxy would look for the card.
    cluster.world.write("q.yaml", &sweep(40, 50));
    cluster
        .world
        .write("profile.yaml", "gpus: 1\nmax_workers: 6\nidle: 20s\n");
    let arguments = ["run", "q.yaml", "--toy", "--on", "slurm", "--profile", "profile.yaml"];
    let output = cluster.command(&arguments).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let nodes: BTreeSet<String> = cluster
        .workers(1)
        .iter()
        .map(|folder| hello(folder)["node"].to_string())
        .collect();
    assert_eq!(
        cluster.workers(1).len(),
        nodes.len(),
        "a node has one card, and so one worker"
    );
}

#[test]
fn an_orchestrator_whose_pool_is_anothers_gives_way() {
    let Some(cluster) = Cluster::start("an_orchestrator_whose_pool_is_anothers_gives_way", &[]) else {
        return;
    };
    let mut run = cluster.run(4, STEPS, FOUR);
    cluster.await_middle(4);
    // As if the lock of the home did not hold between machines.
    let owner = cluster.generation(1).join("owner.json");
    let text = fs::read_to_string(&owner).expect("an owner");
    let mut other: Value = serde_json::from_str(&text).expect("JSON");
    other["host"] = "elsewhere".into();
    fs::write(&owner, other.to_string()).expect("written");
    assert_eq!(run.wait(&cluster, 20).code(), Some(5));
    assert!(cluster.err().contains("has taken over"), "{}", cluster.err());
    cluster.run(4, STEPS, FOUR).succeeds(&cluster, 60);
    cluster.check(4);
    cluster.check_beginnings();
    assert_eq!(cluster.count(), 4, "its workers never stopped");
}

#[test]
fn what_would_be_submitted_is_printed_and_nothing_is() {
    let world = World::new();
    world.prepare_text();
    world.write("q.yaml", &sweep(4, 50));
    world.write(
        "profile.yaml",
        "partition: gpu\naccount: lab-7\ntime: 12:00:00\ncpus: 8\nmemory: 32G\nmax_workers: 3\n\
         setup: |\n  module load cuda/12.4\nsbatch: [--reservation=night]\n",
    );
    let arguments = [
        "plan",
        "q.yaml",
        "--on",
        "slurm",
        "--profile",
        "profile.yaml",
        "--script",
        "--json",
    ];
    let mut command = world.command(&arguments);
    // No Slurm far and wide.
    command.env("PATH", "/nowhere");
    let output = command.output().expect("it runs");
    let found: Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    let text = |key: &str| found[0][key].as_str().unwrap_or_default().to_owned();
    for word in [
        "--partition=gpu",
        "--account=lab-7",
        "--time=720",
        "--array=0-2",
        "--no-requeue",
        "--reservation=night",
    ] {
        assert!(text("command").contains(word), "{word}: {found}");
    }
    assert!(text("script").contains("module load cuda/12.4\nexec "), "{found}");
    assert!(text("script").contains("sandbox-worker serve --inbox "), "{found}");
    assert!(!world.home().join("pools").exists());
}
