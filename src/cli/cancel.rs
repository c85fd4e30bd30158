//! `sandbox cancel`: takes trials out of a sweep, and brings them back.

use clap::Args;

use crate::cli::inspect::find;
use crate::cli::output::Output;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::home::maintenance;
use crate::study::filter::Filter;

#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    /// A sweep, or a trial by its name, the beginning of it, or its slug
    #[arg(value_name = "SWEEP|TRIAL")]
    target: String,
    /// Only the trials for which this holds: `--where "lr > 1e-2 and model == 9M"`
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Bring them back
    #[arg(long)]
    undo: bool,
}

pub(super) async fn cancel(context: &Context, args: &CancelArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let sweeps = store.sweeps().await?;
    let mut rows: Vec<TrialRow> = if sweeps.iter().any(|row| row.sweep == args.target) {
        store.trials(Some(&args.target)).await?
    } else {
        vec![find(&mut store, &args.target).await?]
    };
    let filter = Filter::new(args.condition.as_deref(), &rows)?;
    rows.retain(|row| filter.holds(row));
    let view = maintenance::cancel(context, &rows, args.undo).await?;
    output.result(&view, &view.trials, || {
        let verb = if args.undo { "brought back" } else { "cancelled" };
        let mut text = format!("{verb} {} trials", view.trials.len());
        if view.left_alone > 0 {
            text.push_str(&format!("; {} others stay as they are", view.left_alone));
        }
        text
    })?;
    Ok(0)
}
