//! The way of a first user: from the template to a page, by what each command says comes next.

use fs_err as fs;
use serde_json::Value;

use crate::world::{Ran, World};

/// The command that the last word names, as its arguments.
fn next(ran: &Ran) -> Vec<String> {
    let line = ran
        .stderr
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("next: sandbox "));
    let line = line.expect("a command says which comes next");
    line.split_whitespace().map(str::to_owned).collect()
}

fn typed(world: &World, words: &[String]) -> Ran {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    world.run_typed(&words)
}

fn prepared() -> World {
    let world = World::new();
    world.prepare_text();
    world
}

const TWO_SCHEDULES: &str = "
name: both
data: text
parameters:
  model: [6K, 24K]
  lr: 1e-2
  tokens: [200k, 400k]
  batch_tokens: [1000, 2000]
  context: 100
  schedule: {name: [wsd, cosine], warmup: 8000}
";

#[test]
fn the_template_leads_to_a_page_by_what_each_command_says_comes_next() {
    let world = prepared();
    let written = world.run(&["init", "--toy"]);
    assert_eq!(
        next(&written)[..3],
        ["data", "prepare", "rust-sources"],
        "{}",
        written.stderr
    );
    let text = fs::read_to_string(world.path("sweep.yaml")).expect("the template");
    world.write("sweep.yaml", &text.replace("data: rust-sources", "data: text"));
    let corpus = world.path("corpus").display().to_string();
    let data = world.run(&[
        "data",
        "prepare",
        &corpus,
        "--name",
        "text",
        "--held-out",
        "10%",
        "--toy",
    ]);
    let mut words = next(&data);
    for command in ["plan", "run", "fit", "recipe", "report"] {
        assert_eq!(words[0], command, "{words:?}");
        assert!(
            words.contains(&"--home".to_owned()) && words.contains(&"--toy".to_owned()),
            "{words:?}"
        );
        let ran = typed(&world, &words);
        assert_eq!(ran.code, 0, "{words:?}: {} {}", ran.stdout, ran.stderr);
        if command != "report" {
            words = next(&ran);
        }
    }
    assert!(world.path("reports/first/index.html").exists());
    for alone in ["--json", "--quiet"] {
        let ran = world.run(&["plan", "sweep.yaml", "--toy", alone]);
        assert!(
            !ran.stderr.contains("next:") && !ran.stdout.contains("next: "),
            "{}",
            ran.stderr
        );
    }
    let done = world.run(&["plan", "sweep.yaml", "--toy"]);
    assert_eq!(next(&done)[..2], ["fit", "first"], "nothing is left to run");
}

#[test]
fn a_plan_says_which_laws_the_sweep_will_carry_and_fit_agrees() {
    let world = prepared();
    world.run(&["init", "--toy"]);
    let sets = ["--set", "data=text", "--toy", "--json"];
    let laws = |more: &[&str]| world.run(&[&["plan", "sweep.yaml"], &sets[..], more].concat()).ok()["laws"].clone();
    let of = |laws: &Value, name: &str| {
        let found = laws.as_array().expect("a list").iter().find(|law| law["law"] == name);
        found.expect("the law").clone()
    };
    let template = laws(&[]);
    for law in ["chinchilla", "lr"] {
        assert_eq!(of(&template, law)["carried"], true, "{template}");
    }
    let two = ["--set", "parameters.tokens=[200k,400k]"];
    let lacking = of(&laws(&two), "chinchilla");
    assert_eq!(lacking["carried"], false);
    assert!(
        lacking["lacks"]
            .as_str()
            .is_some_and(|why| why.contains("three token budgets")),
        "{lacking}"
    );
    let said = world.run(&[&["plan", "sweep.yaml", "--toy"], &sets[..2], &two].concat());
    assert!(said.stdout.contains("not chinchilla"), "{}", said.stdout);
    world.run(&[&["run", "sweep.yaml"], &sets[..], &two].concat()).ok();
    assert_eq!(
        world.run(&["fit", "first", "--toy", "--json"]).error(),
        "too_few_budgets"
    );
    world.run(&[&["run", "sweep.yaml"], &sets[..]].concat()).ok();
    assert_eq!(world.run(&["fit", "first", "--toy", "--json"]).ok()["n"], 9);
}

/// When the stages of a sweep were begun and ended on one worker, by their kind.
fn stages_of(world: &World, plan: &Value) -> Vec<(String, String, String)> {
    let mut stages = std::collections::BTreeMap::new();
    for trial in plan["trials"].as_array().expect("trials") {
        let name = trial["trial"].as_str().expect("a name");
        let shown = world.run(&["show", name, "--json"]).ok();
        for stage in shown["stages"].as_array().expect("stages") {
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let attempt = &stage["attempts_made"][0];
            let row = (
                text(&stage["kind"]),
                text(&attempt["started_at"]),
                text(&attempt["ended_at"]),
            );
            stages.insert(text(&stage["stage"]), row);
        }
    }
    stages.into_values().collect()
}

#[test]
fn a_trial_is_finished_before_the_next_trunk_begins_and_order_changes_no_result() {
    let digest = |workers: &str| {
        let world = prepared();
        world.write("both.yaml", TWO_SCHEDULES);
        world
            .run(&["run", "both.yaml", "--toy", "--workers", workers, "--json"])
            .ok();
        let plan = world.run(&["plan", "both.yaml", "--toy", "--json"]).ok();
        let stages = stages_of(&world, &plan);
        (world.run(&["db", "digest", "--json"]).ok()["digest"].clone(), stages)
    };
    let (one, stages) = digest("1");
    let of = |kind: &'static str| stages.iter().filter(move |stage| stage.0 == kind);
    let first_result = of("decay").map(|stage| &stage.2).min().expect("decays");
    let last_trunk = of("trunk").map(|stage| &stage.1).max().expect("trunks");
    assert!(first_result < last_trunk, "{stages:?}");
    // Between the end of a decay's trunk and the decay, on one worker, no other trunk was begun.
    let trunks_between = of("trunk").filter(|stage| stage.1 > *first_result).count();
    assert!(trunks_between >= 2, "{stages:?}");
    assert_eq!(digest("3").0, one);
}

#[test]
fn the_sweeps_to_run_next_say_what_they_cost_and_are_run_and_joined() {
    let world = prepared();
    world.write(
        "narrow.yaml",
        &crate::studies::RATES.replace("[3e-3, 1e-2, 3e-2]", "[1e-3, 2e-3]"),
    );
    world.run(&["run", "narrow.yaml", "--toy", "--json"]).ok();
    let recipe = ["recipe", "--params", "2.4B", "--sweep", "rates", "--toy", "--json"];
    let refused = world.run(&recipe);
    assert_eq!(refused.error(), "optimum_at_edge");
    assert!(refused.stdout.contains("--run-next"), "{}", refused.stdout);
    let next = world.home().join("next/rates-wider-lr.yaml");
    let text = fs::read_to_string(&next).expect("the next sweep");
    let first = text.lines().next().expect("a line");
    let plan = world
        .run(&["plan", &next.display().to_string(), "--toy", "--json"])
        .ok();
    let left = plan["reasons"]["new"].as_u64().expect("a number") + plan["reasons"]["continue"].as_u64().unwrap_or(0);
    assert!(first.starts_with(&format!("# Run it next: {left} trials, ")), "{first}");
    let joined = world.run(&[&recipe[..], &["--run-next"]].concat()).ok();
    let lr = joined["items"]["lr"]["value"].as_f64().expect("a number");
    assert!((lr / 0.01 - 1.0).abs() < 0.1, "{lr}");
    let sweeps = joined["next_sweeps"].as_array().expect("a list");
    assert!(sweeps.len() >= 2, "{}", joined["gates"]);
    let cost = |at: usize| sweeps[at]["flops"].as_f64().expect("a number");
    assert!(
        (1..sweeps.len()).all(|at| cost(at - 1) <= cost(at)),
        "the cheapest first: {sweeps:?}"
    );
    for (place, sweep) in sweeps.iter().enumerate() {
        let text = fs::read_to_string(sweep["file"].as_str().expect("a path")).expect("written");
        let order = format!("# Run {} of {}, the cheapest first: ", place + 1, sweeps.len());
        assert!(text.starts_with(&order), "{text}");
    }
}

#[test]
fn several_sweeps_are_exported_as_one_and_each_keeps_its_own() {
    let world = prepared();
    world.write("both.yaml", TWO_SCHEDULES);
    let more = TWO_SCHEDULES
        .replace("name: both", "name: more")
        .replace("lr: 1e-2", "lr: [1e-2, 2e-2]");
    world.write("more.yaml", &more);
    for name in ["both.yaml", "more.yaml"] {
        world.run(&["run", name, "--toy", "--json"]).ok();
    }
    let rows = |target: &[&str], table: &str| -> Vec<String> {
        let args = [&["export"], target, &["--format", "csv", "--out", "out", "--json"]].concat();
        world.run(&args).ok();
        let text = fs::read_to_string(world.path(&format!("out/{table}.csv"))).expect("written");
        text.lines().skip(1).map(str::to_owned).collect()
    };
    let count = |target: &[&str]| rows(target, "trials").len();
    assert_eq!(
        (count(&["both"]), count(&["more"]), count(&["both+more"]), count(&[])),
        (16, 32, 32, 32)
    );
    assert!(rows(&["more"], "trials").iter().all(|row| row.contains(",more,")));
    let points = rows(&["both+more"], "points");
    assert_eq!(
        points.len(),
        rows(&["more"], "points").len(),
        "the points of a shared trial count once"
    );
    assert!(
        points.is_sorted_by_key(|row| row.split(',').next().map(str::to_owned)),
        "by trial"
    );
    assert_eq!(rows(&["both+more"], "stages").len(), rows(&["more"], "stages").len());
    let unknown = world.run(&["export", "both+nothing", "--json"]);
    assert_eq!((unknown.code, unknown.error().as_str()), (2, "unknown_sweep"));
}

#[test]
fn what_other_programs_call_it_is_understood_and_what_is_said_is_for_people() {
    let world = prepared();
    world.write("both.yaml", TWO_SCHEDULES);
    let train = world.run(&["train", "both.yaml"]);
    assert!(train.code == 2 && train.stderr.contains("'run'"), "{}", train.stderr);
    let ran = world.run(&["run", "both.yaml", "--toy"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for (word, meant) in [
        ("learning_rate", "lr"),
        ("seq_len", "context"),
        ("final_los", "final_loss"),
    ] {
        let refused = world.run(&["status", "--where", &format!("{word} > 1"), "--json"]);
        assert_eq!((refused.code, refused.error().as_str()), (2, "invalid_where"));
        assert_eq!(refused.json()["error"]["hints"][0], format!("try: {meant}"));
    }
    let slug = "24K-batch_tokens2000-cosine-tokens400000";
    let shown = world.run(&["show", slug]);
    assert!(shown.stdout.contains("batch 2,000, cosine"), "{}", shown.stdout);
    let logs = world.run(&["logs", slug]);
    assert!(
        logs.stdout.contains("step 1: loss ") && logs.stdout.contains("finished after "),
        "{}",
        logs.stdout
    );
    assert!(!logs.stdout.contains('{'), "{}", logs.stdout);
    let raw = world.run(&["logs", slug, "--json"]).ok();
    assert!(
        raw[0]["lines"][0].as_str().is_some_and(|line| line.starts_with('{')),
        "{raw}"
    );
}

#[test]
fn the_sweep_that_was_run_last_is_meant_where_none_is_named() {
    let world = prepared();
    for name in ["one", "two"] {
        let text = crate::studies::RATES.replace("name: rates", &format!("name: {name}"));
        let seed = usize::from(name == "two");
        world.write(&format!("{name}.yaml"), &format!("{text}seeds: [{seed}]\n"));
    }
    let capped = |name: &str| world.run(&["run", name, "--set", "run_cap=2", "--toy", "--json"]);
    assert_eq!((capped("one.yaml").code, capped("two.yaml").code), (7, 7));
    assert_eq!(capped("one.yaml").code, 7, "announced before, and run again");
    let page = world.run(&["report", "--out", "page", "--toy", "--json"]).ok();
    assert!(page["html"].is_string());
    let text = fs::read_to_string(world.path("page/index.html")).expect("written");
    assert!(
        text.contains("one") && !text.contains("two.yaml"),
        "the first sweep was run last"
    );
}
