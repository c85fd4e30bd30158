//! The check that matters: fit the smaller runs, predict the larger ones, compare.
//!
//! Once for the report beside a fit, and rolled forward over the sizes to learn how much wider than a bootstrap
//! an interval has to be; rows that lie far off are not among them. Refuses to touch the constants that are printed.

use crate::fit::design::{Design, SAME_BUDGET, SAME_SIZE, distinct};
use crate::fit::loss::bootstrap_intervals::{DrawOptions, Drawn, ParameterDraws};
use crate::fit::loss::chinchilla::{Law, Objective};
use crate::fit::loss::loss_fit::{HeldOutPoint, HoldOutReport, Predictor, Range, Widening};
use crate::fit::loss::objective::Form;
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::statistics;
use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;

/// What is held out and predicted by a second fit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum HoldOut {
    /// The largest size (sizes within 2 % are one), or the largest budget of a design of equal compute.
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
    Tokens,
    Flops,
}

impl Axis {
    /// The variable of a run.
    pub(crate) fn of(self, row: &Observation) -> f64 {
        match self {
            Self::Params => row.params,
            Self::Tokens => row.tokens,
            Self::Flops => row.compute(),
        }
    }

    /// The variable along which a design grows: compute where its runs come in groups of equal compute, else size.
    pub(crate) fn of_design(design: &Design) -> Self {
        if is_of_equal_compute(design) {
            Self::Flops
        } else {
            Self::Params
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Tokens => "tokens",
            Self::Flops => "flops",
        }
    }
}

/// The budgets of compute among some runs, each the smallest of those within [`SAME_BUDGET`].
fn budgets(design: &Design) -> Vec<f64> {
    let computes = statistics::sorted(design.rows.iter().map(Observation::compute).collect());
    let mut firsts: Vec<f64> = Vec::new();
    for compute in computes {
        if firsts.last().is_none_or(|first| compute > first * (1.0 + SAME_BUDGET)) {
            firsts.push(compute);
        }
    }
    firsts
}

/// Whether the runs come in groups of equal compute: three sizes a group or more, and fewer groups than values of size
/// or of tokens, which a grid over both never has.
fn is_of_equal_compute(design: &Design) -> bool {
    let groups = budgets(design).len();
    let tokens = distinct(design.rows.iter().map(|row| row.tokens)).len();
    groups >= 3 && 3 * groups <= design.configurations && groups < tokens
}

/// Along which variable a hold-out cuts, and the value above which runs are held out; none without a hold-out.
pub(crate) fn cut(hold_out: HoldOut, design: &Design) -> Option<(Axis, f64)> {
    let largest = |of: fn(&Observation) -> f64| design.rows.iter().map(of).fold(0.0, f64::max);
    match hold_out {
        HoldOut::None => None,
        HoldOut::ParamsAbove(limit) => Some((Axis::Params, limit)),
        HoldOut::FlopsAbove(limit) => Some((Axis::Flops, limit)),
        HoldOut::Largest => Some(match Axis::of_design(design) {
            Axis::Flops => (Axis::Flops, largest(Observation::compute) / (1.0 + SAME_BUDGET)),
            Axis::Params | Axis::Tokens => (Axis::Params, largest(|row| row.params) / (1.0 + SAME_SIZE)),
        }),
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
pub(crate) fn check<F: Form<K>, const K: usize>(
    design: &Design,
    objective: Objective,
    hold_out: HoldOut,
    draws: DrawOptions,
) -> Result<Option<HoldOutReport>, Refusal> {
    let Some((axis, limit)) = cut(hold_out, design) else {
        return Ok(None);
    };
    let held: Vec<&Observation> = design.rows.iter().filter(|row| axis.of(row) > limit).collect();
    if held.is_empty() {
        return Ok(None);
    }
    let core = FittedConstants::<F, K>::new(design.subset(|row| axis.of(row) <= limit), objective)?;
    let draws = DrawOptions {
        count: draws.count.min(DRAWS_CHECK),
        ..draws
    };
    let spread = core.spread(&[], draws);
    let widening = roll_forward::<F, K>(&core.design, objective, draws);
    let predictor = predictor(&core, &spread, widening.as_ref());
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

/// What predicts from a fit and its draws.
fn predictor<'a, F: Form<K>, const K: usize>(
    core: &FittedConstants<F, K>,
    spread: &'a ParameterDraws<F>,
    widening: Option<&'a Widening>,
) -> Predictor<'a, F> {
    Predictor {
        law: core.law,
        draws: &spread.draws,
        factors: spread.factors,
        noise: spread.noise,
        widening,
        range: Range::of(&core.design),
    }
}

/// Rolls the hold-out forward along the axis of the design: fits the smaller runs, predicts all larger ones, and finds
/// how much the misses grow with the distance. `None` when there are too few sizes (or budgets) to learn from.
///
/// The half-width² of a prediction is draws² + noise² + (κ · distance)², distance in e-folds of extrapolation. Each
/// rolled fit asks for one κ, the root of its mean square miss beyond draws and noise over that of its mean square
/// distance: predictions of one fit err together. The mean of the κ of the fits is taken, with Student's factor for
/// their number.
pub(crate) fn roll_forward<F: Form<K>, const K: usize>(
    design: &Design,
    objective: Objective,
    draws: DrawOptions,
) -> Option<Widening> {
    let axis = Axis::of_design(design);
    let own = widening(&rolled_fits::<F, K>(design, objective, axis, draws), axis);
    // A law that needs more sizes can be rolled less often, and is no surer for that: what the additive law misses
    // stands in, which needs the fewest.
    own.or_else(|| {
        let has_more_constants = K > 5;
        has_more_constants
            .then(|| widening(&rolled_fits::<Law, 5>(design, objective, axis, draws), axis))
            .flatten()
    })
}

/// A law fitted below each cut, against the runs beyond it.
fn rolled_fits<F: Form<K>, const K: usize>(
    design: &Design,
    objective: Objective,
    axis: Axis,
    draws: DrawOptions,
) -> Vec<Rolled> {
    cuts(design, axis, F::DESIGN_MIN)
        .into_iter()
        .filter_map(|limit| rolled::<F, K>(design, objective, axis, limit, draws))
        .collect()
}

/// The widening that some rolled fits ask for; none of too few.
pub(crate) fn widening(rolled: &[Rolled], axis: Axis) -> Option<Widening> {
    let fits = u32::try_from(rolled.len())
        .ok()
        .filter(|fits| *fits >= ROLLED_FITS_MIN)?;
    let mean = rolled.iter().map(|fit| fit.kappa_squared.sqrt()).sum::<f64>() / f64::from(fits);
    Some(Widening {
        per_e_fold: mean * statistics::t_975(f64::from(fits)),
        by: axis.name().to_owned(),
        rolled_fits: fits,
        predictions: rolled.iter().map(|fit| fit.predictions).sum(),
        covered_without: rolled.iter().map(|fit| fit.covered).sum::<f64>() / f64::from(fits),
    })
}

/// One fit of the smaller runs against the larger ones.
pub(crate) struct Rolled {
    kappa_squared: f64,
    predictions: usize,
    /// The share of the larger runs inside intervals without widening.
    covered: f64,
}

impl Rolled {
    /// From the relative misses, each with its distance in e-folds, of a law whose runs scatter by this much.
    pub(crate) fn new(misses: &[(f64, f64)], noise: f64) -> Option<Self> {
        let sum = |of: &dyn Fn(f64, f64) -> f64| misses.iter().map(|&(miss, distance)| of(miss, distance)).sum::<f64>();
        let excess = sum(&|miss, _| miss * miss - noise * noise);
        let kappa_squared = excess.max(0.0) / sum(&|_, distance| distance * distance);
        kappa_squared.is_finite().then(|| Self {
            kappa_squared,
            predictions: misses.len(),
            covered: sum(&|miss, _| f64::from(u8::from(miss.abs() <= 2.0 * noise))) / misses.len() as f64,
        })
    }
}

fn rolled<F: Form<K>, const K: usize>(
    design: &Design,
    objective: Objective,
    axis: Axis,
    limit: f64,
    draws: DrawOptions,
) -> Option<Rolled> {
    let below = design.subset(|row| axis.of(row) < limit);
    let core = FittedConstants::<F, K>::new(below, objective).ok()?;
    let spread = core.spread(
        &[],
        DrawOptions {
            count: DRAWS_ROLLED,
            ..draws
        },
    );
    let range = Range::of(&core.design);
    let held: Vec<&Observation> = design.rows.iter().filter(|row| axis.of(row) >= limit).collect();
    let (mut excess, mut distance, mut inside) = (0.0, 0.0, 0.0);
    for row in &held {
        let mean = core.law.loss(row.params, row.tokens);
        let miss = (mean - row.loss) / mean;
        let drawn = Drawn::new(&spread.draws, |law| law.loss(row.params, row.tokens));
        let (_, se) = drawn.about(mean, spread.factors)?;
        let (drawn, noise) = (se / mean, spread.noise);
        excess += miss * miss - drawn * drawn - noise * noise;
        distance += range.extrapolation(row.params, row.tokens).e_folds().powi(2);
        let half = spread.factors.half_width(drawn).hypot(noise * spread.factors.run);
        inside += f64::from(u8::from(miss.abs() <= half));
    }
    let kappa_squared = excess.max(0.0) / distance;
    kappa_squared.is_finite().then(|| Rolled {
        kappa_squared,
        predictions: held.len(),
        covered: inside / held.len() as f64,
    })
}

/// The sizes, budgets of tokens or budgets of compute of a design, in ascending order.
pub(crate) fn values(design: &Design, axis: Axis) -> Vec<f64> {
    match axis {
        Axis::Flops => budgets(design),
        Axis::Params | Axis::Tokens => distinct(design.rows.iter().map(|row| axis.of(row))),
    }
}

/// The values of the axis below which a design still carries the law, and at least a quarter of the configurations
/// lies.
pub(crate) fn possible_cuts(design: &Design, axis: Axis, [sizes, configurations]: [usize; 2]) -> Vec<f64> {
    let is_possible = |limit: &f64| {
        let below = design.subset(|row| axis.of(row) < *limit);
        below.check(sizes, configurations).is_ok() && 4 * below.configurations >= design.configurations
    };
    values(design, axis).into_iter().filter(is_possible).collect()
}

/// Where the rolled fits end: evenly over the possible cuts.
pub(crate) fn cuts(design: &Design, axis: Axis, least: [usize; 2]) -> Vec<f64> {
    let possible = possible_cuts(design, axis, least);
    if possible.len() <= ROLLED_FITS_MAX {
        return possible;
    }
    let last = possible.len() - 1;
    (0..ROLLED_FITS_MAX)
        .map(|k| possible[k * last / (ROLLED_FITS_MAX - 1)])
        .collect()
}
