//! Somebody's table, from a file into columns of text: CSV, Parquet or one JSON object a line.
//!
//! Refuses to know what the columns mean; text keeps what was written, so that a wrong cell can be shown.

use std::collections::BTreeMap;
use std::io::Cursor;

use polars::prelude::{CsvReadOptions, DataFrame, DataType, ParquetReader, PolarsError, SerReader};

/// A table as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextTable {
    /// Each column's cells; none: an empty cell.
    pub columns: BTreeMap<String, Vec<Option<String>>>,
    /// The columns in the order of the file.
    pub names: Vec<String>,
    /// The line of each row in its file, from 1; rows of Parquet count from 1.
    pub lines: Vec<usize>,
}

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Table(#[from] PolarsError),
    /// A line is no JSON object.
    #[error("line {line} is no JSON object: {why}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What the reader says.
        why: String,
    },
    /// The ending of its name tells no format.
    #[error("`.{0}` is no table: csv, parquet and jsonl are")]
    Format(String),
}

/// Reads the bytes of a file whose name ends with `extension`.
pub fn read(bytes: Vec<u8>, extension: &str) -> Result<TextTable, ReadError> {
    match extension {
        "csv" => {
            let options = CsvReadOptions::default().with_infer_schema_length(Some(0));
            let frame = options.into_reader_with_file_handle(Cursor::new(bytes)).finish()?;
            // The head stands in the first line.
            text(&frame, 2)
        }
        "parquet" => text(&ParquetReader::new(Cursor::new(bytes)).finish()?, 1),
        "jsonl" | "ndjson" => json_lines(&String::from_utf8_lossy(&bytes)),
        other => Err(ReadError::Format(other.to_owned())),
    }
}

fn text(frame: &DataFrame, first_line: usize) -> Result<TextTable, ReadError> {
    let (mut columns, mut names) = (BTreeMap::new(), Vec::new());
    for column in frame.columns() {
        let cells = column.cast(&DataType::String)?;
        let cells = cells.str()?.iter().map(|cell| cell.map(str::to_owned)).collect();
        names.push(column.name().trim().to_owned());
        columns.insert(column.name().trim().to_owned(), cells);
    }
    Ok(TextTable {
        columns,
        names,
        lines: (first_line..first_line + frame.height()).collect(),
    })
}

fn json_lines(text: &str) -> Result<TextTable, ReadError> {
    let mut table = TextTable::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let object: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(line).map_err(|error| ReadError::Line {
                line: index + 1,
                why: error.to_string(),
            })?;
        let row = table.lines.len();
        table.lines.push(index + 1);
        for (name, value) in object {
            let cell = match value {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text),
                other => Some(other.to_string()),
            };
            let cells = table.columns.entry(name).or_default();
            cells.resize(row, None);
            cells.push(cell);
        }
    }
    for cells in table.columns.values_mut() {
        cells.resize(table.lines.len(), None);
    }
    table.names = table.columns.keys().cloned().collect();
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(table: &TextTable, column: &str) -> Vec<Option<String>> {
        table.columns[column].clone()
    }

    #[test]
    fn cells_come_as_they_were_written_with_their_lines() {
        let some = |text: &str| Some(text.to_owned());
        let csv = b"N, loss,note\n1e6,2.50,\"a,b\"\n2e6,,x\n".to_vec();
        let table = read(csv, "csv").expect("a table");
        assert_eq!(cells(&table, "N"), [some("1e6"), some("2e6")]);
        assert_eq!(cells(&table, "loss"), [some("2.50"), None]);
        assert_eq!(cells(&table, "note"), [some("a,b"), some("x")]);
        assert_eq!(table.lines, [2, 3]);
        let jsonl = b"{\"N\": 1e6, \"loss\": 2.5}\n\n{\"N\": 2e6, \"tag\": \"x\"}\n".to_vec();
        let table = read(jsonl, "jsonl").expect("a table");
        assert_eq!(cells(&table, "loss"), [some("2.5"), None]);
        assert_eq!(cells(&table, "tag"), [None, some("x")]);
        assert_eq!(table.lines, [1, 3]);
        assert!(read(b"{\"N\": 1}\n[1]\n".to_vec(), "jsonl").is_err());
        assert!(read(Vec::new(), "xlsx").is_err());
    }
}
