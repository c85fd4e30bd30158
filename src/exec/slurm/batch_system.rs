//! Slurm as the pool sees it.

use crate::exec::pool::{Answer, BatchSystem, CallError, Finding, SubmitError};
use crate::exec::slurm::client::Client;
use crate::exec::slurm::doctor;
use crate::queue::script::{JOB_NAME, ScriptError, Submission, Wanted};
use crate::queue::slurm::script;
use crate::queue::{Listing, Site, TaskId};

/// Slurm's word on the command line and in the records.
pub const WORD: &str = "slurm";

impl BatchSystem for Client {
    fn name(&self) -> &'static str {
        "Slurm"
    }

    fn word(&self) -> &'static str {
        WORD
    }

    fn cancel_by_hand(&self) -> String {
        format!("scancel -n {JOB_NAME}")
    }

    fn site(&self) -> Answer<'_, Result<Site, CallError>> {
        Box::pin(self.config())
    }

    fn submissions(&self, wanted: &Wanted<'_>, site: &Site) -> Result<Vec<Submission>, ScriptError> {
        script::submissions(wanted, site)
    }

    fn submit<'a>(&'a self, submission: &'a Submission) -> Answer<'a, Result<u64, SubmitError>> {
        Box::pin(self.sbatch(submission))
    }

    fn list(&self) -> Answer<'_, Result<Listing, CallError>> {
        Box::pin(self.squeue())
    }

    fn cancel<'a>(&'a self, tasks: &'a [TaskId]) -> Answer<'a, Result<(), CallError>> {
        Box::pin(self.scancel(tasks))
    }

    fn survey<'a>(&'a self, wanted: &'a Wanted<'a>) -> Answer<'a, Vec<Finding>> {
        Box::pin(doctor::survey(self, wanted))
    }
}
