//! Writes the tokens of one split into files of bounded size.
//!
//! Refuses to know what the tokens mean. Files are written once and never changed: whoever maps them relies on it.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use fs_err::File;

use crate::data::error::DataError;
use crate::data::manifest::Shard;

/// Most tokens of one file: 128 or 256 MiB.
pub const SHARD_TOKENS: u64 = 1 << 26;

/// How a token is kept, little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Two bytes: vocabularies up to 65,536.
    Two,
    /// Four bytes.
    Four,
}

impl Width {
    /// The narrowest width for a vocabulary.
    pub fn for_vocab(vocab: u64) -> Self {
        if vocab <= 1 << 16 { Self::Two } else { Self::Four }
    }

    /// The width of that many bytes.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        [Self::Two, Self::Four].into_iter().find(|width| width.bytes() == bytes)
    }

    /// Bytes of one token.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// Writes one split; [`ShardWriter::finish`] gives the list of its files.
pub struct ShardWriter {
    folder: PathBuf,
    split: String,
    width: Width,
    shard_tokens: u64,
    shards: Vec<Shard>,
    /// The file that is being written; none before the first token and after a full file.
    open: Option<OpenShard>,
}

/// A file that is being written.
struct OpenShard {
    file: String,
    out: BufWriter<File>,
    hasher: blake3::Hasher,
    tokens: u64,
}

impl ShardWriter {
    /// A writer of files `<split>-00000.bin`, … of at most `shard_tokens` tokens each.
    pub fn new(folder: &Path, split: &str, width: Width, shard_tokens: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            split: split.to_owned(),
            width,
            shard_tokens,
            shards: Vec::new(),
            open: None,
        }
    }

    /// Adds tokens at the end of the split.
    pub fn write(&mut self, tokens: &[u32]) -> Result<(), DataError> {
        let mut rest = tokens;
        while !rest.is_empty() {
            let mut shard = match self.open.take() {
                Some(shard) => shard,
                None => self.start_shard()?,
            };
            let room = usize::try_from(self.shard_tokens - shard.tokens).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(rest.len().min(room));
            let bytes = encode(now, self.width);
            shard.hasher.update(&bytes);
            shard.out.write_all(&bytes)?;
            shard.tokens += now.len() as u64;
            if shard.tokens == self.shard_tokens {
                self.shards.push(shard.finish()?);
            } else {
                self.open = Some(shard);
            }
            rest = later;
        }
        Ok(())
    }

    /// Ends the last file and gives them all.
    pub fn finish(mut self) -> Result<Vec<Shard>, DataError> {
        if let Some(shard) = self.open.take() {
            self.shards.push(shard.finish()?);
        }
        Ok(self.shards)
    }

    fn start_shard(&self) -> Result<OpenShard, DataError> {
        let file = format!("{}-{:05}.bin", self.split, self.shards.len());
        let out = BufWriter::new(File::create(self.folder.join(&file))?);
        Ok(OpenShard {
            file,
            out,
            hasher: blake3::Hasher::new(),
            tokens: 0,
        })
    }
}

impl OpenShard {
    /// Brings the file to the disk: the rename that publishes it must not come first.
    fn finish(mut self) -> Result<Shard, DataError> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        Ok(Shard {
            file: self.file,
            tokens: self.tokens,
            blake3: self.hasher.finalize().to_hex().to_string(),
        })
    }
}

/// The bytes of tokens in a shard.
fn encode(tokens: &[u32], width: Width) -> Vec<u8> {
    match width {
        Width::Two => tokens
            .iter()
            .flat_map(|&token| {
                let narrow = u16::try_from(token).expect("a vocabulary of 65,536 has tokens below it");
                narrow.to_le_bytes()
            })
            .collect(),
        Width::Four => tokens.iter().flat_map(|token| token.to_le_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_full_but_for_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ShardWriter::new(folder.path(), "train", Width::Two, 4);
        writer.write(&[1, 2, 3]).unwrap();
        writer.write(&[4, 5, 6, 7, 8, 65_535]).unwrap();
        let shards = writer.finish().unwrap();
        let tokens: Vec<u64> = shards.iter().map(|shard| shard.tokens).collect();
        assert_eq!(tokens, [4, 4, 1]);
        let last = fs_err::read(folder.path().join("train-00002.bin")).unwrap();
        assert_eq!(last, [0xff, 0xff]);
    }

    #[test]
    fn a_full_last_file_is_not_followed_by_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ShardWriter::new(folder.path(), "x", Width::Four, 2);
        writer.write(&[1, 70_000]).unwrap();
        let shards = writer.finish().unwrap();
        assert_eq!(shards.len(), 1);
        let bytes = fs_err::read(folder.path().join("x-00000.bin")).unwrap();
        assert_eq!(bytes, [1, 0, 0, 0, 0x70, 0x11, 1, 0]);
        assert_eq!(shards[0].blake3, blake3::hash(&bytes).to_hex().to_string());
    }

    #[test]
    fn the_width_follows_the_vocabulary() {
        assert_eq!(Width::for_vocab(65_536), Width::Two);
        assert_eq!(Width::for_vocab(65_537), Width::Four);
        assert_eq!(Width::from_bytes(4), Some(Width::Four));
        assert_eq!(Width::from_bytes(8), None);
    }
}
