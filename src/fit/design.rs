//! What a table of runs can carry: sizes, budgets, configurations, whether size and data can be told apart, and how far
//! a place lies beyond it.
//!
//! Refuses to look at losses: a design is refused before anything is fitted.

use serde::{Deserialize, Serialize};

use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;
use crate::units::six_nd;

/// Sizes (or budgets) that differ by less than this share are one: counts of one model differ by convention.
pub const SAME_SIZE: f64 = 0.02;
/// Budgets of compute within this share are one: whole steps round them.
pub(crate) const SAME_BUDGET: f64 = 0.05;
/// A power law with an offset has three constants a variable, so three values are the least.
pub const VALUES_MIN: usize = 3;
/// Five constants, and one configuration more to see that they do not fit.
pub const CONFIGURATIONS_MIN: usize = 6;
/// Above this correlation of ln N with ln D the two terms are one.
const CORRELATION_MAX: f64 = 0.999;

/// Rows that a law is fitted to, in canonical order, with the runs of one configuration numbered alike.
#[derive(Debug, Clone)]
pub(crate) struct Design {
    pub(crate) rows: Vec<Observation>,
    /// For each row its configuration, counted from zero.
    pub(crate) configuration: Vec<usize>,
    /// The number of configurations.
    pub(crate) configurations: usize,
}

impl Design {
    /// Sorts rows and numbers their configurations.
    pub(crate) fn new(mut rows: Vec<Observation>) -> Self {
        rows.sort_by(Observation::full_order);
        let mut configuration = Vec::with_capacity(rows.len());
        let mut current = 0;
        for (i, row) in rows.iter().enumerate() {
            if i > 0 && rows[i - 1].configuration_order(row).is_ne() {
                current += 1;
            }
            configuration.push(current);
        }
        Self {
            configurations: configuration.last().map_or(0, |last| last + 1),
            configuration,
            rows,
        }
    }

    /// The rows that `keep` accepts.
    pub(crate) fn subset(&self, mut keep: impl FnMut(&Observation) -> bool) -> Self {
        Self::new(self.rows.iter().filter(|row| keep(row)).cloned().collect())
    }

    /// Refuses a design that cannot carry a law that needs so many sizes and configurations, whatever the losses are.
    pub(crate) fn check(&self, sizes_min: usize, configurations_min: usize) -> Result<(), Refusal> {
        if self.rows.is_empty() {
            return Err(Refusal::NotFinished { left_out: 0 });
        }
        let sizes = distinct(self.rows.iter().map(|row| row.params)).len();
        if sizes < sizes_min {
            return Err(Refusal::TooFewSizes {
                found: sizes,
                needed: sizes_min,
            });
        }
        let budgets = distinct(self.rows.iter().map(|row| row.tokens)).len();
        if budgets < VALUES_MIN {
            return Err(Refusal::TooFewBudgets { found: budgets });
        }
        if self.configurations < configurations_min {
            return Err(Refusal::NotIdentified {
                why: format!(
                    "{} pairs of size and tokens; this law needs {configurations_min} at least",
                    self.configurations
                ),
            });
        }
        if self.correlation() > CORRELATION_MAX {
            return Err(Refusal::NotIdentified {
                why: "tokens grow with size along one line, so their terms are one; vary tokens at equal size"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// The correlation of ln N with ln D over the rows.
    fn correlation(&self) -> f64 {
        let count = self.rows.len() as f64;
        let mean = |f: &dyn Fn(&Observation) -> f64| self.rows.iter().map(f).sum::<f64>() / count;
        let n = |row: &Observation| row.params.ln();
        let d = |row: &Observation| row.tokens.ln();
        let (mean_n, mean_d) = (mean(&n), mean(&d));
        let product = |f: &dyn Fn(&Observation) -> f64| self.rows.iter().map(f).sum::<f64>();
        let nd = product(&|row| (n(row) - mean_n) * (d(row) - mean_d));
        let nn = product(&|row| (n(row) - mean_n).powi(2));
        let dd = product(&|row| (d(row) - mean_d).powi(2));
        nd / (nn * dd).sqrt()
    }
}

/// The distinct values in ascending order, each the smallest of those within [`SAME_SIZE`] of it.
pub(crate) fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut ascending: Vec<f64> = values.collect();
    ascending.sort_by(f64::total_cmp);
    let mut firsts: Vec<f64> = Vec::new();
    for value in ascending {
        if firsts.last().is_none_or(|&first| value > first * (1.0 + SAME_SIZE)) {
            firsts.push(value);
        }
    }
    firsts
}

/// The smallest and the largest value among the runs of a fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    pub params: [f64; 2],
    pub tokens: [f64; 2],
    /// Training compute in FLOP.
    pub flops: [f64; 2],
}

/// How many times beyond the data a point lies: above one beyond the largest run, below one short of the smallest,
/// one inside.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extrapolation {
    pub params: f64,
    pub tokens: f64,
    pub flops: f64,
}

impl Range {
    /// The range of the runs of a design.
    pub(crate) fn of(design: &Design) -> Self {
        Self::of_runs(&design.rows)
    }

    pub(crate) fn of_runs(rows: &[Observation]) -> Self {
        Self {
            params: ends(rows.iter().map(|row| row.params)),
            tokens: ends(rows.iter().map(|row| row.tokens)),
            flops: ends(rows.iter().map(Observation::compute)),
        }
    }

    /// How far outside a point lies.
    pub(crate) fn extrapolation(&self, params: f64, tokens: f64) -> Extrapolation {
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
            flops: beyond(self.flops, six_nd(params, tokens)),
        }
    }
}

impl Extrapolation {
    /// How far a point lies beyond runs, given by parameters and tokens; none without runs.
    pub fn beyond(runs: impl Iterator<Item = (f64, f64)>, params: f64, tokens: f64) -> Option<Self> {
        let runs: Vec<(f64, f64)> = runs.collect();
        let range = Range {
            params: ends(runs.iter().map(|run| run.0)),
            tokens: ends(runs.iter().map(|run| run.1)),
            flops: ends(runs.iter().map(|run| six_nd(run.0, run.1))),
        };
        (!runs.is_empty()).then(|| range.extrapolation(params, tokens))
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::observation::tests::bare;

    fn grid(sizes: &[f64], budgets: &[f64]) -> Design {
        let mut rows = Vec::new();
        for &n in sizes {
            for &d in budgets {
                rows.push(bare("r", n, d, 3.0));
            }
        }
        Design::new(rows)
    }

    #[test]
    fn each_poor_design_is_refused_by_its_own_code() {
        let code = |design: Design| {
            design
                .check(VALUES_MIN, CONFIGURATIONS_MIN)
                .map_err(|refusal| refusal.code())
        };
        assert_eq!(code(grid(&[], &[])), Err("not_finished"));
        assert_eq!(code(grid(&[1e6, 1.01e6, 2e6], &[1e7, 2e7, 4e7])), Err("too_few_sizes"));
        assert_eq!(code(grid(&[1e6, 2e6, 4e6], &[1e7, 2e7])), Err("too_few_budgets"));
        let line = (0..8)
            .map(|k| bare("r", 1e6 * f64::from(1 << k), 2e7 * f64::from(1 << k), 3.0))
            .collect();
        assert_eq!(code(Design::new(line)), Err("not_identified"));
        assert_eq!(code(grid(&[1e6, 2e6, 4e6], &[1e7, 2e7, 4e7])), Ok(()));
        assert!(grid(&[1e6, 2e6, 4e6], &[1e7, 2e7, 4e7]).check(4, 9).is_err());
    }

    #[test]
    fn seeds_are_one_configuration() {
        let mut rows = vec![bare("a", 1e6, 1e7, 3.0); 3];
        rows[1].seed = Some(1);
        rows[2].tokens = 2e7;
        assert_eq!(Design::new(rows).configuration, [0, 0, 1]);
    }

    #[test]
    fn inside_the_data_nothing_is_extrapolated() {
        let range = Range {
            params: [1e6, 1e7],
            tokens: [1e8, 1e9],
            flops: [6e14, 6e16],
        };
        let inside = range.extrapolation(2e6, 2e8);
        assert_eq!((inside.params, inside.tokens, inside.flops), (1.0, 1.0, 1.0));
        let outside = range.extrapolation(4e7, 5e7);
        assert!((outside.params - 4.0).abs() < 1e-12 && (outside.tokens - 0.5).abs() < 1e-12);
        assert!((outside.e_folds() - 4.0_f64.ln()).abs() < 1e-12);
    }
}
