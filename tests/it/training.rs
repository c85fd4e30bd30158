//! Real training through the real programs: a loss that falls, the same bits twice, nothing lost when killed.

use std::time::Duration;

use fs_err as fs;
use serde_json::Value;

use crate::world::World;

const SWEEP: &str = "
name: real
data: text
parameters:
  model: [6K, 13K]
  lr: [3e-3, 1e9]
  tokens: [20k, 40k]
  batch_tokens: 1000
  context: 50
  schedule: {name: [wsd, cosine], warmup: 2000}
";

/// The tables without what may differ between two runs: seconds, attempts and the like.
fn results(world: &World) -> (String, String) {
    world
        .run(&["export", "real", "--format", "csv", "--out", "out", "--json"])
        .ok();
    (without_seconds(world, "points"), without_seconds(world, "trials"))
}

/// An exported table but for the seconds, which no two runs share.
fn without_seconds(world: &World, table: &str) -> String {
    let text = fs::read_to_string(world.path(&format!("out/{table}.csv"))).expect("written");
    let head: Vec<&str> = text.lines().next().unwrap_or_default().split(',').collect();
    let seconds = head.iter().position(|name| *name == "seconds").expect("a column");
    let kept: Vec<String> = text
        .lines()
        .map(|line| {
            let cells = line.split(',').enumerate().filter(|(index, _)| *index != seconds);
            cells.map(|(_, cell)| cell).collect::<Vec<_>>().join(",")
        })
        .collect();
    kept.join("\n")
}

fn prepared() -> World {
    let world = World::new();
    world.prepare_text();
    world.write("real.yaml", SWEEP);
    world
}

#[test]
fn a_real_grid_learns_diverges_and_gives_the_same_bits_again() {
    let world = prepared();
    let summary = world.run(&["run", "real.yaml", "--json"]).ok();
    assert_eq!(summary["counts"]["complete"], 8, "{summary}");
    assert_eq!(
        summary["counts"]["diverged"], 8,
        "a learning rate of 1e9 is over any edge: {summary}"
    );
    let (points, trials) = results(&world);
    let losses: Vec<f64> = trials
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(23)?.parse().ok())
        .collect();
    assert_eq!(losses.len(), 8);
    // Words of a small vocabulary: ln 256 at first, and far less after forty thousand tokens.
    assert!(losses.iter().all(|loss| *loss < 4.0), "{losses:?}");
    let show = world.run(&["plan", "real.yaml", "--json"]).ok();
    assert_eq!(show["reasons"]["complete"], 16);
    let second = prepared();
    second.run(&["run", "real.yaml", "--workers", "1", "--json"]).ok();
    assert!(
        results(&second) == (points, trials),
        "one worker gives other bits than several"
    );
}

#[test]
fn a_killed_orchestrator_leaves_nothing_behind_that_the_next_run_does_not_mend() {
    let undisturbed = prepared();
    undisturbed.run(&["run", "real.yaml", "--json"]).ok();
    let world = prepared();
    for _ in 0..2 {
        let mut child = world
            .command(&["run", "real.yaml", "--json"])
            .spawn()
            .expect("the program starts");
        // Long enough to be in the middle, however slow the machine: the first points are there.
        for _ in 0..600 {
            let status = world.run(&["status", "--json"]);
            if status.code == 0 && status.json()["running"].as_array().is_some_and(|it| !it.is_empty()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    let status = world.run(&["status", "--json"]).ok();
    assert_eq!(status["orchestrator"], Value::Null);
    assert_eq!(
        status["running"].as_array().map(Vec::len),
        Some(0),
        "nothing runs without an orchestrator"
    );
    let rest = world.run(&["run", "real.yaml", "--json"]).ok();
    assert_eq!(rest["counts"]["pending"], 0);
    assert!(
        results(&world) == results(&undisturbed),
        "the results differ from an undisturbed run"
    );
}

#[test]
fn a_terminated_run_stops_cleanly_and_goes_on() {
    let world = prepared();
    let more = ["--set", "parameters.tokens=[2M]", "--set", "parameters.lr=[3e-3]"];
    let mut args = vec!["run", "real.yaml", "--json"];
    args.extend(more);
    // HUP is what a terminal says that is closed.
    for signal in ["-TERM", "-HUP"] {
        let child = world
            .command(&args)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(Duration::from_secs(2));
        let pid = child.id().to_string();
        std::process::Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("a signal");
        let output = child.wait_with_output().expect("ended");
        let ran = crate::world::ran(&output);
        assert_eq!(ran.code, 143, "{signal}: {} {}", ran.stdout, ran.stderr);
        assert_eq!(ran.json()["stopped_by"], "signal");
        assert_eq!(ran.json()["counts"]["failed"], 0, "nobody failed");
    }
}

#[test]
fn bench_measures_a_shape() {
    let world = World::new();
    let args = [
        "bench",
        "--shape",
        "width=32,layers=2,heads=2",
        "--context",
        "64",
        "--vocab",
        "256",
    ];
    let mut args = args.to_vec();
    args.extend(["--batch-tokens", "1024", "--threads", "1", "--seconds", "0.5", "--json"]);
    let bench = world.run(&args).ok();
    for key in ["device", "threads", "libtorch", "peak_flops", "rows"] {
        assert!(!bench[key].is_null(), "{key}: {bench}");
    }
    for key in [
        "model",
        "context",
        "batch_tokens",
        "precision",
        "tokens_per_second",
        "flops_per_token",
        "peak_fraction",
        "peak_bytes",
    ] {
        assert!(!bench["rows"][0][key].is_null(), "{key}: {bench}");
    }
}

#[test]
fn bench_refuses_what_cannot_be_measured_as_usage() {
    let world = World::new();
    for args in [
        ["--model", "nope"],
        ["--shape", "width=3"],
        ["--context", "0"],
        ["--batch-tokens", "7"],
        ["--vocab", "0"],
        ["--threads", "0"],
        ["--seconds", "nan"],
    ] {
        let refused = world.run(&[&["bench", "--json"][..], &args].concat());
        assert_eq!(refused.code, 2, "{args:?}: {} {}", refused.stdout, refused.stderr);
        assert!(refused.json()["error"]["message"].is_string(), "{args:?}");
    }
}

#[test]
fn doctor_finds_the_worker() {
    let world = World::new();
    let doctor = world.run(&["doctor", "--json"]);
    assert_eq!(doctor.code, 0, "{}", doctor.stdout);
    assert_eq!(doctor.json()["healthy"], true);
}

#[test]
fn weights_that_are_kept_are_exported_and_asking_for_them_later_trains_the_last_stages_again() {
    let world = prepared();
    let only = ["--set", "parameters.lr=[3e-3]"];
    world.run(&[&["run", "real.yaml", "--json"][..], &only].concat()).ok();
    let digest = world.digest();
    let keep = ["--set", "resources.keep_weights=true"];
    let plan = world
        .run(&[&["plan", "real.yaml", "--json"][..], &only, &keep].concat())
        .ok();
    assert_eq!(plan["reasons"]["continue"], 8, "{}", plan["reasons"]);
    world
        .run(&[&["run", "real.yaml", "--json"][..], &only, &keep].concat())
        .ok();
    assert_eq!(world.digest(), digest, "the results stand");
    let again = world
        .run(&[&["plan", "real.yaml", "--json"][..], &only, &keep].concat())
        .ok();
    assert_eq!(again["totals"]["tokens_to_train"], 0);
    let trial = plan["trials"][0]["trial"].as_str().expect("a trial");
    for (form, class) in [("granite", "GraniteForCausalLM"), ("llama", "LlamaForCausalLM")] {
        world
            .run(&["export", trial, "--format", form, "--out", form, "--json"])
            .ok();
        let text = fs::read_to_string(world.path(form).join("config.json")).expect("written");
        let config: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&config["architectures"][0], &config["vocab_size"]),
            (&class.into(), &256.into())
        );
        assert!(
            fs::metadata(world.path(form).join("model.safetensors"))
                .expect("written")
                .len()
                > 20_000
        );
        let text = fs::read_to_string(world.path(form).join("tokenizer.json")).expect("written");
        let tokenizer: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(tokenizer["model"]["vocab"]["A"], 65, "bytes are their own tokens");
        assert!(world.path(form).join("tokenizer_config.json").exists());
    }
}
