//! `sandbox init`: a commented sweep that runs.

use std::path::PathBuf;

use clap::Args;
use fs_err as fs;

use crate::cli::output::Output;
use crate::run::failure::Failure;
use crate::spec;
use crate::workdir::write_atomic;

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where to write it
    #[arg(default_value = "sweep.yaml")]
    file: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn init(args: &InitArgs, output: &Output) -> Result<u8, Failure> {
    let path = args.file.display().to_string();
    if fs::exists(&args.file)? && !args.force {
        return Err(Failure::invalid(
            "file_exists",
            format!("`{path}` is there already"),
            "choose another name, or write over it with `--force`",
        ));
    }
    write_atomic(&args.file, spec::TEMPLATE.as_bytes())?;
    let value = serde_json::json!({ "sweep": path });
    output.result(&value, std::slice::from_ref(&path), || {
        format!("wrote {path}; look at it, then `sandbox plan {path}` and `sandbox run {path}`")
    })?;
    Ok(0)
}
