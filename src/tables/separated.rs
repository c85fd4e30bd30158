//! Tables of separated values: by comma, semicolon or tab, with quotes as RFC 4180 has them.
//!
//! Refuses to guess what a row with a cell too many or too few has meant.

use std::collections::BTreeMap;

use crate::tables::text::{Places, Ragged, ReadError, TextTable};

/// What may stand between cells; of two that are as frequent in the head the first.
const SEPARATORS: [char; 3] = [',', ';', '\t'];
/// A first line by which spreadsheets name the separator.
const NAMED: &str = "sep=";

/// Reads a table; without a separator it is the one that the head has most of.
pub(super) fn read(text: &str, separator: Option<char>) -> Result<TextTable, ReadError> {
    let (text, first, named) = without_name(text);
    let separator = separator.or(named).unwrap_or_else(|| most_frequent(text));
    let mut records = Records {
        rest: text,
        line: first,
        separator,
    };
    let Some(head) = records.next_record()? else {
        return Ok(TextTable::default());
    };
    let names: Vec<String> = head
        .cells
        .into_iter()
        .map(|cell| cell.unwrap_or_default().trim().to_owned())
        .collect();
    let mut cells: Vec<Vec<Option<String>>> = vec![Vec::new(); names.len()];
    let (mut lines, mut ragged) = (Vec::new(), Vec::new());
    while let Some(record) = records.next_record()? {
        if record.cells.len() != names.len() {
            ragged.push(Ragged {
                line: record.line,
                cells: record.cells.len(),
            });
            continue;
        }
        lines.push(record.line);
        for (column, cell) in cells.iter_mut().zip(record.cells) {
            column.push(cell);
        }
    }
    if !ragged.is_empty() {
        let head = names.len();
        return Err(ReadError::Ragged { head, rows: ragged });
    }
    let (mut columns, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
    for (name, cells) in names.iter().zip(cells) {
        if columns.insert(name.clone(), cells).is_some() {
            unreadable.insert(name.clone(), "stands twice in the head".to_owned());
        }
    }
    columns.retain(|name, _| !unreadable.contains_key(name));
    Ok(TextTable {
        columns,
        names,
        unreadable,
        lines,
        places: Places::Lines,
    })
}

/// The text behind a line that names the separator, the number of its first line, and that separator.
fn without_name(text: &str) -> (&str, usize, Option<char>) {
    let named = text.strip_prefix(NAMED).and_then(|rest| {
        let separator = rest.chars().next()?;
        let rest = &rest[separator.len_utf8()..];
        let rest = rest.strip_prefix('\r').unwrap_or(rest).strip_prefix('\n')?;
        Some((rest, 2, Some(separator)))
    });
    named.unwrap_or((text, 1, None))
}

fn most_frequent(text: &str) -> char {
    let head = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let count = |separator: char| {
        let mut is_quoted = false;
        head.chars()
            .filter(|&letter| {
                is_quoted ^= letter == '"';
                letter == separator && !is_quoted
            })
            .count()
    };
    let mut most = SEPARATORS[0];
    for other in SEPARATORS {
        if count(other) > count(most) {
            most = other;
        }
    }
    most
}

/// The cells of a row, and the line in which it begins.
struct Record {
    line: usize,
    cells: Vec<Option<String>>,
}

/// What follows a cell.
#[derive(PartialEq)]
enum Next {
    Cell,
    Row,
}

struct Records<'a> {
    rest: &'a str,
    line: usize,
    separator: char,
}

impl Records<'_> {
    /// The next row that is not blank.
    fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        while !self.rest.is_empty() {
            let line = self.line;
            let mut cells = Vec::new();
            loop {
                let (cell, next) = self.cell()?;
                cells.push((!cell.is_empty()).then_some(cell));
                if next == Next::Row {
                    break;
                }
            }
            let is_blank = matches!(&cells[..], [cell] if cell.as_deref().unwrap_or_default().trim().is_empty());
            if !is_blank {
                return Ok(Some(Record { line, cells }));
            }
        }
        Ok(None)
    }

    fn cell(&mut self) -> Result<(String, Next), ReadError> {
        let quoted = self.rest.trim_start_matches(' ').strip_prefix('"');
        let mut cell = String::new();
        if let Some(rest) = quoted {
            self.rest = rest;
            cell = self.quoted()?;
        }
        let (separator, length) = (self.separator, self.rest.len());
        let end = self.rest.find([separator, '\n']).unwrap_or(length);
        let (plain, rest) = self.rest.split_at(end);
        let next = if rest.starts_with(separator) {
            Next::Cell
        } else {
            Next::Row
        };
        let plain = if next == Next::Row {
            plain.strip_suffix('\r').unwrap_or(plain)
        } else {
            plain
        };
        // Between a closing quote and the separator, spaces are nothing.
        cell.push_str(if quoted.is_some() { plain.trim_end() } else { plain });
        let mut rest = rest.chars();
        if rest.next() == Some('\n') {
            self.line += 1;
        }
        self.rest = rest.as_str();
        Ok((cell, next))
    }

    /// The text up to the closing quote; a doubled quote is one.
    fn quoted(&mut self) -> Result<String, ReadError> {
        let opened = self.line;
        let mut text = String::new();
        loop {
            let Some((part, rest)) = self.rest.split_once('"') else {
                return Err(ReadError::Line {
                    line: opened,
                    why: "opens a quote that nothing closes".to_owned(),
                });
            };
            self.line += part.matches('\n').count();
            text.push_str(part);
            self.rest = rest;
            let Some(rest) = self.rest.strip_prefix('"') else {
                return Ok(text);
            };
            text.push('"');
            self.rest = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> TextTable {
        read(text, None).expect("a table")
    }

    fn column(table: &TextTable, name: &str) -> Vec<String> {
        table.columns[name]
            .iter()
            .map(|cell| cell.clone().unwrap_or_default())
            .collect()
    }

    #[test]
    fn separators_are_told_by_the_head() {
        for text in ["N,D,loss\n1,2,3\n", "N;D;loss\n1;2;3\n", "N\tD\tloss\r\n1\t2\t3\r\n"] {
            let table = table(text);
            assert_eq!(table.names, ["N", "D", "loss"], "{text}");
            assert_eq!(column(&table, "loss"), ["3"], "{text}");
        }
        let named = table("sep=;\nN;D\n1;2\n");
        assert_eq!(
            (&named.names[..], &named.lines[..]),
            (&["N".into(), "D".into()][..], &[3][..])
        );
        assert_eq!(table("\"a;b;c\",N\nx,1\n").names, ["a;b;c", "N"]);
    }

    #[test]
    fn quotes_hold_separators_quotes_and_lines() {
        let table = table("N,\"val,loss\"\n\n1,\"2,5\"\n2, \"a \"\"b\"\"\nc\" \n3,x");
        assert_eq!(column(&table, "val,loss"), ["2,5", "a \"b\"\nc", "x"]);
        assert_eq!(table.lines, [3, 4, 6]);
        let open = read("N,D,loss\n\"1e7,2e8,3.1\n2e7,3e8,3.1\n", None).expect_err("it is open");
        assert_eq!(open.to_string(), "line 2 opens a quote that nothing closes");
    }

    #[test]
    fn ragged_rows_and_columns_of_one_name_are_named() {
        let Err(ReadError::Ragged { head, rows }) = read("a,b,c\n1,2\n1,2,3\n1,2,3,4\n", None) else {
            unreachable!("two rows are ragged");
        };
        let rows: Vec<(usize, usize)> = rows.iter().map(|row| (row.line, row.cells)).collect();
        assert_eq!((head, rows), (3, vec![(2, 2), (4, 4)]));
        let twice = table("a,b,a\n1,2,3\n");
        assert!(!twice.columns.contains_key("a") && twice.unreadable.contains_key("a"));
    }
}
