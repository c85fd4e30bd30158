//! Local workers: long-lived processes that take one job after another.
//!
//! Refuses to know what a job means and where results are kept. A worker gets the path of a job file on its standard
//! input and answers in the lines of the attempt's folder; when its standard input closes, its orchestrator is gone
//! and it stops by itself.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs_err as fs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;

use crate::exec::error::WorkersError;
use crate::exec::lines::{Lost, News, Written, read_from};
use crate::protocol::{self, Cause, Line};
use crate::units::StageId;
use crate::workdir::Workdir;

/// How to start a worker.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<OsString>,
}

/// A job that a worker has.
#[derive(Debug)]
struct Busy {
    stage: StageId,
    attempt: u32,
    lines: PathBuf,
    read_bytes: u64,
    /// When its worker was heard last.
    heard: Instant,
    /// Processes that the kernel had killed for memory before it began.
    oom_kills: Option<u64>,
    timed_out: bool,
}

#[derive(Debug)]
struct Worker {
    number: usize,
    /// The device that it has worked on, by its place in the limits.
    device: usize,
    child: Child,
    stdin: ChildStdin,
    busy: Option<Busy>,
}

/// A pool of workers on this machine.
#[derive(Debug)]
pub struct Pool {
    program: Program,
    workdir: Workdir,
    workers: Vec<Worker>,
    started: usize,
    /// Rung by workers that have said something.
    wakeup: Arc<Notify>,
    /// How long a worker may say nothing while it has a job.
    silence: Duration,
}

/// How long a worker may take to end by itself after its standard input was closed.
const FAREWELL: Duration = Duration::from_secs(10);

impl Pool {
    /// A pool without a worker yet; each is started when there is work for it.
    pub fn new(program: Program, workdir: Workdir, silence: Duration) -> Self {
        Self {
            program,
            workdir,
            workers: Vec::new(),
            started: 0,
            wakeup: Arc::new(Notify::new()),
            silence,
        }
    }

    pub fn program(&self) -> &Path {
        &self.program.path
    }

    /// Waits until some worker has something to say.
    pub async fn wakeup(&self) {
        self.wakeup.notified().await;
    }

    /// Hands a job to an idle worker of the device, or to a new one.
    pub async fn launch(
        &mut self,
        stage: StageId,
        attempt: u32,
        device: usize,
        job: &Path,
    ) -> Result<(), WorkersError> {
        let index = match self.idle(device) {
            Some(index) => index,
            None => self.start(device)?,
        };
        let worker = &mut self.workers[index];
        worker.busy = Some(Busy {
            stage,
            attempt,
            lines: job.with_file_name(protocol::LINES_FILE),
            read_bytes: 0,
            heard: Instant::now(),
            oom_kills: oom_kills(),
            timed_out: false,
        });
        let message = format!("{}\n", job.display());
        // A worker that died idle is found at the next look, as lost.
        match worker.stdin.write_all(message.as_bytes()).await {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The number of the worker that the next launch on the device will use.
    pub fn next_worker(&self, device: usize) -> usize {
        self.idle(device)
            .map_or(self.started, |index| self.workers[index].number)
    }

    fn idle(&self, device: usize) -> Option<usize> {
        self.workers
            .iter()
            .position(|worker| worker.busy.is_none() && worker.device == device)
    }

    fn start(&mut self, device: usize) -> Result<usize, WorkersError> {
        let number = self.started;
        let log = self.workdir.worker_log(number);
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(&self.program.path)
            .args(&self.program.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log.into_file()))
            // A group of its own: Ctrl-C in the terminal is for the orchestrator, which then stops its workers.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| WorkersError::NoProgram {
                program: self.program.path.clone(),
                source,
            })?;
        let stdin = child
            .stdin
            .take()
            .ok_or_else(|| std::io::Error::other("a worker without standard input"))?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(listen(stdout, Arc::clone(&self.wakeup)));
        }
        self.started += 1;
        self.workers.push(Worker {
            number,
            device,
            child,
            stdin,
            busy: None,
        });
        Ok(self.workers.len() - 1)
    }

    /// Reads what the workers said since the last look, and finds those that are gone.
    pub fn poll(&mut self) -> std::io::Result<Vec<News>> {
        let mut news = Vec::new();
        let mut gone = Vec::new();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            // Asked before the lines are read: whatever a dead worker said is in the file by then.
            let exit = worker.child.try_wait()?;
            if let Some(busy) = &mut worker.busy {
                let before = busy.read_bytes;
                let Written { lines, garbled } = busy.read_new()?;
                let ended = lines.last().is_some_and(Line::is_last);
                let lost = if let Some(message) = garbled {
                    // Whoever says what nobody understands cannot be trusted with another job.
                    worker.child.start_kill()?;
                    let cause = Cause::Other;
                    Some(Lost { cause, message })
                } else {
                    exit.filter(|_| !ended).map(|status| busy.lost(status))
                };
                if !lines.is_empty() {
                    busy.heard = Instant::now();
                } else if busy.heard.elapsed() > self.silence && !busy.timed_out {
                    busy.timed_out = true;
                    worker.child.start_kill()?;
                }
                let is_over = ended || lost.is_some();
                if !lines.is_empty() || is_over {
                    news.push(News {
                        stage: busy.stage.clone(),
                        attempt: busy.attempt,
                        lines,
                        bytes: busy.read_bytes - before,
                        lost,
                    });
                }
                if is_over {
                    worker.busy = None;
                }
            }
            if exit.is_some() {
                gone.push(index);
            }
        }
        for index in gone.into_iter().rev() {
            self.workers.remove(index);
        }
        Ok(news)
    }

    /// Asks the workers of some stages to stop.
    pub async fn stop(&mut self, which: &dyn Fn(&StageId) -> bool) {
        for worker in &mut self.workers {
            if !worker.busy.as_ref().is_some_and(|busy| which(&busy.stage)) {
                continue;
            }
            if worker.stdin.write_all(b"stop\n").await.is_err() {
                // It is gone already; the next look will say so.
            }
        }
    }

    /// Closes the workers' standard inputs, waits for their end, and kills what does not end.
    pub async fn close(self) {
        for worker in self.workers {
            let Worker { mut child, stdin, .. } = worker;
            drop(stdin);
            if tokio::time::timeout(FAREWELL, child.wait()).await.is_err() && child.kill().await.is_err() {
                // It ended between the two; nothing is left to do.
            }
        }
    }
}

/// Wakes the driver whenever the worker prints something, and once more at its end.
async fn listen(mut stdout: ChildStdout, wakeup: Arc<Notify>) {
    let mut buffer = [0; 256];
    while stdout.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
        wakeup.notify_one();
    }
    wakeup.notify_one();
}

/// Processes that the kernel has killed because the memory was full, since the machine started.
fn oom_kills() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
    count.trim().parse().ok()
}

impl Busy {
    /// Why the worker went away, from how its process ended.
    fn lost(&self, status: ExitStatus) -> Lost {
        use std::os::unix::process::ExitStatusExt as _;
        const SIGKILL: i32 = 9;
        let killed_for_memory = status.signal() == Some(SIGKILL) && oom_kills() > self.oom_kills;
        let told = status.code().and_then(protocol::cause_of_exit);
        let (cause, why) = if self.timed_out {
            (Cause::TimedOut, "it said nothing for too long and was killed")
        } else if killed_for_memory {
            (Cause::OutOfMemory, "the kernel killed it because the memory was full")
        } else {
            (told.unwrap_or(Cause::WorkerLost), "the worker's process ended")
        };
        Lost {
            cause,
            message: format!("{why}: {status}"),
        }
    }

    /// The complete lines since the last look; a torn one is left for the next.
    fn read_new(&mut self) -> std::io::Result<Written> {
        read_from(&self.lines, self.attempt, &mut self.read_bytes)
    }
}
