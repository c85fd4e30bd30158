//! What must hold of the law of loss and of what is said about it.

use super::*;

const PLANTED: Law = Law {
    e: 1.2,
    a: 30.0,
    alpha: 0.35,
    b: 60.0,
    beta: 0.32,
};

fn runs(sizes: &[f64], budgets: &[f64], noise: f64) -> Vec<Observation> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut runs = Vec::new();
    for &params in sizes {
        for &tokens in budgets {
            // A sum of uniform numbers is near enough to a normal one.
            let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            runs.push(Observation {
                label: format!("{params}/{tokens}"),
                params,
                tokens,
                loss: PLANTED.loss(params, tokens) * (noise * normal).exp(),
                lr: None,
                batch_tokens: None,
                schedule: None,
                seed: None,
            });
        }
    }
    runs
}

fn options() -> Options {
    Options {
        objective: Objective::Huber,
        hold_out: HoldOut::Largest,
        bootstrap: 200,
        seed: 1,
        threads: 2,
    }
}

const SIZES: [f64; 5] = [6e3, 13e3, 24e3, 80e3, 190e3];
const BUDGETS: [f64; 3] = [2.5e5, 5e5, 1e6];

#[test]
fn a_small_noisy_grid_is_fitted_and_its_intervals_hold_the_truth() {
    let fit = loss_law(&runs(&SIZES, &BUDGETS, 0.003), &options()).expect("a law");
    assert_eq!(fit.status, Status::Converged);
    assert_eq!(fit.n, 15);
    for (name, truth) in [("alpha", PLANTED.alpha), ("beta", PLANTED.beta)] {
        let [low, high] = fit.parameters[name].ci95.expect("an interval");
        assert!(low < truth && truth < high, "{name}: {low}..{high}");
    }
    let prediction = fit.predict(1e6, 4e6);
    let [low, high] = prediction.ci95_mean.expect("an interval");
    assert!(low < PLANTED.loss(1e6, 4e6) && PLANTED.loss(1e6, 4e6) < high);
    let [wide_low, wide_high] = prediction.ci95_new_run.expect("an interval");
    assert!(wide_low < low && high < wide_high);
    let held = fit.hold_out.expect("five sizes");
    assert_eq!((held.by.as_str(), held.n), ("params", 3));
    assert!(held.mean_abs_rel_error < 0.02);
}

#[test]
fn intervals_grow_with_the_distance() {
    let fit = loss_law(&runs(&SIZES, &BUDGETS, 0.003), &options()).expect("a law");
    let width = |factor: f64| {
        let [low, high] = fit.predict(190e3 * factor, 1e6).ci95_mean.expect("an interval");
        (high / low).ln()
    };
    assert!(width(10.0) > width(1.0) && width(100.0) > width(10.0));
    assert!((fit.extrapolation(1.9e6, 1e6).params - 10.0).abs() < 1e-9);
}

#[test]
fn too_little_is_refused_by_name() {
    let refusal = |runs: &[Observation]| loss_law(runs, &options()).expect_err("refused").code();
    assert_eq!(refusal(&runs(&SIZES[..2], &BUDGETS, 0.0)), "too_few_sizes");
    assert_eq!(refusal(&runs(&SIZES, &BUDGETS[..2], 0.0)), "too_few_budgets");
    assert_eq!(refusal(&[]), "not_finished");
    let mut flat = runs(&SIZES, &BUDGETS, 0.0);
    for run in &mut flat {
        run.loss = 2.0;
    }
    assert_eq!(refusal(&flat), "at_bound");
    let mut bad = runs(&SIZES, &BUDGETS, 0.0);
    bad[3].loss = f64::NAN;
    assert_eq!(refusal(&bad), "bad_observation");
}

#[test]
fn the_same_seed_gives_the_same_fit_on_any_number_of_threads() {
    let runs = runs(&SIZES, &BUDGETS, 0.003);
    let on = |threads: usize| loss_law(&runs, &Options { threads, ..options() }).expect("a law");
    assert_eq!(on(1), on(3));
}

#[test]
fn a_stored_fit_predicts_the_same() {
    let fit = loss_law(&runs(&SIZES, &BUDGETS, 0.003), &options()).expect("a law");
    let text = serde_json::to_string(&fit).expect("JSON");
    let back: LossFit = serde_json::from_str(&text).expect("the same");
    assert_eq!(back.predict(1e7, 1e8), fit.predict(1e7, 1e8));
}
