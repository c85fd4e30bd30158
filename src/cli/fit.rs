//! `sandbox fit`: laws from a sweep, or from a table of anybody's runs.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::fit_more::{curves_text, lr_batch_text, warnings_text};
use crate::cli::mapping::MappingArgs;
use crate::cli::output::{Output, table};
use crate::cli::predict::count;
use crate::fit::Estimate;
use crate::fit::chinchilla::Objective;
use crate::fit::curves::Law;
use crate::fit::isoflop::Agreement;
use crate::fit::learning_rate::LrFit;
use crate::fit::loss_fit::LossFit;
use crate::fit::loss_law::HoldOut;
use crate::run::context::Context;
use crate::run::cross_check::CrossCheck;
use crate::run::curve_fitting;
use crate::run::failure::Failure;
use crate::run::fitting::{self, Kept, Laws, Request, TableFit, Timings};
use crate::run::lr_batch_fitting::{self, Source};
use crate::units::{human_count, significant};

#[derive(Debug, Args)]
pub(super) struct FitArgs {
    /// A sweep (default: the one that was planned last), a name that was imported, or a table of anybody's runs: .csv, .parquet, .jsonl
    #[arg(value_name = "SWEEP|FILE")]
    target: Option<String>,
    #[command(flatten)]
    mapping: MappingArgs,
    /// Which law: the loss over size and tokens (with the best learning rate beside it), the learning rate alone, learning
    /// rate and batch, or whole loss curves (then the target is a folder of curves with columns step, lr, loss)
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
    /// Curves to fit, files in the folder (laws of curves)
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    train: Vec<PathBuf>,
    /// Curves to predict without having seen them (laws of curves)
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    predict: Vec<PathBuf>,
    /// Steps of warm-up that the curves do not show (laws of curves)
    #[arg(long, value_name = "STEPS", default_value_t = 0.0)]
    warmup: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LawArg {
    Chinchilla,
    Lr,
    LrBatch,
    Annealing,
    MultiPower,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ObjectiveArg {
    Huber,
    LeastSquares,
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
    isoflop: Option<&'a CrossCheck>,
}

impl FitArgs {
    fn request(&self) -> Request {
        Request {
            objective: match self.objective {
                ObjectiveArg::Huber => Objective::Huber,
                ObjectiveArg::LeastSquares => Objective::LeastSquares,
            },
            hold_out: self.hold_out,
            bootstrap: self.bootstrap,
        }
    }

    /// The table that is meant, if it is one.
    fn table(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.target.as_ref()?);
        let has_ending = path
            .extension()
            .is_some_and(|kind| TABLES.iter().any(|table| kind == *table));
        (!self.mapping.map.is_empty() || (has_ending && path.exists())).then_some(path)
    }
}

/// Endings of tables.
const TABLES: [&str; 4] = ["csv", "parquet", "jsonl", "ndjson"];

pub(super) async fn fit(context: &Context, args: &FitArgs, output: &Output) -> Result<u8, Failure> {
    match (args.law, args.table()) {
        (LawArg::LrBatch, table) => fit_lr_batch(context, args, table.as_deref(), output).await,
        (LawArg::Annealing, _) => fit_curves(context, args, Law::Annealing, output).await,
        (LawArg::MultiPower, _) => fit_curves(context, args, Law::MultiPower, output).await,
        (LawArg::Chinchilla, Some(path)) => fit_table(context, args, &path, output).await,
        (LawArg::Lr, Some(_)) => Err(Failure::invalid(
            "usage",
            "the law of the learning rate alone is that of a sweep",
            "fit a table with `--law lr-batch`",
        )),
        (LawArg::Chinchilla | LawArg::Lr, None) => fit_sweep(context, args, output).await,
    }
}

async fn fit_lr_batch(context: &Context, args: &FitArgs, table: Option<&Path>, output: &Output) -> Result<u8, Failure> {
    let mapping = args.mapping.mapping()?;
    let source = match table {
        Some(path) => Source::Table(path, &mapping),
        None => Source::Named(args.target.as_deref()),
    };
    let mut store = context.store_or_new().await?;
    let kept = lr_batch_fitting::fit(context, &mut store, source, &args.request()).await?;
    output.result(&kept, std::slice::from_ref(&kept.fit), || lr_batch_text(&kept))?;
    Ok(0)
}

async fn fit_curves(context: &Context, args: &FitArgs, law: Law, output: &Output) -> Result<u8, Failure> {
    let folder = PathBuf::from(args.target.as_deref().unwrap_or("."));
    let inside = |files: &[PathBuf]| files.iter().map(|file| folder.join(file)).collect();
    let request = curve_fitting::Request {
        law,
        train: inside(&args.train),
        predict: inside(&args.predict),
        warmup: args.warmup,
    };
    let mut store = context.store_or_new().await?;
    let kept = curve_fitting::fit(context, &mut store, &request).await?;
    output.result(&kept, std::slice::from_ref(&kept.fit), || curves_text(&kept))?;
    Ok(0)
}

async fn fit_table(context: &Context, args: &FitArgs, path: &Path, output: &Output) -> Result<u8, Failure> {
    let mapping = args.mapping.mapping()?;
    let mut store = context.store_or_new().await?;
    let fit = fitting::fit_table(context, &mut store, path, &mapping, &args.request()).await?;
    show_table(&fit, output)
}

async fn fit_sweep(context: &Context, args: &FitArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    if let Some(name) = &args.target
        && store.imports().await?.contains(name)
    {
        let fit = fitting::fit_import(context, &mut store, name, &args.request()).await?;
        return show_table(&fit, output);
    }
    let sweep = fitting::sweep_name(&mut store, args.target.as_deref()).await?;
    let laws = fitting::fit_sweep(context, &mut store, &sweep, &args.request()).await?;
    let Laws { loss, lr, timings, .. } = laws;
    match args.law {
        LawArg::Lr => {
            let kept = lr.map_err(|refusal| fitting::refused(&refusal))?;
            output.result(&kept, std::slice::from_ref(&kept.fit), || lr_text(&kept))?;
            Ok(0)
        }
        LawArg::Chinchilla | LawArg::LrBatch | LawArg::Annealing | LawArg::MultiPower => {
            if let Err(refusal) = &lr {
                output.note(&format!(
                    "the law of the learning rate is refused ({}): {refusal}",
                    refusal.code()
                ));
            }
            let kept = loss.map_err(|refusal| fitting::refused(&refusal))?;
            show_loss(&kept, timings, lr.ok().as_ref(), output)
        }
    }
}

fn show_table(fit: &TableFit, output: &Output) -> Result<u8, Failure> {
    let view = LossView {
        kept: &fit.kept,
        timings_ms: fit.timings,
        lr: None,
        isoflop: fit.isoflop.as_ref(),
    };
    output.result(&view, std::slice::from_ref(&fit.kept.fit), || {
        let text = loss_text(&fit.kept);
        match &fit.isoflop {
            Some(check) => format!(
                "{text}\nat equal compute: N_opt ∝ C^{:.3} over {} budgets with a minimum; the law's exponent {}",
                check.exponent.value,
                check.bracketed,
                match check.verdict {
                    Agreement::Agrees => "agrees",
                    Agreement::Below => "is smaller than that allows",
                    Agreement::Above => "is larger than that allows",
                    Agreement::NotKnown => "cannot be compared",
                }
            ),
            None => text,
        }
    })?;
    Ok(0)
}

fn show_loss(
    kept: &Kept<LossFit>,
    timings_ms: Timings,
    lr: Option<&Kept<LrFit>>,
    output: &Output,
) -> Result<u8, Failure> {
    let view = LossView {
        kept,
        timings_ms,
        lr,
        isoflop: None,
    };
    output.result(&view, std::slice::from_ref(&kept.fit), || {
        let lr = lr.map(lr_text).unwrap_or_default();
        format!("{}\n\n{lr}", loss_text(kept))
    })?;
    Ok(0)
}

fn loss_text(kept: &Kept<LossFit>) -> String {
    let law = &kept.law;
    let mut text = format!(
        "fit {} of {}: L(N, D) = E + A/N^alpha + B/D^beta over {} runs ({} left out), {}\n",
        kept.fit,
        kept.source,
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
