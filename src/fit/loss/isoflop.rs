//! The best size for each compute budget, from runs of several sizes at equal compute, and its exponent in compute
//! (approach 2 of Hoffmann et al. 2022, arXiv 2203.15556, section 3.2).
//!
//! The lowest point is interpolated between neighbours (as Porian et al. 2024, arXiv 2406.19146, do): a parabola over
//! a whole profile is bent by its steep side. Refuses to call the end of a profile a minimum.

use serde::{Deserialize, Serialize};

use crate::fit::Warning;
use crate::fit::design::{SAME_BUDGET, distinct};
use crate::fit::numeric::akima::Akima;
use crate::fit::numeric::bootstrap::{self, Draws};
use crate::fit::numeric::power_law::{LogLine, Power};
use crate::fit::refusal::Refusal;

/// Budgets with a minimum, at least.
const BUDGETS_MIN: usize = 3;
/// Sizes of a profile, at least: one on each side of the lowest.
const SIZES_MIN: usize = 3;
const CONSTANTS: f64 = 2.0;

/// One run of a profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetRun {
    /// What the run is called.
    pub label: String,
    /// Training compute in FLOP, by the convention of the budget.
    pub flops: f64,
    /// Parameters, by the convention that the fit names.
    pub params: f64,
    pub tokens: f64,
    /// Final loss, nats per token.
    pub loss: f64,
}

/// The runs of one budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The budget in FLOP: the geometric mean of its runs.
    pub flops: f64,
    /// Parameters and mean loss, from small to large.
    pub points: Vec<(f64, f64)>,
    /// The lowest point, where it lies between two higher ones.
    pub best: Option<ComputeMinimum>,
    /// Why there is none.
    pub left_out: Option<String>,
}

/// The lowest point of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ComputeMinimum {
    pub params: f64,
    pub tokens: f64,
    /// Loss, nats per token.
    pub loss: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IsoflopFit {
    /// The budgets, from small to large.
    pub profiles: Vec<Profile>,
    /// How many of them have a minimum; only these enter the laws.
    pub bracketed: usize,
    /// `N_opt = c·C^a`.
    pub params: Power,
    /// `D_opt = c·C^b`.
    pub tokens: Power,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// How an exponent from elsewhere compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// It lies in the 95 % interval.
    Agrees,
    /// It is smaller than the interval allows.
    Below,
    /// It is larger than the interval allows.
    Above,
    /// There is no interval.
    NotKnown,
}

impl IsoflopFit {
    /// The budgets with a minimum, from small to large.
    pub fn minima(&self) -> Vec<(f64, ComputeMinimum)> {
        let profiles = self.profiles.iter();
        profiles
            .filter_map(|profile| Some((profile.flops, profile.best?)))
            .collect()
    }

    /// How the exponent a of another fit compares, such as β/(α+β) of a law of loss.
    pub fn agreement(&self, exponent: f64) -> Agreement {
        match self.params.exponent.ci95 {
            None => Agreement::NotKnown,
            Some([low, _]) if exponent < low => Agreement::Below,
            Some([_, high]) if exponent > high => Agreement::Above,
            Some(_) => Agreement::Agrees,
        }
    }
}

/// Fits the allocation; intervals come from draws of budgets.
///
/// # Errors
/// `bad_observation`; `optimum_at_edge` where no budget has its lowest loss between two higher ones; `too_few_budgets`
/// where fewer than three do.
pub fn fit(runs: &[BudgetRun], draws: Draws) -> Result<IsoflopFit, Refusal> {
    runs.iter().try_for_each(check)?;
    let profiles = profiles(runs);
    if profiles.len() < BUDGETS_MIN {
        return Err(Refusal::TooFewBudgets { found: profiles.len() });
    }
    let best: Vec<(f64, ComputeMinimum)> = profiles
        .iter()
        .filter_map(|profile| Some((profile.flops, profile.best?)))
        .collect();
    if best.is_empty() {
        return Err(Refusal::OptimumAtEdge { groups: profiles.len() });
    }
    let refusal = Refusal::TooFewBudgets { found: best.len() };
    if best.len() < BUDGETS_MIN {
        return Err(refusal);
    }
    let power = |of: fn(&ComputeMinimum) -> f64| power(&best, of, draws);
    let (Some(params), Some(tokens)) = (power(|minimum| minimum.params), power(|minimum| minimum.tokens)) else {
        return Err(refusal);
    };
    let at_edge = profiles.len() - best.len();
    let mut warnings = Vec::new();
    if at_edge > 0 {
        let text = format!(
            "{at_edge} of {} budgets have no minimum and are left out",
            profiles.len()
        );
        warnings.push(Warning::new("minima_at_edge", text));
    }
    Ok(IsoflopFit {
        bracketed: best.len(),
        profiles,
        params,
        tokens,
        warnings,
    })
}

/// Refuses numbers that no run can have.
fn check(run: &BudgetRun) -> Result<(), Refusal> {
    for (name, value) in [
        ("flops", run.flops),
        ("params", run.params),
        ("tokens", run.tokens),
        ("loss", run.loss),
    ] {
        if !value.is_finite() || value <= 0.0 {
            return Err(Refusal::BadObservation {
                label: run.label.clone(),
                what: format!("{name} is {value}; it must be a positive number"),
            });
        }
    }
    Ok(())
}

/// The profiles, from the smallest budget to the largest.
fn profiles(runs: &[BudgetRun]) -> Vec<Profile> {
    let mut ordered: Vec<&BudgetRun> = runs.iter().collect();
    ordered.sort_by(|a, b| a.flops.total_cmp(&b.flops));
    let mut profiles = Vec::new();
    let mut rest = ordered.as_slice();
    while let Some(first) = rest.first() {
        let count = rest.partition_point(|run| run.flops <= first.flops * (1.0 + SAME_BUDGET));
        let (budget, larger) = rest.split_at(count);
        profiles.push(profile(budget.to_vec()));
        rest = larger;
    }
    profiles
}

/// The profile of the runs of one budget.
fn profile(mut runs: Vec<&BudgetRun>) -> Profile {
    // Sums depend on their order in the last bits.
    runs.sort_by(|a, b| {
        let by_place = a.params.total_cmp(&b.params).then(a.tokens.total_cmp(&b.tokens));
        by_place
            .then(a.loss.total_cmp(&b.loss))
            .then(a.flops.total_cmp(&b.flops))
    });
    let sizes = distinct(runs.iter().map(|run| run.params));
    let of_size = |run: &&BudgetRun| sizes.partition_point(|&size| size <= run.params);
    // Replicates of a size enter as one point. All three are logarithms.
    let points: Vec<[f64; 3]> = runs
        .chunk_by(|a, b| of_size(a) == of_size(b))
        .map(|same| {
            let count = same.len() as f64;
            let mean = |of: fn(&BudgetRun) -> f64| same.iter().map(|run| of(run)).sum::<f64>() / count;
            [
                mean(|run| run.params.ln()),
                mean(|run| run.tokens.ln()),
                mean(|run| run.loss).ln(),
            ]
        })
        .collect();
    let found = minimum(&points);
    Profile {
        flops: (runs.iter().map(|run| run.flops.ln()).sum::<f64>() / runs.len() as f64).exp(),
        points: points.iter().map(|point| (point[0].exp(), point[2].exp())).collect(),
        best: found.ok(),
        left_out: found.err().map(str::to_owned),
    }
}

/// The lowest point of a curve through the points, between the neighbours of the lowest of them.
fn minimum(points: &[[f64; 3]]) -> Result<ComputeMinimum, &'static str> {
    let level = "the profile has no single lowest point";
    if points.len() < SIZES_MIN {
        return Err("fewer than three sizes were run at this budget");
    }
    let lowest = (0..points.len())
        .min_by(|&a, &b| points[a][2].total_cmp(&points[b][2]))
        .ok_or(level)?;
    if lowest == 0 {
        return Err("the smallest size does best: smaller ones are missing");
    }
    if lowest + 1 == points.len() {
        return Err("the largest size does best: larger ones are missing");
    }
    let curve = |of: usize| Akima::through(points.iter().map(|point| (point[0], point[of])).collect()).ok_or(level);
    let (x, y) = curve(2)?.lowest_between(lowest - 1, lowest + 1).ok_or(level)?;
    Ok(ComputeMinimum {
        params: x.exp(),
        tokens: curve(1)?.value(x).ok_or(level)?.exp(),
        loss: y.exp(),
    })
}

/// The power law of one coordinate of the minima in compute. Every budget counts alike: the scatter about the line is
/// that of the law and of the grids more than of the noise of a loss.
fn power(best: &[(f64, ComputeMinimum)], of: fn(&ComputeMinimum) -> f64, draws: Draws) -> Option<Power> {
    let points: Vec<(f64, f64)> = best
        .iter()
        .map(|(flops, minimum)| (flops.ln(), of(minimum).ln()))
        .collect();
    let weighted = |times: &[f64]| {
        let points: Vec<_> = points
            .iter()
            .zip(times)
            .map(|(&(x, y), &times)| (x, y, times))
            .collect();
        LogLine::through(&points)
    };
    let line = weighted(&vec![1.0; points.len()])?;
    let drawn = draws.resample(points.len(), |times| Some(line.constants_of(&weighted(times)?)));
    let count = points.len() as f64;
    let dof = count - CONSTANTS;
    // Draws vary less than the law does, by the constants that bend to each of them.
    let covariance = bootstrap::covariance(&drawn).map(|matrix| matrix.map(|row| row.map(|v| v * count / dof)));
    Some(line.power(covariance, dof))
}

#[cfg(test)]
mod tests;
