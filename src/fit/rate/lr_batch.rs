//! The law of the best learning rate and batch by size and tokens: lr = c·N^a·D^b and batch = c·D^b (the form of Step
//! Law, arXiv 2503.04715, equation 1).
//!
//! Both come from one valley that all groups share, and are judged by the loss that they cost in groups that the fit
//! had not seen. Refuses to extend a grid that ends before its minimum, and to know where runs come from.

use serde::{Deserialize, Serialize};

use crate::fit::loss::loss_law::HoldOut;
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::observation::Observation;
use crate::fit::rate::batch_form::{BatchForm, FormTried};
use crate::fit::rate::lr_batch_surface::{self, Cell, Group};
use crate::fit::rate::over_tokens::OverTokens;
use crate::fit::rate::valley_laws::Laws;
pub use crate::fit::rate::valley_laws::PowerLaw;
use crate::fit::refusal::Refusal;
use crate::fit::{Estimate, Warning};
use crate::units::six_nd;

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
    /// What the batch moves with, by what predicts groups that the fit has not seen.
    #[serde(default)]
    pub batch_form: BatchForm,
    /// How both forms did on them; empty: too few groups can be predicted.
    #[serde(default)]
    pub forms: Vec<FormTried>,
    /// The size exponent of the batch in the form that has one.
    pub batch_size_exponent: Estimate,
    /// How the best rate moves with tokens at equal size, in each meaning.
    #[serde(default)]
    pub over_tokens: Vec<OverTokens>,
    /// How the best rate at a fixed batch moves with that batch: as batch^this.
    #[serde(default)]
    pub rate_over_batch: Option<Estimate>,
    /// All groups of equal size and tokens, by size, then tokens.
    pub groups: Vec<LrBatchGroup>,
    /// Runs that are in no group, each with the reason.
    pub left_out: Vec<(String, String)>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
    /// What the predictions of a second fit cost in groups that it had not seen.
    pub hold_out: Option<Regret>,
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
    /// The same of every point of the grid, means over runs; empty in fits of before.
    #[serde(default)]
    pub grid: Vec<[f64; 3]>,
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
    let laws = Laws::new(&kept, options.draws)?;
    laws.identified()?;
    let mut warnings = warnings(runs, &groups);
    let hold_out = match regret(&kept, options) {
        Ok(regret) => regret,
        Err(refusal) => {
            let text = format!("no group could be held out, so nothing checks the law: {refusal}");
            warnings.push(Warning::new("no_hold_out", text));
            None
        }
    };
    if let Some(why) = laws.batch_size_exponent.open_exponent("of N of the best batch") {
        let text = format!("{why}: whether the best batch moves with size is not known");
        warnings.push(Warning::new("not_identified", text));
    }
    if let Some(exponent) = laws.batch.n_exponent {
        let text = format!("the best batch moves with size, too: as N^{:.2}", exponent.value);
        warnings.push(Warning::new("batch_moves_with_size", text));
    }
    if hold_out.as_ref().is_some_and(|it| it.mean_regret > it.constant_regret) {
        let text = "one learning rate and batch for all sizes does better on the groups that were held out";
        warnings.push(Warning::new("constant_does_better", text));
    }
    Ok(LrBatchLaw {
        lr: laws.lr,
        batch: laws.batch,
        batch_form: laws.form,
        forms: laws.forms,
        batch_size_exponent: laws.batch_size_exponent,
        over_tokens: laws.over_tokens,
        rate_over_batch: Some(laws.rate_over_batch),
        groups: groups.iter().map(report).collect(),
        left_out: left_out(runs),
        warnings,
        hold_out,
    })
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
    // Intervals are not asked for.
    let laws = Laws::new(&seen, Draws { count: 0, seed: 0 })?;
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
    let point = |cell: &Cell| [cell.at[0].exp(), cell.at[1].exp(), cell.loss];
    LrBatchGroup {
        params: group.params,
        tokens: group.tokens,
        points: group.cells.len(),
        lowest: point(&group.lowest),
        grid: group.cells.iter().map(point).collect(),
        left_out: group.edge.clone(),
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

/// How many groups hit which edge.
fn edges(groups: &[Group]) -> String {
    let count = |side: &str| {
        let is_hit = |group: &&Group| group.edge.as_ref().is_some_and(|edge| edge.contains(side));
        let count = groups.iter().filter(is_hit).count();
        (count > 0).then(|| format!("{side} in {count}"))
    };
    let of_axis = |name: &str| ["low", "high", "one value"].map(|end| count(&format!("{name} ({end})")));
    let all = [of_axis("learning rate"), of_axis("batch")];
    let all: Vec<String> = all.into_iter().flatten().flatten().collect();
    all.join(", ")
}

/// What a reader must know.
fn warnings(runs: &[Observation], groups: &[Group]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let at_edge = groups.iter().filter(|group| group.edge.is_some()).count();
    if at_edge > 0 {
        let text = format!(
            "in {at_edge} of {} groups the lowest loss lies at the edge of the grid; they are left out: {}",
            groups.len(),
            edges(groups)
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
