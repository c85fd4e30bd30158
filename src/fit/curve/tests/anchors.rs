//! What is known beforehand weighs like one observation, and what the curves do not show is called published.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A curve of `tests/fixtures/curves`: the annealing law, planted with λ .9, .99 and .999 and noise of .1 %.
fn recorded(name: &str, text: &str) -> Curve {
    let row = |line: &str| {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        CurvePoint {
            step: cells[0],
            lr: cells[1],
            loss: cells[2],
        }
    };
    Curve {
        name: name.to_owned(),
        points: text.lines().skip(1).map(row).collect(),
    }
}

macro_rules! recorded {
    ($name:literal) => {
        recorded(
            $name,
            include_str!(concat!("../../../../tests/fixtures/curves/", $name, ".csv")),
        )
    };
}

fn holds(parameter: &Parameter, truth: f64) -> bool {
    let [low, high] = parameter.estimate.ci95.unwrap();
    low <= truth && truth <= high
}

#[test]
fn a_planted_memory_comes_back_whatever_the_anchor_says() {
    let cases = [
        (
            0.9,
            recorded!("lambda9_cosine"),
            recorded!("lambda9_constant"),
            recorded!("lambda9_wsd"),
        ),
        (
            0.99,
            recorded!("lambda99_cosine"),
            recorded!("lambda99_constant"),
            recorded!("lambda99_wsd"),
        ),
        (
            0.999,
            recorded!("lambda999_cosine"),
            recorded!("lambda999_constant"),
            recorded!("lambda999_wsd"),
        ),
    ];
    for (lambda, cosine, constant, wsd) in cases {
        let fit = fit(&[cosine, constant], Law::Annealing, 0.0).unwrap();
        assert_eq!(fit.warnings, []);
        let found = &fit.parameters["lambda"];
        assert_eq!(found.source, Origin::Fitted);
        assert!(holds(found, lambda), "{lambda}: {found:?}");
        let predicted = predict(&fit, &wsd.schedule(0.0)).unwrap();
        let score = score(&predicted, &wsd).unwrap();
        // Noise of .1 % has a largest deviation of .3 % among 150 rows.
        assert!(score.worst < 0.0035 && score.r2 > 0.9999, "{lambda}: {score:?}");
    }
}

#[test]
fn what_the_curves_do_not_show_is_published_and_has_no_interval() {
    let fit = fit(&[recorded!("lambda99_constant")], Law::Annealing, 0.0).unwrap();
    let lambda = &fit.parameters["lambda"];
    assert_eq!((lambda.source, lambda.estimate.ci95), (Origin::Published, None));
    assert!((lambda.estimate.value - 0.999).abs() < 1e-6, "{lambda:?}");
    assert_eq!(fit.parameters["alpha"].source, Origin::Fitted);
    let json = serde_json::to_value(&fit).unwrap();
    assert_eq!(json["parameters"]["lambda"]["source"], "published");
    assert_eq!(json["parameters"]["alpha"]["source"], "fitted");
}

#[test]
fn constants_of_older_homes_are_bare_numbers() {
    let read: Parameter = serde_json::from_str("0.5").unwrap();
    assert_eq!(read, Parameter::from(0.5));
}

#[test]
fn losses_that_no_training_makes_are_refused_or_called_a_poor_fit() {
    for curve in [recorded!("flat"), recorded!("rising")] {
        assert_eq!(fit(&[curve], Law::Annealing, 0.0).unwrap_err().code(), "not_falling");
    }
    let codes = |curves: &[Curve], law| -> Vec<String> {
        let fit = fit(curves, law, 0.0).unwrap();
        fit.warnings.into_iter().map(|warning| warning.code).collect()
    };
    let (cosine, constant) = (recorded!("lambda99_cosine"), recorded!("lambda99_constant"));
    for law in [Law::Annealing, Law::MultiPower] {
        for nats in [&cosine, &constant] {
            let found = codes(&[recorded!("bits"), nats.clone()], law);
            assert!(
                found.contains(&"poor_fit".to_owned()),
                "{law:?} {}: {found:?}",
                nats.name
            );
        }
        let found = codes(&[cosine.clone(), constant.clone()], law);
        assert!(!found.contains(&"poor_fit".to_owned()), "{law:?}: {found:?}");
    }
}

/// A curve of the multi-power law with noise of .1 %.
fn noisy(name: &str, lr: &[f64], constants: [f64; 7], random: &mut ChaCha8Rng) -> Curve {
    let rows = every(40, lr);
    let losses = multi_power(lr, &rows, constants);
    let normal: Vec<f64> = rows
        .iter()
        .map(|_| (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0)
        .collect();
    curve(name, lr, &rows, |index| losses[index] * (1.0 + 1e-3 * normal[index]))
}

#[test]
fn planted_exponents_of_the_drop_come_back_within_their_intervals() {
    let (mut asked, mut held) = (0, 0);
    for beta in [0.3, 0.6, 1.0] {
        for gamma in [0.1, 0.6, 1.2] {
            // The response to a fall of the rate is a thousandth of the run long.
            let constants = [2.65, 0.6, 0.45, 440.0, 550.0 * PEAK.powf(gamma), beta, gamma];
            for seed in 0..3 {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                let curves = [
                    noisy("jump", &jump(6000, 3240, 0.3), constants, &mut random),
                    noisy("wsd", &wsd(6000, 4800), constants, &mut random),
                ];
                let fit = fit(&curves, Law::MultiPower, WARMUP as f64).unwrap();
                for (name, truth) in [("beta", beta), ("gamma", gamma)] {
                    let parameter = &fit.parameters[name];
                    if parameter.source == Origin::Fitted {
                        asked += 1;
                        held += usize::from(holds(parameter, truth));
                    }
                }
            }
        }
    }
    // Two curves at this noise show most of them; intervals of 95 % may miss a few.
    assert!(asked >= 40 && held * 100 >= asked * 93, "{held} of {asked}");
}
