//! The loss at a size and a number of tokens, how sure that is, and how far it lies outside the data.
//!
//! Refuses to know how the constants were found.

use serde::{Deserialize, Serialize};

use crate::fit::chinchilla::Constants;
use crate::fit::design::Design;
use crate::fit::observation::Observation;
use crate::fit::spread::Spread;
use crate::fit::stats;

/// The smallest and the largest value among the runs of a fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Parameters.
    pub params: [f64; 2],
    /// Tokens.
    pub tokens: [f64; 2],
    /// Training compute in FLOP.
    pub flops: [f64; 2],
}

/// How many times beyond the data a point lies: above one beyond the largest run, below one short of the smallest,
/// one inside.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extrapolation {
    /// In parameters.
    pub params: f64,
    /// In tokens.
    pub tokens: f64,
    /// In training compute.
    pub flops: f64,
}

/// How much intervals grow with the distance from the data, learned by rolling the hold-out forward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Widening {
    /// The relative half-width that is added (in squares) per e-fold of extrapolation.
    pub per_e_fold: f64,
    /// How many fits of the smaller runs were asked for the larger ones.
    pub rolled_fits: u32,
    /// How many predictions they made of runs that they had not seen.
    pub predictions: usize,
    /// The share of those predictions that intervals without widening cover.
    pub covered_without: f64,
}

/// A predicted loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PredictedLoss {
    /// The law's value: the expected loss of runs there.
    pub mean: f64,
    /// Where that expected loss lies; `None` for a fit without draws.
    pub ci95_mean: Option<[f64; 2]>,
    /// Where one new run would lie.
    pub ci95_new_run: Option<[f64; 2]>,
}

/// A predicted loss and how far from the data it stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The loss.
    pub loss: PredictedLoss,
    /// The distance.
    pub extrapolation: Extrapolation,
}

impl Range {
    /// The range of the runs of a design.
    pub(crate) fn of(design: &Design) -> Self {
        let rows = &design.rows;
        Self {
            params: ends(rows.iter().map(|row| row.params)),
            tokens: ends(rows.iter().map(|row| row.tokens)),
            flops: ends(rows.iter().map(Observation::compute)),
        }
    }

    /// How far outside a point lies.
    pub fn extrapolation(&self, params: f64, tokens: f64, flops: f64) -> Extrapolation {
        let beyond = |[low, high]: [f64; 2], value: f64| {
            if value > high {
                value / high
            } else if value < low {
                value / low
            } else {
                1.0
            }
        };
        Extrapolation {
            params: beyond(self.params, params),
            tokens: beyond(self.tokens, tokens),
            flops: beyond(self.flops, flops),
        }
    }
}

impl Extrapolation {
    /// The distance in e-folds along the variable that is furthest out.
    pub fn e_folds(&self) -> f64 {
        [self.params, self.tokens, self.flops]
            .iter()
            .map(|factor| factor.ln().abs())
            .fold(0.0, f64::max)
    }
}

/// The smallest and the largest value.
fn ends(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, 0.0], |[low, high], value| {
        [low.min(value), high.max(value)]
    })
}

/// Everything that a prediction needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Predictor<'a> {
    /// The constants of the fit.
    pub(crate) constants: Constants,
    /// Its draws.
    pub(crate) spread: &'a Spread,
    /// What held-out runs taught, where there were enough.
    pub(crate) widening: Option<Widening>,
    /// The range of its runs.
    pub(crate) range: Range,
}

impl Predictor<'_> {
    /// The loss at a point whose compute is `flops`.
    pub(crate) fn predict(&self, params: f64, tokens: f64, flops: f64) -> Prediction {
        let mean = self.constants.loss(params, tokens);
        let extrapolation = self.range.extrapolation(params, tokens, flops);
        let per_e_fold = self.widening.map_or(0.0, |widening| widening.per_e_fold);
        let distance = mean * per_e_fold * extrapolation.e_folds();
        let run = mean * self.spread.run_sd * self.spread.run_factor;
        let drawn = self
            .spread
            .interval(mean, |constants| constants.loss(params, tokens))
            .map(|(interval, _)| interval);
        // Errors of different origin add in squares.
        let widened = |[low, high]: [f64; 2], by: f64| {
            [
                mean - stats::in_squares(mean - low, by),
                mean + stats::in_squares(high - mean, by),
            ]
        };
        let of_mean = drawn.map(|interval| widened(interval, distance));
        Prediction {
            loss: PredictedLoss {
                mean,
                ci95_mean: of_mean,
                ci95_new_run: of_mean.map(|interval| widened(interval, run)),
            },
            extrapolation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_the_data_nothing_is_extrapolated() {
        let range = Range {
            params: [1e6, 1e7],
            tokens: [1e8, 1e9],
            flops: [6e14, 6e16],
        };
        let inside = range.extrapolation(2e6, 2e8, 2.4e15);
        assert_eq!(
            (inside.params, inside.tokens, inside.flops),
            (1.0, 1.0, 1.0)
        );
        let outside = range.extrapolation(4e7, 5e7, 1.2e16);
        assert!((outside.params - 4.0).abs() < 1e-12 && (outside.tokens - 0.5).abs() < 1e-12);
        assert!((outside.e_folds() - 4.0_f64.ln()).abs() < 1e-12);
    }
}
