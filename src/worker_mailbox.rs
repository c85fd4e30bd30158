//! A worker's side of the mailbox: its folder, its sign of life, the next job, and when to stop.
//!
//! Refuses to know what a job is. A thread of its own beats and listens while a job runs, so that a stop, a signal and
//! a revocation are heard there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fs_err as fs;
use tokio::signal::unix::{SignalKind, signal};

use crate::mailbox::{self, Beat, Bye, Hello, Leaving, Order};
use crate::protocol::Process;
use crate::workdir::write_whole;

/// Stops every order.
const ALL: u64 = u64::MAX;
/// How long a look into an empty inbox waits for the next, first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// A worker that cannot beat for so many times has lost its folder.
const BEATS_LOST: u32 = 20;

/// A worker takes no stage with less time left: a hand-back takes two minutes' notice, and some training beside it.
const RESERVE: Duration = Duration::from_mins(3);

/// How a worker of a pool is called (`queue::script` writes it).
#[derive(Debug, Clone, clap::Args)]
pub struct Call {
    /// Folder of the pool whose inboxes this worker joins
    #[arg(long = "inbox", value_name = "DIR")]
    pool: Option<PathBuf>,
    /// Number of the submission that it belongs to
    #[arg(long, value_name = "N", default_value_t = 0)]
    submission: u64,
    /// Seconds without a job after which it leaves
    #[arg(long, value_name = "S", default_value_t = 300)]
    idle: u64,
    /// Seconds that it may run
    #[arg(long, value_name = "S")]
    time_limit: Option<u64>,
    /// Milliseconds between two signs of life
    #[arg(long, value_name = "MS", default_value_t = 3000, hide = true)]
    beat: u64,
    #[arg(long, env = "SLURM_JOB_ID", hide = true)]
    job: Option<u64>,
    #[arg(long, env = "SLURM_ARRAY_JOB_ID", hide = true)]
    array: Option<u64>,
    #[arg(long, env = "SLURM_ARRAY_TASK_ID", hide = true)]
    task: Option<u64>,
    #[arg(long, env = "SLURMD_NODENAME", hide = true)]
    node: Option<String>,
}

impl Call {
    /// Whether jobs come through an inbox.
    pub fn is_of_a_pool(&self) -> bool {
        self.pool.is_some()
    }

    fn hello(&self, version: &str, host: &str) -> Hello {
        Hello {
            format: mailbox::FORMAT,
            version: version.to_owned(),
            process: Process::of(std::process::id(), &|path| fs::read_to_string(path).ok()),
            host: host.to_owned(),
            node: self.node.clone(),
            job: self.array.or(self.job),
            task: self.task.filter(|_| self.array.is_some()),
            submission: self.submission,
            beat_ms: self.beat,
        }
    }

    fn habits(&self) -> Habits {
        Habits {
            idle: Duration::from_secs(self.idle),
            beat: Duration::from_millis(self.beat),
            limit: self.time_limit.map(Duration::from_secs),
            reserve: RESERVE,
        }
    }
}

/// How a worker behaves.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// How long it waits for a job before it leaves.
    pub idle: Duration,
    /// Time between two signs of life.
    pub beat: Duration,
    /// How long it may run; none: nobody knows.
    pub limit: Option<Duration>,
    /// It takes no job with less time left than this: what a hand-back takes, and some training beside it.
    pub reserve: Duration,
}

/// A worker's inbox.
#[derive(Debug)]
pub struct Mailbox {
    folder: PathBuf,
    habits: Habits,
    began: Instant,
    /// When there was something to do last.
    busy: Instant,
    taken: u64,
    shared: Arc<Shared>,
}

/// What the listening thread and the working one tell each other.
#[derive(Debug)]
struct Shared {
    /// Orders up to this number are to stop.
    stop_before: AtomicU64,
    /// Number of the order taken last.
    taken: AtomicU64,
    /// Why everything is to stop, by its place in [`REASONS`].
    reason: AtomicU8,
    /// Whether the worker has closed its inbox itself.
    is_leaving: AtomicBool,
}

const REASONS: [Leaving; 4] = [
    Leaving::Failed,
    Leaving::TimeIsUp,
    Leaving::Terminated,
    Leaving::Revoked,
];

impl Shared {
    fn stop_all(&self, why: Leaving) {
        if self.stop_before.load(Ordering::Acquire) != ALL {
            let place = REASONS.iter().position(|reason| *reason == why).unwrap_or(0);
            self.reason.store(u8::try_from(place).unwrap_or(0), Ordering::Release);
            self.stop_before.store(ALL, Ordering::Release);
        }
    }
}

impl Mailbox {
    /// Moves into the pool of a call; none: there is nothing to do.
    pub fn join(call: &Call, version: &str, host: &str) -> std::io::Result<Option<Self>> {
        let Some(pool) = &call.pool else { return Ok(None) };
        Self::open(pool, &call.hello(version, host), call.habits())
    }

    /// Moves into the pool's folder and begins to beat; none: the pool was revoked, and there is nothing to do.
    ///
    /// Must be called before anything slow: from here on Slurm's signals are heard.
    pub fn open(pool: &Path, hello: &Hello, habits: Habits) -> std::io::Result<Option<Self>> {
        let shared = Arc::new(Shared {
            stop_before: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            reason: AtomicU8::new(0),
            is_leaving: AtomicBool::new(false),
        });
        if pool.join(mailbox::REVOKED).exists() {
            return Ok(None);
        }
        let folder = settle(pool, hello)?;
        let heart = Heart {
            pool: pool.to_owned(),
            folder: folder.clone(),
            shared: Arc::clone(&shared),
            beat: 0,
            missed: 0,
        };
        heart.listen(habits.beat)?;
        Ok(Some(Self {
            folder,
            habits,
            began: Instant::now(),
            busy: Instant::now(),
            taken: 0,
            shared,
        }))
    }

    /// The next job's file; none: leave.
    pub fn next_job(&mut self) -> Option<PathBuf> {
        self.busy = Instant::now();
        let mut pause = PAUSES.0;
        let why = loop {
            if self.shared.stop_before.load(Ordering::Acquire) == ALL {
                let reason = self.shared.reason.load(Ordering::Acquire);
                break REASONS.get(usize::from(reason)).copied().unwrap_or(Leaving::Failed);
            }
            let left = self
                .habits
                .limit
                .map(|limit| limit.saturating_sub(self.began.elapsed()));
            if left.is_some_and(|left| left < self.habits.reserve) {
                break Leaving::TimeIsUp;
            }
            match self.take() {
                Ok(Some(order)) => return Some(order.job),
                Ok(None) => {}
                // Whoever closed the inbox has no use for this worker; anything else is no better.
                Err(error) if error.kind() == ErrorKind::NotFound => break Leaving::Revoked,
                Err(_) => break Leaving::Failed,
            }
            if self.busy.elapsed() > self.habits.idle {
                break Leaving::Idle;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSES.1);
        };
        self.leave(why);
        None
    }

    /// Whether the job taken last is to stop.
    pub fn stopped(&self) -> bool {
        self.taken <= self.shared.stop_before.load(Ordering::Acquire)
    }

    /// Closes the inbox and says why; orders that are still in it are the orchestrator's to give to somebody else.
    pub fn leave(&mut self, why: Leaving) {
        self.shared.is_leaving.store(true, Ordering::Release);
        // It may be closed already; then nobody needs to hear it, and the word counts all the same.
        drop(fs::rename(
            self.folder.join(mailbox::INBOX),
            self.folder.join(mailbox::CLOSED),
        ));
        if let Ok(text) = serde_json::to_vec(&Bye { why }) {
            drop(write_whole(&self.folder.join(mailbox::BYE_FILE), &text));
        }
    }

    /// Takes the first order. Renaming decides: an order is begun by this worker, or it is in a closed inbox.
    fn take(&mut self) -> std::io::Result<Option<Order>> {
        let mut first: Option<u64> = None;
        for entry in fs::read_dir(self.folder.join(mailbox::INBOX))? {
            let number = entry?.file_name().to_str().and_then(mailbox::order_number);
            first = [first, number].into_iter().flatten().min();
        }
        let Some(number) = first else { return Ok(None) };
        let name = mailbox::order_file(number);
        let taken = self.folder.join(mailbox::TAKEN).join(&name);
        fs::rename(self.folder.join(mailbox::INBOX).join(&name), &taken)?;
        let order: Order = serde_json::from_slice(&fs::read(&taken)?).map_err(std::io::Error::other)?;
        self.taken = number;
        self.shared.taken.store(number, Ordering::Release);
        Ok(Some(order))
    }
}

/// A folder for this process and no other, with everything in it that the orchestrator looks for.
fn settle(pool: &Path, hello: &Hello) -> std::io::Result<PathBuf> {
    let workers = pool.join(mailbox::WORKERS);
    fs::create_dir_all(&workers)?;
    let mut again = 0;
    let folder = loop {
        let key = mailbox::worker_key(hello.submission, hello.job, hello.task, again);
        match fs::create_dir(workers.join(&key)) {
            Ok(()) => break workers.join(key),
            // Slurm runs some jobs twice: each process has its own folder.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && again < 1000 => again += 1,
            Err(error) => return Err(error),
        }
    };
    fs::create_dir(folder.join(mailbox::INBOX))?;
    fs::create_dir(folder.join(mailbox::TAKEN))?;
    // Last: who finds it finds the rest.
    let text = serde_json::to_vec_pretty(hello).map_err(std::io::Error::other)?;
    write_whole(&folder.join(mailbox::HELLO_FILE), &text)?;
    Ok(folder)
}

/// The thread that beats and listens.
struct Heart {
    pool: PathBuf,
    folder: PathBuf,
    shared: Arc<Shared>,
    beat: u64,
    missed: u32,
}

impl Heart {
    /// Beats until the process ends, after its signals are caught.
    fn listen(mut self, every: Duration) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let mut notice = signal(SignalKind::user_defined2())?;
        let mut terminate = signal(SignalKind::terminate())?;
        drop(guard);
        self.pulse();
        std::thread::spawn(move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! {
                        _ = notice.recv() => self.shared.stop_all(Leaving::TimeIsUp),
                        _ = terminate.recv() => self.shared.stop_all(Leaving::Terminated),
                        () = tokio::time::sleep(every) => self.pulse(),
                    }
                }
            });
        });
        Ok(())
    }

    /// One sign of life, and a look at what is asked.
    ///
    /// The new sign is made in the inbox and renamed out of it. That fails once the inbox is closed, so a worker that
    /// was taken for dead cannot miss it; and on NFS a client sees a folder as it is after changing it itself.
    fn pulse(&mut self) {
        self.beat += 1;
        let taken = self.shared.taken.load(Ordering::Acquire);
        let beat = Beat { beat: self.beat, taken };
        let made = self.folder.join(mailbox::INBOX).join(mailbox::BEAT_FILE);
        let written = serde_json::to_vec(&beat)
            .map_err(std::io::Error::other)
            .and_then(|text| fs::write(&made, text))
            .and_then(|()| fs::rename(&made, self.folder.join(mailbox::BEAT_FILE)));
        match written {
            Ok(()) => self.missed = 0,
            Err(_) if self.shared.is_leaving.load(Ordering::Acquire) => return,
            Err(error) if error.kind() == ErrorKind::NotFound => self.shared.stop_all(Leaving::Revoked),
            Err(_) => {
                self.missed += 1;
                if self.missed > BEATS_LOST {
                    self.shared.stop_all(Leaving::Failed);
                }
            }
        }
        if self.pool.join(mailbox::REVOKED).exists() {
            self.shared.stop_all(Leaving::Revoked);
        }
        if taken > 0 && self.folder.join(mailbox::stop_file(taken)).exists() {
            self.shared.stop_before.fetch_max(taken, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Process;
    use crate::units::StageId;

    const HABITS: Habits = Habits {
        idle: Duration::from_secs(20),
        beat: Duration::from_millis(10),
        limit: None,
        reserve: Duration::from_secs(1),
    };

    fn hello() -> Hello {
        Hello {
            format: mailbox::FORMAT,
            version: "1".to_owned(),
            process: Process::of(1, &|_| None),
            host: "h".to_owned(),
            node: None,
            job: Some(7),
            task: Some(0),
            submission: 1,
            beat_ms: 10,
        }
    }

    fn put(folder: &Path, number: u64) {
        let order = Order {
            number,
            stage: StageId("s".to_owned()),
            attempt: 1,
            job: PathBuf::from(format!("/job{number}")),
        };
        let text = serde_json::to_vec(&order).expect("JSON");
        write_whole(&folder.join(mailbox::INBOX).join(mailbox::order_file(number)), &text).expect("put");
    }

    fn await_stop(inbox: &Mailbox) {
        for _ in 0..500 {
            if inbox.stopped() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the stop is not heard");
    }

    fn bye(folder: &Path) -> Leaving {
        let text = fs::read(folder.join(mailbox::BYE_FILE)).expect("a last word");
        serde_json::from_slice::<Bye>(&text).expect("a bye").why
    }

    #[test]
    fn orders_are_taken_in_turn_and_a_stop_ends_its_order_alone() {
        let pool = tempfile::tempdir().expect("a folder");
        let mut inbox = Mailbox::open(pool.path(), &hello(), HABITS)
            .expect("opens")
            .expect("wanted");
        let folder = pool.path().join("workers/1-7-0");
        put(&folder, 2);
        put(&folder, 1);
        assert_eq!(inbox.next_job(), Some(PathBuf::from("/job1")));
        assert!(!inbox.stopped());
        fs::write(folder.join(mailbox::stop_file(1)), "").expect("asked");
        await_stop(&inbox);
        assert_eq!(inbox.next_job(), Some(PathBuf::from("/job2")));
        assert!(!inbox.stopped(), "the stop was for the first");
        fs::write(pool.path().join(mailbox::REVOKED), "").expect("revoked");
        await_stop(&inbox);
        assert_eq!(inbox.next_job(), None);
        assert_eq!(bye(&folder), Leaving::Revoked);
        assert!(Mailbox::open(pool.path(), &hello(), HABITS).expect("opens").is_none());
    }

    #[test]
    fn a_closed_inbox_stops_its_worker_and_a_second_process_has_its_own() {
        let pool = tempfile::tempdir().expect("a folder");
        let mut first = Mailbox::open(pool.path(), &hello(), HABITS)
            .expect("opens")
            .expect("wanted");
        let mut second = Mailbox::open(pool.path(), &hello(), HABITS)
            .expect("opens")
            .expect("wanted");
        let (one, two) = (pool.path().join("workers/1-7-0"), pool.path().join("workers/1-7-0-1"));
        put(&one, 1);
        assert_eq!(first.next_job(), Some(PathBuf::from("/job1")));
        put(&one, 2);
        fs::rename(one.join(mailbox::INBOX), one.join(mailbox::CLOSED)).expect("closed");
        await_stop(&first);
        assert_eq!(first.next_job(), None, "what is in a closed inbox is not begun");
        assert!(one.join(mailbox::CLOSED).join(mailbox::order_file(2)).exists());
        put(&two, 1);
        assert_eq!(second.next_job(), Some(PathBuf::from("/job1")));
        assert!(!second.stopped());
    }

    #[test]
    fn a_worker_leaves_when_idle_and_takes_nothing_it_cannot_finish() {
        let pool = tempfile::tempdir().expect("a folder");
        let idle = Habits {
            idle: Duration::from_millis(30),
            ..HABITS
        };
        let mut inbox = Mailbox::open(pool.path(), &hello(), idle)
            .expect("opens")
            .expect("wanted");
        assert_eq!(inbox.next_job(), None);
        assert_eq!(bye(&pool.path().join("workers/1-7-0")), Leaving::Idle);
        let short = Habits {
            limit: Some(Duration::from_millis(900)),
            ..HABITS
        };
        let mut inbox = Mailbox::open(pool.path(), &hello(), short)
            .expect("opens")
            .expect("wanted");
        let folder = pool.path().join("workers/1-7-0-1");
        put(&folder, 1);
        assert_eq!(inbox.next_job(), None);
        assert_eq!(bye(&folder), Leaving::TimeIsUp);
    }
}
