//! The commands of Slurm, run with a time-out each and in an environment that does not change what they print.
//!
//! Refuses to know why it is asked, and when to ask again. What is printed is read by `queue::slurm`.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::exec::pool::{CallError, SubmitError};
use crate::queue::script::{JOB_NAME, Submission};
use crate::queue::slurm::parse::{self, Partition};
use crate::queue::{Listing, Site, TaskId};

/// Whether the same call may well succeed later: the controller was not reached, or too busy.
fn may_pass(error: &CallError) -> bool {
    const PASSING: [&str; 14] = [
        "resource temporarily unavailable",
        "connection reset",
        "no route to host",
        "broken pipe",
        // munge is away, or its clock.
        "authentication",
        "unable to contact slurm controller",
        "socket timed out",
        "temporarily unable",
        "connection refused",
        "connection timed out",
        "zero bytes were transmitted",
        "transport endpoint",
        "communication",
        "standby",
    ];
    match error {
        CallError::Missing { .. } => false,
        CallError::TimedOut { .. } => true,
        CallError::Failed { message, .. } => {
            let message = message.to_lowercase();
            message.is_empty() || PASSING.iter().any(|sign| message.contains(sign))
        }
    }
}

#[derive(Debug, Clone)]
pub struct Client {
    /// Variables that must not reach a command.
    unwanted: Vec<OsString>,
    /// How long a question may take.
    ask: Duration,
    /// How long a submission may take.
    submit: Duration,
}

/// The variables among these that change what Slurm's commands do or print. Where the cluster is found, and who asks,
/// stays.
pub fn unwanted(names: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const PREFIXES: [&[u8]; 8] = [
        b"SLURM_",
        b"SBATCH_",
        b"SQUEUE_",
        b"SACCT_",
        b"SINFO_",
        b"SCONTROL_",
        b"SCANCEL_",
        b"SLURMD_",
    ];
    const KEPT: [&[u8]; 3] = [b"SLURM_CONF", b"SLURM_CONF_SERVER", b"SLURM_JWT"];
    let changes = |name: &OsString| {
        let name = name.as_encoded_bytes();
        PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !KEPT.contains(&name)
    };
    names.into_iter().filter(changes).collect()
}

impl Client {
    /// A client in an environment with these names of variables.
    pub fn new(environment: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            unwanted: unwanted(environment),
            ask: Duration::from_secs(30),
            submit: Duration::from_mins(1),
        }
    }

    /// What the site allows.
    pub(super) async fn config(&self) -> Result<Site, CallError> {
        let text = self.call("scontrol", ["show", "config"], self.ask).await?;
        Ok(parse::show_config(&text))
    }

    /// Every worker of this user that Slurm still knows, those that ended a moment ago among them.
    pub(super) async fn squeue(&self) -> Result<Listing, CallError> {
        let user = rustix::process::getuid().as_raw().to_string();
        let format = parse::squeue_format();
        let arguments = ["-h", "-r", "-t", "all", "-u", &user, "-n", JOB_NAME, "-O", &format];
        let text = self.call("squeue", arguments, self.ask).await?;
        Ok(parse::squeue(&text))
    }

    pub(super) async fn partitions(&self) -> Result<Vec<Partition>, CallError> {
        let text = self.call("sinfo", ["-h", "-o", parse::SINFO_FORMAT], self.ask).await?;
        Ok(parse::sinfo(&text))
    }

    /// Hands a submission to Slurm, whose script is written already; gives the number of the job.
    pub(super) async fn sbatch(&self, submission: &Submission) -> Result<u64, SubmitError> {
        let arguments = submission.args.iter().map(OsString::as_os_str);
        let arguments = arguments.chain([submission.path.as_os_str()]);
        match self.call("sbatch", arguments, self.submit).await {
            Ok(text) => parse::submitted(&text).ok_or_else(|| {
                SubmitError::Unsure(CallError::Failed {
                    program: "sbatch",
                    message: format!("it printed no number: `{}`", text.trim()),
                })
            }),
            Err(error @ CallError::Missing { .. }) => Err(SubmitError::Refused(error)),
            Err(error) if may_pass(&error) => Err(SubmitError::Unsure(error)),
            Err(error) => Err(SubmitError::Refused(error)),
        }
    }

    /// Checks a submission without submitting it (`sbatch --test-only`).
    pub(super) async fn rehearse(&self, submission: &Submission) -> Result<String, CallError> {
        let arguments = submission.args.iter().map(OsString::as_os_str);
        let arguments = [OsStr::new("--test-only")].into_iter().chain(arguments);
        let arguments = arguments.chain([submission.path.as_os_str()]);
        self.call("sbatch", arguments, self.submit).await
    }

    /// Ends jobs; those that have ended already are no fault.
    pub(super) async fn scancel(&self, tasks: &[TaskId]) -> Result<(), CallError> {
        if tasks.is_empty() {
            return Ok(());
        }
        let names = tasks.iter().map(ToString::to_string);
        let arguments: Vec<String> = ["-Q".to_owned()].into_iter().chain(names).collect();
        match self.call("scancel", &arguments, self.ask).await {
            Err(error @ CallError::Failed { .. }) if may_pass(&error) => Err(error),
            Ok(_) | Err(CallError::Failed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn call(
        &self,
        program: &'static str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        timeout: Duration,
    ) -> Result<String, CallError> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        // Ctrl-C in the terminal is for the orchestrator.
        command.process_group(0);
        for name in &self.unwanted {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C");
        let output = match tokio::time::timeout(timeout, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(source)) => return Err(CallError::Missing { program, source }),
            Err(_) => {
                let seconds = timeout.as_secs();
                return Err(CallError::TimedOut { program, seconds });
            }
        };
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(CallError::Failed { program, message });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_output_is_taken_out_and_the_cluster_stays() {
        let names = "SQUEUE_FORMAT SBATCH_EXPORT SLURM_TIME_FORMAT SLURM_JOB_ID SLURM_CONF SACCT_FORMAT SINFO_FORMAT \
                     PATH SLURMY SLURM_CLUSTERS SLURM_JWT";
        let names = names.split_whitespace().map(OsString::from);
        let out: Vec<OsString> = unwanted(names);
        let expected = "SQUEUE_FORMAT SBATCH_EXPORT SLURM_TIME_FORMAT SLURM_JOB_ID SACCT_FORMAT SINFO_FORMAT \
                        SLURM_CLUSTERS";
        assert_eq!(out, expected.split_whitespace().map(OsString::from).collect::<Vec<_>>());
    }

    #[test]
    fn a_controller_that_is_away_may_come_back_and_a_wrong_partition_stays_wrong() {
        let failed = |message: &str| CallError::Failed {
            program: "sbatch",
            message: message.to_owned(),
        };
        for passing in [
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
            "",
        ] {
            assert!(may_pass(&failed(passing)), "{passing}");
        }
        for staying in [
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
        ] {
            assert!(!may_pass(&failed(staying)), "{staying}");
        }
    }
}
