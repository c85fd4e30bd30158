//! The list of laws holds together, and a law of a test reaches what reads the list through one line of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::fit::curve::{Curve, CurvePoint};
use crate::fit::law::{Data, Fitted, Found, Law, LeftOut, LeftOutForm, Needs, Options, Place, Said};
use crate::fit::laws::{LAWS, named, names};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::loss_fit::Prediction;
use crate::fit::loss::loss_law::HoldOut;
use crate::fit::loss::model_selection;
use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;
use crate::fit::view::{Constant, View};
use crate::fit::{Warning, law};

/// L(N, D) = the mean of all losses.
#[derive(Debug)]
pub(crate) struct MeanLoss;

/// A fit of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MeanFit {
    mean: f64,
}

impl Law for MeanLoss {
    type Fit = MeanFit;
    const ABOUT: law::About = law::About {
        name: "mean-of-a-test",
        tells: "the mean of all losses",
        formula: "L = m",
        source: "nobody",
        limits: "tests",
        needs: Needs::Runs,
        beside: None,
        compare: Some(|seen, _| {
            let mean = mean(seen)?;
            Ok(Box::new(move |_| Some(mean)))
        }),
        work_max: None,
        left_out: LeftOutForm::Objects,
    };

    fn fit(data: &Data, _options: &Options<'_>) -> Result<Found<MeanFit>, Refusal> {
        let mean = mean(&data.runs)?;
        Ok(Found::new(MeanFit { mean }, &mean, data.left_out.clone()))
    }
}

fn mean(runs: &[Observation]) -> Result<f64, Refusal> {
    if runs.is_empty() {
        return Err(Refusal::NotFinished { left_out: 0 });
    }
    Ok(runs.iter().map(|run| run.loss).sum::<f64>() / runs.len() as f64)
}

impl Fitted for MeanFit {
    fn at(&self, _place: Place) -> Option<Said> {
        Some(Said {
            loss: Some(Prediction::bare(self.mean)),
            ..Said::default()
        })
    }

    fn warnings(&self) -> &[Warning] {
        &[]
    }

    fn view(&self) -> View {
        View {
            formula: MeanLoss::ABOUT.formula.to_owned(),
            constants: vec![Constant::bare("m", self.mean)],
            ..View::default()
        }
    }
}

/// Runs whose loss is their number.
fn runs(count: u32) -> Vec<Observation> {
    let run = |k: u32| Observation {
        label: format!("run {k}"),
        params: 1e6 * f64::from(k),
        tokens: 1e8,
        loss: f64::from(k),
        lr: None,
        batch_tokens: None,
        schedule: None,
        seed: None,
        flops: None,
        setup: None,
    };
    (1..=count).map(run).collect()
}

fn options(clock: &dyn Fn() -> f64) -> Options<'_> {
    Options {
        objective: Objective::Huber,
        hold_out: HoldOut::Largest,
        bootstrap: 0,
        threads: 1,
        clock,
    }
}

#[test]
fn names_are_told_apart_and_every_law_says_what_it_is() {
    let all: BTreeSet<&str> = LAWS.iter().map(|law| law.about.name).collect();
    assert_eq!(all.len(), LAWS.len());
    for law in LAWS {
        let about = law.about;
        let said = [about.tells, about.formula, about.source, about.limits];
        assert!(said.iter().all(|text| !text.is_empty()), "{}", about.name);
        assert!(
            about.beside.is_none_or(|other| named(other).is_some()),
            "{}",
            about.name
        );
    }
}

#[test]
fn a_law_of_a_test_is_fitted_kept_read_asked_and_shown_through_the_list() {
    let entry = named("mean-of-a-test").expect("it is in the list");
    let data = Data {
        source: Some("runs.csv".to_owned()),
        runs: runs(3),
        left_out: vec![LeftOut::from(("row 9".to_owned(), "no loss".to_owned()))],
        ..Data::default()
    };
    let fitted = (entry.fit)(&data, &options(&|| 0.0)).expect("a fit");
    assert_eq!(fitted.body["law"], "mean-of-a-test");
    assert_eq!(
        fitted.body["left_out"],
        json!([{ "trial": "row 9", "reason": "no loss" }])
    );
    let again = (entry.read)(fitted.body.clone()).expect("it can be read");
    assert_eq!(
        (&again.kept.fit, &again.kept.left_out),
        (&fitted.kept.fit, &data.left_out)
    );
    let place = Place {
        params: 1e9,
        tokens: 1e10,
        batch_tokens: None,
    };
    let said = again.kept.law.at(place).and_then(|said| said.loss).expect("a loss");
    assert!((said.mean - 2.0).abs() < 1e-12);
    assert_eq!(again.kept.law.view().constants[0].name, "m");
    assert!((entry.fit)(&Data::default(), &options(&|| 0.0)).is_err(), "no runs");
}

#[test]
fn a_law_of_a_test_is_compared_with_the_others() {
    let comparing = names(|about| about.compare.is_some());
    let laws: Vec<(&'static str, model_selection::Compare)> = comparing
        .into_iter()
        .filter_map(|name| Some((name, named(name)?.about.compare?)))
        .collect();
    // One budget carries no law in tokens: only the mean has an answer, 2 for a run whose loss is 4.
    let tried =
        model_selection::try_all(&laws, &runs(4), Objective::Huber, HoldOut::ParamsAbove(3.5e6)).expect("an answer");
    assert_eq!(tried[0].law, "mean-of-a-test");
    let held = tried[0].hold_out.as_ref().expect("a run is held out");
    assert!((held.mean_abs_rel_error - 0.5).abs() < 1e-12, "{held:?}");
    assert!(tried[1..].iter().all(|it| it.refused.is_some()), "{tried:?}");
}

#[test]
fn pairs_of_older_homes_are_read_as_runs_that_were_left_out() {
    let body = json!({ "fit": "0123456789ab", "law": "mean-of-a-test", "mean": 2.0, "source": "runs.csv",
                       "left_out": [["row 2", "why"], { "trial": "row 3", "reason": "because" }] });
    let entry = named("mean-of-a-test").expect("it is in the list");
    let read = (entry.read)(body).expect("it can be read");
    let trials: Vec<&str> = read.kept.left_out.iter().map(|out| out.trial.as_str()).collect();
    assert_eq!(trials, ["row 2", "row 3"]);
    assert!((entry.read)(json!({ "mean": 2.0 })).is_err(), "it has no name");
}

/// Grids over learning rate and batch whose best batch moves as N^a·D^.5.
fn grids(a: f64) -> Vec<Observation> {
    let mut grids = Vec::new();
    for size in [1e7_f64, 2e7, 4e7, 8e7] {
        for tokens in [1e8_f64, 3e8, 1e9, 3e9] {
            for cell in 0..121_i32 {
                let (lr, batch) = (2f64.powi(cell % 11 - 12), 2f64.powi(cell / 11 + 12));
                let x = (lr / (30.0 * size.powf(-0.7) * tokens.powf(0.15))).ln();
                let y = (batch / (3.0 * (size / 1e7).powf(a) * tokens.powf(0.5))).ln();
                let luck = 1e-4 * (12.9 * f64::from(cell) + 78.2 * (size * tokens).ln()).sin();
                grids.push(Observation {
                    params: size,
                    tokens,
                    loss: 3.0 * (0.004 * x * x + 0.003 * y * y + luck).exp(),
                    lr: Some(lr),
                    batch_tokens: Some(batch),
                    ..runs(1)[0].clone()
                });
            }
        }
    }
    grids
}

#[test]
fn the_heading_of_learning_rate_and_batch_names_the_form_that_was_used() {
    let entry = named("lr-batch").expect("it is in the list");
    for (a, form) in [(0.0, "batch = c · D^b"), (-0.3, "batch = c · N^a · D^b")] {
        let data = Data {
            runs: grids(a),
            ..Data::default()
        };
        let fitted = (entry.fit)(&data, &options(&|| 0.0)).expect("a fit");
        let view = fitted.kept.law.view();
        assert_eq!(view.formula, format!("lr = c · N^a · D^b, {form}"));
        let facts: Vec<&str> = view.facts.iter().map(|(name, _)| name.as_str()).collect();
        let meanings = [
            "lr at a fixed batch",
            "lr at the best batch",
            "lr at the best batch, per √batch",
        ];
        assert!(meanings.iter().all(|name| facts.contains(name)), "{facts:?}");
        assert!(facts.contains(&"form of the batch"), "{facts:?}");
        let again = (entry.read)(fitted.body.clone()).expect("it can be read");
        assert_eq!(again.kept.law.view(), view);
    }
}

#[test]
fn a_constant_that_curves_do_not_show_is_shown_as_published() {
    let point = |step: u32| {
        let step = 20.0 * f64::from(step) + 1.0;
        CurvePoint {
            step,
            lr: 0.01,
            loss: 2.0 + 0.5 * (0.01 * step).powf(-0.45),
        }
    };
    let data = Data {
        curves: vec![Curve {
            name: "constant".to_owned(),
            points: (0..150).map(point).collect(),
        }],
        ..Data::default()
    };
    let fitted = (named("annealing").expect("it is in the list").fit)(&data, &options(&|| 0.0)).expect("a fit");
    let view = fitted.kept.law.view();
    let published: Vec<&str> = view
        .constants
        .iter()
        .filter(|it| it.is_published)
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(published, ["lambda"]);
    assert_eq!(fitted.body["parameters"]["lambda"]["source"], "published");
}
