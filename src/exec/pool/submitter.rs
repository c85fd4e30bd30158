//! The one who talks to Slurm, beside the pool: submits, cancels and asks, with patience, and reports.
//!
//! Refuses to know workers and stages. A controller that is down makes the submitter wait, never the pool.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::exec::pool::submissions::Submissions;
use crate::exec::slurm::{Client, SubmitError};
use crate::slurm::parse::{Task, TaskId};
use crate::slurm::script::{Submission, number_of};
use crate::slurm::state::TaskState;

/// The longest wait between two tries at a controller that does not answer.
const BACK_OFF_MOST: Duration = Duration::from_mins(2);

/// So often a submission of which nothing is known is made again: whoever cannot find any makes no more.
const UNSURE_MOST: u32 = 5;

/// What the submitter is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Submit this, once.
    Submit(Submission),
    /// End these.
    Cancel(Vec<TaskId>),
    /// End every job of the pool.
    CancelAll,
}

/// What the submitter says.
#[derive(Debug)]
pub(super) enum Report {
    /// Slurm was asked and answered.
    Looked {
        /// When it was asked.
        began: Instant,
        /// The pool's tasks with the numbers of their submissions.
        tasks: Vec<(u64, Task)>,
    },
    /// Slurm has taken a submission.
    Accepted {
        /// Its number.
        number: u64,
        /// When.
        at: Instant,
    },
    /// Slurm does not take a submission, and would not later.
    Refused {
        /// Its number.
        number: u64,
        /// Why.
        message: String,
    },
    /// Slurm did not answer; it is tried again.
    Trouble(String),
}

/// The pool's end of the line to its submitter.
#[derive(Debug)]
pub(super) struct Handle {
    commands: UnboundedSender<Command>,
    reports: UnboundedReceiver<Report>,
    submitter: JoinHandle<()>,
}

struct Submitter {
    client: Client,
    submissions: Submissions,
    pool: String,
    ask: Duration,
    commands: UnboundedReceiver<Command>,
    reports: UnboundedSender<Report>,
    /// Jobs that carry the key of a submission; the first is the one that counts.
    jobs: BTreeMap<u64, u64>,
    failures: u32,
}

impl Handle {
    /// A submitter of a pool of this name, who asks so often; `jobs` are those that the submissions knows.
    pub(super) fn open(client: Client, submissions: Submissions, pool: &str, ask: Duration) -> std::io::Result<Self> {
        let (commands, inbox) = unbounded_channel();
        let (outbox, reports) = unbounded_channel();
        let entries = submissions.entries()?.into_iter();
        let submitter = Submitter {
            client,
            pool: pool.to_owned(),
            ask,
            commands: inbox,
            reports: outbox,
            jobs: entries
                .filter_map(|(intent, job)| Some((intent.number, job?)))
                .collect(),
            submissions,
            failures: 0,
        };
        Ok(Self {
            commands,
            reports,
            submitter: tokio::spawn(submitter.work()),
        })
    }

    /// Asks for something; it is done after what was asked before.
    pub(super) fn ask(&self, command: Command) {
        // A submitter that is gone has a panic in it, which the test of its handle at the end shows.
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
        let Self {
            commands, submitter, ..
        } = self;
        let abort = submitter.abort_handle();
        drop(commands);
        let is_done = tokio::time::timeout(most, submitter).await.is_ok();
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
        let listing = match self.client.jobs().await {
            Ok(listing) => listing,
            Err(error) => {
                self.failures += 1;
                self.report(Report::Trouble(error.to_string()));
                return None;
            }
        };
        if listing.tasks.is_empty() && !listing.odd.is_empty() {
            self.failures += 1;
            let message = format!("squeue prints what is not understood: `{}`", listing.odd[0]);
            self.report(Report::Trouble(message));
            return None;
        }
        self.failures = 0;
        // A site may write comments of its own; the submissions knows jobs by their numbers, too.
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

    /// Ends what was taken although Slurm had said that it was not, and was submitted again.
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
            let job = match self.client.submit(submission).await {
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
                if let Err(error) = self.submissions.accepted(number, job) {
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

    /// The job of a submission that Slurm may have taken; none: it is certain that it has not.
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

    /// Ends tasks; false: Slurm does not answer.
    async fn cancel(&mut self, tasks: &[TaskId]) -> bool {
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            match self.client.cancel(tasks).await {
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
                    && let Err(error) = self.submissions.settled()
                {
                    self.report(Report::Trouble(error.to_string()));
                }
                return;
            }
            tokio::time::sleep(self.pause().min(Duration::from_secs(5))).await;
        }
    }
}
