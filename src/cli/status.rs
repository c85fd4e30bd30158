//! `sandbox status`: the sweeps of a home, and what runs now.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::cli::output::{Output, number, table};
use crate::record::{TrialRow, TrialState};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::filter::Filter;
use crate::store::RunningRow;
use crate::units::{human_bytes, human_count, human_seconds};
use crate::workdir::Holder;

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

#[derive(Debug, Serialize)]
struct StatusView {
    home: String,
    orchestrator: Option<Holder>,
    disk_bytes: u64,
    sweeps: Vec<SweepView>,
    running: Vec<RunningView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trials: Option<Vec<TrialRow>>,
}

#[derive(Debug, Serialize)]
struct SweepView {
    sweep: String,
    counts: BTreeMap<&'static str, u64>,
    seconds_left: Option<f64>,
}

#[derive(Debug, Serialize)]
struct RunningView {
    #[serde(flatten)]
    row: RunningRow,
    tokens_per_second: Option<f64>,
}

pub(super) async fn status(context: &Context, args: &StatusArgs, output: &Output) -> Result<u8, Failure> {
    let mut view = view(context, args.sweep.as_deref()).await?;
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

async fn view(context: &Context, only: Option<&str>) -> Result<StatusView, Failure> {
    let orchestrator = context.workdir.holder()?;
    let mut sweeps = Vec::new();
    let mut running = Vec::new();
    let mut stages = 0;
    if context.workdir.database().exists() {
        let mut store = context.store().await?;
        let names: Vec<String> = store.sweeps().await?.into_iter().map(|row| row.sweep).collect();
        if let Some(unknown) = only.filter(|only| names.iter().all(|name| name != only)) {
            return Err(Failure::unknown_sweep(unknown, &names));
        }
        let rate = store.rate().await?;
        for name in names.into_iter().filter(|name| only.is_none_or(|only| only == name)) {
            let counts = store.counts(&name).await?;
            let left = store.flops_left(&name).await?;
            let seconds_left = if left == 0.0 {
                Some(0.0)
            } else {
                rate.map(|rate| left / rate / context.slots() as f64)
            };
            sweeps.push(SweepView {
                sweep: name,
                counts,
                seconds_left,
            });
        }
        stages = store.stage_bytes().await?;
        // Without an orchestrator nothing runs, whatever a crash left in the table.
        if orchestrator.is_some() {
            running = store.running().await?.into_iter().map(running_view).collect();
        }
    }
    let home = context.workdir.home();
    Ok(StatusView {
        home: home.display().to_string(),
        orchestrator,
        disk_bytes: context.workdir.bytes_beside_stages() + stages,
        sweeps,
        running,
        trials: None,
    })
}

fn running_view(row: RunningRow) -> RunningView {
    let since: Option<jiff::Timestamp> = row.since.parse().ok();
    let seconds = since.map(|since| (jiff::Timestamp::now().as_millisecond() - since.as_millisecond()) as f64 / 1000.0);
    let tokens_per_second = seconds
        .filter(|seconds| *seconds > 0.5)
        .map(|seconds| row.tokens_made as f64 / seconds);
    RunningView { row, tokens_per_second }
}

fn human(view: &StatusView) -> String {
    let mut text = format!("home {} ({})\n", view.home, human_bytes(view.disk_bytes as f64));
    match &view.orchestrator {
        Some(holder) => text.push_str(&format!(
            "running: pid {} on {} since {}\n",
            holder.pid, holder.host, holder.since
        )),
        None => text.push_str("nothing runs\n"),
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

fn sweeps_table(sweeps: &[SweepView]) -> String {
    let mut head = vec!["sweep"];
    head.extend(TrialState::ALL.map(TrialState::name));
    head.push("left");
    let row = |sweep: &SweepView| {
        let counts = TrialState::ALL
            .iter()
            .map(|state| sweep.counts[state.name()].to_string());
        let left = sweep.seconds_left.map_or_else(|| "–".to_owned(), human_seconds);
        let name = std::iter::once(sweep.sweep.clone());
        name.chain(counts).chain([left]).collect()
    };
    table(&head, &sweeps.iter().map(row).collect::<Vec<_>>())
}

fn running_table(running: &[RunningView]) -> String {
    let row = |it: &RunningView| {
        let row = &it.row;
        let device = row.device.as_deref().unwrap_or_default();
        let left = it.tokens_per_second.filter(|rate| *rate > 0.0);
        let left = left.map(|rate| (row.tokens_total - row.tokens.min(row.tokens_total)) as f64 / rate);
        vec![
            row.trial.clone(),
            row.stage.clone(),
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
        "stage",
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
