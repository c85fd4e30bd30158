//! `sandbox fit`: laws from a sweep, or from a table of anybody's runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::fit_text::{
    batch_text, cross_check_text, curves_text, loss_text, lr_batch_text, lr_text, three_term_text, tried_text,
};
use crate::cli::mapping::MappingArgs;
use crate::cli::output::Output;
use crate::cli::predict::count;
use crate::fit::curve::Law;
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::loss::loss_law::HoldOut;
use crate::fit::rate::learning_rate::LrFit;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::batch;
use crate::run::fit::cross_check::CrossCheck;
use crate::run::fit::curves::{self as curve_fitting, CurveSource};
use crate::run::fit::loss::{self, Kept, Laws, Request, TableFit, Timings};
use crate::run::fit::lr_batch;
use crate::run::fit::table::Mapping;
use crate::run::fit::three_term::{self, Tried};
use crate::run::sources::Source;
use crate::run::sweep_set::SweepSet;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct FitArgs {
    /// A sweep (default: the one that was planned last), a name that was imported, or a table of anybody's runs: .csv, .parquet, .jsonl
    #[arg(value_name = "SWEEP|FILE")]
    target: Option<String>,
    #[command(flatten)]
    mapping: MappingArgs,
    /// Which law: the loss over size and tokens (with the best learning rate beside it), over size, steps and batch, the
    /// learning rate alone, learning rate and batch, or whole loss curves. Of several laws of loss, separated by commas,
    /// the one that best predicts the runs held out is chosen
    #[arg(long, value_enum, value_delimiter = ',', default_value = "chinchilla")]
    law: Vec<LawArg>,
    /// What is minimised
    #[arg(long, value_enum, default_value_t = ObjectiveArg::Huber)]
    objective: ObjectiveArg,
    /// Resamples for the intervals
    #[arg(long, default_value_t = 1000, value_name = "N")]
    bootstrap: usize,
    /// What a second fit predicts without having seen it: largest, none, params>X, flops>X
    #[arg(long, default_value = "largest", value_parser = hold_out)]
    hold_out: HoldOut,
    /// Curves to fit (laws of curves): files with columns step, lr, loss in the folder that is the target, or trials of
    /// the sweep that is the target, by default all others of its finished trials
    #[arg(long, value_name = "FILE|TRIAL", value_delimiter = ',')]
    train: Vec<String>,
    /// Curves to predict without having seen them (laws of curves)
    #[arg(long, value_name = "FILE|TRIAL", value_delimiter = ',')]
    predict: Vec<String>,
    /// Steps of warm-up that the curves do not show (laws of curves)
    #[arg(long, value_name = "STEPS", default_value_t = 0.0)]
    warmup: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LawArg {
    Chinchilla,
    ThreeTerm,
    Lr,
    LrBatch,
    Batch,
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
            condition: self.mapping.condition.clone(),
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
    let (law, tried) = match args.law[..] {
        [law] => (law, Vec::new()),
        _ => choose(context, args, output).await?,
    };
    let fitting = Fitting {
        context,
        args,
        output,
        tried,
    };
    let mapping = args.mapping.mapping()?;
    let table = args.table();
    refuse_idle_flags(law, args, table.is_some(), &mapping)?;
    let source = match &table {
        Some(path) => Source::Table(path, &mapping),
        None => Source::Named(args.target.as_deref()),
    };
    match (law, &table) {
        (LawArg::Chinchilla, Some(path)) => fitting.table(path, &mapping).await,
        (LawArg::Chinchilla | LawArg::Lr, None) => fitting.sweep(law).await,
        (LawArg::Lr, Some(_)) => Err(lr_of_others()),
        (LawArg::ThreeTerm, _) => {
            let mut store = context.store_or_new().await?;
            let kept = three_term::fit(context, &mut store, source, &args.request()).await?;
            fitting
                .show(&mut store, &kept, &kept.fit, || three_term_text(&kept))
                .await
        }
        (LawArg::LrBatch, _) => {
            let mut store = context.store_or_new().await?;
            let (kept, _) = lr_batch::fit(context, &mut store, source, &args.request()).await?;
            fitting
                .show(&mut store, &kept, &kept.fit, || lr_batch_text(&kept))
                .await
        }
        (LawArg::Batch, _) => {
            let mut store = context.store_or_new().await?;
            let kept = batch::fit(context, &mut store, source, &args.request()).await?;
            fitting.show(&mut store, &kept, &kept.fit, || batch_text(&kept)).await
        }
        (LawArg::Annealing, _) => fitting.curves(Law::Annealing).await,
        (LawArg::MultiPower, _) => fitting.curves(Law::MultiPower).await,
    }
}

/// Somebody's runs do not say what else was equal among their learning rates.
fn lr_of_others() -> Failure {
    Failure::invalid(
        "usage",
        "the law of the learning rate alone is that of a sweep",
        "fit a table or an import with `--law lr-batch`",
    )
}

/// Refuses a flag that would mean nothing here: who gives one expects another result.
fn refuse_idle_flags(law: LawArg, args: &FitArgs, is_table: bool, mapping: &Mapping) -> Result<(), Failure> {
    let is_of_curves = matches!(law, LawArg::Annealing | LawArg::MultiPower);
    if !is_table && !mapping.scales.is_empty() {
        return Err(Failure::invalid(
            "usage",
            "--scale is for the columns of a table, and this is none",
            "give it to `sandbox import`, where the numbers of an import are read",
        ));
    }
    let is_folder = args.target.as_ref().is_some_and(|target| Path::new(target).is_dir());
    if is_of_curves && is_folder && mapping.condition.is_some() {
        return Err(Failure::invalid(
            "usage",
            "--where chooses among runs, and a folder of curves has none",
            "name the files with `--train` and `--predict`",
        ));
    }
    Ok(())
}

/// Several laws of loss: the one that best predicts what is held out, and how each did.
async fn choose(context: &Context, args: &FitArgs, output: &Output) -> Result<(LawArg, Vec<Tried>), Failure> {
    let of_loss = |law: &LawArg| matches!(law, LawArg::Chinchilla | LawArg::ThreeTerm);
    if !args.law.iter().all(of_loss) || args.hold_out == HoldOut::None {
        return Err(Failure::invalid(
            "usage",
            "several laws are compared on the runs held out, and only laws of loss compare: chinchilla,three-term",
            "name one law, or leave `--hold-out` as it is",
        ));
    }
    let mapping = args.mapping.mapping()?;
    let table = args.table();
    let source = match &table {
        Some(path) => Source::Table(path, &mapping),
        None => Source::Named(args.target.as_deref()),
    };
    let mut store = context.store_or_new().await?;
    let tried = three_term::try_all(context, &mut store, source, &args.request()).await?;
    output.note(&tried_text(&tried));
    let chosen = match tried[0].law {
        three_term::LAW => LawArg::ThreeTerm,
        _ => LawArg::Chinchilla,
    };
    Ok((chosen, tried))
}

/// Where a sweep has varied the batch it may answer another question.
fn batch_hint(trials: &[TrialRow]) -> Option<String> {
    let batches: BTreeSet<u64> = trials.iter().map(|row| row.batch_tokens).collect();
    (batches.len() > 1)
        .then(|| "the batch was varied: `--law batch` or `--law lr-batch` ask for the best one".to_owned())
}

/// One law to be fitted.
struct Fitting<'a> {
    context: &'a Context,
    args: &'a FitArgs,
    output: &'a Output,
    /// The laws that it was chosen from, the best first; empty: it was asked for.
    tried: Vec<Tried>,
}

#[derive(Serialize)]
struct Shown<'a, T> {
    #[serde(flatten)]
    law: &'a T,
    #[serde(skip_serializing_if = "<[Tried]>::is_empty")]
    tried: &'a [Tried],
}

impl Fitting<'_> {
    /// Shows the law, which is the `last` from now on.
    async fn show(
        &self,
        store: &mut Store,
        law: &impl Serialize,
        fit: &String,
        text: impl FnOnce() -> String,
    ) -> Result<u8, Failure> {
        store.touch_fit(&self.context.now(), fit).await?;
        let view = Shown {
            law,
            tried: &self.tried,
        };
        self.output.result(&view, std::slice::from_ref(fit), text)?;
        Ok(0)
    }

    async fn table(&self, path: &Path, mapping: &Mapping) -> Result<u8, Failure> {
        let mut store = self.context.store_or_new().await?;
        let fit = loss::fit_table(self.context, &mut store, path, mapping, &self.args.request()).await?;
        self.show_runs(&mut store, &fit).await
    }

    async fn sweep(&self, law: LawArg) -> Result<u8, Failure> {
        let (context, request) = (self.context, self.args.request());
        let mut store = context.store().await?;
        if let Some(name) = &self.args.target
            && store.imports().await?.contains(name)
        {
            if law == LawArg::Lr {
                return Err(lr_of_others());
            }
            let fit = loss::fit_import(context, &mut store, name, &request).await?;
            return self.show_runs(&mut store, &fit).await;
        }
        let sweeps = SweepSet::find(&mut store, self.args.target.as_deref()).await?;
        let laws = loss::fit_sweeps(context, &mut store, &sweeps, &request).await?;
        let Laws {
            loss,
            lr,
            timings,
            trials,
        } = laws;
        if law == LawArg::Lr {
            let kept = lr.map_err(|refusal| loss::refused(&refusal))?;
            return self.show(&mut store, &kept, &kept.fit, || lr_text(&kept)).await;
        }
        if let Err(refusal) = &lr {
            self.output.note(&format!(
                "the law of the learning rate is refused ({}): {refusal}",
                refusal.code()
            ));
        }
        let kept = loss.map_err(|refusal| {
            let mut failure = loss::refused(&refusal);
            failure.hints.extend(batch_hint(&trials));
            failure
        })?;
        let lr = lr.ok();
        let view = LossView {
            kept: &kept,
            timings_ms: timings,
            lr: lr.as_ref(),
            isoflop: None,
        };
        self.show(&mut store, &view, &kept.fit, || {
            let lr = lr.as_ref().map(lr_text).unwrap_or_default();
            format!("{}\n\n{lr}", loss_text(&kept))
        })
        .await
    }

    async fn show_runs(&self, store: &mut Store, fit: &TableFit) -> Result<u8, Failure> {
        let view = LossView {
            kept: &fit.kept,
            timings_ms: fit.timings,
            lr: None,
            isoflop: fit.isoflop.as_ref(),
        };
        self.show(store, &view, &fit.kept.fit, || {
            loss_text(&fit.kept) + &fit.isoflop.as_ref().map_or_else(String::new, cross_check_text)
        })
        .await
    }

    async fn curves(&self, law: Law) -> Result<u8, Failure> {
        let args = self.args;
        let target = args.target.as_deref().unwrap_or(".");
        let folder = Path::new(target);
        let mut store = self.context.store_or_new().await?;
        let source = if folder.is_dir() {
            let inside = |files: &[String]| files.iter().map(|file| folder.join(file)).collect();
            CurveSource::Tables {
                train: inside(&args.train),
                predict: inside(&args.predict),
            }
        } else {
            let sweeps = SweepSet::find(&mut store, Some(target)).await?;
            let names = [&args.train[..], &args.predict[..]];
            curve_fitting::trials(self.context, &mut store, &sweeps, names, &args.request()).await?
        };
        let request = curve_fitting::Request {
            law,
            source,
            warmup: args.warmup,
        };
        let kept = curve_fitting::fit(self.context, &mut store, &request).await?;
        self.show(&mut store, &kept, &kept.fit, || curves_text(&kept)).await
    }
}
