//! The check that matters: fit the smaller runs, predict the larger ones, compare.
//!
//! Once for the report beside a fit, and rolled forward over the sizes to learn how much wider than a bootstrap
//! an interval has to be. Refuses to touch the constants that are printed.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fit::core::Core;
use crate::fit::design::{Design, SAME_SIZE, distinct};
use crate::fit::observation::Observation;
use crate::fit::predict::Widening;
use crate::fit::refusal::Refusal;
use crate::fit::spread::DrawOptions;
use crate::fit::stats;
use crate::fit::table::Objective;
use crate::units::parse_count;

/// Which runs a second fit does not see.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum HoldOut {
    /// The largest size (sizes within 2 % are one).
    #[default]
    Largest,
    /// No run: there is no second fit.
    None,
    /// Runs with more than so many parameters.
    ParamsAbove(f64),
    /// Runs with more than so much training compute.
    FlopsAbove(f64),
}

/// A hold-out that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no hold-out; write `largest`, `none`, `params>100M` or `flops>1e21`")]
pub struct HoldOutError(String);

impl FromStr for HoldOut {
    type Err = HoldOutError;

    fn from_str(text: &str) -> Result<Self, HoldOutError> {
        let error = || HoldOutError(text.to_owned());
        match text.trim() {
            "largest" => return Ok(Self::Largest),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let (variable, limit) = text.split_once('>').ok_or_else(error)?;
        match variable.trim() {
            "params" => parse_count(limit)
                .map(|count| Self::ParamsAbove(count as f64))
                .map_err(|_| error()),
            "flops" => match limit.trim().parse::<f64>() {
                Ok(flops) if flops.is_finite() && flops > 0.0 => Ok(Self::FlopsAbove(flops)),
                Ok(_) | Err(_) => Err(error()),
            },
            _ => Err(error()),
        }
    }
}

/// Along which variable runs are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Model size.
    Params,
    /// Training compute.
    Flops,
}

impl Axis {
    /// The variable of a run.
    fn of(self, row: &Observation) -> f64 {
        match self {
            Self::Params => row.params,
            Self::Flops => row.compute(),
        }
    }
}

impl HoldOut {
    /// Along which variable this hold-out cuts.
    pub(crate) fn axis(self) -> Axis {
        match self {
            Self::Largest | Self::None | Self::ParamsAbove(_) => Axis::Params,
            Self::FlopsAbove(_) => Axis::Flops,
        }
    }

    /// The value of the axis above which runs are held out; `None` without a hold-out.
    fn limit(self, design: &Design) -> Option<f64> {
        match self {
            Self::None => None,
            Self::ParamsAbove(limit) | Self::FlopsAbove(limit) => Some(limit),
            Self::Largest => {
                let largest = design.rows.iter().map(|row| row.params).fold(0.0, f64::max);
                Some(largest / (1.0 + SAME_SIZE))
            }
        }
    }
}

/// How the second fit did on the runs that it had not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HoldOutReport {
    /// Along which variable the runs were held out.
    pub by: Axis,
    /// Above which value.
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
    /// Each held-out run.
    pub points: Vec<HeldOutPoint>,
}

/// A run that the second fit had not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutPoint {
    /// Which run.
    pub label: String,
    /// Parameters.
    pub params: f64,
    /// Tokens.
    pub tokens: f64,
    /// The loss that it had.
    pub loss: f64,
    /// The loss that was predicted.
    pub predicted: f64,
    /// The 95 % interval of a new run.
    pub ci95_new_run: Option<[f64; 2]>,
}

/// Draws of a fit that serves the check alone.
const DRAWS_CHECK: usize = 400;
/// Draws of each rolled fit: only a standard error is taken from them.
const DRAWS_ROLLED: usize = 64;
/// Rolled fits at most; more of them see the same runs again.
const ROLLED_FITS_MAX: usize = 8;
/// Rolled fits at least: with fewer the widening is an accident.
const ROLLED_FITS_MIN: u32 = 3;

/// Fits without the held-out runs and predicts them. `None` when nothing is to be held out.
///
/// # Errors
/// The refusal of the second fit.
pub(crate) fn check(
    design: &Design,
    objective: Objective,
    hold_out: HoldOut,
    draws: DrawOptions,
) -> Result<Option<HoldOutReport>, Refusal> {
    let Some(limit) = hold_out.limit(design) else {
        return Ok(None);
    };
    let axis = hold_out.axis();
    let held: Vec<&Observation> = design
        .rows
        .iter()
        .filter(|row| axis.of(row) > limit)
        .collect();
    if held.is_empty() {
        return Ok(None);
    }
    let core = Core::new(design.subset(|row| axis.of(row) <= limit), objective)?;
    let draws = DrawOptions {
        count: draws.count.min(DRAWS_CHECK),
        ..draws
    };
    let spread = core.spread(draws);
    let widening = roll_forward(&core.design, objective, axis, draws);
    let predictor = core.predictor(&spread, widening);
    let points: Vec<HeldOutPoint> = held
        .iter()
        .map(|row| {
            let loss = predictor
                .predict(row.params, row.tokens, row.compute())
                .loss;
            HeldOutPoint {
                label: row.label.clone(),
                params: row.params,
                tokens: row.tokens,
                loss: row.loss,
                predicted: loss.mean,
                ci95_new_run: loss.ci95_new_run,
            }
        })
        .collect();
    Ok(report(axis, limit, points))
}

/// Sums the held-out runs up; `None` of none.
fn report(by: Axis, above: f64, points: Vec<HeldOutPoint>) -> Option<HoldOutReport> {
    let errors: Vec<f64> = points
        .iter()
        .map(|p| (p.predicted - p.loss).abs() / p.loss)
        .collect();
    let inside = |p: &HeldOutPoint| {
        p.ci95_new_run
            .map(|[low, high]| f64::from(u8::from(low <= p.loss && p.loss <= high)))
    };
    let width = |p: &HeldOutPoint| p.ci95_new_run.map(|[low, high]| (high - low) / p.loss);
    let mean_of = |f: &dyn Fn(&HeldOutPoint) -> Option<f64>| {
        let known: Option<Vec<f64>> = points.iter().map(f).collect();
        known.and_then(|values| stats::mean(&values))
    };
    Some(HoldOutReport {
        by,
        above,
        n: points.len(),
        mean_abs_rel_error: stats::mean(&errors)?,
        max_abs_rel_error: errors.iter().copied().fold(0.0, f64::max),
        covered: mean_of(&inside),
        mean_rel_width: mean_of(&width),
        points,
    })
}

/// Rolls the hold-out forward: fits up to a size, predicts everything larger, and finds the widening with which
/// 95 % of those predictions would have been covered. `None` when there are too few sizes to learn from.
///
/// The half-width² of a prediction is draws² + noise² + (κ · distance)², distance in e-folds of extrapolation; each
/// miss asks for a κ of its own (zero if it is inside already), and κ is their 95 % quantile, each rolled fit
/// counting the same. Predictions of one fit err together, so the sample is of fits: κ is multiplied by Student's
/// factor for their number.
pub(crate) fn roll_forward(
    design: &Design,
    objective: Objective,
    axis: Axis,
    draws: DrawOptions,
) -> Option<Widening> {
    let mut wanted: Vec<(f64, f64)> = Vec::new();
    let mut rolled_fits: u32 = 0;
    for limit in cuts(design, axis) {
        let below = design.subset(|row| axis.of(row) < limit);
        let Ok(core) = Core::new(below, objective) else {
            continue;
        };
        let spread = core.spread(DrawOptions {
            count: DRAWS_ROLLED,
            ..draws
        });
        let held: Vec<&Observation> = design
            .rows
            .iter()
            .filter(|row| axis.of(row) >= limit)
            .collect();
        let predictor = core.predictor(&spread, None);
        for row in &held {
            let predicted = predictor.predict(row.params, row.tokens, row.compute());
            let mean = predicted.loss.mean;
            let miss = (mean - row.loss) / mean;
            let (_, se) = spread.interval(mean, |c| c.loss(row.params, row.tokens))?;
            let drawn = spread.half_width(se) / mean;
            let noise = spread.run_sd * spread.run_factor;
            let excess = miss * miss - drawn * drawn - noise * noise;
            let kappa = excess.max(0.0).sqrt() / predicted.extrapolation.e_folds();
            if kappa.is_finite() {
                wanted.push((kappa, 1.0 / held.len() as f64));
            }
        }
        rolled_fits += 1;
    }
    if rolled_fits < ROLLED_FITS_MIN {
        return None;
    }
    let total: f64 = wanted.iter().map(|&(_, weight)| weight).sum();
    let inside: f64 = wanted
        .iter()
        .filter(|&&(kappa, _)| kappa == 0.0)
        .map(|&(_, weight)| weight)
        .sum();
    let predictions = wanted.len();
    let few = stats::t_975(f64::from(rolled_fits - 1)) / stats::Z_975;
    Some(Widening {
        per_e_fold: stats::weighted_quantile(wanted, 0.95)? * few,
        rolled_fits,
        predictions,
        covered_without: inside / total,
    })
}

/// Where the rolled fits end: evenly over the values of the axis below which a design still carries the law, and at
/// least a quarter of the configurations lies.
fn cuts(design: &Design, axis: Axis) -> Vec<f64> {
    let values = distinct(design.rows.iter().map(|row| axis.of(row)));
    let possible: Vec<f64> = values
        .into_iter()
        .filter(|&limit| {
            let below = design.subset(|row| axis.of(row) < limit);
            below.check().is_ok() && 4 * below.configurations >= design.configurations
        })
        .collect();
    if possible.len() <= ROLLED_FITS_MAX {
        return possible;
    }
    let last = possible.len() - 1;
    (0..ROLLED_FITS_MAX)
        .map(|k| possible[k * last / (ROLLED_FITS_MAX - 1)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_outs_are_read_as_the_command_line_writes_them() {
        assert_eq!("largest".parse(), Ok(HoldOut::Largest));
        assert_eq!("none".parse(), Ok(HoldOut::None));
        assert_eq!("params>100M".parse(), Ok(HoldOut::ParamsAbove(1e8)));
        assert_eq!("flops > 1e21".parse(), Ok(HoldOut::FlopsAbove(1e21)));
        for wrong in ["", "flops>", "flops>-1", "tokens>1", "params>x"] {
            assert!(wrong.parse::<HoldOut>().is_err(), "{wrong}");
        }
    }
}
