//! What a law is fitted on: one finished run each.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::refusal::Refusal;
use crate::setup::Setup;
use crate::units::six_nd;

/// One finished, decayed run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// What the run is called.
    pub label: String,
    /// Parameters, by the convention that the fit names.
    pub params: f64,
    pub tokens: f64,
    /// Final loss, nats per token.
    pub loss: f64,
    /// Peak learning rate, where known.
    pub lr: Option<f64>,
    /// Tokens in a batch, where known.
    pub batch_tokens: Option<f64>,
    pub schedule: Option<String>,
    /// Seed, where known: equal configurations with other seeds are replicates.
    pub seed: Option<u64>,
    /// Training compute in FLOP, where it was told.
    pub flops: Option<f64>,
    /// All settings but the seed, where known: runs in which they differ are no replicates.
    #[serde(skip)]
    pub setup: Option<Setup>,
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

    /// Training compute in FLOP: as told, else 6 · params · tokens (Kaplan et al. 2020, arXiv 2001.08361).
    pub fn compute(&self) -> f64 {
        self.flops.unwrap_or(six_nd(self.params, self.tokens))
    }

    /// The order of points: size, then tokens.
    pub(crate) fn point_order(&self, other: &Self) -> Ordering {
        self.params
            .total_cmp(&other.params)
            .then_with(|| self.tokens.total_cmp(&other.tokens))
    }

    /// Whether both are of one size and one budget.
    fn is_of_point(&self, other: &Self) -> bool {
        if let (Some(setup), Some(of_other)) = (&self.setup, &other.setup) {
            return setup.is_of_point(of_other);
        }
        let is_of_budget = match (self.batch_tokens, other.batch_tokens) {
            (Some(a), Some(b)) => same_budget([self.tokens, a], [other.tokens, b]),
            _ => self.tokens.total_cmp(&other.tokens).is_eq(),
        };
        self.params.total_cmp(&other.params).is_eq() && is_of_budget
    }

    /// The order of configurations: everything that makes two runs differ, but for the seed.
    pub(crate) fn configuration_order(&self, other: &Self) -> Ordering {
        self.point_order(other)
            .then_with(|| compare_optional(self.lr, other.lr))
            .then_with(|| compare_optional(self.batch_tokens, other.batch_tokens))
            .then_with(|| self.schedule.cmp(&other.schedule))
            .then_with(|| self.setup.cmp(&other.setup))
    }

    /// One order for any set of runs, so that no result depends on the order of a file.
    pub(crate) fn full_order(&self, other: &Self) -> Ordering {
        self.configuration_order(other)
            .then_with(|| self.seed.cmp(&other.seed))
            .then_with(|| self.loss.total_cmp(&other.loss))
            .then_with(|| self.label.cmp(&other.label))
    }
}

/// Whether `[tokens, tokens of a batch]` of two runs are one budget, where nobody tells what was asked: it is rounded to
/// whole batches, and so it is not the same number of tokens at every batch.
pub fn same_budget(a: [f64; 2], b: [f64; 2]) -> bool {
    let rounding = if a[1].total_cmp(&b[1]).is_eq() {
        0.0
    } else {
        f64::midpoint(a[1], b[1])
    };
    (a[0] - b[0]).abs() <= rounding
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

/// Why a run is left out that has another schedule than most.
pub(crate) const OTHER_SCHEDULE: &str = "another schedule than that of most points";

/// Keeps of the runs of one schedule, at each size and number of tokens, the configuration with the lowest mean loss:
/// a law of final loss is the law of runs that were tuned. The schedule is the one that covers most points (and of
/// two that cover as many, the one with the lower losses). The rest is given back with the reason.
pub fn best_per_cell(all: &[Observation]) -> (Vec<Observation>, Vec<(String, String)>) {
    let mut ordered = all.to_vec();
    ordered.sort_by(Observation::full_order);
    let schedule = most_covering(&ordered);
    let (of_schedule, others): (Vec<_>, Vec<_>) = ordered.into_iter().partition(|run| run.schedule == schedule);
    let mut left_out: Vec<(String, String)> = others
        .into_iter()
        .map(|run| (run.label, OTHER_SCHEDULE.to_owned()))
        .collect();
    let mut kept = Vec::new();
    for point in of_schedule.chunk_by(Observation::is_of_point) {
        let best = best_configuration(point);
        for configuration in point.chunk_by(|a, b| a.configuration_order(b).is_eq()) {
            if best.is_some_and(|best| best[0].configuration_order(&configuration[0]).is_eq()) {
                kept.extend_from_slice(configuration);
            } else {
                let why = "another configuration does better at this size and these tokens";
                left_out.extend(configuration.iter().map(|run| (run.label.clone(), why.to_owned())));
            }
        }
    }
    (kept, left_out)
}

/// The schedule with the most points (size, tokens), then with the lowest mean of the best losses.
fn most_covering(ordered: &[Observation]) -> Option<String> {
    let mut by_schedule: BTreeMap<Option<String>, Vec<Observation>> = BTreeMap::new();
    for run in ordered {
        by_schedule.entry(run.schedule.clone()).or_default().push(run.clone());
    }
    by_schedule
        .into_iter()
        .map(|(schedule, runs)| {
            let best: Vec<f64> = runs
                .chunk_by(Observation::is_of_point)
                .filter_map(|point| best_configuration(point).map(mean_loss))
                .collect();
            let mean = best.iter().sum::<f64>() / best.len() as f64;
            (best.len(), mean, schedule)
        })
        .min_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)))
        .and_then(|(_, _, schedule)| schedule)
}

/// The runs of the configuration with the lowest mean loss among those of one point.
fn best_configuration(point: &[Observation]) -> Option<&[Observation]> {
    point
        .chunk_by(|a, b| a.configuration_order(b).is_eq())
        .min_by(|a, b| mean_loss(a).total_cmp(&mean_loss(b)))
}

/// The mean loss of some runs.
fn mean_loss(runs: &[Observation]) -> f64 {
    runs.iter().map(|run| run.loss).sum::<f64>() / runs.len() as f64
}

#[cfg(test)]
pub(crate) mod tests {
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
            flops: None,
            setup: None,
        }
    }

    /// A run of which only size, tokens and loss are known.
    pub(crate) fn bare(label: &str, params: f64, tokens: f64, loss: f64) -> Observation {
        Observation {
            lr: None,
            tokens,
            ..run(label, params, 1.0, loss)
        }
    }

    #[test]
    fn runs_of_the_schedule_that_covers_most_points_are_kept() {
        let with = |name: &str, label: &str, params: f64, loss: f64| Observation {
            schedule: Some(name.to_owned()),
            ..run(label, params, 0.1, loss)
        };
        let runs = [
            with("cosine", "a", 10.0, 1.0),
            with("wsd", "b", 10.0, 3.0),
            with("wsd", "c", 20.0, 2.8),
        ];
        let (kept, left_out) = best_per_cell(&runs);
        let kept: Vec<&str> = kept.iter().map(|run| run.label.as_str()).collect();
        assert_eq!(kept, ["b", "c"]);
        assert_eq!(left_out[0].0, "a");
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
    fn a_budget_of_four_million_is_one_at_every_batch() {
        let with = |label: &str, batch: f64, tokens: f64, loss: f64| Observation {
            tokens,
            batch_tokens: Some(batch),
            ..run(label, 10.0, 0.1, loss)
        };
        let runs = [
            with("a", 1024.0, 3_999_744.0, 1.7),
            with("b", 4096.0, 4_001_792.0, 1.6),
            with("c", 32768.0, 3_997_696.0, 2.3),
            with("d", 1024.0, 2_000_896.0, 1.9),
        ];
        let (kept, _) = best_per_cell(&runs);
        let kept: Vec<&str> = kept.iter().map(|run| run.label.as_str()).collect();
        assert_eq!(kept, ["d", "b"]);
    }

    #[test]
    fn numbers_that_no_run_can_have_are_refused() {
        for loss in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            assert!(run("a", 10.0, 0.1, loss).check().is_err());
        }
    }
}
