//! Two studies side by side: the cells that both have, which differ in nothing but what sets the studies apart.
//!
//! Refuses to know how they are drawn.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::TrialRow;
use crate::setup::{Factor, Setup};

/// A setting that is one in each study and not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart {
    pub path: String,
    /// Its value in the first and in the second.
    pub values: [String; 2],
}

/// Runs of both studies with equal settings, but for what sets the studies apart and the seed.
#[derive(Debug, Clone)]
pub struct Cell<'a> {
    /// A run of the first study.
    pub run: &'a TrialRow,
    /// Mean final losses, nats per token.
    pub losses: [f64; 2],
    /// How many runs each is of.
    pub runs: [usize; 2],
}

impl Cell<'_> {
    /// The loss of the second less that of the first, nats per token.
    pub fn difference(&self) -> f64 {
        self.losses[1] - self.losses[0]
    }
}

/// Two studies, cell by cell.
#[derive(Debug, Clone)]
pub struct Beside<'a> {
    pub apart: Vec<Apart>,
    /// By size, budget and rate.
    pub cells: Vec<Cell<'a>>,
    /// Cells that only the first has, and only the second.
    pub alone: [usize; 2],
}

/// Pairs the finished runs of two studies.
pub fn beside<'a>(first: &'a [TrialRow], second: &'a [TrialRow]) -> Beside<'a> {
    let apart = apart(first, second);
    let out: BTreeSet<&str> = apart.iter().map(|it| it.path.as_str()).collect();
    let [of_first, of_second] = [first, second].map(|trials| cells(trials, &out));
    let mut found: Vec<Cell<'a>> = Vec::new();
    for (key, runs) in &of_first {
        let Some(others) = of_second.get(key) else { continue };
        found.push(Cell {
            run: runs[0],
            losses: [mean(runs), mean(others)],
            runs: [runs.len(), others.len()],
        });
    }
    found.sort_by(|a, b| {
        let place = |cell: &Cell<'_>| (cell.run.params_non_embedding, cell.run.tokens_asked);
        place(a).cmp(&place(b)).then(a.run.lr.total_cmp(&b.run.lr))
    });
    let shared = found.len();
    Beside {
        apart,
        cells: found,
        alone: [of_first.len() - shared, of_second.len() - shared],
    }
}

fn finished(trials: &[TrialRow]) -> impl Iterator<Item = &TrialRow> {
    trials.iter().filter(|row| row.final_loss.is_some_and(f64::is_finite))
}

fn mean(runs: &[&TrialRow]) -> f64 {
    runs.iter().filter_map(|row| row.final_loss).sum::<f64>() / runs.len() as f64
}

fn cells<'a>(trials: &'a [TrialRow], out: &BTreeSet<&str>) -> BTreeMap<Setup, Vec<&'a TrialRow>> {
    let mut cells: BTreeMap<Setup, Vec<&TrialRow>> = BTreeMap::new();
    for row in finished(trials) {
        let setup = Setup::from(row).without([Factor::Seed]).without_paths(out);
        cells.entry(setup).or_default().push(row);
    }
    cells
}

/// The settings of which each study has one value, and not the same.
fn apart(first: &[TrialRow], second: &[TrialRow]) -> Vec<Apart> {
    let values = |trials: &[TrialRow]| {
        let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in finished(trials) {
            let setup = Setup::from(row).without([Factor::Seed]);
            for (path, value) in setup.iter() {
                values.entry(path.to_owned()).or_default().insert(value.to_owned());
            }
        }
        values
    };
    let (first, second) = (values(first), values(second));
    let one = |of: Option<&BTreeSet<String>>| match of {
        None => Some("none".to_owned()),
        Some(values) => values.first().filter(|_| values.len() == 1).cloned(),
    };
    let paths: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let found = paths.into_iter().filter_map(|path| {
        let values = [one(first.get(path))?, one(second.get(path))?];
        (values[0] != values[1]).then(|| Apart {
            path: path.clone(),
            values,
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::tests::trial;

    fn at(name: &str, batch: u64, lr: f64, seed: u64, loss: f64) -> TrialRow {
        trial(name, |row| {
            (row.batch_tokens, row.lr, row.seed, row.final_loss) = (batch, lr, seed, Some(loss));
        })
    }

    #[test]
    fn cells_that_differ_in_what_sets_the_studies_apart_are_paired_by_their_means() {
        let first = [
            at("a", 1024, 0.01, 0, 3.0),
            at("b", 1024, 0.01, 1, 3.2),
            at("c", 1024, 0.02, 0, 2.9),
        ];
        let second = [at("d", 2048, 0.01, 0, 3.0), at("e", 2048, 0.04, 0, 2.5)];
        let found = beside(&first, &second);
        let apart = [("batch_tokens", ["1024", "2048"])].map(|(path, values)| Apart {
            path: path.to_owned(),
            values: values.map(str::to_owned),
        });
        assert_eq!(found.apart, apart);
        assert_eq!((found.cells.len(), found.alone), (1, [1, 1]));
        let cell = &found.cells[0];
        assert!((cell.difference() + 0.1).abs() < 1e-12, "{cell:?}");
        assert_eq!(cell.runs, [2, 1]);
    }

    #[test]
    fn where_a_study_has_several_batches_they_are_cells() {
        let first = [at("a", 1024, 0.01, 0, 3.0), at("b", 2048, 0.01, 0, 2.9)];
        let second = [at("c", 2048, 0.01, 0, 2.8)];
        let found = beside(&first, &second);
        assert!(found.apart.is_empty());
        assert_eq!((found.cells.len(), found.cells[0].run.trial.as_str()), (1, "b"));
    }
}
