//! Reads jobs from standard input, one path a line; `stop` ends the current job, the end of the stream ends the worker.
//!
//! Refuses to know what a job is.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// The line that asks for a clean stop of every job named so far.
const STOP: &str = "stop";
/// Stops all jobs, also those to come: the orchestrator is gone.
const ALL: u64 = u64::MAX;

/// The jobs as they arrive.
pub(crate) struct StdinJobs {
    paths: Receiver<PathBuf>,
    /// Jobs up to this number (from 1) are to stop.
    stop_before: Arc<AtomicU64>,
    /// Number of the job taken last.
    taken: u64,
}

impl StdinJobs {
    /// Listens on a stream in a thread of its own, so that a stop is heard while a job runs.
    pub(crate) fn listen(stream: impl BufRead + Send + 'static) -> Self {
        let (sender, paths) = channel();
        let stop_before = Arc::new(AtomicU64::new(0));
        let stop = Arc::clone(&stop_before);
        std::thread::spawn(move || {
            let mut received = 0;
            for line in stream.lines() {
                // A stream that cannot be read is as good as closed.
                let Ok(line) = line else { break };
                match line.trim() {
                    "" => {}
                    STOP => stop.store(received, Ordering::Release),
                    path => {
                        received += 1;
                        if sender.send(PathBuf::from(path)).is_err() {
                            break;
                        }
                    }
                }
            }
            stop.store(ALL, Ordering::Release);
        });
        Self {
            paths,
            stop_before,
            taken: 0,
        }
    }

    /// The next job's file; none once the stream is closed.
    pub(crate) fn next(&mut self) -> Option<PathBuf> {
        let path = self.paths.recv().ok()?;
        self.taken += 1;
        Some(path)
    }

    /// Whether the job taken last is to stop.
    pub(crate) fn stopped(&self) -> bool {
        self.taken <= self.stop_before.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_the_jobs_before_it_and_silence_ends_all() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let mut inbox = StdinJobs::listen(std::io::BufReader::new(reader));
        let mut say = |text: &str| std::io::Write::write_all(&mut writer, text.as_bytes());
        say("a.json\nstop\nb.json\n").expect("writes");
        assert_eq!(inbox.next(), Some(PathBuf::from("a.json")));
        assert_eq!(inbox.next(), Some(PathBuf::from("b.json")));
        assert!(!inbox.stopped(), "the stop was for a.json");
        drop(writer);
        assert_eq!(inbox.next(), None);
        assert!(inbox.stopped());
    }
}
