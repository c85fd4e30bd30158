//! The workers that have come: who is there, who is idle, and whose folders are done with.
//!
//! Refuses to know stages, and what the batch system says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::exec::pool::folders;
use crate::exec::pool::remote_worker::RemoteWorker;
use crate::mailbox;
use crate::queue::TaskId;

/// The workers of a pool, by the names of their folders.
#[derive(Debug, Default)]
pub(super) struct Roster {
    workers: BTreeMap<String, RemoteWorker>,
    /// Folders of workers that are done with.
    over: BTreeSet<String>,
    /// The number of the next worker.
    next_number: usize,
    /// Workers that were idle at the last look, the next one last. There are no others: they become idle by looks alone.
    idle: Vec<String>,
}

impl Roster {
    /// Finds workers that have come to a pool since the last look, and gives each a number.
    pub(super) fn arrivals(&mut self, pool: &Path, now: Instant) -> std::io::Result<Vec<(String, RemoteWorker)>> {
        // A folder that was just changed from here is read afresh, also on NFS.
        let mark = pool.join(mailbox::WORKERS).join(".look");
        fs::write(&mark, "")?;
        fs::remove_file(&mark)?;
        let mut arrived = Vec::new();
        for (key, folder) in folders::workers(pool)? {
            if self.workers.contains_key(&key) || self.over.contains(&key) {
                continue;
            }
            if let Some(worker) = RemoteWorker::find(folder, self.next_number, now)? {
                self.next_number += 1;
                worker.note_number()?;
                arrived.push((key, worker));
            }
        }
        Ok(arrived)
    }

    /// Takes a worker in whose number an earlier orchestrator has given.
    pub(super) fn number_taken(&mut self, number: usize) {
        self.next_number = self.next_number.max(number + 1);
    }

    /// Takes a worker in, or back.
    pub(super) fn insert(&mut self, key: String, worker: RemoteWorker) {
        self.workers.insert(key, worker);
    }

    /// Takes a worker out for a moment, or for good.
    pub(super) fn remove(&mut self, key: &str) -> Option<RemoteWorker> {
        self.workers.remove(key)
    }

    /// Notes that nothing more comes from the folder of this name.
    pub(super) fn dismiss(&mut self, key: String) {
        self.over.insert(key);
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.workers.keys().cloned().collect()
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &RemoteWorker> {
        self.workers.values()
    }

    pub(super) fn workers_mut(&mut self) -> impl Iterator<Item = &mut RemoteWorker> {
        self.workers.values_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Workers with a stage.
    pub(super) fn busy(&self) -> usize {
        self.workers().filter(|worker| worker.busy.is_some()).count()
    }

    /// Tasks of the workers that are here.
    pub(super) fn tasks(&self) -> BTreeSet<TaskId> {
        self.workers().filter_map(RemoteWorker::task).collect()
    }

    /// Notes who is idle: the lowest number first, and those that were heard of within `fresh` before the others.
    pub(super) fn find_idle(&mut self, fresh: Duration, now: Instant) {
        let idle = self.workers.iter().filter(|(_, worker)| worker.busy.is_none());
        let mut idle: Vec<(bool, usize, &String)> = idle
            .map(|(key, worker)| {
                let is_fresh = now.saturating_duration_since(worker.heard) <= fresh;
                (is_fresh, worker.number, key)
            })
            .collect();
        idle.sort_by_key(|&(is_fresh, number, _)| (is_fresh, std::cmp::Reverse(number)));
        self.idle = idle.into_iter().map(|(_, _, key)| key.clone()).collect();
    }

    /// The number of the worker that the next stage goes to; none: nobody is idle.
    pub(super) fn next_idle(&self) -> Option<usize> {
        Some(self.workers.get(self.idle.last()?)?.number)
    }

    /// Takes out the next worker that is idle.
    pub(super) fn take_idle(&mut self) -> Option<(String, RemoteWorker)> {
        while let Some(key) = self.idle.pop() {
            if let Some(worker) = self.workers.remove(&key) {
                return Some((key, worker));
            }
        }
        None
    }
}
