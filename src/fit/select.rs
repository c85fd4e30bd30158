//! Which finished runs enter a law over size and tokens: one schedule, and at each point the best hyperparameters.
//!
//! The law describes what a size can reach, so a run with a poor learning rate says nothing about it. What is left
//! out is counted with its reason. Refuses to look at the law.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::observation::Observation;

/// Which of the finished runs are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// One schedule, and at each size and number of tokens the learning rate and batch of the lowest mean loss.
    #[default]
    Best,
    /// Every row.
    All,
}

/// Runs that a fit did not use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why: `other_schedule`, `not_the_best_hyperparameters`, or a reason of the caller's.
    pub reason: String,
    /// How many.
    pub n: usize,
}

/// What was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    /// The runs, in canonical order.
    pub(crate) rows: Vec<Observation>,
    /// Their schedule, if they have one.
    pub(crate) schedule: Option<String>,
    /// The others.
    pub(crate) left_out: Vec<LeftOut>,
}

/// Chooses among rows in canonical order; `schedule` names the schedule, else the one that covers most points (and
/// of two that cover as many, the one with the lower losses) is taken.
pub(crate) fn select(
    rows: &[Observation],
    selection: Selection,
    schedule: Option<&str>,
) -> Selected {
    let chosen = match schedule {
        Some(name) => Some(name.to_owned()),
        None => match selection {
            Selection::All => return all_of(rows),
            Selection::Best => most_covering(rows),
        },
    };
    let of_schedule: Vec<Observation> = rows
        .iter()
        .filter(|row| row.schedule == chosen)
        .cloned()
        .collect();
    let best = match selection {
        Selection::All => of_schedule.clone(),
        Selection::Best => best_of_each_point(&of_schedule),
    };
    let reasons = [
        ("other_schedule", rows.len() - of_schedule.len()),
        (
            "not_the_best_hyperparameters",
            of_schedule.len() - best.len(),
        ),
    ];
    Selected {
        rows: best,
        schedule: chosen,
        left_out: reasons
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|&(reason, n)| LeftOut {
                reason: reason.to_owned(),
                n,
            })
            .collect(),
    }
}

/// Every row; a schedule only if they share one.
fn all_of(rows: &[Observation]) -> Selected {
    let shared = rows
        .first()
        .and_then(|first| first.schedule.clone())
        .filter(|name| rows.iter().all(|row| row.schedule.as_deref() == Some(name)));
    Selected {
        rows: rows.to_vec(),
        schedule: shared,
        left_out: Vec::new(),
    }
}

/// The schedule with the most points (size, tokens), then with the lowest mean of the best losses.
fn most_covering(rows: &[Observation]) -> Option<String> {
    let mut by_schedule: BTreeMap<Option<String>, Vec<Observation>> = BTreeMap::new();
    for row in rows {
        by_schedule
            .entry(row.schedule.clone())
            .or_default()
            .push(row.clone());
    }
    let scored = by_schedule.into_iter().map(|(schedule, rows)| {
        let best: Vec<f64> = points(&rows)
            .iter()
            .filter_map(|point| best_configuration(point).map(mean_loss))
            .collect();
        let mean = best.iter().sum::<f64>() / best.len() as f64;
        (best.len(), mean, schedule)
    });
    scored
        .min_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)))
        .and_then(|(_, _, schedule)| schedule)
}

/// At each point the runs of the configuration with the lowest mean loss.
fn best_of_each_point(rows: &[Observation]) -> Vec<Observation> {
    points(rows)
        .iter()
        .filter_map(|point| best_configuration(point))
        .flatten()
        .cloned()
        .collect()
}

/// The runs of each point (size, tokens); rows come in canonical order, so they lie together.
fn points(rows: &[Observation]) -> Vec<&[Observation]> {
    rows.chunk_by(|a, b| a.point_order(b).is_eq()).collect()
}

/// The runs of the configuration with the lowest mean loss among those of one point.
fn best_configuration(point: &[Observation]) -> Option<&[Observation]> {
    point
        .chunk_by(|a, b| a.configuration_order(b).is_eq())
        .min_by(|a, b| mean_loss(a).total_cmp(&mean_loss(b)))
}

/// The mean loss of some runs.
fn mean_loss(rows: &[Observation]) -> f64 {
    rows.iter().map(|row| row.loss).sum::<f64>() / rows.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::observation::Observations;
    use crate::fit::observation::tests::bare;

    fn run(label: &str, tokens: f64, lr: f64, schedule: &str, loss: f64) -> Observation {
        Observation {
            lr: Some(lr),
            schedule: Some(schedule.to_owned()),
            ..bare(label, 1e6, tokens, loss)
        }
    }

    fn labels(selected: &Selected) -> Vec<&str> {
        selected.rows.iter().map(|row| row.label.as_str()).collect()
    }

    #[test]
    fn at_each_point_the_best_learning_rate_enters_with_all_its_seeds() {
        let mut seeds = vec![
            run("a", 1e7, 1e-3, "wsd", 3.0),
            run("b", 1e7, 1e-3, "wsd", 3.2),
            run("lucky", 1e7, 1e-2, "wsd", 2.9),
            run("unlucky", 1e7, 1e-2, "wsd", 3.5),
            run("c", 2e7, 1e-2, "wsd", 2.8),
        ];
        for (k, row) in seeds.iter_mut().enumerate() {
            row.seed = Some(k as u64);
        }
        let rows = Observations::new(seeds).unwrap();
        let selected = select(rows.rows(), Selection::Best, None);
        assert_eq!(labels(&selected), ["a", "b", "c"]);
        assert_eq!(selected.left_out[0].n, 2);
        assert_eq!(select(rows.rows(), Selection::All, None).rows.len(), 5);
    }

    #[test]
    fn the_schedule_that_covers_most_points_is_taken_unless_one_is_named() {
        let rows = Observations::new(vec![
            run("a", 1e7, 1e-2, "cosine", 2.0),
            run("b", 1e7, 1e-2, "wsd", 3.0),
            run("c", 2e7, 1e-2, "wsd", 2.8),
        ])
        .unwrap();
        let selected = select(rows.rows(), Selection::Best, None);
        assert_eq!(labels(&selected), ["b", "c"]);
        assert_eq!(selected.schedule.as_deref(), Some("wsd"));
        assert_eq!(
            labels(&select(rows.rows(), Selection::Best, Some("cosine"))),
            ["a"]
        );
    }
}
