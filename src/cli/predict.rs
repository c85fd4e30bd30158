//! `sandbox predict`: what a kept fit says elsewhere.

use std::path::PathBuf;

use clap::Args;
use fs_err as fs;
use serde::Serialize;

use crate::cli::output::Output;
use crate::fit::loss_fit::{Extrapolation, Prediction};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fitting;
use crate::units::{parse_count, significant};

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// The fit: its name, the beginning of it, or `last`
    #[arg(default_value = "last")]
    fit: String,
    /// Parameters without the embedding
    #[arg(long, value_parser = count, required_unless_present = "at", requires = "tokens")]
    params: Option<f64>,
    /// Tokens
    #[arg(long, value_parser = count)]
    tokens: Option<f64>,
    /// A CSV file with columns params,tokens: one prediction a row, in order
    #[arg(long, conflicts_with_all = ["params", "tokens"])]
    at: Option<PathBuf>,
}

/// A positive number with an optional suffix, for the command line.
pub(super) fn count(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        Ok(_) => Err("it must be positive".to_owned()),
        Err(_) => parse_count(text)
            .map(|count| count as f64)
            .map_err(|error| error.to_string()),
    }
}

#[derive(Debug, Serialize)]
struct PredictView {
    fit: String,
    loss: PredictLoss,
    extrapolation: Extrapolation,
}

#[derive(Debug, Serialize)]
struct PredictLoss {
    #[serde(flatten)]
    prediction: Prediction,
}

pub(super) async fn predict(context: &Context, args: &PredictArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let (fit, law) = fitting::stored_loss_fit(&mut store, &args.fit).await?;
    let view = |params: f64, tokens: f64| PredictView {
        fit: fit.clone(),
        loss: PredictLoss {
            prediction: law.predict(params, tokens),
        },
        extrapolation: law.extrapolation(params, tokens),
    };
    match (&args.at, args.params, args.tokens) {
        (Some(path), _, _) => {
            let views: Vec<PredictView> = points(path)?
                .into_iter()
                .map(|(params, tokens)| view(params, tokens))
                .collect();
            output.result(&views, &[], || {
                views.iter().map(|view| format!("{}\n", predict_text(view))).collect()
            })?;
        }
        (None, Some(params), Some(tokens)) => {
            let view = view(params, tokens);
            output.result(&view, std::slice::from_ref(&view.fit), || predict_text(&view))?;
        }
        (None, _, _) => {
            return Err(Failure::invalid(
                "usage",
                "give --params and --tokens, or --at FILE",
                "",
            ));
        }
    }
    Ok(0)
}

fn predict_text(view: &PredictView) -> String {
    let interval = |ends: Option<[f64; 2]>| ends.map_or_else(|| "–".to_owned(), |[a, b]| format!("{a:.4} to {b:.4}"));
    let Prediction {
        mean,
        ci95_mean,
        ci95_new_run,
    } = view.loss.prediction;
    format!(
        "{mean:.4} nats/token (95 % of the mean {}, of a new run {}); {}× the parameters, {}× the tokens seen",
        interval(ci95_mean),
        interval(ci95_new_run),
        significant(view.extrapolation.params, 3),
        significant(view.extrapolation.tokens, 3)
    )
}

/// The points of a CSV file with columns params and tokens.
fn points(path: &std::path::Path) -> Result<Vec<(f64, f64)>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::invalid("missing_file", error.to_string(), ""))?;
    let mut lines = text.lines().enumerate();
    let head: Vec<&str> = lines
        .next()
        .map(|(_, line)| line.split(',').map(str::trim).collect())
        .unwrap_or_default();
    let column = |name: &str| {
        head.iter().position(|cell| *cell == name).ok_or_else(|| {
            Failure::invalid(
                "missing_column",
                format!("`{}` has no column `{name}`", path.display()),
                "its first line must be `params,tokens`",
            )
        })
    };
    let (params, tokens) = (column("params")?, column("tokens")?);
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            let number = |at: usize| {
                cells.get(at).and_then(|cell| count(cell).ok()).ok_or_else(|| {
                    let text = format!(
                        "`{}`, line {}: `{line}` holds no two positive numbers",
                        path.display(),
                        index + 1
                    );
                    Failure::invalid("bad_row", text, "")
                })
            };
            Ok((number(params)?, number(tokens)?))
        })
        .collect()
}
