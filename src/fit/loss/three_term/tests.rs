//! The law of three terms: a planted one, and Step Law's grids.

use super::*;

const DRAWS: Draws = Draws { count: 200, seed: 1 };

/// Runs of a planted law, with an error of the loss.
fn planted(noise: f64) -> Vec<Observation> {
    let mut runs = Vec::new();
    for i in 0..4 {
        for j in 0..4 {
            for k in 0..7 {
                let params = 1e7 * 3f64.powi(i);
                let tokens = 1e9 * 3f64.powi(j);
                let batch = 3e4 * 2f64.powi(k);
                let loss = 1.8
                    + 300.0 * params.powf(-0.34)
                    + 30.0 * (tokens / batch).powf(-0.45)
                    + 10.0 * batch.powf(-0.4)
                    + noise * (f64::from(i) * 12.9 + f64::from(j) * 78.2 + f64::from(k) * 37.7).sin();
                runs.push(Observation {
                    label: format!("{i}-{j}-{k}"),
                    params,
                    tokens,
                    loss,
                    lr: None,
                    batch_tokens: Some(batch),
                    schedule: None,
                    seed: None,
                    flops: None,
                    setup: None,
                });
            }
        }
    }
    runs
}

#[test]
fn a_planted_law_comes_back_exactly() {
    let law = fit(&planted(0.0), DRAWS).unwrap();
    for (found, truth) in law.exponents.iter().zip([0.34, 0.45, 0.4]) {
        assert!((found.value - truth).abs() < 1e-6, "{law:?}");
    }
    assert!((law.e.value - 1.8).abs() < 1e-6 && (law.batch_exponent.value - 0.45 / 0.85).abs() < 1e-6);
    let best = law.best_batch(1e11);
    let loss = |factor: f64| law.loss(1e9, 1e11, best * factor);
    assert!(loss(1.0) < loss(0.99) && loss(1.0) < loss(1.01));
}

#[test]
fn a_noisy_law_lies_within_its_intervals() {
    let law = fit(&planted(3e-3), DRAWS).unwrap();
    for (found, truth) in law.exponents.iter().zip([0.34, 0.45, 0.4]) {
        let [low, high] = found.ci95.unwrap();
        assert!(low < truth && truth < high, "{law:?}");
    }
}

#[test]
fn the_order_of_runs_changes_no_bit_and_units_no_exponent() {
    let runs = planted(3e-3);
    let law = fit(&runs, DRAWS).unwrap();
    let mut turned = runs.clone();
    turned.reverse();
    assert_eq!(fit(&turned, DRAWS).unwrap(), law);
    for run in &mut turned {
        run.params /= 1e6;
    }
    let other = fit(&turned, DRAWS).unwrap();
    assert!((other.exponents[0].value - law.exponents[0].value).abs() < 1e-6);
}

#[test]
fn what_the_runs_cannot_carry_is_refused_by_name() {
    let runs = planted(0.0);
    let code = |keep: &dyn Fn(&Observation) -> bool| {
        let some: Vec<Observation> = runs.iter().filter(|run| keep(run)).cloned().collect();
        fit(&some, DRAWS).unwrap_err().code()
    };
    assert_eq!(code(&|run| run.params < 5e7), "too_few_sizes");
    assert_eq!(code(&|run| run.tokens < 5e9), "too_few_budgets");
    assert_eq!(code(&|run| run.batch_tokens < Some(1e5)), "not_identified");
}
