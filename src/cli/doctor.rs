//! `sandbox doctor`: whether everything that a run needs is there.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::cli::cluster::ClusterArgs;
use crate::cli::output::{Output, table};
use crate::exec::pool::Finding;
use crate::run::context::{Context, VERSION};
use crate::run::failure::{Failure, exit};
use crate::run::worker::ask_worker;
use crate::workdir::mount::shared_file_system_of;
use crate::workdir::write_atomic;

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    text: String,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn doctor(context: &Context, args: &DoctorArgs, output: &Output) -> Result<u8, Failure> {
    let (cluster, _) = args.cluster.cluster(context)?;
    let mut checks = vec![worker(context), home(context), orchestrator(context)];
    match cluster {
        None => checks.push(cards(context)),
        Some(cluster) => {
            checks.push(database(context));
            let settings = cluster.settings(context, Duration::ZERO)?;
            let wanted = settings.wanted(&settings.pools, "doctor", 1, 0);
            let system = cluster.system();
            let findings = system.survey(&wanted).await.into_iter();
            checks.extend(findings.map(|finding| Check::of(system.name(), finding)));
        }
    }
    let healthy = checks.iter().all(|check| check.ok);
    let view = serde_json::json!({ "version": VERSION, "healthy": healthy, "checks": checks });
    output.result(&view, &[], || {
        let rows: Vec<Vec<String>> = checks
            .iter()
            .map(|check| {
                vec![
                    if check.ok { "ok" } else { "no" }.to_owned(),
                    check.name.to_owned(),
                    check.text.clone(),
                ]
            })
            .collect();
        table(&["", "check", ""], &rows)
    })?;
    Ok(if healthy { 0 } else { exit::ENVIRONMENT })
}

impl Check {
    fn of(name: &'static str, finding: Finding) -> Self {
        let Finding { is_good, text, advice } = finding;
        Self {
            name,
            ok: is_good,
            text: advice.map_or(text.clone(), |advice| format!("{text}: {advice}")),
        }
    }
}

/// Nodes reach the home over the network; the database must not lie there.
fn database(context: &Context) -> Check {
    let (ok, text) = match shared_file_system_of(context.workdir.database()) {
        Ok(None) => (true, context.workdir.database().display().to_string()),
        Ok(Some(kind)) => (
            false,
            format!(
                "`{}` lies on {kind}: put it on a disk of this machine with --db FILE",
                context.workdir.database().display()
            ),
        ),
        Err(error) => (false, error.to_string()),
    };
    Check {
        name: "database on a local disk",
        ok,
        text,
    }
}

fn worker(context: &Context) -> Check {
    let answer = ask_worker(context, &["info".to_owned(), "--json".to_owned()]);
    let (ok, text) = match answer {
        Ok(info) if info["version"] == VERSION => (true, info.to_string()),
        Ok(info) => (
            false,
            format!(
                "the worker is version {}, this is {VERSION}: build both together",
                info["version"]
            ),
        ),
        Err(failure) => (false, failure.message),
    };
    Check {
        name: "worker and libtorch",
        ok,
        text,
    }
}

fn home(context: &Context) -> Check {
    let probe = context.workdir.home().join(".doctor");
    let (ok, text) = match write_atomic(&probe, b"") {
        Ok(()) => match fs_err::remove_file(&probe) {
            Ok(()) => (true, context.workdir.home().display().to_string()),
            Err(error) => (false, error.to_string()),
        },
        Err(error) => (false, error.to_string()),
    };
    Check {
        name: "home can be written",
        ok,
        text,
    }
}

fn orchestrator(context: &Context) -> Check {
    let (ok, text) = match context.workdir.holder() {
        Ok(None) => (true, "nobody runs here".to_owned()),
        Ok(Some(holder)) => (
            true,
            format!("pid {} on {} since {}", holder.pid, holder.host, holder.since),
        ),
        Err(error) => (false, error.to_string()),
    };
    Check { name: "lock", ok, text }
}

/// What is promised of GPUs, which is little: no machine with one has run the tests.
fn cards(context: &Context) -> Check {
    let text = match context.gpus {
        0 => "none here: proxies train on the processor".to_owned(),
        count => format!("{count} NVIDIA GPUs; training on CUDA is written and has not been tried: check a small run"),
    };
    Check {
        name: "GPUs",
        ok: true,
        text,
    }
}
