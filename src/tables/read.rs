//! Somebody's table, from the bytes of a file into columns of text, packed or not.
//!
//! Refuses to know what the columns mean.

use std::io::Read as _;

use crate::packed;
pub use crate::tables::text::{Places, Ragged, ReadError, TextTable};
use crate::tables::{json, parquet, separated};

/// The endings of tables.
pub const FORMATS: [&str; 7] = ["csv", "tsv", "txt", "json", "jsonl", "ndjson", "parquet"];
/// More than this is no table of runs: a small file can unpack to any size.
const UNPACKED_MAX: u64 = 1 << 30;

/// The format that the name of a file tells, in small letters, and what stands before it; empty: it tells none.
pub fn format_of(file: &str) -> (&str, String) {
    let stem = packed::stem(file);
    let (stem, ending) = stem.rsplit_once('.').unwrap_or((stem, ""));
    (stem, ending.to_lowercase())
}

/// Reads the bytes of a file of that name. Of Parquet only the columns that `is_wanted` accepts are read.
pub fn read(bytes: &[u8], file: &str, is_wanted: &dyn Fn(&str) -> bool) -> Result<TextTable, ReadError> {
    let bytes = unpacked(bytes)?;
    match format_of(file).1.as_str() {
        // `/dev/stdin`, say, has no ending.
        "csv" | "txt" | "" => separated::read(text(&bytes)?, None),
        "tsv" => separated::read(text(&bytes)?, Some('\t')),
        "json" | "jsonl" | "ndjson" => json::read(text(&bytes)?),
        "parquet" => parquet::read(bytes, is_wanted),
        other => Err(ReadError::Format(other.to_owned())),
    }
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, ReadError> {
    let mut unpacked = Vec::new();
    packed::unpacked(bytes)?
        .take(UNPACKED_MAX + 1)
        .read_to_end(&mut unpacked)?;
    if unpacked.len() as u64 > UNPACKED_MAX {
        return Err(ReadError::TooLarge(UNPACKED_MAX));
    }
    Ok(unpacked)
}

/// The text of a file, without the mark that some programs put before it.
fn text(bytes: &[u8]) -> Result<&str, ReadError> {
    let text = str::from_utf8(bytes).map_err(|error| ReadError::Line {
        line: bytes[..error.valid_up_to()].split(|&byte| byte == b'\n').count(),
        why: "is no text in UTF-8; save the table as that".to_owned(),
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::tests::{gzip, zstd};

    fn all(bytes: &[u8], file: &str) -> Result<TextTable, ReadError> {
        read(bytes, file, &|_| true)
    }

    #[test]
    fn cells_come_as_they_were_written_with_their_lines() {
        let some = |text: &str| Some(text.to_owned());
        let csv = "\u{feff}N, loss,note\n1e6,2.50,\"a,b\"\n2e6,,x\n";
        let table = all(csv.as_bytes(), "runs.CSV").expect("a table");
        assert_eq!(table.columns["N"], [some("1e6"), some("2e6")]);
        assert_eq!(table.columns["loss"], [some("2.50"), None]);
        assert_eq!(table.columns["note"], [some("a,b"), some("x")]);
        assert_eq!(table.lines, [2, 3]);
        assert!(all(b"", "runs.xlsx").is_err());
        let latin = all(b"N,note\n1,a\n2,\xe9\n", "runs.csv").expect_err("no UTF-8");
        assert!(latin.to_string().starts_with("line 3 "), "{latin}");
    }

    #[test]
    fn packed_files_are_unpacked() {
        let text = b"N\tloss\n1e6\t2.5\n";
        for (bytes, file) in [(gzip(text), "runs.tsv.gz"), (zstd(text), "runs.tsv.zst")] {
            let table = all(&bytes, file).expect("a table");
            assert_eq!(table.columns["loss"], [Some("2.5".to_owned())], "{file}");
        }
        assert!(all(&gzip(text)[..20], "runs.tsv.gz").is_err(), "it is cut off");
    }

    #[test]
    fn names_tell_the_format() {
        for (file, stem, format) in [
            ("a.b.csv", "a.b", "csv"),
            ("a.TSV.gz", "a", "tsv"),
            ("a.gz", "a", ""),
            ("a", "a", ""),
        ] {
            assert_eq!(format_of(file), (stem, format.to_owned()), "{file}");
        }
    }
}
