//! The laws of hyperparameters, of equal compute and of whole curves on published runs.

use sandbox::fit::batch::{equal_loss_curves, optimal_batch};
use sandbox::fit::curve::{Curve, CurveFit, CurvePoint, Law, Score, Status, fit, predict, score};
use sandbox::fit::loss::isoflop::{self, Agreement, BudgetRun};
use sandbox::fit::loss::loss_law::HoldOut;
use sandbox::fit::numeric::bootstrap::Draws;
use sandbox::fit::observation::Observation;
use sandbox::fit::rate::batch_form::BatchForm;
use sandbox::fit::rate::lr_batch;

use crate::published;

const DRAWS: Draws = Draws { count: 400, seed: 1 };

/// The runs of Step Law's dense models.
fn step_law(test: &str) -> Option<Vec<Observation>> {
    /// Tokens in a sequence.
    const SEQUENCE: f64 = 2048.0;
    let text = published(test, "steplaw/dense.csv")?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next()?.split(',').collect();
    let columns = ["N", "D", "smooth loss", "lr", "bs"].map(|name| header.iter().position(|cell| *cell == name));
    let run = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let [params, tokens, loss, lr, bs] =
            columns.map(|column| cells[column.expect("a column")].parse().expect("a number"));
        Observation {
            label: line.to_owned(),
            params,
            tokens,
            loss,
            lr: Some(lr),
            batch_tokens: Some(bs * SEQUENCE),
            schedule: None,
            seed: None,
            flops: None,
            setup: None,
        }
    };
    Some(lines.map(run).collect())
}

#[test]
fn step_laws_largest_size_is_predicted_from_the_smaller_ones() {
    let Some(runs) = step_law("step_laws_largest_size_is_predicted_from_the_smaller_ones") else {
        return;
    };
    let options = lr_batch::Options {
        hold_out: HoldOut::Largest,
        draws: DRAWS,
    };
    let law = lr_batch::fit(&runs, &options).expect("a law");
    let regret = law.hold_out.as_ref().expect("held out");
    assert_eq!((law.groups.len(), regret.n), (15, 3));
    assert!(regret.mean_regret <= 0.0012, "{}", regret.mean_regret);
    assert!(regret.constant_regret > 3.0 * regret.mean_regret);
    let [low, high] = law.batch.d_exponent.ci95.expect("an interval");
    assert!(low < 0.571 && 0.571 < high, "{:?}", law.batch);
    // Its size exponent differs from zero, and yet predicts groups that were not seen no better.
    assert!(law.batch_size_exponent.excludes_zero(), "{:?}", law.batch_size_exponent);
    assert_eq!((law.batch_form, law.batch.n_exponent), (BatchForm::Tokens, None));
    // At a fixed batch the rate falls with the tokens, at the best batch it rises.
    let [fixed, best, per_root] = &law.over_tokens[..] else {
        panic!("{:?}", law.over_tokens);
    };
    assert!(fixed.exponent.value < -0.1 && best.exponent.value > 0.1 && per_root.exponent.value < -0.1);
}

#[test]
fn step_laws_budgets_give_its_batch_exponent() {
    let Some(runs) = step_law("step_laws_budgets_give_its_batch_exponent") else {
        return;
    };
    let law = optimal_batch::fit(&equal_loss_curves::of_budgets(&runs)).expect("a law");
    let [low, high] = law.by_tokens.exponent.ci95.expect("an interval");
    assert!(low < 0.571 && 0.571 < high, "{:?}", law.by_tokens);
}

/// The runs of one case of `isoflop_points.csv`.
fn porian(test: &str, case: &str) -> Option<Vec<BudgetRun>> {
    let text = published(test, "porian_isoflop/isoflop_points.csv")?;
    let run = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |i: usize| cells[i].parse().expect("a number");
        BudgetRun {
            label: line.to_owned(),
            flops: number(7),
            params: number(8),
            tokens: number(9),
            loss: number(10),
        }
    };
    Some(text.lines().filter(|line| line.starts_with(case)).map(run).collect())
}

#[test]
fn the_published_exponents_of_equal_compute_come_back() {
    for (case, published) in [
        ("summary_df,rw,base,long,kaplan,kaplan,", 0.8353),
        ("summary_df,rw,base,long,kaplan,standard,", 0.7065),
        ("summary_df,rw,base,short,kaplan,standard,", 0.6020),
        ("summary_df,rw,base,short,chinchilla,standard,", 0.5715),
        ("summary_df,rw,tuned,short,const,standard,", 0.4969),
        ("summary_df_att,rw,base,long,kaplan,attention,", 0.7171),
        ("summary_df_att,rw,base,short,kaplan,attention,", 0.6223),
        ("summary_df_att,rw,base,short,chinchilla,attention,", 0.5772),
        ("summary_df_att,rw,tuned,short,const,attention,", 0.5053),
        ("summary_df_kaplan_tuned_hparams,rw,tuned,long,const,kaplan,", 0.7115),
    ] {
        let Some(runs) = porian("the_published_exponents_of_equal_compute_come_back", case) else {
            return;
        };
        let fit = isoflop::fit(&runs, DRAWS).expect("a fit");
        let exponent = fit.params.exponent;
        assert!((exponent.value - published).abs() < 0.02, "{case} {exponent:?}");
        assert_eq!(fit.agreement(published), Agreement::Agrees);
    }
}

/// Steps of warm-up that the files do not show.
const PUBLISHED_WARMUP: f64 = 2160.0;
const TRAIN: [&str; 3] = ["cosine_24000", "constant_24000", "wsdcon_9"];
const TEST: [&str; 6] = [
    "constant_72000",
    "cosine_72000",
    "wsd_20000_24000",
    "wsdld_20000_24000",
    "wsdcon_3",
    "wsdcon_18",
];

/// The curves of a model of 100M under some of nine schedules (arXiv 2503.12811).
fn curves(test: &str, names: &[&str]) -> Option<Vec<Curve>> {
    names.iter().map(|name| curve(test, name)).collect()
}

fn curve(test: &str, name: &str) -> Option<Curve> {
    let text = published(test, &format!("multipowerlaw/csv_100/{name}.csv"))?;
    let rows = text.lines().skip(1).map(|line| {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().expect("a number")).collect();
        CurvePoint {
            step: cells[0],
            lr: cells[1],
            loss: cells[2],
        }
    });
    // As the authors: the last row of a run of 24,000 steps is left out.
    let short = !name.ends_with("72000");
    Some(Curve {
        name: name.to_owned(),
        points: rows.filter(|row| !short || row.step < 24_000.0).collect(),
    })
}

/// Scores of predictions, and their mean R² and MAE.
fn scores(fit: &CurveFit, curves: &[Curve]) -> (Vec<Score>, f64, f64) {
    let one = |curve: &Curve| {
        let predicted = predict(fit, &curve.schedule(PUBLISHED_WARMUP)).expect("identified");
        score(&predicted, curve).expect("as long")
    };
    let scores: Vec<Score> = curves.iter().map(one).collect();
    let mean = |of: fn(&Score) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
    let (r2, mae) = (mean(|s| s.r2), mean(|s| s.mae));
    (scores, r2, mae)
}

#[test]
fn the_annealing_law_of_two_curves_predicts_the_others() {
    let name = "the_annealing_law_of_two_curves_predicts_the_others";
    let (Some(train), Some(test)) = (curves(name, &TRAIN[..2]), curves(name, &TEST)) else {
        return;
    };
    let fit = fit(&train, Law::Annealing, PUBLISHED_WARMUP).expect("a fit");
    let (all, r2, mae) = scores(&fit, &test);
    assert_eq!(fit.status, Status::Converged);
    assert!(r2 >= 0.997 && mae <= 0.005, "R² {r2} MAE {mae}");
    assert!(all[2].mae <= 0.003 && all[2].worst <= 0.007, "{:?}", all[2]);
}

#[test]
fn the_multi_power_law_meets_the_published_split() {
    let name = "the_multi_power_law_meets_the_published_split";
    let (Some(train), Some(test)) = (curves(name, &TRAIN), curves(name, &TEST)) else {
        return;
    };
    let fit = fit(&train, Law::MultiPower, PUBLISHED_WARMUP).expect("a fit");
    let (_, r2, mae) = scores(&fit, &test);
    // The published constants predict better (R² .9983, MAE .0044) though they fit the three curves worse: an anchor
    // that held them there would have to outweigh the data.
    assert!(r2 >= 0.9965 && mae <= 0.0055, "R² {r2} MAE {mae}");
}

#[test]
fn a_cosine_alone_is_no_ground_for_other_schedules() {
    let name = "a_cosine_alone_is_no_ground_for_other_schedules";
    let (Some(train), Some(other)) = (curves(name, &TRAIN[..1]), curve(name, "wsd_20000_24000")) else {
        return;
    };
    let fit = fit(&train, Law::Annealing, PUBLISHED_WARMUP).expect("a fit");
    assert_eq!(fit.warnings[0].code, "annealing_not_identified");
    let refusal = predict(&fit, &other.schedule(PUBLISHED_WARMUP)).expect_err("another schedule");
    assert_eq!(refusal.code(), "single_schedule");
}
