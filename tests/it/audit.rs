//! Forecasts replayed: a planted law is named and forecast within its intervals, a wrong one errs more, and what carries
//! no law is refused.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::world::World;

/// Runs of an additive law whose exponents differ, with normal noise of 0.3 %: sizes from 1e7 and six budgets from 2e8,
/// each twice the last.
fn table(world: &World, name: &str, sizes: i32, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut text = String::from("N,D,final\n");
    for i in 0..sizes {
        for j in 0..6 {
            let (params, tokens) = (1e7 * 2f64.powi(i), 2e8 * 2f64.powi(j));
            let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * random.random::<f64>()).cos();
            let loss = 1.7 + 90.0 * params.powf(-0.25) + 20_000.0 * tokens.powf(-0.5);
            writeln!(text, "{params},{tokens},{}", loss * (0.003 * normal).exp()).expect("text");
        }
    }
    world.write(name, &text);
}

const MAP: [&str; 2] = ["--map", "params=N,tokens=D,loss=final"];

fn audit(world: &World, files: &[&str], more: &[&str]) -> crate::world::Ran {
    let args = [&["audit"], files, &MAP, more, &["--json"]].concat();
    world.run(&args)
}

fn number(of: &Value, key: &str) -> f64 {
    of[key]
        .as_f64()
        .unwrap_or_else(|| unreachable!("{key} of {of} is no number"))
}

#[test]
fn a_planted_law_is_named_and_its_larger_runs_lie_where_it_said() {
    let world = World::new();
    table(&world, "runs.csv", 8, 1);
    table(&world, "more.csv", 8, 2);
    let answer = audit(&world, &["runs.csv", "more.csv"], &["--bootstrap", "200"]).ok();
    let sets = answer["sets"].as_array().expect("sets");
    assert_eq!(sets.len(), 2);
    assert_eq!(
        (&sets[0]["source"], &sets[1]["source"]),
        (&"runs.csv".into(), &"more.csv".into())
    );
    for set in sets {
        assert_eq!(set["law"], "chinchilla", "{set}");
        let cuts = set["cuts"].as_array().expect("cuts");
        assert_eq!(cuts.len(), 4, "those that leave 40 % of the runs to fit");
        // The last cut hides the largest size alone: six budgets of it.
        assert_eq!((&cuts[3]["at"], &cuts[3]["n"]), (&6.4e8.into(), &6.into()));
        assert_eq!((&cuts[3]["by"], &cuts[3]["seen"]), (&"params".into(), &42.into()));
        assert!(number(&cuts[3], "mean_abs_rel_error") < 0.006, "{}", cuts[3]);
    }
    let all = &answer["all"];
    let runs = |of: &Value| {
        of["cuts"]
            .as_array()
            .map_or(0.0, |cuts| cuts.iter().map(|cut| number(cut, "n")).sum())
    };
    assert!((number(all, "n") - sets.iter().map(runs).sum::<f64>()).abs() < 0.5);
    assert!(number(all, "mean_abs_rel_error") < 0.01, "{all}");
    assert!((0.85..=1.0).contains(&number(all, "covered95")), "{all}");
    assert!(number(all, "covered50") < number(all, "covered80"), "{all}");
    assert!((2.5..16.0).contains(&number(all, "width_over_error")), "{all}");
    assert!(world.path("reports/audit/index.html").exists() && world.path("reports/audit/errors.svg").exists());
    assert!(!world.home().exists(), "tables need no home");
}

#[test]
fn a_law_that_is_wrong_for_the_runs_errs_more() {
    let world = World::new();
    table(&world, "runs.csv", 8, 1);
    let error = |law: &str| {
        let answer = audit(
            &world,
            &["runs.csv"],
            &["--law", law, "--bootstrap", "50", "--cuts", "2"],
        )
        .ok();
        assert_eq!(
            (&answer["sets"][0]["law"], answer["sets"][0]["cuts"][0]["law"].as_str()),
            (&law.into(), Some(law))
        );
        assert_eq!(answer["sets"][0]["cuts"].as_array().map(Vec::len), Some(2));
        number(&answer["all"], "mean_abs_rel_error")
    };
    let (right, wrong) = (error("chinchilla"), error("tied"));
    assert!(wrong > 2.0 * right, "tied {wrong}, chinchilla {right}");
}

#[test]
fn runs_of_too_few_sizes_are_refused_and_give_no_number() {
    let world = World::new();
    table(&world, "few.csv", 3, 1);
    table(&world, "runs.csv", 8, 1);
    let ran = audit(&world, &["few.csv"], &[]);
    assert_eq!((ran.code, ran.error().as_str()), (4, "not_identified"));
    let set = &ran.json()["sets"][0];
    assert!(
        set["refused"].as_str().is_some_and(|why| why.contains("too_few_sizes")),
        "{set}"
    );
    let cuts = set["cuts"].as_array().expect("cuts");
    assert_eq!(cuts.len(), 2, "beyond each size but the largest");
    for cut in cuts {
        assert!(
            cut["refused"].as_str().is_some_and(|why| why.contains("too_few_sizes")),
            "{cut}"
        );
        for figure in [
            "n",
            "mean_abs_rel_error",
            "covered50",
            "covered80",
            "covered95",
            "width_over_error",
        ] {
            assert!(
                cut[figure].is_null() && ran.json()["all"][figure].is_null(),
                "{figure}: {cut}"
            );
        }
    }
    // Beside a set that is forecast it is no failure.
    let both = audit(
        &world,
        &["few.csv", "runs.csv"],
        &["--law", "chinchilla", "--bootstrap", "50"],
    )
    .ok();
    assert_eq!(both["all"]["n"], both["sets"][1]["n"]);
    assert!(both.get("error").is_none());
}

#[test]
fn the_json_of_an_audit_has_the_keys_of_the_contract() {
    let world = World::new();
    table(&world, "runs.csv", 8, 1);
    let answer = audit(
        &world,
        &["runs.csv"],
        &["--law", "chinchilla", "--bootstrap", "0", "--cuts", "1"],
    )
    .ok();
    let keys = |of: &Value| -> BTreeSet<String> {
        let fields = of.as_object().expect("an object");
        fields.keys().cloned().collect()
    };
    let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|&name| name.to_owned()).collect() };
    let figures = [
        "n",
        "mean_abs_rel_error",
        "bias",
        "covered50",
        "covered80",
        "covered95",
        "width_over_error",
    ];
    let set = &answer["sets"][0];
    assert_eq!(keys(&answer), names(&["sets", "all", "html", "figures"]));
    assert_eq!(keys(&answer["all"]), names(&figures));
    assert_eq!(
        keys(set),
        names(&[&figures[..], &["source", "law", "cuts", "refused"]].concat())
    );
    let of_cut = [&figures[..], &["at", "by", "seen", "law", "refused"]].concat();
    assert_eq!(keys(&set["cuts"][0]), names(&of_cut));
    assert!(
        set["cuts"][0]["covered95"].is_null(),
        "without draws there is no interval"
    );
}

#[test]
fn sweeps_are_audited_as_tables_are_and_what_is_neither_is_named() {
    let world = World::new();
    table(&world, "runs.csv", 8, 1);
    let mut import = vec!["import", "runs.csv", "--name", "theirs", "--json"];
    import.extend(MAP);
    world.run(&import).ok();
    let quick = ["--law", "chinchilla", "--bootstrap", "50", "--json"];
    let by_name = world.run(&[&["audit", "theirs"], &quick[..]].concat()).ok();
    let by_file = audit(&world, &["runs.csv"], &quick[..4]).ok();
    assert_eq!(by_name["all"], by_file["all"]);
    let ran = world.run(&["audit", "nowhere", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "unknown_sweep"));
    let ran = audit(&world, &["nowhere.csv"], &[]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "missing_file"));
}
