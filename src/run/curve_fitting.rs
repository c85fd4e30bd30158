//! The laws of the whole loss curve, from tables of curves to a result that is kept.
//!
//! Refuses to know how it is printed.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::fit::curves::{self, Curve, CurveFit, CurvePoint, Law, Refusal, Score};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fitting;
use crate::run::table_runs;
use crate::store::Store;
use crate::tables::read::TextTable;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which law.
    pub law: Law,
    /// Curves to fit.
    pub train: Vec<PathBuf>,
    /// Curves to predict, which the fit does not see.
    pub predict: Vec<PathBuf>,
    /// Steps of warm-up that the tables do not show; 0: none are known.
    pub warmup: f64,
}

/// A law of curves, as it is kept.
#[derive(Debug, Clone, Serialize)]
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
    let train = curves_of(&request.train)?;
    let others = curves_of(&request.predict)?;
    let law = curves::fit(&train, request.law, request.warmup).map_err(|refusal| refused(&refusal))?;
    let predicted = others.iter().map(|curve| {
        let losses = curves::predict(&law, &curve.schedule(request.warmup))?;
        curves::score(&losses, curve)
    });
    let predict = predicted
        .collect::<Result<_, _>>()
        .map_err(|refusal| refused(&refusal))?;
    let kept = KeptCurves {
        fit: fitting::name(&law),
        law,
        predict,
    };
    let name = match request.law {
        Law::Annealing => "annealing",
        Law::MultiPower => "multi-power",
    };
    fitting::keep(context, store, None, &kept.fit, name, &kept).await?;
    Ok(kept)
}

/// Bad tables are the user's to mend; what good ones cannot carry is refused.
fn refused(refusal: &Refusal) -> Failure {
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

/// A table with the columns step, lr and loss.
fn curve(path: &Path) -> Result<Curve, Failure> {
    let (table, _) = table_runs::table(path)?;
    let [step, lr, loss] = ["step", "lr", "loss"].map(|name| numbers(path, &table, name));
    let points = step?.into_iter().zip(lr?).zip(loss?);
    Ok(Curve {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        points: points.map(|((step, lr), loss)| CurvePoint { step, lr, loss }).collect(),
    })
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
