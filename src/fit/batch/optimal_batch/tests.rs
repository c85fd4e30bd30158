//! Laws of the best batch: a planted one, and Step Law's grids read as curves.

use super::*;

/// Curves whose best batch is `1e5·(3/L)^k` at each loss, for two sizes, with an error of the tokens.
fn planted(k: f64, noise: f64) -> Vec<BatchCurve> {
    let mut curves = Vec::new();
    for (size, params) in [1e7_f64, 1e8].into_iter().enumerate() {
        for i in 0..9 {
            let batch = 1e4 * 2f64.powi(i);
            let luck = noise * (f64::from(i) * 12.9 + size as f64 * 78.2).sin();
            let point = |step: i32| {
                let loss = (1.6 - 0.1 * size as f64 - 0.03 * f64::from(step)).exp();
                let off = (batch / 1e5).ln() - k * (3.0 / loss).ln();
                let tokens = 1e9 * (params / 1e8).powf(-0.5) * (3.0 / loss).powf(9.0) * (0.1 * off * off + luck).exp();
                (tokens, loss)
            };
            curves.push(BatchCurve {
                label: format!("{params}-{i}"),
                params,
                batch_tokens: batch,
                points: (0..24).map(point).collect(),
            });
        }
    }
    curves
}

#[test]
fn a_planted_law_comes_back_exactly() {
    let law = fit(&planted(4.0, 0.0)).unwrap();
    assert!((law.by_loss.exponent.value + 4.0).abs() < 1e-6, "{:?}", law.by_loss);
    assert!((law.by_loss.at(3.0).value / 1e5 - 1.0).abs() < 1e-6);
    assert!(law.by_loss.exponent.se.unwrap() < 1e-6);
    assert_eq!((law.levels.len(), law.not_bracketed), (24, 0));
}

#[test]
fn a_noisy_law_lies_within_its_interval() {
    let law = fit(&planted(4.0, 0.02)).unwrap();
    let [low, high] = law.by_loss.exponent.ci95.unwrap();
    assert!(low < -4.0 && -4.0 < high && high - low < 2.0, "{:?}", law.by_loss);
}

#[test]
fn replicates_of_a_batch_are_one_point() {
    let curves = planted(4.0, 0.0);
    let twice: Vec<BatchCurve> = curves.iter().chain(&curves).cloned().collect();
    let law = fit(&twice).unwrap();
    assert!((law.by_loss.exponent.value + 4.0).abs() < 1e-6, "{:?}", law.by_loss);
}

#[test]
fn at_one_size_tokens_serve_as_well() {
    let one: Vec<BatchCurve> = planted(4.0, 0.0)
        .into_iter()
        .filter(|curve| curve.params < 2e7)
        .collect();
    let law = fit(&one).unwrap();
    // Tokens grow as L^-9 along the minima.
    assert!(
        (law.by_tokens.exponent.value - 4.0 / 9.0).abs() < 1e-6,
        "{:?}",
        law.by_tokens
    );
}

#[test]
fn order_changes_no_bit_and_units_of_the_batch_no_exponent() {
    let curves = planted(4.0, 0.02);
    let law = fit(&curves).unwrap();
    let mut turned = curves.clone();
    turned.reverse();
    for curve in &mut turned {
        curve.points.rotate_left(7);
    }
    assert_eq!(fit(&turned).unwrap(), law);
    for curve in &mut turned {
        curve.batch_tokens /= 2048.0;
    }
    let other = fit(&turned).unwrap();
    assert!((other.by_loss.exponent.value - law.by_loss.exponent.value).abs() < 1e-9);
}

#[test]
fn the_edge_is_no_minimum_and_few_levels_are_no_law() {
    let curves = planted(4.0, 0.0);
    let some = |keep: &dyn Fn(f64) -> bool| -> Vec<BatchCurve> {
        curves
            .iter()
            .filter(|curve| keep(curve.batch_tokens))
            .cloned()
            .collect()
    };
    assert_eq!(fit(&some(&|batch| batch < 3e4)).unwrap_err().code(), "not_identified");
    assert_eq!(fit(&some(&|batch| batch > 1.5e6)).unwrap_err().code(), "not_identified");
    assert_eq!(fit(&planted(-20.0, 0.0)[..1]).unwrap_err().code(), "not_identified");
    let far: Vec<BatchCurve> = curves
        .iter()
        .map(|curve| BatchCurve {
            points: curve
                .points
                .iter()
                .map(|&(tokens, loss)| (tokens * curve.batch_tokens.powi(2), loss))
                .collect(),
            ..curve.clone()
        })
        .collect();
    assert_eq!(fit(&far).unwrap_err().code(), "optimum_at_edge");
    let mut short = curves;
    short[3].points.truncate(2);
    assert_eq!(fit(&short).unwrap().left_out.len(), 1);
    short[3].points[0].1 = f64::NAN;
    assert_eq!(fit(&short).unwrap_err().code(), "bad_observation");
}

#[test]
fn an_exponent_that_could_be_anything_is_not_identified() {
    // Tokens over less than a factor of three, and luck of its own at each point.
    let lucky = |luck: f64| {
        let mut curves = planted(4.0, 0.0);
        curves.retain(|curve| curve.params < 2e7);
        for (i, curve) in curves.iter_mut().enumerate() {
            curve.points.truncate(4);
            for (j, point) in curve.points.iter_mut().enumerate() {
                point.0 *= (luck * (12.9 * (i + 1) as f64 * (j + 2) as f64).sin()).exp();
            }
        }
        curves
    };
    let refusal = fit(&lucky(0.2)).unwrap_err();
    assert_eq!(refusal.code(), "not_identified");
    assert!(
        refusal.to_string().contains("the exponent of D of the best batch"),
        "{refusal}"
    );
    assert!(fit(&lucky(0.0)).is_ok());
}
