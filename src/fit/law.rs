//! What a law is: what it needs, how it is fitted, what it says of a place, how it is shown, and the form in which a
//! fit of it is kept. Refuses to know any one law, and where data comes from.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fit::batch_curves::{BatchCurve, ReadFrom};
use crate::fit::chinchilla::Objective;
use crate::fit::choice::Compare;
use crate::fit::curves::{Curve, CurveFit};
use crate::fit::learning_rate::{LrRule, LrRun};
use crate::fit::loss_fit::{Extrapolation, Prediction, Sensitivity};
use crate::fit::loss_law::HoldOut;
use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;
use crate::fit::view::View;
use crate::fit::{Estimate, Warning};

/// What is known of a law before it is fitted.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name on the command line and in the database.
    pub name: &'static str,
    /// What it tells, in a few words.
    pub tells: &'static str,
    /// Its formula.
    pub formula: &'static str,
    /// The paper and the equation.
    pub source: &'static str,
    /// Where it must not be used.
    pub limits: &'static str,
    /// What it is fitted on.
    pub needs: Needs,
    /// The law that is fitted to the same trials and shown below it.
    pub beside: Option<&'static str>,
    /// How it predicts runs that it has not seen, by which laws of loss are compared.
    pub compare: Option<Compare>,
    /// The most runs times draws that take minutes, where every draw fits every run anew.
    pub work_max: Option<usize>,
    /// How kept fits write the runs that were left out.
    pub left_out: LeftOutForm,
}

/// What a law is fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Final losses of runs.
    Runs,
    /// Final losses over learning rates and batches where all else is equal.
    Grids,
    /// Final losses over learning rates where all else is equal; only trials of a sweep say that.
    LearningRates,
    /// Losses over tokens, a curve for each batch.
    BatchCurves,
    /// Whole loss curves with their schedules.
    LossCurves,
}

/// How a kept fit writes the runs that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOutForm {
    /// `{"trial": …, "reason": …}`.
    Objects,
    /// `[trial, reason]`, as some laws have been kept from the beginning.
    Pairs,
}

/// A run that did not enter a law.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AnyLeftOut")]
pub struct LeftOut {
    /// The trial, or the place of the row in a table.
    pub trial: String,
    /// Why.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyLeftOut {
    Object { trial: String, reason: String },
    Pair(String, String),
}

impl From<AnyLeftOut> for LeftOut {
    fn from(any: AnyLeftOut) -> Self {
        let (AnyLeftOut::Object { trial, reason } | AnyLeftOut::Pair(trial, reason)) = any;
        Self { trial, reason }
    }
}

impl LeftOut {
    /// A run with the reason.
    pub fn new(trial: &str, reason: &str) -> Self {
        Self::from((trial.to_owned(), reason.to_owned()))
    }
}

impl From<(String, String)> for LeftOut {
    fn from((trial, reason): (String, String)) -> Self {
        Self { trial, reason }
    }
}

/// What a law is fitted on; what it does not need is empty.
#[derive(Debug, Clone, Default)]
pub struct Data {
    /// The sweep, import or file; none: a folder of curves.
    pub source: Option<String>,
    /// What its N counts: `params_non_embedding` or `as-given`.
    pub convention: &'static str,
    /// Final losses.
    pub runs: Vec<Observation>,
    /// Final losses over learning rates.
    pub rates: Vec<LrRun>,
    /// Losses over tokens.
    pub batches: BatchCurves,
    /// Loss curves to fit.
    pub curves: Vec<Curve>,
    /// Loss curves to predict without having seen them.
    pub unseen: Vec<Curve>,
    /// Steps of warm-up that the curves do not show.
    pub warmup: f64,
    /// Runs that did not enter.
    pub left_out: Vec<LeftOut>,
}

/// Losses over tokens, a curve for each batch, and the names of what they were read from.
#[derive(Debug, Clone, Default)]
pub struct BatchCurves {
    /// What they were read from.
    pub read_from: ReadFrom,
    /// The trials, or the rows of a table.
    pub trials: Vec<String>,
    /// The curves.
    pub each: Vec<BatchCurve>,
}

/// How to fit.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// What is minimised.
    pub objective: Objective,
    /// What is held out.
    pub hold_out: HoldOut,
    /// Draws for the intervals.
    pub bootstrap: usize,
    /// Threads; no result depends on it.
    pub threads: usize,
    /// Milliseconds since some moment: this floor has no clock of its own.
    pub clock: &'a dyn Fn() -> f64,
}

/// A law. One file implements it, one line of [`LAWS`](crate::fit::laws::LAWS) lists it.
pub trait Law {
    /// What a fit of it knows.
    type Fit: Fitted + Serialize + DeserializeOwned + 'static;
    /// What is known before.
    const ABOUT: About;

    /// Fits it.
    ///
    /// # Errors
    /// A refusal by name where the data cannot carry it.
    fn fit(data: &Data, options: &Options<'_>) -> Result<Found<Self::Fit>, Refusal>;
}

/// A fit of any law.
pub trait Fitted: Debug + Send + Sync {
    /// What it says of a place; none: it speaks of schedules.
    fn at(&self, _place: Place) -> Option<Said> {
        None
    }

    /// Whether its loss depends on the batch.
    fn has_batch(&self) -> bool {
        false
    }

    /// The law of whole loss curves, if it is one.
    fn curves(&self) -> Option<&CurveFit> {
        None
    }

    /// How it is shown.
    fn view(&self) -> View;

    /// What a reader must know.
    fn warnings(&self) -> &[Warning];
}

/// A law that has just been fitted.
#[derive(Debug)]
pub struct Found<F> {
    /// The law.
    pub law: F,
    /// Its name: the same law gets the same.
    pub name: String,
    /// Hash of the runs that it rests on.
    pub data_hash: Option<String>,
    /// Runs that did not enter.
    pub left_out: Vec<LeftOut>,
    /// What is told once, beside what is kept.
    pub beside: Map<String, Value>,
    /// The same for people: a name, a sentence.
    pub facts: Vec<(String, String)>,
}

impl<F> Found<F> {
    /// A law with nothing beside it; `identity` is what its name is the hash of.
    pub fn new(law: F, identity: &impl Serialize, left_out: Vec<LeftOut>) -> Self {
        Self {
            law,
            name: name_of(identity),
            data_hash: None,
            left_out,
            beside: Map::new(),
            facts: Vec::new(),
        }
    }

    /// The same under its name.
    pub fn kept(self, source: Option<String>) -> Kept<F> {
        Kept {
            fit: self.name,
            law: self.law,
            source,
            data_hash: self.data_hash,
            left_out: self.left_out,
        }
    }
}

/// A law that is kept under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<F> {
    /// Its name: the beginning of a hash of the law.
    pub fit: String,
    /// The law.
    pub law: F,
    /// The sweep, import or file that it rests on; none: a folder of curves.
    pub source: Option<String>,
    /// Hash of the runs that it rests on, where the law keeps it.
    pub data_hash: Option<String>,
    /// Runs that did not enter, with the reason.
    pub left_out: Vec<LeftOut>,
}

impl<F: Serialize> Kept<F> {
    /// All of it as it is kept: the fields of the law, and those of this envelope.
    pub fn body<L: Law<Fit = F>>(&self) -> Value {
        let mut body = match serde_json::to_value(&self.law) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => Map::new(),
        };
        body.insert("fit".to_owned(), self.fit.clone().into());
        body.insert("law".to_owned(), L::ABOUT.name.into());
        if let Some(source) = &self.source {
            body.insert("source".to_owned(), source.clone().into());
            let each = self.left_out.iter().map(|out| match L::ABOUT.left_out {
                LeftOutForm::Objects => serde_json::json!({ "trial": out.trial, "reason": out.reason }),
                LeftOutForm::Pairs => serde_json::json!([out.trial, out.reason]),
            });
            body.insert("left_out".to_owned(), each.collect());
        }
        if let Some(hash) = &self.data_hash {
            body.insert("data_hash".to_owned(), hash.clone().into());
        }
        Value::Object(body)
    }
}

impl<F: DeserializeOwned> Kept<F> {
    /// Reads what is kept, also by older programs.
    ///
    /// # Errors
    /// What is missing.
    pub fn read(body: &Value) -> Result<Self, serde_json::Error> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            fit: text("fit").ok_or_else(|| serde_json::Error::custom("it has no name"))?,
            law: serde_json::from_value(body.clone())?,
            source: text("source"),
            data_hash: text("data_hash"),
            left_out: match body.get("left_out") {
                Some(each) => serde_json::from_value(each.clone())?,
                None => Vec::new(),
            },
        })
    }
}

/// A kept fit of any law, with its body.
#[derive(Debug)]
pub struct AnyKept {
    /// What is known of the law beforehand.
    pub about: &'static About,
    /// The law.
    pub kept: Kept<Box<dyn Fitted>>,
    /// All of it as it is kept.
    pub body: Value,
    /// What is told once, beside what is kept.
    pub beside: Map<String, Value>,
    /// The same for people.
    pub facts: Vec<(String, String)>,
}

impl AnyKept {
    /// What its N counts.
    pub fn convention(&self) -> &str {
        self.body
            .get("convention")
            .and_then(Value::as_str)
            .unwrap_or("as-given")
    }
}

/// A law in the list of all laws.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What is known of it.
    pub about: About,
    /// Fits it.
    pub fit: fn(&Data, &Options<'_>) -> Result<AnyKept, Refusal>,
    /// Reads a fit that was kept.
    pub read: fn(Value) -> Result<AnyKept, serde_json::Error>,
}

impl Entry {
    /// The entry of a law.
    pub const fn of<L: Law>() -> Self {
        Self {
            about: L::ABOUT,
            fit: |data, options| {
                let mut found = L::fit(data, options)?;
                let (beside, facts) = (std::mem::take(&mut found.beside), std::mem::take(&mut found.facts));
                let kept = found.kept(data.source.clone());
                Ok(any::<L>(kept.body::<L>(), kept, beside, facts))
            },
            read: |body| {
                let kept = Kept::<L::Fit>::read(&body)?;
                Ok(any::<L>(body, kept, Map::new(), Vec::new()))
            },
        }
    }
}

fn any<L: Law>(body: Value, kept: Kept<L::Fit>, beside: Map<String, Value>, facts: Vec<(String, String)>) -> AnyKept {
    AnyKept {
        about: &L::ABOUT,
        kept: Kept {
            fit: kept.fit,
            law: Box::new(kept.law),
            source: kept.source,
            data_hash: kept.data_hash,
            left_out: kept.left_out,
        },
        body,
        beside,
        facts,
    }
}

/// A size, a number of tokens and perhaps a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Parameters, by the convention of the fit.
    pub params: f64,
    /// Tokens.
    pub tokens: f64,
    /// Tokens of a batch; none: the best.
    pub batch_tokens: Option<f64>,
}

/// What a law says of a place; what it does not speak of is missing.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Said {
    /// The loss, nats per token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Prediction>,
    /// How much of it hangs on E.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity_to_e: Option<Sensitivity>,
    /// The best peak learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<Estimate>,
    /// By which rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_by: Option<LrRule>,
    /// The best batch in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<Estimate>,
    /// How far beyond the runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extrapolation: Option<Extrapolation>,
}

/// The name of what is kept: the beginning of the hash of its text.
pub fn name_of(kept: &impl Serialize) -> String {
    let text = serde_json::to_string(kept).unwrap_or_default();
    blake3::hash(text.as_bytes()).to_hex().chars().take(12).collect()
}

/// Hash of runs, whatever their order.
pub(crate) fn hash_of(runs: &[impl Serialize]) -> String {
    let mut lines: Vec<String> = runs
        .iter()
        .map(|run| serde_json::to_string(run).unwrap_or_default())
        .collect();
    lines.sort_unstable();
    blake3::hash(lines.join("\n").as_bytes()).to_hex().to_string()
}

/// How many runs were left out for which reason, the most frequent first.
pub fn reasons(left_out: &[LeftOut]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for run in left_out {
        *counts.entry(run.reason.as_str()).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| Reverse(count));
    let counts: Vec<String> = counts
        .iter()
        .map(|(reason, count)| format!("{count}: {reason}"))
        .collect();
    if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join("; ")
    }
}
