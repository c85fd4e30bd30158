//! What is done about the pools that lie in a home: the running one of a dead orchestrator is taken over, others are
//! revoked.
//!
//! Refuses to know what is trained. Only the holder of the home's lock may come here.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::exec::lines::read_from;
use crate::exec::pool::batch_system::BatchSystem;
use crate::exec::pool::folders::{self, Note};
use crate::exec::pool::remote_worker::{Health, RemoteWorker};
use crate::exec::pool::settings::{PoolError, Settings, Timeouts};
use crate::exec::pool::submitter::{Command, Handle};
use crate::exec::pool::worker_pool::Pool;
use crate::mailbox::{self, Order};
use crate::protocol::{LINES_FILE, Line};
use crate::queue::Site;
use crate::units::StageId;
use crate::workdir::write_atomic;

/// An attempt that a worker of an earlier orchestrator has, and whose lines come from the first on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    pub stage: StageId,
    pub attempt: u32,
}

/// What was done about the pools of earlier orchestrators.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retired {
    /// Pools that were revoked.
    pub pools: Vec<String>,
    /// Workers that have left when told to.
    pub left: usize,
    /// Workers that gave no sign of life any more.
    pub silent: usize,
}

impl Pool {
    /// The pool of a dead orchestrator if it fits these settings, else a new one; others must be retired before.
    ///
    /// `runs` says which attempts the records call running: a worker that has one goes on with it, and it is told in
    /// the answer; one that has another is sent away. Must be called inside a runtime of tokio.
    pub async fn open(
        settings: Settings,
        runs: &dyn Fn(&StageId, u32) -> bool,
    ) -> Result<(Self, Vec<Adopted>), PoolError> {
        let site = settings.system.site().await?;
        fs::create_dir_all(&settings.pools)?;
        let found = folders::adoptable(&settings)?;
        let folder = match &found {
            Some(folder) => folder.clone(),
            None => folders::create(&settings)?,
        };
        let owner = serde_json::to_vec(&settings.owner).map_err(std::io::Error::other)?;
        write_atomic(&folder.join(mailbox::OWNER_FILE), &owner)?;
        let name = folders::pool_name(&settings.home, &folder);
        let submitter = Handle::open(
            Arc::clone(&settings.system),
            site,
            &folder,
            &name,
            settings.timeouts.ask,
        )?;
        let mut pool = Self::new(settings, folder, submitter);
        let adopted = if found.is_some() {
            pool.take_over(runs).await?
        } else {
            Vec::new()
        };
        Ok((pool, adopted))
    }

    async fn take_over(&mut self, runs: &dyn Fn(&StageId, u32) -> bool) -> Result<Vec<Adopted>, PoolError> {
        let now = Instant::now();
        let mut found = Vec::new();
        for (key, folder) in folders::workers(&self.folder)? {
            let Some(number) = RemoteWorker::number_in(&folder) else {
                // Nobody knew it yet; the first look finds it.
                continue;
            };
            self.roster.number_taken(number);
            if let Some(worker) = RemoteWorker::find(folder, number, now)? {
                let order = worker.orders()?.pop();
                found.push((key, worker, order));
            }
        }
        // Whoever has begun comes first: where an attempt lies with two workers, the other never had more than its order.
        found.sort_by_key(|(_, _, order)| !order.as_ref().is_some_and(|(_, is_begun)| *is_begun));
        let mut adopted: Vec<Adopted> = Vec::new();
        let mut unwanted = Vec::new();
        for (key, mut worker, order) in found {
            match order {
                Some((order, is_begun)) if runs(&order.stage, order.attempt) => {
                    let ours = Adopted {
                        stage: order.stage.clone(),
                        attempt: order.attempt,
                    };
                    if adopted.contains(&ours) {
                        worker.close()?;
                        self.dismiss(key, &worker, true);
                        continue;
                    }
                    adopted.push(ours);
                    worker.adopt(order, is_begun, now);
                    self.roster.insert(key, worker);
                }
                Some((order, _)) if !has_ended(&order)? => {
                    // Nobody wants what it does.
                    worker.close()?;
                    self.dismiss(key, &worker, true);
                    unwanted.push(worker);
                }
                Some(_) | None if worker.bye()?.is_some() => self.dismiss(key, &worker, false),
                Some(_) | None => {
                    self.roster.insert(key, worker);
                }
            }
        }
        for (intent, job) in self.submitter.records()? {
            self.provisioning
                .inherited(intent.number, intent.tasks, job.is_some(), now);
        }
        // What they hand back is for whoever reads attempts that were left behind.
        farewells(unwanted, &self.settings.timeouts).await?;
        Ok(adopted)
    }
}

/// Waits until each of these workers has left, or has been silent for its lease; gives how many left, and how many are
/// silent.
async fn farewells(mut workers: Vec<RemoteWorker>, timeouts: &Timeouts) -> Result<(usize, usize), PoolError> {
    let (mut left, mut silent) = (0, 0);
    while !workers.is_empty() {
        let mut there = Vec::new();
        for mut worker in workers {
            match worker.health(Instant::now(), None, timeouts)? {
                Health::Left(_) => left += 1,
                Health::NoHeartbeat => silent += 1,
                Health::Alive | Health::Stalled | Health::NotStarting => there.push(worker),
            }
        }
        workers = there;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok((left, silent))
}

/// Whether the lines of an order have their last.
fn has_ended(order: &Order) -> std::io::Result<bool> {
    let written = read_from(&order.job.with_file_name(LINES_FILE), order.attempt, &mut 0)?;
    Ok(written.lines.last().is_some_and(Line::is_last))
}

/// Revokes every pool but the one that can be taken over (`keep` none: all), and waits for their workers.
///
/// Afterwards nothing of them writes into an attempt that `runs` names: each such worker has left, or has been silent
/// for its lease and finds its inbox closed. What they wrote is for whoever reads attempts that were left behind.
pub async fn retire_others(
    pools: &Path,
    keep: Option<&Settings>,
    timeouts: &Timeouts,
    system: &dyn Fn(&str) -> Option<Arc<dyn BatchSystem>>,
    runs: &dyn Fn(&StageId, u32) -> bool,
) -> Result<Retired, PoolError> {
    let mut retired = Retired::default();
    let others = folders::others(pools, keep)?;
    let now = Instant::now();
    let mut workers = Vec::new();
    let mut submitters = Vec::new();
    for folder in &others {
        folders::revoke(folder)?;
        for (_, folder) in folders::workers(folder)? {
            if let Some(worker) = RemoteWorker::find(folder, 0, now)? {
                worker.close()?;
                let orders = worker.orders()?;
                if orders.iter().any(|(order, _)| runs(&order.stage, order.attempt)) {
                    workers.push(worker);
                }
            }
        }
        let known = Note::read(folder)?.and_then(|note| Some((note.pool_name(folder), system(&note.system)?)));
        if let Some((name, system)) = known {
            let submitter = Handle::open(system, Site::default(), folder, &name, timeouts.ask)?;
            // The batch system's SIGTERM is a request to hand back, as is the revocation.
            submitter.ask(Command::CancelAll);
            submitters.push(submitter);
        }
        retired.pools.push(folders::generation(folder));
    }
    (retired.left, retired.silent) = farewells(workers, timeouts).await?;
    for submitter in submitters {
        submitter.close(timeouts.farewell).await;
    }
    Ok(retired)
}
