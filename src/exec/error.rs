//! Why workers cannot be had, here or on a cluster.
//!
//! Refuses to know how it is told to people.

use std::path::PathBuf;

use crate::exec::pool::PoolError;

/// Why workers cannot be had, or go on no longer.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// The worker's program does not start here.
    #[error("the worker `{}` cannot be started: {source}", program.display())]
    NoProgram { program: PathBuf, source: std::io::Error },
    /// The disk does not do what is asked.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The pool on a cluster does not go on.
    #[error("{error}")]
    Cluster {
        /// The batch system, by its word on the command line.
        system: &'static str,
        error: PoolError,
    },
}

impl WorkersError {
    /// What goes wrong with a pool on this batch system.
    pub fn of_pool(system: &'static str, error: PoolError) -> Self {
        match error {
            PoolError::Io(error) => Self::Io(error),
            error => Self::Cluster { system, error },
        }
    }
}
