//! Files as people have them: whatever separates and packs them, whoever wrote them; and what is odd about them is said.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::world::{Ran, World};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tables")
        .join(name)
}

/// Fits a fixture, few draws, with these arguments more.
fn fit(world: &World, name: &str, more: &[&str]) -> Ran {
    let path = fixture(name);
    let path = path.to_str().expect("a path is text");
    world.run(&[&["fit", path, "--bootstrap", "50", "--json"], more].concat())
}

const MAP: [&str; 2] = ["--map", "params=N,tokens=D,loss=loss"];

/// The text of a warning of this code; none: there is none.
fn warning(body: &Value, code: &str) -> Option<String> {
    let all = body["warnings"].as_array().expect("warnings");
    let found = all.iter().find(|warning| warning["code"] == code)?;
    found["text"].as_str().map(str::to_owned)
}

/// Code, error, and the lines of its places.
fn refused(ran: &Ran) -> (i32, String, Vec<u64>) {
    let lines = ran.json()["error"]["at"]
        .as_array()
        .map_or_else(Vec::new, |at| at.iter().filter_map(|it| it["line"].as_u64()).collect());
    (ran.code, ran.error(), lines)
}

#[test]
fn one_table_in_any_shape_is_one_law() {
    let world = World::new();
    let good = fit(&world, "good.csv", &MAP).ok();
    assert_eq!(good["n"], 24);
    for odd in [
        "repeated_rows",
        "tokens_below_params",
        "other_schedules",
        "flops_not_6nd",
    ] {
        assert_eq!(warning(&good, odd), None, "a sound table");
    }
    let alpha = |body: &Value| body["parameters"]["alpha"]["value"].as_f64().expect("a number");
    for (name, map) in [
        ("gz.csv.gz", MAP[1]),
        ("zst.csv.zst", MAP[1]),
        ("semi.csv", MAP[1]),
        ("list.json", MAP[1]),
        ("comma.csv", "params=N,tokens=D,loss=\"val,loss\""),
        // Its losses are decimals; dates, structs, lists, bytes and eight-bit numbers stand beside them.
        ("kinds.parquet", "params=N,tokens=D,loss=loss,seed=seed,schedule=sched"),
    ] {
        let law = fit(&world, name, &["--map", map]).ok();
        assert_eq!(law["n"], good["n"], "{name}");
        assert!(
            (alpha(&law) / alpha(&good) - 1.0).abs() < 0.02,
            "{name}: {}",
            law["parameters"]
        );
    }
    let text = fs_err::read_to_string(fixture("good.csv")).expect("a table");
    for (name, text) in [
        ("good.tsv", text.replace(',', "\t")),
        ("good.txt", text.replace(',', ";")),
        ("bom.csv", format!("\u{feff}{}", text.replace('\n', "\r\n"))),
    ] {
        world.write(name, &text);
        let law = world
            .run(&["fit", name, "--map", MAP[1], "--bootstrap", "50", "--json"])
            .ok();
        assert_eq!(law["data_hash"], good["data_hash"], "{name}");
    }
}

#[test]
fn of_parquet_only_what_is_asked_for_is_read() {
    let world = World::new();
    let map = |loss: &str| format!("params=N,tokens=D,loss={loss}");
    let law = fit(
        &world,
        "kinds.parquet",
        &["--map", &map("loss"), "--where", "keep == true and small > 0"],
    )
    .ok();
    assert_eq!(law["n"], 22);
    fit(&world, "kinds.parquet", &["--map", &map("half")]).ok();
    for kind in ["day", "config", "tags", "big"] {
        let ran = fit(&world, "kinds.parquet", &["--map", &map(kind)]);
        assert_eq!(
            refused(&ran),
            (2, "unreadable_column".to_owned(), vec![]),
            "{}",
            ran.stdout
        );
    }
    world.write("cut.parquet", "PAR1 and no more PAR1");
    let cut = world.run(&["fit", "cut.parquet", "--map", MAP[1], "--json"]);
    assert_eq!(refused(&cut).1, "bad_table");
}

#[test]
fn what_is_no_table_says_why_and_where() {
    let world = World::new();
    for (name, more, error, lines) in [
        ("short.csv", &MAP[..], "ragged_rows", vec![2]),
        ("quote.csv", &MAP, "bad_table", vec![]),
        ("headonly.csv", &MAP, "no_rows", vec![]),
        (
            "good.csv",
            &["--map", "params=N,tokens=D,loss=loss", "--where", "N > 1e12"],
            "nothing_matches",
            vec![],
        ),
        (
            "comma.csv",
            &["--map", "params=N,tokens=D,loss=\"val;loss\""],
            "missing_column",
            vec![],
        ),
    ] {
        let ran = fit(&world, name, more);
        assert_eq!(refused(&ran), (2, error.to_owned(), lines), "{name}: {}", ran.stdout);
    }
    let message = |ran: &Ran| ran.json()["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message(&fit(&world, "quote.csv", &MAP)).contains("line 2 opens a quote"));
    let none = fit(&world, "good.csv", &[&MAP[..], &["--where", "N > 1e12"]].concat());
    assert!(message(&none).contains("none of 24 rows"), "{}", none.stdout);
    let unquoted = fit(&world, "comma.csv", &["--map", "params=N,tokens=D,loss=val,loss"]);
    assert!(
        unquoted.code == 2 && unquoted.stdout.contains("between quotes"),
        "{}",
        unquoted.stdout
    );
    let twice = fit(&world, "good.csv", &["--map", "params=N,params=D,loss=loss"]);
    assert_eq!(refused(&twice).1, "usage");
    world.write("points.csv", "N;D;loss\n1e6;1e8;3,1\n");
    let pointed = world.run(&["fit", "points.csv", "--map", MAP[1], "--json"]);
    assert_eq!(refused(&pointed), (2, "bad_row".to_owned(), vec![2]));
    assert_eq!(pointed.json()["error"]["at"][0]["suggestion"], "3.1");
    world.write("empty.csv", "N,D,loss\n1e6,1e8,\n2e6,1e8,\n");
    let ran = world.run(&["import", "empty.csv", "--map", MAP[1], "--json"]);
    assert_eq!(refused(&ran).1, "no_runs");
    assert!(message(&ran).contains("2: its `loss` is empty"), "{}", ran.stdout);
}

#[test]
fn rows_that_do_not_count_are_counted() {
    let world = World::new();
    let map = ["--map", "params=N,tokens=D,loss=loss,schedule=sched"];
    assert_eq!(warning(&fit(&world, "sched.csv", &map).ok(), "other_schedules"), None);
    let few = fit(&world, "schedmix.csv", &map);
    assert_eq!(refused(&few).0, 4, "{}", few.stdout);
    assert!(
        few.stdout.contains("12 of 24 runs have another schedule"),
        "{}",
        few.stdout
    );
    let text = fs_err::read_to_string(fixture("sched.csv")).expect("a table");
    world.write("some.csv", &text.replacen("cosine", "wsd", 4));
    let some = world
        .run(&[&["fit", "some.csv", "--bootstrap", "50", "--json"], &map[..]].concat())
        .ok();
    assert!(
        warning(&some, "other_schedules").is_some_and(|text| text.starts_with("4 run(s)")),
        "{some}"
    );
    let path = fixture("good.csv");
    let path = path.to_str().expect("a path is text");
    let text = world
        .run(&["fit", path, MAP[0], MAP[1], "--bootstrap", "50", "--where", "N < 3e8"])
        .stdout;
    assert!(
        text.contains("left out: ") && text.contains("the condition leaves it out"),
        "{text}"
    );
}

#[test]
fn rows_that_are_there_twice_are_named_and_are_no_seeds() {
    let world = World::new();
    let good = fit(&world, "good.csv", &MAP).ok();
    for (name, repeated) in [("dups.csv", "24 of 48 rows"), ("dups3.csv", "48 of 72 rows")] {
        let law = fit(&world, name, &MAP).ok();
        let text = warning(&law, "repeated_rows").expect("a warning");
        assert!(
            text.starts_with(repeated) && text.contains(" = line "),
            "{name}: {text}"
        );
        assert_eq!(
            (&law["n"], &law["parameters"]),
            (&good["n"], &good["parameters"]),
            "{name}"
        );
    }
    let path = fixture("dups.csv");
    let path = path.to_str().expect("a path is text");
    let imported = world
        .run(&["import", path, "--map", MAP[1], "--name", "theirs", "--json"])
        .ok();
    assert!(warning(&imported, "repeated_rows").is_some(), "{imported}");
    assert_eq!(imported["runs"], 24);
}

#[test]
fn columns_that_were_mistaken_are_noticed() {
    let world = World::new();
    let swapped = fit(&world, "good.csv", &["--map", "params=D,tokens=N,loss=loss"]).ok();
    assert!(
        warning(&swapped, "tokens_below_params").is_some_and(|text| text.contains("exchanged")),
        "{swapped}"
    );
    let good = fs_err::read_to_string(fixture("good.csv")).expect("a table");
    let with = |name: &str, cell: &dyn Fn(usize, f64, f64) -> f64| {
        let mut text = String::new();
        for (row, line) in good.lines().enumerate() {
            let cells: Vec<f64> = line.split(',').filter_map(|cell| cell.parse().ok()).collect();
            let last = if row == 0 {
                name.to_owned()
            } else {
                cell(row, cells[0], cells[1]).to_string()
            };
            writeln!(text, "{line},{last}").expect("text");
        }
        world.write("with.csv", &text);
        let map = format!("params=N,tokens=D,loss=loss,{name}={name}");
        world
            .run(&["fit", "with.csv", "--map", &map, "--bootstrap", "50", "--json"])
            .ok()
    };
    let sound = with("flops", &|_, n, d| 7.0 * n * d);
    assert_eq!(
        (warning(&sound, "flops_not_6nd"), warning(&sound, "flops_mixed")),
        (None, None)
    );
    let twice = with("flops", &|_, n, d| 12.0 * n * d);
    assert!(
        warning(&twice, "flops_not_6nd").is_some_and(|text| text.contains("2 times 6ND")),
        "{twice}"
    );
    let mixed = with("flops", &|row, n, d| n * d * if row % 2 == 0 { 6.0 } else { 18.0 });
    assert!(
        warning(&mixed, "flops_mixed").is_some_and(|text| text.contains("3 times 6ND in 12 rows")),
        "{mixed}"
    );
    assert!(warning(&with("lr", &|_, _, _| 2.0), "lr_above_one").is_some());
    assert_eq!(warning(&with("lr", &|_, _, _| 2e-3), "lr_above_one"), None);
    assert!(warning(&with("batch", &|_, _, _| 0.5), "odd_batch").is_some());
}

#[test]
fn large_numbers_are_powers_of_ten_and_predict_hints_at_its_own_flags() {
    let world = World::new();
    let path = fixture("good.csv");
    let path = path.to_str().expect("a path is text");
    world.write("large.csv", &{
        let mut text = String::from("params,tokens,loss\n");
        for params in [1e8, 2e8, 4e8, 8e8] {
            for tokens in [2e9, 8e9, 3.2e10, 1.28e11] {
                let loss = 1.5 + 4e8 * f64::powf(params, -1.1) + 410.0 * f64::powf(tokens, -0.28);
                writeln!(text, "{params},{tokens},{loss}").expect("text");
            }
        }
        text
    });
    let text = world.run(&["fit", "large.csv", "--bootstrap", "0"]).stdout;
    let row = text
        .lines()
        .find(|line| line.trim_start().starts_with("A "))
        .expect("a row of A");
    assert!(row.contains("e8"), "{text}");
    world
        .run(&["fit", path, MAP[0], MAP[1], "--bootstrap", "50", "--json"])
        .ok();
    let flags = world.run(&["predict", "--help"]).stdout;
    for args in [
        &["predict", "last", "--at", path, "--json"][..],
        &["predict", "last", "--at", "at.csv", "--json"],
    ] {
        world.write("at.csv", "params,tokens\n");
        let ran = world.run(args);
        assert_eq!(ran.code, 2, "{}", ran.stdout);
        for hint in ran.json()["error"]["hints"].as_array().expect("hints") {
            let words = hint
                .as_str()
                .expect("text")
                .split(|c: char| !c.is_alphanumeric() && c != '-');
            for flag in words.filter(|word| word.starts_with("--")) {
                assert!(flags.contains(flag), "{flag} is no flag of predict: {hint}");
            }
        }
    }
}

#[test]
fn exports_of_our_own_and_of_wandb_need_no_map() {
    let world = World::new();
    let good = fs_err::read_to_string(fixture("good.csv")).expect("a table");
    let (mut ours, mut wandb) = (
        String::from(
            "trial,sweep,state,trainer,params_non_embedding,params_total,lr,batch_tokens,schedule,tokens,seed,flops,final_loss\n",
        ),
        String::from(
            "\"Name\",\"State\",\"Notes\",\"User\",\"Tags\",\"Created\",\"Runtime\",\"Sweep\",\"learning_rate\",\"model/num_parameters\",\"eval/loss\",\"train/learning_rate\",\"train/num_input_tokens_seen\"\n",
        ),
    );
    for (row, line) in good.lines().skip(1).enumerate() {
        let [n, d, loss] = line.split(',').collect::<Vec<_>>()[..] else {
            continue;
        };
        writeln!(ours, "t{row},s,complete,proxy,{n},1e12,0.01,65536,wsd,{d},1,1,{loss}").expect("text");
        writeln!(wandb, "\"r{row}\",\"finished\",\"-\",\"u\",\"\",\"2026-01-01T00:00:00.000Z\",\"9\",\"\",\"0.01\",\"{n}\",\"{loss}\",\"0\",\"{d}\"").expect("text");
    }
    ours.push_str("bad,s,diverged,proxy,1e7,1e12,0.1,65536,wsd,2e8,1,1,\n");
    wandb.push_str("\"bad\",\"crashed\",\"-\",\"u\",\"\",\"2026-01-01T00:00:00.000Z\",\"9\",\"\",\"0.01\",\"1e7\",\"9.1\",\"0\",\"2e8\"\n");
    world.write("trials.csv", &ours);
    world.write("wandb.csv", &wandb);
    let planted = fit(&world, "good.csv", &MAP).ok();
    for (file, reason) in [
        ("trials.csv", "its state is diverged"),
        ("wandb.csv", "its State is crashed"),
    ] {
        let law = world.run(&["fit", file, "--bootstrap", "50", "--json"]).ok();
        assert_eq!(
            (&law["n"], &law["parameters"]),
            (&planted["n"], &planted["parameters"]),
            "{file}"
        );
        assert_eq!(law["left_out"][0]["reason"], reason, "{file}");
        let said = warning(&law, "recognised");
        assert_eq!(said.is_some(), file == "wandb.csv", "{said:?}");
        assert_eq!(warning(&law, "mixed_settings"), None, "{file}");
        assert!(said.is_none_or(|text| text.contains("loss is `eval/loss`") && text.contains("lr is `learning_rate`")));
    }
    let decays = ["axis.weight_decay", "0.1", "0.2"];
    let varied: Vec<String> = ours
        .lines()
        .enumerate()
        .map(|(row, line)| format!("{line},{}", decays[if row == 0 { 0 } else { 1 + row % 2 }]))
        .collect();
    world.write("varied.csv", &varied.join("\n"));
    let law = world.run(&["fit", "varied.csv", "--bootstrap", "50", "--json"]).ok();
    assert!(
        warning(&law, "mixed_settings").is_some_and(|text| text.contains("axis.weight_decay")),
        "{law}"
    );
}

#[test]
fn logs_of_others_are_curves() {
    let world = World::new();
    let (mut trainer, mut loss, mut lr) = (
        Vec::new(),
        String::from("Wall time,Step,Value\n"),
        String::from("Wall time,Step,Value\n"),
    );
    for (name, floor) in [("constant", 1.0), ("linear", 0.1)] {
        let mut area = 0.0;
        for step in 1..=2000 {
            let now = 0.01 * (1.0 - (1.0 - floor) * f64::from(step) / 2000.0);
            area += now;
            if step % 10 == 0 {
                let nats = 2.0 + 1.2 * f64::powf(area, -0.4) - 3.0 * (0.01 - now);
                if name == "constant" {
                    trainer.push(format!(
                        "{{\"epoch\": 0.5, \"learning_rate\": {now}, \"loss\": {nats}, \"step\": {step}}}"
                    ));
                } else {
                    writeln!(loss, "1.7e9,{step},{nats}").expect("text");
                    writeln!(lr, "1.7e9,{step},{now}").expect("text");
                }
            }
        }
    }
    trainer.push("{\"epoch\": 1.0, \"eval_loss\": NaN, \"step\": 2000}".to_owned());
    let state = format!("{{\"best_metric\": null, \"log_history\": [{}]}}", trainer.join(",\n"));
    world.write("logs/trainer_state.json", &state);
    world.write("logs/loss.csv", &loss);
    world.write("logs/lr.csv", &lr);
    let args = [
        "fit",
        "logs",
        "--law",
        "annealing",
        "--train",
        "trainer_state.json,loss.csv+lr.csv",
        "--json",
    ];
    let law = world.run(&args).ok();
    let predicted = world
        .run(&["predict", "last", "--schedule", "logs/lr.csv", "--json"])
        .ok();
    assert_eq!(predicted["losses"].as_array().map(Vec::len), Some(200), "{law}");
    let lone = world.run(&["fit", "logs", "--law", "annealing", "--train", "loss.csv", "--json"]);
    assert_eq!(refused(&lone).1, "missing_column");
    let as_runs = world.run(&["fit", "logs/trainer_state.json", "--json"]);
    assert_eq!(refused(&as_runs).1, "missing_column");
    assert!(as_runs.stdout.contains("--law annealing"), "{}", as_runs.stdout);
}
