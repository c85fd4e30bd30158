//! What can be wrong with data, in the user's words, each with a code for scripts and a hint where there is one.
//!
//! Refuses to know exit codes and how errors are printed.

use std::io;
use std::path::PathBuf;

/// Why data could not be prepared or opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// An input does not exist.
    #[error("there is no corpus at `{path}`")]
    MissingCorpus {
        /// What was asked for.
        path: PathBuf,
    },
    /// No input has a document.
    #[error("the corpus has no text: {searched}")]
    EmptyCorpus {
        /// What was looked through.
        searched: String,
    },
    /// A file of another kind.
    #[error("`{path}` is none of .txt, .json, .jsonl (also .gz or .zst) and .parquet")]
    UnknownFormat { path: PathBuf },
    /// Text that is not UTF-8.
    #[error("`{path}` is not UTF-8 text: a wrong byte at offset {offset}")]
    NotUtf8 {
        path: PathBuf,
        /// Bytes before the first wrong one.
        offset: usize,
    },
    /// A line that is no JSON object.
    #[error("`{path}`, line {line}: {why}")]
    BadLine {
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        why: String,
    },
    /// The text column is missing or holds no text.
    #[error("`{path}`{} has no text in a column `{column}`; it has {found}", at_line(*.line))]
    NoTextColumn {
        path: PathBuf,
        /// The line, from 1, in a file of lines.
        line: Option<u64>,
        /// What was looked for.
        column: String,
        /// The columns that are there.
        found: String,
    },
    /// A parquet file that cannot be read.
    #[error("`{path}` cannot be read as parquet: {why}")]
    BadParquet {
        path: PathBuf,
        /// What the reader says.
        why: String,
    },
    /// A packed file that cannot be unpacked.
    #[error("`{path}` cannot be unpacked: {why}")]
    BadPacked {
        path: PathBuf,
        /// What the unpacker says.
        why: String,
    },
    /// A file that changed between two looks at it.
    #[error("`{path}` changed while it was read")]
    Changed { path: PathBuf },
    /// A synthetic source that makes no sense.
    #[error("`{text}` is not a synthetic source: {why}")]
    BadSynthetic { text: String, why: String },
    /// A tokenizer that cannot be had.
    #[error("tokenizer `{text}`: {why}")]
    BadTokenizer { text: String, why: String },
    /// A held-out set that makes no sense.
    #[error("held-out set `{text}`: {why}")]
    BadHeldOut { text: String, why: String },
    /// No document is left for a split.
    #[error("no document is left for `{split}`: the corpus has {documents} different documents")]
    SplitEmpty {
        split: String,
        /// Different documents in all.
        documents: u64,
    },
    /// A name that cannot be a folder.
    #[error("`{name}` cannot name a data set or a held-out set")]
    BadName { name: String },
    /// Other data has this name.
    #[error("there is other data under the name `{name}`")]
    NameTaken { name: String },
    /// No data of this name.
    #[error("there is no prepared data `{name}`")]
    UnknownData {
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// No split of this name.
    #[error("data `{data}` has no split `{split}`; it has {}", .known.join(", "))]
    UnknownSplit {
        data: String,
        split: String,
        /// The splits that exist.
        known: Vec<String>,
    },
    /// Prepared data that is not as it was written.
    #[error("`{path}` is damaged: {why}")]
    Damaged { path: PathBuf, why: String },
    /// Prepared data of a newer program.
    #[error("`{path}` has format {found}, this program reads {known}")]
    NewerFormat {
        path: PathBuf,
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// cargo could not fetch crates.
    #[error("cargo could not fetch {crates} of the crates of `rust-sources`: {why}")]
    Fetch {
        /// How many are missing.
        crates: usize,
        why: String,
    },
    /// A crate that is not the one in the list.
    #[error("the sources of {name} in `{path}` are not those that `rust-sources` pins")]
    CrateChanged { name: String, path: PathBuf },
    /// The disk, with the path in its message.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl DataError {
    /// The code for scripts, in snake case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingCorpus { .. } => "missing_corpus",
            Self::EmptyCorpus { .. } => "empty_corpus",
            Self::UnknownFormat { .. } => "unknown_format",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::BadLine { .. } => "bad_line",
            Self::NoTextColumn { .. } => "no_text_column",
            Self::BadParquet { .. } => "bad_parquet",
            Self::BadPacked { .. } => "bad_packed",
            Self::Changed { .. } => "corpus_changed",
            Self::BadSynthetic { .. } => "bad_synthetic",
            Self::BadTokenizer { .. } => "bad_tokenizer",
            Self::BadHeldOut { .. } => "bad_held_out",
            Self::SplitEmpty { .. } => "split_empty",
            Self::BadName { .. } => "bad_name",
            Self::NameTaken { .. } => "name_taken",
            Self::UnknownData { .. } => "unknown_data",
            Self::UnknownSplit { .. } => "unknown_split",
            Self::Damaged { .. } => "damaged_data",
            Self::NewerFormat { .. } => "newer_format",
            Self::Fetch { .. } => "fetch_failed",
            Self::CrateChanged { .. } => "crate_changed",
            Self::Io(_) => "io",
        }
    }

    /// What to do about it, where that is not in the message.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::MissingCorpus { .. } => "give a file, a folder, `rust-sources` or `synthetic:markov?tokens=4M`",
            Self::EmptyCorpus { .. } => {
                "folders are searched for .txt, .json, .jsonl (also .gz or .zst) and .parquet files"
            }
            Self::UnknownFormat { .. } => "rename plain text to .txt",
            Self::NotUtf8 { .. } => "convert it first: iconv -f latin1 -t utf-8 OLD > NEW",
            Self::NoTextColumn { .. } => "name the column with --text-column; one inside another is OUTER.INNER",
            Self::BadLine { .. } => "mend it, or leave such records out: --on-bad-record skip",
            Self::BadPacked { .. } => "fetch the file again; `gzip -t` and `zstd -t` test one",
            Self::SplitEmpty { .. } => "hold out another share, or documents of their own: --held-out NAME=PATH",
            Self::BadName { .. } => {
                "names have letters, digits, `-`, `_` and `.`, start with a letter or digit, and are not `train`"
            }
            Self::NameTaken { .. } => "choose another --name, or replace the data with --force",
            Self::UnknownData { name, known } => return Some(unknown_hint(name, known)),
            Self::Damaged { .. } => "prepare the data again: the same command repairs it",
            Self::NewerFormat { .. } => "use the newer program, or prepare the data under another name",
            Self::Fetch { .. } => "run once with a connection, or prepare text of your own",
            Self::CrateChanged { .. } => "remove that folder and run again: cargo unpacks it anew",
            Self::BadParquet { .. }
            | Self::Changed { .. }
            | Self::BadSynthetic { .. }
            | Self::BadTokenizer { .. }
            | Self::BadHeldOut { .. }
            | Self::UnknownSplit { .. }
            | Self::Io(_) => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the machine is at fault (disk, network, a damaged file) and not what was asked for.
    pub fn is_environment(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::NewerFormat { .. }
                | Self::Fetch { .. }
                | Self::CrateChanged { .. }
                | Self::Io(_)
        )
    }
}

/// The nearest name, or how to make one.
fn unknown_hint(name: &str, known: &[String]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min();
    match nearest {
        Some((distance, known)) if distance <= 3 => format!("did you mean `{known}`?"),
        Some(_) => format!("there is {}", known.join(", ")),
        None => format!("prepare it: sandbox data prepare PATH --name {name} --tokenizer byte"),
    }
}

/// `, line 7` or nothing.
fn at_line(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line},"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let error = DataError::UnknownData {
            name: "rsut".to_owned(),
            known: vec!["prose".to_owned(), "rust".to_owned()],
        };
        assert_eq!(error.hint().as_deref(), Some("did you mean `rust`?"));
        assert_eq!(error.code(), "unknown_data");
        assert!(!error.is_environment());
    }

    #[test]
    fn a_missing_column_is_told_with_its_line_and_what_is_there() {
        let error = DataError::NoTextColumn {
            path: PathBuf::from("a.jsonl"),
            line: Some(3),
            column: "text".to_owned(),
            found: "`body`".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "`a.jsonl`, line 3, has no text in a column `text`; it has `body`"
        );
    }
}
