//! `sandbox status`: the sweeps of a home, and what runs now.

use clap::Args;

use crate::cli::output::{Output, number, table};
use crate::record::{TrialRow, TrialState};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::home::status::{self, HomeStatus, RunningStage, SweepStatus};
use crate::study::filter::Filter;
use crate::units::{human_bytes, human_count, human_seconds};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Only this sweep
    sweep: Option<String>,
    /// List the trials too
    #[arg(long)]
    trials: bool,
    /// List the trials for which this holds: `--where "state == failed or final_loss > 3"`
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
}

pub(super) async fn status(context: &Context, args: &StatusArgs, output: &Output) -> Result<u8, Failure> {
    let mut view = status::status(context, args.sweep.as_deref()).await?;
    if args.trials || args.condition.is_some() {
        let mut trials = context.store().await?.trials(args.sweep.as_deref()).await?;
        let filter = Filter::new(args.condition.as_deref(), &trials)?;
        trials.retain(|trial| filter.holds(trial));
        view.trials = Some(trials);
    }
    let ids: Vec<String> = view.sweeps.iter().map(|sweep| sweep.sweep.clone()).collect();
    output.result(&view, &ids, || human(&view))?;
    Ok(0)
}

fn human(view: &HomeStatus) -> String {
    let mut text = format!("home {} ({})\n", view.home, human_bytes(view.disk_bytes as f64));
    match &view.orchestrator {
        Some(holder) => text.push_str(&format!(
            "running: pid {} on {} since {}\n",
            holder.pid, holder.host, holder.since
        )),
        None => text.push_str(&idle(&view.sweeps)),
    }
    if !view.sweeps.is_empty() {
        text.push_str(&format!("\n{}\n", sweeps_table(&view.sweeps)));
    }
    if !view.running.is_empty() {
        text.push_str(&format!("\n{}\n", running_table(&view.running)));
    }
    if let Some(trials) = &view.trials {
        text.push_str(&format!("\n{}\n", trials_table(trials)));
    }
    text
}

/// Without an orchestrator nothing runs, but a table may still say so.
fn idle(sweeps: &[SweepStatus]) -> String {
    let left: u64 = sweeps
        .iter()
        .map(|sweep| sweep.counts[TrialState::Running.name()])
        .sum();
    match left {
        0 => "nothing runs\n".to_owned(),
        1 => "nothing runs; 1 trial was running when the last run ended: run it again to go on\n".to_owned(),
        many => format!("nothing runs; {many} trials were running when the last run ended: run it again to go on\n"),
    }
}

fn sweeps_table(sweeps: &[SweepStatus]) -> String {
    let mut head = vec!["sweep"];
    head.extend(TrialState::ALL.iter().map(|state| state.name()));
    head.push("left");
    let row = |sweep: &SweepStatus| {
        let counts = TrialState::ALL
            .iter()
            .map(|state| sweep.counts[state.name()].to_string());
        let left = sweep.seconds_left.map_or_else(|| "–".to_owned(), human_seconds);
        let name = std::iter::once(sweep.sweep.clone());
        name.chain(counts).chain([left]).collect()
    };
    table(&head, &sweeps.iter().map(row).collect::<Vec<_>>())
}

fn running_table(running: &[RunningStage]) -> String {
    let row = |it: &RunningStage| {
        let row = &it.row;
        let device = row.device.as_deref().unwrap_or_default();
        let left = it.tokens_per_second.filter(|rate| *rate > 0.0);
        let left = left.map(|rate| (row.tokens_total - row.tokens.min(row.tokens_total)) as f64 / rate);
        vec![
            it.slug.clone(),
            row.attempt.to_string(),
            row.pid.map_or_else(String::new, |pid| pid.to_string()),
            // The model of the processor is in `--json`.
            device.split(' ').next().unwrap_or_default().to_owned(),
            row.since.get(11..19).unwrap_or_default().to_owned(),
            format!(
                "{}/{}",
                human_count(row.tokens as f64),
                human_count(row.tokens_total as f64)
            ),
            it.tokens_per_second.map_or_else(|| "–".to_owned(), human_count),
            number(row.loss, 3),
            left.map_or_else(|| "–".to_owned(), human_seconds),
        ]
    };
    let head = [
        "trial",
        "attempt",
        "pid",
        "device",
        "since (UTC)",
        "tokens",
        "tok/s",
        "loss",
        "left",
    ];
    table(&head, &running.iter().map(row).collect::<Vec<_>>())
}

fn trials_table(trials: &[TrialRow]) -> String {
    let row = |row: &TrialRow| {
        vec![
            row.trial.clone(),
            row.slug.clone(),
            row.state.name().to_owned(),
            human_count(row.params_non_embedding as f64),
            human_count(row.tokens as f64),
            number(row.final_loss, 4),
        ]
    };
    let head = ["trial", "slug", "state", "params", "tokens", "final loss"];
    table(&head, &trials.iter().map(row).collect::<Vec<_>>())
}
