//! `sandbox gc`: removes what nothing needs.

use clap::Args;

use crate::cli::output::{Output, table};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::home::maintenance::{self, Collected, Request};
use crate::units::human_bytes;

#[derive(Debug, Args)]
pub(super) struct GcArgs {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Also states that no pending stage starts from; a sweep that grows later trains their trunks again
    #[arg(long)]
    states: bool,
}

pub(super) async fn gc(context: &Context, args: &GcArgs, output: &Output) -> Result<u8, Failure> {
    let request = Request {
        dry_run: args.dry_run,
        states: args.states,
    };
    let view = maintenance::collect(context, request).await?;
    let ids: Vec<String> = view.removed.iter().map(|it| it.path.clone()).collect();
    output.result(&view, &ids, || human(&view))?;
    Ok(0)
}

fn human(view: &Collected) -> String {
    let rows: Vec<Vec<String>> = view
        .removed
        .iter()
        .map(|it| vec![it.path.clone(), human_bytes(it.bytes as f64), it.why.to_owned()])
        .collect();
    let verb = if view.dry_run { "would remove" } else { "removed" };
    let mut text = format!(
        "{verb} {} ({}); {} of states stay for what is still to come",
        human_bytes(view.bytes as f64),
        view.removed.len(),
        human_bytes(view.kept_bytes as f64)
    );
    if !rows.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table(&["path", "size", "why"], &rows));
    }
    text
}
