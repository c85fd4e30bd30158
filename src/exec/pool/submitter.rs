//! A task beside the pool that talks to the batch system: it submits, cancels and asks, tries again, and reports.
//!
//! Refuses to know workers and stages. A controller that is down makes the submitter wait, never the pool.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::exec::pool::batch_system::{BatchSystem, SubmitError};
use crate::exec::pool::settings::{PoolError, Settings};
use crate::exec::pool::submissions::{Intent, Submissions};
use crate::queue::script::{Submission, number_of};
use crate::queue::{Site, Task, TaskId, TaskState};

/// The longest wait between two tries at a controller that does not answer.
const BACK_OFF_MOST: Duration = Duration::from_mins(2);

/// So often a submission of which nothing is known is made again: whoever cannot find any makes no more.
const UNSURE_MOST: u32 = 5;

/// What the pool asks for.
#[derive(Debug)]
pub(super) enum Command {
    Submit(Submission),
    Cancel(Vec<TaskId>),
    /// End every job of the pool.
    CancelAll,
}

/// What is reported to the pool.
#[derive(Debug)]
pub(super) enum Report {
    /// The batch system was asked and answered.
    Looked {
        /// When it was asked.
        began: Instant,
        /// The pool's tasks with the numbers of their submissions.
        tasks: Vec<(u64, Task)>,
    },
    /// A submission was taken.
    Accepted { number: u64, at: Instant },
    /// A submission is refused, and would be later.
    Refused { number: u64, message: String },
    /// The batch system did not answer; it is tried again.
    Trouble(String),
}

/// The pool's side: what it asks for, and what is reported to it.
#[derive(Debug)]
pub(super) struct Handle {
    system: Arc<dyn BatchSystem>,
    site: Site,
    /// The pool's name in the comments of jobs.
    pool: String,
    records: Submissions,
    commands: UnboundedSender<Command>,
    reports: UnboundedReceiver<Report>,
    task: JoinHandle<()>,
}

struct Submitter {
    system: Arc<dyn BatchSystem>,
    records: Submissions,
    pool: String,
    ask: Duration,
    commands: UnboundedReceiver<Command>,
    reports: UnboundedSender<Report>,
    /// Jobs that carry the key of a submission; the first is the one that counts.
    jobs: BTreeMap<u64, u64>,
    failures: u32,
}

impl Handle {
    /// Begins the task for the pool in a folder; `ask`: time between two questions to the batch system.
    pub(super) fn open(
        system: Arc<dyn BatchSystem>,
        site: Site,
        folder: &Path,
        pool: &str,
        ask: Duration,
    ) -> std::io::Result<Self> {
        let (commands, ordered) = unbounded_channel();
        let (reported, reports) = unbounded_channel();
        let records = Submissions::new(folder);
        let known = records.entries()?.into_iter();
        let submitter = Submitter {
            system: Arc::clone(&system),
            records: records.clone(),
            pool: pool.to_owned(),
            ask,
            commands: ordered,
            reports: reported,
            jobs: known.filter_map(|(intent, job)| Some((intent.number, job?))).collect(),
            failures: 0,
        };
        Ok(Self {
            system,
            site,
            pool: pool.to_owned(),
            records,
            commands,
            reports,
            task: tokio::spawn(submitter.work()),
        })
    }

    /// Everything that was ever submitted for the pool, with its job where one is known.
    pub(super) fn records(&self) -> std::io::Result<Vec<(Intent, Option<u64>)>> {
        self.records.entries()
    }

    /// Records so many workers for the pool in a folder, and has them submitted; gives the number and the workers of
    /// each submission.
    pub(super) fn submit(
        &self,
        settings: &Settings,
        folder: &Path,
        workers: u64,
    ) -> Result<Vec<(u64, u64)>, PoolError> {
        let first = self.records()?.last().map_or(1, |(intent, _)| intent.number + 1);
        let wanted = settings.wanted(folder, &self.pool, workers, first);
        let mut sent = Vec::new();
        for submission in self.system.submissions(&wanted, &self.site)? {
            self.records.intend(&submission)?;
            sent.push((submission.number, submission.tasks));
            self.ask(Command::Submit(submission));
        }
        Ok(sent)
    }

    /// Asks for something; it is done after what was asked before.
    pub(super) fn ask(&self, command: Command) {
        // A task that is gone has panicked, which its handle shows at the end.
        drop(self.commands.send(command));
    }

    /// What was reported since the last look.
    pub(super) fn reports(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        loop {
            match self.reports.try_recv() {
                Ok(report) => reports.push(report),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return reports,
            }
        }
    }

    /// Waits until what was asked is done, but no longer than this; whether it is.
    pub(super) async fn close(self, most: Duration) -> bool {
        let Self { commands, task, .. } = self;
        let abort = task.abort_handle();
        drop(commands);
        let is_done = tokio::time::timeout(most, task).await.is_ok();
        abort.abort();
        is_done
    }
}

impl Submitter {
    async fn work(mut self) {
        let mut next = Instant::now();
        loop {
            let pause = next.saturating_duration_since(Instant::now());
            match tokio::time::timeout(pause, self.commands.recv()).await {
                Ok(Some(Command::Submit(submission))) => {
                    self.submit(&submission).await;
                    // Whether it is really there is worth an early look.
                    next = next.min(Instant::now() + self.ask.min(Duration::from_secs(2)));
                }
                Ok(Some(Command::Cancel(tasks))) => {
                    self.cancel(&tasks).await;
                }
                Ok(Some(Command::CancelAll)) => self.cancel_all().await,
                Ok(None) => return,
                Err(_) => {
                    self.look().await;
                    next = Instant::now() + self.pause();
                }
            }
        }
    }

    /// How long to wait before the next question: longer with every one that got no answer.
    fn pause(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures.min(10));
        self.ask.saturating_mul(factor).min(BACK_OFF_MOST.max(self.ask))
    }

    fn report(&self, report: Report) {
        // A pool that is gone needs no report.
        drop(self.reports.send(report));
    }

    /// Asks for all jobs at once; none: no answer.
    async fn look(&mut self) -> Option<Vec<(u64, Task)>> {
        let began = Instant::now();
        let listing = match self.system.list().await {
            Ok(listing) => listing,
            Err(error) => {
                self.failures += 1;
                self.report(Report::Trouble(error.to_string()));
                return None;
            }
        };
        if listing.tasks.is_empty() && !listing.odd.is_empty() {
            self.failures += 1;
            let message = format!(
                "{} lists what is not understood: `{}`",
                self.system.name(),
                listing.odd[0]
            );
            self.report(Report::Trouble(message));
            return None;
        }
        self.failures = 0;
        // A site may write comments of its own; the records know jobs by their numbers, too.
        let by_job = |task: &Task| {
            self.jobs
                .iter()
                .find(|(_, job)| **job == task.id.job)
                .map(|(number, _)| *number)
        };
        let ours = |task: Task| Some((number_of(&task.comment, &self.pool).or_else(|| by_job(&task))?, task));
        let tasks: Vec<(u64, Task)> = listing.tasks.into_iter().filter_map(ours).collect();
        self.cancel_doubles(&tasks).await;
        let counted = |(number, task): &(u64, Task)| self.jobs.get(number).is_none_or(|job| *job == task.id.job);
        let tasks: Vec<(u64, Task)> = tasks.into_iter().filter(counted).collect();
        self.report(Report::Looked {
            began,
            tasks: tasks.clone(),
        });
        Some(tasks)
    }

    /// Ends what was taken although the batch system had said that it was not, and was submitted again.
    async fn cancel_doubles(&mut self, tasks: &[(u64, Task)]) {
        let mut doubles: Vec<TaskId> = Vec::new();
        for (number, task) in tasks {
            let job = task.id.job;
            let counted = *self.jobs.entry(*number).or_insert(job);
            let array = TaskId { job, task: None };
            let is_over = matches!(task.state, TaskState::Gone(_));
            if counted != job && !is_over && !doubles.contains(&array) {
                doubles.push(array);
            }
        }
        if !doubles.is_empty() {
            self.cancel(&doubles).await;
        }
    }

    /// Submits once: whatever goes wrong, the key is looked up before it is submitted again.
    async fn submit(&mut self, submission: &Submission) {
        let number = submission.number;
        let mut unsure = 0;
        loop {
            let job = match self.system.submit(submission).await {
                Ok(job) => Some(job),
                Err(SubmitError::Refused(error)) => {
                    let message = error.to_string();
                    self.report(Report::Refused { number, message });
                    return;
                }
                Err(SubmitError::Unsure(error)) => {
                    unsure += 1;
                    if unsure > UNSURE_MOST {
                        let message = format!("no submission can be found again ({error})");
                        self.report(Report::Refused { number, message });
                        return;
                    }
                    self.report(Report::Trouble(error.to_string()));
                    self.look_up(number).await
                }
            };
            if let Some(job) = job {
                self.jobs.insert(number, job);
                if let Err(error) = self.records.accepted(number, job) {
                    // It is found by its key all the same.
                    self.report(Report::Trouble(error.to_string()));
                }
                let at = Instant::now();
                self.report(Report::Accepted { number, at });
                return;
            }
            if self.commands.is_closed() {
                return;
            }
        }
    }

    /// The job of a submission that may have been taken; none: it is certain that it has not.
    ///
    /// What was on its way when the call was given up may arrive later: only a look that begins well after is certain.
    async fn look_up(&mut self, number: u64) -> Option<u64> {
        let since = Instant::now();
        self.failures = 0;
        loop {
            tokio::time::sleep(self.pause()).await;
            let certain = since.elapsed() >= self.ask;
            let tasks = self.look().await;
            if let Some(tasks) = tasks {
                if let Some((_, task)) = tasks.iter().find(|(other, _)| *other == number) {
                    return Some(task.id.job);
                }
                if certain {
                    return None;
                }
            }
            if self.commands.is_closed() {
                return None;
            }
        }
    }

    /// Ends tasks; false: the batch system does not answer.
    async fn cancel(&mut self, tasks: &[TaskId]) -> bool {
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            match self.system.cancel(tasks).await {
                Ok(()) => return true,
                Err(error) => {
                    self.failures += 1;
                    self.report(Report::Trouble(error.to_string()));
                    tokio::time::sleep(self.pause()).await;
                }
            }
        }
        false
    }

    async fn cancel_all(&mut self) {
        let mut jobs: Vec<TaskId> = Vec::new();
        loop {
            if let Some(tasks) = self.look().await {
                let left = tasks
                    .iter()
                    .filter(|(_, task)| !matches!(task.state, TaskState::Gone(_)));
                for (_, task) in left {
                    let array = TaskId {
                        job: task.id.job,
                        task: None,
                    };
                    if !jobs.contains(&array) {
                        jobs.push(array);
                    }
                }
                // A site may write comments of its own, by which no job is found.
                for &job in self.jobs.values() {
                    let array = TaskId { job, task: None };
                    if !jobs.contains(&array) {
                        jobs.push(array);
                    }
                }
                if self.cancel(&jobs).await
                    && let Err(error) = self.records.settled()
                {
                    self.report(Report::Trouble(error.to_string()));
                }
                return;
            }
            tokio::time::sleep(self.pause().min(Duration::from_secs(5))).await;
        }
    }
}
