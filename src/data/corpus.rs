//! The documents of all inputs: read once to decide their fates, and again for what is wanted of them.
//!
//! Memory holds their hashes and never the whole corpus. Refuses to know tokens.

use serde::{Deserialize, Serialize};

use crate::data::documents;
use crate::data::error::DataError;
use crate::data::manifest::feed;
use crate::data::source::TextFile;
use crate::data::split::{self, Fate, HeldOut, Seen};

/// How records are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The column of text in tables and JSON.
    pub text_column: String,
    /// Whether a record without a readable text is left out; else it ends the reading.
    pub skips_bad: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            text_column: "text".to_owned(),
            skips_bad: false,
        }
    }
}

/// Records that were left out because they cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BadRecords {
    pub count: u64,
    /// What is wrong with the first of them, each with its file and line.
    pub first: Vec<String>,
}

/// So many bad records are named.
const NAMED: usize = 10;

impl BadRecords {
    fn add(&mut self, error: &DataError) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(error.to_string());
        }
    }
}

/// What is known after the first reading.
pub struct Corpus {
    files: Vec<TextFile>,
    reading: Reading,
    bad: BadRecords,
    /// All documents, in the order of reading.
    seen: Vec<Seen>,
    fates: Vec<Fate>,
}

impl Corpus {
    /// Reads all documents once and decides their fates; `read` hears how many documents there are so far.
    pub fn read(
        files: Vec<TextFile>,
        reading: &Reading,
        sets: &[HeldOut],
        bytes_max: Option<u64>,
        read: &mut dyn FnMut(u64),
    ) -> Result<Self, DataError> {
        let mut seen = Vec::new();
        let mut bad = BadRecords::default();
        for file in &files {
            documents::visit(file, &reading.text_column, &mut |record| {
                let text = match record {
                    Ok(text) => text,
                    Err(error) if reading.skips_bad => {
                        bad.add(&error);
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                };
                seen.push(Seen {
                    hash: *blake3::hash(text.as_bytes()).as_bytes(),
                    bytes: text.len() as u64,
                    set: file.set,
                });
                Ok(())
            })?;
            read(seen.len() as u64);
        }
        if seen.is_empty() {
            let paths: Vec<String> = files.iter().map(|file| format!("`{}`", file.path.display())).collect();
            return Err(DataError::EmptyCorpus {
                searched: format!("nothing is written in {}", paths.join(", ")),
            });
        }
        let fates = split::decide(&seen, sets, bytes_max)?;
        Ok(Self {
            files,
            reading: reading.clone(),
            bad,
            seen,
            fates,
        })
    }

    /// What was left out because it cannot be read.
    pub fn bad_records(&self) -> &BadRecords {
        &self.bad
    }

    /// How many documents have a fate.
    pub fn count(&self, wanted: Fate) -> u64 {
        self.fates.iter().filter(|fate| **fate == wanted).count() as u64
    }

    /// Bytes of all documents that are in a split.
    pub fn bytes(&self) -> u64 {
        let kept = self.seen.iter().zip(&self.fates);
        let kept = kept.filter(|(_, fate)| fate.split().is_some());
        kept.map(|(document, _)| document.bytes).sum()
    }

    /// Adds everything that determines which text is in which split, in which order.
    pub fn feed(&self, hasher: &mut blake3::Hasher) {
        for (document, fate) in self.seen.iter().zip(&self.fates) {
            if let Some(split) = fate.split() {
                feed(hasher, &split.to_string());
                hasher.update(&document.hash);
            }
        }
    }

    /// Reads the documents that are in a split again, with its index; a file that has changed meanwhile is an error.
    pub fn visit(&self, visit: &mut dyn FnMut(usize, &str) -> Result<(), DataError>) -> Result<(), DataError> {
        self.visit_all(&mut |index, text| match self.fates[index].split() {
            Some(split) => visit(split, text),
            None => Ok(()),
        })
    }

    /// A fair sample of the training text: documents in the order of their hashes, up to `bytes_max`.
    pub fn sample(&self, bytes_max: u64) -> Result<Vec<String>, DataError> {
        let mut order: Vec<usize> = (0..self.seen.len())
            .filter(|&index| self.fates[index] == Fate::Train)
            .collect();
        order.sort_by_key(|&index| self.seen[index].hash);
        let mut bytes = 0;
        let mut wanted = vec![false; self.seen.len()];
        for index in order {
            if bytes < bytes_max {
                bytes += self.seen[index].bytes;
                wanted[index] = true;
            }
        }
        let mut texts = Vec::new();
        self.visit_all(&mut |index, text| {
            if wanted[index] {
                texts.push(text.to_owned());
            }
            Ok(())
        })?;
        Ok(texts)
    }

    fn visit_all(&self, visit: &mut dyn FnMut(usize, &str) -> Result<(), DataError>) -> Result<(), DataError> {
        let mut index = 0;
        for file in &self.files {
            let changed = || DataError::Changed {
                path: file.path.clone(),
            };
            documents::visit(file, &self.reading.text_column, &mut |record| {
                let Ok(text) = record else {
                    // It was counted at the first reading.
                    return if self.reading.skips_bad { Ok(()) } else { Err(changed()) };
                };
                let seen = self.seen.get(index).ok_or_else(changed)?;
                if seen.hash != *blake3::hash(text.as_bytes()).as_bytes() {
                    return Err(changed());
                }
                index += 1;
                visit(index - 1, text)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::source::Format;

    fn corpus(folder: &Path) -> Corpus {
        let files = (0..20).map(|n| {
            let path = folder.join(format!("{n:02}.txt"));
            fs_err::write(&path, format!("document {n:02}")).unwrap();
            TextFile {
                path,
                format: Format::Text,
                set: None,
            }
        });
        Corpus::read(
            files.collect(),
            &Reading::default(),
            &[HeldOut::standard()],
            None,
            &mut |_| {},
        )
        .unwrap()
    }

    #[test]
    fn a_file_that_changes_between_the_readings_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = corpus(folder.path());
        let mut texts = 0;
        corpus
            .visit(&mut |_, _| {
                texts += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(texts, 20);
        fs_err::write(folder.path().join("07.txt"), "another one").unwrap();
        let error = corpus.visit(&mut |_, _| Ok(())).unwrap_err();
        assert_eq!(error.code(), "corpus_changed");
        assert!(error.to_string().contains("07.txt"), "{error}");
    }

    #[test]
    fn a_sample_is_of_training_text_and_of_the_size_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = corpus(folder.path());
        // Documents have 11 bytes: five are the first to reach 50.
        assert_eq!(corpus.sample(50).unwrap().len(), 5);
        let all = corpus.sample(u64::MAX).unwrap();
        assert_eq!(all.len() as u64, corpus.count(Fate::Train));
    }
}
