//! The law of loss, from runs to a result that can be printed, stored and predicted from.
//!
//! In three steps, so that a caller can time them: [`PointFit::new`] finds the constants, [`PointFit::draw`] how sure
//! they are, [`PointFit::finish`] checks them against runs held out. [`loss_law`] is all three. The result is the same
//! for any order of the rows and any number of threads. Refuses to know where runs come from and who reads the result.

use serde::{Deserialize, Serialize};

use crate::fit::chinchilla::Constants;
use crate::fit::core::Core;
use crate::fit::design::Design;
use crate::fit::estimate::Estimate;
use crate::fit::hold_out::{self, HoldOut, HoldOutReport};
use crate::fit::judge;
use crate::fit::observation::Observations;
use crate::fit::outliers;
use crate::fit::predict::{Prediction, Predictor, Range, Widening};
use crate::fit::refusal::{Refusal, Warning};
use crate::fit::select::{LeftOut, Selection, select};
use crate::fit::spread::{DrawOptions, Spread};
use crate::fit::table::{EXPONENT_RANGE, HUBER_DELTA, Objective};

/// How to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct LossLawOptions {
    /// What is minimised.
    pub objective: Objective,
    /// How many draws; zero for no intervals.
    pub bootstrap: usize,
    /// The seed of the draws.
    pub seed: u64,
    /// On how many threads to draw; the result does not depend on it.
    pub threads: usize,
    /// Which runs the check leaves out.
    pub hold_out: HoldOut,
    /// Which of the runs are fitted.
    pub selection: Selection,
    /// The schedule whose runs are fitted; `None` for the one that covers most points.
    pub schedule: Option<String>,
    /// What the callers' parameters count (`non-embedding`, `total`, `as-given`); kept with the fit.
    pub convention: String,
}

impl Default for LossLawOptions {
    fn default() -> Self {
        Self {
            objective: Objective::default(),
            bootstrap: 1000,
            seed: 0,
            threads: 1,
            hold_out: HoldOut::default(),
            selection: Selection::default(),
            schedule: None,
            convention: "as-given".to_owned(),
        }
    }
}

/// The laws of loss that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// `L = E + A/N^α + B/D^β`.
    Chinchilla,
}

/// What the solver found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A minimum inside the range of every constant.
    Converged,
    /// A minimum with the irreducible loss at zero.
    AtBound,
    /// A valley: a 95 % interval of an exponent spans a factor of ten.
    Flat,
}

/// The five constants, for N in parameters and D in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// The irreducible loss.
    #[serde(rename = "E")]
    pub e: Estimate,
    /// The scale of the size term.
    #[serde(rename = "A")]
    pub a: Estimate,
    /// The exponent of the size term.
    pub alpha: Estimate,
    /// The scale of the data term.
    #[serde(rename = "B")]
    pub b: Estimate,
    /// The exponent of the data term.
    pub beta: Estimate,
}

/// How compute is best split: `N_opt ∝ C^a`, `D_opt ∝ C^b`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// The exponent of size.
    pub a: Estimate,
    /// The exponent of data.
    pub b: Estimate,
    /// `MiniCPM`'s `K²`, in its units (1e9 parameters, 1e9 tokens, 1e18 FLOP): `N_opt/D_opt = K²·(C/6)^η`.
    pub k_squared: Estimate,
    /// `MiniCPM`'s `η`.
    pub eta: Estimate,
}

/// What was minimised, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveValue {
    /// Which objective.
    pub kind: Objective,
    /// Where Huber's loss turns, in log loss; `None` for least squares.
    pub delta: Option<f64>,
    /// The sum over the rows at the fit.
    pub value: f64,
}

/// A law of loss that the data carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossFit {
    /// Which law.
    pub law: Law,
    /// What the solver found.
    pub status: Status,
    /// The number of runs fitted.
    pub n: usize,
    /// The number of configurations among them: runs that differ in the seed alone are one.
    pub configurations: usize,
    /// What counts as a parameter.
    pub convention: String,
    /// The schedule of the runs, if they share one.
    pub schedule: Option<String>,
    /// Finished runs that were not fitted.
    pub left_out: Vec<LeftOut>,
    /// What was minimised.
    pub objective: ObjectiveValue,
    /// The constants.
    pub parameters: Parameters,
    /// The split of compute that follows.
    pub allocation: Allocation,
    /// The labels of runs that lie far off the law and move it; they are in the fit all the same.
    pub outliers: Vec<String>,
    /// How a fit without the largest runs predicted them.
    pub hold_out: Option<HoldOutReport>,
    /// How much intervals grow with the distance; `None` when too few sizes could teach it.
    pub widening: Option<Widening>,
    /// The range of the runs.
    pub range: Range,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
    /// The draws, with what intervals need.
    pub spread: Spread,
}

impl LossFit {
    /// The constants, as plain numbers.
    pub fn constants(&self) -> Constants {
        let p = &self.parameters;
        Constants {
            e: p.e.value,
            a: p.a.value,
            alpha: p.alpha.value,
            b: p.b.value,
            beta: p.beta.value,
        }
    }

    /// The loss at a size and a number of tokens, with compute 6 · params · tokens.
    pub fn predict(&self, params: f64, tokens: f64) -> Prediction {
        Predictor {
            constants: self.constants(),
            spread: &self.spread,
            widening: self.widening,
            range: self.range,
        }
        .predict(params, tokens, 6.0 * params * tokens)
    }
}

/// The constants at the minimum, before anything is known about how sure they are.
#[derive(Debug, Clone)]
pub struct PointFit {
    core: Core,
    options: LossLawOptions,
    schedule: Option<String>,
    left_out: Vec<LeftOut>,
}

impl PointFit {
    /// Chooses the runs and finds the constants.
    ///
    /// # Errors
    /// Refuses data that cannot carry the law, each kind by its own code.
    pub fn new(observations: &Observations, options: &LossLawOptions) -> Result<Self, Refusal> {
        let selected = select(
            observations.rows(),
            options.selection,
            options.schedule.as_deref(),
        );
        Ok(Self {
            core: Core::new(Design::new(selected.rows), options.objective)?,
            options: options.clone(),
            schedule: selected.schedule,
            left_out: selected.left_out,
        })
    }

    /// The constants.
    pub fn constants(&self) -> Constants {
        self.core.constants
    }

    /// Draws the constants anew, as often as the options ask.
    pub fn draw(&self) -> Spread {
        self.core.spread(self.draw_options())
    }

    /// Holds runs out, rolls the hold-out forward and puts the result together.
    pub fn finish(self, spread: Spread) -> LossFit {
        let design = &self.core.design;
        let (objective, cut) = (self.options.objective, self.options.hold_out);
        let draws = self.draw_options();
        let checked = hold_out::check(design, objective, cut, draws);
        let widening = match cut {
            HoldOut::None => None,
            HoldOut::Largest | HoldOut::ParamsAbove(_) | HoldOut::FlopsAbove(_) => {
                hold_out::roll_forward(design, objective, cut.axis(), draws)
            }
        };
        let outliers = outliers::find(&self.core, draws);
        let parameters = parameters(&self.core.constants, &spread);
        let warnings = judge::warnings(&judge::Judged {
            core: &self.core,
            spread: &spread,
            parameters: &parameters,
            cut,
            checked: &checked,
            widening,
            outliers: outliers.as_ref(),
        });
        LossFit {
            law: Law::Chinchilla,
            status: judge::status(&self.core, &parameters),
            n: design.rows.len(),
            configurations: design.configurations,
            objective: ObjectiveValue {
                kind: objective,
                delta: match objective {
                    Objective::Huber => Some(HUBER_DELTA),
                    Objective::LeastSquares => None,
                },
                value: self.core.minimum.value,
            },
            allocation: allocation(&self.core.constants, &spread),
            parameters,
            outliers: outliers.map_or_else(Vec::new, |found| found.labels),
            hold_out: checked.ok().flatten(),
            widening,
            range: Range::of(design),
            warnings,
            spread,
            convention: self.options.convention,
            schedule: self.schedule,
            left_out: self.left_out,
        }
    }

    fn draw_options(&self) -> DrawOptions {
        DrawOptions {
            count: self.options.bootstrap,
            seed: self.options.seed,
            threads: self.options.threads,
        }
    }
}

/// Fits the law of loss over size and tokens.
///
/// # Errors
/// Refuses data that cannot carry the law, each kind by its own code.
///
/// # Examples
/// ```
/// use sandbox::fit::loss_law::{LossLawOptions, loss_law};
/// use sandbox::fit::observation::{Observation, Observations};
///
/// let mut runs = Vec::new();
/// for params in [1e6_f64, 2e6, 4e6, 8e6] {
///     for tokens in [2e7_f64, 4e7, 8e7] {
///         let loss = 1.8 + 400.0 * params.powf(-0.35) + 2000.0 * tokens.powf(-0.37);
///         runs.push(Observation {
///             label: format!("{params} {tokens}"), params, tokens, loss, lr: None, batch_tokens: None, seed: None,
///             schedule: None, flops: None, width: None,
///         });
///     }
/// }
/// let fit = loss_law(&Observations::new(runs)?, &LossLawOptions::default())?;
/// assert!((fit.parameters.alpha.value - 0.35).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn loss_law(observations: &Observations, options: &LossLawOptions) -> Result<LossFit, Refusal> {
    let point = PointFit::new(observations, options)?;
    let spread = point.draw();
    Ok(point.finish(spread))
}

/// A quantity that follows from the constants, with its interval kept within what it can be.
fn estimate(
    constants: &Constants,
    spread: &Spread,
    (low, high): (f64, f64),
    quantity: impl Fn(&Constants) -> f64,
) -> Estimate {
    let value = quantity(constants);
    let drawn = spread.interval(value, quantity);
    Estimate {
        value,
        se: drawn.map(|(_, se)| se),
        ci95: drawn.map(|(interval, _)| interval.map(|bound| bound.clamp(low, high))),
    }
}

/// A positive quantity that spans powers of ten: its interval is taken in logarithms.
fn scale_estimate(
    constants: &Constants,
    spread: &Spread,
    quantity: impl Fn(&Constants) -> f64,
) -> Estimate {
    let value = quantity(constants);
    let in_logarithms = spread.interval(value.ln(), |c| quantity(c).ln());
    Estimate {
        value,
        se: spread.interval(value, quantity).map(|(_, se)| se),
        ci95: in_logarithms.map(|(interval, _)| interval.map(f64::exp)),
    }
}

/// The constants with their intervals.
fn parameters(constants: &Constants, spread: &Spread) -> Parameters {
    let positive = (0.0, f64::INFINITY);
    Parameters {
        e: estimate(constants, spread, positive, |c| c.e),
        a: scale_estimate(constants, spread, |c| c.a),
        alpha: estimate(constants, spread, EXPONENT_RANGE, |c| c.alpha),
        b: scale_estimate(constants, spread, |c| c.b),
        beta: estimate(constants, spread, EXPONENT_RANGE, |c| c.beta),
    }
}

/// The split of compute with its intervals.
fn allocation(constants: &Constants, spread: &Spread) -> Allocation {
    let share = (0.0, 1.0);
    Allocation {
        a: estimate(constants, spread, share, Constants::size_exponent),
        b: estimate(constants, spread, share, Constants::data_exponent),
        k_squared: scale_estimate(constants, spread, Constants::minicpm_k_squared),
        eta: estimate(constants, spread, (-1.0, 1.0), Constants::minicpm_eta),
    }
}
