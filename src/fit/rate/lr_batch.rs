//! The law of the best learning rate and batch by size and tokens: lr = c·N^a·D^b and batch = c·D^b (the form of Step
//! Law, arXiv 2503.04715, equation 1).
//!
//! Both come from one valley that all groups share, and are judged by the loss that they cost in groups that the fit
//! had not seen. Refuses to extend a grid that ends before its minimum, and to know where runs come from.

use serde::{Deserialize, Serialize};

use crate::fit::loss::loss_law::HoldOut;
use crate::fit::numeric::bootstrap::{self, Draws};
use crate::fit::numeric::linear_algebra;
use crate::fit::observation::Observation;
use crate::fit::rate::lr_batch_surface::{self, Free, Group, Place, Sums};
use crate::fit::refusal::Refusal;
use crate::fit::{Estimate, Warning};
use crate::units::six_nd;

/// Sizes, and token budgets, at least: a power law has two constants in each.
const VALUES_MIN: usize = 3;
/// One group more than a law in size and tokens has constants.
const GROUPS_MIN: usize = 4;
/// The constants of one of the two laws.
const CONSTANTS: f64 = 3.0;
/// Everything moves: the form in which a size exponent of the batch is tested.
const ALL: Free = [true; 6];
/// The batch does not move with size: the form of Step Law.
const STEP_LAW: Free = [true, true, true, true, false, true];
/// Nothing moves: what the law has to beat.
const CONSTANT: Free = [true, false, false, true, false, false];

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Which groups are predicted by a second fit.
    pub hold_out: HoldOut,
    /// The draws of groups from which intervals come.
    pub draws: Draws,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrBatchLaw {
    /// The best peak learning rate.
    pub lr: PowerLaw,
    /// The best batch, in tokens.
    pub batch: PowerLaw,
    /// The size exponent of the batch in a form that allows one; only where its interval leaves zero out does it enter
    /// the law.
    pub batch_size_exponent: Estimate,
    /// All groups of equal size and tokens, by size, then tokens.
    pub groups: Vec<LrBatchGroup>,
    /// Runs that are in no group, each with the reason.
    pub left_out: Vec<(String, String)>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
    /// What the predictions of a second fit cost in groups that it had not seen.
    pub hold_out: Option<Regret>,
}

/// `c·N^a·D^b`, written about the centre of the groups.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// The value at one parameter and one token.
    pub c: f64,
    /// a; none where the form has none.
    pub n_exponent: Option<Estimate>,
    pub d_exponent: Estimate,
    /// The means of ln N and ln D.
    centre: [f64; 2],
    /// The logarithm of the value there, a and b.
    constants: [f64; 3],
    /// Their covariance; none without draws.
    covariance: Option<[[f64; 3]; 3]>,
    dof: f64,
}

/// The runs of one size and number of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrBatchGroup {
    pub params: f64,
    pub tokens: f64,
    /// Pairs of learning rate and batch.
    pub points: usize,
    /// The learning rate, the batch in tokens and the loss of the grid's lowest point.
    pub lowest: [f64; 3],
    /// Why the group is left out, where it is.
    pub left_out: Option<String>,
}

/// What predictions cost: the loss at the grid point nearest to the prediction, above the lowest loss of its group and
/// relative to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Regret {
    /// Groups that were predicted.
    pub n: usize,
    /// The mean over these groups.
    pub mean_regret: f64,
    pub max_regret: f64,
    /// The mean regret of one learning rate and batch for all sizes and tokens, fitted to the same groups.
    pub constant_regret: f64,
    pub points: Vec<RegretPoint>,
}

/// A group that the second fit had not seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RegretPoint {
    pub params: f64,
    pub tokens: f64,
    /// The predicted learning rate.
    pub lr: f64,
    /// The predicted batch, in tokens.
    pub batch_tokens: f64,
    pub regret: f64,
}

impl PowerLaw {
    /// The value at a size and a number of tokens, with the interval of the law (a single grid scatters more).
    pub fn at(&self, params: f64, tokens: f64) -> Estimate {
        let x = [1.0, params.ln() - self.centre[0], tokens.ln() - self.centre[1]];
        let ln_value = x.iter().zip(&self.constants).map(|(x, c)| x * c).sum();
        let variance = self
            .covariance
            .map(|matrix| linear_algebra::quadratic_form(&matrix, &x));
        bootstrap::exponential(bootstrap::estimate(ln_value, variance, self.dof))
    }
}

impl LrBatchLaw {
    /// The best learning rate and batch (in tokens) at a size and a number of tokens.
    pub fn predict(&self, params: f64, tokens: f64) -> (Estimate, Estimate) {
        (self.lr.at(params, tokens), self.batch.at(params, tokens))
    }
}

/// Fits the law.
///
/// # Errors
/// `bad_observation`; `not_identified` where no run names both learning rate and batch, or the groups do not tell the
/// constants apart; `optimum_at_edge` where no group has a minimum; `too_few_sizes` and `too_few_budgets`.
pub fn fit(runs: &[Observation], options: &Options) -> Result<LrBatchLaw, Refusal> {
    runs.iter().try_for_each(Observation::check)?;
    let groups = lr_batch_surface::groups(runs);
    if groups.is_empty() {
        let why = "no run names both its learning rate and its batch".to_owned();
        return Err(Refusal::NotIdentified { why });
    }
    let kept: Vec<&Group> = groups.iter().filter(|group| group.edge.is_none()).collect();
    if kept.is_empty() {
        return Err(Refusal::OptimumAtEdge { groups: groups.len() });
    }
    let Laws {
        lr,
        batch,
        batch_size_exponent,
        ..
    } = Laws::new(&kept, options.draws)?;
    let mut warnings = warnings(runs, &groups);
    let hold_out = match regret(&kept, options) {
        Ok(regret) => regret,
        Err(refusal) => {
            let text = format!("no group could be held out, so nothing checks the law: {refusal}");
            warnings.push(Warning::new("no_hold_out", text));
            None
        }
    };
    if let Some(exponent) = batch.n_exponent {
        let text = format!("the best batch moves with size, too: as N^{:.2}", exponent.value);
        warnings.push(Warning::new("batch_moves_with_size", text));
    }
    if hold_out.as_ref().is_some_and(|it| it.mean_regret > it.constant_regret) {
        let text = "one learning rate and batch for all sizes does better on the groups that were held out";
        warnings.push(Warning::new("constant_does_better", text));
    }
    Ok(LrBatchLaw {
        lr,
        batch,
        batch_size_exponent,
        groups: groups.iter().map(report).collect(),
        left_out: left_out(runs),
        warnings,
        hold_out,
    })
}

/// The two laws of some groups.
struct Laws {
    lr: PowerLaw,
    batch: PowerLaw,
    batch_size_exponent: Estimate,
    /// ln of the learning rate and of the batch if nothing moves.
    constant: [f64; 2],
}

impl Laws {
    /// Fits groups that have a minimum.
    fn new(groups: &[&Group], draws: Draws) -> Result<Self, Refusal> {
        let [sizes, budgets] = lr_batch_surface::sizes_and_budgets(groups);
        if sizes < VALUES_MIN {
            return Err(Refusal::TooFewSizes {
                found: sizes,
                needed: VALUES_MIN,
            });
        }
        if budgets < VALUES_MIN {
            return Err(Refusal::TooFewBudgets { found: budgets });
        }
        let why = "size and tokens move together, or loss shows no valley over learning rate and batch".to_owned();
        let refusal = Refusal::NotIdentified { why };
        if groups.len() < GROUPS_MIN {
            return Err(refusal);
        }
        let sums = Sums::new(groups);
        let fitted = |free| Some((sums.fit(free)?, sums.draws(free, draws)));
        let power = |axis, free: Free, (place, drawn): &(Place, Vec<Place>)| {
            let half = |place: &Place| -> [f64; 3] { std::array::from_fn(|i| place[3 * axis + i]) };
            let drawn: Vec<[f64; 3]> = drawn.iter().map(half).collect();
            power_law(&sums, axis, half(place), free[3 * axis + 1], &drawn)
        };
        let (Some(all), Some(constant)) = (fitted(ALL), sums.fit(CONSTANT)) else {
            return Err(refusal);
        };
        let Some(batch_size_exponent) = power(1, ALL, &all).n_exponent else {
            return Err(refusal);
        };
        let (free, best) = if batch_size_exponent.excludes_zero() {
            (ALL, all)
        } else {
            (STEP_LAW, fitted(STEP_LAW).ok_or(refusal)?)
        };
        Ok(Self {
            lr: power(0, free, &best),
            batch: power(1, free, &best),
            batch_size_exponent,
            constant: [0, 1].map(|axis| constant[3 * axis] + sums.centre[axis]),
        })
    }
}

/// One of the two laws, from where the valley lies about the centre and from draws of that.
fn power_law(sums: &Sums, axis: usize, place: [f64; 3], by_size: bool, draws: &[[f64; 3]]) -> PowerLaw {
    let [_, _, n, d] = sums.centre;
    let [level, a, b] = place;
    let level = level + sums.centre[axis];
    let groups = sums.len() as f64;
    let dof = groups - CONSTANTS;
    // Draws vary less than the law does, by the constants that bend to each of them.
    let covariance = bootstrap::covariance(draws).map(|matrix| matrix.map(|row| row.map(|v| v * groups / dof)));
    let exponent = |value, i: usize| bootstrap::estimate(value, covariance.map(|matrix| matrix[i][i]), dof);
    PowerLaw {
        c: (level - a * n - b * d).exp(),
        n_exponent: by_size.then(|| exponent(a, 1)),
        d_exponent: exponent(b, 2),
        centre: [n, d],
        constants: [level, a, b],
        covariance,
        dof,
    }
}

/// Fits the groups that are not held out, and predicts the others. `None` where nothing is to be held out.
fn regret(groups: &[&Group], options: &Options) -> Result<Option<Regret>, Refusal> {
    let held = |group: &&Group| match options.hold_out {
        HoldOut::None => false,
        HoldOut::Largest => group.params > lr_batch_surface::largest(groups),
        HoldOut::ParamsAbove(limit) => group.params > limit,
        HoldOut::FlopsAbove(limit) => six_nd(group.params, group.tokens) > limit,
    };
    let (held, seen): (Vec<&Group>, Vec<&Group>) = groups.iter().copied().partition(held);
    if held.is_empty() {
        return Ok(None);
    }
    let laws = Laws::new(&seen, options.draws)?;
    let point = |group: &&Group| {
        let lr = laws.lr.at(group.params, group.tokens).value;
        let batch_tokens = laws.batch.at(group.params, group.tokens).value;
        RegretPoint {
            params: group.params,
            tokens: group.tokens,
            lr,
            batch_tokens,
            regret: group.regret([lr.ln(), batch_tokens.ln()]),
        }
    };
    let points: Vec<RegretPoint> = held.iter().map(point).collect();
    let count = points.len() as f64;
    Ok(Some(Regret {
        n: points.len(),
        mean_regret: points.iter().map(|point| point.regret).sum::<f64>() / count,
        max_regret: points.iter().map(|point| point.regret).fold(0.0, f64::max),
        constant_regret: held.iter().map(|group| group.regret(laws.constant)).sum::<f64>() / count,
        points,
    }))
}

/// What a reader sees of a group.
fn report(group: &Group) -> LrBatchGroup {
    let [ln_lr, ln_batch] = group.lowest.at;
    LrBatchGroup {
        params: group.params,
        tokens: group.tokens,
        points: group.cells.len(),
        lowest: [ln_lr.exp(), ln_batch.exp(), group.lowest.loss],
        left_out: group.edge.map(str::to_owned),
    }
}

/// Runs without a place in a grid.
fn left_out(runs: &[Observation]) -> Vec<(String, String)> {
    let mut left_out: Vec<(String, String)> = runs
        .iter()
        .filter(|run| run.lr.is_none() || run.batch_tokens.is_none())
        .map(|run| {
            (
                run.label.clone(),
                "its learning rate or its batch is not known".to_owned(),
            )
        })
        .collect();
    left_out.sort();
    left_out
}

/// What a reader must know.
fn warnings(runs: &[Observation], groups: &[Group]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let at_edge = groups.iter().filter(|group| group.edge.is_some()).count();
    if at_edge > 0 {
        let text = format!(
            "in {at_edge} of {} groups the lowest loss lies at the edge of the grid; they are left out",
            groups.len()
        );
        warnings.push(Warning::new("minima_at_edge", text));
    }
    if runs.iter().any(|run| run.schedule != runs[0].schedule) {
        let text = "runs of several schedules are fitted together, and each schedule has its own best learning rate";
        warnings.push(Warning::new("mixed_schedules", text));
    }
    warnings
}

#[cfg(test)]
mod tests;
