//! The laws of the whole loss curve, from tables of curves to a result that is kept.
//!
//! Refuses to know how it is printed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fit::curve::{self, Curve, CurveFit, CurvePoint, Law, RatePoint, Refusal, Schedule, Score};
use crate::record::{TrialRow, TrialState};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::loss;
use crate::run::fit::table;
use crate::run::sweep_set::SweepSet;
use crate::store::Store;
use crate::study::select;
use crate::tables::read::TextTable;

/// Where curves are taken from.
#[derive(Debug, Clone)]
pub enum CurveSource {
    /// Tables with the columns step, lr and loss.
    Tables {
        /// Curves to fit.
        train: Vec<PathBuf>,
        /// Curves to predict, which the fit does not see.
        predict: Vec<PathBuf>,
    },
    /// Trials that have run here, with the training loss of every step.
    Trials {
        /// Trials to fit.
        train: Vec<TrialRow>,
        /// Trials to predict, which the fit does not see.
        predict: Vec<TrialRow>,
    },
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which law.
    pub law: Law,
    /// The curves.
    pub source: CurveSource,
    /// Steps of warm-up that tables do not show; 0: none are known.
    pub warmup: f64,
}

/// A law of curves, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptCurves {
    /// Its name.
    pub fit: String,
    /// The law and how it meets what it was fitted on.
    #[serde(flatten)]
    pub law: CurveFit,
    /// How it meets curves that it had not seen.
    pub predict: Vec<Score>,
}

/// Fits the law, keeps it, and predicts the other curves.
pub async fn fit(context: &Context, store: &mut Store, request: &Request) -> Result<KeptCurves, Failure> {
    let (train, others) = match &request.source {
        CurveSource::Tables { train, predict } => (curves_of(train)?, curves_of(predict)?),
        CurveSource::Trials { train, predict } => {
            alike(&train.iter().chain(predict).collect::<Vec<_>>())?;
            (recorded(store, train).await?, recorded(store, predict).await?)
        }
    };
    let law = curve::fit(&train, request.law, request.warmup).map_err(|refusal| refused(&refusal))?;
    let predicted = others.iter().map(|curve| {
        let losses = curve::predict(&law, &curve.schedule(request.warmup))?;
        curve::score(&losses, curve)
    });
    let predict = predicted
        .collect::<Result<_, _>>()
        .map_err(|refusal| refused(&refusal))?;
    let kept = KeptCurves {
        fit: loss::name(&law),
        law,
        predict,
    };
    loss::keep(context, store, None, &kept.fit, name_of(request.law), &kept).await?;
    Ok(kept)
}

/// The name of a law in the database and on the command line.
pub fn name_of(law: Law) -> &'static str {
    match law {
        Law::Annealing => "annealing",
        Law::MultiPower => "multi-power",
    }
}

/// Bad tables are the user's to mend; what good ones cannot carry is refused.
pub(in crate::run) fn refused(refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::SingleSchedule { .. } | Refusal::TooFewPoints { .. } => {
            Failure::refused(refusal.code(), refusal.to_string(), refusal.hint())
        }
        Refusal::NoCurves
        | Refusal::BadRow { .. }
        | Refusal::BadCurve { .. }
        | Refusal::BadFit { .. }
        | Refusal::BadPlan { .. } => Failure::invalid(refusal.code(), refusal.to_string(), refusal.hint()),
    }
}

fn curves_of(paths: &[PathBuf]) -> Result<Vec<Curve>, Failure> {
    paths.iter().map(|path| curve(path)).collect()
}

/// The finished trials of a sweep, `[to fit, to predict]` as they are named by slug or id; without names for the first,
/// all that are not to be predicted.
pub async fn trials(
    context: &Context,
    store: &mut Store,
    sweeps: &SweepSet,
    names: [&[String]; 2],
    request: &loss::Request,
) -> Result<CurveSource, Failure> {
    let mut rows = loss::counting(store, sweeps, request).await?;
    loss::no_toys(&rows, context.trainer).map_err(|refusal| loss::refused(&refusal))?;
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
                        let message = format!("`{}` has no finished trial `{name}`", sweeps.name());
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
    Ok(CurveSource::Trials { train, predict })
}

/// Curves differ in the schedule alone, or their losses tell of something else.
fn alike(trials: &[&TrialRow]) -> Result<(), Failure> {
    let Some(first) = trials.first() else {
        return Err(refused(&Refusal::NoCurves));
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
