//! Where words go: one JSON value on stdout, or lines and tables for people; failures on both.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use crate::run::failure::Failure;

/// How the user wants to be spoken to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether a calm display may move on stderr.
    pub(super) fn is_terminal(self) -> bool {
        !self.json && !self.quiet && std::io::stderr().is_terminal()
    }

    /// Whether a program listens.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result: as JSON, as ids, or as people read it.
    pub(super) fn result<T: Serialize>(
        self,
        value: &T,
        ids: &[String],
        human: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string(value).map_err(std::io::Error::other)?
        } else if self.quiet {
            ids.join("\n")
        } else {
            human()
        };
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            return Ok(());
        }
        match writeln!(std::io::stdout().lock(), "{text}") {
            // Whoever read has read enough (`sandbox … | head`), or has closed the terminal.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe || is_gone(&error) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Says something beside the result.
    pub(super) fn note(self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// Says something that only people need.
    pub(super) fn aside(self, text: &str) {
        if !self.json {
            self.note(text);
        }
    }

    /// Prints what went wrong.
    pub(super) fn failure(self, failure: &Failure) {
        if self.json {
            let value = serde_json::json!({ "error": failure });
            if writeln!(std::io::stdout().lock(), "{value}").is_err() {
                // Nobody listens any more; the exit code still tells.
            }
        }
        let mut text = format!("error: {}", failure.message);
        for at in &failure.at {
            text.push_str(&format!("\n  {}:{}:{}: {}", at.file, at.line, at.column, at.message));
            if let Some(suggestion) = &at.suggestion {
                text.push_str(&format!("\n      try: {suggestion}"));
            }
        }
        for hint in &failure.hints {
            text.push_str(&format!("\nhint: {hint}"));
        }
        say(&text);
    }
}

fn say(text: &str) {
    if writeln!(std::io::stderr().lock(), "{text}").is_err() {
        // Without a stderr there is nobody to tell.
    }
}

/// Below so many columns a terminal is narrow.
pub(super) const NARROW: usize = 80;

/// The columns of a terminal; none: it is none, or does not tell.
pub(super) fn terminal_width(stream: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// A table for people. On a narrow terminal where it does not fit, each row is a card.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    laid_out(head, rows, terminal_width(std::io::stdout()))
}

fn laid_out(head: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let text = in_columns(head, rows);
    let fits = |width: usize| text.lines().all(|line| line.chars().count() <= width);
    match width.filter(|&width| width < NARROW && !fits(width)) {
        Some(width) => cards(head, rows, width),
        None => text,
    }
}

/// A row each: its first cell, and below it the others with their names, as many on a line as fit.
fn cards(head: &[&str], rows: &[Vec<String>], width: usize) -> String {
    const INDENT: &str = "  ";
    let mut lines = Vec::new();
    for row in rows {
        let title = format!("{} {}", head[0], row[0]);
        lines.push(title.trim().to_owned());
        let mut line = String::new();
        for (name, cell) in head.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty()) {
            let pair = format!("{name} {cell}");
            let pair = pair.trim();
            if !line.is_empty() && INDENT.len() + line.chars().count() + 2 + pair.chars().count() > width {
                lines.push(format!("{INDENT}{line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push_str(", ");
            }
            line.push_str(pair);
        }
        if !line.is_empty() {
            lines.push(format!("{INDENT}{line}"));
        }
    }
    lines.join("\n")
}

/// Columns as wide as they need, numbers to the right.
fn in_columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let is_number = |column: usize| rows.iter().all(|row| reads_as_number(&row[column]));
    let right: Vec<bool> = (0..head.len()).map(is_number).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .zip(&right)
            .map(|((cell, &width), &right)| {
                let space = " ".repeat(width - cell.chars().count());
                if right {
                    format!("{space}{cell}")
                } else {
                    format!("{cell}{space}")
                }
            })
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut text = line(head.to_vec());
    for row in rows {
        text.push('\n');
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// Whether a cell is a number with a unit, and not a name that begins with a digit: those have words in them.
fn reads_as_number(cell: &str) -> bool {
    let begins = cell.starts_with(|c: char| c.is_ascii_digit() || "-+–".contains(c));
    let mut letters = 0;
    let has_word = cell.chars().any(|c| {
        letters = if c.is_alphabetic() { letters + 1 } else { 0 };
        letters > 2
    });
    cell.is_empty() || (begins && !has_word)
}

/// A number as people read it, or a dash where it is missing.
pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// Whether the terminal that was written to is closed.
fn is_gone(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_does_not_fit_a_narrow_terminal_is_cards() {
        let rows = [
            ["6K-lr0.01-tokens200000", "complete", "5,968", "", "3.2108"],
            ["6K-lr0.02-tokens200000", "diverged", "5,968", "oh", "–"],
        ];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let head = ["trial", "state", "params", "why", "final loss"];
        let wide = laid_out(&head, &rows, Some(140));
        assert_eq!(laid_out(&head, &rows, None), wide, "a file has no width");
        assert_eq!(wide.lines().count(), 3);
        assert!(
            wide.starts_with("trial  ") && wide.contains("  params  "),
            "names to the left: {wide}"
        );
        let narrow = laid_out(&head, &rows, Some(40));
        let lines: Vec<&str> = narrow.lines().collect();
        assert_eq!(lines[0], "trial 6K-lr0.01-tokens200000");
        assert_eq!(lines[1], "  state complete, params 5,968");
        assert_eq!(lines[2], "  final loss 3.2108");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{narrow}");
        assert!(narrow.contains("why oh"), "{narrow}");
        assert_eq!(
            laid_out(&head[..2], &[rows[0][..2].to_vec()], Some(40)).lines().count(),
            2,
            "it fits"
        );
    }
}
