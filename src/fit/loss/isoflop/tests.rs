//! Compute-optimal sizes: planted ones, and those of Porian et al.

use super::*;

const DRAWS: Draws = Draws { count: 1000, seed: 1 };

/// Profiles whose lowest point is at `0.3·C^a`, with an error of the loss.
fn planted(a: f64, noise: f64) -> Vec<BudgetRun> {
    let mut runs = Vec::new();
    for (k, flops) in [1e16_f64, 3e16, 1e17, 3e17, 1e18, 3e18].into_iter().enumerate() {
        let best = 0.3 * flops.powf(a);
        for i in -3..=9 {
            let params = 3e6 * 2f64.powi(i);
            let wobble = noise * (f64::from(i) * 12.9 + k as f64 * 78.2).sin();
            runs.push(BudgetRun {
                label: format!("{k}-{i}"),
                flops,
                params,
                tokens: flops / (6.0 * params),
                loss: 3.0 * (0.03 * (params / best).ln().powi(2) + wobble).exp(),
            });
        }
    }
    runs
}

#[test]
fn a_planted_exponent_comes_back_exactly() {
    let fit = fit(&planted(0.45, 0.0), DRAWS).unwrap();
    assert_eq!(fit.bracketed, 6);
    assert!((fit.params.exponent.value - 0.45).abs() < 1e-6, "{:?}", fit.params);
    assert!((fit.params.c / 0.3 - 1.0).abs() < 1e-6);
    assert!((fit.tokens.exponent.value - 0.55).abs() < 1e-6);
    assert!((fit.params.at(1e21).value / (0.3 * 1e21_f64.powf(0.45)) - 1.0).abs() < 1e-6);
}

#[test]
fn a_noisy_exponent_lies_within_its_interval() {
    let fit = fit(&planted(0.45, 2e-3), DRAWS).unwrap();
    assert_eq!(fit.agreement(0.45), Agreement::Agrees, "{:?}", fit.params);
    assert_eq!(fit.agreement(0.3), Agreement::Below);
    assert_eq!(fit.agreement(0.7), Agreement::Above);
    let none = super::fit(&planted(0.45, 0.0), Draws { count: 0, seed: 0 }).unwrap();
    assert_eq!(none.agreement(0.45), Agreement::NotKnown);
}

#[test]
fn order_changes_no_bit_and_units_no_exponent() {
    let runs = planted(0.45, 2e-3);
    let first = fit(&runs, DRAWS).unwrap();
    let mut turned = runs.clone();
    turned.reverse();
    assert_eq!(fit(&turned, DRAWS).unwrap(), first);
    let scaled: Vec<BudgetRun> = runs
        .into_iter()
        .map(|run| BudgetRun {
            params: run.params / 1e6,
            flops: run.flops / 1e15,
            ..run
        })
        .collect();
    let other = fit(&scaled, DRAWS).unwrap();
    assert!((other.params.exponent.value - first.params.exponent.value).abs() < 1e-9);
}

#[test]
fn the_end_of_a_profile_is_no_minimum() {
    let runs = planted(0.45, 0.0);
    let above = |from: f64| -> Vec<BudgetRun> {
        runs.iter()
            .filter(|run| run.flops < from || run.params > 2.0 * 0.3 * run.flops.powf(0.45))
            .cloned()
            .collect()
    };
    let some = fit(&above(1e18), DRAWS).unwrap();
    assert_eq!((some.bracketed, some.warnings.len()), (4, 1));
    assert!(some.profiles[5].left_out.as_ref().unwrap().starts_with("the smallest"));
    assert_eq!(fit(&above(0.0), DRAWS).unwrap_err().code(), "optimum_at_edge");
    assert_eq!(fit(&runs[..26], DRAWS).unwrap_err().code(), "too_few_budgets");
    let mut bad = runs;
    bad[0].flops = -1.0;
    assert_eq!(fit(&bad, DRAWS).unwrap_err().code(), "bad_observation");
}
