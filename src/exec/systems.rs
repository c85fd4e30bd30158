//! The batch systems that workers can be had from: another is one row here.
//!
//! Refuses to know what a profile asks of them.

use std::sync::Arc;

use crate::exec::pool::BatchSystem;
use crate::exec::slurm;

/// A batch system as the command line offers it.
#[derive(Debug, Clone, Copy)]
pub struct Offered {
    /// The word behind `--on`, and in `pool.json`.
    pub word: &'static str,
    /// The line of the help.
    pub help: &'static str,
    /// Makes it, in the environment of this process.
    pub open: fn() -> Arc<dyn BatchSystem>,
}

pub const BATCH_SYSTEMS: &[Offered] = &[Offered {
    word: slurm::WORD,
    help: "The nodes of the Slurm cluster that this machine can submit to",
    open: || Arc::new(slurm::Client::new(std::env::vars_os().map(|(name, _)| name))),
}];

/// The batch system of a word; none: this program does not know it.
pub fn batch_system(word: &str) -> Option<Arc<dyn BatchSystem>> {
    let offered = BATCH_SYSTEMS.iter().find(|offered| offered.word == word);
    offered.map(|offered| (offered.open)())
}
