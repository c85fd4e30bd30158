//! `sandbox report`: one page with everything, and the figures beside it.

use std::path::PathBuf;

use clap::Args;

use crate::cli::output::Output;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::report;
use crate::run::sweep_set::SweepSet;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The sweep (default: the one that was run last), several as one study, `lr-transfer+batch-size`, a study by its name,
    /// or a kept law of loss, or of learning rate and batch, by its name: `sandbox fit` prints it
    #[arg(value_name = "SWEEP|FIT")]
    target: Option<String>,
    /// Another sweep, or several, to stand beside it: the same cells of both, loss against loss, with the difference
    #[arg(long, value_name = "SWEEP")]
    beside: Option<String>,
    /// Folder to write to (default: reports/SWEEP or reports/FIT)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn report(context: &Context, args: &ReportArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let folder = |name: &str| args.out.clone().unwrap_or_else(|| PathBuf::from("reports").join(name));
    let target = args.target.as_deref();
    let other = match &args.beside {
        Some(name) => Some(SweepSet::find(&mut store, Some(name)).await?),
        None => None,
    };
    let written = match (target, SweepSet::find(&mut store, target).await) {
        (_, Ok(sweeps)) => report::report(context, &mut store, &sweeps, other.as_ref(), &folder(sweeps.name())).await?,
        (Some(_), Err(failure)) if other.is_some() => return Err(failure),
        (Some(fit), Err(_)) if fit == "last" || !store.fits(fit).await?.is_empty() => {
            report::report_law(&mut store, fit, &folder(fit)).await?
        }
        (_, Err(failure)) => return Err(failure),
    };
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
