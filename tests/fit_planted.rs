//! The law engine on data with a known answer: planted constants come back, whatever the order, the units and
//! the number of threads; intervals cover what they say; poor data are refused by name.

mod full;

use proptest::prelude::*;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sandbox::fit::loss::chinchilla::{Law, Objective, Status};
use sandbox::fit::loss::loss_fit::LossFit;
use sandbox::fit::loss::loss_law::{HoldOut, Options, loss_law};
use sandbox::fit::observation::Observation;

/// The refit of Chinchilla by Besiroglu et al. 2024 (arXiv 2404.10102).
const EPOCH: Law = Law {
    e: 1.8172,
    a: 482.01,
    alpha: 0.3478,
    b: 2085.43,
    beta: 0.3658,
};

fn run(params: f64, tokens: f64, loss: f64) -> Observation {
    Observation {
        label: format!("{params} {tokens}"),
        params,
        tokens,
        loss,
        lr: None,
        batch_tokens: None,
        seed: None,
        flops: None,
        setup: None,
        schedule: None,
    }
}

/// A grid of sizes from 1e7 and budgets from 2e8, each twice the last, with normal noise of this relative size.
fn grid(law: &Law, sizes: i32, budgets: i32, noise: f64, seed: u64) -> Vec<Observation> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for i in 0..sizes {
        for j in 0..budgets {
            let (params, tokens) = (1e7 * 2f64.powi(i), 2e8 * 2f64.powi(j));
            let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * random.random::<f64>()).cos();
            rows.push(run(params, tokens, law.loss(params, tokens) * (noise * normal).exp()));
        }
    }
    rows
}

fn quick(objective: Objective) -> Options {
    Options {
        objective,
        bootstrap: 0,
        hold_out: HoldOut::None,
        ..Options::default()
    }
}

fn fit(rows: &[Observation], options: &Options) -> LossFit {
    loss_law(rows, options).expect("a law")
}

fn refusal(rows: &[Observation]) -> &'static str {
    loss_law(rows, &Options::default()).expect_err("a refusal").code()
}

fn assert_same_law(found: &Law, planted: &Law, tolerance: f64) {
    let pairs = [
        (found.e, planted.e),
        (found.a, planted.a),
        (found.alpha, planted.alpha),
        (found.b, planted.b),
        (found.beta, planted.beta),
    ];
    for (found_one, planted_one) in pairs {
        assert!(
            (found_one / planted_one - 1.0).abs() < tolerance,
            "{found:?} is not {planted:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn planted_constants_come_back_from_exact_losses(
        e in 0.3..3.0f64,
        size_term in 0.1..3.0f64,
        alpha in 0.1..0.9f64,
        data_term in 0.1..3.0f64,
        beta in 0.1..0.9f64,
    ) {
        let planted = Law { e, a: size_term * 4e7f64.powf(alpha), alpha, b: data_term * 8e8f64.powf(beta), beta };
        for objective in [Objective::Huber, Objective::LeastSquares] {
            let found = fit(&grid(&planted, 6, 6, 0.0, 0), &quick(objective));
            assert_same_law(&found.point(), &planted, 1e-5);
        }
    }

    #[test]
    fn the_order_of_rows_changes_no_bit(shift in 1usize..24, seed in 0u64..1000) {
        let rows = grid(&EPOCH, 5, 5, 0.005, seed);
        let mut turned = rows.clone();
        turned.rotate_left(shift);
        let options = Options { bootstrap: 20, ..Options::default() };
        prop_assert_eq!(fit(&rows, &options), fit(&turned, &options));
    }

    #[test]
    fn the_unit_of_tokens_changes_the_right_constant_alone(unit in 1e-9..1e9f64, seed in 0u64..1000) {
        let rows = grid(&EPOCH, 5, 5, 0.005, seed);
        let scaled: Vec<Observation> = rows.iter().map(|row| run(row.params, row.tokens * unit, row.loss)).collect();
        for objective in [Objective::Huber, Objective::LeastSquares] {
            let there = fit(&rows, &quick(objective)).point();
            let mut back = fit(&scaled, &quick(objective)).point();
            back.b *= unit.powf(-back.beta);
            assert_same_law(&back, &there, 1e-4);
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let options = |threads| Options {
        bootstrap: 50,
        threads,
        ..Options::default()
    };
    let rows = grid(&EPOCH, 7, 7, 0.005, 3);
    assert_eq!(fit(&rows, &options(1)), fit(&rows, &options(3)));
}

#[test]
fn a_fit_that_was_stored_predicts_the_same() {
    let made = fit(&grid(&EPOCH, 6, 4, 0.005, 3), &Options::default());
    let stored = serde_json::to_string(&made).expect("json");
    let read: LossFit = serde_json::from_str(&stored).expect("the same");
    assert_eq!(read, made);
    assert_eq!(read.predict(2.4e9, 1e12), made.predict(2.4e9, 1e12));
    let json: serde_json::Value = serde_json::from_str(&stored).expect("json");
    for key in [
        "law",
        "status",
        "n",
        "convention",
        "objective",
        "parameters",
        "allocation",
        "hold_out",
        "warnings",
    ] {
        assert!(json.get(key).is_some(), "{key}");
    }
    assert_eq!(json["objective"]["kind"], "huber");
    assert!(json["parameters"]["E"]["ci95"].is_array());
}

/// The share of nominal 95 % intervals of the mean that hold the true loss: at the points of the design, and at
/// four times its largest size.
fn coverage(side: i32, objective: Objective, designs: u64) -> (f64, f64) {
    let options = Options {
        objective,
        bootstrap: 200,
        hold_out: HoldOut::None,
        ..Options::default()
    };
    let (mut inside, mut far) = ((0.0, 0.0), (0.0, 0.0));
    for seed in 0..designs {
        let rows = grid(&EPOCH, side, side, 0.005, seed);
        let Ok(law) = loss_law(&rows, &options) else {
            continue;
        };
        for row in &rows {
            let covers = |params: f64| {
                let [low, high] = law.predict(params, row.tokens).ci95_mean.expect("draws");
                let truth = EPOCH.loss(params, row.tokens);
                f64::from(u8::from(low <= truth && truth <= high))
            };
            inside = (inside.0 + covers(row.params), inside.1 + 1.0);
            far = (far.0 + covers(4e7 * 2f64.powi(side - 1)), far.1 + 1.0);
        }
    }
    (inside.0 / inside.1, far.0 / far.1)
}

/// Checks the coverage of designs of 9, 16 and 25 configurations against the bounds for the design's own points and
/// for those beyond it.
#[expect(clippy::print_stdout, reason = "`make coverage` is there to show the shares")]
fn check_coverage(designs: u64, inside_bounds: [f64; 2], far_bounds: [f64; 2]) {
    let mut wrong = Vec::new();
    for side in [3, 4, 5] {
        for objective in [Objective::Huber, Objective::LeastSquares] {
            let (inside, far) = coverage(side, objective, designs);
            let line = format!("{side}x{side} {objective:?}: inside {inside:.3}, at four times the size {far:.3}");
            println!("{line}");
            let is_in = |share: f64, [low, high]: [f64; 2]| low <= share && share <= high;
            if !is_in(inside, inside_bounds) || !is_in(far, far_bounds) {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn intervals_cover_what_they_say() {
    // 40 designs scatter by about 0.03 around 0.95; a thousand, which take minutes, tell more.
    if full::is_full() {
        check_coverage(1000, [0.90, 0.98], [0.90, 0.98]);
    } else {
        check_coverage(40, [0.87, 1.0], [0.85, 1.0]);
    }
}

#[test]
fn the_objective_is_that_of_the_constants_and_no_worse_than_the_planted_ones() {
    // A law that is met exactly by other noise: the planted constants are one start that the solver does not know.
    for seed in 0..60 {
        for objective in [Objective::Huber, Objective::LeastSquares] {
            let rows = grid(&EPOCH, 5, 4, 0.01, seed);
            let value = |c: &Law| -> f64 {
                rows.iter()
                    .map(|row| match objective {
                        Objective::Huber => {
                            let r = (c.loss(row.params, row.tokens) / row.loss).ln().abs();
                            if r <= 1e-3 { 0.5 * r * r } else { 1e-3 * (r - 0.5e-3) }
                        }
                        Objective::LeastSquares => (c.loss(row.params, row.tokens) - row.loss).powi(2),
                    })
                    .sum()
            };
            let found = fit(&rows, &quick(objective));
            assert!((value(&found.point()) / found.objective.value - 1.0).abs() < 1e-6);
            assert!(found.objective.value <= value(&EPOCH));
        }
    }
}

#[test]
fn designs_that_cannot_carry_a_law_are_refused_by_name() {
    assert_eq!(refusal(&[]), "not_finished");
    let mut damaged = grid(&EPOCH, 4, 4, 0.0, 0);
    damaged[3].loss = f64::NAN;
    assert_eq!(refusal(&damaged), "bad_observation");
    assert_eq!(refusal(&grid(&EPOCH, 2, 6, 0.0, 0)), "too_few_sizes");
    assert_eq!(refusal(&grid(&EPOCH, 6, 2, 0.0, 0)), "too_few_budgets");
    let along_a_line = (0..8).map(|k| {
        let (params, tokens) = (1e7 * 2f64.powi(k), 2e8 * 2f64.powi(k));
        run(params, tokens, EPOCH.loss(params, tokens))
    });
    assert_eq!(refusal(&along_a_line.collect::<Vec<_>>()), "not_identified");
}

#[test]
fn losses_that_are_no_power_law_are_refused_by_name() {
    let blind_to_size = Law { a: 1e-9, ..EPOCH };
    assert_eq!(refusal(&grid(&blind_to_size, 5, 5, 0.0, 1)), "not_identified");
    // With noise, size is either not seen or bends at its smallest value alone.
    for seed in 0..10 {
        let code = refusal(&grid(&blind_to_size, 5, 5, 0.003, seed));
        assert!(["not_identified", "at_bound"].contains(&code), "{code}");
    }
    let step: Vec<Observation> = grid(&EPOCH, 4, 4, 0.0, 0)
        .into_iter()
        .map(|row| {
            let loss = if row.params < 1.5e7 {
                row.loss + 2.0
            } else {
                2.0 + 1e3 * row.tokens.powf(-0.4)
            };
            run(row.params, row.tokens, loss)
        })
        .collect();
    assert_eq!(refusal(&step), "at_bound");
    let growing: Vec<Observation> = grid(&EPOCH, 4, 4, 0.0, 0)
        .into_iter()
        .map(|row| run(row.params, row.tokens, 8.0 - row.loss))
        .collect();
    assert_eq!(refusal(&growing), "not_identified");
}

#[test]
fn a_small_grid_of_tiny_proxies_gives_a_law_with_a_check() {
    // Like a quick start: 6k to 80k parameters, 0.25M to 1M tokens, byte losses with a hundredth of a nat of noise.
    let law = Law {
        e: 1.2,
        a: 12.0,
        alpha: 0.30,
        b: 900.0,
        beta: 0.52,
    };
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut rows = Vec::new();
        for params in [6e3, 15e3, 35e3, 80e3] {
            for tokens in [2.5e5, 5e5, 1e6] {
                let noise = 0.01 * (random.random::<f64>() + random.random::<f64>() - 1.0) * 2.45;
                rows.push(run(params, tokens, law.loss(params, tokens) + noise));
            }
        }
        let found = fit(
            &rows,
            &Options {
                bootstrap: 200,
                ..Options::default()
            },
        );
        let held = found.hold_out.as_ref().expect("three sizes are left");
        assert_eq!(held.n, 3);
        assert!(held.mean_abs_rel_error < 0.05, "{held:?}");
        let far = found.predict(2.4e9, 1e12);
        assert!(found.extrapolation(2.4e9, 1e12).params > 1e4);
        assert!(far.ci95_new_run.is_some());
        assert!(found.warnings.iter().any(|w| w.code == "extrapolation_not_calibrated"));
        assert_eq!(
            found.status == Status::AtBound,
            found.parameters["E"].value == 0.0 && found.status != Status::Flat
        );
    }
}

#[test]
fn intervals_grow_with_the_distance() {
    let found = fit(&grid(&EPOCH, 6, 5, 0.005, 2), &Options::default());
    let width = |params: f64, tokens: f64| {
        let [low, high] = found.predict(params, tokens).ci95_new_run.expect("draws");
        high - low
    };
    assert!(width(2.4e9, 1e12) > width(1e9, 1e10));
    assert!(width(1e9, 1e10) > width(8e7, 8e8));
}

#[test]
fn seeds_that_agree_better_than_the_law_are_a_warning() {
    let mut rows = Vec::new();
    for (k, row) in grid(&EPOCH, 4, 4, 0.01, 5).into_iter().enumerate() {
        for seed in 0..3u32 {
            let jitter = 1e-4 * f64::from(seed) * if k % 2 == 0 { 1.0 } else { -1.0 };
            rows.push(Observation {
                seed: Some(u64::from(seed)),
                loss: row.loss + jitter,
                ..row.clone()
            });
        }
    }
    let found = fit(
        &rows,
        &Options {
            bootstrap: 50,
            ..Options::default()
        },
    );
    assert_eq!((found.n, found.configurations), (48, 16));
    assert!(found.warnings.iter().any(|w| w.code == "lack_of_fit"));
}

#[test]
fn the_readme_has_a_row_for_every_law() {
    let readme = fs_err::read_to_string("README.md").expect("a README");
    let (_, rest) = readme.split_once("<!-- laws").expect("the table begins");
    let (table, _) = rest.split_once("<!-- /laws -->").expect("the table ends");
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `") && !line.contains("`--law`"))
        .collect();
    let row = |law: &sandbox::fit::law::Entry| {
        let about = law.about;
        format!(
            "| `{}` | {} | `{}` | {} | {} |",
            about.name, about.tells, about.formula, about.source, about.limits
        )
    };
    let expected: Vec<String> = sandbox::fit::laws::LAWS.iter().map(row).collect();
    assert_eq!(rows, expected, "write these rows");
}
