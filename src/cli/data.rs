//! `sandbox data`: text into tokens, and a look at them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::output::Output;
use crate::run::context::Context;
use crate::run::failure::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// Turn text into tokens that sweeps can name
    Prepare(PrepareArgs),
    /// List what is prepared
    List,
    /// Show counts, hashes and a sample of one
    Inspect {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct PrepareArgs {
    /// Files (.txt, .jsonl, .parquet), folders, `rust-sources`, or a synthetic source
    #[arg(required = true)]
    paths: Vec<String>,
    /// The name that sweeps use
    #[arg(long)]
    name: String,
    /// `byte`, `bpe:VOCAB` (trained here), or a tokenizer.json
    #[arg(long, default_value = "byte")]
    tokenizer: String,
    /// The column of text in jsonl and parquet files
    #[arg(long, default_value = "text")]
    text_column: String,
    /// Held-out documents: a share (`1%`), or NAME=SHARE, or NAME=PATH; repeatable
    #[arg(long = "held-out", value_name = "SHARE|NAME=…")]
    held_out: Vec<String>,
    /// Put it in place of other data of that name
    #[arg(long)]
    force: bool,
}

pub(super) fn data(_context: &Context, _command: DataCommand, _output: &Output) -> Result<u8, Failure> {
    let _ = PathBuf::new();
    Err(Failure::invalid("x", "x", "x"))
}
