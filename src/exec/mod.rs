//! Workers, wherever they are: they are given jobs, and what they say is read.
//!
//! Refuses to know what a job means and where results are kept.

pub mod local;
pub mod pool;
pub mod slurm;

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::exec::pool::PoolError;
use crate::protocol::{self, Cause, Line};
use crate::units::StageId;

/// What became of one attempt since the last look.
#[derive(Debug)]
pub struct News {
    /// The stage.
    pub stage: StageId,
    /// Which attempt.
    pub attempt: u32,
    /// What the worker said.
    pub lines: Vec<Line>,
    /// Its bytes.
    pub bytes: u64,
    /// The worker went away without a last word.
    pub lost: Option<Lost>,
}

/// How a worker went away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The cause, as far as the system tells it.
    pub cause: Cause,
    /// What to read.
    pub message: String,
}

/// What a worker has written since the last look.
#[derive(Debug, Default)]
pub struct Written {
    /// Its complete lines; a torn last one is left for later.
    pub lines: Vec<Line>,
    /// What nobody understands: then there are no lines.
    pub garbled: Option<String>,
}

/// The lines of an attempt from a byte of its file on, which moves behind them.
fn read_from(path: &Path, attempt: u32, from: &mut u64) -> std::io::Result<Written> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Written::default()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(*from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    // On NFS a file may grow before what stands in it arrives; the gap reads as zeros, which no line holds.
    if let Some(gap) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(gap);
    }
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let read = std::str::from_utf8(&bytes[..complete])
        .map_err(|error| error.to_string())
        .and_then(|text| protocol::read_lines(text, attempt).map_err(|error| error.to_string()));
    Ok(match read {
        Ok((lines, used)) => {
            *from += used as u64;
            Written { lines, garbled: None }
        }
        Err(message) => Written {
            lines: Vec::new(),
            garbled: Some(message),
        },
    })
}

/// The lines of an attempt whose worker is gone.
pub fn left_behind(folder: &Path, attempt: u32) -> std::io::Result<Written> {
    read_from(&folder.join(protocol::LINES_FILE), attempt, &mut 0)
}

/// A pool of workers, of whatever kind.
#[derive(Debug)]
pub enum Workers {
    /// Processes of this machine.
    Local(local::Pool),
    /// Jobs on a cluster.
    Slurm(Box<pool::Pool>),
}

/// Why workers cannot be had, or go on no longer.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// The worker's program does not start here.
    #[error("the worker `{}` cannot be started: {source}", program.display())]
    NoProgram {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The disk does not do what is asked.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The cluster does not.
    #[error(transparent)]
    Cluster(PoolError),
}

impl From<PoolError> for WorkersError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Io(error) => Self::Io(error),
            other => Self::Cluster(other),
        }
    }
}

impl Workers {
    /// Waits until some worker has something to say; where none can ring, for ever.
    pub async fn wakeup(&self) {
        match self {
            Self::Local(pool) => pool.wakeup().await,
            Self::Slurm(_) => std::future::pending().await,
        }
    }

    /// Hands a job to a worker; `device` is its place in the limits.
    pub async fn launch(
        &mut self,
        stage: StageId,
        attempt: u32,
        device: usize,
        job: &Path,
    ) -> Result<(), WorkersError> {
        match self {
            Self::Local(pool) => pool.launch(stage, attempt, device, job).await,
            Self::Slurm(pool) => Ok(pool.launch(stage, attempt, job)?),
        }
    }

    /// The number of the worker that the next launch on the device will use; none: the first that comes.
    pub fn next_worker(&self, device: usize) -> Option<usize> {
        match self {
            Self::Local(pool) => Some(pool.next_worker(device)),
            Self::Slurm(pool) => pool.next_worker(),
        }
    }

    /// Reads what the workers said since the last look, and finds those that are gone.
    pub fn poll(&mut self) -> Result<Vec<News>, WorkersError> {
        match self {
            Self::Local(pool) => Ok(pool.poll()?),
            Self::Slurm(pool) => Ok(pool.poll()?),
        }
    }

    /// What people want to know of the workers that wait, and of what went wrong with them, where it has changed.
    pub fn word(&mut self) -> Option<String> {
        match self {
            Self::Local(_) => None,
            Self::Slurm(pool) => pool.word(),
        }
    }

    /// Asks the workers of some stages to stop.
    pub async fn stop(&mut self, which: &dyn Fn(&StageId) -> bool) -> Result<(), WorkersError> {
        match self {
            Self::Local(pool) => pool.stop(which).await,
            Self::Slurm(pool) => pool.stop(which)?,
        }
        Ok(())
    }

    /// Asks every worker to stop what it does.
    pub async fn stop_all(&mut self) -> Result<(), WorkersError> {
        self.stop(&|_| true).await
    }

    /// Ends the workers; gives what is to be said of those that may not have ended.
    pub async fn close(self) -> Result<Option<String>, WorkersError> {
        match self {
            Self::Local(pool) => {
                pool.close().await;
                Ok(None)
            }
            Self::Slurm(pool) => Ok(pool.close().await?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_lines_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(protocol::LINES_FILE);
        let mut text = Vec::new();
        for step in 0..2 {
            protocol::write_line(&mut text, 1, &Line::Diverged { step }).expect("JSON");
        }
        let half = text.len() / 2;
        let mut torn = text.clone();
        torn[half - 3..half + 5].fill(0);
        fs::write(&path, &torn).expect("written");
        let mut from = 0;
        assert_eq!(read_from(&path, 1, &mut from).expect("read").lines, []);
        fs::write(&path, &text).expect("written");
        assert_eq!(read_from(&path, 1, &mut from).expect("read").lines.len(), 2);
        assert_eq!(from, text.len() as u64);
        fs::write(&path, "no line\n").expect("written");
        let written = left_behind(folder.path(), 1).expect("read");
        assert!(written.lines.is_empty() && written.garbled.is_some());
    }
}
