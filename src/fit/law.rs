//! What a law is: what it needs, how it is fitted, what it says of a place, and how it is shown.
//!
//! Refuses to know any one law, and where data comes from.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::fit::batch::equal_loss_curves::{BatchCurve, ReadFrom};
use crate::fit::curve::{Curve, CurveFit};
pub use crate::fit::kept::{Found, Kept, LeftOut, LeftOutForm, name_of, reasons};
use crate::fit::loss::chinchilla::{ComputeOptimal, Objective};
use crate::fit::loss::loss_fit::{Extrapolation, HoldOutReport, Prediction, Residual, Sensitivity};
use crate::fit::loss::loss_law::HoldOut;
use crate::fit::loss::model_selection::Compare;
use crate::fit::observation::Observation;
use crate::fit::rate::learning_rate::{LrRule, LrRun};
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

/// What a law is fitted on; what it does not need is empty.
#[derive(Debug, Clone, Default)]
pub struct Data {
    /// The sweep, import or file; none: a folder of curves.
    pub source: Option<String>,
    /// What its N counts: `params_non_embedding` or `as-given`.
    pub convention: &'static str,
    pub runs: Vec<Observation>,
    /// Final losses over learning rates.
    pub rates: Vec<LrRun>,
    pub batches: BatchCurves,
    /// Loss curves to fit.
    pub curves: Vec<Curve>,
    /// Loss curves to predict without having seen them.
    pub unseen: Vec<Curve>,
    /// Steps of warm-up that the curves do not show.
    pub warmup: f64,
    /// Runs that did not enter.
    pub left_out: Vec<LeftOut>,
    /// What is odd about them.
    pub warnings: Vec<Warning>,
}

/// Losses over tokens, a curve for each batch, and the names of what they were read from.
#[derive(Debug, Clone, Default)]
pub struct BatchCurves {
    /// What they were read from.
    pub read_from: ReadFrom,
    /// The trials, or the rows of a table.
    pub trials: Vec<String>,
    pub each: Vec<BatchCurve>,
}

#[derive(Clone, Copy)]
pub struct Options<'a> {
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

    /// The law of loss over size and tokens, if it is one.
    fn of_loss(&self) -> Option<&dyn OfLoss> {
        None
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

/// A fit of a law of loss over size and tokens, whatever its form: what recipes and pages rest on.
pub trait OfLoss: Fitted {
    /// Its name on the command line.
    fn name(&self) -> &str;

    fn formula(&self) -> &'static str;

    /// Its value: the expected loss of runs there.
    fn loss(&self, params: f64, tokens: f64) -> f64;

    fn predict(&self, params: f64, tokens: f64) -> Prediction;

    /// How far beyond the runs a place lies.
    fn extrapolation(&self, params: f64, tokens: f64) -> Extrapolation;

    /// The tokens for which a size is compute-optimal; none where the law has no such number.
    fn optimal_tokens(&self, params: f64) -> Option<Estimate>;

    /// The lowest loss of so many FLOPs, 6ND.
    fn compute_optimal(&self, flops: f64) -> Option<ComputeOptimal>;

    /// What was minimised.
    fn objective(&self) -> Objective;

    /// How a fit of the other runs predicted those that it had not seen.
    fn hold_out(&self) -> Option<&HoldOutReport>;

    /// How many runs it rests on.
    fn runs(&self) -> usize;

    /// Each of them.
    fn residuals(&self) -> &[Residual];
}

/// A kept fit of any law, with its body.
#[derive(Debug)]
pub struct AnyKept {
    /// What is known of the law beforehand.
    pub about: &'static About,
    pub kept: Kept<Box<dyn Fitted>>,
    /// All of it as it is kept.
    pub body: Value,
    /// What is told once, beside what is kept.
    pub beside: Map<String, Value>,
    /// The same for people.
    pub facts: Vec<(String, String)>,
}

impl AnyKept {
    /// How the laws did from which this one was chosen: a fact.
    pub fn chosen_from(&self) -> Option<(String, String)> {
        let tried = self.body.get("tried")?.as_array()?;
        let text = |it: &Value| {
            let law = it.get("law").and_then(Value::as_str)?;
            let missed = it.get("hold_out").and_then(|held| held.get("mean_abs_rel_error"));
            Some(match missed.and_then(Value::as_f64) {
                Some(error) => format!("{law} misses by {:.3} %", 100.0 * error),
                None => format!("{law} has no answer"),
            })
        };
        let each: Vec<String> = tried.iter().filter_map(text).collect();
        (!each.is_empty()).then(|| ("rolled hold-out".to_owned(), each.join(", ")))
    }

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
                let (kept, body) = kept.warned(L::ABOUT.name, L::ABOUT.left_out, &data.warnings);
                Ok(any::<L>(body, kept, beside, facts))
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_by: Option<LrRule>,
    /// The best batch in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<Estimate>,
    /// How far beyond the runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extrapolation: Option<Extrapolation>,
}
