//! Several sweeps of one home read as one study, and the law of the batch along single runs, with the toy trainer.

use crate::world::World;

/// Learning rates, sizes and budgets at one batch, with the best rate inside.
pub(crate) const RATES: &str = "
name: rates
description: Which rate?
data: text
parameters:
  model: [6K, 13K, 24K, 80K, 189K]
  lr: [3e-3, 1e-2, 3e-2]
  tokens: [200k, 400k, 800k]
  batch_tokens: 4000
  context: 100
  schedule: {name: wsd, warmup: 8000}
";

/// Batches at one learning rate and budget, as in `MiniCPM`'s study; one of its trials is one of the other sweep's.
const BATCHES: &str = "
name: batches
description: Which batch?
data: text
parameters:
  model: [6K, 24K, 189K]
  lr: 1e-2
  tokens: 800k
  batch_tokens: [500, 1000, 2000, 4000, 8000, 16000]
  context: 100
  schedule: {name: wsd, warmup: 8000}
";

fn trained() -> World {
    let world = World::new();
    world.prepare_text();
    for (name, text) in [("rates.yaml", RATES), ("batches.yaml", BATCHES)] {
        world.write(name, text);
        world.run(&["run", name, "--toy", "--json"]).ok();
    }
    world
}

#[test]
fn the_best_batch_is_read_along_single_runs_and_is_the_planted_one() {
    let world = trained();
    let asked = world.run(&["fit", "batches", "--toy", "--json"]);
    assert_eq!((asked.code, asked.error().as_str()), (4, "too_few_budgets"));
    assert!(asked.stdout.contains("--law batch"), "{}", asked.stdout);
    let args = ["fit", "batches", "--law", "batch", "--json"];
    let refused = world.run(&args);
    assert_eq!((refused.code, refused.error().as_str()), (4, "toy_data"));
    let fit = world.run(&[&args[..], &["--toy"]].concat()).ok();
    assert_eq!(
        (&fit["law"], &fit["read_from"]),
        (&"batch".into(), &"training_losses".into())
    );
    assert_eq!(
        fit["trials"].as_array().map(Vec::len),
        Some(18),
        "one run for each size and batch"
    );
    // 4,000 tokens after a million, growing as the root of the tokens; a little off where the rate comes down.
    let exponent = fit["by_tokens"]["exponent"]["value"].as_f64().expect("a number");
    assert!((exponent - 0.5).abs() < 0.05, "{exponent}");
    let name = fit["fit"].as_str().expect("a name");
    let at = ["predict", name, "--params", "100K", "--tokens", "1M", "--json"];
    let batch = world.run(&at).ok()["batch_tokens"]["value"].as_f64().expect("a number");
    assert!((batch / 4000.0 - 1.0).abs() < 0.1, "{batch}");
}

#[test]
fn a_recipe_and_a_page_rest_on_several_sweeps_as_one_study() {
    let world = trained();
    let recipe = |sweep: &str| {
        let args = [
            "recipe", "--params", "2.4B", "--tokens", "1T", "--beyond", "--sweep", sweep, "--toy", "--json",
        ];
        world.run(&args).ok()
    };
    let (alone, both) = (recipe("rates"), recipe("rates+batches"));
    assert_eq!(alone["items"]["batch_tokens"]["source"], "published");
    assert_eq!(both["items"]["batch_tokens"]["source"], "fitted");
    let selected = |recipe: &serde_json::Value| {
        let warnings = recipe["warnings"].as_array().expect("warnings");
        let texts = warnings.iter().filter(|it| it["code"] == "runs_selected");
        texts
            .filter_map(|it| it["text"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(selected(&alone), Vec::<String>::new(), "all runs are alike");
    let words = selected(&both);
    assert!(
        words
            .iter()
            .any(|text| text.contains("the recipe rests on 45 of 60 runs (batch 4000) and not on 15")),
        "{words:?}"
    );
    let batch = both["items"]["batch_tokens"]["value"].as_f64().expect("a number");
    assert!(
        (batch / 4e6 - 1.0).abs() < 0.5,
        "4000 · (1e12/1e6)^0.5 is 4 million, not {batch}"
    );
    for item in ["lr", "lr_hidden", "tokens_compute_optimal"] {
        let of = |recipe: &serde_json::Value| recipe["items"][item]["value"].as_f64().expect("a number");
        assert!(
            (of(&both) / of(&alone) - 1.0).abs() < 1e-6,
            "{item}: poor batches are no tuned runs"
        );
    }
    for gate in both["gates"].as_array().expect("gates") {
        if let Some(next) = gate["next"].as_str() {
            let plan = world.run(&["plan", next, "--toy", "--json"]);
            assert_eq!(plan.code, 0, "{next}: {}", plan.stderr);
        }
    }
    let report = world
        .run(&["report", "rates+batches", "--out", "page", "--toy", "--json"])
        .ok();
    let page = fs_err::read_to_string(world.path("page/index.html")).expect("written");
    assert!(page.contains("Which rate? Which batch?"), "the questions of both");
    let points = |sweep: &str| {
        world.run(&["report", sweep, "--out", "other", "--toy", "--json"]).ok()["points_total"]
            .as_u64()
            .expect("a number")
    };
    // 200 steps, and the held-out losses at the ends of four stages: the later sweep takes the trunks that there are.
    let shared = 3 * (200 + 4);
    assert_eq!(
        report["points_total"].as_u64().expect("a number"),
        points("rates") + points("batches") - shared,
        "a trial of both sweeps counts once"
    );
    let missing = world.run(&[
        "recipe",
        "--params",
        "2.4B",
        "--sweep",
        "rates+batch",
        "--toy",
        "--json",
    ]);
    assert_eq!((missing.code, missing.error().as_str()), (2, "unknown_sweep"));
}
