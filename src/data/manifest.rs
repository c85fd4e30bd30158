//! The manifest of prepared data: what its shards are, how many tokens they hold, and hashes of all of it.
//!
//! Refuses to know how tokens are made and read.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::error::DataError;
use crate::model::data_info::{DataInfo, TRAIN};
use crate::units::Tokens;

/// The format of manifests and shards; a program refuses newer ones.
pub const FORMAT: u32 = 1;
/// Name of the manifest in a data set's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the tokenizer in a data set's folder, where it is not the byte tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The name of the byte tokenizer.
pub const BYTE: &str = "byte";
/// The name of no tokenizer: a synthetic source gives tokens.
pub const SYNTHETIC: &str = "synthetic";
/// Characters of the hashes of data: 128 bits.
const HASH_CHARACTERS: usize = 32;

/// A prepared data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The name that sweeps use; the folder's name.
    pub name: String,
    /// Hash of all tokens, by split, with the tokenizer: what a training state depends on.
    pub hash: String,
    /// Hash of all that was asked for and read: equal ones need not be prepared again.
    pub inputs_hash: String,
    /// The inputs as they were given.
    pub sources: Vec<String>,
    /// `byte`, `bpe:VOCAB`, `file:NAME.json` or `synthetic`.
    pub tokenizer: String,
    /// blake3 of the tokenizer's file, if it has one.
    pub tokenizer_hash: Option<String>,
    /// Size of the vocabulary: every token is below it.
    pub vocab: u64,
    /// The token after each document; none: documents touch.
    pub end_of_document: Option<u32>,
    /// Bytes of one token in a shard, little endian: 2 or 4.
    pub token_bytes: u64,
    /// Documents of all splits.
    pub documents: u64,
    /// Documents that were left out because their equal is in.
    pub duplicates_dropped: u64,
    /// The loss that no model can beat, in nats per token, where it is known exactly.
    pub entropy_rate_nats: Option<f64>,
    /// `train`, then the held-out sets in the order in which they were asked for.
    pub splits: Vec<Split>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// `train`, or the name of a held-out set.
    pub name: String,
    pub documents: u64,
    pub tokens: u64,
    /// Bytes of its text, without what separates documents; none: it has no text.
    pub text_bytes: Option<u64>,
    /// The files that hold its tokens, in order.
    pub shards: Vec<Shard>,
}

/// One file of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Name in the data set's folder.
    pub file: String,
    pub tokens: u64,
    /// blake3 of the file.
    pub blake3: String,
}

impl Split {
    /// Bytes of text for each token; none where there is no text.
    pub fn bytes_per_token(&self) -> Option<f64> {
        self.text_bytes.map(|bytes| bytes as f64 / self.tokens as f64)
    }
}

impl Manifest {
    /// What planning must know.
    pub fn info(&self) -> DataInfo {
        let counts = |split: &Split| (split.name.clone(), Tokens(split.tokens));
        let bytes_per_token: BTreeMap<String, f64> = self
            .splits
            .iter()
            .filter_map(|split| Some((split.name.clone(), split.bytes_per_token()?)))
            .collect();
        DataInfo {
            name: self.name.clone(),
            hash: self.hash.clone(),
            vocab: self.vocab,
            tokenizer: self.tokenizer.clone(),
            train_tokens: Tokens(self.train().map_or(0, |split| split.tokens)),
            held_out: self.held_out().map(counts).collect(),
            bytes_per_token,
            entropy_rate_nats: self.entropy_rate_nats,
        }
    }

    pub fn train(&self) -> Option<&Split> {
        self.splits.iter().find(|split| split.name == TRAIN)
    }

    /// The held-out sets, in the order in which they were asked for.
    pub fn held_out(&self) -> impl Iterator<Item = &Split> {
        self.splits.iter().filter(|split| split.name != TRAIN)
    }

    /// The hash of all tokens, from the hashes of the shards.
    pub fn tokens_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let parts = [
            self.format.to_string(),
            self.vocab.to_string(),
            self.token_bytes.to_string(),
            format!("{:?}", self.end_of_document),
            self.tokenizer_hash.clone().unwrap_or_default(),
        ];
        for part in parts {
            feed(&mut hasher, &part);
        }
        for split in &self.splits {
            feed(&mut hasher, &split.name);
            feed(&mut hasher, &format!("{:?}", split.text_bytes));
            for shard in &split.shards {
                feed(&mut hasher, &shard.blake3);
            }
        }
        short_hash(&hasher)
    }

    /// Reads the manifest of a folder.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        /// The one key that every format has.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let path = folder.join(MANIFEST_FILE);
        let text = fs_err::read(&path)?;
        let damaged = |error: serde_json::Error| DataError::Damaged {
            path: path.clone(),
            why: error.to_string(),
        };
        let head: Head = serde_json::from_slice(&text).map_err(damaged)?;
        if head.format > FORMAT {
            return Err(DataError::NewerFormat {
                path,
                found: head.format,
                known: FORMAT,
            });
        }
        serde_json::from_slice(&text).map_err(damaged)
    }

    /// Writes the manifest into a folder.
    pub fn write(&self, folder: &Path) -> Result<(), DataError> {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        text.push('\n');
        fs_err::write(folder.join(MANIFEST_FILE), text)?;
        Ok(())
    }
}

/// Adds a text with its length, so that no two lists of texts look alike.
pub fn feed(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

/// The hash as data sets are named by it.
pub fn short_hash(hasher: &blake3::Hasher) -> String {
    let mut hash = hasher.finalize().to_hex().to_string();
    hash.truncate(HASH_CHARACTERS);
    hash
}

/// Whether a name can be a folder, a column and a key everywhere.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name != TRAIN
        && name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_folders() {
        for good in ["code", "tiny-2.1", "held_out", "0b"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "train", "ä", "-x", "a b"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn lists_of_texts_that_join_alike_hash_apart() {
        let hash = |parts: &[&str]| {
            let mut hasher = blake3::Hasher::new();
            for part in parts {
                feed(&mut hasher, part);
            }
            short_hash(&hasher)
        };
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_eq!(hash(&["ab"]).len(), HASH_CHARACTERS);
    }

    #[test]
    fn a_newer_format_is_refused_and_a_broken_one_is_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MANIFEST_FILE);
        fs_err::write(&path, r#"{"format":999,"what":"else"}"#).unwrap();
        let newer = Manifest::read(folder.path()).unwrap_err();
        assert_eq!(newer.code(), "newer_format");
        fs_err::write(&path, r#"{"format":1,"na"#).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap_err().code(), "damaged_data");
    }
}
