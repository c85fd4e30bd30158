//! Whose pools lie in a home: the running one of a dead orchestrator is taken over, others are revoked.
//!
//! Refuses to know what is trained. Only the holder of the home's lock may come here.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::exec::read_from;
use crate::exec::slurm::berth::{self, Berth, Fate};
use crate::exec::slurm::clerk::{Desk, Errand};
use crate::exec::slurm::client::Client;
use crate::exec::slurm::journal::Journal;
use crate::exec::slurm::pool::{Pool, pool_name, revoke};
use crate::exec::slurm::{PoolError, Settings};
use crate::post;
use crate::units::StageId;
use crate::wire::{LINES_FILE, Line};
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
    post: u32,
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
            post: post::POST,
            version: settings.version.clone(),
            home: settings.home.clone(),
            program: program.map(|word| word.to_string_lossy().into_owned()).collect(),
            shape: format!("{shape:?}"),
        }
    }
}

/// The generations in a folder of pools that are not revoked, the newest last, and the number of the newest of all.
fn generations(pools: &Path) -> std::io::Result<(Vec<PathBuf>, u64)> {
    let mut living = Vec::new();
    let mut newest = 0;
    fs::create_dir_all(pools)?;
    for entry in fs::read_dir(pools)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(number) = name.strip_prefix('g').and_then(|number| number.parse::<u64>().ok()) else {
            continue;
        };
        newest = newest.max(number);
        if !path.join(post::REVOKED).exists() {
            living.push((number, path));
        }
    }
    living.sort();
    Ok((living.into_iter().map(|(_, path)| path).collect(), newest))
}

/// Pools that are over, but for the newest of all, which says what the next is called.
pub fn revoked(pools: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !pools.exists() {
        return Ok(Vec::new());
    }
    let (_, newest) = generations(pools)?;
    let folders = (1..newest).map(|number| pools.join(generation(number)));
    Ok(folders.filter(|folder| folder.join(post::REVOKED).exists()).collect())
}

fn generation(number: u64) -> String {
    format!("g{number:04}")
}

/// The pool that can be taken over.
fn heir(settings: &Settings, living: &[PathBuf]) -> std::io::Result<Option<PathBuf>> {
    let ours = Note::of(settings);
    for folder in living.iter().rev() {
        let note: Option<Note> = berth::read(&folder.join(post::POOL_FILE))?;
        if note.is_some_and(|note| note == ours) {
            return Ok(Some(folder.clone()));
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
        let (living, newest) = generations(&settings.pools)?;
        let found = heir(&settings, &living)?;
        let folder = match &found {
            Some(folder) => folder.clone(),
            None => found_pool(&settings, newest + 1)?,
        };
        let owner = serde_json::to_vec(&settings.owner).map_err(std::io::Error::other)?;
        write_atomic(&folder.join(post::OWNER_FILE), &owner)?;
        let journal = Journal::new(&folder);
        let generation = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = pool_name(&settings.home, &generation);
        let desk = Desk::open(client.clone(), journal.clone(), &name, settings.patience.ask)?;
        let mut pool = Self::new(settings, site, folder, desk, journal);
        let adopted = if found.is_some() {
            pool.take_over(runs)?
        } else {
            Vec::new()
        };
        Ok((pool, adopted))
    }

    fn take_over(&mut self, runs: &dyn Fn(&StageId, u32) -> bool) -> Result<Vec<Adopted>, PoolError> {
        let now = Instant::now();
        let mut adopted = Vec::new();
        for (key, folder) in worker_folders(&self.folder)? {
            let Some(number) = Berth::number_in(&folder) else {
                // Nobody knew it yet; the first look finds it.
                continue;
            };
            self.next_number = self.next_number.max(number + 1);
            let Some(mut berth) = Berth::find(folder, number, now)? else {
                continue;
            };
            match berth.orders()?.pop() {
                Some((order, is_begun)) if runs(&order.stage, order.attempt) => {
                    adopted.push(Adopted {
                        stage: order.stage.clone(),
                        attempt: order.attempt,
                    });
                    berth.adopt(order, is_begun, now);
                    self.berths.insert(key, berth);
                }
                Some((order, _)) if !has_ended(&order)? => {
                    // Nobody wants what it does.
                    berth.close()?;
                    self.dismiss(key, &berth, true);
                }
                Some(_) | None if berth.bye()?.is_some() => self.dismiss(key, &berth, false),
                Some(_) | None => {
                    self.berths.insert(key, berth);
                }
            }
        }
        for (intent, job) in self.journal.entries()? {
            self.supply.inherited(intent.number, intent.tasks, job.is_some(), now);
        }
        Ok(adopted)
    }
}

/// Makes a pool's folder.
fn found_pool(settings: &Settings, number: u64) -> std::io::Result<PathBuf> {
    let folder = settings.pools.join(generation(number));
    fs::create_dir(&folder)?;
    // Before its first worker comes.
    for name in [post::WORKERS, post::OUT, post::SCRIPTS, post::SUBMISSIONS] {
        fs::create_dir(folder.join(name))?;
    }
    let note = serde_json::to_vec_pretty(&Note::of(settings)).map_err(std::io::Error::other)?;
    write_atomic(&folder.join(post::POOL_FILE), &note)?;
    Ok(folder)
}

/// The folders of a pool's workers.
fn worker_folders(pool: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let folder = pool.join(post::WORKERS);
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
fn has_ended(order: &post::Order) -> std::io::Result<bool> {
    let written = read_from(&order.job.with_file_name(LINES_FILE), order.attempt, &mut 0)?;
    Ok(written.lines.last().is_some_and(Line::is_last))
}

/// The pools that are not revoked, but for the one that can be taken over.
fn others(pools: &Path, keep: Option<&Settings>) -> std::io::Result<Vec<PathBuf>> {
    if !pools.exists() {
        return Ok(Vec::new());
    }
    let (mut living, _) = generations(pools)?;
    if let Some(settings) = keep {
        let kept = heir(settings, &living)?;
        living.retain(|folder| Some(folder) != kept.as_ref());
    }
    Ok(living)
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
    patience: &crate::exec::slurm::Patience,
    client: &Client,
    runs: &dyn Fn(&StageId, u32) -> bool,
) -> Result<Retired, PoolError> {
    let mut retired = Retired::default();
    let others = others(pools, keep)?;
    let now = Instant::now();
    let mut workers = Vec::new();
    let mut desks = Vec::new();
    for folder in &others {
        revoke(folder)?;
        let generation = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (_, folder) in worker_folders(folder)? {
            if let Some(berth) = Berth::find(folder, 0, now)? {
                berth.close()?;
                let orders = berth.orders()?;
                if orders.iter().any(|(order, _)| runs(&order.stage, order.attempt)) {
                    workers.push(berth);
                }
            }
        }
        let note: Option<Note> = berth::read(&folder.join(post::POOL_FILE))?;
        if let Some(note) = note {
            let name = pool_name(&note.home, &generation);
            let desk = Desk::open(client.clone(), Journal::new(folder), &name, patience.ask)?;
            // Slurm's SIGTERM is a request to hand back, as is the revocation.
            desk.ask(Errand::CancelAll);
            desks.push(desk);
        }
        retired.pools.push(generation);
    }
    while !workers.is_empty() {
        let mut there = Vec::new();
        for mut berth in workers {
            match berth.fate(Instant::now(), None, patience)? {
                Fate::Left(_) => retired.left += 1,
                Fate::Silent => retired.silent += 1,
                Fate::Lives | Fate::Mute | Fate::Deaf => there.push(berth),
            }
        }
        workers = there;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for desk in desks {
        desk.close(patience.farewell).await;
    }
    Ok(retired)
}
