//! Files of loss curves: columns step, lr, loss; or what `transformers`, W&B and TensorBoard write of a run.
//!
//! Where a file keeps one quantity, as TensorBoard's do, two are joined by `+`: `loss.csv+lr.csv`.
//! Refuses to fit, and to fill in a rate that nobody has written.

use std::collections::BTreeMap;
use std::path::Path;

use crate::fit::curve::{Curve, CurvePoint, RatePoint, Schedule};
use crate::run::failure::Failure;
use crate::run::fit::file;
use crate::tables::read::TextTable;

/// What stands between the files of a curve.
const JOINED: char = '+';
/// W&B's export of a chart: a column for each run, and its smallest and largest value where steps were thinned out.
const OF_RUN: &str = " - ";
const THINNED: [&str; 2] = ["__MIN", "__MAX"];
/// TensorBoard's download of a scalar.
const SCALAR: [&str; 3] = ["Wall time", "Step", "Value"];

/// The columns of our own export of points: of which trial, and on which data.
const POINTS: [&str; 2] = ["trial", "split"];
const TRAIN: &str = "train";
/// The names of our own columns, and then those of `transformers` (`trainer_state.json`), of W&B's history, and of others.
const STEP: [&str; 6] = ["step", "_step", "Step", "train/global_step", "global_step", "iteration"];
const RATE: [&str; 6] = [
    "lr",
    "learning_rate",
    "train/learning_rate",
    "train/lr",
    "train_lr",
    "optimizer/lr",
];
const LOSS: [&str; 5] = ["loss", "train/loss", "train_loss", "training_loss", "Loss/train"];
const HINT: &str = "a curve has the columns step, lr and loss";

/// What a number at a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Rate,
    Loss,
}

/// Numbers of a run by its steps; none: it was not written at this step.
#[derive(Debug, Default)]
struct Series {
    /// The run, where the file names it.
    run: Option<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// Its place in the table.
    at: usize,
    step: f64,
    rate: Option<f64>,
    loss: Option<f64>,
}

/// Whether a table is the log of a run, and none of runs.
pub(super) fn is_curve(table: &TextTable) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| table.names.iter().any(|other| other == name));
    let is_scalar = SCALAR.iter().all(|name| has(&[name]));
    has(&STEP) && (has(&RATE) || has(&LOSS) || is_scalar || table.names.iter().any(|name| name.contains(OF_RUN)))
}

/// The curves of files in a folder, each a name or several joined by `+`.
pub(super) fn curves(folder: &Path, names: &[String]) -> Result<Vec<Curve>, Failure> {
    let each: Result<Vec<Vec<Curve>>, Failure> = names.iter().map(|name| curves_of(folder, name)).collect();
    Ok(each?.concat())
}

fn curves_of(folder: &Path, name: &str) -> Result<Vec<Curve>, Failure> {
    // A file may have the sign in its own name.
    let whole = folder.join(name);
    let all = match name.split_once(JOINED).filter(|_| !whole.exists()) {
        Some((loss, rate)) => joined(
            series(&folder.join(loss), Of::Loss)?,
            &series(&folder.join(rate), Of::Rate)?,
        ),
        None => series(&whole, Of::Loss)?,
    };
    let first = name.split(JOINED).next().filter(|_| !whole.exists()).unwrap_or(name);
    let stem = file::stem(Path::new(first));
    let curve = |series: Series| {
        let point = |row: &Row| {
            Some(CurvePoint {
                step: row.step,
                lr: row.rate?,
                loss: row.loss?,
            })
        };
        let curve = Curve {
            points: series.rows.iter().filter_map(point).collect(),
            name: series.run.unwrap_or_else(|| stem.clone()),
        };
        if curve.points.is_empty() {
            let message = format!(
                "`{name}` has no step of `{}` with a loss and a learning rate",
                curve.name
            );
            let hint = "where one file has the losses and another the rates: `LOSS.csv+LR.csv`";
            return Err(Failure::invalid("missing_column", message, hint));
        }
        Ok(curve)
    };
    all.into_iter().map(curve).collect()
}

/// The first series with the rates of the second, run by run and step by step.
fn joined(losses: Vec<Series>, rates: &[Series]) -> Vec<Series> {
    let join = |mut series: Series| {
        let of_run = rates.iter().find(|other| other.run == series.run).or(match rates {
            [only] => Some(only),
            _ => None,
        });
        let rates: BTreeMap<u64, f64> = of_run
            .iter()
            .flat_map(|other| &other.rows)
            .filter_map(|row| Some((row.step.to_bits(), row.rate?)))
            .collect();
        for row in &mut series.rows {
            row.rate = row.rate.or_else(|| rates.get(&row.step.to_bits()).copied());
        }
        series
    };
    losses.into_iter().map(join).collect()
}

/// The schedule of a file with steps and rates.
pub fn schedule(path: &Path, warmup: f64) -> Result<Schedule, Failure> {
    let all = series(path, Of::Rate)?;
    let point = |row: &Row| {
        Some(RatePoint {
            step: row.step,
            lr: row.rate?,
        })
    };
    let points: Vec<RatePoint> = all.iter().flat_map(|series| &series.rows).filter_map(point).collect();
    if all.len() > 1 || points.is_empty() {
        let message = format!("`{}` has not the learning rates of one run", path.display());
        return Err(Failure::invalid(
            "missing_column",
            message,
            "a schedule has the columns step and lr",
        ));
    }
    Ok(Schedule {
        name: file::stem(path),
        warmup,
        points,
    })
}

/// The numbers of a file; `value` is what a file holds that says no more than `Value`.
fn series(path: &Path, value: Of) -> Result<Vec<Series>, Failure> {
    let known = |name: &str| STEP.contains(&name) || RATE.contains(&name) || LOSS.contains(&name);
    let (table, _) = file::read(path, &|name| {
        known(name) || SCALAR.contains(&name) || POINTS.contains(&name) || name.contains(OF_RUN)
    })?;
    let find = |names: &[&'static str]| {
        names
            .iter()
            .copied()
            .find(|name| table.names.iter().any(|it| it == name))
    };
    let has = |name: &str| table.columns.contains_key(name);
    // In an export of points those of evaluations have no rate.
    let is_own = has(STEP[0]) && has(RATE[0]) && !POINTS.iter().all(|name| has(name));
    let reader = Reader {
        path,
        table: &table,
        is_own,
    };
    let step = reader.cells(find(&STEP).unwrap_or(STEP[0]))?;
    if SCALAR.iter().all(|name| find(&[name]).is_some()) {
        return Ok(vec![reader.series(None, step, &[(value, reader.cells(SCALAR[2])?)])?]);
    }
    let runs = by_run(&table);
    if !runs.is_empty() {
        let one = |(run, columns): (&str, Vec<(Of, &str)>)| {
            let cells: Result<Vec<_>, Failure> = columns
                .into_iter()
                .map(|(of, column)| Ok((of, reader.cells(column)?)))
                .collect();
            reader.series(Some(run.to_owned()), step, &cells?)
        };
        return runs.into_iter().map(one).collect();
    }
    let mut columns = Vec::new();
    for (of, names) in [(Of::Rate, &RATE[..]), (Of::Loss, &LOSS[..])] {
        match find(names) {
            Some(column) => columns.push((of, reader.cells(column)?)),
            // What was asked for must be there; that it has the rest is seen when all is joined.
            None if of == value => columns.push((of, reader.cells(names[0])?)),
            None => {}
        }
    }
    let all = reader.series(None, step, &columns)?;
    Ok(by_trial(&table, &all).unwrap_or_else(|| vec![all]))
}

/// The training losses of each trial, in an export of points; none: it is none.
fn by_trial(table: &TextTable, all: &Series) -> Option<Vec<Series>> {
    let [trials, splits] = POINTS.map(|name| table.columns.get(name));
    let mut found: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    let (trials, splits) = (trials?, splits?);
    for row in &all.rows {
        if splits[row.at].as_deref() == Some(TRAIN) {
            let trial = trials[row.at].as_deref().unwrap_or_default();
            found.entry(trial).or_default().push(*row);
        }
    }
    let series = |(run, rows): (&str, Vec<Row>)| Series {
        run: Some(run.to_owned()),
        rows,
    };
    Some(found.into_iter().map(series).collect())
}

/// The columns of each run in an export of a chart: `RUN - METRIC`.
fn by_run(table: &TextTable) -> BTreeMap<&str, Vec<(Of, &str)>> {
    let mut runs: BTreeMap<&str, Vec<(Of, &str)>> = BTreeMap::new();
    for column in &table.names {
        let Some((run, metric)) = column.rsplit_once(OF_RUN) else {
            continue;
        };
        if THINNED.iter().any(|ending| metric.ends_with(ending)) {
            continue;
        }
        let of = if LOSS.contains(&metric) {
            Of::Loss
        } else if RATE.contains(&metric) {
            Of::Rate
        } else {
            continue;
        };
        runs.entry(run).or_default().push((of, column));
    }
    runs
}

type Cells<'a> = &'a [Option<String>];

struct Reader<'a> {
    path: &'a Path,
    table: &'a TextTable,
    /// Whether the columns have our names: then every row has its numbers. Logs of others have rows of evaluations.
    is_own: bool,
}

impl<'a> Reader<'a> {
    fn cells(&self, name: &str) -> Result<Cells<'a>, Failure> {
        file::cells(self.path, self.table, name, HINT)
    }

    fn series(&self, run: Option<String>, step: Cells<'_>, columns: &[(Of, Cells<'_>)]) -> Result<Series, Failure> {
        let mut rows = Vec::new();
        for (row, step) in step.iter().enumerate() {
            let number = |cell: &Option<String>, what: &str| self.number(row, cell.as_deref(), what);
            let Some(step) = number(step, "step")? else { continue };
            let (mut rate, mut loss) = (None, None);
            for (of, cells) in columns {
                match of {
                    Of::Rate => rate = number(&cells[row], "lr")?,
                    Of::Loss => loss = number(&cells[row], "loss")?,
                }
            }
            rows.push(Row {
                at: row,
                step,
                rate,
                loss,
            });
        }
        Ok(Series { run, rows })
    }

    /// A number; none where nothing was written.
    fn number(&self, row: usize, cell: Option<&str>, what: &str) -> Result<Option<f64>, Failure> {
        let text = cell.unwrap_or_default().trim();
        if text.is_empty() && !self.is_own {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            let (file, place) = (self.path.display(), self.table.place(row));
            let message = format!("`{file}`, {place}: {what} is `{text}`, which is no number");
            Failure::invalid("bad_row", message, "mend or leave out the row")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The curves of files with these texts: `(name, [step, rate, loss])`.
    fn read(files: &[(&str, &str)], name: &str) -> Vec<(String, Vec<[f64; 3]>)> {
        let folder = tempfile::tempdir().expect("a folder");
        for (file, text) in files {
            fs_err::write(folder.path().join(file), text).expect("written");
        }
        let curves = curves(folder.path(), &[name.to_owned()]).expect("curves");
        let points = |curve: Curve| curve.points.iter().map(|it| [it.step, it.lr, it.loss]).collect();
        curves
            .into_iter()
            .map(|curve| (curve.name.clone(), points(curve)))
            .collect()
    }

    const TWO: [[f64; 3]; 2] = [[10.0, 1e-3, 5.0], [20.0, 5e-4, 4.0]];

    #[test]
    fn the_logs_of_others_are_curves() {
        let trainer = r#"{"best_metric": null, "log_history": [
            {"epoch": 0.1, "grad_norm": NaN, "learning_rate": 0.001, "loss": 5.0, "step": 10},
            {"epoch": 0.2, "learning_rate": 0.0005, "loss": 4.0, "step": 20},
            {"epoch": 0.2, "eval_loss": 4.1, "eval_runtime": 1.0, "step": 20},
            {"epoch": 0.2, "step": 20, "total_flos": 1e15, "train_loss": 4.5, "train_runtime": 9.0}]}"#;
        let found = read(&[("trainer_state.json", trainer)], "trainer_state.json");
        assert_eq!(found, [("trainer_state".to_owned(), TWO.to_vec())]);
        let history = "_step,_runtime,_timestamp,train/learning_rate,train/loss,eval/loss\n\
                       10,1,1,0.001,5,\n15,1,1,,,4.2\n20,2,2,0.0005,4,\n";
        assert_eq!(read(&[("h.csv", history)], "h.csv")[0].1, TWO);
    }

    #[test]
    fn files_of_one_quantity_are_joined_by_step() {
        let loss = "Wall time,Step,Value\n1.7e9,10,5.0\n1.7e9,20,4.0\n1.7e9,25,3.9\n";
        let rate = "Wall time,Step,Value\n1.7e9,10,0.001\n1.7e9,20,0.0005\n";
        let found = read(&[("loss.csv", loss), ("lr.csv", rate)], "loss.csv+lr.csv");
        assert_eq!(found, [("loss".to_owned(), TWO.to_vec())]);
        let loss = "\"Step\",\"a - b - train/loss\",\"a - b - train/loss__MIN\",\"a - b - train/loss__MAX\",\"c - train/loss\"\n\
                    \"10\",\"5\",\"4\",\"6\",\"\"\n\"20\",\"4\",\"4\",\"4\",\"3\"\n";
        let rate =
            "\"Step\",\"a - b - train/learning_rate\",\"c - train/learning_rate\"\n10,0.001,\n20,0.0005,0.0005\n";
        let found = read(&[("l.csv", loss), ("r.csv", rate)], "l.csv+r.csv");
        let c = ("c".to_owned(), vec![[20.0, 5e-4, 3.0]]);
        assert_eq!(found, [("a - b".to_owned(), TWO.to_vec()), c]);
    }

    #[test]
    fn an_export_of_points_holds_the_training_curve_of_each_trial() {
        let text = "trial,stage,step,tokens,flops,lr,split,loss,grad_norm\na,s,10,1,1,0.001,train,5,1\n\
                    a,s,10,1,1,,held-out,5.5,\nb,s,10,1,1,0.001,train,6,1\na,s,20,2,2,0.0005,train,4,1\n";
        let found = read(&[("points.csv", text)], "points.csv");
        let b = ("b".to_owned(), vec![[10.0, 1e-3, 6.0]]);
        assert_eq!(found, [("a".to_owned(), TWO.to_vec()), b]);
    }

    #[test]
    fn a_file_without_rates_says_how_they_are_joined() {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::write(folder.path().join("l.csv"), "Wall time,Step,Value\n1,10,5.0\n").expect("written");
        let refused = curves(folder.path(), &["l.csv".to_owned()]).expect_err("no rate");
        assert_eq!(refused.code, "missing_column");
        assert!(refused.hints[0].contains("LOSS.csv+LR.csv"), "{refused:?}");
    }
}
