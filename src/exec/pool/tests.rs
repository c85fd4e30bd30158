//! The pool on a batch system of a few lines, whose jobs are threads of the test.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::exec::News;
use crate::exec::pool::{Answer, BatchSystem, CallError, Finding, Pool, PoolError, Settings, SubmitError, Timeouts};
use crate::mailbox::{self, Hello, Owner};
use crate::protocol::{LINES_FILE, Line, Process, write_line};
use crate::queue::script::{self, ScriptError, Submission, Wanted, worker_script};
use crate::queue::{EndReason, Listing, Site, Task, TaskId, TaskState};
use crate::spec::profile::Profile;
use crate::units::StageId;
use crate::worker_mailbox::{Habits, Mailbox};

/// A batch system without a queue: each job is a thread that starts when it is submitted.
#[derive(Debug, Default)]
struct Fake {
    tasks: Mutex<Vec<Task>>,
    /// Whether it takes no job.
    refuses: bool,
}

impl Fake {
    fn start(&self, submission: &Submission) -> Result<u64, SubmitError> {
        if self.refuses {
            let message = "no such account".to_owned();
            let program = submission.program;
            return Err(SubmitError::Refused(CallError::Failed { program, message }));
        }
        let job = 100 + submission.number;
        for index in 0..submission.tasks {
            let (pool, number) = (folder_of(submission), submission.number);
            std::thread::spawn(move || work(&pool, number, job, index));
            self.tasks.lock().expect("no panic").push(Task {
                id: TaskId { job, task: Some(index) },
                state: TaskState::Running,
                nodes: String::new(),
                comment: submission.key.clone(),
                reason: String::new(),
                exit: None,
            });
        }
        Ok(job)
    }
}

impl BatchSystem for Fake {
    fn name(&self) -> &'static str {
        "Fake"
    }

    fn word(&self) -> &'static str {
        "fake"
    }

    fn cancel_by_hand(&self) -> String {
        "fake-cancel".to_owned()
    }

    fn site(&self) -> Answer<'_, Result<Site, CallError>> {
        Box::pin(async { Ok(Site::default()) })
    }

    fn submissions(&self, wanted: &Wanted<'_>, _: &Site) -> Result<Vec<Submission>, ScriptError> {
        Ok(vec![Submission {
            number: wanted.first,
            key: script::key(wanted.pool, wanted.first),
            tasks: wanted.workers,
            program: "fake-submit",
            args: Vec::new(),
            path: wanted.folder.join(mailbox::SCRIPTS).join("job.sh"),
            script: worker_script(wanted, wanted.first),
        }])
    }

    fn submit<'a>(&'a self, submission: &'a Submission) -> Answer<'a, Result<u64, SubmitError>> {
        Box::pin(async { self.start(submission) })
    }

    fn list(&self) -> Answer<'_, Result<Listing, CallError>> {
        let tasks = self.tasks.lock().expect("no panic").clone();
        Box::pin(async { Ok(Listing { tasks, odd: Vec::new() }) })
    }

    fn cancel<'a>(&'a self, cancelled: &'a [TaskId]) -> Answer<'a, Result<(), CallError>> {
        for task in self.tasks.lock().expect("no panic").iter_mut() {
            if cancelled.iter().any(|id| id.job == task.id.job) {
                task.state = TaskState::Gone(EndReason::Cancelled);
            }
        }
        Box::pin(async { Ok(()) })
    }

    fn survey<'a>(&'a self, _: &'a Wanted<'a>) -> Answer<'a, Vec<Finding>> {
        Box::pin(async { Vec::new() })
    }
}

/// The folder of the pool that a submission belongs to.
fn folder_of(submission: &Submission) -> PathBuf {
    let folder = submission.path.ancestors().nth(2);
    folder.expect("the script lies in a folder of the pool").to_owned()
}

/// A worker that ends every job at once.
fn work(pool: &Path, submission: u64, job: u64, task: u64) {
    let hello = Hello {
        format: mailbox::FORMAT,
        version: "1".to_owned(),
        process: Process::of(1, &|_| None),
        host: "h".to_owned(),
        node: None,
        job: Some(job),
        task: Some(task),
        submission,
        beat_ms: 10,
    };
    let habits = Habits {
        idle: Duration::from_mins(1),
        beat: Duration::from_millis(10),
        limit: None,
        reserve: Duration::ZERO,
    };
    let mut inbox = Mailbox::open(pool, &hello, habits)
        .expect("opens")
        .expect("the pool is not revoked");
    while let Some(job) = inbox.next_job() {
        let mut text = Vec::new();
        write_line(&mut text, 1, &Line::Diverged { step: 3 }).expect("JSON");
        fs::write(job.with_file_name(LINES_FILE), text).expect("written");
    }
}

fn settings(home: &Path, system: Arc<dyn BatchSystem>) -> Settings {
    Settings {
        system,
        pools: home.join("pools"),
        home: "home".to_owned(),
        profile: Profile {
            max_workers: 2,
            ..Profile::default()
        },
        program: vec!["worker".into()],
        version: "1".to_owned(),
        owner: Owner {
            process: Process::of(1, &|_| None),
            host: "here".to_owned(),
        },
        timeouts: Timeouts {
            look: Duration::from_millis(10),
            ask: Duration::from_millis(20),
            ..Timeouts::default()
        },
    }
}

/// A pool with so many jobs to give.
async fn with_jobs(home: &Path, system: Arc<dyn BatchSystem>, jobs: u32) -> Pool {
    let opened = Pool::open(settings(home, system), &|_, _| false).await;
    let (mut pool, adopted) = opened.expect("a pool");
    assert!(adopted.is_empty());
    for job in 0..jobs {
        let folder = home.join(job.to_string());
        fs::create_dir(&folder).expect("a folder");
        pool.launch(StageId(job.to_string()), 1, &folder.join("job.json"));
    }
    pool
}

/// Looks at the pool until so much is told, but at most 20 seconds.
async fn news_of(pool: &mut Pool, count: usize) -> Result<Vec<News>, PoolError> {
    let since = Instant::now();
    let mut news = Vec::new();
    while news.len() < count && since.elapsed() < Duration::from_secs(20) {
        news.extend(pool.poll()?);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(news)
}

#[tokio::test]
async fn stages_are_trained_on_any_batch_system_and_its_jobs_are_cancelled_at_the_end() {
    let home = tempfile::tempdir().expect("a folder");
    let fake = Arc::new(Fake::default());
    let mut pool = with_jobs(home.path(), Arc::clone(&fake) as Arc<dyn BatchSystem>, 5).await;
    let news = news_of(&mut pool, 5).await.expect("the pool goes on");
    let mut ended: Vec<&str> = news.iter().map(|news| news.stage.0.as_str()).collect();
    ended.sort_unstable();
    assert_eq!(ended, ["0", "1", "2", "3", "4"]);
    for news in &news {
        assert_eq!(
            (&news.lines[..], &news.lost),
            (&[Line::Diverged { step: 3 }][..], &None)
        );
    }
    assert_eq!(pool.system().word(), "fake");
    assert_eq!(pool.close().await.expect("closed"), None, "no job is left");
    let tasks = fake.tasks.lock().expect("no panic");
    assert_eq!(tasks.len(), 2, "no more workers than the profile allows");
    assert!(
        tasks
            .iter()
            .all(|task| task.state == TaskState::Gone(EndReason::Cancelled))
    );
}

#[tokio::test]
async fn a_batch_system_that_refuses_the_workers_ends_the_pool_under_its_own_name() {
    let home = tempfile::tempdir().expect("a folder");
    let fake = Arc::new(Fake {
        refuses: true,
        ..Fake::default()
    });
    let mut pool = with_jobs(home.path(), fake, 1).await;
    let error = news_of(&mut pool, 1).await.expect_err("refused");
    let said = error.to_string();
    assert!(
        said.starts_with("Fake refuses the workers: ") && said.contains("no such account"),
        "{said}"
    );
}
