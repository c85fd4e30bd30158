//! Curves made step by step from the formulas of the papers, in the plainest way. Refuses to know how the laws are
//! summed here.

mod anchors;
mod refused;

use super::decay::{Run, decays, schedule};
use super::*;
use crate::model::schedule::Decay;

const WARMUP: usize = 500;
const PEAK: f64 = 3e-4;

/// Learning rates by step, from step 0 on.
fn rates(steps: usize, decay: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..=steps)
        .map(|step| match step {
            step if step <= WARMUP => PEAK * step as f64 / WARMUP as f64,
            step => PEAK * decay(step),
        })
        .collect()
}

fn constant(steps: usize) -> Vec<f64> {
    rates(steps, |_| 1.0)
}

fn cosine(steps: usize) -> Vec<f64> {
    let done = move |step: usize| (step - WARMUP) as f64 / (steps - WARMUP) as f64;
    rates(steps, move |step| {
        0.55 + 0.45 * (std::f64::consts::PI * done(step)).cos()
    })
}

fn wsd(steps: usize, start: usize) -> Vec<f64> {
    let done = move |step: usize| step.saturating_sub(start) as f64 / (steps - start) as f64;
    rates(steps, move |step| 1.0 - 0.9 * done(step))
}

fn exponential(steps: usize, start: usize) -> Vec<f64> {
    let done = move |step: usize| step.saturating_sub(start) as f64 / (steps - start) as f64;
    rates(steps, move |step| 0.1_f64.powf(done(step)))
}

fn jump(steps: usize, at: usize, to: f64) -> Vec<f64> {
    rates(steps, move |step| if step < at { 1.0 } else { to })
}

/// `L0 + A·S1^-α − C·S2`, one step after another.
fn annealing(lr: &[f64], [floor, rise, alpha, fall, lambda]: [f64; 5]) -> Vec<f64> {
    let (mut area, mut momentum, mut annealed) = (0.0, 0.0, 0.0);
    (0..lr.len())
        .map(|step| {
            area += lr[step];
            if step > WARMUP {
                momentum = lambda * momentum + lr[step - 1] - lr[step];
                annealed += momentum;
            }
            floor + rise * area.powf(-alpha) - fall * annealed
        })
        .collect()
}

/// The multi-power law, every step of every row.
fn multi_power(lr: &[f64], rows: &[usize], constants: [f64; 7]) -> Vec<f64> {
    let [floor, rise, alpha, fall, pace, beta, gamma] = constants;
    let mut area = vec![0.0];
    for step in 1..lr.len() {
        area.push(area[step - 1] + lr[step]);
    }
    let drop = |row: usize| -> f64 {
        let term = |k: usize| {
            let x = lr[k].powf(-gamma) * (area[row] - area[k - 1]);
            (lr[k - 1] - lr[k]) * (1.0 - (1.0 + pace * x).powf(-beta))
        };
        (WARMUP + 1..=row)
            .filter(|&k| (lr[k - 1] - lr[k]).abs() > 0.0)
            .map(term)
            .sum()
    };
    rows.iter()
        .map(|&row| floor + rise * area[row].powf(-alpha) - fall * drop(row))
        .collect()
}

fn every(step: usize, lr: &[f64]) -> Vec<usize> {
    (1..lr.len()).filter(|s| s % step == 0 && *s >= WARMUP).collect()
}

fn curve(name: &str, lr: &[f64], rows: &[usize], loss: impl Fn(usize) -> f64) -> Curve {
    let point = |(index, &row): (usize, &usize)| CurvePoint {
        step: row as f64,
        lr: lr[row],
        loss: loss(index),
    };
    Curve {
        name: name.to_owned(),
        points: rows.iter().enumerate().map(point).collect(),
    }
}

const TISSUE: [f64; 5] = [2.6, 0.45, 0.52, 0.4, 0.999];
const LUO: [f64; 7] = [
    2.651_448, 0.601_152, 0.452_958, 437.9464, 2.132_456, 0.597_852, 0.655_236,
];

fn annealing_curve(name: &str, lr: &[f64], step: usize) -> Curve {
    let loss = annealing(lr, TISSUE);
    let rows = every(step, lr);
    curve(name, lr, &rows, |index| loss[rows[index]])
}

fn multi_power_curve(name: &str, lr: &[f64], step: usize) -> Curve {
    let rows = every(step, lr);
    let loss = multi_power(lr, &rows, LUO);
    curve(name, lr, &rows, |index| loss[index])
}

fn worst(fit: &CurveFit, curve: &Curve) -> f64 {
    let predicted = predict(fit, &curve.schedule(WARMUP as f64)).unwrap();
    let errors = predicted.iter().zip(&curve.points).map(|(p, row)| (p - row.loss).abs());
    errors.fold(0.0, f64::max)
}

fn planted(law: Law) -> CurveFit {
    let named = |names: &[&str], values: &[f64]| {
        let pairs = names.iter().zip(values);
        pairs
            .map(|(name, value)| ((*name).to_owned(), Parameter::from(*value)))
            .collect()
    };
    CurveFit {
        law,
        parameters: match law {
            Law::Annealing => named(&["L0", "A", "alpha", "C", "lambda"], &TISSUE),
            Law::MultiPower => named(&["L0", "A", "alpha", "B", "C", "beta", "gamma"], &LUO),
        },
        objective: 0.0,
        status: Status::Converged,
        schedules: 2,
        warnings: Vec::new(),
        train: Vec::new(),
        trained_on: Vec::new(),
    }
}

#[test]
fn the_annealing_law_is_summed_exactly() {
    for (lr, tolerance) in [
        (cosine(6000), 2e-4),
        (wsd(6000, 5000), 1e-4),
        (jump(6000, 3000, 0.3), 1e-12),
    ] {
        assert!(worst(&planted(Law::Annealing), &annealing_curve("", &lr, 1)) < 1e-9);
        let coarse = worst(&planted(Law::Annealing), &annealing_curve("", &lr, 100));
        assert!(coarse < tolerance, "{coarse}");
    }
}

#[test]
fn putting_changes_together_moves_the_multi_power_law_by_less_than_1e_4() {
    let schedules = [
        cosine(6000),
        wsd(6000, 5000),
        exponential(6000, 5000),
        jump(6000, 3000, 0.3),
    ];
    for lr in schedules {
        let rows = every(50, &lr);
        let loss = multi_power(&lr, &rows, LUO);
        let all = (1..lr.len())
            .map(|s| RatePoint {
                step: s as f64,
                lr: lr[s],
            })
            .collect();
        let dense = Schedule {
            name: String::new(),
            warmup: 0.0,
            points: all,
        };
        let predicted = predict(&planted(Law::MultiPower), &dense).unwrap();
        let errors = rows
            .iter()
            .zip(&loss)
            .map(|(&row, loss)| (predicted[row - 1] - loss).abs());
        let worst = errors.fold(0.0, f64::max);
        assert!(worst < 1e-4, "{worst}");
    }
    let coarse = worst(&planted(Law::MultiPower), &multi_power_curve("", &cosine(6000), 125));
    assert!(coarse < 1e-4, "{coarse}");
}

#[test]
fn planted_constants_of_the_annealing_law_come_back() {
    let curves = [
        annealing_curve("cosine", &cosine(6000), 20),
        annealing_curve("constant", &constant(6000), 20),
    ];
    let fit = fit(&curves, Law::Annealing, WARMUP as f64).unwrap();
    assert_eq!((fit.status, fit.schedules), (Status::Converged, 2));
    assert_eq!(fit.warnings, []);
    for (name, value) in ["L0", "A", "alpha", "C", "lambda"].iter().zip(TISSUE) {
        let found = fit.parameters[*name].estimate.value;
        assert!((found / value - 1.0).abs() < 1e-3, "{name}: {found}");
    }
}

#[test]
fn planted_curves_of_the_multi_power_law_come_back() {
    let curves = [
        multi_power_curve("cosine", &cosine(6000), 50),
        multi_power_curve("constant", &constant(6000), 50),
        multi_power_curve("jump", &jump(6000, 3000, 0.3), 50),
    ];
    let fit = fit(&curves, Law::MultiPower, WARMUP as f64).unwrap();
    for curve in &curves {
        assert!(worst(&fit, curve) < 1e-4);
    }
    // A curve of the law as it is summed here, so that only the search is tested.
    let own = |curve: &Curve| {
        let loss = predict(&planted(Law::MultiPower), &curve.schedule(WARMUP as f64)).unwrap();
        let mut own = curve.clone();
        own.points
            .iter_mut()
            .zip(loss)
            .for_each(|(point, loss)| point.loss = loss);
        own
    };
    let fit = super::fit(&curves.each_ref().map(own), Law::MultiPower, WARMUP as f64).unwrap();
    let other = own(&multi_power_curve("wsd", &wsd(8000, 6500), 50));
    assert!(
        worst(&fit, &other) < 1e-5,
        "{} {:?}",
        worst(&fit, &other),
        fit.parameters
    );
}

#[test]
fn rows_of_every_step_with_noise_are_fitted_without_a_known_warmup() {
    let noisy = |name: &str, lr: &[f64]| {
        let loss = annealing(lr, TISSUE);
        let rows: Vec<usize> = (1..lr.len()).collect();
        let mut state = 1_u64;
        let noise: Vec<f64> = rows
            .iter()
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                0.1 * ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5)
            })
            .collect();
        curve(name, lr, &rows, |index| loss[rows[index]] + noise[index])
    };
    let curves = [noisy("wsd", &wsd(4000, 3200)), noisy("constant", &constant(4000))];
    let wanted = annealing_curve("wsd", &wsd(4000, 3600), 10);
    for law in [Law::Annealing, Law::MultiPower] {
        let fit = fit(&curves, law, 0.0).unwrap();
        assert!(worst(&fit, &wanted) < 0.03, "{law:?}: {}", worst(&fit, &wanted));
        let predicted = predict(&fit, &wanted.schedule(WARMUP as f64)).unwrap();
        assert!(score(&predicted, &wanted).unwrap().mae < 0.006);
    }
}

#[test]
fn a_fit_is_the_same_after_it_was_stored() {
    let curves = [
        multi_power_curve("cosine", &cosine(3000), 50),
        multi_power_curve("constant", &constant(3000), 50),
    ];
    let fit = fit(&curves, Law::MultiPower, WARMUP as f64).unwrap();
    let stored: CurveFit = serde_json::from_str(&serde_json::to_string(&fit).unwrap()).unwrap();
    assert_eq!(stored, fit);
}

#[test]
fn a_decay_is_found_that_ends_below_a_cosine() {
    let run = Run {
        peak: PEAK,
        steps: 24_000,
        warmup: 2160,
        floor: 0.1,
    };
    for law in [Law::Annealing, Law::MultiPower] {
        let found = decays(&planted(law), run).unwrap();
        assert_eq!(found.table.len(), 60 * Decay::ALL.len());
        assert!(found.table.iter().all(|c| c.loss >= found.best.loss));
        assert!(
            found.best.loss < found.cosine.loss,
            "{law:?}: {:?} {:?}",
            found.best,
            found.cosine
        );
        assert!((0.02..0.59).contains(&found.best.fraction), "{law:?}: {:?}", found.best);
    }
    let to_zero = decays(&planted(Law::MultiPower), Run { floor: 0.0, ..run }).unwrap();
    assert!(
        to_zero
            .table
            .iter()
            .all(|c| c.form != Decay::Exponential && c.loss.is_finite())
    );
    let linear = schedule(&run, Decay::Linear, 0.25);
    assert!((linear.points[1].step - 18_000.0).abs() < 0.5);
    assert!((linear.points.last().unwrap().lr - 0.1 * PEAK).abs() < 1e-12);
}
