//! The pieces of a condition: words, numbers with their units, quoted texts and symbols.
//!
//! Refuses to know how they are put together (`expressions`).

use crate::units::parse_count;

/// Why a condition cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    pub message: String,
    /// Column in the condition, in characters from 1.
    pub column: usize,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// The name that is not known, where that is what is wrong.
    pub unknown: Option<String>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    /// The value of a name.
    Name(String),
    Number(f64),
    /// So many times the parameters: `20N`.
    PerParam(f64),
    Text(String),
}

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) column: usize,
    pub(crate) kind: TokenKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Word,
    Quoted,
    Symbol,
}

/// A mistake at a column.
pub(crate) fn error(column: usize, message: impl Into<String>, suggestion: Option<&str>) -> ExprError {
    ExprError {
        message: message.into(),
        column,
        suggestion: suggestion.map(str::to_owned),
        unknown: None,
    }
}

/// Whether a character belongs to a word. There is no arithmetic, so `-` is part of names such as `rust-sources`.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '%' | '-' | '+' | '/')
}

/// Cuts the text into words, quoted texts and symbols.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, ExprError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        let run =
            |from: usize, keep: &dyn Fn(char) -> bool| from + chars[from..].iter().take_while(|&&c| keep(c)).count();
        let kind = if c.is_whitespace() {
            at += 1;
            continue;
        } else if c == '"' || c == '\'' {
            at = run(start + 1, &|other| other != c);
            if at >= chars.len() {
                return Err(error(start + 1, format!("no closing {c}"), None));
            }
            let text = chars[start + 1..at].iter().collect();
            at += 1;
            tokens.push(Token {
                text,
                column: start + 1,
                kind: TokenKind::Quoted,
            });
            continue;
        } else if is_word(c) {
            at = run(start, &is_word);
            TokenKind::Word
        } else if "=!<>&|".contains(c) {
            at = run(start, &|other| "=!<>&|".contains(other));
            TokenKind::Symbol
        } else {
            at += 1;
            TokenKind::Symbol
        };
        let text = chars[start..at].iter().collect();
        tokens.push(Token {
            text,
            column: start + 1,
            kind,
        });
    }
    Ok(tokens)
}

/// A number with its unit.
pub(crate) fn number(text: &str) -> Option<Operand> {
    let plain = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    if let Some(ratio) = text.strip_suffix('N').and_then(plain) {
        return Some(Operand::PerParam(ratio));
    }
    if let Some(percent) = text.strip_suffix('%').and_then(plain) {
        return Some(Operand::Number(percent / 100.0));
    }
    plain(text)
        .or_else(|| parse_count(text).ok().map(|count| count as f64))
        .map(Operand::Number)
}
