//! Local workers: long-lived processes that take one job after another.
//!
//! Refuses to know what a job means and where results are kept. A worker gets the path of a job file on its standard
//! input and answers in the lines of the attempt's folder; when its standard input closes, its orchestrator is gone
//! and it stops by itself.

use std::ffi::OsString;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fs_err as fs;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};

use crate::units::StageId;
use crate::wire::{self, Line};
use crate::workdir::Workdir;

/// How to start a worker.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// What became of one attempt since the last look.
#[derive(Debug)]
pub struct News {
    /// The stage.
    pub stage: StageId,
    /// Which attempt.
    pub attempt: u32,
    /// What the worker said.
    pub lines: Vec<Line>,
    /// The worker went away without a last word; how its process ended.
    pub lost: Option<String>,
}

/// A job that a worker has.
#[derive(Debug)]
struct Busy {
    stage: StageId,
    attempt: u32,
    lines: PathBuf,
    read_bytes: u64,
}

#[derive(Debug)]
struct Worker {
    number: usize,
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
}

/// How long a worker may take to end by itself after its standard input was closed.
const FAREWELL: Duration = Duration::from_secs(10);

impl Pool {
    /// A pool without a worker yet; each is started when there is work for it.
    pub fn new(program: Program, workdir: Workdir) -> Self {
        Self {
            program,
            workdir,
            workers: Vec::new(),
            started: 0,
        }
    }

    /// Hands a job to an idle worker, or to a new one; gives the worker's number.
    pub async fn launch(&mut self, stage: StageId, attempt: u32, job: &Path) -> std::io::Result<usize> {
        let index = match self.workers.iter().position(|worker| worker.busy.is_none()) {
            Some(index) => index,
            None => self.start()?,
        };
        let worker = &mut self.workers[index];
        let lines = job.with_file_name(wire::LINES_FILE);
        worker.busy = Some(Busy {
            stage,
            attempt,
            lines,
            read_bytes: 0,
        });
        let message = format!("{}\n", job.display());
        // A worker that died idle is found at the next look, as lost.
        if let Err(error) = worker.stdin.write_all(message.as_bytes()).await
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            return Err(error);
        }
        Ok(worker.number)
    }

    /// The number of the worker that the next launch will use.
    pub fn next_worker(&self) -> usize {
        self.workers
            .iter()
            .find(|worker| worker.busy.is_none())
            .map_or(self.started, |worker| worker.number)
    }

    fn start(&mut self) -> std::io::Result<usize> {
        let number = self.started;
        let log = self.workdir.worker_log(number);
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(&self.program.path)
            .args(&self.program.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log.into_file()))
            // A group of its own: Ctrl-C in the terminal is for the orchestrator, which then stops its workers.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child
            .stdin
            .take()
            .ok_or_else(|| std::io::Error::other("a worker without standard input"))?;
        self.started += 1;
        self.workers.push(Worker {
            number,
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
                let lines = busy.read_new()?;
                let ended = lines.last().is_some_and(Line::is_last);
                let lost = exit
                    .filter(|_| !ended)
                    .map(|status| format!("the worker's process ended: {status}"));
                if !lines.is_empty() || lost.is_some() {
                    news.push(News {
                        stage: busy.stage.clone(),
                        attempt: busy.attempt,
                        lines,
                        lost: lost.clone(),
                    });
                }
                if ended || lost.is_some() {
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

    /// Asks every worker to stop what it does.
    pub async fn stop(&mut self) {
        for worker in &mut self.workers {
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

impl Busy {
    /// The complete lines since the last look; a torn one is left for the next.
    fn read_new(&mut self) -> std::io::Result<Vec<Line>> {
        let mut file = match fs::File::open(&self.lines) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.read_bytes))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = std::str::from_utf8(&bytes[..complete]).map_err(std::io::Error::other)?;
        let (lines, used) = wire::read_lines(text).map_err(std::io::Error::other)?;
        self.read_bytes += used as u64;
        Ok(lines)
    }
}
