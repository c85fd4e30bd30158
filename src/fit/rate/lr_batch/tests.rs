//! Laws of learning rate and batch: planted ones, and Step Law's grids.

use crate::fit::Estimate;
use crate::fit::rate::over_tokens::Batch;

use super::*;

const SIZES: [f64; 4] = [1e7, 2e7, 4e7, 8e7];

/// A grid of (size, tokens) groups with `best` at the bottom of one valley, and `noise` on ln(loss).
fn grid(best: impl Fn(f64, f64) -> [f64; 2], noise: impl Fn(usize) -> f64) -> Vec<Observation> {
    grid_of(SIZES, 0.004, best, noise)
}

/// The same of some sizes; at a fixed batch the best rate moves as batch^(cross / .008).
fn grid_of(
    sizes: [f64; 4],
    cross: f64,
    best: impl Fn(f64, f64) -> [f64; 2],
    noise: impl Fn(usize) -> f64,
) -> Vec<Observation> {
    let mut runs = Vec::new();
    for n in sizes {
        for d in [1e8, 3e8, 1e9, 3e9] {
            let [lr_best, batch_best] = best(n, d);
            for i in -12..=2 {
                for j in 12..=22 {
                    let (lr, batch) = (2f64.powi(i), 2f64.powi(j));
                    let (x, y) = ((lr / lr_best).ln(), (batch / batch_best).ln());
                    let off = 0.004 * x * x - cross * x * y + 0.003 * y * y;
                    runs.push(Observation {
                        label: format!("{n}-{d}-{i}-{j}"),
                        params: n,
                        tokens: d,
                        loss: (3.0 - 0.05 * (n * d).ln().sqrt()) * (off + noise(runs.len())).exp(),
                        lr: Some(lr),
                        batch_tokens: Some(batch),
                        schedule: None,
                        seed: None,
                        flops: None,
                        setup: None,
                    });
                }
            }
        }
    }
    runs
}

fn planted(n: f64, d: f64) -> [f64; 2] {
    [30.0 * n.powf(-0.7) * d.powf(0.15), 3.0 * d.powf(0.5)]
}

/// Triangular noise from a small congruential generator.
fn noise(size: f64) -> impl Fn(usize) -> f64 {
    move |i| {
        let uniform = |k: u64| {
            let state = (i as u64 + 1)
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(k)
                .wrapping_mul(2_862_933_555_777_941_757);
            (state >> 40) as f64 / f64::from(1 << 24)
        };
        size * (uniform(1) + uniform(1 << 33) - 1.0) * 6.0_f64.sqrt()
    }
}

const OPTIONS: Options = Options {
    hold_out: HoldOut::Largest,
    draws: Draws { count: 400, seed: 1 },
};

fn covers(estimate: Estimate, truth: f64) -> bool {
    estimate.ci95.is_some_and(|[low, high]| low <= truth && truth <= high)
}

#[test]
fn a_planted_law_comes_back_exactly() {
    let law = fit(&grid(planted, |_| 0.0), &OPTIONS).unwrap();
    assert!((law.lr.n_exponent.unwrap().value + 0.7).abs() < 1e-6);
    assert!((law.lr.d_exponent.value - 0.15).abs() < 1e-6);
    assert!((law.lr.c / 30.0 - 1.0).abs() < 1e-6);
    assert!((law.batch.d_exponent.value - 0.5).abs() < 1e-6);
    assert!((law.batch.c / 3.0 - 1.0).abs() < 1e-6, "{}", law.batch.c);
    assert!(law.batch_size_exponent.value.abs() < 1e-6);
    let (lr, batch) = law.predict(1e9, 1e11);
    let [lr_true, batch_true] = planted(1e9, 1e11);
    assert!((lr.value / lr_true - 1.0).abs() < 1e-6 && (batch.value / batch_true - 1.0).abs() < 1e-6);
    let regret = law.hold_out.unwrap();
    assert_eq!(regret.n, 4);
    assert!(regret.max_regret < 1e-12 && regret.constant_regret > 1e-3, "{regret:?}");
}

#[test]
fn a_planted_size_exponent_of_the_batch_is_found() {
    let planted = |n: f64, d: f64| [30.0 * n.powf(-0.7) * d.powf(0.15), 90.0 * n.powf(-0.2) * d.powf(0.5)];
    let law = fit(&grid(planted, noise(3e-4)), &OPTIONS).unwrap();
    assert!(law.batch_size_exponent.excludes_zero());
    assert_eq!(law.batch_form, BatchForm::SizeAndTokens);
    assert!((law.batch.n_exponent.unwrap().value + 0.2).abs() < 0.05);
    let [tokens, both] = law.forms[..] else {
        panic!("{:?}", law.forms);
    };
    // The largest size and the largest budget, which share a group, are predicted from the others.
    assert_eq!((tokens.n, both.n), (8, 8));
    assert!(both.miss < 0.8 * tokens.miss, "{tokens:?} {both:?}");
}

#[test]
fn the_rate_over_tokens_has_three_meanings_and_three_exponents() {
    let law = fit(&grid_of(SIZES, 0.002, planted, noise(3e-4)), &OPTIONS).unwrap();
    assert!(covers(law.rate_over_batch.unwrap(), 0.25), "{:?}", law.rate_over_batch);
    // The batch moves as D^.5, the best rate with it as D^.15.
    let expected = [
        (Batch::Fixed, 0.15 - 0.25 * 0.5),
        (Batch::Best, 0.15),
        (Batch::PerRoot, 0.15 - 0.5 * 0.5),
    ];
    assert_eq!(law.over_tokens.len(), expected.len());
    for (found, (batch, exponent)) in law.over_tokens.iter().zip(expected) {
        assert_eq!(found.batch, batch);
        assert!(covers(found.exponent, exponent), "{batch:?}: {:?}", found.exponent);
        assert!(found.exponent.se.unwrap() < 0.02, "{batch:?}: {:?}", found.exponent);
    }
}

#[test]
fn an_exponent_that_could_be_anything_is_not_identified() {
    let close = [1e7, 1.03e7, 1.06e7, 1.1e7];
    // With D alone nothing of the law is open, but whether the batch moves with size cannot be known.
    let law = fit(&grid_of(close, 0.004, planted, noise(1.3e-3)), &OPTIONS).unwrap();
    assert!(
        law.warnings.iter().any(|it| it.code == "not_identified"),
        "{:?}",
        law.warnings
    );
    let close = [1e7, 1.021e7, 1.042e7, 1.064e7];
    let refusal = fit(&grid_of(close, 0.004, planted, noise(3e-3)), &OPTIONS).unwrap_err();
    assert_eq!(refusal.code(), "not_identified");
    assert!(
        refusal
            .to_string()
            .contains("the exponent of N of the best learning rate"),
        "{refusal}"
    );
    let apart = fit(&grid_of(SIZES, 0.004, planted, noise(1.3e-3)), &OPTIONS).unwrap();
    assert_eq!(apart.warnings, []);
}

#[test]
fn a_noisy_law_lies_within_its_intervals() {
    let law = fit(&grid(planted, noise(1.3e-3)), &OPTIONS).unwrap();
    assert_eq!(law.batch.n_exponent, None);
    assert!(covers(law.lr.n_exponent.unwrap(), -0.7), "{:?}", law.lr);
    assert!(covers(law.lr.d_exponent, 0.15), "{:?}", law.lr);
    assert!(covers(law.batch.d_exponent, 0.5), "{:?}", law.batch);
    let (lr, batch) = law.predict(1e8, 1e10);
    let [lr_true, batch_true] = planted(1e8, 1e10);
    assert!(covers(lr, lr_true) && covers(batch, batch_true), "{lr:?} {batch:?}");
}

#[test]
fn the_order_of_runs_changes_no_bit_and_units_no_exponent() {
    let runs = grid(planted, noise(1.3e-3));
    let law = fit(&runs, &OPTIONS).unwrap();
    let mut turned = runs.clone();
    turned.reverse();
    turned.rotate_left(101);
    assert_eq!(fit(&turned, &OPTIONS).unwrap(), law);
    let scaled: Vec<Observation> = runs
        .into_iter()
        .map(|run| Observation {
            params: run.params / 1e6,
            tokens: run.tokens / 1e9,
            ..run
        })
        .collect();
    let other = fit(&scaled, &OPTIONS).unwrap();
    let exponents = |law: &LrBatchLaw| [law.lr.n_exponent.unwrap(), law.lr.d_exponent, law.batch.d_exponent];
    for (a, b) in exponents(&law).into_iter().zip(exponents(&other)) {
        assert!((a.value - b.value).abs() < 1e-9, "{a:?} {b:?}");
    }
}

#[test]
fn rounded_labels_are_one_level_and_unplaced_runs_are_named() {
    let mut runs = grid(planted, |_| 0.0);
    for run in runs.iter_mut().skip(1).step_by(2) {
        run.lr = run.lr.map(|lr| lr * 1.0009);
    }
    let mut bare = runs[0].clone();
    bare.batch_tokens = None;
    runs.push(bare);
    let law = fit(&runs, &OPTIONS).unwrap();
    assert!(law.groups.iter().all(|group| group.points == 15 * 11));
    assert_eq!(law.left_out.len(), 1);
}

#[test]
fn what_the_grids_cannot_carry_is_refused_by_name() {
    let code = |runs: &[Observation]| fit(runs, &OPTIONS).unwrap_err().code();
    let runs = grid(planted, |_| 0.0);
    let some = |keep: &dyn Fn(&Observation) -> bool| -> Vec<Observation> {
        runs.iter().filter(|run| keep(run)).cloned().collect()
    };
    assert_eq!(code(&grid(|_, _| [1e-9, 1e5], |_| 0.0)), "optimum_at_edge");
    assert_eq!(code(&some(&|run| run.params < 3e7)), "too_few_sizes");
    assert_eq!(code(&some(&|run| run.tokens < 5e8)), "too_few_budgets");
    // Tokens as a power of size: 1e8 to 1e7 parameters, 3e8 to 2e7, and so on.
    let along = |run: &Observation| {
        let [size, budget] = [(run.params / 1e7).log2(), (run.tokens / 1e8).ln() / 3f64.ln()];
        (size - budget).abs() < 0.1
    };
    assert_eq!(code(&some(&along)), "not_identified");
    assert_eq!(code(&[]), "not_identified");
    let mut bad = runs.clone();
    bad[0].loss = f64::NAN;
    assert_eq!(code(&bad), "bad_observation");
    let three = fit(&some(&|run| run.params < 5e7), &OPTIONS).unwrap();
    assert!(three.hold_out.is_none() && three.warnings[0].code == "no_hold_out");
    let edge = |n: f64, d: f64| if d > 2e9 { [1e-9, 1e5] } else { planted(n, d) };
    let law = fit(&grid(edge, |_| 0.0), &OPTIONS).unwrap();
    assert_eq!(law.groups.iter().filter(|group| group.left_out.is_some()).count(), 4);
    assert_eq!(law.warnings[0].code, "minima_at_edge");
    assert!((law.batch.d_exponent.value - 0.5).abs() < 1e-6);
}
