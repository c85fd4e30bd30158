//! What a worker wrote since the last look: read from the file of its attempt, complete lines only.
//!
//! Refuses to know what a line means, and whether its worker lives.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use fs_err as fs;

use crate::protocol::{self, Cause, Line};
use crate::units::StageId;

/// What became of one attempt since the last look.
#[derive(Debug)]
pub struct News {
    pub stage: StageId,
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
pub(super) fn read_from(path: &Path, attempt: u32, from: &mut u64) -> std::io::Result<Written> {
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
