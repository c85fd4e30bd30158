//! Reads the documents of a file: whole texts, pieces of a long text, rows of lines and tables.
//!
//! Refuses to know what becomes of them.

use std::io::{self, BufRead, Read as _};
use std::path::Path;

use polars::prelude::{DataType, ParquetReader, SerReader};
use serde_json::Value;

use crate::data::error::DataError;
use crate::data::source::{Format, TextFile};
use crate::packed;

/// A piece of a long text is about this much of it, within the next two limits.
const PIECES: usize = 200;
/// Fewest and most bytes after which a piece of a long text ends at the next blank line.
const PIECE_BYTES: (usize, usize) = (256, 4096);

/// A document of a file, or why a record of it has none.
pub type Record<'a> = Result<&'a str, DataError>;

/// Hears of each record; an error ends the reading.
type Visit<'a> = &'a mut dyn FnMut(Record<'_>) -> Result<(), DataError>;

/// Calls `visit` with each document of a file, in order; empty documents are passed over.
///
/// # Errors
/// A file that cannot be read at all, and what `visit` says. A record that cannot be read is told to `visit`.
pub fn visit(file: &TextFile, text_column: &str, visit: Visit<'_>) -> Result<(), DataError> {
    let path = &file.path;
    let mut some = |record: Record<'_>| match record {
        Ok("") => Ok(()),
        record => visit(record),
    };
    match file.format {
        Format::Text => match read_text(path)? {
            Ok(text) => some(Ok(&text)),
            Err(error) => some(Err(error)),
        },
        Format::LongText => match read_text(path)? {
            Ok(text) => pieces(&text).into_iter().try_for_each(|piece| some(Ok(piece))),
            Err(error) => some(Err(error)),
        },
        Format::Json => visit_json(path, text_column, &mut some),
        Format::Parquet => visit_rows(path, text_column, &mut some),
    }
}

/// A file, unpacked where it is packed.
fn open(path: &Path) -> Result<Box<dyn BufRead>, DataError> {
    packed::unpacked(fs_err::File::open(path)?).map_err(|error| unreadable(path, error))
}

/// What was packed and is damaged says nothing of its file.
fn unreadable(path: &Path, error: io::Error) -> DataError {
    let is_damaged = |kind| matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
    if is_damaged(error.kind()) || error.kind() == io::ErrorKind::Other || error.kind() == io::ErrorKind::InvalidInput {
        let (path, why) = (path.to_owned(), error.to_string());
        return DataError::BadPacked { path, why };
    }
    DataError::Io(error)
}

/// The text of a file, which must be UTF-8: a wrong byte guessed away would be trained on unseen.
fn read_text(path: &Path) -> Result<Result<String, DataError>, DataError> {
    let mut bytes = Vec::new();
    open(path)?
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, error))?;
    Ok(String::from_utf8(bytes).map_err(|error| DataError::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    }))
}

/// Cuts a long text into documents, so that some of them can be held out.
///
/// A piece ends at the first blank line after about a two hundredth of the text, but after 256 to 4096 bytes; if none
/// comes, at a line's end after four times that, or anywhere after sixteen times that.
fn pieces(text: &str) -> Vec<&str> {
    let bytes = (text.len() / PIECES).clamp(PIECE_BYTES.0, PIECE_BYTES.1);
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(piece_end(rest, bytes));
        pieces.push(piece);
        rest = later;
    }
    pieces
}

/// Where the first piece of a text ends.
fn piece_end(text: &str, bytes: usize) -> usize {
    let find = |after: usize, mark: &str, before: usize| -> Option<usize> {
        let after = text.floor_char_boundary(after);
        let before = text.floor_char_boundary(before);
        let found = text.get(after..before)?.find(mark)?;
        Some(after + found + mark.len())
    };
    find(bytes, "\n\n", 4 * bytes)
        .or_else(|| find(4 * bytes, "\n", 16 * bytes))
        .unwrap_or_else(|| text.floor_char_boundary(16 * bytes))
}

/// The documents of a file of JSON: an object a line, or one list of objects.
fn visit_json(path: &Path, column: &str, visit: Visit<'_>) -> Result<(), DataError> {
    let mut reader = open(path)?;
    let mut bytes = Vec::new();
    for line in 1u64.. {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes);
        if read.map_err(|error| unreadable(path, error))? == 0 {
            return Ok(());
        }
        let text = bytes.trim_ascii();
        if text.is_empty() {
            continue;
        }
        if line == 1 && text.starts_with(b"[") {
            reader
                .read_to_end(&mut bytes)
                .map_err(|error| unreadable(path, error))?;
            return visit_list(path, &bytes, column, visit);
        }
        let at = Place { path, line };
        match serde_json::from_slice(text) {
            Ok(row) => visit_row(&row, column, at, visit)?,
            Err(error) => visit(Err(at.bad(error.to_string())))?,
        }
    }
    Ok(())
}

fn visit_list(path: &Path, bytes: &[u8], column: &str, visit: Visit<'_>) -> Result<(), DataError> {
    let rows: Vec<Value> = match serde_json::from_slice(bytes) {
        Ok(rows) => rows,
        Err(error) => {
            let line = error.line() as u64;
            return visit(Err(Place { path, line }.bad(error.to_string())));
        }
    };
    rows.iter().zip(1..).try_for_each(|(row, number)| {
        let at = Place { path, line: number };
        visit_row(row, column, at, visit)
    })
}

/// Where a row stands: its line, or its number in a list.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    line: u64,
}

impl Place<'_> {
    fn bad(self, why: String) -> DataError {
        let (path, line) = (self.path.to_owned(), self.line);
        DataError::BadLine { path, line, why }
    }
}

fn visit_row(row: &Value, column: &str, at: Place<'_>, visit: Visit<'_>) -> Result<(), DataError> {
    match field(row, column) {
        Some(Value::String(text)) => visit(Ok(text)),
        Some(Value::Null) => Ok(()),
        Some(other) => visit(Err(at.bad(format!("`{column}` is no text: {other:.40}")))),
        None => match row.as_object() {
            Some(row) => visit(Err(DataError::NoTextColumn {
                path: at.path.to_owned(),
                line: Some(at.line),
                column: column.to_owned(),
                found: quoted(row.keys()),
            })),
            None => visit(Err(at.bad("is no object with a column of text".to_owned()))),
        },
    }
}

/// The value of a column: `text`, or one inside others, `meta.content`.
fn field<'a>(row: &'a Value, column: &str) -> Option<&'a Value> {
    let whole = row.get(column);
    whole.or_else(|| column.split('.').try_fold(row, |value, name| value.get(name)))
}

/// The documents of a parquet file.
fn visit_rows(path: &Path, column: &str, visit: Visit<'_>) -> Result<(), DataError> {
    let bad = |error: polars::error::PolarsError| DataError::BadParquet {
        path: path.to_owned(),
        why: error.to_string(),
    };
    // polars wants the file itself; the wrapper has already put the path into a failure to open it.
    let file = fs_err::File::open(path)?.into_parts().0;
    let mut reader = ParquetReader::new(file);
    let schema = reader.schema().map_err(bad)?;
    if schema.get(column).is_none() {
        return Err(DataError::NoTextColumn {
            path: path.to_owned(),
            line: None,
            column: column.to_owned(),
            found: quoted(schema.iter_names()),
        });
    }
    let table = reader
        .with_columns(Some(vec![column.to_owned()]))
        .finish()
        .map_err(bad)?;
    let texts = table.column(column).map_err(bad)?;
    if *texts.dtype() != DataType::String {
        return Err(DataError::BadParquet {
            path: path.to_owned(),
            why: format!("column `{column}` holds {} and no text", texts.dtype()),
        });
    }
    let texts = texts.str().map_err(bad)?;
    texts.iter().flatten().try_for_each(|text| visit(Ok(text)))
}

/// Names for a message.
fn quoted<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{}`", name.as_ref())).collect();
    if names.is_empty() {
        "no columns".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Column, DataFrame, ParquetWriter};
    use proptest::prelude::*;

    use super::*;
    use crate::packed::tests::{gzip, zstd};

    fn read(name: &str, bytes: &[u8], format: Format) -> Result<Vec<String>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        read_file(&path, format, "text")
    }

    fn read_file(path: &Path, format: Format, column: &str) -> Result<Vec<String>, DataError> {
        let file = TextFile {
            path: path.to_owned(),
            format,
            set: None,
        };
        let mut documents = Vec::new();
        visit(&file, column, &mut |text| {
            documents.push(text?.to_owned());
            Ok(())
        })?;
        Ok(documents)
    }

    proptest! {
        #[test]
        fn pieces_of_a_long_text_are_the_text(text in "([a-zä]{0,40}\n{0,3}){0,200}") {
            prop_assert_eq!(pieces(&text).concat(), text);
        }
    }

    #[test]
    fn a_long_text_is_cut_at_blank_lines() {
        let paragraph = "word ".repeat(60) + "\n\n";
        let text = paragraph.repeat(50);
        let pieces = pieces(&text);
        assert_eq!(pieces.len(), 50);
        assert!(pieces.iter().all(|piece| piece.ends_with("\n\n")));
    }

    #[test]
    fn lines_give_their_text_column() {
        let lines = b"{\"text\":\"one\",\"x\":1}\n\n{\"text\":\"two\\n\"}\n{\"text\":\"\"}\n{\"text\":null}";
        let documents = read("a.jsonl", lines, Format::Json).unwrap();
        assert_eq!(documents, ["one", "two\n"]);
    }

    #[test]
    fn a_bad_line_is_told_with_its_number() {
        let broken = read("a.jsonl", b"{\"text\":\"a\"}\n{\"te", Format::Json).unwrap_err();
        assert!(broken.to_string().contains("line 2"), "{broken}");
        let number = read("a.jsonl", b"{\"text\":7}", Format::Json).unwrap_err();
        assert_eq!(number.code(), "bad_line");
        let missing = read("a.jsonl", b"\n{\"body\":\"a\"}", Format::Json).unwrap_err();
        assert_eq!(missing.code(), "no_text_column");
        assert!(missing.to_string().contains("line 2"), "{missing}");
        assert!(missing.to_string().contains("`body`"), "{missing}");
    }

    #[test]
    fn packed_files_lists_and_nested_columns_give_their_text() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs_err::write(&path, bytes).unwrap();
            path
        };
        let lines = b"{\"meta\":{\"content\":\"one\"}}\n{\"meta.content\":\"two\"}\n";
        let list = b"[{\"meta\": {\"content\": \"one\"}},\n {\"meta\": {\"content\": \"two\"}}]";
        for path in [
            write("a.jsonl.gz", &gzip(lines)),
            write("b.json.zst", &zstd(lines)),
            write("c.json", list),
        ] {
            let documents = read_file(&path, Format::Json, "meta.content").unwrap();
            assert_eq!(documents, ["one", "two"], "{}", path.display());
        }
        let text = write("d.txt.zst", &zstd(b"a text"));
        assert_eq!(read_file(&text, Format::Text, "text").unwrap(), ["a text"]);
        let cut = write("e.jsonl.gz", &gzip(lines)[..30]);
        let error = read_file(&cut, Format::Json, "text").unwrap_err();
        assert_eq!(error.code(), "bad_packed", "{error}");
        assert!(error.to_string().contains("e.jsonl.gz"), "{error}");
    }

    #[test]
    fn text_that_is_not_utf8_is_told_with_its_place() {
        let error = read("a.txt", b"abc\xff", Format::Text).unwrap_err();
        assert_eq!(error.code(), "not_utf8");
        assert!(error.to_string().contains("offset 3"), "{error}");
    }

    #[test]
    fn tables_give_their_text_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let texts = Column::new("text".into(), [Some("one"), None, Some("two")]);
        let numbers = Column::new("n".into(), [1i64, 2, 3]);
        let mut table = DataFrame::new(3, vec![texts, numbers.clone()]).unwrap();
        let file = fs_err::File::create(&path).unwrap();
        ParquetWriter::new(file).finish(&mut table).unwrap();
        assert_eq!(read_file(&path, Format::Parquet, "text").unwrap(), ["one", "two"]);

        let mut table = DataFrame::new(3, vec![numbers]).unwrap();
        let file = fs_err::File::create(&path).unwrap();
        ParquetWriter::new(file).finish(&mut table).unwrap();
        let error = read_file(&path, Format::Parquet, "text").unwrap_err();
        assert_eq!(error.code(), "no_text_column");
        assert!(error.to_string().contains("`n`"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_table_is_refused() {
        let error = read("a.parquet", b"not a table", Format::Parquet).unwrap_err();
        assert_eq!(error.code(), "bad_parquet");
    }
}
