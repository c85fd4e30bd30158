//! `sandbox fit` and `sandbox predict`: laws, and what they say elsewhere.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use fs_err as fs;
use serde::Serialize;

use crate::cli::output::{Output, table};
use crate::fit::chinchilla::Objective;
use crate::fit::learning_rate::LrFit;
use crate::fit::loss_fit::{Extrapolation, LossFit, Prediction};
use crate::fit::loss_law::HoldOut;
use crate::fit::{Estimate, Warning};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fitting::{self, Kept, Laws, Request};
use crate::units::{human_count, parse_count, significant};

#[derive(Debug, Args)]
pub(super) struct FitArgs {
    /// The sweep (default: the one that was planned last)
    sweep: Option<String>,
    /// Which law: the loss over size and tokens (with the best learning rate beside it), or the learning rate alone
    #[arg(long, value_enum, default_value_t = LawArg::Chinchilla)]
    law: LawArg,
    /// What is minimised
    #[arg(long, value_enum, default_value_t = ObjectiveArg::Huber)]
    objective: ObjectiveArg,
    /// Resamples for the intervals
    #[arg(long, default_value_t = 1000, value_name = "N")]
    bootstrap: usize,
    /// What a second fit predicts without having seen it: largest, none, params>X, flops>X
    #[arg(long, default_value = "largest", value_parser = hold_out)]
    hold_out: HoldOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LawArg {
    Chinchilla,
    Lr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ObjectiveArg {
    Huber,
    LeastSquares,
}

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

fn hold_out(text: &str) -> Result<HoldOut, String> {
    let above = |rest: &str| count(rest.trim());
    match text {
        "largest" => Ok(HoldOut::Largest),
        "none" => Ok(HoldOut::None),
        _ => match (text.strip_prefix("params>"), text.strip_prefix("flops>")) {
            (Some(rest), _) => above(rest).map(HoldOut::ParamsAbove),
            (_, Some(rest)) => above(rest).map(HoldOut::FlopsAbove),
            (None, None) => Err("largest, none, params>X or flops>X".to_owned()),
        },
    }
}

#[derive(Debug, Serialize)]
struct LossView<'a> {
    #[serde(flatten)]
    kept: &'a Kept<LossFit>,
    timings_ms: Timings,
    lr: Option<&'a Kept<LrFit>>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Timings {
    total: f64,
}

pub(super) async fn fit(context: &Context, args: &FitArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let sweep = fitting::sweep_name(&mut store, args.sweep.as_deref()).await?;
    let objective = match args.objective {
        ObjectiveArg::Huber => Objective::Huber,
        ObjectiveArg::LeastSquares => Objective::LeastSquares,
    };
    let request = Request {
        objective,
        hold_out: args.hold_out,
        bootstrap: args.bootstrap,
    };
    let began = Instant::now();
    let Laws { loss, lr, .. } = fitting::fit_sweep(context, &mut store, &sweep, &request).await?;
    let timings_ms = Timings {
        total: began.elapsed().as_secs_f64() * 1000.0,
    };
    match args.law {
        LawArg::Lr => {
            let kept = lr.map_err(|refusal| fitting::refused(&refusal))?;
            output.result(&kept, std::slice::from_ref(&kept.fit), || lr_text(&kept))?;
        }
        LawArg::Chinchilla => {
            if let Err(refusal) = &lr {
                output.note(&format!(
                    "the law of the learning rate is refused ({}): {refusal}",
                    refusal.code()
                ));
            }
            let kept = loss.map_err(|refusal| fitting::refused(&refusal))?;
            let lr = lr.ok();
            let view = LossView {
                kept: &kept,
                timings_ms,
                lr: lr.as_ref(),
            };
            output.result(&view, std::slice::from_ref(&kept.fit), || {
                let lr = lr.as_ref().map(lr_text).unwrap_or_default();
                format!("{}\n\n{lr}", loss_text(&sweep, &kept))
            })?;
        }
    }
    Ok(0)
}

fn loss_text(sweep: &str, kept: &Kept<LossFit>) -> String {
    let law = &kept.law;
    let mut text = format!(
        "fit {} of {sweep}: L(N, D) = E + A/N^alpha + B/D^beta over {} runs ({} left out), {}\n",
        kept.fit,
        law.n,
        kept.left_out.len(),
        format!("{:?}", law.status).to_lowercase()
    );
    let rows: Vec<Vec<String>> = ["E", "A", "alpha", "B", "beta"]
        .iter()
        .map(|name| row(name, &law.parameters[*name]))
        .chain(
            law.allocation
                .iter()
                .map(|(name, estimate)| row(&format!("optimum: C^{name}"), estimate)),
        )
        .collect();
    text.push_str(&table(&["", "value", "se", "95 % from", "to"], &rows));
    if let Some(held) = &law.hold_out {
        text.push_str(&format!(
            "\nheld out: {} runs above {} {}, predicted to {:.2} %{}",
            held.n,
            human_count(held.above),
            held.by,
            held.mean_abs_rel_error * 100.0,
            held.covered.map_or_else(String::new, |share| format!(
                ", {:.0} % inside the interval",
                share * 100.0
            ))
        ));
    }
    text.push_str(&warnings_text(&law.warnings));
    text
}

fn lr_text(kept: &Kept<LrFit>) -> String {
    let law = &kept.law;
    let mut text = format!("fit {}: the best learning rate by size and tokens\n", kept.fit);
    let rows: Vec<Vec<String>> = law
        .groups
        .iter()
        .map(|group| {
            let best = match (group.best, group.edge) {
                (Some(best), _) => format!("{best:.2e}"),
                (None, Some(edge)) => format!("{edge:?} edge of the grid").to_lowercase(),
                (None, None) => "no minimum".to_owned(),
            };
            vec![
                group.model.clone(),
                human_count(group.tokens),
                best,
                group.loss.map_or_else(String::new, |loss| format!("{loss:.4}")),
                group
                    .diverged_from
                    .map_or_else(String::new, |lr| format!("diverges from {lr:.0e}")),
            ]
        })
        .collect();
    text.push_str(&table(&["model", "tokens", "best lr", "loss", ""], &rows));
    text.push('\n');
    let mut rows = vec![row("best lr", &law.best)];
    rows.extend(law.size_exponent.iter().map(|it| row("moves as N^", it)));
    rows.extend(law.token_exponent.iter().map(|it| row("moves as D^", it)));
    text.push_str(&table(&["", "value", "se", "95 % from", "to"], &rows));
    text.push_str(&warnings_text(&law.warnings));
    text
}

fn row(name: &str, estimate: &Estimate) -> Vec<String> {
    let digits = |value: f64| significant(value, 4).to_string();
    let dash = || "–".to_owned();
    vec![
        name.to_owned(),
        digits(estimate.value),
        estimate.se.map_or_else(dash, digits),
        estimate.ci95.map_or_else(dash, |ends| digits(ends[0])),
        estimate.ci95.map_or_else(dash, |ends| digits(ends[1])),
    ]
}

fn warnings_text(warnings: &[Warning]) -> String {
    warnings
        .iter()
        .map(|warning| format!("\nwarning {}: {}", warning.code, warning.text))
        .collect()
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
