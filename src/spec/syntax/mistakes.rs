//! What is wrong with a sweep file, and where: every mistake is collected, none ends the reading.
//!
//! Refuses to know what the keys mean.

use std::fmt;

use serde::Serialize;

/// One mistake in a sweep file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The file as the caller names it, or `--set`.
    pub file: String,
    /// Line, from 1; 0 for `--set`.
    pub line: usize,
    /// Column in characters, from 1; 0 for `--set`.
    pub column: usize,
    /// Dotted path of the key (`parameters.lr.values`); empty for the file as a whole.
    pub key: String,
    /// What is wrong, in lower case.
    pub message: String,
    /// What was probably meant, or the form that is expected.
    pub suggestion: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: ", self.file)?;
        } else {
            write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; try: {suggestion}"),
            None => Ok(()),
        }
    }
}

/// Something that the reader of a sweep should know and that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// Line, from 1; 0 where none is to blame.
    pub line: usize,
    /// What there is to know, in lower case.
    pub text: String,
}

/// A place in the file, or in the argument of a `--set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column, from 1.
    pub(crate) column: usize,
    /// Which `--set` argument, if one.
    pub(crate) set: Option<usize>,
}

impl Place {
    /// The beginning of the file.
    pub(crate) const START: Self = Self {
        line: 1,
        column: 1,
        set: None,
    };

    /// So many columns to the right.
    pub(crate) fn right(self, columns: usize) -> Self {
        Self {
            column: self.column + columns,
            ..self
        }
    }
}

/// What is wrong with one value, before it is known where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    /// What was probably meant.
    pub(crate) suggestion: Option<String>,
}

impl Wrong {
    /// A mistake without a suggestion.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            suggestion: None,
        }
    }

    /// The same with what was probably meant.
    pub(crate) fn with(self, suggestion: impl Into<String>) -> Self {
        Self {
            suggestion: Some(suggestion.into()),
            ..self
        }
    }

    /// The same with what was probably meant, if anything comes near.
    pub(crate) fn maybe(self, suggestion: Option<impl Into<String>>) -> Self {
        Self {
            suggestion: suggestion.map(Into::into).or(self.suggestion),
            ..self
        }
    }
}

/// Everything found while one file is read.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    file: &'a str,
    sets: &'a [String],
    mistakes: Vec<Mistake>,
    notes: Vec<Note>,
}

impl<'a> Findings<'a> {
    /// Nothing found yet in `file` with these `--set` arguments.
    pub(crate) fn new(file: &'a str, sets: &'a [String]) -> Self {
        Self {
            file,
            sets,
            mistakes: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a mistake, unless its key has one at this place already: a grid meets the same one many times.
    pub(crate) fn mistake(&mut self, place: Place, key: &str, wrong: Wrong) {
        let argument = place.set.and_then(|index| self.sets.get(index));
        let mistake = match argument {
            Some(argument) => Mistake {
                file: "--set".to_owned(),
                line: 0,
                column: 0,
                key: key.to_owned(),
                message: format!("{} (in `--set {argument}`)", wrong.message),
                suggestion: wrong.suggestion,
            },
            None => Mistake {
                file: self.file.to_owned(),
                line: place.line,
                column: place.column,
                key: key.to_owned(),
                message: wrong.message,
                suggestion: wrong.suggestion,
            },
        };
        let same_place = |other: &Mistake| {
            other.file == mistake.file
                && (other.line, other.column) == (mistake.line, mistake.column)
                && other.key == mistake.key
                && (mistake.line > 0 || other.message == mistake.message)
        };
        if !self.mistakes.iter().any(same_place) {
            self.mistakes.push(mistake);
        }
    }

    pub(crate) fn note(&mut self, place: Place, text: impl Into<String>) {
        let line = if place.set.is_some() { 0 } else { place.line };
        let note = Note {
            line,
            text: text.into(),
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// How many mistakes were found.
    pub(crate) fn count(&self) -> usize {
        self.mistakes.len()
    }

    /// The result, with the notes or the mistakes in the order of the file.
    pub(crate) fn conclude<T>(mut self, result: Option<T>) -> Result<(T, Vec<Note>), Vec<Mistake>> {
        self.mistakes
            .sort_by_key(|mistake| (mistake.line == 0, mistake.line, mistake.column));
        self.notes.sort();
        match result {
            Some(value) if self.mistakes.is_empty() => Ok((value, self.notes)),
            Some(_) | None => Err(self.mistakes),
        }
    }
}

/// The candidate that a misspelt word most probably means: at most a third of its letters differ.
pub(crate) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lower = word.to_lowercase();
    // Long words are not names that somebody misspelt, and comparing them is quadratic.
    if lower.chars().count() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|&(distance, candidate)| {
            distance <= (candidate.chars().count().max(lower.chars().count()) / 3).max(1)
                && distance < lower.chars().count().max(2)
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words_find_their_neighbour_and_strangers_do_not() {
        let words = ["wsd", "cosine", "linear", "constant"];
        assert_eq!(closest("cosin", words), Some("cosine"));
        assert_eq!(closest("WDS", words), Some("wsd"));
        assert_eq!(closest("polynomial", words), None);
        assert_eq!(closest("", words), None);
        assert_eq!(closest(&"x".repeat(1000), words), None);
    }

    #[test]
    fn one_place_and_key_is_blamed_once() {
        let mut findings = Findings::new("f.yaml", &[]);
        findings.mistake(Place::START, "lr", Wrong::new("first"));
        findings.mistake(Place::START, "lr", Wrong::new("second"));
        findings.mistake(Place::START, "data", Wrong::new("third"));
        let mistakes = findings.conclude(Some(())).expect_err("two mistakes");
        assert_eq!(mistakes.len(), 2);
        assert_eq!(mistakes[0].to_string(), "f.yaml:1:1: lr: first");
    }
}
