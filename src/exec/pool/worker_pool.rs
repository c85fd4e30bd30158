//! The pool: gives stages to workers on the cluster, hears them, and sees to it that there are enough.
//!
//! Refuses to know Slurm's commands (`client`), when to repeat them (`submitter`), and whose pools lie there (`takeover`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::exec::pool::pool_status::PoolStatus;
use crate::exec::pool::provisioning::Provisioning;
use crate::exec::pool::remote_worker::{self, Busy, Health, RemoteWorker, Said};
use crate::exec::pool::submissions::Submissions;
use crate::exec::pool::submitter::{Command, Handle, Report};
use crate::exec::pool::waiting::Waiting;
use crate::exec::pool::{PoolError, Settings};
use crate::exec::{Lost, News};
use crate::mailbox::{self, Leaving, Owner};
use crate::protocol::Cause;
use crate::slurm::parse::Site;
use crate::slurm::script::{self, Wanted};
use crate::units::StageId;
use crate::workdir::WORKER_LOG;

/// So many submissions in a row may bring no worker that begins with anything.
const FAILED_MOST: u32 = 3;

/// A pool of workers on a cluster.
#[derive(Debug)]
pub struct Pool {
    pub(super) settings: Settings,
    pub(super) folder: PathBuf,
    /// Its name in the comments of jobs.
    pub(super) name: String,
    pub(super) site: Site,
    pub(super) submitter: Handle,
    pub(super) submissions: Submissions,
    pub(super) workers: BTreeMap<String, RemoteWorker>,
    /// Folders of workers that are done with.
    pub(super) over: BTreeSet<String>,
    /// The number of the next worker.
    pub(super) next_number: usize,
    /// Workers that were idle at the last look, the next one last. It has no others: they become idle by looks alone.
    idle: Vec<String>,
    waiting: VecDeque<Waiting>,
    /// What is to be told at the next look.
    news: Vec<News>,
    pub(super) provisioning: Provisioning,
    looked: Instant,
    trouble: Option<String>,
    /// What was said last.
    word: Option<String>,
}

impl Pool {
    /// A pool in a folder; its workers, if it has some, are still to be found.
    pub(super) fn new(
        settings: Settings,
        site: Site,
        folder: PathBuf,
        submitter: Handle,
        submissions: Submissions,
    ) -> Self {
        let generation = folder.file_name().unwrap_or_default().to_string_lossy();
        let provisioning = Provisioning::new(settings.timeouts.ask);
        Self {
            name: pool_name(&settings.home, &generation),
            settings,
            folder,
            site,
            submitter,
            submissions,
            workers: BTreeMap::new(),
            over: BTreeSet::new(),
            next_number: 0,
            idle: Vec::new(),
            waiting: VecDeque::new(),
            news: Vec::new(),
            provisioning,
            looked: Instant::now(),
            trouble: None,
            word: None,
        }
    }

    /// Hands a job to an idle worker, or to the first that comes.
    pub fn launch(&mut self, stage: StageId, attempt: u32, job: &Path) -> Result<(), PoolError> {
        self.waiting.push_back(Waiting {
            stage,
            attempt,
            job: job.to_owned(),
        });
        self.assign(Instant::now());
        Ok(())
    }

    /// The number of the worker that the next launch will use; none: of the first that comes.
    pub fn next_worker(&self) -> Option<usize> {
        Some(self.workers.get(self.idle.last()?)?.number)
    }

    /// How many workers there are.
    pub fn status(&self) -> PoolStatus {
        let busy = self.workers.values().filter(|worker| worker.busy.is_some()).count();
        PoolStatus {
            idle: self.workers.len() - busy,
            busy,
            coming: self.coming(),
            waiting: self.waiting.len(),
        }
    }

    /// What went wrong with Slurm, or why nothing runs, if that has changed; whatever failed is tried again.
    pub fn word(&mut self) -> Option<String> {
        let word = self.trouble.take();
        let word = word.or_else(|| self.status().why_nothing_runs(&self.provisioning.reasons()))?;
        let is_new = self.word.as_ref() != Some(&word);
        self.word = Some(word.clone());
        is_new.then_some(word)
    }

    /// Reads what the workers said since the last look, finds those that are gone, and those that have come.
    pub fn poll(&mut self) -> Result<Vec<News>, PoolError> {
        let now = Instant::now();
        let gap = now.duration_since(self.looked);
        if gap >= self.settings.timeouts.look {
            self.excuse(gap);
            self.looked = now;
            self.check_owner()?;
            if let Err(error) = self.find_workers(now) {
                self.trouble = Some(error.to_string());
            }
            self.take_reports(now)?;
            self.look_after(now);
            self.find_idle(now);
            self.assign(now);
            self.call_for_workers(now)?;
        }
        Ok(std::mem::take(&mut self.news))
    }

    /// A home's lock may not hold between machines; this is the second wall.
    fn check_owner(&self) -> Result<(), PoolError> {
        match remote_worker::read::<Owner>(&self.folder.join(mailbox::OWNER_FILE)) {
            Ok(Some(owner)) if owner != self.settings.owner => Err(PoolError::Superseded {
                owner,
                pool: self.folder.clone(),
            }),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whoever did not listen for long cannot say that the others were silent.
    fn excuse(&mut self, gap: Duration) {
        if gap > (self.settings.timeouts.lease / 4).max(self.settings.timeouts.look * 4) {
            for worker in self.workers.values_mut() {
                worker.excuse(gap);
            }
        }
    }

    /// Finds workers that have come.
    fn find_workers(&mut self, now: Instant) -> std::io::Result<()> {
        let folder = self.folder.join(mailbox::WORKERS);
        // A folder that was just changed from here is read afresh, also on NFS.
        let mark = folder.join(".look");
        fs::write(&mark, "")?;
        fs::remove_file(&mark)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let Ok(key) = entry.file_name().into_string() else {
                continue;
            };
            if key.starts_with('.') || self.workers.contains_key(&key) || self.over.contains(&key) {
                continue;
            }
            if let Some(worker) = RemoteWorker::find(entry.path(), self.next_number, now)? {
                self.next_number += 1;
                worker.note_number()?;
                self.welcome(key, worker)?;
            }
        }
        Ok(())
    }

    /// Takes a worker in, unless it speaks another language.
    fn welcome(&mut self, key: String, worker: RemoteWorker) -> std::io::Result<()> {
        let hello = &worker.hello;
        self.provisioning.came(hello.submission);
        if hello.format != mailbox::FORMAT || hello.version != self.settings.version {
            self.trouble = Some(format!(
                "a worker of version {} came, this is {}: build both programs together",
                hello.version, self.settings.version
            ));
            worker.close()?;
            self.dismiss(key, &worker, true);
            return Ok(());
        }
        self.workers.insert(key, worker);
        Ok(())
    }

    fn take_reports(&mut self, now: Instant) -> Result<(), PoolError> {
        for report in self.submitter.reports() {
            match report {
                Report::Looked { began, tasks } => {
                    for number in self.provisioning.looked(began, tasks, now) {
                        self.trouble = Some(format!("submission {number} brought no worker"));
                    }
                    let submissions = self.provisioning.failed();
                    if submissions >= FAILED_MOST && self.workers.is_empty() {
                        let out = self.folder.join(mailbox::OUT);
                        let program = self.settings.program.first().cloned().unwrap_or_default();
                        return Err(PoolError::FailedSubmissions {
                            submissions,
                            out,
                            program: program.to_string_lossy().into_owned(),
                        });
                    }
                }
                Report::Accepted { number, at } => self.provisioning.accepted(number, at),
                Report::Refused { number, message } => {
                    self.provisioning.refused(number, now);
                    // A site that gives no more workers for now is no reason to give up.
                    if !self.provisioning.has_worked() && self.workers.is_empty() && self.coming() == 0 {
                        return Err(PoolError::Refused(message));
                    }
                    self.trouble = Some(message);
                }
                Report::Trouble(message) => self.trouble = Some(message),
            }
        }
        Ok(())
    }

    /// Hears every worker, and buries those that are gone.
    fn look_after(&mut self, now: Instant) {
        let keys: Vec<String> = self.workers.keys().cloned().collect();
        for key in keys {
            let Some(mut worker) = self.workers.remove(&key) else {
                continue;
            };
            match self.hear(&mut worker, now) {
                Ok(None) => {
                    self.workers.insert(key, worker);
                }
                Ok(Some(health)) => {
                    let is_at_rest = matches!(health, Health::Left(Leaving::Idle | Leaving::Revoked));
                    if worker.has_never_begun() && !is_at_rest {
                        self.provisioning.wasted(worker.hello.submission, now);
                    }
                    self.dismiss(key, &worker, !matches!(health, Health::Left(_)));
                }
                // A shared folder has its bad moments; whoever cannot be heard is not dead yet.
                Err(error) => {
                    self.trouble = Some(error.to_string());
                    self.workers.insert(key, worker);
                }
            }
        }
    }

    /// Hears a worker; gives how it went away, if it did.
    fn hear(&mut self, worker: &mut RemoteWorker, now: Instant) -> std::io::Result<Option<Health>> {
        let timeouts = self.settings.timeouts;
        let hint = self.provisioning.hint(worker.task());
        let mut health = worker.health(now, hint, &timeouts)?;
        let mut said = worker.listen(now)?;
        if health == Health::NoHeartbeat && said.bytes > 0 {
            health = Health::Alive;
        }
        let mut lost = None;
        if health != Health::Alive || said.garbled.is_some() {
            // First the end of its inbox, then the last it said: nothing of it counts that comes later. What was read
            // before must be told even where this fails, and then it is tried again at the next look.
            match worker.close().and_then(|()| worker.listen(now)) {
                Ok(last) => {
                    said.append(last);
                    lost = Some(worker.lost(&health, hint));
                }
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
        if worker.has_begun() {
            self.provisioning.proved();
        }
        let is_over = lost.is_some();
        self.tell(worker, said, lost);
        Ok(is_over.then_some(health))
    }

    /// Makes news of what a worker said, and of its end.
    fn tell(&mut self, worker: &mut RemoteWorker, said: Said, lost: Option<Lost>) {
        let Some(Busy { order, is_stopped, .. }) = &worker.busy else {
            return;
        };
        let has_ended = said.has_ended();
        if !has_ended
            && said.lines.is_empty()
            && let Some(lost) = &lost
            && self.is_taken_back(worker)
        {
            // Nobody has begun it, and nobody can any more: the same attempt is somebody else's.
            let waiting = Waiting {
                stage: order.stage.clone(),
                attempt: order.attempt,
                job: order.job.clone(),
            };
            if *is_stopped {
                self.news.push(waiting.stopped());
            } else {
                self.trouble = Some(format!("{}; another worker gets what it had", lost.message));
                self.waiting.push_front(waiting);
            }
            worker.busy = None;
            return;
        }
        let lost = match said.garbled {
            // Whoever says what nobody understands cannot be trusted with another job.
            Some(message) => Some(Lost {
                cause: Cause::Other,
                message,
            }),
            None => lost.filter(|_| !has_ended),
        };
        let is_over = has_ended || lost.is_some();
        if !said.lines.is_empty() || is_over {
            self.news.push(News {
                stage: order.stage.clone(),
                attempt: order.attempt,
                lines: said.lines,
                bytes: said.bytes,
                lost,
            });
        }
        if is_over {
            worker.busy = None;
        }
    }

    /// Whether a lost worker's order is nowhere any more; where that cannot be told, it counts as begun.
    fn is_taken_back(&mut self, worker: &RemoteWorker) -> bool {
        worker.withdraw().unwrap_or_else(|error| {
            self.trouble = Some(error.to_string());
            false
        })
    }

    /// Has nothing to do with a worker any more; `cancel` ends its job as well.
    pub(super) fn dismiss(&mut self, key: String, worker: &RemoteWorker, cancel: bool) {
        self.over.insert(key);
        if let Some(task) = worker.task() {
            self.provisioning.left(task);
            if cancel {
                self.submitter.ask(Command::Cancel(vec![task]));
            }
        }
    }

    /// Notes who is idle: the lowest number first, and those that were heard of late before those that were not.
    fn find_idle(&mut self, now: Instant) {
        let short = self.settings.timeouts.short_lease;
        let idle = self.workers.iter().filter(|(_, worker)| worker.busy.is_none());
        let mut idle: Vec<(bool, usize, &String)> = idle
            .map(|(key, worker)| (now.saturating_duration_since(worker.heard) <= short, worker.number, key))
            .collect();
        idle.sort_by_key(|&(is_fresh, number, _)| (is_fresh, std::cmp::Reverse(number)));
        self.idle = idle.into_iter().map(|(_, _, key)| key.clone()).collect();
    }

    /// Gives what waits to whoever is idle.
    fn assign(&mut self, now: Instant) {
        while let Some(Waiting { stage, attempt, job }) = self.waiting.front() {
            let Some(key) = self.idle.pop() else { break };
            let Some(mut worker) = self.workers.remove(&key) else {
                continue;
            };
            match worker.put(stage, *attempt, job, now) {
                Ok(true) => {
                    self.link_log(&worker, job);
                    self.waiting.pop_front();
                    self.workers.insert(key, worker);
                }
                // It has just left.
                Ok(false) => self.dismiss(key, &worker, false),
                Err(error) => {
                    self.trouble = Some(error.to_string());
                    self.workers.insert(key, worker);
                    break;
                }
            }
        }
    }

    /// Puts what a worker prints beside the job that it was given, as far as the file system can.
    fn link_log(&self, worker: &RemoteWorker, job: &Path) {
        let name = format!("{}_{}.out", worker.hello.submission, worker.hello.task.unwrap_or(0));
        let printed = self.folder.join(mailbox::OUT).join(name);
        drop(fs::hard_link(printed, job.with_file_name(WORKER_LOG)));
    }

    /// Jobs whose workers have not come yet.
    fn coming(&self) -> u64 {
        self.provisioning
            .coming(&self.workers.values().filter_map(RemoteWorker::task).collect())
    }

    /// Submits as many workers as there is work for and the profile allows, once the last submission has settled.
    fn call_for_workers(&mut self, now: Instant) -> Result<(), PoolError> {
        let busy = self.workers.values().filter(|worker| worker.busy.is_some()).count();
        let wanted = ((busy + self.waiting.len()) as u64).min(self.settings.profile.max_workers);
        let here = self.workers.len() as u64 + self.coming();
        if wanted <= here || !self.provisioning.is_settled(now) {
            return Ok(());
        }
        let first = self
            .submissions
            .entries()?
            .last()
            .map_or(1, |(intent, _)| intent.number + 1);
        let submissions = script::submissions(
            &Wanted {
                profile: &self.settings.profile,
                folder: &self.folder,
                pool: &self.name,
                workers: wanted - here,
                first,
                program: &self.settings.program,
            },
            &self.site,
        )?;
        for submission in submissions {
            self.submissions.intend(&submission)?;
            self.provisioning.sent(submission.number, submission.tasks);
            self.submitter.ask(Command::Submit(submission));
        }
        Ok(())
    }

    /// Asks every worker to stop what it does.
    pub fn stop_all(&mut self) -> Result<(), PoolError> {
        self.stop(&|_| true)
    }

    /// Asks the workers of some stages to stop; what no worker has yet ends at once.
    pub fn stop(&mut self, which: &dyn Fn(&StageId) -> bool) -> Result<(), PoolError> {
        for worker in self.workers.values_mut() {
            if worker.busy.as_ref().is_some_and(|busy| which(&busy.order.stage)) {
                worker.stop()?;
            }
        }
        for waiting in std::mem::take(&mut self.waiting) {
            if !which(&waiting.stage) {
                self.waiting.push_back(waiting);
                continue;
            }
            self.news.push(waiting.stopped());
        }
        Ok(())
    }

    /// Revokes the pool, waits for its workers to leave, and cancels what does not; what is to be said if that fails.
    pub async fn close(self) -> Result<Option<String>, PoolError> {
        // Of a pool that is somebody else's now, nothing is touched.
        self.check_owner()?;
        revoke(&self.folder)?;
        for worker in self.workers.values() {
            worker.close()?;
        }
        // By themselves first: Slurm's own accounts then call them complete.
        let since = Instant::now();
        let farewell = self.settings.timeouts.farewell;
        let mut left: Vec<&RemoteWorker> = self.workers.values().collect();
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
        let word = "jobs of this run may still wait on Slurm, which does not answer: the next `run --on slurm` cancels \
                    them, or `scancel -n sandbox-worker` does";
        Ok((!is_done).then(|| word.to_owned()))
    }
}

/// Ends a pool: its workers stop at their next sign of life, and those that come later leave at once.
pub(super) fn revoke(folder: &Path) -> std::io::Result<()> {
    fs::write(folder.join(mailbox::REVOKED), "")
}

/// The name of a pool in the comments of jobs.
pub(super) fn pool_name(home: &str, generation: &str) -> String {
    format!("{home}.{generation}")
}
