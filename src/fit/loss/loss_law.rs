//! The law of the final loss, from runs to a result that can be printed, stored and predicted from.
//!
//! In three steps, so that a caller can time them: [`PointFit::new`] finds the constants, [`PointFit::draw`] how sure
//! they are, [`PointFit::finish`] checks them against runs held out. [`loss_law`] is all three. Refuses to know where
//! runs come from and who reads the result.

use std::collections::BTreeMap;

use crate::fit::Estimate;
use crate::fit::design::Design;
use crate::fit::loss::bootstrap_intervals::{DrawOptions, ParameterDraws};
use crate::fit::loss::chinchilla::{EXPONENT_RANGE, HUBER_DELTA, Law, Objective};
use crate::fit::loss::diagnostics;
use crate::fit::loss::hold_out;
pub use crate::fit::loss::hold_out::HoldOut;
use crate::fit::loss::loss_fit::{LossFit, ObjectiveValue, Range, Residual};
use crate::fit::loss::outliers;
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    pub objective: Objective,
    /// What is held out.
    pub hold_out: HoldOut,
    /// How many draws; zero for no intervals.
    pub bootstrap: usize,
    /// The seed of the draws.
    pub seed: u64,
    /// Threads for the draws; the result does not depend on it.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            objective: Objective::default(),
            hold_out: HoldOut::default(),
            bootstrap: 1000,
            seed: 0,
            threads: 1,
        }
    }
}

/// Fits the law of loss over size and tokens to every run that is given: choose them with
/// [`best_per_cell`](crate::fit::observation::best_per_cell) where other things vary.
///
/// # Errors
/// Refuses data that cannot carry the law, each kind by its own code.
///
/// # Examples
/// ```
/// use sandbox::fit::loss::loss_law::{Options, loss_law};
/// use sandbox::fit::observation::Observation;
///
/// let mut runs = Vec::new();
/// for params in [1e6_f64, 2e6, 4e6, 8e6] {
///     for tokens in [2e7_f64, 4e7, 8e7] {
///         let loss = 1.8 + 400.0 * params.powf(-0.35) + 2000.0 * tokens.powf(-0.37);
///         let label = format!("{params} {tokens}");
///         runs.push(Observation { label, params, tokens, loss, lr: None, batch_tokens: None, schedule: None, seed: None, flops: None, setup: None });
///     }
/// }
/// let fit = loss_law(&runs, &Options::default())?;
/// assert!((fit.parameters["alpha"].value - 0.35).abs() < 1e-6);
/// # Ok::<(), sandbox::fit::refusal::Refusal>(())
/// ```
pub fn loss_law(runs: &[Observation], options: &Options) -> Result<LossFit, Refusal> {
    let point = PointFit::new(runs, options)?;
    let spread = point.draw();
    Ok(point.finish(spread))
}

/// The constants at the minimum, before anything is known about how sure they are.
#[derive(Debug, Clone)]
pub struct PointFit {
    core: FittedConstants,
    options: Options,
}

impl PointFit {
    /// Finds the constants.
    ///
    /// # Errors
    /// Refuses data that cannot carry the law, each kind by its own code.
    pub fn new(runs: &[Observation], options: &Options) -> Result<Self, Refusal> {
        runs.iter().try_for_each(Observation::check)?;
        Ok(Self {
            core: FittedConstants::new(Design::new(runs.to_vec()), options.objective)?,
            options: *options,
        })
    }

    pub fn law(&self) -> Law {
        self.core.law
    }

    /// Draws the constants anew, as often as the options ask.
    pub fn draw(&self) -> ParameterDraws {
        self.core.spread(self.draw_options())
    }

    /// Holds runs out, rolls the hold-out forward and puts the result together.
    pub fn finish(self, spread: ParameterDraws) -> LossFit {
        let (core, design) = (&self.core, &self.core.design);
        let (objective, cut) = (self.options.objective, self.options.hold_out);
        let draws = self.draw_options();
        let checked = hold_out::check(design, objective, cut, draws);
        let widening = match cut {
            HoldOut::None => None,
            HoldOut::Largest | HoldOut::ParamsAbove(_) | HoldOut::FlopsAbove(_) => {
                hold_out::roll_forward(design, objective, hold_out::axis(cut), draws)
            }
        };
        let outliers = outliers::find(core, draws);
        let parameters = parameters(&core.law, &spread);
        let warnings = diagnostics::warnings(&diagnostics::Diagnosed {
            core,
            spread: &spread,
            parameters: &parameters,
            cut,
            checked: &checked,
            widening,
            outliers: outliers.as_ref(),
        });
        LossFit {
            law: "chinchilla".to_owned(),
            status: diagnostics::status(core, &parameters),
            n: design.rows.len(),
            configurations: design.configurations,
            convention: "as-given".to_owned(),
            objective: ObjectiveValue {
                kind: objective,
                delta: match objective {
                    Objective::Huber => Some(HUBER_DELTA),
                    Objective::LeastSquares => None,
                },
                value: core.minimum.value,
            },
            allocation: allocation(&core.law, &spread),
            minicpm: minicpm(&core.law, &spread),
            parameters,
            hold_out: checked.ok().flatten(),
            warnings,
            outliers: outliers.map_or_else(Vec::new, |found| found.labels),
            seen: Range::of(design),
            noise: spread.noise,
            factors: spread.factors,
            widening,
            residuals: residuals(core),
            draws: spread.draws,
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

/// Each run against the law.
fn residuals(core: &FittedConstants) -> Vec<Residual> {
    core.design
        .rows
        .iter()
        .map(|run| Residual {
            label: run.label.clone(),
            params: run.params,
            tokens: run.tokens,
            measured: run.loss,
            predicted: core.law.loss(run.params, run.tokens),
        })
        .collect()
}

/// A quantity that follows from the constants, with its interval kept within what it can be.
fn estimate(law: &Law, spread: &ParameterDraws, (low, high): (f64, f64), quantity: impl Fn(&Law) -> f64) -> Estimate {
    let value = quantity(law);
    let drawn = spread.interval(value, quantity);
    Estimate {
        value,
        se: drawn.map(|(_, se)| se),
        ci95: drawn.map(|(interval, _)| interval.map(|bound| bound.clamp(low, high))),
    }
}

/// A positive quantity that spans powers of ten: its interval is taken in logarithms.
fn scale_estimate(law: &Law, spread: &ParameterDraws, quantity: impl Fn(&Law) -> f64) -> Estimate {
    let value = quantity(law);
    let in_logarithms = spread.interval(value.ln(), |law| quantity(law).ln());
    Estimate {
        value,
        se: spread.interval(value, quantity).map(|(_, se)| se),
        ci95: in_logarithms.map(|(interval, _)| interval.map(f64::exp)),
    }
}

/// The constants with their intervals.
fn parameters(law: &Law, spread: &ParameterDraws) -> BTreeMap<String, Estimate> {
    named([
        ("E", estimate(law, spread, (0.0, f64::INFINITY), |law| law.e)),
        ("A", scale_estimate(law, spread, |law| law.a)),
        ("alpha", estimate(law, spread, EXPONENT_RANGE, |law| law.alpha)),
        ("B", scale_estimate(law, spread, |law| law.b)),
        ("beta", estimate(law, spread, EXPONENT_RANGE, |law| law.beta)),
    ])
}

/// The split of compute with its intervals.
fn allocation(law: &Law, spread: &ParameterDraws) -> BTreeMap<String, Estimate> {
    named([
        ("a", estimate(law, spread, (0.0, 1.0), Law::size_exponent)),
        ("b", estimate(law, spread, (0.0, 1.0), Law::data_exponent)),
    ])
}

/// The same as `MiniCPM` writes it.
fn minicpm(law: &Law, spread: &ParameterDraws) -> BTreeMap<String, Estimate> {
    named([
        ("K_squared", scale_estimate(law, spread, Law::minicpm_k_squared)),
        ("eta", estimate(law, spread, (-1.0, 1.0), Law::minicpm_eta)),
    ])
}

fn named<const K: usize>(estimates: [(&str, Estimate); K]) -> BTreeMap<String, Estimate> {
    estimates
        .into_iter()
        .map(|(name, estimate)| (name.to_owned(), estimate))
        .collect()
}
