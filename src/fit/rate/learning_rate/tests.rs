//! Tests of the law of the learning rate.

use super::*;

fn grid(best: impl Fn(f64, f64) -> f64) -> Vec<LrRun> {
    let mut runs = Vec::new();
    for params in [1e4, 1e5, 1e6] {
        for tokens in [1e6, 2e6, 4e6] {
            for lr in [1e-3, 3e-3, 1e-2, 3e-2, 1e-1] {
                let off = (lr / best(params, tokens)).ln();
                runs.push(LrRun {
                    model: format!("{params}"),
                    params,
                    width: params.sqrt(),
                    tokens,
                    lr,
                    loss: (lr < 0.09).then_some(2.0 + 0.05 * off * off),
                });
            }
        }
    }
    runs
}

#[test]
fn a_rate_that_does_not_drift_is_a_constant() {
    let found = fit(&grid(|_, _| 0.008)).unwrap();
    assert_eq!((found.bracketed, found.at_edge), (9, 0));
    assert!((found.best.value / 0.008 - 1.0).abs() < 1e-9);
    assert!(found.size_exponent.unwrap().value.abs() < 1e-9);
    assert_eq!(found.diverged_from, Some(0.1));
    assert!((found.widths[0] - 100.0).abs() < 1e-9 && (found.widths[1] - 1000.0).abs() < 1e-9);
}

#[test]
fn where_tokens_grow_with_the_size_widths_are_compared_at_equal_tokens_a_parameter() {
    let mut runs = grid(|n, _| 0.01 * (n / 1e5).powf(-0.1));
    assert_eq!(fit(&runs).unwrap().transfer.unwrap().compared, Compared::EqualTokens);
    runs.retain(|run| run.tokens < 1.5e6);
    for run in &mut runs {
        run.tokens = 20.0 * run.params;
    }
    let transfer = fit(&runs).unwrap().transfer.unwrap();
    assert_eq!(transfer.compared, Compared::EqualTokensPerParameter);
    assert!((transfer.drift.unwrap().value - 100f64.powf(-0.1)).abs() < 1e-6);
}

#[test]
fn a_planted_power_law_comes_back() {
    let planted = |n: f64, d: f64| 0.01 * (n / 1e5).powf(-0.1) * (d / 2e6).powf(0.2);
    let found = fit(&grid(planted)).unwrap();
    assert!((found.size_exponent.unwrap().value + 0.1).abs() < 1e-9);
    assert!((found.token_exponent.unwrap().value - 0.2).abs() < 1e-9);
    assert!((found.width_exponent.unwrap().value + 0.2).abs() < 1e-9);
    let power = found.power.unwrap();
    assert!((power.n_exponent.value + 0.1).abs() < 1e-9);
    assert!((power.d_exponent.value - 0.2).abs() < 1e-9);
    let far = found.predict(1e9, 4e10);
    assert_eq!(far.by, LrRule::Power);
    assert!((far.lr.value / planted(1e9, 4e10) - 1.0).abs() < 1e-6);
    assert!(
        found
            .warnings
            .iter()
            .any(|warning| warning.code == "lr_drifts_with_size")
    );
}

#[test]
fn a_best_point_at_the_edge_is_no_minimum() {
    assert_eq!(fit(&grid(|_, _| 1e-4)).unwrap_err().code(), "optimum_at_edge");
    assert_eq!(fit(&[]).unwrap_err().code(), "not_finished");
    let some = fit(&grid(|n, _| if n > 5e5 { 1e-4 } else { 0.008 })).unwrap();
    assert_eq!((some.bracketed, some.at_edge), (6, 3));
    let texts: Vec<&str> = some.warnings.iter().map(|it| it.text.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("low edge in 3")), "{texts:?}");
    assert!(some.best.ci95.is_none(), "two sizes have minima");
}

#[test]
fn where_most_minima_lie_at_the_edge_there_is_no_interval_and_no_transfer() {
    let planted = |n: f64, d: f64| {
        if n > 5e4 && d > 1.5e6 {
            1e-4
        } else {
            0.008 * (n * d).powf(0.01)
        }
    };
    let half = fit(&grid(planted)).unwrap();
    assert_eq!((half.bracketed, half.at_edge), (5, 4));
    assert!(
        half.best.ci95.is_none(),
        "no majority at the edge, but it speaks against the rest"
    );
    let most = fit(&grid(|n, d| if d > 1.5e6 { 1e-4 } else { planted(n, d) })).unwrap();
    assert_eq!((most.bracketed, most.at_edge), (3, 6));
    assert!(most.best.ci95.is_none() && most.power.is_none() && most.size_exponent.is_none());
    let transfer = most.transfer.expect("three widths");
    assert_eq!(
        (transfer.verdict, transfer.verified_to_width),
        (transfer::Verdict::NotKnown, None)
    );
    assert!(most.predict(1e9, 1e10).lr.ci95.is_none());
    assert!(
        most.warnings.iter().any(|it| it.code == "no_interval"),
        "{:?}",
        most.warnings
    );
}

#[test]
fn seeds_give_an_interval_and_it_covers() {
    let mut runs = grid(|_, _| 0.008);
    let shifted: Vec<LrRun> = runs
        .iter()
        .map(|run| LrRun {
            loss: run.loss.map(|loss| loss + 0.01),
            ..run.clone()
        })
        .collect();
    runs.extend(shifted);
    let found = fit(&runs).unwrap();
    let [low, high] = found.groups[0].ci95.unwrap();
    assert!(low < 0.008 && 0.008 < high && high / low < 3.0, "{low} {high}");
}

#[test]
fn a_single_minimum_has_no_drift_and_no_interval() {
    let one: Vec<LrRun> = grid(|_, _| 0.008)
        .into_iter()
        .filter(|run| run.params < 5e4 && run.tokens < 1.5e6)
        .collect();
    let found = fit(&one).unwrap();
    assert_eq!((found.size_exponent, found.power, found.best.ci95), (None, None, None));
}

#[test]
fn exponents_that_could_be_anything_make_no_law() {
    // Sizes and budgets that hardly differ, and best rates that scatter by a fifth.
    let mut runs = grid(|n, d| 0.008 * if (n * d).ln().rem_euclid(1.1) < 0.55 { 1.2 } else { 0.8 });
    let close = |value: f64, first: f64, factor: f64| first * 1.03_f64.powf((value / first).ln() / factor.ln());
    for run in &mut runs {
        run.params = close(run.params, 1e4, 10.0);
        run.tokens = close(run.tokens, 1e6, 2.0);
    }
    let found = fit(&runs).unwrap();
    assert_eq!(found.bracketed, 9);
    assert!(
        found.power.is_none() && found.is_not_identified(),
        "{:?}",
        found.warnings
    );
    assert_eq!(found.predict(1e9, 1e10).by, LrRule::Constant);
    let apart = fit(&grid(|_, _| 0.008)).unwrap();
    assert!(apart.power.is_some() && !apart.is_not_identified());
    assert_eq!(apart.tokens_at, Batch::Fixed);
}

impl LrFit {
    fn is_not_identified(&self) -> bool {
        self.warnings.iter().any(|warning| warning.code == "not_identified")
    }
}
