//! What a law is fitted to: finished runs as plain numbers, checked once and put into one order.
//!
//! Refuses to know where runs come from, and whether they are worth a fit.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// One finished run whose learning rate has decayed to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// How errors and warnings name the run: a trial or a line of a file.
    pub label: String,
    /// Parameters, by the one convention of the whole fit.
    pub params: f64,
    /// Tokens trained on.
    pub tokens: f64,
    /// The final loss in nats per token (or in another unit, the same for all).
    pub loss: f64,
    /// The peak learning rate, where known.
    pub lr: Option<f64>,
    /// Tokens a batch, where known.
    pub batch_tokens: Option<f64>,
    /// The seed, where known; runs that differ in it alone are replicates.
    pub seed: Option<u64>,
    /// The learning-rate schedule, where known.
    pub schedule: Option<String>,
    /// Training compute in FLOP, where known; else 6 · params · tokens stands in.
    pub flops: Option<f64>,
    /// The width of the model, where known.
    pub width: Option<f64>,
}

/// Why a run cannot enter any fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{label}: {field} is {value}, it must be a positive number; correct the row or leave it out"
)]
pub struct ObservationError {
    /// Which run.
    pub label: String,
    /// Which of its numbers.
    pub field: &'static str,
    /// What it is.
    pub value: f64,
}

impl Observation {
    /// Training compute in FLOP: as given, else 6 · params · tokens (Kaplan et al. 2020, arXiv 2001.08361).
    pub fn compute(&self) -> f64 {
        self.flops.unwrap_or(6.0 * self.params * self.tokens)
    }

    /// Checks that every number is finite and positive.
    fn check(&self) -> Result<(), ObservationError> {
        let numbers = [
            ("params", Some(self.params)),
            ("tokens", Some(self.tokens)),
            ("loss", Some(self.loss)),
            ("lr", self.lr),
            ("batch_tokens", self.batch_tokens),
            ("flops", self.flops),
            ("width", self.width),
        ];
        for (field, value) in numbers {
            if let Some(value) = value
                && !(value.is_finite() && value > 0.0)
            {
                return Err(ObservationError {
                    label: self.label.clone(),
                    field,
                    value,
                });
            }
        }
        Ok(())
    }

    /// The order of points: size, then tokens.
    pub(crate) fn point_order(&self, other: &Self) -> Ordering {
        self.params
            .total_cmp(&other.params)
            .then_with(|| self.tokens.total_cmp(&other.tokens))
    }

    /// The order of configurations: everything that makes two runs differ, but for the seed.
    pub(crate) fn configuration_order(&self, other: &Self) -> Ordering {
        self.point_order(other)
            .then_with(|| compare_optional(self.lr, other.lr))
            .then_with(|| compare_optional(self.batch_tokens, other.batch_tokens))
            .then_with(|| self.schedule.cmp(&other.schedule))
    }

    /// One order for any set of runs, so that no result depends on the order of a file.
    fn full_order(&self, other: &Self) -> Ordering {
        self.configuration_order(other)
            .then_with(|| self.seed.cmp(&other.seed))
            .then_with(|| self.loss.total_cmp(&other.loss))
            .then_with(|| self.label.cmp(&other.label))
    }
}

/// Orders numbers that may be missing; missing comes first.
fn compare_optional(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// Checked runs in one canonical order.
#[derive(Debug, Clone, PartialEq)]
pub struct Observations(Vec<Observation>);

impl Observations {
    /// Checks every run and sorts them.
    ///
    /// # Errors
    /// Names the first run that has a number which is not finite and positive.
    pub fn new(mut rows: Vec<Observation>) -> Result<Self, ObservationError> {
        rows.iter().try_for_each(Observation::check)?;
        rows.sort_by(Observation::full_order);
        Ok(Self(rows))
    }

    /// The runs, in canonical order.
    pub fn rows(&self) -> &[Observation] {
        &self.0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run of which only size, tokens and loss are known.
    pub(crate) fn bare(label: &str, params: f64, tokens: f64, loss: f64) -> Observation {
        Observation {
            label: label.to_owned(),
            params,
            tokens,
            loss,
            lr: None,
            batch_tokens: None,
            seed: None,
            schedule: None,
            flops: None,
            width: None,
        }
    }

    #[test]
    fn a_number_that_is_not_finite_and_positive_names_its_row() {
        for wrong in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            let rows = vec![bare("row 1", 1e6, 1e7, 3.0), bare("row 2", 1e6, 1e7, wrong)];
            let error = Observations::new(rows).unwrap_err();
            assert_eq!((error.label.as_str(), error.field), ("row 2", "loss"));
        }
    }

    #[test]
    fn rows_come_out_in_one_order() {
        let (a, b) = (bare("a", 1e6, 1e7, 3.0), bare("b", 2e6, 1e7, 2.9));
        let there = Observations::new(vec![a.clone(), b.clone()]).unwrap();
        let back = Observations::new(vec![b, a]).unwrap();
        assert_eq!(there, back);
    }

    #[test]
    fn compute_is_the_given_one_before_the_rule_of_six() {
        let mut run = bare("a", 2.0, 3.0, 1.0);
        assert!((run.compute() - 36.0).abs() < 1e-12);
        run.flops = Some(50.0);
        assert!((run.compute() - 50.0).abs() < 1e-12);
    }
}
