//! Prepared data, opened: its shards are mapped into memory and read as tokens, windows and batches.
//!
//! Refuses to know tensors and how tokens were made.

use std::ops::Range;
use std::path::{Path, PathBuf};

use fs_err::File;
use memmap2::Mmap;

use crate::data::error::DataError;
use crate::data::manifest::{self, MANIFEST_FILE, Manifest, TOKENIZER_FILE};
use crate::data::shards::Width;
use crate::data::tokenizer::Tokenizer;
use crate::model::data_info::{self, DataInfo};
use crate::model::order::WindowOrder;
use crate::units::Tokens;

/// A prepared data set.
#[derive(Debug)]
pub struct Dataset {
    folder: PathBuf,
    manifest: Manifest,
    /// In the order of the manifest.
    splits: Vec<SplitTokens>,
}

/// The tokens of one split.
#[derive(Debug)]
pub struct SplitTokens {
    name: String,
    width: Width,
    tokens: u64,
    shards: Vec<MappedShard>,
}

/// A shard in memory.
#[derive(Debug)]
struct MappedShard {
    /// Tokens of the split before it.
    first: u64,
    tokens: u64,
    bytes: Mmap,
}

impl Dataset {
    /// Opens the data in a folder, and checks that its files have the sizes that the manifest tells.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let manifest = Manifest::read(folder)?;
        let width = Width::from_bytes(manifest.token_bytes).ok_or_else(|| DataError::Damaged {
            path: folder.join(MANIFEST_FILE),
            why: format!("tokens of {} bytes", manifest.token_bytes),
        })?;
        let splits = manifest.splits.iter();
        let splits = splits
            .map(|split| SplitTokens::open(folder, split, width))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            folder: folder.to_owned(),
            manifest,
            splits,
        })
    }

    /// Checks every shard, and the whole, against its hash.
    pub fn verify(&self) -> Result<(), DataError> {
        let damaged = |file: &str, why: &str| {
            Err(DataError::Damaged {
                path: self.folder.join(file),
                why: why.to_owned(),
            })
        };
        for (split, mapped) in self.manifest.splits.iter().zip(&self.splits) {
            for (shard, mapped) in split.shards.iter().zip(&mapped.shards) {
                if blake3::hash(&mapped.bytes).to_hex().as_str() != shard.blake3 {
                    return damaged(&shard.file, "its bytes are not those that were written");
                }
            }
        }
        if let Some(hash) = &self.manifest.tokenizer_hash {
            let file = fs_err::read(self.folder.join(TOKENIZER_FILE))?;
            if blake3::hash(&file).to_hex().as_str() != hash {
                return damaged(TOKENIZER_FILE, "its bytes are not those that were written");
            }
        }
        if self.manifest.tokens_hash() != self.manifest.hash {
            return damaged(MANIFEST_FILE, "its hash is not that of its shards");
        }
        Ok(())
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What planning must know.
    pub fn info(&self) -> DataInfo {
        self.manifest.info()
    }

    /// A split by name.
    pub fn split(&self, name: &str) -> Result<&SplitTokens, DataError> {
        let found = self.splits.iter().find(|split| split.name == name);
        found.ok_or_else(|| DataError::UnknownSplit {
            data: self.manifest.name.clone(),
            split: name.to_owned(),
            known: self.splits.iter().map(|split| split.name.clone()).collect(),
        })
    }

    pub fn train(&self) -> Result<&SplitTokens, DataError> {
        self.split(data_info::TRAIN)
    }

    /// The order in which a run of this seed reads the training split; none: it is shorter than one context.
    pub fn train_order(&self, context: u64, seed: u64) -> Option<WindowOrder> {
        let windows = self.train().ok()?.windows(context);
        (windows > 0).then(|| WindowOrder::new(windows, seed, &self.manifest.hash))
    }

    /// The tokenizer that made the tokens; none: they were never text.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>, DataError> {
        match (&self.manifest.tokenizer_hash, self.manifest.tokenizer.as_str()) {
            (Some(_), _) => Tokenizer::load(&self.folder.join(TOKENIZER_FILE)).map(Some),
            (None, manifest::BYTE) => Ok(Some(Tokenizer::Byte)),
            (None, _) => Ok(None),
        }
    }
}

impl SplitTokens {
    fn open(folder: &Path, split: &manifest::Split, width: Width) -> Result<Self, DataError> {
        let mut first = 0;
        let mut shards = Vec::new();
        for shard in &split.shards {
            shards.push(MappedShard::open(folder, shard, width, first)?);
            first += shard.tokens;
        }
        if first != split.tokens {
            return Err(DataError::Damaged {
                path: folder.join(MANIFEST_FILE),
                why: format!("`{}` has {} tokens but shards of {first}", split.name, split.tokens),
            });
        }
        Ok(Self {
            name: split.name.clone(),
            width,
            tokens: first,
            shards,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of its tokens.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Whole windows of `context` tokens, each with the token after it.
    pub fn windows(&self, context: u64) -> u64 {
        data_info::windows(Tokens(self.tokens), context)
    }

    /// Appends a range of tokens to `out`.
    ///
    /// # Panics
    /// If the range is not within the split.
    pub fn read(&self, range: Range<u64>, out: &mut Vec<i64>) {
        assert!(range.end <= self.tokens, "tokens {range:?} of {}", self.tokens);
        let from = self
            .shards
            .partition_point(|shard| shard.first + shard.tokens <= range.start);
        for shard in self.shards[from..].iter().take_while(|shard| shard.first < range.end) {
            let start = range.start.max(shard.first) - shard.first;
            let end = range.end.min(shard.first + shard.tokens) - shard.first;
            shard.decode(start..end, self.width, out);
        }
    }

    /// Appends one window to `out`: `context + 1` tokens from token `window · context` on, the last for its target.
    pub fn window(&self, window: u64, context: u64, out: &mut Vec<i64>) {
        let start = window * context;
        self.read(start..start + context + 1, out);
    }

    /// Appends the rows of a batch to `out`: for each sequence of the run, the window that the order gives it.
    ///
    /// A row has `context + 1` tokens; rows stand in the order of sequences.
    pub fn batch(&self, order: &WindowOrder, sequences: Range<u64>, context: u64, out: &mut Vec<i64>) {
        assert_eq!(
            order.windows(),
            self.windows(context),
            "an order of this split and context"
        );
        for sequence in sequences {
            self.window(order.window(sequence), context, out);
        }
    }
}

impl MappedShard {
    #[expect(unsafe_code, reason = "mapping a file is unsafe because others could change it")]
    fn open(folder: &Path, shard: &manifest::Shard, width: Width, first: u64) -> Result<Self, DataError> {
        let path = folder.join(&shard.file);
        let damaged = |why: String| DataError::Damaged {
            path: path.clone(),
            why,
        };
        if !path.exists() {
            return Err(damaged("it is missing".to_owned()));
        }
        let file = File::open(&path)?;
        let (found, wanted) = (file.metadata()?.len(), shard.tokens * width.bytes());
        if found != wanted {
            return Err(damaged(format!("it has {found} bytes and should have {wanted}")));
        }
        // SAFETY: shards are written under another folder's name and published by a rename; nothing writes into or
        // shortens one afterwards. Data that is replaced is renamed and unlinked, which leaves this map as it is.
        let bytes = unsafe { Mmap::map(file.file()) }?;
        Ok(Self {
            first,
            tokens: shard.tokens,
            bytes,
        })
    }

    /// Appends tokens of this shard.
    fn decode(&self, range: Range<u64>, width: Width, out: &mut Vec<i64>) {
        let place = |token: u64| usize::try_from(token * width.bytes()).expect("a map fits in memory");
        let bytes = &self.bytes[place(range.start)..place(range.end)];
        match width {
            Width::Two => out.extend(
                bytes
                    .chunks_exact(2)
                    .map(|pair| i64::from(u16::from_le_bytes([pair[0], pair[1]]))),
            ),
            Width::Four => out.extend(
                bytes
                    .chunks_exact(4)
                    .map(|four| i64::from(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::manifest::{FORMAT, Split};
    use crate::data::shards::ShardWriter;
    use crate::model::order::batch_sequences;

    /// Data whose training tokens count up from 0, in shards of `shard_tokens`.
    fn counting(folder: &Path, tokens: u32, shard_tokens: u64) -> Dataset {
        let mut splits = Vec::new();
        for (name, count) in [("train", tokens), ("held_out", 10)] {
            let mut writer = ShardWriter::new(folder, name, Width::Two, shard_tokens);
            writer.write(&(0..count).collect::<Vec<_>>()).unwrap();
            splits.push(Split {
                name: name.to_owned(),
                documents: 1,
                tokens: u64::from(count),
                text_bytes: Some(u64::from(count)),
                shards: writer.finish().unwrap(),
            });
        }
        let mut manifest = Manifest {
            format: FORMAT,
            name: "counting".to_owned(),
            hash: String::new(),
            inputs_hash: String::new(),
            sources: Vec::new(),
            tokenizer: "synthetic".to_owned(),
            tokenizer_hash: None,
            vocab: 65_536,
            end_of_document: None,
            token_bytes: 2,
            documents: 2,
            duplicates_dropped: 0,
            entropy_rate_nats: None,
            splits,
        };
        manifest.hash = manifest.tokens_hash();
        manifest.write(folder).unwrap();
        Dataset::open(folder).unwrap()
    }

    #[test]
    fn ranges_are_read_across_shards() {
        for shard_tokens in [7, 20, 60, 100] {
            let folder = tempfile::tempdir().unwrap();
            let data = counting(folder.path(), 60, shard_tokens);
            let train = data.train().unwrap();
            for (start, end) in (0..=60u32).flat_map(|start| (start..=60).map(move |end| (start, end))) {
                let mut out = Vec::new();
                train.read(u64::from(start)..u64::from(end), &mut out);
                let expected: Vec<i64> = (start..end).map(i64::from).collect();
                assert_eq!(out, expected, "{start}..{end} in shards of {shard_tokens}");
            }
        }
    }

    #[test]
    fn two_batch_sizes_read_the_same_tokens_in_the_same_order() {
        let folder = tempfile::tempdir().unwrap();
        let data = counting(folder.path(), 1000, 300);
        let train = data.train().unwrap();
        let order = data.train_order(16, 3).unwrap();
        let read = |batch: u64| {
            let mut tokens = Vec::new();
            // 1920 tokens: nearly two passes over the 62 windows.
            for step in 0..1920 / batch {
                let sequences = batch_sequences(Tokens(step * batch), Tokens(batch), 16);
                train.batch(&order, sequences, 16, &mut tokens);
            }
            tokens
        };
        let small = read(32);
        assert_eq!(small.len(), 1920 / 16 * 17);
        assert_eq!(small, read(320));
        assert_ne!(small[..62 * 17], small[..17].repeat(62));
    }

    #[test]
    fn one_pass_reads_every_input_token_once() {
        let folder = tempfile::tempdir().unwrap();
        let data = counting(folder.path(), 161, 50);
        let train = data.train().unwrap();
        let order = data.train_order(16, 1).unwrap();
        let mut rows = Vec::new();
        train.batch(&order, 0..10, 16, &mut rows);
        let mut inputs: Vec<i64> = rows.chunks(17).flat_map(|row| row[..16].to_vec()).collect();
        inputs.sort_unstable();
        assert_eq!(inputs, (0..160).collect::<Vec<i64>>());
        // The last token of a row is the target after its inputs.
        assert!(rows.chunks(17).all(|row| row[16] == row[15] + 1));
    }

    #[test]
    fn data_shorter_than_a_context_has_no_order() {
        let folder = tempfile::tempdir().unwrap();
        let data = counting(folder.path(), 16, 50);
        assert_eq!(data.train_order(16, 1), None);
        assert!(data.train_order(15, 1).is_some());
    }

    #[test]
    fn a_shortened_shard_is_seen_at_once_and_a_changed_one_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let data = counting(folder.path(), 100, 60);
        data.verify().unwrap();
        drop(data);
        let shard = folder.path().join("train-00001.bin");
        let mut bytes = fs_err::read(&shard).unwrap();
        bytes[7] ^= 1;
        fs_err::write(&shard, &bytes).unwrap();
        let changed = Dataset::open(folder.path()).unwrap().verify().unwrap_err();
        assert_eq!(changed.code(), "damaged_data");
        assert!(changed.to_string().contains("train-00001.bin"), "{changed}");
        fs_err::write(&shard, &bytes[..10]).unwrap();
        let short = Dataset::open(folder.path()).unwrap_err();
        assert!(short.to_string().contains("10 bytes"), "{short}");
        fs_err::remove_file(&shard).unwrap();
        let missing = Dataset::open(folder.path()).unwrap_err();
        assert!(missing.to_string().contains("missing"), "{missing}");
    }

    #[test]
    fn an_unknown_split_is_answered_with_those_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let data = counting(folder.path(), 100, 60);
        let error = data.split("valid").unwrap_err().to_string();
        assert!(error.contains("train, held_out"), "{error}");
    }
}
