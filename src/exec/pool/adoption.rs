//! Whose pools lie in a home: the running one of a dead orchestrator is taken over, others are revoked.
//!
//! Refuses to know what is trained. Only the holder of the home's lock may come here.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::exec::pool::remote_worker::{self, Health, RemoteWorker};
use crate::exec::pool::submissions::Submissions;
use crate::exec::pool::submitter::{Command, Handle};
use crate::exec::pool::worker_pool::{Pool, pool_name, revoke};
use crate::exec::pool::{PoolError, Settings, Timeouts};
use crate::exec::read_from;
use crate::exec::slurm::Client;
use crate::mailbox;
use crate::protocol::{LINES_FILE, Line};
use crate::units::StageId;
use crate::workdir::write_atomic;

/// An attempt that a worker of an earlier orchestrator has, and whose lines come from the first on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The stage.
    pub stage: StageId,
    /// Which attempt.
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

/// What a pool is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    #[serde(rename = "post")]
    format: u32,
    version: String,
    home: String,
    program: Vec<String>,
    /// Everything of the profile that a running worker has.
    shape: String,
}

impl Note {
    fn of(settings: &Settings) -> Self {
        let mut shape = settings.profile.clone();
        // These change nothing for a worker that runs.
        shape.max_workers = 0;
        shape.idle = Duration::ZERO;
        let program = settings.program.iter();
        Self {
            format: mailbox::FORMAT,
            version: settings.version.clone(),
            home: settings.home.clone(),
            program: program.map(|word| word.to_string_lossy().into_owned()).collect(),
            shape: format!("{shape:?}"),
        }
    }
}

/// A pool's folder.
struct Generation {
    number: u64,
    folder: PathBuf,
}

impl Generation {
    fn is_revoked(&self) -> bool {
        self.folder.join(mailbox::REVOKED).exists()
    }

    /// Whether nothing of it is left on Slurm.
    fn is_settled(&self) -> bool {
        self.is_revoked() && self.folder.join(mailbox::SETTLED).exists()
    }
}

/// The pools that a folder holds, the newest last.
fn generations(pools: &Path) -> std::io::Result<Vec<Generation>> {
    let mut found = Vec::new();
    if !pools.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(pools)? {
        let folder = entry?.path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_prefix('g').and_then(|number| number.parse().ok()) {
            found.push(Generation { number, folder });
        }
    }
    found.sort_by_key(|it| it.number);
    Ok(found)
}

/// Pools that are over, but for the newest of all, which says what the next is called.
pub fn revoked(pools: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = generations(pools)?;
    found.pop();
    Ok(found
        .into_iter()
        .filter(Generation::is_settled)
        .map(|it| it.folder)
        .collect())
}

fn generation(number: u64) -> String {
    format!("g{number:04}")
}

/// The pool that can be taken over.
fn heir(settings: &Settings, pools: &[Generation]) -> std::io::Result<Option<PathBuf>> {
    let ours = Note::of(settings);
    for pool in pools.iter().rev().filter(|pool| !pool.is_revoked()) {
        let note: Option<Note> = remote_worker::read(&pool.folder.join(mailbox::POOL_FILE))?;
        if note.is_some_and(|note| note == ours) {
            return Ok(Some(pool.folder.clone()));
        }
    }
    Ok(None)
}

impl Pool {
    /// The pool of a dead orchestrator if it fits these settings, else a new one; others must be retired before.
    ///
    /// `runs` says which attempts the records call running: a worker that has one goes on with it, and it is told in
    /// the answer; one that has another is sent away. Must be called inside a runtime of tokio.
    pub async fn open(
        settings: Settings,
        client: &Client,
        runs: &dyn Fn(&StageId, u32) -> bool,
    ) -> Result<(Self, Vec<Adopted>), PoolError> {
        let site = client.site().await?;
        fs::create_dir_all(&settings.pools)?;
        let pools = generations(&settings.pools)?;
        let found = heir(&settings, &pools)?;
        let folder = match &found {
            Some(folder) => folder.clone(),
            None => found_pool(&settings, pools.last().map_or(1, |newest| newest.number + 1))?,
        };
        let owner = serde_json::to_vec(&settings.owner).map_err(std::io::Error::other)?;
        write_atomic(&folder.join(mailbox::OWNER_FILE), &owner)?;
        let submissions = Submissions::new(&folder);
        let generation = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = pool_name(&settings.home, &generation);
        let submitter = Handle::open(client.clone(), submissions.clone(), &name, settings.timeouts.ask)?;
        let mut pool = Self::new(settings, site, folder, submitter, submissions);
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
        for (key, folder) in worker_folders(&self.folder)? {
            let Some(number) = RemoteWorker::number_in(&folder) else {
                // Nobody knew it yet; the first look finds it.
                continue;
            };
            self.next_number = self.next_number.max(number + 1);
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
                    self.workers.insert(key, worker);
                }
                Some((order, _)) if !has_ended(&order)? => {
                    // Nobody wants what it does.
                    worker.close()?;
                    self.dismiss(key, &worker, true);
                    unwanted.push(worker);
                }
                Some(_) | None if worker.bye()?.is_some() => self.dismiss(key, &worker, false),
                Some(_) | None => {
                    self.workers.insert(key, worker);
                }
            }
        }
        for (intent, job) in self.submissions.entries()? {
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

/// Makes a pool's folder.
fn found_pool(settings: &Settings, number: u64) -> std::io::Result<PathBuf> {
    let folder = settings.pools.join(generation(number));
    fs::create_dir(&folder)?;
    // Before its first worker comes.
    for name in [mailbox::WORKERS, mailbox::OUT, mailbox::SCRIPTS, mailbox::SUBMISSIONS] {
        fs::create_dir(folder.join(name))?;
    }
    let note = serde_json::to_vec_pretty(&Note::of(settings)).map_err(std::io::Error::other)?;
    write_atomic(&folder.join(mailbox::POOL_FILE), &note)?;
    Ok(folder)
}

/// The folders of a pool's workers.
fn worker_folders(pool: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let folder = pool.join(mailbox::WORKERS);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(key) = entry.file_name().into_string()
            && !key.starts_with('.')
        {
            folders.push((key, entry.path()));
        }
    }
    Ok(folders)
}

/// Whether the lines of an order have their last.
fn has_ended(order: &mailbox::Order) -> std::io::Result<bool> {
    let written = read_from(&order.job.with_file_name(LINES_FILE), order.attempt, &mut 0)?;
    Ok(written.lines.last().is_some_and(Line::is_last))
}

/// The pools that are not over, but for the one that can be taken over.
///
/// A run on the cluster also sees to those that are revoked and whose jobs nobody could cancel.
fn others(pools: &Path, keep: Option<&Settings>) -> std::io::Result<Vec<PathBuf>> {
    let found = generations(pools)?;
    let kept = match keep {
        Some(settings) => heir(settings, &found)?,
        None => None,
    };
    let is_over = |pool: &Generation| match keep {
        Some(_) => pool.is_settled(),
        None => pool.is_revoked(),
    };
    let others = found.into_iter().filter(|pool| !is_over(pool)).map(|pool| pool.folder);
    Ok(others.filter(|folder| Some(folder) != kept.as_ref()).collect())
}

/// Whether an earlier run has left a pool that has to be revoked.
pub fn has_others(pools: &Path, keep: Option<&Settings>) -> std::io::Result<bool> {
    Ok(!others(pools, keep)?.is_empty())
}

/// Revokes every pool but the one that can be taken over (`keep` none: all), and waits for their workers.
///
/// Afterwards nothing of them writes into an attempt that `runs` names: each such worker has left, or has been silent
/// for its lease and finds its inbox closed. What they wrote is for whoever reads attempts that were left behind.
pub async fn retire_others(
    pools: &Path,
    keep: Option<&Settings>,
    timeouts: &Timeouts,
    client: &Client,
    runs: &dyn Fn(&StageId, u32) -> bool,
) -> Result<Retired, PoolError> {
    let mut retired = Retired::default();
    let others = others(pools, keep)?;
    let now = Instant::now();
    let mut workers = Vec::new();
    let mut submitters = Vec::new();
    for folder in &others {
        revoke(folder)?;
        let generation = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (_, folder) in worker_folders(folder)? {
            if let Some(worker) = RemoteWorker::find(folder, 0, now)? {
                worker.close()?;
                let orders = worker.orders()?;
                if orders.iter().any(|(order, _)| runs(&order.stage, order.attempt)) {
                    workers.push(worker);
                }
            }
        }
        let note: Option<Note> = remote_worker::read(&folder.join(mailbox::POOL_FILE))?;
        if let Some(note) = note {
            let name = pool_name(&note.home, &generation);
            let submitter = Handle::open(client.clone(), Submissions::new(folder), &name, timeouts.ask)?;
            // Slurm's SIGTERM is a request to hand back, as is the revocation.
            submitter.ask(Command::CancelAll);
            submitters.push(submitter);
        }
        retired.pools.push(generation);
    }
    (retired.left, retired.silent) = farewells(workers, timeouts).await?;
    for submitter in submitters {
        submitter.close(timeouts.farewell).await;
    }
    Ok(retired)
}
