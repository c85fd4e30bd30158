//! Anybody's runs: a table goes in, a law comes out, and what is wrong with the table is said with its line.

use std::fmt::Write as _;

use serde_json::Value;

use crate::world::World;

/// Runs of a planted law, in units of somebody else, with a row that does not count.
fn table(world: &World) {
    let mut text = String::from("run,size (B),tokens,final,ok\n");
    for (row, params) in [0.1, 0.2, 0.4, 0.8, 1.6].into_iter().enumerate() {
        for (column, tokens) in [2e9, 4e9, 8e9, 16e9].into_iter().enumerate() {
            let loss = 1.8 + 400.0 * f64::powf(params * 1e9, -0.34) + 2000.0 * f64::powf(tokens, -0.37);
            writeln!(text, "r{row}{column},{params},{tokens:e},{loss},1").expect("text");
        }
    }
    text.push_str("broken,0.1,2e9,9.5,0\nempty,0.1,2e9,,1\n");
    world.write("runs.csv", &text);
}

const MAP: [&str; 4] = [
    "--map",
    "params=size (B),tokens=tokens,loss=final,label=run",
    "--scale",
    "params=1e9",
];

fn fit(world: &World, file: &str, more: &[&str]) -> crate::world::Ran {
    let mut args = vec!["fit", file];
    args.extend(MAP);
    args.extend(more);
    args.push("--json");
    world.run(&args)
}

#[test]
fn a_table_gives_the_planted_law_back_and_is_predicted_from() {
    let world = World::new();
    table(&world);
    let law = fit(&world, "runs.csv", &["--where", "ok == 1"]).ok();
    for (name, planted) in [("E", 1.8), ("alpha", 0.34), ("beta", 0.37)] {
        let value = law["parameters"][name]["value"].as_f64().expect("a number");
        assert!((value / planted - 1.0).abs() < 1e-4, "{name}: {value}");
    }
    assert_eq!((&law["n"], &law["convention"]), (&20.into(), &"as-given".into()));
    let left_out: Vec<&str> = law["left_out"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["reason"].as_str())
        .collect();
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    for part in ["point", "bootstrap", "total"] {
        assert!(law["timings_ms"][part].as_f64() >= Some(0.0), "{part}");
    }
    let id = law["fit"].as_str().expect("a name");
    let said = world
        .run(&["predict", &id[..6], "--params", "2.4B", "--tokens", "1T", "--json"])
        .ok();
    let mean = said["loss"]["mean"].as_f64().expect("a number");
    let planted = 1.8 + 400.0 * f64::powf(2.4e9, -0.34) + 2000.0 * f64::powf(1e12, -0.37);
    assert!((mean - planted).abs() < 1e-3, "{mean} {planted}");
}

#[test]
fn every_bad_cell_is_named_with_its_line_and_column() {
    let world = World::new();
    world.write(
        "bad.csv",
        "run,size (B),tokens,final\na,0.1,1e9,3.0\nb,ten,1e9,2.0\nc,0.2,nan,2.5\nd,0.4,1e9,-1\n",
    );
    let ran = fit(&world, "bad.csv", &[]);
    let error = &ran.json()["error"];
    assert_eq!((ran.code, &error["code"]), (2, &Value::from("bad_row")));
    let at: Vec<(u64, u64)> = error["at"]
        .as_array()
        .expect("places")
        .iter()
        .filter_map(|at| Some((at["line"].as_u64()?, at["column"].as_u64()?)))
        .collect();
    assert_eq!(at, [(3, 2), (4, 3), (5, 4)]);
}

#[test]
fn tables_that_carry_no_law_are_refused_each_by_its_code() {
    let world = World::new();
    table(&world);
    world.write("one.csv", "run,size (B),tokens,final\na,0.1,1e9,3.0\n");
    world.write("text.jsonl", "{\"run\": 1}\n[]\n");
    for (file, more, code, error) in [
        ("one.csv", &[][..], 4, "too_few_sizes"),
        ("runs.csv", &["--where", "params > 1"], 2, "invalid_where"),
        ("runs.csv", &["--where", "run == r00"], 4, "too_few_sizes"),
        ("nowhere.csv", &[], 2, "missing_file"),
        ("text.jsonl", &[], 2, "bad_table"),
        ("runs.csv", &["--bootstrap", "10000000"], 2, "too_many_rows"),
    ] {
        let ran = fit(&world, file, more);
        assert_eq!((ran.code, ran.error().as_str()), (code, error), "{file} {more:?}");
    }
    let ran = world.run(&["fit", "runs.csv", "--map", "params=N", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "missing_column"));
}

#[test]
fn imported_runs_are_fitted_by_name_like_their_table() {
    let world = World::new();
    table(&world);
    let mut args = vec!["import", "runs.csv", "--name", "theirs", "--where", "ok == 1"];
    args.extend(MAP);
    args.push("--json");
    let imported = world.run(&args).ok();
    assert_eq!(
        (&imported["runs"], &imported["left_out"][0]["trial"]),
        (&20.into(), &"line 22".into())
    );
    let by_name = world.run(&["fit", "theirs", "--json"]).ok();
    let by_file = fit(&world, "runs.csv", &["--where", "ok == 1"]).ok();
    assert_eq!(by_name["fit"], by_file["fit"], "the same runs, the same law");
    let some = world.run(&["fit", "theirs", "--where", "tokens > 2e9", "--json"]).ok();
    assert!(some["n"].as_u64() < by_name["n"].as_u64(), "{some}");
    assert_eq!(some["left_out"][0]["reason"], "the condition leaves it out");
    let scaled = world.run(&["fit", "theirs", "--scale", "tokens=1e9", "--json"]);
    assert_eq!((scaled.code, scaled.error().as_str()), (2, "usage"));
    assert_eq!(imported["replaced"], false);
    assert_eq!(world.run(&args).ok()["replaced"], true);
    for name in ["", "../x", "a+b", "last"] {
        let mut args = args.clone();
        args[3] = name;
        let refused = world.run(&args);
        assert_eq!((refused.code, refused.error().as_str()), (2, "bad_name"), "{name}");
    }
}

#[test]
fn every_bad_place_of_a_table_is_named() {
    let world = World::new();
    table(&world);
    fit(&world, "runs.csv", &["--where", "ok == 1"]).ok();
    let at = |text: &str| {
        world.write("at.csv", text);
        world.run(&["predict", "last", "--at", "at.csv", "--json"])
    };
    let good = at("\u{feff}\"params\",\"tokens\"\n1e9,20B\n").ok();
    assert_eq!(good.as_array().map(Vec::len), Some(1));
    let bad = at("params,tokens\n1e9,x\n1e9,2e9\n-1,\n");
    assert_eq!((bad.code, bad.error().as_str()), (2, "bad_row"));
    let json = bad.json();
    let places = json["error"]["at"].as_array().expect("places");
    let lines: Vec<Option<u64>> = places.iter().map(|place| place["line"].as_u64()).collect();
    assert_eq!(lines, [Some(2), Some(4), Some(4)], "{json}");
}

#[test]
fn the_best_learning_rate_and_batch_come_back_with_what_they_cost() {
    let world = World::new();
    let mut text = String::from("N,D,lr,bs,loss\n");
    for params in [1e7, 2e7, 4e7, 8e7] {
        for tokens in [1e9, 2e9, 4e9] {
            let (best_lr, best_batch) = (20.0 * f64::powf(params, -0.5), 3.0 * f64::powf(tokens, 0.5));
            for (i, j) in (-3..=3).flat_map(|i| (-3..=3).map(move |j| (i, j))) {
                let (lr, batch) = (f64::powi(1.4, i) * best_lr * 1.1, f64::powi(1.5, j) * best_batch * 0.9);
                let off = (lr / best_lr).ln().powi(2) + (batch / best_batch).ln().powi(2);
                let loss = (1.0 + 0.01 * off) * (2.0 + 100.0 * f64::powf(params, -0.3));
                writeln!(text, "{params:e},{tokens:e},{lr:e},{batch:e},{loss}").expect("text");
            }
        }
    }
    world.write("grid.csv", &text);
    let map = "params=N,tokens=D,lr=lr,batch=bs,loss=loss";
    let fit = world
        .run(&["fit", "grid.csv", "--map", map, "--law", "lr-batch", "--json"])
        .ok();
    let exponent = |law: &str, name: &str| fit["laws"][law][name]["value"].as_f64().expect("a number");
    assert!((exponent("lr", "n_exponent") + 0.5).abs() < 1e-3, "{}", fit["laws"]);
    assert!((exponent("batch", "d_exponent") - 0.5).abs() < 1e-3, "{}", fit["laws"]);
    // The planted loss does not fall with the tokens, so that no level is reached by several budgets.
    assert_eq!(fit["equal_loss"], Value::Null);
    for regret in ["mean_regret", "max_regret", "constant_regret"] {
        assert!(fit["hold_out"][regret].as_f64() >= Some(0.0), "{}", fit["hold_out"]);
    }
}

/// A curve of the annealing law (arXiv 2408.11029) under a schedule, step by step.
fn curve(world: &World, name: &str, lr: impl Fn(usize) -> f64) {
    let mut text = String::from("step,lr,loss\n");
    let (mut area, mut momentum, mut annealed, mut before) = (0.0, 0.0, 0.0, lr(1));
    for step in 1..=2000 {
        let now = lr(step);
        area += now;
        momentum = 0.99 * momentum + before - now;
        annealed += momentum;
        before = now;
        if step % 20 == 0 {
            let loss = 2.5 + 0.5 * f64::powf(area, -0.4) - 0.8 * annealed;
            writeln!(text, "{step},{now:e},{loss}").expect("text");
        }
    }
    world.write(name, &text);
}

#[test]
fn a_law_of_curves_predicts_a_schedule_that_it_has_not_seen_or_says_that_it_cannot() {
    let world = World::new();
    let peak = 1e-3;
    curve(&world, "c/constant.csv", |_| peak);
    curve(&world, "c/linear.csv", |step| peak * (1.0 - 0.9 * step as f64 / 2000.0));
    curve(&world, "c/wsd.csv", |step| {
        peak * if step <= 1600 {
            1.0
        } else {
            1.0 - (step - 1600) as f64 / 444.0
        }
    });
    let fit = |law: &str, train: &str| {
        world.run(&[
            "fit",
            "c",
            "--law",
            law,
            "--train",
            train,
            "--predict",
            "wsd.csv",
            "--json",
        ])
    };
    let two = fit("annealing", "constant.csv,linear.csv").ok();
    assert!(two["predict"][0]["mae"].as_f64() < Some(0.005), "{}", two["predict"]);
    let many = fit("multi-power", "constant.csv,linear.csv").ok();
    assert!(many["predict"][0]["r2"].as_f64() > Some(0.9), "{}", many["predict"]);
    let one = fit("annealing", "linear.csv");
    assert_eq!((one.code, one.error().as_str()), (4, "single_schedule"));
    let none = fit("annealing", "nowhere.csv");
    assert_eq!((none.code, none.error().as_str()), (2, "missing_file"));
}

/// Runs of a law in size, steps and batch.
fn off_the_best_batch(world: &World) {
    let mut text = String::from("params,tokens,batch,loss\n");
    for params in [1e6, 2e6, 4e6, 8e6, 1.6e7] {
        for tokens in [2e7, 6e7, 2e8, 6e8] {
            for batch in [1e4, 2e4, 4e4, 8e4, 1.6e5] {
                let loss = 1.5
                    + 300.0 * f64::powf(params, -0.35)
                    + 60.0 * f64::powf(tokens / batch, -0.5)
                    + 30.0 * f64::powf(batch, -0.45);
                writeln!(text, "{params},{tokens},{batch},{loss}").expect("text");
            }
        }
    }
    world.write("batches.csv", &text);
}

#[test]
fn the_law_that_predicts_what_is_held_out_is_chosen_and_predicts() {
    let world = World::new();
    off_the_best_batch(&world);
    let chosen = world
        .run(&["fit", "batches.csv", "--law", "chinchilla,three-term", "--json"])
        .ok();
    assert_eq!(
        (&chosen["law"], &chosen["tried"][0]["law"]),
        (&"three-term".into(), &"three-term".into())
    );
    let errors: Vec<f64> = chosen["tried"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["hold_out"]["mean_abs_rel_error"].as_f64())
        .collect();
    assert!(errors.len() == 2 && errors[0] < errors[1], "{errors:?}");
    for (name, planted) in [("E", 1.5), ("alpha", 0.35), ("beta", 0.5), ("gamma", 0.45)] {
        let value = chosen["parameters"][name]["value"].as_f64().expect("a number");
        assert!((value / planted - 1.0).abs() < 1e-3, "{name}: {value}");
    }
    let id = chosen["fit"].as_str().expect("a name");
    let said = world
        .run(&[
            "predict", id, "--params", "1B", "--tokens", "20B", "--batch", "1M", "--json",
        ])
        .ok();
    let planted = 1.5 + 300.0 * f64::powf(1e9, -0.35) + 60.0 * f64::powf(2e4, -0.5) + 30.0 * f64::powf(1e6, -0.45);
    assert!(
        (said["loss"]["mean"].as_f64().expect("a number") - planted).abs() < 1e-3,
        "{said}"
    );
    let mixed = world.run(&["fit", "batches.csv", "--law", "chinchilla,lr-batch", "--json"]);
    assert_eq!((mixed.code, mixed.error().as_str()), (2, "usage"));
}

#[test]
fn the_law_of_learning_rate_and_batch_predicts_both() {
    let world = World::new();
    let mut text = String::from("params,tokens,lr,batch,loss\n");
    for params in [1e6, 4e6, 1.6e7] {
        for tokens in [2e7, 1e8, 5e8] {
            let (best_lr, best_batch) = (0.5 * f64::powf(params, -0.3), 20.0 * f64::powf(tokens, 0.5));
            for lr in -3..=3 {
                for batch in -2..=2 {
                    let off = |k: i32, spread: f64| f64::from(k) * spread + 0.1;
                    let (x, y) = (off(lr, 0.35), off(batch, 0.5));
                    let loss = 2.0 + 0.01 * (x * x + 0.5 * y * y);
                    writeln!(
                        text,
                        "{params},{tokens},{},{},{loss}",
                        best_lr * x.exp(),
                        best_batch * y.exp()
                    )
                    .expect("text");
                }
            }
        }
    }
    world.write("grid.csv", &text);
    let law = world.run(&["fit", "grid.csv", "--law", "lr-batch", "--json"]).ok();
    let id = law["fit"].as_str().expect("a name");
    let said = world
        .run(&["predict", id, "--params", "1B", "--tokens", "20B", "--json"])
        .ok();
    let near = |key: &str, planted: f64| {
        let value = said[key]["value"].as_f64().expect("a number");
        assert!((value / planted - 1.0).abs() < 0.05, "{key}: {value} is not {planted}");
    };
    near("lr", 0.5 * f64::powf(1e9, -0.3));
    near("batch_tokens", 20.0 * f64::powf(2e10, 0.5));
    assert!(said["extrapolation"]["params"].as_f64() > Some(60.0), "{said}");
}

/// A loss curve under a schedule, by the annealing law with λ = 0: exact, and simple.
fn annealed(world: &World, name: &str, rate: impl Fn(u32) -> f64) {
    let (mut text, mut area) = (String::from("step,lr,loss\n"), 0.0);
    for step in 1..=2000 {
        area += rate(step);
        if step % 10 == 0 {
            let loss = 2.0 + 1.2 * f64::powf(area, -0.4) - 3.0 * (0.01 - rate(step));
            writeln!(text, "{step},{},{loss}", rate(step)).expect("text");
        }
    }
    world.write(name, &text);
}

#[test]
fn a_law_of_curves_predicts_schedules_and_the_best_decay() {
    let world = World::new();
    let decay_from = |from: u32| {
        move |step: u32| {
            if step < from {
                0.01
            } else {
                0.01 - 0.009 * f64::from(step - from) / f64::from(2000 - from)
            }
        }
    };
    annealed(&world, "curves/constant.csv", |_| 0.01);
    annealed(&world, "curves/long.csv", decay_from(1000));
    annealed(&world, "curves/short.csv", decay_from(1800));
    let args = [
        "fit",
        "curves",
        "--law",
        "multi-power",
        "--train",
        "constant.csv,long.csv",
    ];
    let law = world
        .run(&[&args[..], &["--predict", "short.csv", "--json"]].concat())
        .ok();
    assert_eq!(law["law"], "multi-power");
    let score = &law["predict"][0];
    assert!(score["worst"].as_f64() < Some(0.02), "{score}");
    let id = law["fit"].as_str().expect("a name");
    let said = world
        .run(&["predict", id, "--schedule", "curves/short.csv", "--json"])
        .ok();
    assert_eq!(said["losses"].as_array().map(Vec::len), Some(200));
    let best = world
        .run(&[
            "predict", id, "--steps", "2000", "--peak", "0.01", "--floor", "0.1", "--json",
        ])
        .ok();
    assert!(
        best["best"]["loss"].as_f64() <= best["cosine"]["loss"].as_f64(),
        "{best}"
    );
    let single = world
        .run(&[
            "fit",
            "curves",
            "--law",
            "annealing",
            "--train",
            "constant.csv",
            "--json",
        ])
        .ok();
    let id = single["fit"].as_str().expect("a name");
    let refused = world.run(&["predict", id, "--steps", "2000", "--peak", "0.01", "--json"]);
    assert_eq!((refused.code, refused.error().as_str()), (4, "single_schedule"));
}

#[test]
fn imported_runs_stand_among_the_trials_of_an_export() {
    let world = World::new();
    table(&world);
    let mut args = vec!["import", "runs.csv", "--name", "theirs", "--where", "ok == 1"];
    args.extend(MAP);
    args.push("--json");
    world.run(&args).ok();
    world
        .run(&["export", "theirs", "--format", "csv", "--out", "all", "--json"])
        .ok();
    let text = fs_err::read_to_string(world.path("all/trials.csv")).expect("written");
    let row = text.lines().nth(1).expect("a run");
    assert!(
        row.starts_with("theirs:0,theirs,r00,complete,imported,,100000000,,"),
        "{row}"
    );
    assert_eq!(text.lines().count(), 21);
    let condition = [
        "export",
        "--where",
        "tokens > 9e9",
        "--format",
        "csv",
        "--out",
        "some",
        "--json",
    ];
    world.run(&condition).ok();
    let some = fs_err::read_to_string(world.path("some/trials.csv")).expect("written");
    assert_eq!(some.lines().count(), 6, "{some}");
}

#[test]
fn auto_names_the_law_that_was_chosen_and_how_the_others_did() {
    let world = World::new();
    let mut text = String::from("N,D,loss\n");
    for params in [1e7, 2e7, 4e7, 8e7, 1.6e8, 3.2e8] {
        for tokens in [2e8, 6e8, 2e9, 6e9, 2e10] {
            let inside = 3e3 * f64::powf(params, -0.6) + 4e4 * f64::powf(tokens, -0.65);
            writeln!(text, "{params},{tokens},{}", 1.2 + inside.sqrt()).expect("text");
        }
    }
    world.write("joint.csv", &text);
    let fit = |more: &[&str]| {
        let mut args = vec!["fit", "joint.csv", "--map", "params=N,tokens=D,loss=loss", "--json"];
        args.extend(more);
        world.run(&args).ok()
    };
    assert_eq!(
        fit(&[])["law"],
        "chinchilla",
        "a table is fitted with the first law unless told otherwise"
    );
    let chosen = fit(&["--law", "auto"]);
    assert_eq!((&chosen["chosen"], &chosen["law"]), (&"joint".into(), &"joint".into()));
    let c = chosen["parameters"]["c"]["value"].as_f64().expect("a number");
    assert!((c / 0.5 - 1.0).abs() < 1e-3, "{c}");
    for tried in chosen["tried"].as_array().expect("a list") {
        let has_answer = tried["hold_out"]["mean_abs_rel_error"].is_number() && tried["hold_out"]["n"].is_number();
        assert!(has_answer == tried["refused"].is_null(), "{tried}");
    }
    let id = chosen["fit"].as_str().expect("a name");
    let said = world
        .run(&["predict", id, "--params", "1B", "--tokens", "100B", "--json"])
        .ok();
    for level in ["ci50", "ci80", "ci95_mean", "ci95_new_run"] {
        assert!(said["loss"][level][1].is_number(), "{level}: {said}");
    }
    let ran = world.run(&["fit", "joint.csv", "--law", "auto,joint", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "usage"));
}
