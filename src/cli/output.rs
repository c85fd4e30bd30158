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
            // Whoever read has read enough (`sandbox … | head`).
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
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

/// A table for people: columns as wide as they need, numbers to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let is_number = |column: usize| {
        rows.iter().all(|row| {
            row[column].starts_with(|c: char| c.is_ascii_digit() || "-+–".contains(c)) || row[column].is_empty()
        })
    };
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

/// A number as people read it, or a dash where it is missing.
pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}
