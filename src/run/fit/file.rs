//! Somebody's file as a table of text, or why it is none.
//!
//! Refuses to know what its columns mean.

use std::path::Path;

use fs_err as fs;

use crate::run::failure::{At, Failure};
use crate::tables::read::{self, FORMATS, Ragged, ReadError, TextTable};

/// Mistakes that are shown; more of the same would hide the first.
pub(super) const SHOWN: usize = 20;

/// Whether the name of a file is that of a table.
pub fn is_table(path: &Path) -> bool {
    FORMATS.contains(&read::format_of(&name(path)).1.as_str())
}

/// The name of a table's file without its endings.
pub fn stem(path: &Path) -> String {
    read::format_of(&name(path)).0.to_owned()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Reads a file, of Parquet the columns that `is_wanted` accepts; also gives its hash.
pub(super) fn read(path: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Result<(TextTable, String), Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::invalid("missing_file", error.to_string(), ""))?;
    let hash = blake3::hash(&bytes).to_hex().to_string();
    let table = read::read(&bytes, &name(path), is_wanted).map_err(|error| failure(path, &error))?;
    if table.lines.is_empty() {
        let message = format!("`{}` is a table without rows", path.display());
        return Err(Failure::invalid("no_rows", message, "a row for each run, below a head"));
    }
    Ok((table, hash))
}

fn failure(path: &Path, error: &ReadError) -> Failure {
    let message = format!("`{}`: {error}", path.display());
    let ReadError::Ragged { head, rows } = error else {
        return Failure::invalid("bad_table", message, "");
    };
    let hint = "put text that holds the separator between quotes, and leave empty cells where nothing is known";
    let mut failure = Failure::invalid("ragged_rows", message, hint);
    let at = |row: &Ragged| At {
        file: path.display().to_string(),
        line: row.line,
        column: row.cells.min(*head),
        key: String::new(),
        message: format!("{} cells, and {head} in the head", row.cells),
        suggestion: None,
    };
    failure.at = rows.iter().take(SHOWN).map(at).collect();
    failure
}

/// The cells of a column.
pub(super) fn cells<'a>(
    path: &Path,
    table: &'a TextTable,
    name: &str,
    hint: &str,
) -> Result<&'a [Option<String>], Failure> {
    if let Some(cells) = table.columns.get(name) {
        return Ok(cells);
    }
    let file = path.display();
    if let Some(why) = table.unreadable.get(name) {
        let message = format!("`{file}`: column `{name}` {why}");
        return Err(Failure::invalid(
            "unreadable_column",
            message,
            "map another column, or mend this one in the file",
        ));
    }
    let message = format!("`{file}` has no column `{name}`; it has {}", table.names.join(", "));
    Err(Failure::invalid("missing_column", message, hint))
}
