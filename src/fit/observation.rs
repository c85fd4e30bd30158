//! What a law is fitted on: one finished run each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::refusal::Refusal;

/// One finished, decayed run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// What the run is called.
    pub label: String,
    /// Parameters, by the convention that the fit names.
    pub params: f64,
    /// Tokens.
    pub tokens: f64,
    /// Final loss, nats per token.
    pub loss: f64,
    /// Peak learning rate, where known.
    pub lr: Option<f64>,
    /// Tokens in a batch, where known.
    pub batch_tokens: Option<f64>,
    /// Schedule, where known.
    pub schedule: Option<String>,
    /// Seed, where known: equal configurations with other seeds are replicates.
    pub seed: Option<u64>,
}

impl Observation {
    /// Refuses numbers that no run can have.
    pub fn check(&self) -> Result<(), Refusal> {
        let numbers = [
            ("params", Some(self.params)),
            ("tokens", Some(self.tokens)),
            ("loss", Some(self.loss)),
        ];
        for (name, value) in numbers
            .into_iter()
            .chain([("lr", self.lr), ("batch", self.batch_tokens)])
        {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value <= 0.0) {
                let what = format!("{name} is {value}; it must be a positive number");
                return Err(Refusal::BadObservation {
                    label: self.label.clone(),
                    what,
                });
            }
        }
        Ok(())
    }

    /// What makes two runs the same configuration: everything but the seed.
    pub fn configuration(&self) -> (u64, u64, Option<u64>, Option<u64>, Option<&str>) {
        let bits = |value: f64| value.to_bits();
        let (lr, batch) = (self.lr.map(bits), self.batch_tokens.map(bits));
        (
            bits(self.params),
            bits(self.tokens),
            lr,
            batch,
            self.schedule.as_deref(),
        )
    }
}

/// Sizes, or budgets, that differ by more than this count as two.
const SAME: f64 = 1.02;

/// The distinct values among `values`, from small to large; those within 2 % of each other are one.
pub fn distinct(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let mut found: Vec<f64> = Vec::new();
    for value in sorted {
        if found.last().is_none_or(|last| value > last * SAME) {
            found.push(value);
        }
    }
    found
}

/// Whether two sizes, or budgets, count as one.
pub fn same(a: f64, b: f64) -> bool {
    a <= b * SAME && b <= a * SAME
}

/// Keeps the configuration with the lowest mean loss of each (N, D): a law of final loss is the law of runs that
/// were tuned. The rest is given back with the reason.
pub fn best_per_cell(all: &[Observation]) -> (Vec<Observation>, Vec<(String, String)>) {
    let mut cells: BTreeMap<(u64, u64), Vec<&Observation>> = BTreeMap::new();
    for run in all {
        cells
            .entry((run.params.to_bits(), run.tokens.to_bits()))
            .or_default()
            .push(run);
    }
    let mut kept = Vec::new();
    let mut left_out = Vec::new();
    for runs in cells.into_values() {
        let mut configurations: BTreeMap<_, Vec<&Observation>> = BTreeMap::new();
        for run in runs {
            configurations.entry(run.configuration()).or_default().push(run);
        }
        let mean = |runs: &[&Observation]| runs.iter().map(|run| run.loss).sum::<f64>() / runs.len() as f64;
        let best = configurations
            .iter()
            .min_by(|a, b| mean(a.1).total_cmp(&mean(b.1)))
            .map(|(key, _)| *key);
        for (key, runs) in configurations {
            for run in runs {
                if Some(key) == best {
                    kept.push(run.clone());
                } else {
                    let why = "another learning rate, batch or schedule does better at this size and these tokens";
                    left_out.push((run.label.clone(), why.to_owned()));
                }
            }
        }
    }
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(label: &str, params: f64, lr: f64, loss: f64) -> Observation {
        Observation {
            label: label.to_owned(),
            params,
            tokens: 1e6,
            loss,
            lr: Some(lr),
            batch_tokens: None,
            schedule: None,
            seed: None,
        }
    }

    #[test]
    fn sizes_within_two_percent_are_one() {
        assert_eq!(distinct([100.0, 101.0, 150.0, 99.5]).len(), 2);
    }

    #[test]
    fn the_best_learning_rate_of_each_cell_is_kept_with_all_its_seeds() {
        let runs = [
            run("a", 10.0, 0.1, 3.0),
            run("b", 10.0, 0.2, 2.0),
            run("c", 10.0, 0.2, 2.2),
            run("d", 20.0, 0.1, 1.0),
        ];
        let (kept, left_out) = best_per_cell(&runs);
        let kept: Vec<&str> = kept.iter().map(|run| run.label.as_str()).collect();
        assert_eq!(kept, ["b", "c", "d"]);
        assert_eq!(left_out[0].0, "a");
    }

    #[test]
    fn numbers_that_no_run_can_have_are_refused() {
        for loss in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            assert!(run("a", 10.0, 0.1, loss).check().is_err());
        }
    }
}
