//! A law as a page shows it: its formula, its constants, how it was fitted and how well, and the runs that it rests on.
//!
//! Refuses to fit, and to know any one law.

use serde::Serialize;

use crate::fit::Estimate;
use crate::fit::loss::loss_fit::Prediction;
use crate::fit::view::Constant;
use crate::report::text::number;
use crate::report::view::{Column, Table};

/// A law's loss at parameters and tokens; none where the law does not speak.
pub type Predict<'a> = &'a dyn Fn(f64, f64) -> Option<f64>;

/// A law's loss with its intervals, at parameters and tokens.
pub type Spread<'a> = &'a dyn Fn(f64, f64) -> Option<Prediction>;

/// A law, or why there is none.
#[derive(Clone, Copy)]
pub struct LawInput<'a> {
    /// Its name on the command line: `chinchilla`.
    pub law: &'a str,
    /// Id of the stored fit.
    pub fit: Option<&'a str>,
    /// Its formula in the letters of the paper.
    pub formula: &'a str,
    /// What its N counts: `params_non_embedding` or `params_total`.
    pub params_are: &'a str,
    /// Why it was refused; none if it was fitted.
    pub refused: Option<&'a str>,
    pub constants: &'a [Constant],
    /// How it was fitted and how well, as pairs of a name and a sentence: hold-out error, method, bootstrap.
    pub facts: &'a [(String, String)],
    /// What to be careful about.
    pub warnings: &'a [String],
    /// The observations it saw and the ones held out.
    pub points: &'a [LawPoint],
    /// The ones held out, with what a second fit said of them.
    pub held: &'a [HeldOut],
    /// Its loss at N parameters and D tokens.
    pub predict: Option<Predict<'a>>,
    /// The same with intervals.
    pub spread: Option<Spread<'a>>,
    /// a of the best size at so much compute, `N ∝ C^a`; none where the law has no such power.
    pub size_exponent: Option<Estimate>,
}

/// One observation of a law.
#[derive(Debug, Clone, PartialEq)]
pub struct LawPoint {
    /// Name of the trial.
    pub trial: String,
    /// Name of the size.
    pub model: String,
    /// N as the law counts it.
    pub params: f64,
    pub tokens: f64,
    /// Final loss, nats per token.
    pub loss: f64,
    /// Whether the fit did not see it.
    pub held_out: bool,
}

/// A run that a second fit had not seen.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// Name of the trial.
    pub trial: String,
    /// Name of the size.
    pub model: String,
    /// N as the law counts it.
    pub params: f64,
    pub tokens: f64,
    /// Measured loss, nats per token.
    pub loss: f64,
    pub predicted: f64,
    /// The 95 % interval of a new run.
    pub ci95: Option<[f64; 2]>,
}

/// A law as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LawView {
    pub law: String,
    /// Id of the stored fit.
    pub fit: Option<String>,
    pub formula: String,
    /// Why it was refused.
    pub refused: Option<String>,
    pub constants: Table,
    /// How it was fitted and how well.
    pub facts: Vec<(String, String)>,
    /// What to be careful about.
    pub warnings: Vec<String>,
}

/// A law as a table of its constants.
pub(crate) fn law(law: &LawInput<'_>) -> LawView {
    let rows = law
        .constants
        .iter()
        .map(|constant| {
            let none = if constant.is_published { "published" } else { "" };
            let interval = constant.estimate.ci95.map_or_else(
                || none.to_owned(),
                |[low, high]| format!("{} to {}", number(low, 4), number(high, 4)),
            );
            vec![
                constant.name.clone().into(),
                number(constant.estimate.value, 4).into(),
                interval.into(),
                constant.unit.to_owned().into(),
            ]
        })
        .collect();
    LawView {
        law: law.law.to_owned(),
        fit: law.fit.map(str::to_owned),
        formula: law.formula.to_owned(),
        refused: law.refused.map(str::to_owned),
        constants: Table {
            columns: vec![
                Column::words("constant"),
                Column::numbers("value"),
                Column::numbers("95 % interval"),
                Column::words("unit"),
            ],
            rows,
        },
        facts: law.facts.to_vec(),
        warnings: law.warnings.to_vec(),
    }
}
