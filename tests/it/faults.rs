//! Every way to fail, provoked through the real programs: what was asked for is trained all the same, to the bit.

use std::process::Command;

use fs_err as fs;
use serde_json::Value;

use crate::world::{Ran, World, ran};

const SWEEP: &str = "
name: faults
data: text
parameters:
  model: 6K
  lr: [3e-3]
  tokens: [12k, 24k]
  batch_tokens: 1000
  context: 50
  schedule: {name: wsd, warmup: 2000}
resources: {checkpoint_tokens: 3k, timeout_seconds: 30}
";

fn prepared() -> World {
    let world = World::new();
    world.prepare_text();
    world.write("faults.yaml", SWEEP);
    world
}

fn failing(world: &World, faults: &str, more: &[&str]) -> Ran {
    let mut args = vec!["run", "faults.yaml", "--json"];
    args.extend(more);
    let output = world.command(&args).env("SANDBOX_FAIL", faults).output();
    ran(&output.expect("the program starts"))
}

fn undisturbed() -> Value {
    let world = prepared();
    world.run(&["run", "faults.yaml", "--json"]).ok();
    world.digest()
}

/// Causes of the attempts at the stages of every trial, and their micro-batches.
fn attempts(world: &World) -> Vec<Value> {
    let plan = world.run(&["plan", "faults.yaml", "--json"]).ok();
    let trials = plan["trials"].as_array().expect("trials");
    let shown = trials.iter().map(|trial| {
        let name = trial["trial"].as_str().expect("a name");
        world.run(&["show", name, "--json"]).ok()
    });
    let stages = shown.flat_map(|trial| trial["stages"].as_array().cloned().unwrap_or_default());
    stages
        .flat_map(|stage| stage["attempts_made"].as_array().cloned().unwrap_or_default())
        .collect()
}

fn has_cause(attempts: &[Value], cause: &str) -> bool {
    attempts.iter().any(|attempt| attempt["cause"] == cause)
}

#[test]
fn workers_that_are_killed_hang_or_run_out_of_disk_cost_nothing() {
    let expected = undisturbed();
    for (faults, cause) in [
        ("kill@*:7", "worker_lost"),
        ("torn@*:6", "worker_lost"),
        ("hang@*:7", "timed_out"),
    ] {
        let world = prepared();
        let summary = failing(&world, faults, &["--set", "resources.timeout_seconds=3"]).ok();
        assert_eq!(summary["counts"]["complete"], 2, "{faults}: {summary}");
        assert_eq!(world.digest(), expected, "{faults}");
        assert!(has_cause(&attempts(&world), cause), "{faults}");
        let stages = world.run(&["export", "--format", "csv", "--out", "out", "--json"]).ok();
        assert!(stages["files"].is_array());
    }
}

#[test]
fn a_worker_that_goes_on_trains_no_more_than_the_last_interval_again() {
    let world = prepared();
    // Killed before the step that follows the eighth: states stand at 3 and 6.
    failing(&world, "kill@*:8", &[]).ok();
    let attempts = attempts(&world);
    let second = attempts.iter().find(|attempt| attempt["attempt"] == 2);
    assert_eq!(second.expect("a second attempt")["from_steps"], 6, "{attempts:?}");
}

#[test]
fn a_full_memory_halves_the_micro_batch_and_says_so() {
    let world = prepared();
    let summary = failing(&world, "oom@*:4x2", &[]).ok();
    assert_eq!(summary["counts"]["complete"], 2, "{summary}");
    let attempts = attempts(&world);
    assert!(has_cause(&attempts, "out_of_memory"));
    let batches: Vec<&Value> = attempts.iter().map(|attempt| &attempt["micro_batch"]).collect();
    assert_eq!(
        batches[..3],
        [&Value::Null, &Value::from(10), &Value::from(5)],
        "{attempts:?}"
    );
}

#[test]
fn a_loss_that_is_no_number_is_a_result() {
    let world = prepared();
    let ran = failing(&world, "nan@*:5", &[]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(ran.json()["counts"]["diverged"], 2);
    let again = world.run(&["run", "faults.yaml", "--json"]).ok();
    assert_eq!(again["trained"]["stages"], 0, "a result is not tried again");
}

#[test]
fn a_full_disk_stops_the_run_with_six_and_the_next_run_goes_on() {
    let expected = undisturbed();
    let world = prepared();
    let ran = failing(&world, "enospc@*:7", &[]);
    assert_eq!((ran.code, &ran.json()["stopped_by"]), (6, &Value::from("disk")));
    assert_eq!(ran.json()["counts"]["failed"], 0, "nobody failed");
    let collected = world.run(&["gc", "--states", "--json"]).ok();
    assert!(
        collected["kept_bytes"].as_u64() > Some(0),
        "what a pending stage goes on from is needed: {collected}"
    );
    world.run(&["run", "faults.yaml", "--json"]).ok();
    assert_eq!(world.digest(), expected);
}

#[test]
fn an_orchestrator_that_dies_between_a_record_and_its_act_leaves_a_home_that_goes_on() {
    let expected = undisturbed();
    let plan = prepared().run(&["plan", "faults.yaml", "--json"]).ok();
    let end = plan["stages"][0]["to_tokens"].as_u64().expect("a trunk") / 1000;
    for kind in ["unlaunched", "unfollowed"] {
        let world = prepared();
        let ran = failing(&world, &format!("{kind}@*:{end}"), &[]);
        assert_eq!(ran.code, -1, "killed: {}", ran.stdout);
        let summary = world.run(&["run", "faults.yaml", "--json"]).ok();
        assert_eq!(summary["counts"]["complete"], 2, "{kind}: {summary}");
        assert_eq!(world.digest(), expected, "{kind}");
    }
}

#[test]
fn attempts_have_a_limit_and_another_run_tries_again() {
    let world = prepared();
    let ran = failing(&world, "kill@*:5x9", &["--retry", "worker_lost=1"]);
    let summary = ran.json();
    assert_eq!(
        (ran.code, &summary["counts"]["failed"]),
        (3, &Value::from(2)),
        "{summary}"
    );
    assert_eq!(summary["failed"][0]["cause"], "worker_lost");
    let made = attempts(&world)
        .iter()
        .filter(|attempt| attempt["cause"] == "worker_lost")
        .count();
    assert_eq!(made, 4, "two attempts, seen by two trials");
    let summary = world.run(&["run", "faults.yaml", "--json"]).ok();
    assert_eq!(summary["counts"]["complete"], 2);
    let world = prepared();
    let ran = failing(&world, "kill@*:5x9", &["--retry", "worker_lost=0", "--fail-fast"]);
    assert_eq!(ran.json()["stopped_by"], "fail_fast");
}

/// Changes a byte in the state at the end of every trunk.
fn damage_states(world: &World) -> usize {
    let mut damaged = 0;
    for stage in fs::read_dir(world.home().join("stages")).expect("stages").flatten() {
        for attempt in fs::read_dir(stage.path()).expect("attempts").flatten() {
            let state = attempt.path().join("state.safetensors");
            let Ok(mut bytes) = fs::read(&state) else { continue };
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&state, bytes).expect("written");
            damaged += 1;
        }
    }
    damaged
}

#[test]
fn states_that_are_damaged_or_removed_are_made_again_when_a_sweep_grows() {
    let longer = ["--set", "parameters.tokens=[12k, 24k, 36k]"];
    let whole = prepared();
    let mut args = vec!["run", "faults.yaml", "--json"];
    args.extend(longer);
    whole.run(&args).ok();
    let expected = whole.digest();

    let world = prepared();
    world.run(&["run", "faults.yaml", "--json"]).ok();
    assert!(damage_states(&world) > 0);
    let check = world.run(&["db", "check", "--json"]);
    assert_eq!((check.code, &check.json()["ok"]), (6, &Value::from(false)));
    let summary = world.run(&args).ok();
    assert_eq!(summary["counts"]["complete"], 3, "{summary}");
    assert_eq!(world.digest(), expected, "damaged");

    let world = prepared();
    world.run(&["run", "faults.yaml", "--json"]).ok();
    let kept = world.run(&["gc", "--json"]).ok();
    assert_eq!(kept["bytes"], 0, "a finished run leaves nothing to collect: {kept}");
    let removed = world.run(&["gc", "--states", "--json"]).ok();
    assert!(
        removed["bytes"].as_u64() > Some(0) && removed["kept_bytes"] == 0,
        "{removed}"
    );
    let summary = world.run(&args).ok();
    assert_eq!(summary["counts"]["complete"], 3, "{summary}");
    assert_eq!(world.digest(), expected, "removed");
}

#[test]
fn a_trial_that_is_cancelled_is_not_trained_until_it_is_brought_back() {
    let world = prepared();
    world.run(&["run", "faults.yaml", "--set", "run_cap=1", "--json"]);
    let cancelled = world
        .run(&["cancel", "faults", "--where", "tokens > 15k", "--json"])
        .ok();
    assert_eq!(cancelled["trials"].as_array().map(Vec::len), Some(1), "{cancelled}");
    let plan = world.run(&["plan", "faults.yaml", "--json"]).ok();
    assert_eq!(
        (&plan["reasons"]["cancelled"], &plan["totals"]["tokens_to_train"]),
        (&1.into(), &0.into())
    );
    let summary = world.run(&["run", "faults.yaml", "--json"]).ok();
    assert_eq!(
        (&summary["counts"]["cancelled"], &summary["trained"]["stages"]),
        (&1.into(), &0.into())
    );
    world.run(&["cancel", "faults", "--undo", "--json"]).ok();
    let summary = world.run(&["run", "faults.yaml", "--json"]).ok();
    assert_eq!(summary["counts"]["complete"], 2, "{summary}");
    assert_eq!(world.digest(), undisturbed());
}

/// A file system of a few megabytes, filled while a sweep runs and emptied again: one shell, in a namespace of its own.
const SMALL_DISK: &str = r#"
mount -t tmpfs -o size=6m tmpfs "$HOME_DIR" && cp -r "$DATA_DIR" "$HOME_DIR/data" || exit 77
"$SANDBOX" --home "$HOME_DIR" run faults.yaml --json --set 'parameters.tokens=[200k, 400k]' > first.json 2> first.log &
pid=$!
until ls "$HOME_DIR"/stages/*/1/lines.jsonl > /dev/null 2>&1; do sleep 0.05; done; sleep 0.3
dd if=/dev/zero of="$HOME_DIR/filler" bs=4k 2> /dev/null
wait $pid; echo "first $?"
rm "$HOME_DIR/filler"
"$SANDBOX" --home "$HOME_DIR" run faults.yaml --json --set 'parameters.tokens=[200k, 400k]' > second.json 2> second.log; echo "second $?"
"$SANDBOX" --home "$HOME_DIR" db check > check.txt 2>&1; echo "check $?"
"$SANDBOX" --home "$HOME_DIR" db digest
"#;

#[test]
fn a_disk_that_fills_up_in_the_middle_loses_nothing() {
    let name = "a_disk_that_fills_up_in_the_middle_loses_nothing";
    let long = [
        "run",
        "faults.yaml",
        "--json",
        "--set",
        "parameters.tokens=[200k, 400k]",
    ];
    let whole = prepared();
    whole.run(&long).ok();
    let expected = whole.digest();
    let world = prepared();
    let disk = world.path("disk");
    fs::create_dir(&disk).expect("a folder");
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-c", SMALL_DISK])
        .current_dir(world.path(""))
        .env("HOME_DIR", &disk)
        .env("DATA_DIR", world.home().join("data"))
        .env("SANDBOX", env!("CARGO_BIN_EXE_sandbox"))
        .env_remove("SANDBOX_DB")
        .output();
    let output = match output {
        Ok(output) if !matches!(output.status.code(), Some(77 | 1)) => output,
        Ok(_) | Err(_) => return crate::skip::skip(name, "this system lets nobody mount a small disk (unshare -Urm)"),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |file: &str| fs::read_to_string(world.path(file)).unwrap_or_default();
    let all = format!(
        "{said}\n{}\n{}\n{}",
        read("first.json"),
        read("first.log"),
        read("second.json")
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["first 6", "second 0", "check 0"], "{all}");
    assert_eq!(Some(lines[3]), expected.as_str(), "{all}");
}
