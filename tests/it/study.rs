//! A study from outside, with the toy trainer: what it says before, what it decides, how it ends, and that a kill changes
//! nothing.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::world::World;

/// Sizes and budgets of its own, so that the test does not rest on what suits a machine.
const STUDY: &str = "
data: text
target: {params: 1M, tokens: 4M}
budget: {tokens: 40M}
ranges:
  model: [6K, 13K, 24K, 55K, 80K]
  lr: [5e-3, 1e-2, 2e-2]
  tokens: [100k, 200k, 400k]
  batch_tokens: [1024, 2048, 4096]
parameters: {context: 128}
";

fn world(study: &str) -> World {
    let world = World::new();
    world.prepare_text();
    world.write("s.yaml", study);
    world
}

fn decisions(view: &Value) -> &Vec<Value> {
    view["decisions"].as_array().expect("a list")
}

/// What was decided, without what an interruption may change.
fn decided(view: &Value) -> Vec<String> {
    let one = |it: &Value| format!("{} {} {} {}", it["question"], it["what"], it["sweep"], it["tokens"]);
    decisions(view).iter().map(one).collect()
}

const RUN: [&str; 4] = ["study", "s.yaml", "--toy", "--json"];

#[test]
fn a_study_goes_from_data_to_a_scored_forecast_and_a_recipe() {
    let world = world(STUDY);
    let view = world.run(&RUN).ok();
    let questions: Vec<&str> = decisions(&view)
        .iter()
        .filter_map(|it| it["question"].as_str())
        .collect();
    assert_eq!(questions[..3], ["noise", "constants", "rates"]);
    assert_eq!(questions[questions.len() - 2..], ["forecast", "stop"]);
    // The planted rate is 0.01, and the planted law foretells its own run.
    let lr = view["recipe"]["items"]["lr"]["value"].as_f64().expect("a rate");
    assert!((lr / 0.01 - 1.0).abs() < 0.05, "{lr}");
    let off = view["forecast"]["relative_error"].as_f64().expect("scored");
    assert!(off.abs() < 0.01, "{off}");
    assert_eq!(view["forecast"]["registered_first"], true);
    let spent: f64 = decisions(&view).iter().filter_map(|it| it["tokens"].as_f64()).sum();
    assert!((view["budget"]["spent"].as_f64().expect("spent") - spent).abs() < 1.0);
    assert!(spent < 40e6, "{spent}");
    assert_eq!(world.run(&["db", "check", "--json"]).code, 0);
    // Its sweeps are files that run as any other, and there is nothing left to do.
    let sweep = decisions(&view)[2]["sweep"].as_str().expect("a sweep");
    let file = world
        .home()
        .join(format!("studies/s/{sweep}.yaml"))
        .display()
        .to_string();
    let again = world.run(&["run", &file, "--toy", "--json"]).ok();
    assert_eq!(again["trained"]["stages"], 0);
    // The second time nothing is decided anew.
    let same = world.run(&RUN).ok();
    assert_eq!(decided(&same), decided(&view));
    assert_eq!(same["state"], view["state"]);
}

#[test]
fn a_study_is_one_name_for_its_sweeps_and_tells_its_story() {
    let world = world(STUDY);
    let view = world.run(&RUN).ok();
    let shown = world.run(&["show", "s", "--toy"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for made in decisions(&view) {
        let outcome = made["outcome"].as_str().expect("all is done");
        assert!(shown.stdout.contains(outcome), "{outcome}: {}", shown.stdout);
    }
    let status = world.run(&["study", "s.yaml", "--status", "--toy", "--json"]).ok();
    assert_eq!((&status["state"], decided(&status)), (&view["state"], decided(&view)));
    assert_eq!(world.run(&["fit", "s", "--toy", "--json"]).ok()["source"], "s");
    let page = world.run(&["report", "s", "--toy", "--out", "page", "--json"]).ok();
    let html = fs_err::read_to_string(world.path(page["html"].as_str().expect("a path"))).expect("written");
    let (story, recipe) = (html.find("id=\"story\""), html.find("id=\"recipe\""));
    assert!(story.is_some() && story < recipe, "the story comes first");
    assert!(html.contains(decisions(&view)[2]["outcome"].as_str().expect("an outcome")));
}

#[test]
fn a_dry_run_says_what_it_would_do_and_what_the_budget_cannot_decide() {
    let world = world(STUDY);
    let before = world.files();
    let plan = world.run(&["study", "s.yaml", "--toy", "--dry-run", "--json"]).ok();
    assert_eq!(before, world.files(), "nothing is written");
    let steps: Vec<&str> = plan["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter_map(|it| it["question"].as_str())
        .collect();
    assert_eq!(
        steps,
        ["noise", "constants", "rates", "batch", "decay", "law", "forecast"]
    );
    let roles: Vec<&str> = plan["rungs"]
        .as_array()
        .expect("rungs")
        .iter()
        .filter_map(|it| it["role"].as_str())
        .collect();
    assert_eq!(roles, ["law", "law", "law", "law", "forecast"]);
    assert_eq!(
        plan["cannot"].as_array().expect("a list").len(),
        1,
        "the target is far: {}",
        plan["cannot"]
    );
    // A first step costs what it was foreseen to.
    let view = world.run(&RUN).ok();
    assert_eq!(plan["steps"][0]["tokens"], decisions(&view)[0]["tokens"]);
    let poor = world_of("tokens: 40M", "tokens: 3M");
    let plan = poor.run(&["study", "s.yaml", "--toy", "--dry-run", "--json"]).ok();
    let cannot = plan["cannot"].to_string();
    assert!(
        cannot.contains("rates: it needs") && cannot.contains("law: it needs"),
        "{cannot}"
    );
}

fn world_of(from: &str, to: &str) -> World {
    world(&STUDY.replace(from, to))
}

#[test]
fn a_budget_is_never_exceeded_and_ends_the_study_with_its_own_code() {
    for tokens in ["500k", "3M", "6M"] {
        let world = world_of("tokens: 40M", &format!("tokens: {tokens}"));
        let ran = world.run(&RUN);
        let view = ran.json();
        assert_eq!(
            (ran.code, &view["state"]),
            (7, &Value::from("budget")),
            "{tokens}: {}",
            ran.stderr
        );
        let budget = &view["budget"];
        assert!(budget["spent"].as_f64() <= budget["limit"].as_f64(), "{budget}");
        // What was really trained, by the database.
        world.run(&["export", "--format", "csv", "--out", "out", "--json"]);
        let stages = fs_err::read_to_string(world.path("out/stages.csv")).unwrap_or_default();
        let trained: f64 = stages
            .lines()
            .skip(1)
            .filter_map(|line| line.split(',').nth(7)?.parse::<f64>().ok())
            .sum();
        assert!(
            trained <= budget["limit"].as_f64().expect("a limit"),
            "{tokens}: {trained}"
        );
    }
}

#[test]
fn a_larger_budget_goes_on_where_the_smaller_one_ended() {
    let world = world_of("tokens: 40M", "tokens: 6M");
    let poor = world.run(&RUN).json();
    world.write("s.yaml", STUDY);
    let rich = world.run(&RUN).ok();
    let before = decided(&poor);
    assert_eq!(decided(&rich)[..before.len()], before[..], "what was decided stays");
    assert!(!rich["forecast"].is_null(), "{rich}");
}

#[test]
fn who_follows_gets_every_decision_as_a_line_and_the_last_word_at_the_end() {
    let world = world(STUDY);
    let ran = world.run(&["study", "s.yaml", "--toy", "--json", "--follow"]);
    let lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (last, decisions_made) = lines.split_last().expect("lines");
    assert_eq!(last["study"], "s");
    let begun = decisions_made.iter().filter(|it| it["outcome"].is_null()).count();
    let swept = decisions(last).iter().filter(|it| !it["sweep"].is_null()).count();
    assert_eq!(begun, swept, "each is told before it is acted on");
    let done = decisions_made.iter().filter(|it| !it["outcome"].is_null()).count();
    assert_eq!(done, decisions(last).len(), "and when it is done");
}

#[test]
fn a_study_that_is_killed_again_and_again_decides_and_trains_alike() {
    let quiet = world(STUDY);
    let left_alone = quiet.run(&RUN).ok();
    let digest = |world: &World| world.run(&["db", "digest", "--json"]).ok()["digest"].clone();
    let world = world(STUDY);
    let mut kills = 0;
    for round in 0..40_u64 {
        let mut child = world
            .command(&RUN)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(20 + 17 * (round % 12)));
        if child.try_wait().expect("asked").is_none() {
            child.kill().expect("killed");
            kills += 1;
        }
        child.wait().expect("gone");
    }
    assert!(kills > 0, "{kills} kills met a study at work");
    let view = world.run(&RUN).ok();
    assert_eq!(decided(&view), decided(&left_alone));
    assert_eq!(digest(&world), digest(&quiet));
    assert_eq!(world.run(&["db", "check", "--json"]).code, 0);
}

#[test]
fn mistakes_of_a_study_are_told_with_their_lines() {
    let world = World::new();
    world.write(
        "bad.yaml",
        "data: text\ntarget: {params: 1M}\nbudgets: {hours: 1}\nranges: {lrr: [1e-2]}\n",
    );
    let ran = world.run(&["study", "bad.yaml", "--dry-run", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "invalid_study"));
    let at = ran.json()["error"]["at"].clone();
    let lines: Vec<u64> = at
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["line"].as_u64())
        .collect();
    assert_eq!(lines, [1, 3, 4], "{at}");
    assert_eq!(at[1]["suggestion"], "budget");
}

#[test]
fn init_writes_a_study_that_a_dry_run_takes() {
    let world = World::new();
    world.prepare_text();
    world.run(&["init", "--study", "--json"]).ok();
    let text = fs_err::read_to_string(world.path("study.yaml")).expect("written");
    world.write("study.yaml", &text.replace("data: rust-sources", "data: text"));
    let plan = world.run(&["study", "study.yaml", "--toy", "--dry-run", "--json"]).ok();
    assert!(plan["steps"].as_array().is_some_and(|steps| steps.len() == 7), "{plan}");
}
