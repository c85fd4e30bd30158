//! Text into tokens and back: bytes, or byte-level BPE by the `tokenizers` crate, trained here or loaded.
//!
//! The byte tokenizer has the 256 bytes as its vocabulary and writes byte 0, which text does not use, after each
//! document. A trained BPE has `<|endoftext|>` for that. Refuses to know documents' fates and files of tokens.

use std::path::{Path, PathBuf};

use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, NormalizerWrapper, PostProcessorWrapper, Tokenizer as HuggingFace, TokenizerImpl};

use crate::data::error::DataError;
use crate::data::manifest::BYTE;
use crate::units;

/// The token after each document in a BPE trained here.
const END_OF_TEXT: &str = "<|endoftext|>";
/// Names of the token after a document in other people's tokenizers, the first that exists is used.
const END_NAMES: [&str; 7] = [
    END_OF_TEXT,
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "[EOS]",
    "<|im_end|>",
    "[SEP]",
];
/// Smallest BPE: the 256 bytes and the token after a document.
const BPE_VOCAB_MIN: u64 = 257;
/// Largest BPE that is trained here.
const BPE_VOCAB_MAX: u64 = 1 << 20;

/// A byte-level BPE in training.
type BpeTokenizer = TokenizerImpl<BPE, NormalizerWrapper, ByteLevel, PostProcessorWrapper, ByteLevel>;

/// The tokenizer that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSpec {
    Byte,
    /// A BPE of this vocabulary, trained on the corpus.
    Bpe(u64),
    /// A `tokenizer.json`.
    File(PathBuf),
}

impl TokenizerSpec {
    /// Reads `byte`, `bpe:VOCAB` or the path of a `.json` file.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let wrong = |why: String| bad(text, why);
        if text == BYTE {
            return Ok(Self::Byte);
        }
        if let Some(vocab) = text.strip_prefix("bpe:") {
            let vocab = units::parse_count(vocab).map_err(|error| wrong(error.to_string()))?;
            if !(BPE_VOCAB_MIN..=BPE_VOCAB_MAX).contains(&vocab) {
                return Err(wrong(format!(
                    "a BPE has between {BPE_VOCAB_MIN} and {BPE_VOCAB_MAX} tokens"
                )));
            }
            return Ok(Self::Bpe(vocab));
        }
        let path = Path::new(text);
        if path.extension().is_some_and(|extension| extension == "json") {
            return Ok(Self::File(path.to_owned()));
        }
        Err(wrong("give `byte`, `bpe:VOCAB` or FILE.json".to_owned()))
    }

    /// The name in manifests: it tells nothing of folders.
    pub fn name(&self) -> String {
        match self {
            Self::Byte => BYTE.to_owned(),
            Self::Bpe(vocab) => format!("bpe:{vocab}"),
            Self::File(path) => {
                let file = path.file_name().unwrap_or_default();
                format!("file:{}", file.to_string_lossy())
            }
        }
    }
}

/// A tokenizer that is ready.
pub enum Tokenizer {
    Byte,
    /// A `tokenizer.json`, in memory.
    HuggingFace {
        inner: Box<HuggingFace>,
        /// The file as it is kept beside the tokens.
        json: String,
    },
}

impl Tokenizer {
    /// Loads a `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Self, DataError> {
        let text = path.display().to_string();
        if !path.exists() {
            return Err(bad(&text, "there is no such file".to_owned()));
        }
        Self::from_json(&text, fs_err::read_to_string(path)?)
    }

    /// Trains a byte-level BPE on texts.
    pub fn train(vocab: u64, texts: &[String]) -> Result<Self, DataError> {
        let name = format!("bpe:{vocab}");
        let wrong = |error: tokenizers::Error| bad(&name, error.to_string());
        let mut trainer = BpeTrainerBuilder::new()
            .show_progress(false)
            .vocab_size(usize::try_from(vocab).expect("a vocabulary fits in memory"))
            .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut splitter = BpeTokenizer::new(BPE::default());
        splitter.with_pre_tokenizer(Some(byte_level()));
        splitter.with_decoder(Some(ByteLevel::default()));
        splitter.train(&mut trainer, texts.iter()).map_err(wrong)?;
        let json = splitter.to_string(false).map_err(wrong)?;
        Self::from_json(&name, json)
    }

    /// A tokenizer from the text of a `tokenizer.json`.
    fn from_json(name: &str, json: String) -> Result<Self, DataError> {
        let mut inner =
            HuggingFace::from_bytes(&json).map_err(|error| bad(name, format!("it is no tokenizer.json: {error}")))?;
        // Both would change texts: a document is as long as it is.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| bad(name, error.to_string()))?;
        Ok(Self::HuggingFace {
            inner: Box::new(inner),
            json,
        })
    }

    /// Size of the vocabulary: every token is below it.
    pub fn vocab(&self) -> u64 {
        match self {
            Self::Byte => 256,
            Self::HuggingFace { inner, .. } => {
                let ids = inner.get_vocab(true);
                ids.values().max().map_or(0, |id| u64::from(*id) + 1)
            }
        }
    }

    /// The token after each document, if there is one for that.
    pub fn end_of_document(&self) -> Option<u32> {
        match self {
            Self::Byte => Some(0),
            Self::HuggingFace { inner, .. } => END_NAMES.iter().find_map(|name| inner.token_to_id(name)),
        }
    }

    /// The text of the tokenizer's file, if it has one.
    pub fn json(&self) -> Option<&str> {
        match self {
            Self::Byte => None,
            Self::HuggingFace { json, .. } => Some(json),
        }
    }

    /// The tokenizer as a `tokenizer.json` that `transformers` reads, and the name of the token after a document, where
    /// text does not use it.
    pub fn exported(&self) -> (String, Option<String>) {
        match self {
            Self::Byte => (bytes_as_bpe().to_string(), None),
            Self::HuggingFace { inner, json } => {
                let end = self.end_of_document().and_then(|id| inner.id_to_token(id));
                (json.clone(), end)
            }
        }
    }

    /// The tokens of each text, without the token after it.
    pub fn encode(&self, texts: Vec<&str>) -> Result<Vec<Vec<u32>>, DataError> {
        match self {
            Self::Byte => Ok(texts
                .into_iter()
                .map(|text| text.bytes().map(u32::from).collect())
                .collect()),
            Self::HuggingFace { inner, .. } => {
                let encodings = inner
                    .encode_batch_fast(texts, false)
                    .map_err(|error| bad("encode", error.to_string()))?;
                Ok(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect())
            }
        }
    }

    /// The text of tokens, as well as it can be shown: a cut character becomes `�`.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, DataError> {
        match self {
            Self::Byte => {
                let bytes: Vec<u8> = tokens.iter().map(|&token| token as u8).collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Self::HuggingFace { inner, .. } => inner
                .decode(tokens, false)
                .map_err(|error| bad("decode", error.to_string())),
        }
    }
}

/// GPT-2's splitting into words, without a space in front of a text.
fn byte_level() -> ByteLevel {
    ByteLevel::default().add_prefix_space(false)
}

/// The byte tokenizer as a byte-level BPE without merges: each byte is the token of its number.
fn bytes_as_bpe() -> serde_json::Value {
    // GPT-2's alphabet: bytes that can be printed stand for themselves, the rest for the characters from 256 on.
    let is_printed = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut others = 256..;
    let vocab: serde_json::Map<String, serde_json::Value> = (0..=255u8)
        .filter_map(|byte| {
            let stands_for = if is_printed(byte) {
                u32::from(byte)
            } else {
                others.next()?
            };
            Some((char::from_u32(stands_for)?.to_string(), byte.into()))
        })
        .collect();
    let level = serde_json::json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": false,
    });
    serde_json::json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": level,
        "post_processor": null,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocab,
            "merges": [],
        },
    })
}

fn bad(text: &str, why: String) -> DataError {
    DataError::BadTokenizer {
        text: text.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Vec<String> {
        (0..200)
            .map(|n| format!("fn number_{n}(x: u32) -> u32 {{\n    x + {n} // ß → {n}\n}}\n"))
            .collect()
    }

    #[test]
    fn bytes_come_back_and_fit_their_vocabulary() {
        let text = "fn main() {} // äöü 🦀\n";
        let tokens = Tokenizer::Byte.encode(vec![text]).unwrap();
        assert_eq!(tokens[0].len(), text.len());
        assert_eq!(Tokenizer::Byte.decode(&tokens[0]).unwrap(), text);
        assert_eq!(Tokenizer::Byte.vocab(), 256);
    }

    #[test]
    fn bytes_are_the_same_tokens_in_the_file_for_transformers() {
        let (json, end) = Tokenizer::Byte.exported();
        let written = Tokenizer::from_json("byte", json).unwrap();
        assert_eq!((written.vocab(), end), (256, None));
        let every: String = (0..=0x24f).filter_map(char::from_u32).collect();
        let texts = vec![" fn main() {}\r\n\t// 🦀", every.as_str()];
        assert_eq!(
            written.encode(texts.clone()).unwrap(),
            Tokenizer::Byte.encode(texts).unwrap()
        );
        let (_, end) = Tokenizer::train(300, &corpus()).unwrap().exported();
        assert_eq!(end.as_deref(), Some(END_OF_TEXT));
    }

    #[test]
    fn a_trained_bpe_has_its_vocabulary_loses_nothing_and_shortens() {
        let tokenizer = Tokenizer::train(400, &corpus()).unwrap();
        assert_eq!(tokenizer.vocab(), 400);
        assert_eq!(tokenizer.end_of_document(), Some(0));
        let text = "  fn unseen(x: u32) {}\n\n\t// 🦀 ok ";
        let tokens = tokenizer.encode(vec![text, "x"]).unwrap();
        assert_eq!(tokenizer.decode(&tokens[0]).unwrap(), text);
        assert!(tokens[0].len() < text.len());
        assert!(!tokens[0].contains(&0));
    }

    #[test]
    fn training_twice_gives_the_same_bpe() {
        let first = Tokenizer::train(600, &corpus()).unwrap();
        let mut turned = corpus();
        turned.reverse();
        let second = Tokenizer::train(600, &turned).unwrap();
        assert_eq!(first.json(), second.json());
    }

    #[test]
    fn a_saved_bpe_loads_as_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let trained = Tokenizer::train(300, &corpus()).unwrap();
        fs_err::write(&path, trained.json().unwrap()).unwrap();
        let loaded = Tokenizer::load(&path).unwrap();
        let text = "fn number(x: u32)";
        assert_eq!(loaded.encode(vec![text]).unwrap(), trained.encode(vec![text]).unwrap());
        assert_eq!(loaded.end_of_document(), Some(0));
        fs_err::write(&path, "{}").unwrap();
        let broken = Tokenizer::load(&path).err().unwrap();
        assert_eq!(broken.code(), "bad_tokenizer");
    }

    #[test]
    fn tokenizers_are_named_as_they_are_written() {
        assert_eq!(TokenizerSpec::parse("bpe:4Ki").unwrap().name(), "bpe:4096");
        let file = TokenizerSpec::parse("some/where/tok.json").unwrap();
        assert_eq!(file.name(), "file:tok.json");
        for wrong in ["bpe:256", "bpe:x", "bytes", "tok.model"] {
            assert!(TokenizerSpec::parse(wrong).is_err(), "{wrong}");
        }
    }
}
