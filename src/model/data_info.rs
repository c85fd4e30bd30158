//! What planning must know of a prepared data set: its name, its hash, and its counts.
//!
//! Refuses to know where the tokens are and how they were made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::Tokens;

/// The name of the training split.
pub const TRAIN: &str = "train";

/// A prepared data set in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataInfo {
    /// The name that sweeps use.
    pub name: String,
    /// Hash of everything that determines its tokens.
    pub hash: String,
    /// Size of the vocabulary: every token is below it.
    pub vocab: u64,
    /// `byte`, `bpe:VOCAB`, `file:NAME.json` or `synthetic`.
    pub tokenizer: String,
    /// Tokens of the training split.
    pub train_tokens: Tokens,
    /// Tokens of the held-out sets, the one of the final loss first.
    pub held_out: Vec<(String, Tokens)>,
    /// Bytes of text for each token, by split; a synthetic source has no text and no entry.
    pub bytes_per_token: BTreeMap<String, f64>,
    /// The loss that no model can beat, in nats per token, where it is known exactly.
    pub entropy_rate_nats: Option<f64>,
}

impl DataInfo {
    /// Tokens of a split, if there is one of that name.
    pub fn tokens(&self, split: &str) -> Option<Tokens> {
        if split == TRAIN {
            return Some(self.train_tokens);
        }
        let found = self.held_out.iter().find(|(name, _)| name == split);
        found.map(|&(_, tokens)| tokens)
    }

    /// Training windows of `context` tokens in one pass; 0: the data is shorter than one context.
    pub fn train_windows(&self, context: u64) -> u64 {
        windows(self.train_tokens, context)
    }

    /// A loss on a split in bits per byte of its text, from nats per token; none where there is no text.
    pub fn bits_per_byte(&self, split: &str, loss_nats: f64) -> Option<f64> {
        let bytes = self.bytes_per_token.get(split)?;
        Some(loss_nats / std::f64::consts::LN_2 / bytes)
    }
}

#[cfg(test)]
impl DataInfo {
    /// A set of bytes that is large enough for any test's plan; its name is its hash.
    pub(crate) fn of_test(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            hash: name.to_owned(),
            vocab: 256,
            tokenizer: "byte".to_owned(),
            train_tokens: Tokens(1_000_000),
            held_out: vec![("held_out".to_owned(), Tokens(1000))],
            bytes_per_token: BTreeMap::new(),
            entropy_rate_nats: None,
        }
    }
}

/// Windows of `context` tokens in so many tokens: each also needs the token after its last, as its last target.
pub fn windows(tokens: Tokens, context: u64) -> u64 {
    tokens.0.saturating_sub(1) / context
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> DataInfo {
        DataInfo {
            name: "code".to_owned(),
            hash: "h".to_owned(),
            vocab: 256,
            tokenizer: "byte".to_owned(),
            train_tokens: Tokens(100),
            held_out: vec![("held_out".to_owned(), Tokens(10))],
            bytes_per_token: BTreeMap::from([("held_out".to_owned(), 2.0)]),
            entropy_rate_nats: None,
        }
    }

    #[test]
    fn a_window_needs_the_token_after_its_last() {
        assert_eq!(windows(Tokens(100), 10), 9);
        assert_eq!(windows(Tokens(101), 10), 10);
        assert_eq!(windows(Tokens(0), 10), 0);
        assert_eq!(info().train_windows(99), 1);
    }

    #[test]
    fn bits_per_byte_follow_the_text_of_the_split() {
        let info = info();
        let two_bits = 2.0 * std::f64::consts::LN_2;
        assert_eq!(info.bits_per_byte("held_out", two_bits), Some(1.0));
        assert_eq!(info.bits_per_byte("train", two_bits), None);
    }

    #[test]
    fn splits_are_found_by_name() {
        assert_eq!(info().tokens("train"), Some(Tokens(100)));
        assert_eq!(info().tokens("held_out"), Some(Tokens(10)));
        assert_eq!(info().tokens("other"), None);
    }
}
