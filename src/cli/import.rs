//! `sandbox import`: keeps anybody's runs in the home, under a name that `fit` knows.

use std::path::PathBuf;

use clap::Args;

use crate::cli::fit_text::warnings_text;
use crate::cli::mapping::MappingArgs;
use crate::cli::output::Output;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::{file, import};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// A table: .csv, .tsv, .json, .jsonl or .parquet, also packed (.gz, .zst)
    file: PathBuf,
    #[command(flatten)]
    mapping: MappingArgs,
    /// The name of the runs here (default: that of the file)
    #[arg(long)]
    name: Option<String>,
}

pub(super) async fn import(context: &Context, args: &ImportArgs, output: &Output) -> Result<u8, Failure> {
    let name = args.name.clone().unwrap_or_else(|| file::stem(&args.file));
    let view = import::import(context, &args.file, &args.mapping.mapping()?, &name).await?;
    output.result(&view, std::slice::from_ref(&view.import), || {
        format!(
            "{}{}: {} runs of {} ({} rows left out); `sandbox fit {}` fits them",
            view.import,
            if view.replaced {
                " (in place of what had that name)"
            } else {
                ""
            },
            view.runs,
            view.source,
            view.left_out.len(),
            view.import
        ) + &warnings_text(&view.warnings)
    })?;
    Ok(0)
}
