//! What is refused, and by which code. Refuses to know numbers of fits.

use super::*;

fn good() -> Curve {
    annealing_curve("good", &cosine(3000), 50)
}

fn code_of(change: impl Fn(&mut Curve)) -> (&'static str, String) {
    let mut curve = good();
    change(&mut curve);
    let refusal = fit(&[good(), curve], Law::Annealing, WARMUP as f64).unwrap_err();
    (refusal.code(), refusal.to_string())
}

#[test]
fn rows_that_no_run_can_have_are_named() {
    type Change = fn(&mut Curve);
    let cases: [(&str, Change); 7] = [
        ("row 3: the loss is NaN", |c| c.points[2].loss = f64::NAN),
        ("row 3: the loss is 0", |c| c.points[2].loss = 0.0),
        ("row 3: the loss is -1", |c| c.points[2].loss = -1.0),
        ("row 3: step 500 comes after step 550; steps must rise", |c| {
            c.points[2].step = 500.0;
        }),
        ("row 1: the step is -1; steps count from 0 or 1", |c| {
            c.points[0].step = -1.0;
        }),
        ("row 3: the learning rate is inf", |c| c.points[2].lr = f64::INFINITY),
        ("row 3: the learning rate is -1", |c| c.points[2].lr = -1.0),
    ];
    for (text, change) in cases {
        assert_eq!(code_of(change), ("bad_row", format!("curve good, {text}")));
    }
}

#[test]
fn curves_that_carry_no_law_are_named() {
    let (code, text) = code_of(|c| c.points.truncate(9));
    assert_eq!(
        (code, text.as_str()),
        (
            "too_few_points",
            "curve good has 9 rows after its warm-up; 10 are the least"
        )
    );
    assert_eq!(code_of(|c| c.points.clear()).0, "bad_curve");
    let (code, text) = code_of(|c| c.points.iter_mut().for_each(|p| p.lr = 0.0));
    assert_eq!(
        (code, text.as_str()),
        ("bad_curve", "curve good: no learning rate is above zero")
    );
    let rising = code_of(|c| (0..).zip(&mut c.points).for_each(|(i, p)| p.lr = 1e-5 * f64::from(i)));
    assert_eq!(rising.0, "too_few_points");
    assert_eq!(fit(&[], Law::Annealing, 0.0).unwrap_err().code(), "no_curves");
    assert_eq!(fit(&[good()], Law::Annealing, -1.0).unwrap_err().code(), "bad_curve");
    assert_eq!(score(&[1.0], &good()).unwrap_err().code(), "bad_curve");
}

#[test]
fn curves_without_a_decay_beside_a_constant_rate_predict_themselves_only() {
    let constants = [
        annealing_curve("a", &constant(3000), 50),
        annealing_curve("b", &constant(2000), 25),
    ];
    let cosines = [good(), annealing_curve("long", &cosine(6000), 50)];
    let other = annealing_curve("wsd", &wsd(3000, 2500), 50).schedule(WARMUP as f64);
    for (curves, schedules) in [
        (&[good()][..], 1),
        (&[good(), good()], 1),
        (&constants, 1),
        (&cosines, 2),
    ] {
        for law in [Law::Annealing, Law::MultiPower] {
            let fit = fit(curves, law, WARMUP as f64).unwrap();
            assert_eq!(fit.warnings[0].code, "annealing_not_identified");
            assert_eq!(fit.schedules, schedules);
            assert!(worst(&fit, &curves[0]) < 4e-3, "{law:?}: {}", worst(&fit, &curves[0]));
            let refusal = predict(&fit, &other).unwrap_err();
            assert_eq!(refusal.code(), "single_schedule");
            let run = Run {
                peak: PEAK,
                steps: 3000,
                warmup: 500,
                floor: 0.1,
            };
            assert_eq!(decays(&fit, run).unwrap_err().code(), "single_schedule");
        }
    }
}

#[test]
fn one_run_of_wsd_tells_what_a_decay_is_worth() {
    let fit = fit(
        &[annealing_curve("wsd", &wsd(6000, 5000), 20)],
        Law::Annealing,
        WARMUP as f64,
    )
    .unwrap();
    assert_eq!((fit.schedules, fit.warnings.as_slice()), (1, &[][..]));
    let other = annealing_curve("cosine", &cosine(6000), 20);
    assert!(worst(&fit, &other) < 1e-3, "{}", worst(&fit, &other));
}

#[test]
fn steps_may_count_from_zero() {
    let mut from_zero = [good(), annealing_curve("constant", &constant(3000), 50)];
    let from_one = from_zero.clone();
    let shift = WARMUP as f64;
    for curve in &mut from_zero {
        curve.points.iter_mut().for_each(|p| p.step -= shift);
    }
    let zero = fit(&from_zero, Law::Annealing, 0.0).unwrap();
    let mut shifted = from_one;
    for curve in &mut shifted {
        curve.points.iter_mut().for_each(|p| p.step -= shift - 1.0);
    }
    let one = fit(&shifted, Law::Annealing, 0.0).unwrap();
    assert_eq!(zero, one);
    let losses = predict(&zero, &from_zero[0].schedule(0.0)).unwrap();
    assert_eq!(losses, predict(&one, &shifted[0].schedule(0.0)).unwrap());
    assert_eq!(
        score(&losses, &from_zero[0]).unwrap(),
        score(&losses, &shifted[0]).unwrap()
    );
}

#[test]
fn what_goes_beyond_the_curves_is_said() {
    let curves = [good(), annealing_curve("constant", &constant(3000), 50)];
    let fit = fit(&curves, Law::Annealing, WARMUP as f64).unwrap();
    let codes = |schedule: &Schedule| -> Vec<String> {
        cautions(&fit, schedule).unwrap().into_iter().map(|w| w.code).collect()
    };
    assert_eq!(codes(&curves[0].schedule(WARMUP as f64)), Vec::<String>::new());
    let run = Run {
        peak: 2.0 * PEAK,
        steps: 10_000,
        warmup: 500,
        floor: 0.0,
    };
    let far = codes(&schedule(&run, Decay::Linear, 0.2));
    assert_eq!(far, ["peak_not_trained", "longer_than_trained", "lower_than_trained"]);
}

#[test]
fn runs_that_cannot_be_are_refused() {
    let run = Run {
        peak: PEAK,
        steps: 3000,
        warmup: 500,
        floor: 0.1,
    };
    let bad = [
        Run { peak: 0.0, ..run },
        Run { floor: 1.0, ..run },
        Run { floor: f64::NAN, ..run },
        Run { steps: 10, ..run },
        Run { warmup: 3000, ..run },
        Run { warmup: 2999, ..run },
    ];
    for run in bad {
        assert_eq!(decays(&planted(Law::Annealing), run).unwrap_err().code(), "bad_plan");
    }
    let mut fit = planted(Law::Annealing);
    fit.parameters.remove("lambda");
    assert_eq!(decays(&fit, run).unwrap_err().code(), "bad_fit");
}
