//! The law of the lowest loss of each compute budget, `L_opt = E + k·C^-c`, and the sizes and tokens that reach it
//! (the minima of approach 2 of Hoffmann et al. 2022, arXiv 2203.15556; the form of Henighan et al. 2020, arXiv 2010.14701).
//!
//! Refuses to say anything of a run off the best size of its budget.

use serde::{Deserialize, Serialize};

use crate::fit::Estimate;
use crate::fit::loss::bootstrap_intervals::{Drawn, Factors};
use crate::fit::loss::checks::hold_out::{Axis, Rolled, widening};
use crate::fit::loss::isoflop::{self, BudgetRun, ComputeMinimum, IsoflopFit};
use crate::fit::loss::loss_fit::{Extrapolation, Prediction, Range, Scatter, Widening};
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::numeric::linear_algebra::{self, Normal};
use crate::fit::refusal::Refusal;
use crate::units::six_nd;

const CONSTANTS: usize = 3;
/// Minima at least: one more than constants, to see that they do not fit.
const MINIMA_MIN: usize = CONSTANTS + 1;
/// The range of the exponent of compute.
const EXPONENTS: (f64, f64) = (0.005, 1.5);
/// Exponents of the grid in which the search begins.
const GRID: usize = 48;
/// Halvings of the bracket about the best of them.
const HALVINGS: usize = 60;

/// L_opt = E + k·C^-c.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MinimaLaw {
    #[serde(rename = "E")]
    pub e: f64,
    pub k: f64,
    pub c: f64,
}

/// The law with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinimaFound {
    pub law: MinimaLaw,
    /// The sizes and tokens of the minima.
    pub optimum: IsoflopFit,
    pub draws: Vec<MinimaLaw>,
    pub factors: Factors,
    /// The standard deviation of a minimum about the law, relative to the loss.
    pub scatter: f64,
    /// The range of the minima.
    pub seen: Range,
    pub widening: Option<Widening>,
}

impl MinimaLaw {
    /// The lowest loss of a budget.
    pub fn loss(&self, flops: f64) -> f64 {
        self.e + self.k * flops.powf(-self.c)
    }
}

impl MinimaFound {
    /// A constant with its interval.
    pub fn estimate(&self, of: impl Fn(&MinimaLaw) -> f64) -> Estimate {
        let value = of(&self.law);
        let drawn = Drawn::new(&self.draws, of).about(value, self.factors);
        Estimate {
            value,
            se: drawn.map(|(_, se)| se),
            ci95: drawn.map(|(ends, _)| ends.map(|end| end.max(0.0))),
        }
    }

    /// How far beyond the minima a place lies.
    pub fn extrapolation(&self, params: f64, tokens: f64) -> Extrapolation {
        self.seen.extrapolation(params, tokens)
    }

    /// The lowest loss of the compute 6ND of a place, with its intervals: distance counts along compute alone.
    pub fn predict(&self, params: f64, tokens: f64) -> Prediction {
        let flops = six_nd(params, tokens);
        let mean = self.law.loss(flops);
        let scatter = Scatter {
            factors: self.factors,
            noise: mean * self.scatter,
            widening: self.widening.as_ref(),
        };
        let drawn = Drawn::new(&self.draws, |law| law.loss(flops));
        let along = Extrapolation {
            params: 1.0,
            tokens: 1.0,
            ..self.extrapolation(params, tokens)
        };
        scatter.about(mean, &drawn, along)
    }
}

/// Fits the law; intervals come from draws of budgets.
///
/// # Errors
/// Those of [`isoflop::fit`]; `too_few_budgets` below four minima; `at_bound` where the loss is no power of compute.
pub fn fit(runs: &[BudgetRun], draws: Draws) -> Result<MinimaFound, Refusal> {
    let optimum = isoflop::fit(runs, draws)?;
    let minima = optimum.minima();
    if minima.len() < MINIMA_MIN {
        return Err(Refusal::TooFewBudgets { found: minima.len() });
    }
    let even = vec![1.0; minima.len()];
    let law = solve(&minima, &even).ok_or_else(|| Refusal::NotIdentified {
        why: "the lowest losses do not fall with compute".to_owned(),
    })?;
    for bound in [EXPONENTS.0, EXPONENTS.1] {
        if (law.c / bound - 1.0).abs() < 1e-6 {
            return Err(Refusal::AtBound { name: "c", bound });
        }
    }
    let squares: f64 = minima.iter().map(|point| miss(&law, point).powi(2)).sum();
    Ok(MinimaFound {
        law,
        draws: draws.resample(minima.len(), |times| solve(&minima, times)),
        factors: Factors::of_resampling(minima.len(), CONSTANTS, minima.len()),
        scatter: (squares / (minima.len() - CONSTANTS) as f64).sqrt(),
        seen: range(&minima),
        widening: rolled(&minima),
        optimum,
    })
}

/// The sizes, tokens and budgets of some minima.
fn range(minima: &[(f64, ComputeMinimum)]) -> Range {
    let ends = |of: fn(&(f64, ComputeMinimum)) -> f64| {
        let values = minima.iter().map(of);
        values.fold([f64::INFINITY, 0.0], |[low, high], value| {
            [value.min(low), value.max(high)]
        })
    };
    Range {
        params: ends(|point| point.1.params),
        tokens: ends(|point| point.1.tokens),
        flops: ends(|point| point.0),
    }
}

/// The relative miss at a minimum.
fn miss(law: &MinimaLaw, (flops, minimum): &(f64, ComputeMinimum)) -> f64 {
    law.loss(*flops) / minimum.loss - 1.0
}

/// Fits the smaller budgets and predicts the larger ones.
fn rolled(minima: &[(f64, ComputeMinimum)]) -> Option<Widening> {
    let fits = (MINIMA_MIN..minima.len()).filter_map(|count| {
        let (seen, held) = minima.split_at(count);
        let law = solve(seen, &vec![1.0; count])?;
        let squares: f64 = seen.iter().map(|point| miss(&law, point).powi(2)).sum();
        let scatter = (squares / (count - CONSTANTS) as f64).sqrt();
        let last = seen[count - 1].0;
        let misses: Vec<(f64, f64)> = held
            .iter()
            .map(|point| (miss(&law, point), (point.0 / last).ln()))
            .collect();
        Rolled::new(&misses, scatter)
    });
    widening(&fits.collect::<Vec<_>>(), Axis::Flops)
}

/// The constants of the least relative squares: for each exponent the other two are linear, and the best exponent is
/// found on a grid, then between its neighbours. `None` where the loss does not fall.
fn solve(minima: &[(f64, ComputeMinimum)], weights: &[f64]) -> Option<MinimaLaw> {
    let total: f64 = weights.iter().sum();
    let centre = minima
        .iter()
        .zip(weights)
        .map(|(point, weight)| weight * point.0.ln())
        .sum::<f64>()
        / total;
    let at = |c: f64| {
        let mut normal = Normal::<2>::empty();
        for ((flops, minimum), weight) in minima.iter().zip(weights) {
            let power = (-c * (flops.ln() - centre)).exp();
            normal.add_row(&[1.0 / minimum.loss, power / minimum.loss], 1.0, *weight);
        }
        let found = linear_algebra::non_negative(&normal.gram, &normal.rhs);
        // The sum of squares, up to what does not depend on the constants.
        let gain: f64 = (0..2).map(|i| found[i] * normal.rhs[i]).sum();
        (total - gain, found)
    };
    let (first, last) = EXPONENTS;
    let exponent = |k: f64| first * (last / first).powf(k / (GRID - 1) as f64);
    let best = (0..GRID).min_by(|&a, &b| at(exponent(a as f64)).0.total_cmp(&at(exponent(b as f64)).0))?;
    let (mut low, mut high) = ((best as f64 - 1.0).max(0.0), (best as f64 + 1.0).min((GRID - 1) as f64));
    for _ in 0..HALVINGS {
        let (a, b) = (low + 0.382 * (high - low), low + 0.618 * (high - low));
        if at(exponent(a)).0 <= at(exponent(b)).0 {
            high = b;
        } else {
            low = a;
        }
    }
    let c = exponent(0.5 * (low + high));
    let [e, scale] = at(c).1;
    (scale > 0.0).then(|| MinimaLaw {
        e,
        k: scale * (c * centre).exp(),
        c,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Profiles of five sizes about the best one of each budget.
    fn runs(law: &MinimaLaw, budgets: i32) -> Vec<BudgetRun> {
        let mut runs = Vec::new();
        for budget in 0..budgets {
            let flops = 1e18 * 3f64.powi(budget);
            let best = 0.1 * flops.sqrt();
            for step in -2..=2 {
                let params = best * 1.6_f64.powi(step);
                let off = (params / best).ln();
                runs.push(BudgetRun {
                    label: format!("{budget} {step}"),
                    flops,
                    params,
                    tokens: flops / (6.0 * params),
                    loss: law.loss(flops) * (1.0 + 0.02 * off * off),
                });
            }
        }
        runs
    }

    #[test]
    fn planted_minima_come_back_and_are_predicted() {
        let planted = MinimaLaw {
            e: 1.8,
            k: 1000.0,
            c: 0.15,
        };
        let found = fit(&runs(&planted, 7), Draws { count: 100, seed: 0 }).expect("a law");
        let (params, tokens) = (1e10, 1e23 / 6e10);
        let (law, predicted) = (found.law, found.predict(params, tokens));
        assert!((law.e - 1.8).abs() < 1e-3 && (law.c - 0.15).abs() < 1e-3, "{law:?}");
        assert!((found.optimum.params.exponent.value - 0.5).abs() < 1e-6);
        assert!((predicted.mean / planted.loss(1e23) - 1.0).abs() < 1e-3);
        assert!(predicted.ci50.is_some() && predicted.ci95_new_run.is_some());
        let beyond = found.extrapolation(params, tokens).flops / (1e23 / (1e18 * 729.0));
        assert!((beyond - 1.0).abs() < 1e-6, "{beyond}");
    }

    #[test]
    fn three_minima_are_too_few_for_three_constants() {
        let planted = MinimaLaw {
            e: 1.8,
            k: 1000.0,
            c: 0.15,
        };
        let refusal = fit(&runs(&planted, 3), Draws { count: 0, seed: 0 }).expect_err("too few");
        assert_eq!(refusal.code(), "too_few_budgets");
    }
}
