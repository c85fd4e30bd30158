//! The laws of the whole loss curve, as they are kept and shown.
//!
//! Refuses to know how their constants are found.

use serde::{Deserialize, Serialize};

use crate::fit::Warning;
use crate::fit::curve::{self, CurveFit, Law as Form, Origin, Parameter, Score};
use crate::fit::law::{About, Data, Fitted, Found, Law, LeftOutForm, Needs, Options};
use crate::fit::refusal::Refusal;
use crate::fit::view::{Constant, Rows, View};

/// L0 + A·S1^-α − C·S2.
#[derive(Debug)]
pub struct Annealing;

/// L0 + A·S1^-α − B·Σ Δη·G(η^-γ·S).
#[derive(Debug)]
pub struct MultiPower;

/// A fit of one of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CurvesFit {
    /// The law and how it meets what it was fitted on.
    #[serde(flatten)]
    pub law: CurveFit,
    /// How it meets curves that it had not seen.
    pub predict: Vec<Score>,
}

impl Law for Annealing {
    type Fit = CurvesFit;
    const ABOUT: About = About {
        name: "annealing",
        tells: "the loss curve under any schedule",
        formula: "L(s) = L0 + A · S1^-α - C · S2 with S1 = Σ η, S2 = Σ m, m_i = λ m_(i-1) + η_(i-1) - η_i",
        source: "Tissue et al. 2024, arXiv 2408.11029",
        limits: "one size, batch and data; a decay beside a constant rate",
        needs: Needs::LossCurves,
        beside: None,
        compare: None,
        work_max: None,
        left_out: LeftOutForm::Objects,
    };

    fn fit(data: &Data, _options: &Options<'_>) -> Result<Found<CurvesFit>, Refusal> {
        fit(data, Form::Annealing)
    }
}

impl Law for MultiPower {
    type Fit = CurvesFit;
    const ABOUT: About = About {
        name: "multi-power",
        formula: "L(s) = L0 + A · S1^-α - B · Σ (η_(k-1) - η_k) · G(η_k^-γ · S_k) with G(x) = 1 - (1 + C x)^-β",
        source: "Luo et al. 2025, arXiv 2503.12811",
        ..Annealing::ABOUT
    };

    fn fit(data: &Data, _options: &Options<'_>) -> Result<Found<CurvesFit>, Refusal> {
        fit(data, Form::MultiPower)
    }
}

fn fit(data: &Data, form: Form) -> Result<Found<CurvesFit>, Refusal> {
    let law = curve::fit(&data.curves, form, data.warmup)?;
    let score = |curve: &curve::Curve| {
        let losses = curve::predict(&law, &curve.schedule(data.warmup))?;
        curve::score(&losses, curve)
    };
    let predict = data.unseen.iter().map(score).collect::<Result<_, _>>()?;
    let identity = law.clone();
    Ok(Found::new(CurvesFit { law, predict }, &identity, Vec::new()))
}

fn constant((name, parameter): (&String, &Parameter)) -> Constant {
    Constant {
        is_published: parameter.source == Origin::Published,
        ..Constant::new(name, parameter.estimate)
    }
}

impl Fitted for CurvesFit {
    fn curves(&self) -> Option<&CurveFit> {
        Some(&self.law)
    }

    fn warnings(&self) -> &[Warning] {
        &self.law.warnings
    }

    fn view(&self) -> View {
        let row = |kind: &str, score: &Score| {
            vec![
                kind.to_owned(),
                score.name.clone(),
                score.n.to_string(),
                format!("{:.4}", score.r2),
                format!("{:.4}", score.mae),
                format!("{:.2} %", 100.0 * score.worst),
            ]
        };
        let seen = self.law.train.iter().map(|score| row("fitted", score));
        let unseen = self.predict.iter().map(|score| row("predicted", score));
        let constants = self.law.parameters.iter();
        View {
            formula: match self.law.law {
                Form::Annealing => Annealing::ABOUT.formula,
                Form::MultiPower => MultiPower::ABOUT.formula,
            }
            .to_owned(),
            rests_on: format!("{} curves, {} schedules", self.law.train.len(), self.law.schedules),
            constants: constants.map(constant).collect(),
            tables: vec![Rows {
                columns: &["", "curve", "rows", "R²", "MAE", "worst"],
                rows: seen.chain(unseen).collect(),
            }],
            ..View::default()
        }
    }
}
