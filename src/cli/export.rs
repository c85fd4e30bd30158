//! `sandbox export`: the tables of trials, points and stages for pandas, event files for TensorBoard, a proxy for
//! `transformers`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::inspect;
use crate::cli::output::Output;
use crate::hugging_face::Form;
use crate::run::context::Context;
use crate::run::export;
use crate::run::failure::Failure;
use crate::study::filter::Filter;
use crate::tables::{self, Format, TableError};
use crate::workdir::write_atomic;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Only this sweep or import; the trial, for a proxy (its name, the beginning of it, or its slug)
    #[arg(value_name = "SWEEP|TRIAL")]
    target: Option<String>,
    /// Only the trials for which this holds: `--where "lr >= 1e-2 and model == 9M"`
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Format of the files
    #[arg(long, value_enum, default_value_t = FormatArg::Parquet)]
    format: FormatArg,
    /// Folder to write to
    #[arg(long, value_name = "DIR", default_value = "export")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// Tables as text
    Csv,
    /// Tables for pandas and polars
    Parquet,
    /// An event file a trial, with every point
    Tensorboard,
    /// One proxy that `transformers` loads as Granite
    Granite,
    /// The same with muP's multipliers folded into the weights of a Llama
    Llama,
}

#[derive(Debug, Serialize)]
struct ExportView {
    files: Vec<FileView>,
}

#[derive(Debug, Serialize)]
struct FileView {
    table: &'static str,
    file: String,
    rows: usize,
}

pub(super) async fn export(context: &Context, args: &ExportArgs, output: &Output) -> Result<u8, Failure> {
    match args.format {
        FormatArg::Csv => export_tables(context, args, Format::Csv, output).await,
        FormatArg::Parquet => export_tables(context, args, Format::Parquet, output).await,
        FormatArg::Tensorboard => export_events(context, args, output).await,
        FormatArg::Granite => export_model(context, args, Form::Granite, output).await,
        FormatArg::Llama => export_model(context, args, Form::Llama, output).await,
    }
}

#[derive(Debug, Serialize)]
struct PathsView {
    files: Vec<String>,
}

fn show_paths(written: &[PathBuf], output: &Output) -> Result<u8, Failure> {
    let files: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    let text = files.join("\n");
    output.result(&PathsView { files: files.clone() }, &files, || text)?;
    Ok(0)
}

async fn export_model(context: &Context, args: &ExportArgs, form: Form, output: &Output) -> Result<u8, Failure> {
    let Some(name) = &args.target else {
        return Err(Failure::invalid(
            "usage",
            "name the trial whose weights are to be exported",
            "`sandbox export TRIAL --format granite --out DIR`",
        ));
    };
    let mut store = context.store().await?;
    let trial = inspect::find(&mut store, name).await?;
    let written = export::model(context, &mut store, &trial, form, &args.out).await?;
    show_paths(&written, output)
}

/// Refuses a name that is none of these.
fn known(name: Option<&str>, names: &[String]) -> Result<(), Failure> {
    match name.filter(|name| names.iter().all(|known| known != name)) {
        Some(name) => Err(Failure::unknown_sweep(name, names)),
        None => Ok(()),
    }
}

async fn export_events(context: &Context, args: &ExportArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let sweep = args.target.as_deref();
    let names: Vec<String> = store.sweeps().await?.into_iter().map(|row| row.sweep).collect();
    known(sweep, &names)?;
    let mut trials = store.trials(sweep).await?;
    let filter = Filter::new(args.condition.as_deref(), &trials)?;
    trials.retain(|trial| filter.holds(trial));
    let written = export::events(&mut store, sweep, &trials, &args.out).await?;
    show_paths(&written, output)
}

async fn export_tables(context: &Context, args: &ExportArgs, format: Format, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let sweep = args.target.as_deref();
    let mut names: Vec<String> = store.sweeps().await?.into_iter().map(|row| row.sweep).collect();
    names.extend(store.imports().await?);
    known(sweep, &names)?;
    let mut trials = store.trials(sweep).await?;
    let filter = Filter::new(args.condition.as_deref(), &trials)?;
    trials.retain(|trial| filter.holds(trial));
    let names: BTreeSet<&str> = trials.iter().map(|trial| trial.trial.as_str()).collect();
    let mut imported = store.imported_trials(sweep).await?;
    imported.retain(|run| filter.holds_for(&serde_json::to_value(run).unwrap_or_default(), &BTreeMap::new()));
    let mut points = store.points(sweep).await?;
    points.retain(|point| names.contains(point.trial.as_str()));
    let mut stages = store.stages(sweep).await?;
    if args.condition.is_some() {
        let passed = store.stages_of(&names).await?;
        stages.retain(|stage| passed.contains(&stage.stage));
    }
    let made = [
        (
            "trials",
            tables::trials(&trials).and_then(|table| tables::with_imported(&table, &imported)),
        ),
        ("points", tables::points(&points)),
        ("stages", tables::stages(&stages)),
    ];
    let mut files = Vec::new();
    for (name, table) in made {
        let mut table = table.map_err(table_failure)?;
        let path = args.out.join(format!("{name}.{}", format.extension()));
        write_atomic(&path, &tables::bytes(&mut table, format).map_err(table_failure)?)?;
        files.push(FileView {
            table: name,
            file: path.display().to_string(),
            rows: table.height(),
        });
    }
    let view = ExportView { files };
    let ids: Vec<String> = view.files.iter().map(|file| file.file.clone()).collect();
    output.result(&view, &ids, || {
        view.files
            .iter()
            .map(|file| format!("{} ({} rows)\n", file.file, file.rows))
            .collect()
    })?;
    Ok(0)
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn table_failure(error: TableError) -> Failure {
    Failure::new(
        crate::run::failure::exit::INTERNAL,
        "table",
        error.to_string(),
        "please report this",
    )
}
