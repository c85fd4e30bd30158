//! A table as text: what was written, so that a wrong cell can be shown; and why a file is no table.

use std::collections::BTreeMap;

/// A table as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextTable {
    /// The cells of each column that was read; none: an empty cell.
    pub columns: BTreeMap<String, Vec<Option<String>>>,
    /// All columns in the order of the file, read or not.
    pub names: Vec<String>,
    /// Columns that cannot be read, with the reason.
    pub unreadable: BTreeMap<String, String>,
    /// The line of each row in its file, or its number where a file has no lines; from 1.
    pub lines: Vec<usize>,
    /// What those numbers count.
    pub places: Places,
}

/// What the numbers of rows count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Places {
    #[default]
    Lines,
    Rows,
}

impl Places {
    /// What one of them is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lines => "line",
            Self::Rows => "row",
        }
    }
}

impl TextTable {
    /// Where a row stands: `line 7`.
    pub fn place(&self, row: usize) -> String {
        format!("{} {}", self.places.name(), self.lines[row])
    }
}

/// A row with more or fewer cells than the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ragged {
    /// The line, from 1.
    pub line: usize,
    pub cells: usize,
}

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it is no Parquet that can be read: {0}")]
    Parquet(String),
    #[error("line {line} {why}")]
    Line {
        /// The line, from 1.
        line: usize,
        why: String,
    },
    #[error("row {0} is no JSON object")]
    Row(usize),
    #[error("{} row(s) have another number of cells than the head, which has {head}", rows.len())]
    Ragged { head: usize, rows: Vec<Ragged> },
    /// The ending of its name tells no format.
    #[error("`.{0}` is no table: csv, tsv, txt, json, jsonl, ndjson and parquet are, also packed with gzip or zstd")]
    Format(String),
    #[error("it cannot be unpacked: {0}")]
    Packed(#[from] std::io::Error),
    #[error("unpacked it has more than {0} bytes")]
    TooLarge(u64),
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
}
