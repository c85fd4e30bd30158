//! `sandbox report`: one page with everything, and the figures beside it.

use std::path::PathBuf;

use clap::Args;

use crate::cli::output::Output;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::{fitting, reporting};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The sweep (default: the one that was planned last)
    sweep: Option<String>,
    /// Folder to write to (default: reports/SWEEP)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn report(context: &Context, args: &ReportArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let sweep = fitting::sweep_name(&mut store, args.sweep.as_deref()).await?;
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("reports").join(&sweep));
    let written = reporting::report(context, &mut store, &sweep, &folder).await?;
    output.result(&written, std::slice::from_ref(&written.html), || {
        format!(
            "wrote {} and {} figures beside it as SVG and PNG; {} of {} points are drawn, {} trials left out",
            written.html,
            written.figures.len(),
            written.points_shown,
            written.points_total,
            written.left_out.len()
        )
    })?;
    Ok(0)
}
