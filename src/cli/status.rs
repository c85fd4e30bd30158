//! `sandbox status`: the sweeps of a home, and what runs now.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::cli::output::{Output, number, table};
use crate::record::{TrialState, count_states};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::store::RunningRow;
use crate::units::{human_bytes, human_count};
use crate::workdir::{Holder, disk_bytes};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Only this sweep
    sweep: Option<String>,
}

#[derive(Debug, Serialize)]
struct StatusView {
    home: String,
    orchestrator: Option<Holder>,
    disk_bytes: u64,
    sweeps: Vec<SweepView>,
    running: Vec<RunningView>,
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
    let view = view(context, args.sweep.as_deref()).await?;
    let ids: Vec<String> = view.sweeps.iter().map(|sweep| sweep.sweep.clone()).collect();
    output.result(&view, &ids, || human(&view))?;
    Ok(0)
}

async fn view(context: &Context, only: Option<&str>) -> Result<StatusView, Failure> {
    let orchestrator = context.workdir.holder()?;
    let mut sweeps = Vec::new();
    let mut running = Vec::new();
    if context.workdir.database().exists() {
        let mut store = context.store().await?;
        let names: Vec<String> = store.sweeps().await?.into_iter().map(|row| row.sweep).collect();
        if let Some(unknown) = only.filter(|only| names.iter().all(|name| name != only)) {
            return Err(Failure::unknown_sweep(unknown, &names));
        }
        let rate = store.rates().await?.1;
        for name in names.into_iter().filter(|name| only.is_none_or(|only| only == name)) {
            let trials = store.trials(Some(&name)).await?;
            let stages = store.stages(Some(&name)).await?;
            let counts = count_states(trials.iter().map(|trial| trial.state));
            // Costs per token follow from the trials; a stage is as dear as the trials that pass through it.
            let dearest = trials
                .iter()
                .map(|trial| trial.flops / trial.tokens as f64)
                .fold(0.0, f64::max);
            let left: f64 = stages
                .iter()
                .filter(|stage| matches!(stage.state, TrialState::Pending | TrialState::Running))
                .map(|stage| (stage.to_tokens - stage.from_tokens) as f64 * dearest)
                .sum();
            let seconds_left = if left == 0.0 {
                Some(0.0)
            } else {
                rate.map(|rate| left / rate / context.cores as f64)
            };
            sweeps.push(SweepView {
                sweep: name,
                counts,
                seconds_left,
            });
        }
        // Without an orchestrator nothing runs, whatever a crash left in the table.
        if orchestrator.is_some() {
            running = store.running().await?.into_iter().map(running_view).collect();
        }
    }
    let home = context.workdir.home();
    Ok(StatusView {
        home: home.display().to_string(),
        orchestrator,
        disk_bytes: disk_bytes(home),
        sweeps,
        running,
    })
}

fn running_view(row: RunningRow) -> RunningView {
    let since: Option<jiff::Timestamp> = row.since.parse().ok();
    let seconds = since.map(|since| (jiff::Timestamp::now().as_millisecond() - since.as_millisecond()) as f64 / 1000.0);
    let tokens_per_second = seconds
        .filter(|seconds| *seconds > 0.5)
        .map(|seconds| row.tokens as f64 / seconds);
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
        let mut head = vec!["sweep"];
        head.extend(TrialState::ALL.map(TrialState::name));
        let rows: Vec<Vec<String>> = view
            .sweeps
            .iter()
            .map(|sweep| {
                let mut row = vec![sweep.sweep.clone()];
                row.extend(
                    TrialState::ALL
                        .iter()
                        .map(|state| sweep.counts[state.name()].to_string()),
                );
                row
            })
            .collect();
        text.push_str(&format!("\n{}\n", table(&head, &rows)));
    }
    if !view.running.is_empty() {
        let rows: Vec<Vec<String>> = view
            .running
            .iter()
            .map(|it| {
                vec![
                    it.row.stage.clone(),
                    it.row.worker.map_or_else(String::new, |worker| worker.to_string()),
                    it.row.pid.map_or_else(String::new, |pid| pid.to_string()),
                    format!(
                        "{}/{}",
                        human_count(it.row.tokens as f64),
                        human_count(it.row.tokens_total as f64)
                    ),
                    it.tokens_per_second.map_or_else(|| "–".to_owned(), human_count),
                    number(it.row.loss, 3),
                ]
            })
            .collect();
        text.push_str(&format!(
            "\n{}",
            table(&["stage", "worker", "pid", "tokens", "tok/s", "loss"], &rows)
        ));
    }
    text
}
