//! What must hold of the solver.

use proptest::prelude::*;

use super::*;

const PLANTED: Law = Law {
    e: 1.7,
    a: 400.0,
    alpha: 0.34,
    b: 410.0,
    beta: 0.28,
};

fn rows(law: &Law, noise: impl Fn(usize) -> f64) -> Vec<Row> {
    let mut rows = Vec::new();
    for params in [1e7, 3e7, 1e8, 3e8, 1e9] {
        for ratio in [5.0, 20.0, 80.0] {
            let tokens = params * ratio;
            let loss = law.loss(params, tokens) * noise(rows.len()).exp();
            rows.push(Row {
                params,
                tokens,
                loss,
                weight: 1.0,
            });
        }
    }
    rows
}

fn assert_close(found: &Law, wanted: &Law, tolerance: f64) {
    let pairs = [
        (found.e, wanted.e),
        (found.a, wanted.a),
        (found.alpha, wanted.alpha),
        (found.b, wanted.b),
        (found.beta, wanted.beta),
    ];
    for (found, wanted) in pairs {
        assert!((found / wanted - 1.0).abs() < tolerance, "{found} is not {wanted}");
    }
}

#[test]
fn planted_constants_come_back_exactly() {
    for objective in [Objective::Huber, Objective::LeastSquares] {
        let solution = fit(&rows(&PLANTED, |_| 0.0), objective);
        assert_eq!(solution.status, Status::Converged);
        assert_close(&solution.law, &PLANTED, 1e-5);
    }
}

#[test]
fn the_optimum_of_a_size_and_of_a_compute_are_one() {
    let (params, tokens) = PLANTED.optimum(1e21);
    assert!((PLANTED.optimal_tokens(params) / tokens - 1.0).abs() < 1e-9);
    let least = PLANTED.loss(params, tokens);
    for factor in [0.9, 1.1] {
        assert!(PLANTED.loss(params * factor, tokens / factor) > least);
    }
}

/// The published runs of Hoffmann et al., as read off their figure by Besiroglu et al. (2404.10102).
#[test]
fn the_published_fit_of_chinchilla_is_reached() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/fitdata/chinchilla_epoch/chinchilla.csv"
    );
    let Ok(text) = fs_err::read_to_string(path) else {
        println!("skipped: no published runs at {path}");
        return;
    };
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().expect("a head").split(',').collect();
    let column = |name: &str| head.iter().position(|cell| *cell == name).expect(name);
    let (n, d, l, keep) = (column("N"), column("D"), column("loss"), column("keep"));
    let rows: Vec<Row> = lines
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|cells| cells[keep] == "1")
        .map(|cells| {
            let number = |at: usize| cells[at].parse::<f64>().expect("a number");
            Row {
                params: number(n),
                tokens: number(d),
                loss: number(l),
                weight: 1.0,
            }
        })
        .collect();
    assert_eq!(rows.len(), 240);
    let solution = fit(&rows, Objective::Huber);
    assert!(solution.objective <= 0.001_018_28, "{}", solution.objective);
    let law = solution.law;
    assert!((law.a - 477.826).abs() < 0.5, "{law:?}");
    assert!((law.b - 2143.42).abs() < 3.0, "{law:?}");
    assert!((law.e - 1.817_218).abs() < 2e-4, "{law:?}");
    assert!(
        (law.alpha - 0.347_310).abs() < 2e-4 && (law.beta - 0.367_172).abs() < 2e-4,
        "{law:?}"
    );
    let squares = fit(&rows, Objective::LeastSquares);
    assert!(
        (squares.objective - 0.083_203_807_7).abs() < 1e-9,
        "{}",
        squares.objective
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_rows_and_the_units_do_not_matter(
        turn in 1usize..14,
        unit in 1e-9f64..1e3,
        seed in 0u64..1000,
    ) {
        let noise = |index: usize| 1e-3 * ((seed as f64 + index as f64 * 7.3).sin());
        let plain = rows(&PLANTED, noise);
        let mut turned = plain.clone();
        turned.rotate_left(turn);
        prop_assert_eq!(fit(&plain, Objective::Huber), fit(&turned, Objective::Huber));
        let scaled: Vec<Row> = plain.iter().map(|row| Row { tokens: row.tokens * unit, ..*row }).collect();
        let (one, other) = (fit(&plain, Objective::LeastSquares).law, fit(&scaled, Objective::LeastSquares).law);
        prop_assert!((other.beta / one.beta - 1.0).abs() < 1e-4);
        prop_assert!((other.alpha / one.alpha - 1.0).abs() < 1e-4);
        prop_assert!((other.b / (one.b * unit.powf(one.beta)) - 1.0).abs() < 1e-2);
    }

    #[test]
    fn any_planted_law_comes_back(
        e in 0.5f64..2.5, alpha in 0.2f64..0.6, beta in 0.2f64..0.6, of_n in 0.1f64..1.0, of_d in 0.1f64..1.0,
    ) {
        let law = Law { e, a: of_n * 1e8f64.powf(alpha), alpha, b: of_d * 2e9f64.powf(beta), beta };
        let solution = fit(&rows(&law, |_| 0.0), Objective::LeastSquares);
        prop_assert!((solution.law.alpha / alpha - 1.0).abs() < 1e-3, "{:?}", solution);
        prop_assert!((solution.law.beta / beta - 1.0).abs() < 1e-3, "{:?}", solution);
    }
}
