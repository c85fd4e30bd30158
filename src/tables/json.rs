//! Tables in JSON: a list of objects, one object a line, or the log of a run as `transformers` keeps it.

use serde_json::{Map, Value};

use crate::tables::text::{Places, ReadError, TextTable};

/// The list of a `trainer_state.json` of `transformers`.
const LOG_HISTORY: &str = "log_history";

/// Reads a table.
pub(super) fn read(text: &str) -> Result<TextTable, ReadError> {
    let text = &with_null(text);
    if text.trim_start().starts_with('[') {
        return rows(serde_json::from_str(text)?);
    }
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(mut whole) if whole.contains_key(LOG_HISTORY) => {
            let history = whole.remove(LOG_HISTORY).unwrap_or_default();
            rows(serde_json::from_value(history)?)
        }
        Ok(_) | Err(_) => lines(text),
    }
}

fn rows(rows: Vec<Value>) -> Result<TextTable, ReadError> {
    let mut table = TextTable {
        places: Places::Rows,
        ..TextTable::default()
    };
    for (index, row) in rows.into_iter().enumerate() {
        let Value::Object(row) = row else {
            return Err(ReadError::Row(index + 1));
        };
        add(&mut table, index + 1, row.into_iter());
    }
    Ok(filled(table))
}

fn lines(text: &str) -> Result<TextTable, ReadError> {
    let mut table = TextTable::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| ReadError::Line {
            line: index + 1,
            why: format!("is no JSON object: {error}"),
        })?;
        add(&mut table, index + 1, object.into_iter());
    }
    Ok(filled(table))
}

/// Adds a row; columns may begin anywhere.
fn add(table: &mut TextTable, line: usize, row: impl Iterator<Item = (String, Value)>) {
    let before = table.lines.len();
    table.lines.push(line);
    for (name, value) in row {
        let cell = match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        let cells = table.columns.entry(name).or_default();
        cells.resize(before, None);
        cells.push(cell);
    }
}

/// The same with all columns of one length.
fn filled(mut table: TextTable) -> TextTable {
    for cells in table.columns.values_mut() {
        cells.resize(table.lines.len(), None);
    }
    table.names = table.columns.keys().cloned().collect();
    table
}

/// The same with `null` for the NaN and Infinity of Python's writer, which JSON does not know.
fn with_null(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    // Between quotes everything is text; behind a backslash a quote is, too.
    for (index, part) in quoted_apart(text).into_iter().enumerate() {
        if index % 2 == 1 {
            found.push_str(part);
        } else {
            let part = part.replace("-Infinity", "null").replace("Infinity", "null");
            found.push_str(&part.replace("NaN", "null"));
        }
    }
    found
}

/// The text outside of quotes, between them (with both), outside, and so on.
fn quoted_apart(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, letter) in text.bytes().enumerate() {
        if is_escaped {
            is_escaped = false;
        } else if is_quoted && letter == b'\\' {
            is_escaped = true;
        } else if letter == b'"' {
            let end = if is_quoted { at + 1 } else { at };
            parts.push(&text[from..end]);
            (from, is_quoted) = (end, !is_quoted);
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_lines_and_logs_are_tables() {
        let texts = [
            r#"[{"N": 1e6, "loss": 2.5}, {"N": 2e6, "tag": "NaN \" NaN", "loss": NaN}]"#,
            "{\"N\": 1e6, \"loss\": 2.5}\n\n{\"N\": 2e6, \"tag\": \"NaN \\\" NaN\", \"loss\": NaN}\n",
            r#"{"log_history": [{"N": 1e6, "loss": 2.5}, {"N": 2e6, "tag": "NaN \" NaN"}], "best": null}"#,
        ];
        let lines = [[1, 2], [1, 3], [1, 2]];
        for (text, lines) in texts.into_iter().zip(lines) {
            let table = read(text).expect("a table");
            assert_eq!(table.columns["loss"], [Some("2.5".to_owned()), None], "{text}");
            assert_eq!(table.columns["tag"], [None, Some("NaN \" NaN".to_owned())], "{text}");
            assert_eq!(table.lines, lines, "{text}");
        }
        assert!(read("{\"N\": 1}\n[1]\n").is_err_and(|why| why.to_string().starts_with("line 2 ")));
        assert!(read("[{}, 1]").is_err_and(|why| why.to_string().starts_with("row 2 ")));
    }
}
