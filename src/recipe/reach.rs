//! The largest run for which a study vouches, and what it would take to vouch for a larger one.
//!
//! The rule: a law vouches for runs as many times larger than the largest that it rests on as its own fits of smaller
//! runs have seen ahead, by parameters, tokens and compute each, and at most [`REACH_MAX`] times. A fit has seen as far as
//! it predicted all nearer sizes (budgets, computes) within [`ERROR_MAX`] in the mean. Fits are asked from the last cut
//! backwards; the first that is wrong somewhere ends it. The hold-out that stands beside the law counts as well, where
//! its runs lie within that error or within their intervals. Refuses to print and to withhold.

use serde::{Deserialize, Serialize};

use crate::fit::design::{SAME_BUDGET, SAME_SIZE};
use crate::fit::law::OfLoss;
use crate::fit::laws;
use crate::fit::loss::checks::foresight::{Foreseen, Foresight, foresight};
use crate::fit::loss::loss_fit::{HeldOutPoint, Residual};
use crate::fit::observation::Observation;
use crate::units::six_nd;

/// Beyond this many times the largest proxy nothing counts as verified, whatever was foreseen: MiniCPM went from 0.5B to
/// 2.4B, five times.
pub(super) const REACH_MAX: f64 = 10.0;

/// The largest relative error of a prediction that counts as right.
const ERROR_MAX: f64 = 0.02;

/// A run by its three sizes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RunSize {
    pub params: f64,
    pub tokens: f64,
    /// 6ND, as the law counts compute.
    pub flops: f64,
}

impl RunSize {
    /// The run of so many parameters on so many tokens.
    pub(super) fn new(params: f64, tokens: f64) -> Self {
        Self {
            params,
            tokens,
            flops: six_nd(params, tokens),
        }
    }

    /// Whether a size lies within, whatever its tokens are.
    pub(super) fn holds_size(&self, params: f64) -> bool {
        params <= self.params * (1.0 + SAME_SIZE)
    }

    pub(super) fn holds(&self, run: Self) -> bool {
        self.holds_size(run.params)
            && run.tokens <= self.tokens * (1.0 + SAME_BUDGET)
            && run.flops <= self.flops * (1.0 + SAME_BUDGET)
    }

    fn of_each(&self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            params: of(self.params, other.params),
            tokens: of(self.tokens, other.tokens),
            flops: of(self.flops, other.flops),
        }
    }
}

/// How far a study vouches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reach {
    /// The largest run for which it does.
    pub(super) largest: RunSize,
    /// How many times the largest that was trained.
    pub(super) factors: RunSize,
}

impl Reach {
    /// Of a law that was fitted to some runs; none without runs.
    pub(super) fn of(law: &dyn OfLoss) -> Option<Self> {
        let runs = law.residuals();
        let trained = largest(runs.iter().map(|run| RunSize::new(run.params, run.tokens)))?;
        let compare = laws::named(law.name()).and_then(|law| law.about.compare);
        let observations: Vec<Observation> = runs.iter().map(observation).collect();
        let rolled = compare.map(|compare| foresight(&observations, compare, law.objective()));
        let factors = factors(&rolled.unwrap_or_default());
        let factors = match held_out(law, runs) {
            Some(seen) => factors.of_each(&seen, f64::max),
            None => factors,
        };
        // Who has foreseen a larger size or a longer run has foreseen its compute.
        let flops = factors.flops.max(factors.params).max(factors.tokens);
        let factors = RunSize { flops, ..factors }.of_each(&factors, |factor, _| factor.clamp(1.0, REACH_MAX));
        Some(Self {
            largest: trained.of_each(&factors, |trained, factor| trained * factor),
            factors,
        })
    }

    /// The run that would have to be among the proxies for a target to lie within, seen as far ahead as here.
    pub(super) fn needed(&self, target: RunSize) -> RunSize {
        let params = target.params / self.factors.params;
        let tokens = target.tokens / self.factors.tokens;
        // Compute may ask for more than both: then the longer run is the cheaper way.
        let flops = target.flops / self.factors.flops;
        RunSize::new(params, tokens.max(flops / six_nd(params, 1.0)))
    }
}

fn observation(run: &Residual) -> Observation {
    Observation {
        label: run.label.clone(),
        params: run.params,
        tokens: run.tokens,
        loss: run.measured,
        lr: None,
        batch_tokens: None,
        schedule: None,
        seed: None,
        flops: None,
        setup: None,
    }
}

/// The largest of each of the three over some runs.
fn largest(runs: impl Iterator<Item = RunSize>) -> Option<RunSize> {
    runs.reduce(|a, b| a.of_each(&b, f64::max))
}

fn factors(rolled: &Foresight) -> RunSize {
    RunSize {
        params: factor(&rolled.params),
        tokens: factor(&rolled.tokens),
        flops: factor(&rolled.flops),
    }
}

/// How far the fits were right; the last cut comes first.
fn factor(fits: &[Vec<Foreseen>]) -> f64 {
    let mut farthest: f64 = 1.0;
    for fit in fits {
        let right = fit.iter().take_while(|seen| seen.error <= ERROR_MAX);
        let last = right.clone().last().map_or(1.0, |seen| seen.factor);
        farthest = farthest.max(last);
        if right.count() < fit.len() {
            break;
        }
    }
    farthest
}

/// How far ahead the runs of the hold-out lay, where all of them were right; none where they were not.
fn held_out(law: &dyn OfLoss, runs: &[Residual]) -> Option<RunSize> {
    let held = law.hold_out()?;
    let is_right = |point: &HeldOutPoint| {
        let is_near = (point.predicted - point.loss).abs() <= ERROR_MAX * point.loss;
        is_near
            || point
                .ci95_new_run
                .is_some_and(|[low, high]| low <= point.loss && point.loss <= high)
    };
    if !held.points.iter().all(is_right) {
        return None;
    }
    let is_seen = |run: &RunSize| match held.by.as_str() {
        "params" => run.params <= held.above,
        _ => run.flops <= held.above,
    };
    let seen = largest(
        runs.iter()
            .map(|run| RunSize::new(run.params, run.tokens))
            .filter(is_seen),
    )?;
    let ahead = largest(held.points.iter().map(|run| RunSize::new(run.params, run.tokens)))?;
    Some(ahead.of_each(&seen, |ahead, seen| ahead / seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(of: &[(f64, f64)]) -> Vec<Foreseen> {
        of.iter().map(|&(factor, error)| Foreseen { factor, error }).collect()
    }

    #[test]
    fn fits_vouch_as_far_as_they_were_right() {
        assert!((factor(&[]) - 1.0).abs() < 1e-12, "no fit has seen ahead");
        let good = fit(&[(2.4, 0.01)]);
        let far = fit(&[(3.3, 0.015), (7.9, 0.019)]);
        assert!((factor(&[good.clone(), far.clone()]) - 7.9).abs() < 1e-12);
        let stumbles = fit(&[(3.3, 0.015), (7.9, 0.03)]);
        assert!((factor(&[good.clone(), stumbles.clone(), far.clone()]) - 3.3).abs() < 1e-12);
        // What is far and right behind what is near and wrong is luck.
        let lucky = fit(&[(3.3, 0.05), (7.9, 0.001)]);
        assert!((factor(&[good, lucky]) - 2.4).abs() < 1e-12);
        let wrong = fit(&[(2.4, 0.08)]);
        assert!((factor(&[wrong, far]) - 1.0).abs() < 1e-12, "the last fit knows most");
    }

    #[test]
    fn a_run_lies_within_by_parameters_tokens_and_compute() {
        let reach = RunSize {
            params: 1e6,
            tokens: 1e8,
            flops: 1e14,
        };
        assert!(reach.holds(RunSize::new(1e6, 1e7)));
        assert!(!reach.holds(RunSize::new(2e6, 1e6)) && !reach.holds(RunSize::new(1e3, 2e8)));
        assert!(!reach.holds(RunSize::new(1e6, 1e8)), "6e14 FLOP");
    }

    #[test]
    fn what_a_target_needs_brings_it_within() {
        let one = |params, tokens, flops| RunSize { params, tokens, flops };
        let factors = one(5.0, 2.0, 6.0);
        let reach = Reach {
            largest: one(1e6, 1e7, 6e13),
            factors,
        };
        let target = RunSize::new(1e9, 2e10);
        let needed = reach.needed(target);
        let then = needed.of_each(&factors, |trained, factor| trained * factor);
        assert!(then.holds(target), "{needed:?}");
    }
}
