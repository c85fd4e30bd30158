//! What a recipe rests on, and whether its intervals hold what the next sweep finds, with planted toys.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::world::{Ran, World, ran};

/// A world in which the toy trainer answers with more than its law of loss.
pub(crate) struct Planted {
    pub(crate) world: World,
    plant: &'static str,
}

impl Planted {
    /// Plants, and trains a sweep.
    pub(crate) fn new(plant: &'static str, sweep: &str) -> Self {
        let world = World::new();
        world.prepare_text();
        world.write("sweep.yaml", sweep);
        let planted = Self { world, plant };
        planted.run(&["run", "sweep.yaml", "--toy", "--json"]).ok();
        planted
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.world.command(args);
        ran(&command
            .env("SANDBOX_TOY", self.plant)
            .output()
            .expect("the program starts"))
    }
}

/// Everything that a user may vary at once: three sizes, rates, batches and budgets, two schedules and two seeds.
const MIXED: &str = "
name: mixed
data: text
parameters:
  model: [6K, 24K, 80K]
  lr: [3e-3, 1e-2, 3e-2]
  batch_tokens: [2000, 4000, 8000]
  tokens: [200k, 400k, 800k]
  context: 100
  schedule: {name: {values: [wsd, cosine]}, warmup: 8000}
seeds: [0, 1]
";

fn warnings<'a>(recipe: &'a Value, code: &str) -> Vec<&'a str> {
    let all = recipe["warnings"].as_array().expect("warnings").iter();
    all.filter(|it| it["code"] == code)
        .filter_map(|it| it["text"].as_str())
        .collect()
}

/// The schedules and batches of the runs from which a fit chose.
fn kinds(planted: &Planted, trials: &BTreeMap<String, (String, u64)>, fit: &str) -> BTreeSet<(String, u64)> {
    let body = planted.run(&["show", fit, "--json"]).ok();
    let left_out = body["left_out"].as_array().expect("a list").iter();
    let of_other_sets = left_out.filter(|it| {
        it["reason"]
            .as_str()
            .is_some_and(|why| why.contains("another schedule, batch"))
    });
    let out: BTreeSet<&str> = of_other_sets.filter_map(|it| it["trial"].as_str()).collect();
    let entered = trials.iter().filter(|(name, _)| !out.contains(name.as_str()));
    entered.map(|(_, kind)| kind.clone()).collect()
}

#[test]
fn a_study_that_varies_everything_gives_one_recipe_that_rests_on_one_set_of_runs() {
    // Which batch and schedule are best is planted: once the batch alone, once the schedule, too.
    for (plant, best) in [
        (
            r#"{"batch_cost":0.02,"by_batch":0.5,"cosine_cost":0.05,"noise":0.002}"#,
            ("wsd", 4000),
        ),
        (
            r#"{"batch_cost":0.02,"cosine_cost":-0.05,"noise":0.002}"#,
            ("cosine", 4000),
        ),
    ] {
        let planted = Planted::new(plant, MIXED);
        let plan = planted.run(&["plan", "sweep.yaml", "--toy", "--json"]).ok();
        let kind = |trial: &Value| {
            let schedule = trial["axes"]["schedule.name"].as_str().expect("a name").to_owned();
            let name = trial["trial"].as_str().expect("a name").to_owned();
            (
                name,
                (schedule, trial["axes"]["batch_tokens"].as_u64().expect("a number")),
            )
        };
        let trials: BTreeMap<_, _> = plan["trials"].as_array().expect("trials").iter().map(kind).collect();
        assert_eq!(trials.len(), 324);
        let args = [
            "recipe", "--params", "2.4B", "--tokens", "1T", "--beyond", "--toy", "--json",
        ];
        let recipe = planted.run(&args).ok();
        let items = &recipe["items"];
        for item in ["loss", "lr"] {
            let fit = items[item]["fit"].as_str().expect("a fit");
            let one = BTreeSet::from([(best.0.to_owned(), best.1)]);
            assert_eq!(kinds(&planted, &trials, fit), one, "{plant}: {item}");
        }
        assert_eq!(items["schedule"]["value"], best.0, "{plant}");
        assert_eq!(items["decay_fraction"]["value"].is_null(), best.0 == "cosine");
        let said = warnings(&recipe, "runs_selected");
        let words = format!(
            "the recipe rests on 54 of 324 runs (schedule {}; batch {})",
            best.0, best.1
        );
        assert!(said.len() == 1 && said[0].starts_with(&words), "{said:?}");
        assert_eq!(warnings(&recipe, "two_sets_of_runs").len(), 0);
        assert!(
            warnings(&recipe, "rate_at_other_batch")[0].contains("batches of 4000 tokens"),
            "the batch of the recipe is another: {}",
            items["batch_tokens"]
        );
    }
}

/// A study of rates alone.
fn rates(lr: &str) -> String {
    format!(
        "name: rates\ndata: text\nparameters:\n  model: [6K, 24K, 80K, 189K]\n  lr: {lr}\n  batch_tokens: 4000\n  \
         tokens: [200k, 400k, 800k]\n  context: 100\n  schedule: {{name: wsd, warmup: 8000}}\nseeds: [0, 1]\n"
    )
}

/// The rate of a recipe near the study, with its interval where the study gives one.
fn rate(planted: &Planted, more: &[&str]) -> Option<(f64, Option<[f64; 2]>)> {
    let args = ["recipe", "--params", "531K", "--tokens", "1600k", "--toy", "--json"];
    let said = planted.run(&[&args[..], more].concat());
    if said.code == 4 {
        let hints = said.json()["error"]["hints"].to_string();
        assert!(hints.contains("run next: "), "a refusal says what to run: {hints}");
        return None;
    }
    let item = said.ok()["items"]["lr"].clone();
    let ends: Option<[f64; 2]> = serde_json::from_value(item["ci95"].clone()).expect("an interval or none");
    Some((item["value"].as_f64()?, ends))
}

#[test]
fn the_interval_of_a_rate_holds_what_the_next_sweep_finds() {
    let drifts = |by_size: f64, by_tokens: f64, shift: f64| {
        move |params: f64, tokens: f64| {
            0.01 * shift.exp() * (params / 1e5).powf(by_size) * (tokens / 1e6).powf(by_tokens)
        }
    };
    // Grids that bracket badly: the best rate moves out of them with size or tokens, or lies near their end.
    let studies: [(&'static str, &str, f64); 5] = [
        (
            r#"{"by_tokens":-0.3,"noise":0.004}"#,
            "[5e-3, 1e-2, 2e-2]",
            drifts(0.0, -0.3, 0.0)(531e3, 1.6e6),
        ),
        (
            r#"{"shift":-0.5,"by_tokens":-0.3,"noise":0.004}"#,
            "[5e-3, 1e-2, 2e-2]",
            drifts(0.0, -0.3, -0.5)(531e3, 1.6e6),
        ),
        (
            r#"{"by_size":0.25,"noise":0.004}"#,
            "[5e-3, 1e-2, 2e-2]",
            drifts(0.25, 0.0, 0.0)(531e3, 1.6e6),
        ),
        (
            r#"{"by_size":-0.25,"noise":0.004}"#,
            "[1e-2, 2e-2, 4e-2, 8e-2]",
            drifts(-0.25, 0.0, 0.0)(531e3, 1.6e6),
        ),
        (r#"{"noise":0.004}"#, "[1.25e-3, 2.5e-3, 5e-3, 1e-2]", 0.01),
    ];
    let mut intervals = 0;
    for (plant, lr, truth) in studies {
        let planted = Planted::new(plant, &rates(lr));
        let first = rate(&planted, &["--sweep", "rates"]);
        let next = rate(&planted, &["--sweep", "rates", "--run-next"]).expect("after it there is a recipe");
        let last = next.1.expect("the wider grid gives an interval");
        assert!(
            last[0] <= truth * 1.001 && truth <= last[1] * 1.001,
            "{plant}: {truth} is not in {last:?}"
        );
        if let Some((_, Some([low, high]))) = first {
            intervals += 1;
            assert!(
                low <= next.0 && next.0 <= high,
                "{plant}: {} is not in [{low}, {high}]",
                next.0
            );
        }
    }
    assert!(intervals > 0, "some grid gives an interval, or nothing is judged");
}
