//! What was given as input: files and folders, the corpus `rust-sources`, or a synthetic source.
//!
//! Refuses to read what is in the files.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::data::error::DataError;
use crate::data::rust_sources;
use crate::data::synthetic::{self, MarkovSpec};
use crate::packed;

/// The word for the corpus of pinned Rust sources; `./rust-sources` is a folder of that name.
pub const RUST_SOURCES: &str = "rust-sources";

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A file or a folder.
    Path(PathBuf),
    /// The corpus of pinned Rust sources.
    RustSources,
    /// A chain of known entropy.
    Markov(MarkovSpec),
}

impl Source {
    /// Reads an input as it is written on the command line.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        if text == RUST_SOURCES {
            return Ok(Self::RustSources);
        }
        if text.starts_with(synthetic::PREFIX) {
            return MarkovSpec::parse(text).map(Self::Markov);
        }
        Ok(Self::Path(PathBuf::from(text)))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::RustSources => f.write_str(RUST_SOURCES),
            Self::Markov(spec) => f.write_str(&spec.canonical()),
        }
    }
}

/// How documents lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The whole file is one document.
    Text,
    /// The file is cut into documents at blank lines: a long text that is named by itself.
    LongText,
    /// JSON objects with a text column, one a line or all in one list.
    Json,
    /// A table with a text column, a document a row.
    Parquet,
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    pub path: PathBuf,
    /// How its documents lie in it.
    pub format: Format,
    /// The held-out set that all its documents go to; none: they are shared out.
    pub set: Option<usize>,
}

/// The files of an input, in an order that is the same on every machine.
///
/// `cargo_home` is where cargo keeps its registry, `work` a folder for short-lived files.
pub fn files(source: &Source, set: Option<usize>, cargo_home: &Path, work: &Path) -> Result<Vec<TextFile>, DataError> {
    match source {
        Source::Path(path) if path.is_dir() => folder_files(path, set),
        Source::Path(path) if !path.exists() => Err(DataError::MissingCorpus { path: path.clone() }),
        Source::Path(path) => {
            let format = match format_of(path) {
                Some(Format::Text) => Format::LongText,
                Some(format) => format,
                None => return Err(DataError::UnknownFormat { path: path.clone() }),
            };
            Ok(vec![TextFile {
                path: path.clone(),
                format,
                set,
            }])
        }
        Source::RustSources => {
            let paths = rust_sources::files(cargo_home, work)?;
            let file = |path| TextFile {
                path,
                format: Format::Text,
                set,
            };
            Ok(paths.into_iter().map(file).collect())
        }
        Source::Markov(spec) => Err(DataError::BadSynthetic {
            text: spec.canonical(),
            why: "a synthetic source stands alone, without other inputs and held-out paths".to_owned(),
        }),
    }
}

/// The files below a folder that can be read, sorted by path; hidden ones and links to folders are passed over.
fn folder_files(folder: &Path, set: Option<usize>) -> Result<Vec<TextFile>, DataError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(&next)? {
            let entry = entry?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden {
                continue;
            }
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if let Some(format) = format_of(&path) {
                found.push(TextFile { path, format, set });
            }
        }
    }
    if found.is_empty() {
        return Err(DataError::EmptyCorpus {
            searched: format!("no readable file in `{}`", folder.display()),
        });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The format that a file's name tells.
fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?;
    let stem = packed::stem(name);
    let (_, extension) = stem.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "txt" => Some(Format::Text),
        "json" | "jsonl" | "ndjson" => Some(Format::Json),
        // A table of columns is packed inside.
        "parquet" if stem == name => Some(Format::Parquet),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Result<Vec<TextFile>, DataError> {
        let source = Source::parse(text)?;
        files(&source, None, Path::new("/none"), Path::new("/none"))
    }

    #[test]
    fn folders_are_searched_to_the_ground_in_a_fixed_order() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(folder.path().join("b/deep")).unwrap();
        for name in [
            "z.txt.zst",
            "b/deep/a.JSONL.gz",
            "b/x.parquet",
            "b/y.parquet.gz",
            "notes.md",
            ".hidden.txt",
        ] {
            fs_err::write(folder.path().join(name), "x").unwrap();
        }
        let found = paths(folder.path().to_str().unwrap()).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|file| file.path.strip_prefix(folder.path()).unwrap())
            .collect();
        assert_eq!(names, ["b/deep/a.JSONL.gz", "b/x.parquet", "z.txt.zst"].map(Path::new));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = paths(folder.path().to_str().unwrap()).unwrap_err();
        assert_eq!(empty.code(), "empty_corpus");
        assert_eq!(paths("no/such").unwrap_err().code(), "missing_corpus");
        let other = folder.path().join("a.pdf");
        fs_err::write(&other, "x").unwrap();
        let other = paths(other.to_str().unwrap()).unwrap_err();
        assert_eq!(other.code(), "unknown_format");
    }

    #[test]
    fn words_are_told_from_paths() {
        assert_eq!(Source::parse("rust-sources").unwrap(), Source::RustSources);
        let path = Source::parse("./rust-sources").unwrap();
        assert_eq!(path, Source::Path(PathBuf::from("./rust-sources")));
        let chain = Source::parse("synthetic:markov?seed=3").unwrap();
        assert!(matches!(chain, Source::Markov(spec) if spec.seed == 3));
    }
}
