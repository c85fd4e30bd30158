//! `--on`: the options of every command that has to do with a cluster, and what would be submitted there.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde::Serialize;

use crate::cli::next;
use crate::exec::pool::Settings;
use crate::exec::{BATCH_SYSTEMS, batch_system};
use crate::queue::Site;
use crate::queue::script::{ScriptError, Submission};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::train::cluster::Cluster;

/// The word for this machine.
const LOCAL: &str = "local";

#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// Which machines train
    #[arg(long, value_parser = places(), default_value = LOCAL)]
    on: String,
    /// What a worker asks the cluster for (default: slurm.yaml in the home, else what the site gives by itself)
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// How many times faster than usual everything that waits has to be (tests)
    #[arg(long, hide = true, env = "SANDBOX_HASTE", hide_env = true, default_value_t = 1.0)]
    haste: f64,
}

/// This machine, and every batch system.
fn places() -> PossibleValuesParser {
    let local = PossibleValue::new(LOCAL).help("This one");
    let systems = BATCH_SYSTEMS.iter();
    let systems = systems.map(|system| PossibleValue::new(system.word).help(system.help));
    PossibleValuesParser::new([local].into_iter().chain(systems))
}

impl ClusterArgs {
    /// The flags that name the cluster again; empty where it is this machine.
    pub(super) fn typed(&self) -> String {
        let on = if self.on == LOCAL {
            String::new()
        } else {
            format!(" --on {}", self.on)
        };
        let profile = self.profile.as_ref().map(|file| file.display().to_string());
        on + &profile.map_or_else(String::new, |file| format!(" --profile {}", next::quoted(&file)))
    }

    /// The cluster that is asked for, with the context of a run there; none: this machine.
    pub(super) fn cluster(&self, context: &Context) -> Result<(Option<Cluster>, Context), Failure> {
        match batch_system(&self.on) {
            None if self.profile.is_some() => Err(Failure::invalid(
                "usage",
                "--profile is for a cluster",
                "add `--on slurm`",
            )),
            None => Ok((None, context.clone())),
            Some(system) => {
                let cluster = Cluster::read(system, context, self.profile.as_deref(), self.haste)?;
                let there = cluster.context(context);
                Ok((Some(cluster), there))
            }
        }
    }
}

/// What would be submitted.
#[derive(Debug, Serialize)]
pub(super) struct SubmissionView {
    /// The call.
    command: String,
    /// Where the script belongs.
    path: String,
    /// The script.
    script: String,
    /// Workers in it.
    workers: u64,
}

/// What would be submitted for so many workers in a new pool.
pub(super) fn submissions(settings: &Settings, workers: u64, site: &Site) -> Result<Vec<SubmissionView>, Failure> {
    // Generations are counted when a pool is made.
    let folder = settings.pools.join("NEW");
    let pool = format!("{}.NEW", settings.home);
    let system = &settings.system;
    let refused =
        |error: ScriptError| Failure::environment(system.word(), error.to_string(), "choose another `--home`");
    let view = |submission: &Submission| SubmissionView {
        command: submission.command_line(),
        path: submission.path.display().to_string(),
        script: String::from_utf8_lossy(&submission.script).into_owned(),
        workers: submission.tasks,
    };
    let wanted = settings.wanted(&folder, &pool, workers, 1);
    let submissions = system.submissions(&wanted, site).map_err(refused)?;
    Ok(submissions.iter().map(view).collect())
}

/// For people.
pub(super) fn human(submissions: &[SubmissionView]) -> String {
    let one = |it: &SubmissionView| format!("# {}\n{}\n{}\n", it.path, it.script, it.command);
    submissions.iter().map(one).collect::<Vec<_>>().join("\n")
}
