//! How stages on a pool are stopped, and how a pool ends: revoked first, then its jobs are cancelled.
//!
//! Refuses to know why.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::exec::pool::folders;
use crate::exec::pool::remote_worker::RemoteWorker;
use crate::exec::pool::settings::PoolError;
use crate::exec::pool::submitter::Command;
use crate::exec::pool::waiting::Waiting;
use crate::exec::pool::worker_pool::Pool;
use crate::mailbox;
use crate::units::StageId;

impl Pool {
    /// Asks the workers of some stages to stop; what no worker has yet ends at once.
    pub fn stop(&mut self, which: &dyn Fn(&StageId) -> bool) -> std::io::Result<()> {
        for worker in self.roster.workers_mut() {
            if worker.busy.as_ref().is_some_and(|busy| which(&busy.order.stage)) {
                worker.stop()?;
            }
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (stopped, waiting): (VecDeque<Waiting>, VecDeque<Waiting>) =
            waiting.partition(|waiting| which(&waiting.stage));
        self.waiting = waiting;
        self.news.extend(stopped.into_iter().map(Waiting::stopped));
        Ok(())
    }

    /// Revokes the pool, waits for its workers to leave, and cancels what does not; what is to be said if that fails.
    pub async fn close(self) -> Result<Option<String>, PoolError> {
        // Of a pool that is somebody else's now, nothing is touched.
        self.check_owner()?;
        folders::revoke(&self.folder)?;
        for worker in self.roster.workers() {
            worker.close()?;
        }
        // By themselves first: the accounts of the cluster then call them complete.
        let since = Instant::now();
        let farewell = self.settings.timeouts.farewell;
        let mut left: Vec<&RemoteWorker> = self.roster.workers().collect();
        while !left.is_empty() && since.elapsed() < farewell {
            let mut there = Vec::new();
            for worker in left {
                if worker.bye()?.is_none() {
                    there.push(worker);
                }
            }
            left = there;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.submitter.ask(Command::CancelAll);
        let is_done = self.submitter.close(farewell).await && self.folder.join(mailbox::SETTLED).exists();
        let system = &self.settings.system;
        Ok((!is_done).then(|| {
            format!(
                "jobs of this run may still wait on {}, which does not answer: the next `run --on {}` cancels them, or \
                 `{}` does",
                system.name(),
                system.word(),
                system.cancel_by_hand()
            )
        }))
    }
}
