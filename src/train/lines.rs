//! The worker's own lines: appended to `lines.jsonl`, whole lines at a time.
//!
//! Refuses to know what they say. Points are gathered for a moment, so that a proxy of a thousand steps a second is
//! not slowed down by its record; every other line is written at once.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err::{File, OpenOptions};
use sandbox::protocol::{Line, write_line};

use crate::failure::Failure;

/// How long a point may wait for company.
const PATIENCE: Duration = Duration::from_millis(100);

/// The file of lines of one attempt.
pub(crate) struct Lines {
    file: File,
    /// Named on every line.
    attempt: u32,
    /// Whole lines that are not written yet.
    waiting: Vec<u8>,
    /// When the file was last written to.
    written: Instant,
    has_bell: bool,
}

impl Lines {
    /// Opens the file for appending; `has_bell`: an orchestrator listens on standard output.
    pub(crate) fn open(path: &Path, attempt: u32, has_bell: bool) -> Result<Self, Failure> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file,
            attempt,
            waiting: Vec::new(),
            written: Instant::now(),
            has_bell,
        })
    }

    pub(crate) fn say(&mut self, line: &Line) -> Result<(), Failure> {
        write_line(&mut self.waiting, self.attempt, line).map_err(|error| Failure::from_message(error.to_string()))?;
        let can_wait = matches!(line, Line::Point(_)) && self.written.elapsed() < PATIENCE;
        if !can_wait {
            self.flush()?;
        }
        // Without a bell somebody reads on another machine, and sees nothing of a file before that.
        if line.is_last() || (!self.has_bell && matches!(line, Line::Left { .. } | Line::Started { .. })) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.file.write_all(&self.waiting)?;
        self.waiting.clear();
        self.written = Instant::now();
        self.ring();
        Ok(())
    }

    /// Wakes the orchestrator, if one listens; without it, it looks by itself from time to time.
    fn ring(&self) {
        if self.has_bell {
            let mut stdout = std::io::stdout().lock();
            drop(stdout.write_all(b"\n").and_then(|()| stdout.flush()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox::protocol::{Point, Split, read_lines};

    #[test]
    fn the_last_line_brings_every_waiting_point_along() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines.jsonl");
        let mut lines = Lines::open(&path, 1, false).expect("opens");
        for step in 1..=3 {
            let point = Point {
                step,
                split: Split::train(),
                loss: 1.0,
                lr: Some(0.1),
                grad_norm: Some(1.0),
                bits_per_byte: None,
            };
            lines.say(&Line::Point(point)).expect("says");
        }
        lines.say(&Line::Diverged { step: 3 }).expect("says");
        let text = fs_err::read_to_string(&path).expect("reads");
        let (read, _) = read_lines(&text, 1).expect("lines");
        assert_eq!(read.len(), 4);
        assert_eq!(read[3], Line::Diverged { step: 3 });
    }
}
