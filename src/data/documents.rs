//! Reads the documents of a file: whole texts, pieces of a long text, rows of lines and tables.
//!
//! Refuses to know what becomes of them.

use std::io::{BufRead, BufReader};
use std::path::Path;

use polars::prelude::{DataType, ParquetReader, SerReader};

use crate::data::error::DataError;
use crate::data::source::{Format, TextFile};

/// A piece of a long text is about this much of it, within the next two limits.
const PIECES: usize = 200;
/// Fewest and most bytes after which a piece of a long text ends at the next blank line.
const PIECE_BYTES: (usize, usize) = (256, 4096);

/// Calls `visit` with each document of a file, in order; empty documents are passed over.
pub fn visit(
    file: &TextFile,
    text_column: &str,
    visit: &mut dyn FnMut(&str) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let path = &file.path;
    let mut some = |text: &str| if text.is_empty() { Ok(()) } else { visit(text) };
    match file.format {
        Format::Text => some(&read_text(path)?),
        Format::LongText => pieces(&read_text(path)?).into_iter().try_for_each(some),
        Format::JsonLines => visit_lines(path, text_column, &mut some),
        Format::Parquet => visit_rows(path, text_column, &mut some),
    }
}

/// The text of a file, which must be UTF-8: a wrong byte guessed away would be trained on unseen.
fn read_text(path: &Path) -> Result<String, DataError> {
    String::from_utf8(fs_err::read(path)?).map_err(|error| DataError::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
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

/// The documents of a file of JSON lines.
fn visit_lines(
    path: &Path,
    column: &str,
    visit: &mut dyn FnMut(&str) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut reader = BufReader::new(fs_err::File::open(path)?);
    let mut bytes = Vec::new();
    for line in 1u64.. {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let bad = |why: String| DataError::BadLine {
            path: path.to_owned(),
            line,
            why,
        };
        let row: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        match row.get(column) {
            Some(serde_json::Value::String(text)) => visit(text)?,
            Some(serde_json::Value::Null) => {}
            Some(other) => return Err(bad(format!("`{column}` is no text: {other:.40}"))),
            None => {
                return Err(DataError::NoTextColumn {
                    path: path.to_owned(),
                    line: Some(line),
                    column: column.to_owned(),
                    found: quoted(row.keys()),
                });
            }
        }
    }
    Ok(())
}

/// The documents of a parquet file.
fn visit_rows(
    path: &Path,
    column: &str,
    visit: &mut dyn FnMut(&str) -> Result<(), DataError>,
) -> Result<(), DataError> {
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
    texts.iter().flatten().try_for_each(visit)
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

    fn read(name: &str, bytes: &[u8], format: Format) -> Result<Vec<String>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        read_file(&path, format)
    }

    fn read_file(path: &Path, format: Format) -> Result<Vec<String>, DataError> {
        let file = TextFile {
            path: path.to_owned(),
            format,
            set: None,
        };
        let mut documents = Vec::new();
        visit(&file, "text", &mut |text| {
            documents.push(text.to_owned());
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
        let documents = read("a.jsonl", lines, Format::JsonLines).unwrap();
        assert_eq!(documents, ["one", "two\n"]);
    }

    #[test]
    fn a_bad_line_is_told_with_its_number() {
        let broken = read("a.jsonl", b"{\"text\":\"a\"}\n{\"te", Format::JsonLines).unwrap_err();
        assert!(broken.to_string().contains("line 2"), "{broken}");
        let number = read("a.jsonl", b"{\"text\":7}", Format::JsonLines).unwrap_err();
        assert_eq!(number.code(), "bad_line");
        let missing = read("a.jsonl", b"\n{\"body\":\"a\"}", Format::JsonLines).unwrap_err();
        assert_eq!(missing.code(), "no_text_column");
        assert!(missing.to_string().contains("line 2"), "{missing}");
        assert!(missing.to_string().contains("`body`"), "{missing}");
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
        assert_eq!(read_file(&path, Format::Parquet).unwrap(), ["one", "two"]);

        let mut table = DataFrame::new(3, vec![numbers]).unwrap();
        let file = fs_err::File::create(&path).unwrap();
        ParquetWriter::new(file).finish(&mut table).unwrap();
        let error = read_file(&path, Format::Parquet).unwrap_err();
        assert_eq!(error.code(), "no_text_column");
        assert!(error.to_string().contains("`n`"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_table_is_refused() {
        let error = read("a.parquet", b"not a table", Format::Parquet).unwrap_err();
        assert_eq!(error.code(), "bad_parquet");
    }
}
