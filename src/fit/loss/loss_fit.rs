//! A fitted law of loss: what is kept of it, and what it says elsewhere.
//!
//! Refuses to know how the constants were found: a stored fit predicts the same as a fresh one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::fit::design::{Extrapolation, Range};
use crate::fit::loss::bootstrap_intervals::{CI50, CI80, CI95, Drawn, Factors, Level};
use crate::fit::loss::chinchilla::{Law, Objective, Status};
use crate::fit::loss::forms::Surface;
use crate::fit::numeric::statistics;
use crate::fit::{Estimate, Warning};

/// How much intervals grow with the distance from the data, learned by rolling the hold-out forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Widening {
    /// The relative half-width that is added (in squares) to a 95 % interval per e-fold of extrapolation.
    pub per_e_fold: f64,
    /// Along which variable the fits were rolled: `params` or `flops`.
    #[serde(default = "by_params")]
    pub by: String,
    /// How many fits of the smaller runs were asked for the larger ones.
    pub rolled_fits: u32,
    /// How many predictions they made of runs that they had not seen.
    pub predictions: usize,
    /// The share of those predictions that intervals without widening cover.
    pub covered_without: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The law's value: the expected loss of runs there.
    pub mean: f64,
    /// Where one new run would lie, every other time; none for a fit without draws.
    pub ci50: Option<[f64; 2]>,
    /// The same, four times of five.
    pub ci80: Option<[f64; 2]>,
    /// Where the expected loss lies.
    pub ci95_mean: Option<[f64; 2]>,
    /// Where one new run would lie.
    pub ci95_new_run: Option<[f64; 2]>,
}

impl Prediction {
    /// A loss without any interval.
    pub fn bare(mean: f64) -> Self {
        Self {
            mean,
            ci50: None,
            ci80: None,
            ci95_mean: None,
            ci95_new_run: None,
        }
    }
}

/// Along what fits of older programs were rolled.
fn by_params() -> String {
    "params".to_owned()
}

/// How a prediction answers to the irreducible loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Nats that the prediction moves for each nat that E moves, the other constants following.
    pub per_nat: f64,
    /// The share of the prediction's variance over the draws that E explains.
    pub share: f64,
}

/// A law of loss that the data carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "F: Surface")]
pub struct LossFit<F = Law> {
    /// Its name: `chinchilla`.
    pub law: String,
    /// How the solution was reached.
    pub status: Status,
    pub n: usize,
    /// Configurations among them: runs that differ in the seed alone are one.
    pub configurations: usize,
    pub convention: String,
    /// What was minimised, and its value.
    pub objective: ObjectiveValue,
    /// The constants by name, as the formula has them; for N in parameters and D in tokens.
    pub parameters: BTreeMap<String, Estimate>,
    /// Exponents of the compute-optimal N (`a`) and D (`b`) in C, where the law has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocation: BTreeMap<String, Estimate>,
    /// Of the additive law, `MiniCPM`'s `K_squared` and `eta` of `N_opt/D_opt = K²·(C/6)^η`, in its units (1e9 parameters, 1e9 tokens, 1e18 FLOP).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub minicpm: BTreeMap<String, Estimate>,
    /// The law in numbers that lose no digits, where its constants by name do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<F>,
    /// How a fit without the largest runs predicted them.
    pub hold_out: Option<HoldOutReport>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
    /// Runs that lie far off the law and move it; they are in the fit all the same.
    pub outliers: Vec<String>,
    /// The ranges of the runs: the border of extrapolation.
    pub seen: Range,
    /// The standard deviation of a single run about the law, in log loss.
    pub noise: f64,
    /// How intervals follow from draws and noise.
    pub factors: Factors,
    /// How much intervals grow with the distance; none when too few sizes could teach it.
    pub widening: Option<Widening>,
    /// Each run with its predicted and its measured loss.
    pub residuals: Vec<Residual>,
    /// The constants of every draw.
    pub draws: Vec<F>,
}

/// How the second fit did on the runs that it had not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HoldOutReport {
    /// Along which variable the runs were held out: `params` or `flops`.
    pub by: String,
    pub above: f64,
    /// How many were held out.
    pub n: usize,
    /// The mean of |predicted − loss| / loss.
    pub mean_abs_rel_error: f64,
    /// The largest of them.
    pub max_abs_rel_error: f64,
    /// The share of the held-out runs inside their 95 % intervals of a new run; `None` without draws.
    pub covered: Option<f64>,
    /// The mean width of those intervals, relative to the loss.
    pub mean_rel_width: Option<f64>,
    pub points: Vec<HeldOutPoint>,
}

/// A run that the second fit had not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutPoint {
    pub label: String,
    pub params: f64,
    pub tokens: f64,
    /// The loss that it had.
    pub loss: f64,
    /// The loss that was predicted.
    pub predicted: f64,
    /// The 95 % interval of a new run.
    pub ci95_new_run: Option<[f64; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveValue {
    pub kind: Objective,
    /// Where Huber's loss turns, in log loss; none for least squares.
    pub delta: Option<f64>,
    /// The sum over the runs at the fit.
    pub value: f64,
}

/// One run against the law.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    pub label: String,
    pub params: f64,
    pub tokens: f64,
    pub measured: f64,
    pub predicted: f64,
}

impl LossFit {
    pub fn point(&self) -> Law {
        self.surface()
    }
}

impl<F: Surface> LossFit<F> {
    /// The law at the minimum.
    pub fn surface(&self) -> F {
        self.surface.unwrap_or_else(|| {
            let names = F::CONSTANTS.iter();
            let constants: Vec<f64> = names.map(|(name, _)| self.parameters[*name].value).collect();
            F::with(&constants)
        })
    }

    /// The loss at a size and a number of tokens, with intervals.
    ///
    /// The interval of the mean is that of the draws, widened beyond the data by what rolling the hold-out forward
    /// taught; that of a new run adds the noise of a run. Errors of different origin add in squares.
    pub fn predict(&self, params: f64, tokens: f64) -> Prediction {
        Predictor {
            law: self.surface(),
            draws: &self.draws,
            factors: self.factors,
            noise: self.noise,
            widening: self.widening.as_ref(),
            range: self.seen,
        }
        .predict(params, tokens)
    }

    /// How much of what is predicted hangs on E, whose draws the other constants follow; none without draws, or where
    /// E never moves.
    pub fn sensitivity_to_e(&self, params: f64, tokens: f64) -> Option<Sensitivity> {
        self.surface().floor()?;
        let count = self.draws.len() as f64;
        let pairs = || {
            let draws = self.draws.iter();
            draws.filter_map(|law| Some((law.floor()?, law.loss(params, tokens))))
        };
        let (sum_e, sum_loss) = pairs().fold((0.0, 0.0), |sum, (e, loss)| (sum.0 + e, sum.1 + loss));
        let (mean_e, mean_loss) = (sum_e / count, sum_loss / count);
        let (mut ee, mut el, mut ll) = (0.0, 0.0, 0.0);
        for (e, loss) in pairs() {
            ee += (e - mean_e).powi(2);
            el += (e - mean_e) * (loss - mean_loss);
            ll += (loss - mean_loss).powi(2);
        }
        (ee > 0.0 && ll > 0.0).then(|| Sensitivity {
            per_nat: el / ee,
            share: el * el / (ee * ll),
        })
    }

    /// How far beyond the runs a point lies.
    pub fn extrapolation(&self, params: f64, tokens: f64) -> Extrapolation {
        self.seen.extrapolation(params, tokens)
    }
}

/// Everything that a prediction needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Predictor<'a, F> {
    pub(crate) law: F,
    pub(crate) draws: &'a [F],
    /// How intervals follow from them.
    pub(crate) factors: Factors,
    /// The noise of a run, in log loss.
    pub(crate) noise: f64,
    /// What held-out runs taught, where there were enough.
    pub(crate) widening: Option<&'a Widening>,
    /// The range of the runs.
    pub(crate) range: Range,
}

impl<F: Surface> Predictor<'_, F> {
    /// The loss at a point.
    pub(crate) fn predict(&self, params: f64, tokens: f64) -> Prediction {
        let mean = self.law.loss(params, tokens);
        Scatter {
            factors: self.factors,
            noise: mean * self.noise,
            widening: self.widening,
        }
        .about(
            mean,
            &Drawn::new(self.draws, |law| law.loss(params, tokens)),
            self.range.extrapolation(params, tokens),
        )
    }
}

/// What makes an interval of a loss from its draws.
pub(crate) struct Scatter<'a> {
    pub(crate) factors: Factors,
    /// The standard deviation of a run, in the unit of the loss.
    pub(crate) noise: f64,
    pub(crate) widening: Option<&'a Widening>,
}

impl Scatter<'_> {
    /// A loss with its intervals, at a distance from the data.
    pub(crate) fn about(&self, mean: f64, drawn: &Drawn, reach: Extrapolation) -> Prediction {
        let of_mean = |level: Level| {
            let distance = self.widening.map_or(0.0, |widening| widening.half_width(reach, level));
            let drawn = drawn.interval(mean, self.factors, level)?;
            Some(widened(mean, drawn, mean * distance))
        };
        let of_run = |level: Level| Some(widened(mean, of_mean(level)?, self.noise * self.factors.of_run(level)));
        Prediction {
            mean,
            ci50: of_run(CI50),
            ci80: of_run(CI80),
            ci95_mean: of_mean(CI95),
            ci95_new_run: of_run(CI95),
        }
    }
}

/// An interval about a loss with an error of other origin: such errors add in squares. No loss is below zero.
fn widened(mean: f64, [low, high]: [f64; 2], by: f64) -> [f64; 2] {
    let low = mean - (mean - low).hypot(by);
    [if low < 0.0 { 0.0 } else { low }, mean + (high - mean).hypot(by)]
}

impl Widening {
    /// The relative half-width that is added at a distance.
    pub(crate) fn half_width(&self, reach: Extrapolation, level: Level) -> f64 {
        let of_level = if level == CI95 {
            1.0
        } else {
            let fits = f64::from(self.rolled_fits.max(1));
            statistics::t_half_width(level.tail, fits) / statistics::t_half_width(CI95.tail, fits)
        };
        self.per_e_fold * of_level * reach.e_folds()
    }
}
