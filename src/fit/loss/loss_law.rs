//! The law of the final loss, from runs to a result that can be printed, stored and predicted from.
//!
//! In three steps, so that a caller can time them: [`PointFit::new`] finds the constants, [`PointFit::draw`] how sure
//! they are, [`PointFit::finish`] checks them against runs held out. [`loss_law`] is all three. Refuses to know where
//! runs come from and who reads the result.

use std::collections::BTreeMap;

use crate::fit::Estimate;
use crate::fit::design::Design;
use crate::fit::loss::bootstrap_intervals::{DrawOptions, ParameterDraws};
use crate::fit::loss::checks::diagnostics;
use crate::fit::loss::checks::hold_out;
pub use crate::fit::loss::checks::hold_out::HoldOut;
use crate::fit::loss::checks::outliers::{self, Outliers};
use crate::fit::loss::chinchilla::{EXPONENT_RANGE, HUBER_DELTA, Law, Objective};
use crate::fit::loss::forms::{Role, Surface};
use crate::fit::loss::loss_fit::{LossFit, ObjectiveValue, Range, Residual};
use crate::fit::loss::objective::Form;
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
    surface_law::<Law, 5>(runs, options)
}

/// [`loss_law`] for any law over size and tokens.
///
/// # Errors
/// Refuses data that cannot carry the law, each kind by its own code.
pub(in crate::fit) fn surface_law<F: Form<K>, const K: usize>(
    runs: &[Observation],
    options: &Options,
) -> Result<LossFit<F>, Refusal> {
    let point = PointFit::<F, K>::new(runs, options)?;
    let spread = point.draw();
    Ok(point.finish(spread))
}

/// The constants at the minimum, before anything is known about how sure they are.
#[derive(Debug, Clone)]
pub(in crate::fit) struct PointFit<F, const K: usize> {
    core: FittedConstants<F, K>,
    options: Options,
}

/// How sure the constants are, and which runs say nothing of that.
#[derive(Debug)]
pub(in crate::fit) struct Spread<F> {
    draws: ParameterDraws<F>,
    outliers: Option<Outliers<F>>,
}

impl<F: Form<K>, const K: usize> PointFit<F, K> {
    /// Finds the constants.
    ///
    /// # Errors
    /// Refuses data that cannot carry the law, each kind by its own code.
    pub(in crate::fit) fn new(runs: &[Observation], options: &Options) -> Result<Self, Refusal> {
        runs.iter().try_for_each(Observation::check)?;
        Ok(Self {
            core: FittedConstants::new(Design::new(runs.to_vec()), options.objective)?,
            options: *options,
        })
    }

    /// Draws the constants anew, as often as the options ask.
    pub(in crate::fit) fn draw(&self) -> Spread<F> {
        let outliers = outliers::find(&self.core, self.draw_options());
        let set_aside = outliers.as_ref().map_or(&[][..], |found| &found.rows);
        Spread {
            draws: self.core.spread(set_aside, self.draw_options()),
            outliers,
        }
    }

    /// Holds runs out, rolls the hold-out forward and puts the result together.
    pub(in crate::fit) fn finish(self, Spread { draws, outliers }: Spread<F>) -> LossFit<F> {
        let core = &self.core;
        let (objective, cut) = (self.options.objective, self.options.hold_out);
        // A wrong row teaches nothing of how far the others may be trusted.
        let clean = outliers::without(&core.design, outliers.as_ref().map_or(&[], |found| &found.rows));
        let checked = hold_out::check::<F, K>(&clean, objective, cut, self.draw_options());
        // Without draws there is no interval to widen.
        let widening = (self.options.bootstrap > 0)
            .then(|| hold_out::roll_forward::<F, K>(&clean, objective, self.draw_options()))
            .flatten();
        let parameters = parameters(&core.law, &draws);
        let warnings = diagnostics::warnings(&diagnostics::Diagnosed {
            core,
            spread: &draws,
            parameters: &parameters,
            cut,
            checked: &checked,
            widening: widening.as_ref(),
            outliers: outliers.as_ref(),
        });
        LossFit {
            law: F::NAME.to_owned(),
            status: diagnostics::status(core, &draws, &parameters),
            n: core.design.rows.len(),
            configurations: core.design.configurations,
            convention: "as-given".to_owned(),
            objective: ObjectiveValue {
                kind: objective,
                delta: match objective {
                    Objective::Huber => Some(HUBER_DELTA),
                    Objective::LeastSquares => None,
                },
                value: core.minimum.value,
            },
            allocation: allocation(&core.law, &draws),
            minicpm: minicpm(&core.law, &draws),
            surface: (F::NAME != Law::NAME).then_some(core.law),
            parameters,
            hold_out: checked.ok().flatten(),
            warnings,
            outliers: outliers.map_or_else(Vec::new, |found| found.labels),
            seen: Range::of(&core.design),
            noise: draws.noise,
            factors: draws.factors,
            widening,
            residuals: residuals(core),
            draws: draws.draws,
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
fn residuals<F: Form<K>, const K: usize>(core: &FittedConstants<F, K>) -> Vec<Residual> {
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
fn estimate<F: Surface>(
    law: &F,
    spread: &ParameterDraws<F>,
    (low, high): (f64, f64),
    quantity: impl Fn(&F) -> f64,
) -> Estimate {
    let value = quantity(law);
    let drawn = spread.interval(value, quantity);
    Estimate {
        value,
        se: drawn.map(|(_, se)| se),
        ci95: drawn.map(|(interval, _)| interval.map(|bound| bound.clamp(low, high))),
    }
}

/// A positive quantity that spans powers of ten: its interval is taken in logarithms.
fn scale_estimate<F: Surface>(law: &F, spread: &ParameterDraws<F>, quantity: impl Fn(&F) -> f64) -> Estimate {
    let value = quantity(law);
    let in_logarithms = spread.interval(value.ln(), |law| quantity(law).ln());
    Estimate {
        value: value.min(f64::MAX),
        se: spread
            .interval(value, quantity)
            .map(|(_, se)| se)
            .filter(|se| se.is_finite()),
        ci95: in_logarithms
            .map(|(interval, _)| interval)
            .filter(|ends| ends.iter().all(|end| end.is_finite()))
            .map(|ends| ends.map(|end| end.exp().min(f64::MAX))),
    }
}

/// The constants with their intervals.
fn parameters<F: Surface>(law: &F, spread: &ParameterDraws<F>) -> BTreeMap<String, Estimate> {
    let constants = F::CONSTANTS.iter().enumerate();
    let each = constants.map(|(place, (name, role))| {
        let quantity = |law: &F| law.constants()[place];
        let range = match role {
            // Exponents of the additive law have a range; a quotient of two may lie beyond.
            Role::Exponent if F::NAME == Law::NAME => EXPONENT_RANGE,
            Role::Free => (f64::NEG_INFINITY, f64::INFINITY),
            Role::Floor | Role::Scale | Role::Exponent => (0.0, f64::INFINITY),
        };
        let found = if *role == Role::Scale {
            scale_estimate(law, spread, quantity)
        } else {
            estimate(law, spread, range, quantity)
        };
        ((*name).to_owned(), found)
    });
    each.collect()
}

/// The split of compute with its intervals.
fn allocation<F: Surface>(law: &F, spread: &ParameterDraws<F>) -> BTreeMap<String, Estimate> {
    if law.size_exponent().is_none() {
        return BTreeMap::new();
    }
    let of = |law: &F| law.size_exponent().unwrap_or(f64::NAN);
    named([
        ("a", estimate(law, spread, (0.0, 1.0), of)),
        ("b", estimate(law, spread, (0.0, 1.0), |law| 1.0 - of(law))),
    ])
}

/// The split as `MiniCPM` writes it, of laws that have its form.
fn minicpm<F: Surface>(law: &F, spread: &ParameterDraws<F>) -> BTreeMap<String, Estimate> {
    if law.additive().is_none() {
        return BTreeMap::new();
    }
    let of = |quantity: fn(&Law) -> f64| move |law: &F| law.additive().map_or(f64::NAN, |law| quantity(&law));
    named([
        ("K_squared", scale_estimate(law, spread, of(Law::minicpm_k_squared))),
        ("eta", estimate(law, spread, (-1.0, 1.0), of(Law::minicpm_eta))),
    ])
}

fn named<const K: usize>(estimates: [(&str, Estimate); K]) -> BTreeMap<String, Estimate> {
    estimates
        .into_iter()
        .map(|(name, estimate)| (name.to_owned(), estimate))
        .collect()
}
