//! How many workers are on their way, from what was submitted and what the batch system says, and when to ask for more.
//!
//! Refuses to know folders, stages and batch systems. Takes the time as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::exec::pool::remote_worker::Hint;
use crate::queue::{Task, TaskId, TaskState};

/// A submission on its way.
#[derive(Debug)]
struct Sent {
    tasks: u64,
    /// When it was taken.
    accepted: Option<Instant>,
    /// Whether the batch system has listed it.
    is_seen: bool,
    /// Workers of it that came.
    came: u64,
}

/// The workers that are on their way.
#[derive(Debug)]
pub(super) struct Provisioning {
    /// Time between two questions to the batch system.
    ask: Duration,
    /// What the batch system said last, and when it was asked.
    tasks: BTreeMap<TaskId, Task>,
    asked: Option<Instant>,
    sent: BTreeMap<u64, Sent>,
    /// Tasks whose workers are done with.
    over: BTreeSet<TaskId>,
    /// Nothing is submitted before: it has to show first what came of the last.
    not_before: Option<Instant>,
    /// Submissions in a row that brought no worker that began with anything.
    failed: u32,
    /// Those of them whose workers came, and went.
    wasted: BTreeSet<u64>,
    has_worked: bool,
}

impl Provisioning {
    /// Nothing was submitted yet; the batch system is asked so often.
    pub(super) fn new(ask: Duration) -> Self {
        Self {
            ask,
            tasks: BTreeMap::new(),
            asked: None,
            sent: BTreeMap::new(),
            over: BTreeSet::new(),
            not_before: None,
            failed: 0,
            wasted: BTreeSet::new(),
            has_worked: false,
        }
    }

    /// So many workers are about to be submitted.
    pub(super) fn sent(&mut self, number: u64, tasks: u64) {
        let sent = Sent {
            tasks,
            accepted: None,
            is_seen: false,
            came: 0,
        };
        self.sent.insert(number, sent);
    }

    /// An earlier orchestrator has submitted these; whether they were taken is known where they have a job.
    pub(super) fn inherited(&mut self, number: u64, tasks: u64, has_job: bool, now: Instant) {
        let sent = Sent {
            tasks,
            accepted: Some(now),
            is_seen: has_job,
            // What brought no worker under somebody else is not held against the site.
            came: 1,
        };
        self.sent.insert(number, sent);
    }

    /// A worker has begun with what it was given: the site and the profile are good for something.
    pub(super) fn proved(&mut self) {
        self.failed = 0;
        self.has_worked = true;
        self.wasted.clear();
    }

    /// A worker of a submission went away before it began with anything.
    pub(super) fn wasted(&mut self, number: u64, now: Instant) {
        if self.wasted.insert(number) {
            self.has_failed(now);
        }
    }

    /// One submission more has brought nobody who works; the next waits longer.
    fn has_failed(&mut self, now: Instant) {
        self.failed += 1;
        // Slower each time: whatever is wrong there does not get better by haste.
        self.not_before = Some(now + self.ask * (1 << self.failed.min(6)));
    }

    /// Whether any worker has ever begun with anything.
    pub(super) fn has_worked(&self) -> bool {
        self.has_worked
    }

    /// A worker of a submission has come.
    pub(super) fn came(&mut self, number: u64) {
        if let Some(sent) = self.sent.get_mut(&number) {
            sent.came += 1;
        }
    }

    /// A worker is done with.
    pub(super) fn left(&mut self, task: TaskId) {
        self.over.insert(task);
    }

    /// A submission was taken.
    pub(super) fn accepted(&mut self, number: u64, at: Instant) {
        if let Some(sent) = self.sent.get_mut(&number) {
            sent.accepted = Some(at);
        }
    }

    /// A submission is refused.
    pub(super) fn refused(&mut self, number: u64, now: Instant) {
        self.sent.remove(&number);
        self.not_before = Some(now + self.ask * 4);
    }

    /// Notes what the batch system said when it was asked at `began`; gives the submissions that brought no worker and will not.
    pub(super) fn looked(&mut self, began: Instant, tasks: Vec<(u64, Task)>, now: Instant) -> Vec<u64> {
        let mut living: BTreeSet<u64> = BTreeSet::new();
        for (number, task) in &tasks {
            if let Some(sent) = self.sent.get_mut(number) {
                sent.is_seen = true;
                sent.accepted.get_or_insert(began);
            }
            if !is_gone(task) {
                living.insert(*number);
            }
        }
        let ask = self.ask;
        // Taken some time ago, and it does not know it (any more): it is over, or lost.
        let is_over = |number: &u64, sent: &Sent| {
            let since = sent.accepted.map(|accepted| began.saturating_duration_since(accepted));
            since.is_some_and(|since| sent.is_seen || since > ask) && !living.contains(number)
        };
        let mut failed = Vec::new();
        self.sent.retain(|number, sent| {
            let over = is_over(number, sent);
            if over && sent.came == 0 {
                failed.push(*number);
            }
            !over
        });
        for _ in &failed {
            self.has_failed(now);
        }
        self.tasks = tasks.into_iter().map(|(_, task)| (task.id, task)).collect();
        self.asked = Some(began);
        failed
    }

    /// Jobs whose workers have not come yet; `here` are the tasks of those that have.
    pub(super) fn coming(&self, here: &BTreeSet<TaskId>) -> u64 {
        let is_coming = |task: &&Task| !is_gone(task) && !here.contains(&task.id) && !self.over.contains(&task.id);
        let listed = self.tasks.values().filter(is_coming).count() as u64;
        let unlisted = self.sent.values().filter(|sent| !sent.is_seen);
        listed + unlisted.map(|sent| sent.tasks.saturating_sub(sent.came)).sum::<u64>()
    }

    /// Why jobs wait, in the words of the batch system, with how many of them.
    pub(super) fn reasons(&self) -> BTreeMap<&str, u64> {
        let mut reasons = BTreeMap::new();
        let queued = |task: &&Task| task.state == TaskState::Queued && !task.reason.is_empty();
        for task in self.tasks.values().filter(queued) {
            *reasons.entry(task.reason.as_str()).or_default() += 1;
        }
        reasons
    }

    /// Whether it is known what came of everything that was submitted, so that more can be.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.asked.is_some()
            && self.sent.values().all(|sent| sent.is_seen)
            && self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// Submissions in a row that brought no worker.
    pub(super) fn failed(&self) -> u32 {
        self.failed
    }

    /// What the batch system said of a worker's task last; none: it was not asked yet.
    pub(super) fn hint(&self, task: Option<TaskId>) -> Option<Hint<'_>> {
        Some(Hint {
            asked: self.asked?,
            task: self.tasks.get(&task?),
        })
    }
}

/// Whether the batch system says that nothing of the task runs any more.
pub(super) fn is_gone(task: &Task) -> bool {
    matches!(task.state, TaskState::Gone(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::slurm::state::task_state;

    const ASK: Duration = Duration::from_secs(10);

    fn task(number: u64, index: u64, state: &str) -> (u64, Task) {
        let id = TaskId {
            job: 100 + number,
            task: Some(index),
        };
        let task = Task {
            id,
            state: task_state(state),
            nodes: String::new(),
            comment: String::new(),
            reason: String::new(),
            exit: None,
        };
        (number, task)
    }

    fn here(tasks: &[(u64, Task)]) -> BTreeSet<TaskId> {
        tasks.iter().map(|(_, task)| task.id).collect()
    }

    #[test]
    fn a_worker_is_counted_once_from_its_submission_to_its_end() {
        let t0 = Instant::now();
        let mut provisioning = Provisioning::new(ASK);
        let nobody = BTreeSet::new();
        provisioning.looked(t0, Vec::new(), t0);
        provisioning.sent(1, 2);
        assert_eq!(provisioning.coming(&nobody), 2);
        assert!(
            !provisioning.is_settled(t0),
            "nothing is submitted on top of what is not seen yet"
        );
        provisioning.accepted(1, t0);
        // A worker may come before Slurm lists it.
        provisioning.came(1);
        let (first, second) = (task(1, 0, "RUNNING"), task(1, 1, "PENDING"));
        assert_eq!(provisioning.coming(&here(std::slice::from_ref(&first))), 1);
        provisioning.looked(t0 + ASK, vec![first.clone(), second.clone()], t0 + ASK);
        assert_eq!(provisioning.coming(&here(std::slice::from_ref(&first))), 1);
        assert!(provisioning.is_settled(t0 + ASK));
        // It leaves before Slurm has noticed.
        provisioning.left(first.1.id);
        assert_eq!(provisioning.coming(&nobody), 1);
        provisioning.looked(
            t0 + ASK * 2,
            vec![task(1, 0, "COMPLETED"), task(1, 1, "DREAMING")],
            t0 + ASK * 2,
        );
        assert_eq!(provisioning.coming(&nobody), 1, "an unknown state may still come");
        assert_eq!(
            provisioning.looked(t0 + ASK * 3, Vec::new(), t0 + ASK * 3),
            Vec::<u64>::new()
        );
        assert_eq!((provisioning.coming(&nobody), provisioning.failed()), (0, 0));
    }

    #[test]
    fn an_accepted_submission_that_slurm_forgets_is_noticed_and_the_next_waits_longer() {
        let t0 = Instant::now();
        let mut provisioning = Provisioning::new(ASK);
        for round in 1..=3 {
            let t = t0 + ASK * (100 * round);
            provisioning.sent(u64::from(round), 4);
            provisioning.accepted(u64::from(round), t);
            // Too early to tell: Slurm may not list it yet.
            assert!(provisioning.looked(t + ASK / 2, Vec::new(), t).is_empty());
            assert_eq!(provisioning.coming(&BTreeSet::new()), 4);
            assert_eq!(provisioning.looked(t + ASK * 2, Vec::new(), t), [u64::from(round)]);
            assert_eq!(
                (provisioning.coming(&BTreeSet::new()), provisioning.failed()),
                (0, round)
            );
            assert!(!provisioning.is_settled(t + ASK * ((1 << round) - 1)));
            assert!(provisioning.is_settled(t + ASK * (1 << round)));
        }
    }

    #[test]
    fn workers_that_die_before_their_first_order_count_as_failed_submissions_until_one_begins() {
        let t0 = Instant::now();
        let mut provisioning = Provisioning::new(ASK);
        provisioning.sent(1, 1);
        provisioning.accepted(1, t0);
        assert_eq!(provisioning.looked(t0, vec![task(1, 0, "FAILED")], t0), [1]);
        assert_eq!(provisioning.failed(), 1);
        provisioning.sent(2, 2);
        provisioning.came(2);
        assert_eq!(provisioning.failed(), 1, "coming is not working");
        provisioning.wasted(2, t0);
        provisioning.wasted(2, t0);
        assert_eq!(provisioning.failed(), 2, "a submission counts once");
        assert!(!provisioning.is_settled(t0 + ASK * 3));
        provisioning.proved();
        assert_eq!(provisioning.failed(), 0);
    }
}
