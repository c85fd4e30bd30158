//! Kill anything at any moment, run the same command again: the database ends as if nothing had happened.
//!
//! The short form is a test like any other; `make chaos` sets `SANDBOX_CHAOS` to the number of kills.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sandbox::store::Store;
use serde_json::Value;

use crate::world::World;

/// Kills of the short form.
const FEW: u64 = 12;
/// Steps between two states.
const INTERVAL: u64 = 3;
const BATCH: u64 = 1000;

/// Work enough for so many kills: a second or two each on two cores.
fn sweep(kills: u64) -> String {
    let trunk = 48 + kills * if kills > FEW { 20 } else { 8 };
    let budgets = [trunk / 4, trunk / 2, trunk].map(|steps| (steps * BATCH).to_string());
    format!(
        "
name: chaos
data: text
parameters:
  model: [6K, 13K]
  lr: [3e-3, 1e9]
  tokens: [{}]
  batch_tokens: {BATCH}
  context: 50
  schedule: {{name: [wsd, cosine], warmup: 2000}}
resources: {{workers: 2, checkpoint_tokens: {}}}
retry: {{worker_lost: 1000}}
",
        budgets.join(", "),
        INTERVAL * BATCH
    )
}

/// What was done to the run.
#[derive(Debug, Default)]
struct Counts {
    orchestrators: u64,
    workers: u64,
    at_fail_points: u64,
    after_a_checkpoint: u64,
}

impl Counts {
    fn kills(&self) -> u64 {
        self.orchestrators + self.workers + self.at_fail_points
    }
}

fn prepared(kills: u64) -> World {
    let world = World::new();
    world.prepare_text();
    world.write("chaos.yaml", &sweep(kills));
    world
}

fn start(world: &World, faults: &str) -> Child {
    let mut command = world.command(&["run", "chaos.yaml", "--json"]);
    command.env("SANDBOX_FAIL", faults);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

fn kill(pid: u64) -> bool {
    let status = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// States inside stages that are being trained, and the workers' processes.
fn running(world: &World) -> (usize, Vec<u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let Ok(mut store) = Store::open_existing(&world.home().join("sandbox.db")).await else {
            return (0, Vec::new());
        };
        let rows = store.running().await.unwrap_or_default();
        let mut states = 0;
        for row in &rows {
            let stage = sandbox::units::StageId(row.stage.clone());
            states += store.checkpoints(&stage).await.map_or(0, |states| states.len());
        }
        (states, rows.iter().filter_map(|row| row.pid).collect())
    })
}

/// A place that is still ahead where a process is to die: between a write and its rename, or a record and its act.
fn fail_point(world: &World, random: &mut StdRng) -> Option<(String, bool)> {
    let plan = world.run(&["plan", "chaos.yaml", "--json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).ok()?;
    let stages = plan["stages"].as_array()?;
    let steps = |stage: &Value, key: &str| stage[key].as_u64().map(|tokens| tokens / BATCH);
    let is_at_hand = |parent: &Value| {
        let parent = stages.iter().find(|stage| stage["stage"] == *parent);
        parent.is_none_or(|parent| parent["state"] == "complete")
    };
    let ahead: Vec<(u64, u64)> = stages
        .iter()
        .filter(|stage| stage["state"] == "pending" && is_at_hand(&stage["parent"]))
        .filter_map(|stage| Some((steps(stage, "from_tokens")?, steps(stage, "to_tokens")?)))
        .collect();
    if ahead.is_empty() {
        return None;
    }
    // Wherever one of them comes first.
    let list = |kind: &str, steps: &mut dyn Iterator<Item = u64>| {
        let faults: Vec<String> = steps.map(|step| format!("{kind}@*:{step}x1000")).collect();
        faults.join(",")
    };
    let mut ends = ahead.iter().map(|(_, to)| *to);
    Some(match random.random_range(0..5) {
        0 => (list("unlaunched", &mut ends), true),
        1 | 2 => (list("unfollowed", &mut ends), true),
        _ => {
            // A state that stands a random while ahead.
            let far = random.random_range(0..20);
            let mut steps = ahead.iter().flat_map(|(from, to)| (from + far..=*to).take(50));
            (list("torn", &mut steps), false)
        }
    })
}

/// Lets the run go on until one more process was killed, or it came to its end.
fn disturb(world: &World, random: &mut StdRng, counts: &mut Counts) -> bool {
    let wants_fail_point = random.random_bool(0.4);
    let fault = wants_fail_point.then(|| fail_point(world, random)).flatten();
    // A place takes its time to be reached.
    let patience = if fault.is_some() {
        2000
    } else {
        random.random_range(20..1000)
    };
    let (faults, kills_orchestrator) = fault.unwrap_or_default();
    let mut child = start(world, &faults);
    let until = Instant::now() + Duration::from_millis(patience);
    let wants_worker = random.random_bool(0.4);
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            use std::os::unix::process::ExitStatusExt as _;
            let died = status.signal().is_some();
            counts.at_fail_points += u64::from(died && kills_orchestrator);
            return died;
        }
        if Instant::now() >= until {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let (states, workers) = running(world);
    let victim = (wants_worker && !workers.is_empty()).then(|| workers[random.random_range(0..workers.len())]);
    if victim.is_some_and(kill) {
        counts.workers += 1;
        counts.after_a_checkpoint += u64::from(states > 0);
        std::thread::sleep(Duration::from_millis(random.random_range(0..400)));
    }
    let (states, _) = running(world);
    // The worker may have been the last thing that ran.
    if child.try_wait().expect("a child").is_none() {
        child.kill().expect("killed");
        counts.orchestrators += 1;
        counts.after_a_checkpoint += u64::from(states > 0);
    }
    child.wait().expect("ended");
    true
}

/// Attempts that died between a write and its rename: what a torn state leaves is a file that is no state.
fn torn(world: &World) -> u64 {
    let stages = world.files();
    stages
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|kind| kind == "tmp"))
        .count() as u64
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the length of the test is asked for in the environment"
)]
fn a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_happened() {
    let asked = std::env::var("SANDBOX_CHAOS").ok();
    let kills: u64 = asked.map_or(FEW, |count| count.parse().expect("a number of kills"));
    let seed = if kills == FEW { 7 } else { rand::random() };
    let mut random = StdRng::seed_from_u64(seed);
    let undisturbed = prepared(kills);
    undisturbed.run(&["run", "chaos.yaml", "--json"]).ok();
    let plan = undisturbed.run(&["plan", "chaos.yaml", "--json"]).ok();

    let world = prepared(kills);
    let mut counts = Counts::default();
    while counts.kills() + torn(&world) < kills && disturb(&world, &mut random, &mut counts) {}
    counts.at_fail_points += torn(&world);
    let summary = world.run(&["run", "chaos.yaml", "--json"]).ok();
    eprintln!("seed {seed}: {} kills: {counts:?}", counts.kills());
    assert_eq!(summary["counts"]["pending"], 0, "{summary}");
    // A fast machine may be done before the last of a few kills; the long form has work for all of them.
    let least = if kills > FEW { kills } else { kills / 3 };
    assert!(
        counts.kills() >= least,
        "the work was done too soon for {least} kills: {counts:?}"
    );
    if kills >= 100 {
        assert!(
            counts.after_a_checkpoint >= 30 && counts.at_fail_points >= 10,
            "{counts:?}"
        );
    }
    assert_eq!(world.digest(), undisturbed.digest(), "seed {seed}");

    world.run(&["export", "--format", "csv", "--out", "out", "--json"]).ok();
    let table = fs_err::read_to_string(world.path("out/stages.csv")).expect("written");
    let column = table
        .lines()
        .next()
        .unwrap_or_default()
        .split(',')
        .position(|name| name == "tokens_trained");
    let trained: u64 = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(column?)?.parse::<u64>().ok())
        .sum();
    let planned = plan["totals"]["tokens"].as_u64().expect("a number");
    let most = planned + counts.kills() * INTERVAL * BATCH;
    assert!(
        trained <= most,
        "{trained} tokens were trained, {most} at most: {counts:?}"
    );
    assert!(world.run(&["gc", "--json"]).ok()["removed"].is_array());
}
