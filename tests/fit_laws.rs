//! The family of laws of loss on data with a known answer: the right law is chosen and gives its constants back, wrong
//! rows are named and move little, designs of equal compute are known, and what the data cannot carry is refused.

use std::collections::BTreeSet;

use serde_json::Value;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sandbox::fit::law::{AnyKept, Data, Options, Place};
use sandbox::fit::laws::{LAWS, named};
use sandbox::fit::loss::chinchilla::Objective;
use sandbox::fit::loss::loss_law::HoldOut;
use sandbox::fit::loss::model_selection::{self, Choice, Compare};
use sandbox::fit::observation::Observation;
use sandbox::fit::refusal::Refusal;

fn run(params: f64, tokens: f64, loss: f64) -> Observation {
    Observation {
        label: format!("{params:.4e} {tokens:.4e}"),
        params,
        tokens,
        loss,
        lr: None,
        batch_tokens: None,
        schedule: None,
        seed: None,
        flops: None,
        setup: None,
    }
}

/// A loss by parameters and tokens.
type Planted = fn(f64, f64) -> f64;

fn additive(n: f64, d: f64) -> f64 {
    1.7 + 400.0 * n.powf(-0.34) + 410.0 * d.powf(-0.28)
}

fn joint(n: f64, d: f64) -> f64 {
    1.2 + (3e3 * n.powf(-0.6) + 4e4 * d.powf(-0.65)).powf(0.5)
}

/// The constants of the paper's own fit (arXiv 2506.10972).
fn farseer(n: f64, d: f64) -> f64 {
    let exponent = (-0.124 * n.powf(0.123) + 0.424).exp();
    (-0.021 * n.powf(0.169) - 0.091).exp() + (88.01 * n.powf(-0.1) - 5.287).exp() * d.powf(-exponent)
}

fn tied(n: f64, d: f64) -> f64 {
    let (c, m): (f64, f64) = (6.0 * n * d, d / n);
    1.8 + (30.0 * m.powf(0.15) + 90.0 * m.powf(-0.15)) * c.powf(-0.15)
}

/// So many sizes from 2e7 and budgets from 4e8, over a factor of ninety and of 130, with normal noise.
fn grid(law: Planted, [sizes, budgets]: [i32; 2], noise: f64) -> Vec<Observation> {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut rows = Vec::new();
    for i in 0..sizes {
        for j in 0..budgets {
            let share = |k: i32, of: i32| f64::from(k) / f64::from(of - 1);
            let (n, d) = (
                2e7 * 2f64.powf(6.5 * share(i, sizes)),
                4e8 * 2f64.powf(7.0 * share(j, budgets)),
            );
            let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * random.random::<f64>()).cos();
            rows.push(run(n, d, law(n, d) * (noise * normal).exp()));
        }
    }
    rows
}

/// Five to seven sizes about the best one of each budget, by the additive law.
fn equal_compute(budgets: i32) -> Vec<Observation> {
    let mut rows = Vec::new();
    for budget in 0..budgets {
        let flops = 1e17 * 3f64.powi(budget);
        for step in -3..=3 {
            let n = 0.09 * flops.powf(0.46) * 1.45_f64.powi(step) * 4.0;
            rows.push(run(n, flops / (6.0 * n), additive(n, flops / (6.0 * n))));
        }
    }
    rows
}

fn fit_with(law: &str, runs: &[Observation], bootstrap: usize, hold_out: HoldOut) -> Result<AnyKept, Refusal> {
    let data = Data {
        source: Some("runs.csv".to_owned()),
        convention: "as-given",
        runs: runs.to_vec(),
        ..Data::default()
    };
    let options = Options {
        objective: Objective::Huber,
        hold_out,
        bootstrap,
        threads: 2,
        clock: &|| 0.0,
    };
    (named(law).expect("a law").fit)(&data, &options)
}

fn fit(law: &str, runs: &[Observation], bootstrap: usize) -> AnyKept {
    fit_with(law, runs, bootstrap, HoldOut::Largest).expect("a fit")
}

fn choose(runs: &[Observation], threads: usize) -> Choice {
    let laws: Vec<(&'static str, Compare)> = LAWS
        .iter()
        .filter_map(|law| Some((law.about.name, law.about.compare?)))
        .collect();
    model_selection::choose(&laws, runs, &[Objective::Huber, Objective::LeastSquares], threads)
}

fn value(fit: &AnyKept, name: &str) -> f64 {
    fit.body["parameters"][name]["value"].as_f64().expect("a number")
}

fn warnings(fit: &AnyKept) -> BTreeSet<String> {
    let warnings = fit.body["warnings"].as_array().expect("a list").iter();
    warnings
        .filter_map(|it| it["code"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn every_law_gives_its_planted_constants_back() {
    type Case = (&'static str, Planted, &'static [(&'static str, f64)]);
    let cases: [Case; 4] = [
        (
            "chinchilla",
            additive,
            &[("E", 1.7), ("alpha", 0.34), ("beta", 0.28), ("A", 400.0)],
        ),
        (
            "joint",
            joint,
            &[("E", 1.2), ("alpha", 0.6), ("beta", 0.65), ("c", 0.5), ("B", 4e4)],
        ),
        (
            "farseer",
            farseer,
            &[
                ("s", -0.021),
                ("q", 0.169),
                ("B", 88.01),
                ("b", -0.1),
                ("A", -0.124),
                ("U", 0.424),
            ],
        ),
        ("tied", tied, &[("E", 1.8), ("a", 30.0), ("b", 90.0), ("eta", 0.15)]),
    ];
    for (law, planted, constants) in cases {
        let found = fit(law, &grid(planted, [8, 8], 0.0), 0);
        for &(name, expected) in constants {
            let value = value(&found, name);
            assert!(
                (value / expected - 1.0).abs() < 1e-4,
                "{law}: {name} is {value}, not {expected}"
            );
        }
    }
}

#[test]
fn the_law_that_was_planted_is_chosen_whatever_the_order_and_the_threads() {
    for (law, planted) in [
        ("chinchilla", additive as Planted),
        ("joint", joint),
        ("farseer", farseer),
    ] {
        let mut runs = grid(planted, [9, 9], 0.001);
        let choice = choose(&runs, 1);
        assert_eq!(choice.order[0].0, law, "{:?}", choice.tried);
        runs.rotate_left(31);
        assert_eq!(choose(&runs, 2), choice, "{law}");
        let missed = |name: &str| {
            let tried = choice.tried.iter().find(|it| it.law == name).expect("it was tried");
            tried
                .hold_out
                .as_ref()
                .map_or(f64::INFINITY, |held| held.mean_abs_rel_error)
        };
        assert!(missed(law) < 0.004, "{law}: {}", missed(law));
        let three = choice
            .tried
            .iter()
            .find(|it| it.law == "three-term")
            .expect("it was tried");
        assert!(three.hold_out.is_none() && three.refused.is_some(), "no batch is known");
    }
}

#[test]
fn where_no_hold_out_answers_the_first_law_is_left_with_the_reasons_of_all() {
    let choice = choose(&grid(additive, [2, 3], 0.0), 1);
    assert_eq!(choice.order, [("chinchilla", Objective::Huber)]);
    assert!(choice.tried.iter().all(|it| it.refused.is_some()), "{:?}", choice.tried);
}

#[test]
fn lack_of_fit_needs_no_replicates() {
    let of = |law: Planted| warnings(&fit("chinchilla", &grid(law, [7, 7], 0.002), 50));
    assert!(of(joint).contains("lack_of_fit"));
    assert!(!of(additive).contains("lack_of_fit"));
}

#[test]
fn the_order_of_rows_changes_no_bit_of_any_law() {
    for law in ["joint", "farseer", "tied"] {
        let mut runs = grid(joint, [6, 6], 0.003);
        let first = fit(law, &runs, 30);
        runs.reverse();
        assert_eq!(fit(law, &runs, 30).body, first.body, "{law}");
    }
}

fn table(name: &str) -> Vec<Observation> {
    let path = format!("{}/tests/fixtures/tables/{name}.csv", env!("CARGO_MANIFEST_DIR"));
    let text = fs_err::read_to_string(path).expect("a table");
    let rows = text.lines().enumerate().skip(1).map(|(line, row)| {
        let cells: Vec<f64> = row.split(',').map(|cell| cell.parse().expect("a number")).collect();
        Observation {
            label: format!("line {}", line + 1),
            ..run(cells[0], cells[1], cells[2])
        }
    });
    rows.collect()
}

/// The width of the 95 % interval of a constant.
fn width(fit: &AnyKept, name: &str) -> f64 {
    let ends = &fit.body["parameters"][name]["ci95"];
    ends[1].as_f64().expect("a number") - ends[0].as_f64().expect("a number")
}

#[test]
fn a_wrong_row_is_named_and_changes_no_interval_by_a_fifth() {
    let place = Place {
        params: 1e10,
        tokens: 1e12,
        batch_tokens: None,
    };
    let far = |fit: &AnyKept| {
        let said = fit.kept.law.at(place).and_then(|said| said.loss).expect("a loss");
        let [low, high] = said.ci95_new_run.expect("draws");
        high - low
    };
    for (sound, damaged) in [("good", "o6"), ("good", "o8"), ("good", "o30"), ("g60", "g60off30")] {
        let (sound, damaged) = (
            fit("chinchilla", &table(sound), 400),
            fit("chinchilla", &table(damaged), 400),
        );
        assert_eq!(damaged.body["outliers"].as_array().map(Vec::len), Some(1));
        assert!(warnings(&damaged).contains("outliers") && !warnings(&sound).contains("outliers"));
        assert!(!warnings(&damaged).contains("poor_fit"));
        let widths = ["E", "A", "alpha", "B", "beta"].map(|name| width(&damaged, name) / width(&sound, name));
        for ratio in widths.into_iter().chain([far(&damaged) / far(&sound)]) {
            assert!((0.8..1.2).contains(&ratio), "{ratio}");
        }
    }
    for (name, line) in [("off5", "line 12"), ("g60off5", "line 32")] {
        assert_eq!(
            fit("chinchilla", &table(name), 50).body["outliers"],
            Value::from(vec![line])
        );
    }
}

#[test]
fn equal_compute_is_known_and_rolled_along() {
    let runs = equal_compute(7);
    let along = |hold_out| fit_with("chinchilla", &runs, 50, hold_out).expect("a fit");
    let largest = along(HoldOut::Largest);
    assert_eq!(
        (&largest.body["hold_out"]["by"], &largest.body["hold_out"]["n"]),
        (&"flops".into(), &7.into())
    );
    assert_eq!(largest.body["widening"]["by"], "flops");
    for other in [HoldOut::None, HoldOut::ParamsAbove(1e9)] {
        assert_eq!(along(other).body["widening"], largest.body["widening"], "{other:?}");
    }
    let of_grid = fit("chinchilla", &grid(additive, [7, 7], 0.001), 50);
    assert_eq!(of_grid.body["widening"]["by"], "params");
}

#[test]
fn a_law_that_cannot_be_rolled_often_enough_takes_the_additive_laws_widening() {
    let runs = grid(additive, [6, 6], 0.004);
    let five = grid(additive, [5, 6], 0.004);
    let of = |law: &str| fit_with(law, &runs, 100, HoldOut::None).expect("a fit");
    // Farseer's law needs four sizes below a cut, so six leave two cuts; the additive law has three.
    let (farseer, additive) = (of("farseer"), of("chinchilla"));
    assert_eq!(farseer.body["widening"], additive.body["widening"]);
    assert_eq!(additive.body["widening"]["rolled_fits"], 3);
    assert!(!warnings(&farseer).contains("extrapolation_not_calibrated"));
    // Five sizes are too few for either.
    let few = fit_with("farseer", &five, 100, HoldOut::None).expect("a fit");
    assert!(warnings(&few).contains("extrapolation_not_calibrated"));
}

#[test]
fn minima_of_equal_compute_give_their_law() {
    let found = fit("minima", &equal_compute(7), 100);
    let exponent = found.body["optimum"]["params"]["exponent"]["value"]
        .as_f64()
        .expect("a number");
    // β/(α+β) of the planted law.
    assert!((exponent / (0.28 / 0.62) - 1.0).abs() < 0.02, "{exponent}");
    assert_eq!(found.body["optimum"]["minima"].as_array().map(Vec::len), Some(7));
    assert!((value(&found, "E") / 1.7 - 1.0).abs() < 0.02, "{}", value(&found, "E"));
    // αβ/(α+β) of the planted law.
    assert!(
        (value(&found, "c") / (0.34 * 0.28 / 0.62) - 1.0).abs() < 0.03,
        "{}",
        value(&found, "c")
    );
}

#[test]
fn each_law_says_three_levels_one_inside_the_other_and_how_far_it_reaches() {
    let mut batches = Vec::new();
    for n in [1e6_f64, 2e6, 4e6, 8e6, 1.6e7] {
        for d in [2e7_f64, 6e7, 2e8, 6e8] {
            for b in [2e4_f64, 4e4, 8e4, 1.6e5] {
                let loss = 1.5 + 300.0 * n.powf(-0.35) + 30.0 * (d / b).powf(-0.5) + 300.0 * b.powf(-0.5);
                let batch_tokens = Some(b);
                batches.push(Observation {
                    batch_tokens,
                    ..run(n, d, loss * (1.0 + 1e-4 * (n + d + b).sin()))
                });
            }
        }
    }
    let place = Place {
        params: 1e10,
        tokens: 2e11,
        batch_tokens: None,
    };
    for law in ["chinchilla", "tied", "joint", "farseer", "minima", "three-term"] {
        let runs = match law {
            "minima" => equal_compute(7),
            "three-term" => batches.clone(),
            _ => grid(joint, [7, 7], 0.002),
        };
        let said = fit(law, &runs, 60).kept.law.at(place).expect("a place");
        let loss = said.loss.expect("a loss");
        let [half, most, all] = [loss.ci50, loss.ci80, loss.ci95_new_run].map(|ends| ends.expect("draws"));
        assert!(
            all[0] <= most[0] && most[0] <= half[0] && half[0] <= loss.mean,
            "{law}: {loss:?}"
        );
        assert!(
            loss.mean <= half[1] && half[1] <= most[1] && most[1] <= all[1],
            "{law}: {loss:?}"
        );
        assert!(said.extrapolation.expect("a distance").params > 1.0, "{law}");
    }
}

#[test]
fn what_the_runs_cannot_carry_is_refused_by_name() {
    let code = |law: &str, runs: &[Observation]| fit_with(law, runs, 0, HoldOut::None).err().map(|it| it.code());
    let few = grid(additive, [3, 3], 0.0);
    assert_eq!(code("joint", &few[..7]), Some("not_identified"));
    assert_eq!(code("farseer", &few), Some("too_few_sizes"));
    assert_eq!(code("farseer", &grid(additive, [4, 3], 0.0)), Some("not_identified"));
    assert_eq!(code("tied", &grid(additive, [2, 5], 0.0)), Some("too_few_sizes"));
    assert_eq!(code("minima", &equal_compute(3)), Some("too_few_budgets"));
    let rising: Vec<Observation> = equal_compute(5)
        .into_iter()
        .map(|row| run(row.params, row.tokens, 3.0 + 1e-10 * row.params))
        .collect();
    assert_eq!(code("minima", &rising), Some("optimum_at_edge"));
    assert_eq!(code("three-term", &few), Some("too_few_sizes"));
}
