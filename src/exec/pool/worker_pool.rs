//! The pool: gives stages to workers on the cluster, reads what they write, and submits more where there are too few.
//!
//! Refuses to know the commands of a batch system (`submitter`), and which pools earlier runs have left (`adoption`).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::exec::lines::{Lost, News};
use crate::exec::pool::batch_system::BatchSystem;
use crate::exec::pool::pool_status::PoolStatus;
use crate::exec::pool::provisioning::Provisioning;
use crate::exec::pool::remote_worker::{self, Busy, Health, RemoteWorker, Said};
use crate::exec::pool::roster::Roster;
use crate::exec::pool::settings::{PoolError, Settings};
use crate::exec::pool::submitter::{Command, Handle, Report};
use crate::exec::pool::waiting::Waiting;
use crate::mailbox::{self, Leaving, Owner};
use crate::protocol::Cause;
use crate::units::StageId;
use crate::workdir::WORKER_LOG;

/// So many submissions in a row may bring no worker that begins with anything.
const FAILED_MOST: u32 = 3;

/// A pool of workers on a cluster.
#[derive(Debug)]
pub struct Pool {
    pub(super) settings: Settings,
    pub(super) folder: PathBuf,
    pub(super) submitter: Handle,
    pub(super) roster: Roster,
    pub(super) provisioning: Provisioning,
    pub(super) waiting: VecDeque<Waiting>,
    /// What is to be told at the next look.
    pub(super) news: Vec<News>,
    looked: Instant,
    /// What went wrong since the last notice.
    trouble: Option<String>,
    notice: Option<String>,
}

impl Pool {
    /// A pool in a folder; its workers, if it has some, are still to be found.
    pub(super) fn new(settings: Settings, folder: PathBuf, submitter: Handle) -> Self {
        Self {
            provisioning: Provisioning::new(settings.timeouts.ask),
            settings,
            folder,
            submitter,
            roster: Roster::default(),
            waiting: VecDeque::new(),
            news: Vec::new(),
            looked: Instant::now(),
            trouble: None,
            notice: None,
        }
    }

    /// The batch system that its jobs run on.
    pub fn system(&self) -> &dyn BatchSystem {
        self.settings.system.as_ref()
    }

    /// Hands a job to an idle worker, or to the first that comes.
    pub fn launch(&mut self, stage: StageId, attempt: u32, job: &Path) {
        self.waiting.push_back(Waiting {
            stage,
            attempt,
            job: job.to_owned(),
        });
        self.assign(Instant::now());
    }

    /// The number of the worker that the next launch will use; none: of the first that comes.
    pub fn next_worker(&self) -> Option<usize> {
        self.roster.next_idle()
    }

    /// How many workers there are.
    pub fn status(&self) -> PoolStatus {
        let busy = self.roster.busy();
        PoolStatus {
            idle: self.roster.len() - busy,
            busy,
            coming: self.provisioning.coming(&self.roster.tasks()),
            waiting: self.waiting.len(),
        }
    }

    /// What went wrong with the cluster, or why nothing runs, if that has changed; whatever failed is tried again.
    pub fn notice(&mut self) -> Option<String> {
        let system = self.settings.system.name();
        let trouble = self.trouble.take();
        let why_nothing_runs = || self.status().why_nothing_runs(system, &self.provisioning.reasons());
        let notice = trouble.or_else(why_nothing_runs)?;
        let is_new = self.notice.as_ref() != Some(&notice);
        self.notice = Some(notice.clone());
        is_new.then_some(notice)
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
            self.roster.find_idle(self.settings.timeouts.short_lease, now);
            self.assign(now);
            self.call_for_workers(now)?;
        }
        Ok(std::mem::take(&mut self.news))
    }

    /// Fails where another orchestrator has the pool: a home's lock may not hold between machines.
    pub(super) fn check_owner(&self) -> Result<(), PoolError> {
        match remote_worker::read::<Owner>(&self.folder.join(mailbox::OWNER_FILE)) {
            Ok(Some(owner)) if owner != self.settings.owner => Err(PoolError::Superseded {
                owner,
                pool: self.folder.clone(),
            }),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// After a long gap between two looks, the time in between is not held against the workers.
    fn excuse(&mut self, gap: Duration) {
        if gap > (self.settings.timeouts.lease / 4).max(self.settings.timeouts.look * 4) {
            for worker in self.roster.workers_mut() {
                worker.excuse(gap);
            }
        }
    }

    /// Takes in workers that have come, unless they are of another version.
    fn find_workers(&mut self, now: Instant) -> std::io::Result<()> {
        for (key, worker) in self.roster.arrivals(&self.folder, now)? {
            let hello = &worker.hello;
            self.provisioning.came(hello.submission);
            if hello.format == mailbox::FORMAT && hello.version == self.settings.version {
                self.roster.insert(key, worker);
                continue;
            }
            self.trouble = Some(format!(
                "a worker of version {} came, this is {}: build both programs together",
                hello.version, self.settings.version
            ));
            worker.close()?;
            self.dismiss(key, &worker, true);
        }
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
                    if submissions >= FAILED_MOST && self.roster.is_empty() {
                        let program = self.settings.program.first().cloned().unwrap_or_default();
                        return Err(PoolError::FailedSubmissions {
                            submissions,
                            out: self.folder.join(mailbox::OUT),
                            program: program.to_string_lossy().into_owned(),
                        });
                    }
                }
                Report::Accepted { number, at } => self.provisioning.accepted(number, at),
                Report::Refused { number, message } => {
                    self.provisioning.refused(number, now);
                    // A site that gives no more workers for now is no reason to give up.
                    let PoolStatus { idle, busy, coming, .. } = self.status();
                    if !self.provisioning.has_worked() && idle + busy == 0 && coming == 0 {
                        let system = self.settings.system.name();
                        return Err(PoolError::Refused { system, message });
                    }
                    self.trouble = Some(message);
                }
                Report::Trouble(message) => self.trouble = Some(message),
            }
        }
        Ok(())
    }

    /// Reads what every worker said, and removes those that are gone.
    fn look_after(&mut self, now: Instant) {
        for key in self.roster.keys() {
            let Some(mut worker) = self.roster.remove(&key) else {
                continue;
            };
            match self.look_at(&mut worker, now) {
                Ok(None) => self.roster.insert(key, worker),
                Ok(Some(health)) => {
                    let is_at_rest = matches!(health, Health::Left(Leaving::Idle | Leaving::Revoked));
                    if worker.has_never_begun() && !is_at_rest {
                        self.provisioning.wasted(worker.hello.submission, now);
                    }
                    self.dismiss(key, &worker, !matches!(health, Health::Left(_)));
                }
                // A shared folder fails for moments: a worker whose files cannot be read is not dead yet.
                Err(error) => {
                    self.trouble = Some(error.to_string());
                    self.roster.insert(key, worker);
                }
            }
        }
    }

    /// Reads what a worker said; gives how it went away, if it did.
    fn look_at(&mut self, worker: &mut RemoteWorker, now: Instant) -> std::io::Result<Option<Health>> {
        let timeouts = self.settings.timeouts;
        let hint = self.provisioning.hint(worker.task());
        let mut health = worker.health(now, hint, &timeouts)?;
        let mut said = worker.read_lines(now)?;
        if health == Health::NoHeartbeat && said.bytes > 0 {
            health = Health::Alive;
        }
        let mut lost = None;
        if health != Health::Alive || said.garbled.is_some() {
            // First its inbox is closed, then the rest of its lines is read: nothing counts that comes later. What was read
            // before must be told even where this fails, and then it is tried again at the next look.
            match worker.close().and_then(|()| worker.read_lines(now)) {
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
            // Nobody has begun it, and nobody can any more: the same attempt is given to another worker.
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
            // A worker whose lines cannot be read gets no other job.
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
        self.roster.dismiss(key);
        if let Some(task) = worker.task() {
            self.provisioning.left(task);
            if cancel {
                self.submitter.ask(Command::Cancel(vec![task]));
            }
        }
    }

    /// Gives what waits to whoever is idle.
    fn assign(&mut self, now: Instant) {
        while let Some(Waiting { stage, attempt, job }) = self.waiting.front() {
            let Some((key, mut worker)) = self.roster.take_idle() else {
                break;
            };
            match worker.put(stage, *attempt, job, now) {
                Ok(true) => {
                    self.link_log(&worker, job);
                    self.waiting.pop_front();
                    self.roster.insert(key, worker);
                }
                // It has just left.
                Ok(false) => self.dismiss(key, &worker, false),
                Err(error) => {
                    self.trouble = Some(error.to_string());
                    self.roster.insert(key, worker);
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

    /// Submits as many workers as there is work for and the profile allows, once the last submission has settled.
    fn call_for_workers(&mut self, now: Instant) -> Result<(), PoolError> {
        let PoolStatus {
            idle,
            busy,
            coming,
            waiting,
        } = self.status();
        let wanted = ((busy + waiting) as u64).min(self.settings.profile.max_workers);
        let here = (idle + busy) as u64 + coming;
        if wanted > here && self.provisioning.is_settled(now) {
            for (number, tasks) in self.submitter.submit(&self.settings, &self.folder, wanted - here)? {
                self.provisioning.sent(number, tasks);
            }
        }
        Ok(())
    }
}
