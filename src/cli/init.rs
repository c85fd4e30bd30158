//! `sandbox init`: a commented sweep, or study, that runs.

use std::path::PathBuf;

use clap::Args;
use fs_err as fs;

use crate::cli::next;
use crate::cli::output::Output;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::spec::{self, AxisHelp, study_file};
use crate::workdir::write_atomic;

/// The data that the template names.
const PREPARE: &str = "data prepare rust-sources --name rust-sources --tokenizer byte";

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where to write it (default: sweep.yaml, or study.yaml)
    file: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    /// List every axis of a sweep instead: what it is, what its values look like, and its default
    #[arg(long, conflicts_with = "force")]
    axes: bool,
    /// Write a study instead: data, target, budget and the ranges within which it asks
    #[arg(long, conflicts_with = "axes")]
    study: bool,
}

pub(super) fn init(context: &Context, args: &InitArgs, output: &Output) -> Result<u8, Failure> {
    if args.axes {
        return list(&spec::axes(), output);
    }
    let (name, kind, template) = if args.study {
        ("study.yaml", "study", study_file::TEMPLATE)
    } else {
        ("sweep.yaml", "sweep", spec::TEMPLATE)
    };
    let file = args.file.clone().unwrap_or_else(|| name.into());
    let path = file.display().to_string();
    if fs::exists(&file)? && !args.force {
        return Err(Failure::invalid(
            "file_exists",
            format!("`{path}` is there already"),
            "choose another name, or write over it with `--force`",
        ));
    }
    write_atomic(&file, template.as_bytes())?;
    let value = serde_json::json!({ kind: path });
    output.result(&value, std::slice::from_ref(&path), || {
        format!("wrote {path}; look at it: every key is explained there")
    })?;
    next::say(context, output, PREPARE);
    Ok(0)
}

/// Prints the axes of a sweep.
fn list(axes: &[AxisHelp], output: &Output) -> Result<u8, Failure> {
    let paths: Vec<String> = axes.iter().map(|axis| axis.path.to_owned()).collect();
    let entry = |axis: &AxisHelp| {
        let default = axis.default.as_ref().map_or_else(String::new, |value| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("; default {value}")
        });
        format!("{}\n    {}\n    {}{default}", axis.path, axis.doc, axis.values)
    };
    output.result(&axes, &paths, || axes.iter().map(entry).collect::<Vec<_>>().join("\n"))?;
    Ok(0)
}
