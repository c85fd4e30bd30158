//! What laws and a recipe make of trials that differ in more than size, learning rate and tokens, with the toy trainer.

use fs_err as fs;
use serde_json::Value;

use crate::studies::RATES as GRID;
use crate::world::World;

/// The numbers of a run that these sweeps do not vouch for are asked for all the same.
const RECIPE: [&str; 6] = ["recipe", "--params", "2.4B", "--beyond", "--toy", "--json"];

fn trained(text: &str) -> World {
    let world = World::new();
    world.prepare_text();
    world.write("grid.yaml", text);
    world.run(&["run", "grid.yaml", "--toy", "--json"]).ok();
    world
}

fn codes(value: &Value) -> Vec<&str> {
    let warnings = value["warnings"].as_array().expect("warnings");
    warnings.iter().filter_map(|it| it["code"].as_str()).collect()
}

#[test]
fn trials_with_another_weight_decay_are_no_replicates() {
    let plain = trained(GRID);
    let both = trained(&GRID.replace("  context: 100", "  context: 100\n  weight_decay: [0.1, 0.05]"));
    let fit = |world: &World| world.run(&["fit", "rates", "--toy", "--json"]).ok();
    let (one, two) = (fit(&plain), fit(&both));
    assert_eq!(one["n"], 15);
    assert_eq!(two["n"], 15, "one of both at each size and number of tokens");
    assert_eq!(one["lr"]["bracketed"], two["lr"]["bracketed"]);
    let recipe = both.run(&RECIPE).ok();
    assert!(codes(&recipe).contains(&"mixed_settings"), "{recipe}");
    let text = recipe["warnings"].to_string();
    assert!(text.contains("differ in weight_decay"), "{text}");
    assert!(!codes(&plain.run(&RECIPE).ok()).contains(&"mixed_settings"));
}

#[test]
fn where_both_parametrisations_were_tried_the_rates_are_those_of_mup() {
    let text = GRID.replace("  context: 100", "  context: 100\n  parametrization: [mup, standard]");
    let world = trained(&text);
    let recipe = world.run(&RECIPE).ok();
    assert_eq!(recipe["parametrization"], "mup");
    let only = |condition: &str| {
        let args = ["fit", "rates", "--law", "lr", "--where", condition, "--toy", "--json"];
        world.run(&args).ok()
    };
    let all = only("lr > 0");
    let out = all["left_out"].as_array().expect("trials");
    assert_eq!(out.len(), 45, "{all}");
    let standard = only("parametrization == standard");
    assert_eq!(standard["left_out"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_recipe_is_scaled_and_decays_as_its_proxies() {
    let text = GRID
        .replace(
            "  context: 100",
            "  context: 100\n  parametrization: standard\n  weight_decay: 0.03",
        )
        .replace(
            "{name: wsd, warmup: 8000}",
            "{name: wsd, warmup: 8000, decay: linear, decay_fraction: 0.2, final_fraction: 0.05}",
        );
    let world = trained(&text);
    let recipe = world.run(&[&RECIPE[..], &["--out", "files"]].concat()).ok();
    assert_eq!(recipe["parametrization"], "standard");
    assert!(codes(&recipe).contains(&"not_mup"));
    let items = &recipe["items"];
    assert_eq!(items["lr"]["value"], items["lr_hidden"]["value"], "no width divides it");
    for (name, value) in [("decay_fraction", 0.2), ("final_fraction", 0.05)] {
        assert_eq!(
            (&items[name]["value"], &items[name]["source"]),
            (&value.into(), &"default".into())
        );
    }
    assert_eq!(items["decay"]["value"], "linear");
    let sweep = fs::read_to_string(world.path("files/sweep.yaml")).expect("a sweep");
    for line in [
        "decay: linear",
        "decay_fraction: 0.2",
        "final_fraction: 0.05",
        "parametrization: standard",
        "weight_decay: 0.03",
    ] {
        assert!(sweep.contains(line), "{line} in {sweep}");
    }
}

#[test]
fn without_a_law_of_loss_there_is_no_recipe_but_a_sweep_to_run_next() {
    let world = trained(&GRID.replace("[200k, 400k, 800k]", "400k"));
    let refused = world.run(&RECIPE);
    assert_eq!((refused.code, refused.error().as_str()), (4, "too_few_budgets"));
    let next = next(&refused.json());
    world.run(&["run", &next, "--toy", "--json"]).ok();
    assert!(world.run(&RECIPE).ok()["items"]["loss"]["value"].is_number());
}

#[test]
fn the_sweep_to_run_next_has_all_that_a_recipe_lacks() {
    let text = GRID
        .replace("[6K, 13K, 24K, 80K, 189K]", "[6K, 24K]")
        .replace("[3e-3, 1e-2, 3e-2]", "[1e-3, 2e-3]");
    let world = trained(&text.replace("[200k, 400k, 800k]", "[200k, 400k]"));
    let refused = world.run(&RECIPE);
    assert_eq!((refused.code, refused.error().as_str()), (4, "optimum_at_edge"));
    world.run(&["run", &next(&refused.json()), "--toy", "--json"]).ok();
    assert!(world.run(&RECIPE).ok()["items"]["loss"]["value"].is_number());
}

#[test]
fn where_every_rate_diverged_lower_ones_are_to_be_run_next() {
    let world = World::new();
    world.prepare_text();
    world.write("grid.yaml", &GRID.replace("[3e-3, 1e-2, 3e-2]", "[0.5, 1.0]"));
    assert_eq!(
        world.run(&["run", "grid.yaml", "--toy", "--json"]).ok()["counts"]["diverged"],
        30
    );
    let refused = world.run(&RECIPE);
    assert_eq!(refused.code, 4);
    let json = refused.json();
    assert!(
        json["error"]["message"].as_str().expect("words").contains("diverged"),
        "{json}"
    );
    let text = fs::read_to_string(next(&json)).expect("the sweep");
    assert!(text.contains("0.0313"), "{text}");
}

/// The sweep that a refusal names.
fn next(refusal: &Value) -> String {
    let hints = refusal["error"]["hints"].as_array().expect("hints");
    let next = hints
        .iter()
        .filter_map(Value::as_str)
        .find_map(|hint| hint.strip_prefix("run next: "));
    next.expect("the sweep to run next").to_owned()
}

#[test]
fn last_is_the_law_that_was_fitted_last_whichever_it_is() {
    let world = trained(GRID);
    let at = ["predict", "last", "--params", "1M", "--tokens", "2M", "--json"];
    let fit = |law: &str| world.run(&["fit", "rates", "--law", law, "--toy", "--json"]).ok();
    for (law, answer) in [("lr", "lr"), ("chinchilla", "loss"), ("lr", "lr")] {
        let fit = fit(law);
        let said = world.run(&at).ok();
        assert_eq!(said["fit"], fit["fit"], "{law}");
        assert!(said[answer].is_object(), "{law}: {said}");
    }
    fit("chinchilla");
    world.run(&["report", "rates", "--toy", "--json"]).ok();
    assert!(world.run(&at).ok()["loss"].is_object(), "a page changes nothing");
}
