//! The end of a file that grows.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use fs_err as fs;

/// Bytes from the end that are looked at.
const BYTES: u64 = 64 * 1024;
/// Lines that are given.
const LINES: usize = 200;

/// The last whole lines of a file.
pub(super) fn last_lines(path: &Path) -> std::io::Result<Vec<String>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // Where it does not start at the beginning, the first line is a part of one.
    let lines: Vec<&str> = text.lines().skip(usize::from(from > 0)).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    Ok(last.iter().map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_file_starts_with_a_whole_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
        fs::write(&path, text).expect("written");
        let lines = last_lines(&path).expect("readable");
        assert_eq!(
            (lines.len(), lines[0].as_str(), lines[199].as_str()),
            (200, "line 19800", "line 19999")
        );
        let long = format!("{}\nend", "x".repeat(70_000));
        fs::write(&path, long).expect("written");
        assert_eq!(last_lines(&path).expect("readable"), ["end"]);
        fs::write(&path, "").expect("written");
        assert!(last_lines(&path).expect("readable").is_empty());
    }
}
