//! The whole loop with the toy trainer: a sweep goes in, the planted law comes out, and every contract holds.

use std::collections::{BTreeMap, BTreeSet};

use fs_err as fs;
use serde_json::Value;

use crate::world::World;

const SWEEP: &str = "
name: toy
description: Does the planted law come back?
data: text
parameters:
  model: [6K, 13K, 24K, 80K, 189K]
  lr: [3e-3, 1e-2, 3e-2, 0.5]
  tokens: [200k, 400k, 800k]
  batch_tokens: 4000
  context: 100
  schedule:
    parameters:
      name: wsd
      warmup: 8000
";

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

fn trained() -> World {
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", SWEEP);
    let summary = world.run(&["run", "toy.yaml", "--toy", "--json"]).ok();
    assert_eq!(summary["counts"]["complete"], 45, "{summary}");
    assert_eq!(
        summary["counts"]["diverged"], 15,
        "the largest learning rate is over the edge"
    );
    world
}

#[test]
fn a_plan_adds_up_and_has_the_keys_of_the_contract() {
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", SWEEP);
    let plan = world.run(&["plan", "toy.yaml", "--toy", "--json"]).ok();
    let totals = &plan["totals"];
    for key in [
        "trials",
        "stages",
        "tokens",
        "tokens_unshared",
        "tokens_to_train",
        "flops",
        "flops_unshared",
        "flops_to_train",
        "seconds",
        "bytes",
    ] {
        assert!(totals[key].is_number(), "{key}");
    }
    assert_eq!(totals["trials"], 60);
    let reasons: u64 = plan["reasons"]
        .as_object()
        .expect("reasons")
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(reasons, 60);
    assert!(
        totals["tokens"].as_u64() < totals["tokens_unshared"].as_u64(),
        "trunks are shared"
    );
    assert_eq!(totals["tokens"], totals["tokens_to_train"]);
    assert_eq!(plan["rate_source"], "assumed");
    let trial = &plan["trials"][0];
    for key in [
        "trial",
        "slug",
        "reason",
        "why",
        "axes",
        "params_non_embedding",
        "params_total",
        "seed",
        "tokens",
        "flops",
        "stages",
    ] {
        assert!(!trial[key].is_null(), "{key}");
    }
    assert_eq!(keys(&plan["stages"][0]).len(), 6);
    assert!(!world.home().join("sandbox.db").exists(), "a plan changes nothing");
}

#[test]
fn a_plan_that_leaves_cores_idle_names_the_threads_that_fill_them() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return;
    }
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", SWEEP);
    let said = |condition: &[&str]| {
        let mut arguments = vec!["plan", "toy.yaml", "--toy"];
        arguments.extend(condition);
        world.run(&arguments).stderr
    };
    assert!(!said(&[]).contains("cores stay idle"));
    let one = [
        "--set=parameters.model=9M",
        "--set=parameters.lr=0.01",
        "--set=parameters.tokens=1M",
        "--set=resources.threads=1",
    ];
    let one = said(&one);
    assert!(one.contains("cores stay idle") && one.contains("threads:"), "{one}");
}

#[test]
fn the_planted_law_comes_back_through_the_whole_program() {
    let world = trained();
    let refused = world.run(&["fit", "toy", "--json"]);
    assert_eq!((refused.code, refused.error().as_str()), (4, "toy_data"));
    let fit = world.run(&["fit", "toy", "--toy", "--json"]).ok();
    let near = |name: &str, truth: f64| {
        let value = fit["parameters"][name]["value"].as_f64().expect("a number");
        assert!((value / truth - 1.0).abs() < 0.02, "{name}: {value} is not {truth}");
    };
    near("alpha", 0.40);
    near("beta", 0.35);
    near("E", 1.5);
    assert_eq!(fit["status"], "converged");
    assert!((fit["lr"]["best"]["value"].as_f64().expect("a number") / 0.01 - 1.0).abs() < 0.01);
    assert_eq!(fit["lr"]["diverged_from"], 0.5);
    for key in [
        "fit",
        "law",
        "status",
        "n",
        "convention",
        "objective",
        "parameters",
        "allocation",
        "hold_out",
        "timings_ms",
        "warnings",
    ] {
        assert!(!fit[key].is_null(), "{key}");
    }
    let prediction = world
        .run(&[
            "predict", "last", "--params", "1B", "--tokens", "20B", "--toy", "--json",
        ])
        .ok();
    let truth = 1.5 + 40.0 / 1e9f64.powf(0.40) + 90.0 / 2e10f64.powf(0.35);
    let mean = prediction["loss"]["mean"].as_f64().expect("a number");
    assert!((mean / truth - 1.0).abs() < 0.02, "{mean} is not {truth}");
    assert!(prediction["extrapolation"]["params"].as_f64().expect("a number") > 1000.0);
    world.write("at.csv", "params,tokens\n1e9,2e10\n1e6,1e6\n");
    let many = world.run(&["predict", "last", "--at", "at.csv", "--json"]).ok();
    assert_eq!(many.as_array().map(Vec::len), Some(2));
    assert_eq!(many[0]["loss"]["mean"], prediction["loss"]["mean"]);
}

#[test]
fn a_home_that_was_trained_into_another_database_says_so() {
    let world = trained();
    let other = world.path("other.db").display().to_string();
    let again = ["run", "toy.yaml", "--toy", "--json"];
    assert!(!world.run(&again).stderr.contains("last trained into"));
    let moved = world.run(&[&again[..], &["--db", &other]].concat());
    assert_eq!(moved.code, 0, "{}", moved.stderr);
    assert!(
        moved.stderr.contains("last trained into the database"),
        "{}",
        moved.stderr
    );
    // Where the other is gone there is nothing to be replaced.
    world.run(&again).ok();
    fs::remove_file(world.home().join("sandbox.db")).expect("removed");
    let anew = world.run(&[&again[..], &["--db", &other]].concat());
    assert!(!anew.stderr.contains("last trained into"), "{}", anew.stderr);
}

#[test]
fn a_home_that_was_copied_or_moved_is_the_same_home() {
    let world = trained();
    let run = |home: &str| {
        let home = world.path(home).display().to_string();
        world.run_typed(&["run", "toy.yaml", "--toy", "--json", "--home", &home])
    };
    let copy = world.path("copy");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(world.home())
        .arg(&copy)
        .status();
    assert!(copied.expect("cp").success());
    let again = run("copy");
    assert_eq!(again.ok()["trained"]["stages"], 0);
    assert!(!again.stderr.contains("last trained into"), "{}", again.stderr);
    fs::rename(&copy, world.path("moved")).expect("moved");
    let moved = run("moved");
    assert_eq!(moved.ok()["trained"]["stages"], 0);
    assert!(!moved.stderr.contains("last trained into"), "{}", moved.stderr);
}

#[test]
fn a_held_out_set_without_one_window_is_refused_before_anything_is_trained() {
    let world = World::new();
    world.prepare_text();
    world.write(
        "toy.yaml",
        &SWEEP
            .replace("context: 100", "context: 40000")
            .replace("batch_tokens: 4000", "batch_tokens: 40000"),
    );
    let refused = world.run(&["plan", "toy.yaml", "--toy", "--json"]);
    assert_eq!(
        (refused.code, refused.error().as_str()),
        (2, "invalid_trial"),
        "{}",
        refused.stdout
    );
    assert!(refused.stdout.contains("no final loss"), "{}", refused.stdout);
}

#[test]
fn a_recipe_names_the_origin_of_every_number() {
    let world = trained();
    let refused = world.run(&["recipe", "--params", "2.4B", "--json"]);
    assert_eq!((refused.code, refused.error().as_str()), (4, "toy_data"));
    let recipe = world
        .run(&[
            "recipe", "--params", "2.4B", "--tokens", "1T", "--beyond", "--toy", "--json",
        ])
        .ok();
    assert_eq!(recipe["verdict"], "unverified");
    assert_eq!(recipe["params"], 2_442_057_984_u64);
    assert_eq!(recipe["shape"]["width"], 2304);
    for name in [
        "lr",
        "lr_hidden",
        "batch_tokens",
        "warmup_tokens",
        "decay_fraction",
        "schedule",
        "tokens",
        "tokens_compute_optimal",
        "loss",
        "flops",
    ] {
        let item = &recipe["items"][name];
        assert!(!item["value"].is_null(), "{name}");
        let source = item["source"].as_str().expect("a source");
        assert!(
            ["fitted", "measured", "published", "default"].contains(&source),
            "{name}: {source}"
        );
        assert_eq!(
            source == "fitted",
            item["fit"].is_string(),
            "{name}: a fitted number names its fit"
        );
    }
    let value = |name: &str| recipe["items"][name]["value"].as_f64().expect("a number");
    assert!((value("lr") / value("lr_hidden") - 9.0).abs() < 1e-9);
    assert_eq!(recipe["items"]["batch_tokens"]["source"], "published");
    assert!(recipe["items"]["loss"]["ci95_new_run"].is_array());
    for (name, is_marked) in [
        ("loss", true),
        ("tokens_compute_optimal", true),
        ("tokens", false),
        ("lr", false),
    ] {
        assert_eq!(recipe["items"][name]["beyond"] == true, is_marked, "{name}");
    }
    let failed: Vec<&Value> = recipe["gates"]
        .as_array()
        .expect("gates")
        .iter()
        .filter(|gate| gate["passed"] == false)
        .collect();
    assert!(failed.iter().any(|gate| gate["name"] == "sizes_spanned"));
}

#[test]
fn a_grid_that_ends_before_its_minimum_gives_the_sweep_to_run_next_and_that_one_a_recipe() {
    let world = World::new();
    world.prepare_text();
    let narrow = SWEEP.replace("[3e-3, 1e-2, 3e-2, 0.5]", "[1e-3, 2e-3]");
    world.write("toy.yaml", &narrow);
    world.run(&["run", "toy.yaml", "--toy", "--json"]).ok();
    let recipe = ["recipe", "--params", "2.4B", "--toy", "--json"];
    let refused = world.run(&recipe);
    assert_eq!((refused.code, refused.error().as_str()), (4, "optimum_at_edge"));
    let json = refused.json();
    let hints = json["error"]["hints"].as_array().expect("hints");
    let next = hints
        .iter()
        .filter_map(Value::as_str)
        .find_map(|hint| hint.strip_prefix("run next: "))
        .expect("the sweep to run next");
    let plan = world.run(&["plan", next, "--toy", "--json"]).ok();
    assert_eq!(plan["reasons"]["complete"], 30, "what was trained is not trained again");
    world.run(&["run", next, "--toy", "--json"]).ok();
    let recipe = world.run(&recipe).ok();
    let lr = recipe["items"]["lr"]["value"].as_f64().expect("a number");
    assert!((lr / 0.01 - 1.0).abs() < 0.1, "{lr}");
    let gates = recipe["gates"].as_array().expect("gates");
    let bracketed = gates.iter().find(|gate| gate["name"] == "lr_bracketed");
    assert_eq!(bracketed.expect("a gate")["passed"], true, "{gates:?}");
}

#[test]
fn beyond_reach_nothing_is_invented() {
    let world = trained();
    let far = world.run(&["recipe", "--params", "2.4B", "--toy", "--json"]).ok();
    for name in [
        "loss",
        "tokens",
        "tokens_compute_optimal",
        "flops",
        "batch_tokens",
        "warmup_tokens",
    ] {
        let item = &far["items"][name];
        assert!(item["value"].is_null() && item["ci95"].is_null(), "{name}: {item}");
        assert!(
            item["withheld"].as_str().is_some_and(|why| !why.is_empty()),
            "{name}: {item}"
        );
    }
    let lr = far["items"]["lr"]["value"]
        .as_f64()
        .expect("the rate has its own verdict");
    assert!((lr / 0.01 - 1.0).abs() < 0.1, "{lr}");
    assert_eq!(far["alternatives"], serde_json::json!([]));
    let reach = |of: &str| far["reach"][of].as_f64().expect("a number");
    // Fits of three sizes, the least that carry a law, predicted the two larger ones.
    assert!((5e5..=1.9e6).contains(&reach("params")), "{}", far["reach"]);
    assert!(
        far["to_reach"]["params"].as_f64() > Some(reach("params")),
        "{}",
        far["to_reach"]
    );
    let text = world.run(&["recipe", "--params", "2.4B", "--toy"]).stdout;
    assert!(
        text.contains("vouches for runs up to") && text.contains("run next: "),
        "{text}"
    );
    assert_eq!(
        text.matches("toy-larger.yaml (for ").count(),
        1,
        "each sweep is named once: {text}"
    );
    // The target of a sweep that names none is MiniCPM-2.4B.
    assert_eq!(world.run(&["recipe", "--toy", "--json"]).ok()["recipe"], far["recipe"]);
    let register = [
        "recipe",
        "--params",
        "2.4B",
        "--tokens",
        "1T",
        "--register",
        "--toy",
        "--json",
    ];
    let refused = world.run(&register);
    assert_eq!((refused.code, refused.error().as_str()), (4, "nothing_to_forecast"));
    assert_eq!(world.run(&[&register[..], &["--beyond"]].concat()).code, 0);
    let files = world.run(&["recipe", "--params", "2.4B", "--out", "out", "--toy", "--json"]);
    assert_eq!((files.code, files.error().as_str()), (4, "incomplete_recipe"));
    // Within reach there are numbers, and no mark.
    let near = ["recipe", "--params", "531K", "--tokens", "800k", "--toy", "--json"];
    let near = world.run(&near).ok();
    assert!(near["items"]["loss"]["value"].is_number(), "{}", near["reach"]);
    assert!(near["items"]["loss"].get("beyond").is_none() && near.get("to_reach").is_none());
}

#[test]
fn every_gate_that_fails_names_a_sweep_that_plans() {
    let world = trained();
    let recipe = world
        .run(&["recipe", "--params", "2.4B", "--beyond", "--toy", "--json"])
        .ok();
    let mut named = 0;
    for gate in recipe["gates"].as_array().expect("gates") {
        if let Some(next) = gate["next"].as_str() {
            let plan = world.run(&["plan", next, "--toy", "--json"]);
            assert_eq!(plan.code, 0, "{next}: {}", plan.stderr);
            named += 1;
        }
    }
    assert!(named >= 3, "{}", recipe["gates"]);
    for row in recipe["alternatives"].as_array().expect("alternatives") {
        assert!(
            row["loss"].as_f64() > Some(0.0) && row["flops"].as_f64() > Some(0.0),
            "{row}"
        );
    }
    let imported = recipe["imported"].as_array().expect("published laws");
    for law in ["Step Law", "DeepSeek LLM", "Porian et al.", "MiniCPM"] {
        let of = |item: &str| {
            imported
                .iter()
                .find(|it| it["law"] == law && it["item"].as_str().is_some_and(|of| of.starts_with(item)))
        };
        let (lr, batch) = (of("lr").expect(law), of("batch_tokens").expect(law));
        assert!((1e-4..=1e-2).contains(&lr["value"].as_f64().expect("a number")), "{lr}");
        assert!(
            batch["convention"].as_str().is_some_and(|text| !text.is_empty()),
            "{batch}"
        );
    }
    let published = recipe["published"].as_array().expect("a list");
    let lr = published.iter().find(|it| it["item"] == "lr").expect("MiniCPM's rate");
    assert_eq!(lr["value"], 0.01);
    let asked = ["--tokens-per-second", "1M", "--hours", "100", "--toy", "--json"];
    let timed = world.run(&[&["recipe", "--params", "2.4B"][..], &asked].concat()).ok();
    assert_eq!(timed["items"]["tokens"]["value"], 3.6e11);
}

#[test]
fn a_recipe_is_written_out_and_its_forecast_is_frozen_and_scored() {
    let world = trained();
    let mut args = vec!["recipe", "--params", "2.4B", "--tokens", "1T"];
    args.extend(["--beyond", "--out", "out", "--register", "--toy", "--json"]);
    let recipe = world.run(&args).ok();
    let read = |name: &str| -> Value {
        let text = fs_err::read_to_string(world.path(name)).expect("written");
        serde_json::from_str(&text).expect("JSON")
    };
    let groups = read("out/parameter_groups.json");
    let lr = recipe["items"]["lr"]["value"].as_f64().expect("a number");
    let near = |value: &Value, wanted: f64| (value.as_f64().expect("a number") / wanted - 1.0).abs() < 1e-9;
    assert!(
        near(&groups["groups"][0]["lr"], lr) && near(&groups["groups"][1]["lr"], lr / 9.0),
        "{groups}"
    );
    let config = read("out/config.json");
    assert_eq!(
        (&config["model_type"], &config["hidden_size"]),
        (&"minicpm".into(), &2304.into())
    );
    let plan = world.run(&["plan", "out/sweep.yaml", "--json"]);
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    assert_eq!(plan.json()["trials"][0]["params_non_embedding"], recipe["params"]);
    let forecast = recipe["forecast"]["forecast"].as_str().expect("a name");
    let again = world.run(&args).ok();
    assert_eq!(again["forecast"], recipe["forecast"], "the first date stands");
    let predicted = recipe["items"]["loss"]["value"].as_f64().expect("a number");
    // The toy's law is exact, and so the interval is all but empty.
    for (off, inside) in [(0.0, true), (0.25, false)] {
        let actual = (predicted + off).to_string();
        let score = world.run(&["score", forecast, "--actual", &actual, "--json"]).ok();
        assert_eq!(score["inside"], inside, "{score}");
        assert!((score["error"].as_f64().expect("a number") - off).abs() < 1e-9);
    }
    // A target that can be trained here: its own sweep is run, and the forecast is scored by the mean of its seeds.
    let mut args = vec![
        "recipe", "--params", "531K", "--tokens", "800k", "--out", "near", "--seeds", "3",
    ];
    args.extend(["--register", "--toy", "--json"]);
    let near = world.run(&args).ok();
    assert_eq!(near["shape"]["vocab"], 256, "the vocabulary of the proxies");
    let early = world.run(&["score", "last", "--json"]);
    assert_eq!((early.code, early.error().as_str()), (4, "not_finished"));
    world.run(&["run", "near/sweep.yaml", "--toy", "--json"]).ok();
    let score = world.run(&["score", "last", "--json"]).ok();
    assert_eq!(score["losses"].as_array().map(Vec::len), Some(3), "{score}");
    assert_eq!(score["registered_first"], true, "{score}");
    let number = |key: &str| score[key].as_f64().expect(key);
    assert!(number("params_ratio") > 2.0 && number("compute_ratio") > 2.0, "{score}");
    assert!(number("relative_error").abs() < 0.01, "{score}");
    let unknown = world.run(&["score", "nothing", "--actual", "2.0", "--json"]);
    assert_eq!((unknown.code, unknown.error().as_str()), (2, "unknown_forecast"));
    // Every number leads to a fit, and a fit to its trials.
    let fit = recipe["items"]["loss"]["fit"].as_str().expect("a fit");
    let shown = world.run(&["show", fit, "--json"]).ok();
    let trial = shown["residuals"][0]["label"].as_str().expect("a trial");
    assert_eq!(world.run(&["show", trial, "--json"]).ok()["state"], "complete");
    let name = recipe["recipe"].as_str().expect("a name");
    assert_eq!(world.run(&["show", name, "--json"]).ok()["recipe"], recipe["recipe"]);
}

#[test]
fn points_become_event_files_and_weights_that_were_not_kept_are_not_made_up() {
    let world = trained();
    let written = world
        .run(&["export", "toy", "--format", "tensorboard", "--out", "events", "--json"])
        .ok();
    let files = written["files"].as_array().expect("files");
    assert_eq!(files.len(), 45, "a file for each trial that has points");
    let first = fs_err::read(world.path(files[0].as_str().expect("a path"))).expect("written");
    assert!(
        first.windows(10).any(|bytes| bytes == b"loss/train"),
        "the points are in it"
    );
    let trials = world.run(&["status", "--trials", "--json"]).ok();
    let trial = trials["trials"][0]["trial"].as_str().expect("a trial");
    let refused = world.run(&["export", trial, "--format", "granite", "--out", "model", "--json"]);
    assert_eq!((refused.code, refused.error().as_str()), (2, "no_weights"));
}

#[test]
fn running_again_trains_nothing_and_a_new_budget_only_the_difference() {
    let world = trained();
    let again = world.run(&["run", "toy.yaml", "--toy", "--json"]).ok();
    assert_eq!(again["trained"]["stages"], 0, "{again}");
    assert_eq!(again["stopped_by"], Value::Null);
    let plan = world.run(&["plan", "toy.yaml", "--toy", "--json"]).ok();
    assert_eq!(plan["totals"]["tokens_to_train"], 0);
    assert_eq!(plan["reasons"]["complete"], 60);
    let more = ["--set", "parameters.tokens=[200k,400k,600k,800k]"];
    let plan = world
        .run(&["plan", "toy.yaml", more[0], more[1], "--toy", "--json"])
        .ok();
    // 5 sizes × 3 learning rates that do not diverge: the trunk from 360k to 540k and a decay of 60k, in whole steps.
    assert_eq!(plan["totals"]["tokens_to_train"], 15 * (180_000 + 60_000));
    let run = world
        .run(&["run", "toy.yaml", more[0], more[1], "--toy", "--json"])
        .ok();
    assert_eq!(run["trained"]["tokens"], 15 * 240_000);
    assert_eq!(run["counts"]["complete"], 60);
}

#[test]
fn a_budget_is_the_one_that_was_asked_at_every_batch() {
    let world = World::new();
    world.prepare_text();
    let sweep = SWEEP
        .replace("batch_tokens: 4000", "batch_tokens: [3000, 4000, 7000]")
        .replace("[200k, 400k, 800k]", "[400k, 20N]")
        .replace("[6K, 13K, 24K, 80K, 189K]", "[24K, 80K]");
    world.write("toy.yaml", &sweep);
    world.run(&["run", "toy.yaml", "--toy", "--json"]).ok();
    let trials = world.run(&["status", "toy", "--trials", "--json"]).ok();
    let mut budgets: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let mut lengths = BTreeSet::new();
    for row in trials["trials"].as_array().expect("rows") {
        let asked = row["tokens_asked"].as_u64().expect("a budget");
        let model = row["model"].as_str().expect("a model");
        budgets.entry(model).or_default().insert(asked);
        lengths.insert(row["tokens"].as_u64().expect("tokens"));
        let params = row["params_non_embedding"].as_u64().expect("a size");
        assert!(asked == 400_000 || asked == 20 * params, "{row}");
    }
    assert!(budgets.values().all(|of_model| of_model.len() == 2), "{budgets:?}");
    assert!(
        lengths.len() > 4,
        "whole batches make several lengths of one budget: {lengths:?}"
    );
    world
        .run(&[
            "export",
            "toy",
            "--where",
            "tokens_asked == 400k",
            "--format",
            "csv",
            "--out",
            "out",
            "--json",
        ])
        .ok();
    let table = fs::read_to_string(world.path("out/trials.csv")).expect("written");
    assert_eq!(
        table.lines().count(),
        1 + 2 * 3 * 4,
        "of two sizes three batches and four rates"
    );
}

#[test]
fn the_exported_tables_have_the_columns_of_the_contract() {
    let world = trained();
    world
        .run(&["export", "toy", "--format", "csv", "--out", "out", "--json"])
        .ok();
    let head = |name: &str| {
        let text = fs::read_to_string(world.path(&format!("out/{name}.csv"))).expect("written");
        text.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        head("trials"),
        "trial,sweep,slug,state,trainer,model,params_non_embedding,params_total,width,layers,heads,vocab,context,\
         parametrization,lr,batch_tokens,schedule,warmup_tokens,decay_fraction,tokens,steps,seed,flops,final_loss,\
         bits_per_byte,diverged_at_tokens,device,numerics,code_epoch,code_version,data_hash,config_hash,seconds,\
         tokens_asked,axis.lr,axis.model,axis.tokens"
    );
    assert_eq!(
        head("points"),
        "trial,stage,step,tokens,flops,lr,split,loss,grad_norm,seconds,peak_lr"
    );
    assert_eq!(
        head("stages"),
        "stage,parent,kind,from_tokens,to_tokens,state,attempts,tokens_trained,seconds,trials"
    );
    let trials = fs::read_to_string(world.path("out/trials.csv")).expect("written");
    for line in trials.lines().filter(|line| line.contains(",diverged,")) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[23], "", "a diverged trial has no final loss: {line}");
        assert!(!cells[25].is_empty(), "but the tokens at which it diverged");
    }
    let points = fs::read_to_string(world.path("out/points.csv")).expect("written");
    assert!(!points.contains("NaN") && !points.contains("inf"));
    world
        .run(&["export", "--format", "parquet", "--out", "out", "--json"])
        .ok();
    assert!(fs::metadata(world.path("out/points.parquet")).expect("written").len() > 1000);
}

#[test]
fn a_report_is_written_with_its_figures_and_the_same_bytes_twice() {
    let world = trained();
    let written = world.run(&["report", "toy", "--out", "page", "--toy", "--json"]).ok();
    for key in ["html", "figures", "left_out", "points_shown", "points_total"] {
        assert!(!written[key].is_null(), "{key}");
    }
    assert_eq!(
        written["left_out"].as_array().map(Vec::len),
        Some(15),
        "the diverged trials"
    );
    let names: Vec<&str> = written["figures"]
        .as_array()
        .expect("figures")
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    for name in ["loss-curves", "lr-bowls", "law"] {
        assert!(names.contains(&name), "{names:?}");
        assert!(world.path(&format!("page/{name}.svg")).exists() && world.path(&format!("page/{name}.png")).exists());
    }
    let page = fs::read(world.path("page/index.html")).expect("written");
    world.run(&["report", "toy", "--out", "page2", "--toy", "--json"]).ok();
    assert!(
        fs::read(world.path("page2/index.html")).expect("written") == page,
        "other bytes"
    );
}

#[test]
fn status_show_and_logs_tell_what_there_is() {
    let world = trained();
    let status = world.run(&["status", "--json"]).ok();
    for key in ["home", "disk_bytes", "sweeps", "running"] {
        assert!(!status[key].is_null(), "{key}");
    }
    assert_eq!(status["orchestrator"], Value::Null);
    assert_eq!(status["sweeps"][0]["counts"]["complete"], 45);
    assert_eq!(status["running"].as_array().map(Vec::len), Some(0));
    let plan = world.run(&["plan", "toy.yaml", "--toy", "--json"]).ok();
    let trial = plan["trials"][0]["trial"].as_str().expect("a name");
    let show = world.run(&["show", &trial[..6], "--json"]).ok();
    assert_eq!(show["trial"], trial);
    assert_eq!(
        show["stages"].as_array().map(Vec::len),
        plan["trials"][0]["stages"].as_array().map(Vec::len)
    );
    let logs = world.run(&["logs", trial, "--json"]).ok();
    assert!(logs[0]["lines"].as_array().is_some_and(|lines| lines.len() > 2));
    assert_eq!(
        world.run(&["show", "nothing-like-it", "--json"]).error(),
        "unknown_trial"
    );
    let quiet = world.run(&["status", "--quiet"]);
    assert_eq!(quiet.stdout, "toy\n");
}

#[test]
fn a_cap_stops_and_the_same_command_goes_on() {
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", SWEEP);
    let capped = world.run(&["run", "toy.yaml", "--set", "run_cap=7", "--toy", "--json"]);
    assert_eq!(capped.code, 7, "{}", capped.stderr);
    assert_eq!(capped.json()["stopped_by"], "run_cap");
    let rest = world.run(&["run", "toy.yaml", "--toy", "--json"]).ok();
    assert_eq!(rest["counts"]["pending"], 0);
}

#[test]
fn the_template_of_init_is_a_sweep_that_plans() {
    let world = World::new();
    world.prepare_text();
    world.run(&["init", "--json"]).ok();
    let again = world.run(&["init", "--json"]);
    assert_eq!((again.code, again.error().as_str()), (2, "file_exists"));
    let plan = world.run(&["plan", "sweep.yaml", "--set", "data=text", "--json"]);
    assert_eq!(plan.code, 0, "{}", plan.stderr);
}

#[test]
fn several_cards_share_the_work_and_each_job_names_its_own() {
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", SWEEP);
    let output = world
        .command(&["run", "toy.yaml", "--toy", "--json"])
        .env("SANDBOX_FAKE_GPUS", "2")
        .output();
    let ran = crate::world::ran(&output.expect("the program starts"));
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let jobs = world.files().into_iter().filter(|(path, _)| path.ends_with("job.json"));
    let devices: BTreeSet<String> = jobs
        .filter_map(|(path, _)| {
            let job: Value = serde_json::from_str(&fs_err::read_to_string(path).ok()?).ok()?;
            Some(job["device"].as_str()?.to_owned())
        })
        .collect();
    assert_eq!(devices.into_iter().collect::<Vec<_>>(), ["cuda:0", "cuda:1"]);
}

/// Workers that a run on two cards starts, when the driver says that each has so many mebibytes free.
fn workers_on_cards_with(mebibytes: u32) -> usize {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", SWEEP);
    world.write(
        "bin/nvidia-smi",
        &format!("#!/bin/sh\necho {mebibytes}\necho {mebibytes}\n"),
    );
    let driver = world.path("bin/nvidia-smi");
    fs_err::set_permissions(driver, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
    let output = world
        .command(&["run", "toy.yaml", "--toy", "--json"])
        .env("SANDBOX_FAKE_GPUS", "2")
        .env("PATH", path)
        .output();
    let ran = crate::world::ran(&output.expect("the program starts"));
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let is_log = |path: &std::path::Path| path.parent().is_some_and(|folder| folder.ends_with("workers"));
    world.files().into_iter().filter(|(path, _)| is_log(path)).count()
}

#[test]
fn workers_share_a_card_as_far_as_its_memory_goes() {
    // A worker of a card is taken to need a little more than 800 MiB before it was ever measured.
    assert_eq!(workers_on_cards_with(1000), 2);
    assert_eq!(workers_on_cards_with(80_000), 8);
}

#[test]
fn conditions_choose_trials_wherever_they_are_listed() {
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", SWEEP);
    world.run(&["run", "toy.yaml", "--toy", "--json"]).ok();
    let all = world.run(&["status", "--trials", "--json"]).ok();
    let trials = all["trials"].as_array().expect("trials");
    let small = trials
        .iter()
        .filter(|trial| trial["params_non_embedding"].as_u64() < Some(10_000))
        .count();
    assert!(0 < small && small < trials.len());
    let condition = ["--where", "params < 10K", "--json"];
    let mut args = vec!["status"];
    args.extend(condition);
    let some = world.run(&args).ok();
    assert_eq!(some["trials"].as_array().map(Vec::len), Some(small));
    let plan = world
        .run(&["plan", "toy.yaml", "--toy", "--where", "params < 10K", "--json"])
        .ok();
    assert_eq!(plan["trials"].as_array().map(Vec::len), Some(small));
    assert_eq!(plan["totals"]["trials"], trials.len());
    let mut args = vec!["export", "--format", "csv", "--out", "out"];
    args.extend(condition);
    world.run(&args).ok();
    let table = fs_err::read_to_string(world.path("out/trials.csv")).expect("written");
    assert_eq!(table.lines().count(), small + 1);
    let ran = world.run(&["status", "--where", "learning_rate > 1", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "invalid_where"));
}

#[test]
fn laws_rest_on_the_trials_that_are_chosen_and_on_their_curves() {
    let world = trained();
    let all = world.run(&["fit", "toy", "--toy", "--json"]).ok();
    assert_eq!(
        all["lr"]["transfer"]["verdict"], "verified",
        "{}",
        all["lr"]["transfer"]
    );
    let some = world
        .run(&["fit", "toy", "--toy", "--where", "params < 100K", "--json"])
        .ok();
    assert_eq!((&all["n"], &some["n"]), (&15.into(), &12.into()));
    let args = ["fit", "toy", "--law", "annealing", "--json"];
    let refused = world.run(&args);
    assert_eq!((refused.code, refused.error().as_str()), (4, "toy_data"));
    let mixed = world.run(&[&args[..], &["--toy"]].concat());
    assert_eq!((mixed.code, mixed.error().as_str()), (2, "mixed_curves"));
    let chosen = ["--toy", "--where", "model == 24K and lr < 0.02"];
    let fit = world.run(&[&args[..], &chosen].concat()).ok();
    assert_eq!(fit["train"].as_array().map(Vec::len), Some(6), "{fit}");
}

/// The Python blocks of the README that name this library.
fn snippets(library: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```python\n").skip(1);
    blocks
        .filter_map(|rest| rest.split("```").next())
        .filter(|code| code.contains(&format!("import {library} ")))
        .map(str::to_owned)
        .collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "which Python is the environment's affair")]
fn the_python_of_the_readme_runs() {
    const NAME: &str = "the_python_of_the_readme_runs";
    let python = std::env::var("SANDBOX_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = std::process::Command::new(&python)
        .args(["-c", "import pandas, polars"])
        .output();
    if !there.is_ok_and(|output| output.status.success()) {
        crate::skip::skip(NAME, "no Python with pandas and polars");
        return;
    }
    let world = trained();
    // Trials of two sweeps, a second schedule, another batch, seeds: none of them may be counted twice or mixed.
    let again = SWEEP
        .replace("name: toy", "name: again")
        .replace("name: wsd", "name: [wsd, cosine]")
        .replace("batch_tokens: 4000", "batch_tokens: [2000, 4000]")
        + "seeds: [0, 1]\n";
    world.write("again.yaml", &again);
    world.run(&["run", "again.yaml", "--toy", "--json"]).ok();
    world
        .run(&["export", "toy+again", "--format", "parquet", "--out", "out", "--json"])
        .ok();
    // Five sizes, three rates that converge, three budgets, two batches, schedules and seeds.
    let pandas = "
assert len(trials) == 5 * 3 * 3 * 2 * 2 * 2 and trials.trial.is_unique
assert losses.shape == (5 * 3 * 2 * 2, 3) and (best == 0.01).all()
point = trials[(trials.model == '80K') & (trials.tokens_asked == 400000) & (trials.batch_tokens == 4000)]
seeds = point[(point.schedule == 'wsd') & (point.lr == 0.01)]
assert len(seeds) == 2
assert losses.loc[('wsd', 4000, seeds.params_non_embedding.iloc[0], '80K', 400000), 0.01] == seeds.final_loss.mean()
assert (points.groupby('trial').seconds.max() >= 0).all()
";
    let polars = "
assert best.height == 5 * 3 * 2 * 2 and (best['lr'] == 0.01).all()
";
    std::os::unix::fs::symlink(world.home(), world.path("experiments")).expect("a link");
    for (library, checks) in [("pandas", pandas), ("polars", polars)] {
        for code in snippets(library) {
            let code = code + checks;
            let ran = std::process::Command::new(&python)
                .args(["-c", &code])
                .current_dir(world.path("."))
                .output()
                .expect("Python starts");
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert!(
                ran.status.success(),
                "{code}\n{said}{}",
                String::from_utf8_lossy(&ran.stderr)
            );
        }
        assert_eq!(snippets(library).len(), 1, "{library}");
    }
}
