//! Loss curves with their schedules: tables with the columns step, lr and loss, or trials that have run here.
//!
//! Refuses to fit.

use std::path::Path;

use crate::fit::curve::{Curve, CurvePoint, RatePoint, Refusal, Schedule};
use crate::record::{TrialRow, TrialState};
use crate::run::failure::Failure;
use crate::run::fit::request::refused;
use crate::run::fit::table;
use crate::store::Store;
use crate::study::select;
use crate::tables::read::TextTable;

/// The curves of files in a folder.
pub(super) fn of_files(folder: &Path, names: &[String]) -> Result<Vec<Curve>, Failure> {
    names.iter().map(|name| curve(&folder.join(name))).collect()
}

/// The curves of the finished trials of a sweep, `[to fit, to predict]` as they are named by slug or id; without names
/// for the first, all that are not to be predicted.
pub(super) async fn of_trials(
    store: &mut Store,
    sweep: &str,
    mut rows: Vec<TrialRow>,
    names: [&[String]; 2],
) -> Result<[Vec<Curve>; 2], Failure> {
    rows.retain(|row| row.state == TrialState::Complete);
    let is = |row: &TrialRow, name: &String| row.slug == *name || row.trial.starts_with(name.as_str());
    let named = |names: &[String]| -> Result<Vec<TrialRow>, Failure> {
        names
            .iter()
            .map(|name| {
                let found: Vec<&TrialRow> = rows.iter().filter(|row| is(row, name)).collect();
                match found[..] {
                    [row] => Ok(row.clone()),
                    [] => {
                        let message = format!("`{sweep}` has no finished trial `{name}`");
                        Err(Failure::invalid(
                            "unknown_trial",
                            message,
                            "`sandbox status --trials` lists them",
                        ))
                    }
                    _ => {
                        let message = format!("`{name}` is the beginning of {} trials", found.len());
                        Err(Failure::invalid("ambiguous_trial", message, "give more characters"))
                    }
                }
            })
            .collect()
    };
    let predict = named(names[1])?;
    let train = if names[0].is_empty() {
        rows.iter()
            .filter(|row| predict.iter().all(|other| other.trial != row.trial))
            .cloned()
            .collect()
    } else {
        named(names[0])?
    };
    alike(&train.iter().chain(&predict).collect::<Vec<_>>())?;
    Ok([recorded(store, &train).await?, recorded(store, &predict).await?])
}

/// Curves differ in the schedule alone, or their losses tell of something else.
fn alike(trials: &[&TrialRow]) -> Result<(), Failure> {
    let Some(first) = trials.first() else {
        return Err(refused(&Refusal::NoCurves.into()));
    };
    let Some((other, differences)) = select::first_unlike(trials) else {
        return Ok(());
    };
    Err(Failure::invalid(
        "mixed_curves",
        format!(
            "`{}` and `{}` differ in more than the schedule, in {}: a law of curves is that of one size, batch and data",
            first.slug,
            other.slug,
            differences.join(", ")
        ),
        "choose some: `--where \"model == 9M and batch_tokens == 65536\"`",
    ))
}

/// The training curves of trials, in their order.
async fn recorded(store: &mut Store, trials: &[TrialRow]) -> Result<Vec<Curve>, Failure> {
    let mut curves = Vec::new();
    for trial in trials {
        let points = store.training_curve(&trial.sweep, &trial.trial).await?;
        curves.push(Curve {
            name: trial.slug.clone(),
            points: points
                .into_iter()
                .map(|(step, lr, loss)| CurvePoint { step, lr, loss })
                .collect(),
        });
    }
    Ok(curves)
}

/// A table with the columns step, lr and loss.
fn curve(path: &Path) -> Result<Curve, Failure> {
    let (table, _) = table::table(path)?;
    let [step, lr, loss] = ["step", "lr", "loss"].map(|name| numbers(path, &table, name));
    let points = step?.into_iter().zip(lr?).zip(loss?);
    Ok(Curve {
        name: name_of_file(path),
        points: points.map(|((step, lr), loss)| CurvePoint { step, lr, loss }).collect(),
    })
}

/// A table with the columns step and lr.
pub fn schedule(path: &Path, warmup: f64) -> Result<Schedule, Failure> {
    let (table, _) = table::table(path)?;
    let [step, lr] = ["step", "lr"].map(|name| numbers(path, &table, name));
    let points = step?.into_iter().zip(lr?);
    Ok(Schedule {
        name: name_of_file(path),
        warmup,
        points: points.map(|(step, lr)| RatePoint { step, lr }).collect(),
    })
}

fn name_of_file(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn numbers(path: &Path, table: &TextTable, name: &str) -> Result<Vec<f64>, Failure> {
    let cells = table.columns.get(name).ok_or_else(|| {
        let message = format!(
            "`{}` has no column `{name}`; it has {}",
            path.display(),
            table.names.join(", ")
        );
        Failure::invalid("missing_column", message, "a curve has the columns step, lr and loss")
    })?;
    let number = |(cell, line): (&Option<String>, &usize)| {
        let text = cell.as_deref().unwrap_or_default().trim();
        text.parse().map_err(|_| {
            let message = format!(
                "`{}`, line {line}: {name} is `{text}`, which is no number",
                path.display()
            );
            Failure::invalid("bad_row", message, "mend or leave out the row")
        })
    };
    cells.iter().zip(&table.lines).map(number).collect()
}
