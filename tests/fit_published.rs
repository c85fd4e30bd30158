//! The law engine on published runs. The files carry no licence and are not part of this repository: where they
//! are missing these tests say that they skip.

#[path = "published/laws.rs"]
mod laws;
#[path = "it/skip.rs"]
mod skip;

use std::path::PathBuf;

use sandbox::fit::loss::chinchilla::Objective;
use sandbox::fit::loss::loss_fit::LossFit;
use sandbox::fit::loss::loss_law::{HoldOut, Options, loss_law};
use sandbox::fit::observation::Observation;

/// A file of published runs: `shared/fitdata` beside this folder or beside one that holds it. Where it is not, `test`
/// is skipped.
fn published(test: &str, name: &str) -> Option<String> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let text = here
        .ancestors()
        .map(|folder| folder.join("shared/fitdata").join(name))
        .find_map(|path| fs_err::read_to_string(path).ok());
    if text.is_none() {
        skip::skip(test, &format!("shared/fitdata/{name} is not here"));
    }
    text
}

/// The rows of Chinchilla's approach 3 that Besiroglu et al. extracted: 240 of them, or with the five outliers 245.
fn chinchilla(test: &str, with_outliers: bool) -> Option<Vec<Observation>> {
    let text = published(test, "chinchilla_epoch/chinchilla.csv")?;
    let rows = text
        .lines()
        .enumerate()
        .skip(1)
        .filter_map(|(line, row)| {
            let fields: Vec<&str> = row.split(',').collect();
            let number = |k: usize| fields[k].parse::<f64>().expect("a number");
            (with_outliers || fields[4] == "1").then(|| Observation {
                label: format!("line {}", line + 1),
                params: number(0),
                tokens: number(1),
                loss: number(3),
                lr: None,
                batch_tokens: None,
                seed: None,
                flops: None,
                setup: None,
                schedule: None,
            })
        })
        .collect();
    Some(rows)
}

fn options(objective: Objective, bootstrap: usize, hold_out: HoldOut) -> Options {
    Options {
        objective,
        bootstrap,
        hold_out,
        threads: 2,
        ..Options::default()
    }
}

fn assert_close(name: &str, value: f64, expected: f64, tolerance: f64) {
    assert!(
        (value - expected).abs() <= tolerance,
        "{name} is {value}, expected {expected} ± {tolerance}"
    );
}

#[test]
fn chinchillas_240_rows_reach_the_known_minimum() {
    let Some(rows) = chinchilla("chinchillas_240_rows_reach_the_known_minimum", false) else {
        return;
    };
    let fit = loss_law(&rows, &options(Objective::Huber, 0, HoldOut::None)).expect("a law");
    let c = fit.point();
    assert_eq!(fit.n, 240);
    assert!(fit.objective.value <= 0.001_018_274_02, "{}", fit.objective.value);
    assert_close("A", c.a, 477.8259, 0.001);
    assert_close("B", c.b, 2143.4173, 0.001);
    assert_close("E", c.e, 1.817_218, 1e-6);
    assert_close("alpha", c.alpha, 0.347_310, 1e-6);
    assert_close("beta", c.beta, 0.367_172, 1e-6);
    assert_close("a", fit.allocation["a"].value, 0.513_90, 1e-5);
    let best = c.compute_optimal(5.76e23);
    assert_close("N_opt", best.params / 7.32e10, 1.0, 1e-3);
    assert_close("D_opt", best.tokens / 1.312e12, 1.0, 1e-3);
    assert_close("loss", best.loss, 1.9739, 1e-4);
}

#[test]
fn least_squares_agrees_with_an_independent_program() {
    let Some(rows) = chinchilla("least_squares_agrees_with_an_independent_program", false) else {
        return;
    };
    let fit = loss_law(&rows, &options(Objective::LeastSquares, 0, HoldOut::None)).expect("a law");
    let c = fit.point();
    assert_close("sum of squares", fit.objective.value, 0.083_203_807_7, 1e-9);
    assert_close("A", c.a, 567.805, 0.001);
    assert_close("alpha", c.alpha, 0.357_615, 1e-6);
    assert_close("B", c.b, 7581.85, 0.01);
    assert_close("beta", c.beta, 0.427_621, 1e-6);
    assert_close("E", c.e, 1.882_814, 1e-6);
}

#[test]
fn the_bootstrap_spreads_like_four_thousand_resamples_of_the_rows() {
    let Some(rows) = chinchilla("the_bootstrap_spreads_like_four_thousand_resamples_of_the_rows", false) else {
        return;
    };
    let fit = loss_law(&rows, &options(Objective::Huber, 4000, HoldOut::None)).expect("a law");
    let p = &fit.parameters;
    let within = |name: &str, se: Option<f64>, expected: f64, share: f64| {
        assert_close(name, se.expect("draws") / expected, 1.0, share);
    };
    within("A", p["A"].se, 124.5, 0.08);
    within("B", p["B"].se, 1293.0, 0.15);
    within("E", p["E"].se, 0.025_66, 0.08);
    within("alpha", p["alpha"].se, 0.0154, 0.08);
    within("beta", p["beta"].se, 0.0206, 0.08);
    within("a", fit.allocation["a"].se, 0.0200, 0.08);
    assert_eq!(fit.draws.len(), 4000);
}

#[test]
fn the_five_outliers_are_flagged_and_nothing_else() {
    let (Some(all), Some(kept)) = (
        chinchilla("the_five_outliers_are_flagged_and_nothing_else", true),
        chinchilla("the_five_outliers_are_flagged_and_nothing_else", false),
    ) else {
        return;
    };
    let quick = options(Objective::Huber, 0, HoldOut::None);
    let outliers = |fit: &LossFit| {
        fit.warnings
            .iter()
            .find(|warning| warning.code == "outliers")
            .map(|warning| warning.text.clone())
    };
    let fit = loss_law(&all, &quick).expect("a law");
    assert_close("objective", fit.objective.value, 0.001_826_010_52, 1e-11);
    let text = outliers(&fit).expect("a warning");
    assert!(text.starts_with("5 run(s)"), "{text}");
    for line in 2..=6 {
        assert!(text.contains(&format!("line {line}")), "{text}");
    }
    assert!(text.contains("beta 0.453 becomes 0.367"), "{text}");
    assert_eq!(outliers(&loss_law(&kept, &quick).expect("a law")), None);
}

#[test]
fn runs_beyond_1e21_flop_are_covered_by_intervals_that_still_say_something() {
    let Some(rows) = chinchilla(
        "runs_beyond_1e21_flop_are_covered_by_intervals_that_still_say_something",
        false,
    ) else {
        return;
    };
    for (objective, error) in [(Objective::Huber, 0.0238), (Objective::LeastSquares, 0.0289)] {
        let fit = loss_law(&rows, &options(objective, 400, HoldOut::FlopsAbove(1e21))).expect("a law");
        let held = fit.hold_out.expect("a hold-out");
        assert_eq!(held.n, 23);
        assert!(held.covered.expect("draws") >= 0.8, "{:?}", held.covered);
        let mean_loss: f64 = held.points.iter().map(|p| p.loss).sum::<f64>() / 23.0;
        let absolute: f64 = held.points.iter().map(|p| (p.predicted - p.loss).abs()).sum::<f64>() / 23.0;
        assert_close("mean absolute error", absolute, error, 1e-4);
        let width = held.mean_rel_width.expect("draws") * mean_loss;
        assert!(width <= 8.0 * absolute, "{width} against {absolute}");
    }
}
