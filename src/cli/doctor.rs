//! `sandbox doctor`: whether everything that a run needs is there.

use serde::Serialize;

use crate::cli::bench::ask_worker;
use crate::cli::output::{Output, table};
use crate::run::context::{Context, VERSION};
use crate::run::failure::{Failure, exit};
use crate::workdir::write_atomic;

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    text: String,
}

pub(super) fn doctor(context: &Context, output: &Output) -> Result<u8, Failure> {
    let checks = [worker(context), home(context), orchestrator(context), cards(context)];
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
