//! `sandbox export`: the tables of trials, points and stages for pandas, event files for TensorBoard, a proxy for
//! `transformers`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::inspect;
use crate::cli::output::Output;
use crate::hugging_face::Form;
use crate::record::{ImportedTrial, PointRow, StageRow, TrialRow};
use crate::run::context::Context;
use crate::run::export;
use crate::run::failure::Failure;
use crate::run::sweep_set::SweepSet;
use crate::store::Store;
use crate::study::filter::Filter;
use crate::tables::{self, Format, TableError};
use crate::workdir::write_atomic;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Only this sweep or import, or several sweeps, `rates+batches`; the trial, for a proxy (its name, the beginning of it,
    /// or its slug)
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

/// What is exported.
enum Chosen {
    All,
    /// The runs of an import.
    Import(String),
    /// A sweep, or several, each trial once.
    Sweeps(SweepSet),
}

impl Chosen {
    async fn find(store: &mut Store, target: Option<&str>) -> Result<Self, Failure> {
        let Some(name) = target else { return Ok(Self::All) };
        let imports = store.imports().await?;
        if imports.iter().any(|import| import == name) {
            return Ok(Self::Import(name.to_owned()));
        }
        SweepSet::find(store, Some(name)).await.map(Self::Sweeps)
    }

    async fn trials(&self, store: &mut Store) -> Result<Vec<TrialRow>, Failure> {
        match self {
            Self::All => Ok(store.trials(None).await?),
            Self::Import(_) => Ok(Vec::new()),
            Self::Sweeps(sweeps) => sweeps.trials(store).await,
        }
    }

    /// The names of its sweeps; none alone: every trial of the home.
    fn sweeps(&self) -> Vec<Option<&str>> {
        match self {
            Self::All => vec![None],
            Self::Import(_) => Vec::new(),
            Self::Sweeps(sweeps) => sweeps.sweeps().iter().map(|row| Some(row.sweep.as_str())).collect(),
        }
    }

    async fn imported(&self, store: &mut Store) -> Result<Vec<ImportedTrial>, Failure> {
        match self {
            Self::All => Ok(store.imported_trials(None).await?),
            Self::Import(name) => Ok(store.imported_trials(Some(name)).await?),
            Self::Sweeps(_) => Ok(Vec::new()),
        }
    }
}

/// The trials that one sweep of several stands for; of all sweeps, every one.
fn of_sweep(trials: &[TrialRow], sweep: Option<&str>) -> Vec<TrialRow> {
    let is_here = |trial: &&TrialRow| sweep.is_none_or(|sweep| trial.sweep == sweep);
    trials.iter().filter(is_here).cloned().collect()
}

async fn export_events(context: &Context, args: &ExportArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let chosen = Chosen::find(&mut store, args.target.as_deref()).await?;
    let mut trials = chosen.trials(&mut store).await?;
    let filter = Filter::new(args.condition.as_deref(), &trials)?;
    trials.retain(|trial| filter.holds(trial));
    let mut written = Vec::new();
    for sweep in chosen.sweeps() {
        written.extend(export::events(&mut store, sweep, &of_sweep(&trials, sweep), &args.out).await?);
    }
    show_paths(&written, output)
}

/// The points of the trials, ordered by trial, step and split, and the stages that they pass through.
async fn rows_of(
    store: &mut Store,
    chosen: &Chosen,
    trials: &[TrialRow],
) -> Result<(Vec<PointRow>, Vec<StageRow>), Failure> {
    let (mut points, mut stages): (Vec<PointRow>, Vec<StageRow>) = (Vec::new(), Vec::new());
    for sweep in chosen.sweeps() {
        let here = of_sweep(trials, sweep);
        let names: BTreeSet<&str> = here.iter().map(|trial| trial.trial.as_str()).collect();
        let of_sweep = store.points(sweep).await?.into_iter();
        points.extend(of_sweep.filter(|point| names.contains(point.trial.as_str())));
        stages.extend(store.stages(sweep).await?);
    }
    // Of one sweep they are in order already.
    points.sort_by(|a, b| a.trial.cmp(&b.trial));
    stages.sort_by(|a, b| (a.from_tokens, &a.stage).cmp(&(b.from_tokens, &b.stage)));
    stages.dedup_by(|a, b| a.stage == b.stage);
    Ok((points, stages))
}

async fn export_tables(context: &Context, args: &ExportArgs, format: Format, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let chosen = Chosen::find(&mut store, args.target.as_deref()).await?;
    let mut trials = chosen.trials(&mut store).await?;
    let filter = Filter::new(args.condition.as_deref(), &trials)?;
    trials.retain(|trial| filter.holds(trial));
    let mut imported = chosen.imported(&mut store).await?;
    imported.retain(|run| filter.holds_for(&serde_json::to_value(run).unwrap_or_default(), &BTreeMap::new()));
    let (points, mut stages) = rows_of(&mut store, &chosen, &trials).await?;
    if args.condition.is_some() {
        let names: BTreeSet<&str> = trials.iter().map(|trial| trial.trial.as_str()).collect();
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
