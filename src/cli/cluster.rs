//! `--on slurm`: the options of every command that has to do with a cluster, and what would be submitted there.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::exec::pool::Settings;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::train::cluster::Cluster;
use crate::slurm::parse::Site;
use crate::slurm::script::{self, ScriptError, Submission, Wanted};

#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// Which machines train
    #[arg(long, value_enum, default_value_t = On::Local)]
    on: On,
    /// What a worker asks Slurm for (default: slurm.yaml in the home, else what the site gives by itself)
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// How many times faster than usual everything that waits has to be (tests)
    #[arg(long, hide = true, env = "SANDBOX_HASTE", hide_env = true, default_value_t = 1.0)]
    haste: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// This one
    Local,
    /// The nodes of the Slurm cluster that this machine can submit to
    Slurm,
}

impl ClusterArgs {
    /// The cluster that is asked for, with the context of a run there; none: this machine.
    pub(super) fn cluster(&self, context: &Context) -> Result<(Option<Cluster>, Context), Failure> {
        match self.on {
            On::Local if self.profile.is_some() => Err(Failure::invalid(
                "usage",
                "--profile is for a cluster",
                "add `--on slurm`",
            )),
            On::Local => Ok((None, context.clone())),
            On::Slurm => {
                let cluster = Cluster::read(context, self.profile.as_deref(), self.haste)?;
                let there = cluster.context(context);
                Ok((Some(cluster), there))
            }
        }
    }
}

/// What would be handed to Slurm.
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

/// What would be handed to Slurm for so many workers in a new pool.
pub(super) fn submissions(settings: &Settings, workers: u64, site: &Site) -> Result<Vec<SubmissionView>, Failure> {
    // Generations are counted when a pool is made.
    let folder = settings.pools.join("NEW");
    let wanted = Wanted {
        profile: &settings.profile,
        folder: &folder,
        pool: &format!("{}.NEW", settings.home),
        workers,
        first: 1,
        program: &settings.program,
    };
    let refused = |error: ScriptError| Failure::environment("slurm", error.to_string(), "choose another `--home`");
    let view = |submission: &Submission| SubmissionView {
        command: submission.command_line(),
        path: submission.path.display().to_string(),
        script: String::from_utf8_lossy(&submission.script).into_owned(),
        workers: submission.tasks,
    };
    let submissions = script::submissions(&wanted, site).map_err(refused)?;
    Ok(submissions.iter().map(view).collect())
}

/// For people.
pub(super) fn human(submissions: &[SubmissionView]) -> String {
    let one = |it: &SubmissionView| format!("# {}\n{}\n{}\n", it.path, it.script, it.command);
    submissions.iter().map(one).collect::<Vec<_>>().join("\n")
}
