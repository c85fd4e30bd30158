//! `sandbox run`: train what is missing.

use std::path::PathBuf;

use clap::Args;

use crate::cli::cluster::ClusterArgs;
use crate::cli::next;
use crate::cli::output::Output;
use crate::cli::progress::Display;
use crate::protocol::Cause;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::train::orchestrate::{self, Summary};
use crate::run::train::request::Request;
use crate::units::{human_count, human_seconds};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The sweep file
    file: PathBuf,
    /// Change the sweep: `--set parameters.lr.values=[1e-3,2e-3]`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Stop at the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Further attempts after a fault of one cause: `--retry worker_lost=5`
    #[arg(long, value_name = "CAUSE=N", value_parser = retry)]
    retry: Vec<(Cause, u32)>,
    /// Workers at once (default: as many as the cores carry)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    workers: Option<u64>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// `CAUSE=N`.
fn retry(text: &str) -> Result<(Cause, u32), String> {
    let (name, count) = text.split_once('=').ok_or("write CAUSE=N, as in worker_lost=5")?;
    let cause =
        Cause::parse(name).ok_or_else(|| format!("`{name}` is no cause; there is {}", Cause::WORDS.join(", ")))?;
    let count = count.parse().map_err(|_| format!("`{count}` is no whole number"))?;
    Ok((cause, count))
}

pub(super) async fn run(context: &Context, args: &RunArgs, output: &Output) -> Result<u8, Failure> {
    let (cluster, context) = args.cluster.cluster(context)?;
    let request = Request {
        file: args.file.clone(),
        sets: args.sets.clone(),
        fail_fast: args.fail_fast,
        retry: args.retry.iter().copied().collect(),
        workers: args.workers,
        hours: None,
        cluster,
    };
    let summary = train(&context, &request, output).await?;
    let ids = vec![summary.sweep.clone()];
    output.result(&summary, &ids, || human(&summary))?;
    match summary.failed.first() {
        Some(failed) => next::say(&context, output, &format!("logs {}", failed.trial)),
        None if summary.stopped_by.is_none() => next::say(&context, output, &format!("fit {}", summary.sweep)),
        // The last word has said that the same command goes on.
        None => {}
    }
    Ok(summary.exit)
}

/// Trains what is missing of a sweep, and shows how it goes.
async fn train(context: &Context, request: &Request, output: &Output) -> Result<Summary, Failure> {
    let mut display = Display::new(*output);
    let summary = orchestrate::run(context, request, &mut |progress| display.show(&progress)).await;
    display.close();
    summary
}

fn human(summary: &Summary) -> String {
    let counts: Vec<String> = summary
        .counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let trained = summary.trained;
    let mut text = if trained.stages == 0 && summary.stopped_by.is_none() && summary.failed.is_empty() {
        format!("{}: nothing to do; {}", summary.sweep, counts.join(", "))
    } else {
        format!(
            "{}: {}\ntrained {} stages, {} tokens, {:.2e} FLOP in {}",
            summary.sweep,
            counts.join(", "),
            trained.stages,
            human_count(trained.tokens as f64),
            trained.flops,
            human_seconds(summary.seconds)
        )
    };
    if let Some(why) = summary.stopped_by {
        text.push_str(&format!(
            "\nstopped by {}; the same command goes on from here",
            why.name()
        ));
    }
    for failed in &summary.failed {
        text.push_str(&format!(
            "\nfailed: {} ({}), see {}",
            failed.trial, failed.cause, failed.log
        ));
    }
    text
}
