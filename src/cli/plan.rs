//! `sandbox plan`: what a sweep will train, what that costs, why each trial runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::cli::cluster::{self, ClusterArgs};
use crate::cli::next;
use crate::cli::output::{Output, table};
use crate::model::config::DeviceKind;
use crate::plan::{Plan, Reason, StagePlan};
use crate::queue::Site;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::planning::{self, Planned};
use crate::run::train::cluster::Cluster;
use crate::stage::StageState;
use crate::study::carries::{self, Carried};
use crate::study::filter::Filter;
use crate::units::{human_bytes, human_count, human_seconds};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The sweep file
    file: PathBuf,
    /// Change the sweep: `--set parameters.lr.values=[1e-3,2e-3]`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// List only the trials for which this holds: `--where "lr >= 1e-2 and model == 9M"`
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Show every trial and stage
    #[arg(long)]
    all: bool,
    /// Print what `run --on slurm` would submit, and submit nothing
    #[arg(long)]
    script: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Serialize)]
struct PlanView {
    sweep: String,
    totals: Totals,
    rate_source: &'static str,
    reasons: BTreeMap<&'static str, u64>,
    /// Which laws its trials will carry, and what the others lack.
    laws: Vec<Carried>,
    trials: Vec<TrialView>,
    stages: Vec<StageView>,
}

#[derive(Debug, Serialize)]
struct Totals {
    trials: u64,
    stages: u64,
    tokens: u64,
    tokens_unshared: u64,
    tokens_to_train: u64,
    flops: f64,
    flops_unshared: f64,
    flops_to_train: f64,
    seconds: f64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct TrialView {
    trial: String,
    slug: String,
    reason: &'static str,
    why: String,
    axes: BTreeMap<String, serde_json::Value>,
    params_non_embedding: u64,
    params_total: u64,
    seed: u64,
    tokens: u64,
    flops: f64,
    stages: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StageView {
    stage: String,
    parent: Option<String>,
    kind: &'static str,
    from_tokens: u64,
    to_tokens: u64,
    state: &'static str,
}

pub(super) async fn plan(context: &Context, args: &PlanArgs, output: &Output) -> Result<u8, Failure> {
    let (cluster, context) = args.cluster.cluster(context)?;
    let context = &context;
    if args.script {
        return plan_script(context, args, cluster.as_ref(), output).await;
    }
    let planned = planning::plan_file(context, &args.file, &args.sets).await?;
    for note in &planned.notes {
        output.note(note);
    }
    if let Some(note) = idle_cores(context, &planned) {
        output.note(&note);
    }
    let rows = planned
        .plan
        .trials
        .iter()
        .map(|trial| planned.trial_row(context, trial));
    let rows: Vec<TrialRow> = rows.collect();
    let mut view = view(context, &planned, &rows);
    let filter = Filter::new(args.condition.as_deref(), &rows)?;
    let mut kept = rows.iter().map(|row| filter.holds(row));
    view.trials.retain(|_| kept.next().unwrap_or(false));
    let ids: Vec<String> = view.trials.iter().map(|trial| trial.trial.clone()).collect();
    output.result(&view, &ids, || human(&view, args.all))?;
    next::say(context, output, &next_command(args, &view));
    Ok(0)
}

/// The same sweep with the same changes is run; where nothing is left to train, its laws are fitted.
fn next_command(args: &PlanArgs, view: &PlanView) -> String {
    if view.totals.tokens_to_train == 0 {
        return format!("fit {}", view.sweep);
    }
    let mut command = format!("run {}", next::quoted(&args.file.display().to_string()));
    for set in &args.sets {
        command.push_str(&format!(" --set {}", next::quoted(set)));
    }
    command + &args.cluster.typed()
}

/// What would be handed to the cluster, where nothing of the sweep was trained since.
async fn plan_script(
    context: &Context,
    args: &PlanArgs,
    cluster: Option<&Cluster>,
    output: &Output,
) -> Result<u8, Failure> {
    let cluster = cluster.ok_or_else(|| Failure::invalid("usage", "--script is for a cluster", "add `--on slurm`"))?;
    let planned = planning::plan_file(context, &args.file, &args.sets).await?;
    let missing = planned.plan.missing(&planned.known);
    let ids: BTreeSet<_> = missing.iter().map(|stage| &stage.id).collect();
    let is_ready = |stage: &&&StagePlan| stage.parent.as_ref().is_none_or(|parent| !ids.contains(parent));
    let ready = missing.iter().filter(is_ready).count() as u64;
    let most = planned.sweep.resources.workers.unwrap_or(u64::MAX);
    let workers = cluster.workers().min(ready).min(most);
    if workers == 0 {
        output.note("nothing is to be trained, so nothing would be submitted");
    } else if missing.len() as u64 > ready {
        output.note("more workers follow, as far as the profile allows, when further stages can begin");
    }
    let site = match cluster.system().site().await {
        Ok(site) => site,
        Err(error) => {
            output.note(&format!("the site is not known, its defaults are assumed: {error}"));
            Site::default()
        }
    };
    let settings = cluster.settings(context, Duration::ZERO)?;
    let submissions = cluster::submissions(&settings, workers, &site)?;
    output.result(&submissions, &[], || cluster::human(&submissions))?;
    Ok(0)
}

fn view(context: &Context, planned: &Planned, rows: &[TrialRow]) -> PlanView {
    let Plan { sweep, trials, stages } = &planned.plan;
    let missing = planned.plan.missing(&planned.known);
    let reasons = planned.plan.reasons(&planned.known);
    let trials = trials
        .iter()
        .zip(&reasons)
        .map(|(trial, (reason, why))| TrialView {
            trial: trial.id.0.clone(),
            slug: trial.slug.clone(),
            reason: reason.name(),
            why: why.clone(),
            axes: trial.spec.axes.clone(),
            params_non_embedding: trial.config.shape.params_non_embedding().0,
            params_total: trial.config.shape.params_total(trial.config.vocab).0,
            seed: trial.config.seed,
            tokens: trial.tokens().0,
            flops: trial.flops(),
            stages: trial.stages.iter().map(|id| id.0.clone()).collect(),
        })
        .collect();
    let state = |stage: &StagePlan| {
        planned
            .known
            .stages
            .get(&stage.id)
            .map_or(StageState::Pending, |it| it.state)
    };
    PlanView {
        sweep: sweep.clone(),
        totals: totals(context, planned, &missing),
        rate_source: planned.rate_source(),
        reasons: planned.reasons(),
        laws: carries::laws(rows),
        trials,
        stages: stages
            .iter()
            .map(|stage| StageView {
                stage: stage.id.0.clone(),
                parent: stage.parent.as_ref().map(|parent| parent.0.clone()),
                kind: stage.kind.name(),
                from_tokens: stage.config.tokens_at(stage.from).0,
                to_tokens: stage.config.tokens_at(stage.to).0,
                state: state(stage).name(),
            })
            .collect(),
    }
}

/// Seconds of the work where it fills every slot, and of the longest chain of stages; a run takes the longer of them.
fn bounds(context: &Context, planned: &Planned, missing: &[&StagePlan]) -> (f64, f64) {
    let slots = planned.sweep.resources.workers.unwrap_or(context.slots()).max(1);
    let work: f64 = missing
        .iter()
        .map(|stage| planned.seconds(stage) * stage.config.numerics.threads as f64)
        .sum();
    let mut chains: BTreeMap<&crate::units::StageId, f64> = BTreeMap::new();
    for stage in missing {
        let before = stage
            .parent
            .as_ref()
            .and_then(|parent| chains.get(parent))
            .copied()
            .unwrap_or(0.0);
        chains.insert(&stage.id, before + planned.seconds(stage));
    }
    let longest = chains.values().copied().fold(0.0, f64::max);
    (work / slots as f64, longest)
}

/// Says that cores wait for the longest chain of stages, and how to give them to it.
///
/// Threads are a trial's identity (sums are taken in their order), so no plan changes them by itself: the same file
/// would give other bits on another machine.
fn idle_cores(context: &Context, planned: &Planned) -> Option<String> {
    let missing = planned.plan.missing(&planned.known);
    let (work, longest) = bounds(context, planned, &missing);
    let threads = missing.iter().map(|stage| stage.config.numerics.threads).max()?;
    let more = (longest / work * threads as f64).floor().min(context.cores as f64) as u64;
    (context.device == DeviceKind::Cpu && more > threads).then(|| {
        format!(
            "the longest chain of stages takes {}, the work on every core {}: cores stay idle; \
             `resources: {{threads: {more}}}` gives them to the stages (as trials with names of their own)",
            human_seconds(longest),
            human_seconds(work),
        )
    })
}

fn totals(context: &Context, planned: &Planned, missing: &[&StagePlan]) -> Totals {
    let Plan { trials, stages, .. } = &planned.plan;
    let (work, longest) = bounds(context, planned, missing);
    Totals {
        trials: trials.len() as u64,
        stages: stages.len() as u64,
        tokens: stages.iter().map(|stage| stage.tokens().0).sum(),
        tokens_unshared: trials.iter().map(|trial| trial.tokens().0).sum(),
        tokens_to_train: missing.iter().map(|stage| stage.tokens().0).sum(),
        flops: stages.iter().map(StagePlan::flops).sum(),
        flops_unshared: trials.iter().map(crate::plan::TrialPlan::flops).sum(),
        // The sum of nothing is -0.0.
        flops_to_train: missing.iter().map(|stage| stage.flops()).sum::<f64>() + 0.0,
        seconds: longest.max(work),
        bytes: missing
            .iter()
            .map(|stage| disk_bytes(stage, planned.sweep.resources.keep_weights))
            .sum(),
    }
}

/// Disk that a stage takes: its checkpoint where it leaves one (weights and two moments), and its lines.
fn disk_bytes(stage: &StagePlan, keeps_ends: bool) -> u64 {
    const LINE_BYTES: u64 = 250;
    let steps = stage.to.0 - stage.from.0;
    let state = if keeps_ends || stage.kind == crate::stage::StageKind::Trunk {
        12 * stage.config.shape.params_total(stage.config.vocab).0
    } else {
        0
    };
    state + steps * LINE_BYTES
}

fn human(view: &PlanView, all: bool) -> String {
    let totals = &view.totals;
    let mut text = format!(
        "{}: {} trials in {} stages\n\n",
        view.sweep, totals.trials, totals.stages
    );
    let row =
        |name: &str, tokens: u64, flops: f64| vec![name.to_owned(), human_count(tokens as f64), format!("{flops:.2e}")];
    text.push_str(&table(
        &["", "tokens", "FLOPs"],
        &[
            row("every trial alone", totals.tokens_unshared, totals.flops_unshared),
            row("shared beginnings once", totals.tokens, totals.flops),
            row("to train now", totals.tokens_to_train, totals.flops_to_train),
        ],
    ));
    text.push_str(&format!(
        "\n\nabout {} on this machine ({} speed), {} of disk\n\n",
        human_seconds(totals.seconds),
        view.rate_source,
        human_bytes(totals.bytes as f64)
    ));
    let reasons: Vec<String> = view
        .reasons
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    text.push_str(&format!("{}\n", laws_text(&view.laws)));
    text.push_str(&format!("trials: {}\n", reasons.join(", ")));
    let shown = if all {
        view.trials.len()
    } else {
        view.trials.len().min(12)
    };
    let rows: Vec<Vec<String>> = view.trials[..shown]
        .iter()
        .map(|trial| {
            vec![
                trial.trial.clone(),
                trial.slug.clone(),
                human_count(trial.params_non_embedding as f64),
                human_count(trial.tokens as f64),
                trial.stages.len().to_string(),
                trial.reason.to_owned(),
                if trial.reason == Reason::New.name() {
                    String::new()
                } else {
                    trial.why.clone()
                },
            ]
        })
        .collect();
    text.push_str(&table(
        &["trial", "slug", "params", "tokens", "stages", "reason", "why"],
        &rows,
    ));
    if shown < view.trials.len() {
        text.push_str(&format!(
            "\n… and {} more; `--all` shows them",
            view.trials.len() - shown
        ));
    }
    if all {
        text.push_str("\n\n");
        text.push_str(&tree(view));
    }
    text
}

/// The laws that the sweep will carry; below, what the others lack, those that lack the same together.
fn laws_text(laws: &[Carried]) -> String {
    let carried: Vec<&str> = laws.iter().filter(|law| law.carried).map(|law| law.law).collect();
    let mut text = match carried.as_slice() {
        [] => "it will carry no law:\n".to_owned(),
        some => format!("it will carry the laws {}\n", some.join(", ")),
    };
    let mut lacking: Vec<(&str, Vec<&str>)> = Vec::new();
    for law in laws {
        let Some(lacks) = law.lacks.as_deref() else { continue };
        match lacking.iter_mut().find(|(other, _)| *other == lacks) {
            Some((_, names)) => names.push(law.law),
            None => lacking.push((lacks, vec![law.law])),
        }
    }
    for (lacks, names) in lacking {
        text.push_str(&format!("  not {}: {lacks}\n", names.join(", ")));
    }
    text
}

/// The stage tree, as indented lines.
fn tree(view: &PlanView) -> String {
    fn walk(view: &PlanView, parent: Option<&str>, depth: usize, text: &mut String) {
        for stage in view.stages.iter().filter(|stage| stage.parent.as_deref() == parent) {
            text.push_str(&format!(
                "{}{} {} {}..{} {}\n",
                "  ".repeat(depth),
                stage.stage,
                stage.kind,
                human_count(stage.from_tokens as f64),
                human_count(stage.to_tokens as f64),
                stage.state
            ));
            walk(view, Some(&stage.stage), depth + 1, text);
        }
    }
    let mut text = String::from("stages\n");
    walk(view, None, 1, &mut text);
    text
}
