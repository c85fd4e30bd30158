//! The workers of a run, of this machine or of a cluster.
//!
//! Refuses to know what a job means and where results are kept.

use std::path::Path;

use crate::exec::error::WorkersError;
use crate::exec::lines::News;
use crate::exec::{local, pool};
use crate::units::StageId;

/// A pool of workers, of whatever kind.
#[derive(Debug)]
pub enum Workers {
    /// Processes of this machine.
    Local(local::Pool),
    /// Jobs on a cluster.
    Cluster(Box<pool::Pool>),
}

impl Workers {
    /// Waits until some worker has written a line; workers on a cluster cannot tell, so there it never ends.
    pub async fn wakeup(&self) {
        match self {
            Self::Local(pool) => pool.wakeup().await,
            Self::Cluster(_) => std::future::pending().await,
        }
    }

    /// Hands a job to a worker; `device` is its place in the limits.
    pub async fn launch(
        &mut self,
        stage: StageId,
        attempt: u32,
        device: usize,
        job: &Path,
    ) -> Result<(), WorkersError> {
        match self {
            Self::Local(pool) => pool.launch(stage, attempt, device, job).await,
            Self::Cluster(pool) => {
                pool.launch(stage, attempt, job);
                Ok(())
            }
        }
    }

    /// The number of the worker that the next launch on the device will use; none: the first that comes.
    pub fn next_worker(&self, device: usize) -> Option<usize> {
        match self {
            Self::Local(pool) => Some(pool.next_worker(device)),
            Self::Cluster(pool) => pool.next_worker(),
        }
    }

    /// Reads what the workers said since the last look, and finds those that are gone.
    pub fn poll(&mut self) -> Result<Vec<News>, WorkersError> {
        match self {
            Self::Local(pool) => Ok(pool.poll()?),
            Self::Cluster(pool) => pool
                .poll()
                .map_err(|error| WorkersError::of_pool(pool.system().word(), error)),
        }
    }

    /// What people are told of the workers that wait, and of what went wrong with them, where it has changed.
    pub fn notice(&mut self) -> Option<String> {
        match self {
            Self::Local(_) => None,
            Self::Cluster(pool) => pool.notice(),
        }
    }

    /// Asks the workers of some stages to stop.
    pub async fn stop(&mut self, which: &dyn Fn(&StageId) -> bool) -> Result<(), WorkersError> {
        match self {
            Self::Local(pool) => pool.stop(which).await,
            Self::Cluster(pool) => pool.stop(which)?,
        }
        Ok(())
    }

    /// Asks every worker to stop what it does.
    pub async fn stop_all(&mut self) -> Result<(), WorkersError> {
        self.stop(&|_| true).await
    }

    /// Ends the workers; gives what is to be said of those that may not have ended.
    pub async fn close(self) -> Result<Option<String>, WorkersError> {
        match self {
            Self::Local(pool) => {
                pool.close().await;
                Ok(None)
            }
            Self::Cluster(pool) => {
                let system = pool.system().word();
                pool.close().await.map_err(|error| WorkersError::of_pool(system, error))
            }
        }
    }
}
