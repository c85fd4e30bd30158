//! What a pool needs of a batch system: a scheduler is another implementation of this trait.
//!
//! Refuses to know when it is asked and how often.

use std::pin::Pin;

use crate::queue::script::{ScriptError, Submission, Wanted};
use crate::queue::{Listing, Site, TaskId};

/// An answer that takes time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A scheduler of a cluster: it runs jobs, and says how they are.
pub trait BatchSystem: std::fmt::Debug + Send + Sync {
    /// Its name, as people write it: `Slurm`.
    fn name(&self) -> &'static str;

    /// Its word on the command line and in the records: `slurm`.
    fn word(&self) -> &'static str;

    /// How a person ends all workers by hand.
    fn cancel_by_hand(&self) -> String;

    /// What the site allows.
    fn site(&self) -> Answer<'_, Result<Site, CallError>>;

    /// The submissions for so many workers; nothing is submitted yet.
    fn submissions(&self, wanted: &Wanted<'_>, site: &Site) -> Result<Vec<Submission>, ScriptError>;

    /// Submits, once the script is written; gives the number of the job.
    fn submit<'a>(&'a self, submission: &'a Submission) -> Answer<'a, Result<u64, SubmitError>>;

    /// Every job of this user's workers that it still knows, those that ended a moment ago among them.
    fn list(&self) -> Answer<'_, Result<Listing, CallError>>;

    /// Ends jobs; that one has ended already is no error.
    fn cancel<'a>(&'a self, tasks: &'a [TaskId]) -> Answer<'a, Result<(), CallError>>;

    /// Whether these workers can be had, without submitting any; the folder need not exist.
    fn survey<'a>(&'a self, wanted: &'a Wanted<'a>) -> Answer<'a, Vec<Finding>>;
}

/// A command that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such command.
    #[error(
        "`{program}` cannot be run: {source}; run this where the commands of the cluster are installed (a login node)"
    )]
    Missing {
        program: &'static str,
        source: std::io::Error,
    },
    /// It took too long.
    #[error("`{program}` gave no answer in {seconds} s; the controller of the cluster may be down")]
    TimedOut {
        program: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    #[error("`{program}` failed: {message}")]
    Failed { program: &'static str, message: String },
}

/// What came of a submission that gave no number.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It is certain that it was not taken, and it would not take it again.
    #[error("{0}")]
    Refused(CallError),
    /// It may have been taken, or may still: look its key up before submitting again.
    #[error("{0}")]
    Unsure(CallError),
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is as it has to be.
    pub is_good: bool,
    pub text: String,
    /// What to do about it; none: nothing.
    pub advice: Option<String>,
}
