//! The check that matters: fit the smaller runs, predict the larger ones, compare.
//!
//! Once for the report beside a fit, and rolled forward over the sizes to learn how much wider than a bootstrap
//! an interval has to be. Refuses to touch the constants that are printed.

use crate::fit::design::{Design, SAME_SIZE, distinct};
use crate::fit::loss::bootstrap_intervals::DrawOptions;
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::loss_fit::{HeldOutPoint, HoldOutReport, Widening};
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::statistics;
use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;

/// What is held out and predicted by a second fit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum HoldOut {
    /// The largest size (sizes within 2 % are one).
    #[default]
    Largest,
    /// Nothing: there is no second fit.
    None,
    /// Runs of more parameters.
    ParamsAbove(f64),
    /// Runs of more training compute, in FLOP.
    FlopsAbove(f64),
}

/// Along which variable runs are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Params,
    Flops,
}

impl Axis {
    /// The variable of a run.
    pub(crate) fn of(self, row: &Observation) -> f64 {
        match self {
            Self::Params => row.params,
            Self::Flops => row.compute(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Flops => "flops",
        }
    }
}

/// Along which variable a hold-out cuts.
pub(crate) fn axis(hold_out: HoldOut) -> Axis {
    match hold_out {
        HoldOut::Largest | HoldOut::None | HoldOut::ParamsAbove(_) => Axis::Params,
        HoldOut::FlopsAbove(_) => Axis::Flops,
    }
}

/// The value of the axis above which runs are held out; none without a hold-out.
pub(crate) fn limit(hold_out: HoldOut, design: &Design) -> Option<f64> {
    match hold_out {
        HoldOut::None => None,
        HoldOut::ParamsAbove(limit) | HoldOut::FlopsAbove(limit) => Some(limit),
        HoldOut::Largest => {
            let largest = design.rows.iter().map(|row| row.params).fold(0.0, f64::max);
            Some(largest / (1.0 + SAME_SIZE))
        }
    }
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
    let Some(limit) = limit(hold_out, design) else {
        return Ok(None);
    };
    let axis = axis(hold_out);
    let held: Vec<&Observation> = design.rows.iter().filter(|row| axis.of(row) > limit).collect();
    if held.is_empty() {
        return Ok(None);
    }
    let core = FittedConstants::new(design.subset(|row| axis.of(row) <= limit), objective)?;
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
            let loss = predictor.predict(row.params, row.tokens);
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
fn report(axis: Axis, above: f64, points: Vec<HeldOutPoint>) -> Option<HoldOutReport> {
    let errors: Vec<f64> = points.iter().map(|p| (p.predicted - p.loss).abs() / p.loss).collect();
    let inside = |p: &HeldOutPoint| {
        p.ci95_new_run
            .map(|[low, high]| f64::from(u8::from(low <= p.loss && p.loss <= high)))
    };
    let width = |p: &HeldOutPoint| p.ci95_new_run.map(|[low, high]| (high - low) / p.loss);
    let mean_of = |f: &dyn Fn(&HeldOutPoint) -> Option<f64>| {
        let known: Option<Vec<f64>> = points.iter().map(f).collect();
        known.and_then(|values| statistics::mean(&values))
    };
    Some(HoldOutReport {
        by: axis.name().to_owned(),
        above,
        n: points.len(),
        mean_abs_rel_error: statistics::mean(&errors)?,
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
pub(crate) fn roll_forward(design: &Design, objective: Objective, axis: Axis, draws: DrawOptions) -> Option<Widening> {
    let mut wanted: Vec<(f64, f64)> = Vec::new();
    let mut rolled_fits: u32 = 0;
    for limit in cuts(design, axis) {
        let below = design.subset(|row| axis.of(row) < limit);
        let Ok(core) = FittedConstants::new(below, objective) else {
            continue;
        };
        let spread = core.spread(DrawOptions {
            count: DRAWS_ROLLED,
            ..draws
        });
        let held: Vec<&Observation> = design.rows.iter().filter(|row| axis.of(row) >= limit).collect();
        let predictor = core.predictor(&spread, None);
        for row in &held {
            let mean = predictor.law.loss(row.params, row.tokens);
            let miss = (mean - row.loss) / mean;
            let (_, se) = spread.interval(mean, |c| c.loss(row.params, row.tokens))?;
            let drawn = spread.factors.half_width(se) / mean;
            let noise = spread.noise * spread.factors.run;
            let excess = miss * miss - drawn * drawn - noise * noise;
            let kappa = excess.max(0.0).sqrt() / predictor.range.extrapolation(row.params, row.tokens).e_folds();
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
    let few = statistics::t_975(f64::from(rolled_fits - 1)) / statistics::Z_975;
    Some(Widening {
        per_e_fold: statistics::weighted_quantile(wanted, 0.95)? * few,
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
