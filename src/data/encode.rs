//! Turns the documents of a corpus into the shards of its splits.
//!
//! Refuses to know why a document is in its split.

use std::path::Path;

use crate::data::corpus::Corpus;
use crate::data::error::DataError;
use crate::data::manifest::Split;
use crate::data::shards::{SHARD_TOKENS, ShardWriter, Width};
use crate::data::tokenizer::Tokenizer;

/// Text that is turned into tokens at once, on all cores, in bytes.
const BATCH_BYTES: usize = 8 << 20;

/// Writes the splits of these names, in the order of their indices, into a folder.
///
/// `encoded` hears how many bytes of text are done.
pub fn write_splits(
    corpus: &Corpus,
    names: &[String],
    tokenizer: &Tokenizer,
    folder: &Path,
    encoded: &mut dyn FnMut(u64),
) -> Result<Vec<Split>, DataError> {
    let width = Width::for_vocab(tokenizer.vocab());
    let mut splits: Vec<OpenSplit> = names
        .iter()
        .map(|name| OpenSplit {
            name: name.clone(),
            writer: ShardWriter::new(folder, name, width, SHARD_TOKENS),
            documents: 0,
            tokens: 0,
            text_bytes: 0,
        })
        .collect();
    let mut batch: Vec<(usize, String)> = Vec::new();
    let (mut waiting, mut done) = (0, 0);
    corpus.visit(&mut |split, text| {
        waiting += text.len();
        batch.push((split, text.to_owned()));
        if waiting >= BATCH_BYTES {
            write_batch(&mut splits, &mut batch, tokenizer)?;
            done += waiting as u64;
            waiting = 0;
            encoded(done);
        }
        Ok(())
    })?;
    write_batch(&mut splits, &mut batch, tokenizer)?;
    encoded(done + waiting as u64);
    splits.into_iter().map(OpenSplit::finish).collect()
}

/// A split that is being written.
struct OpenSplit {
    name: String,
    writer: ShardWriter,
    documents: u64,
    tokens: u64,
    text_bytes: u64,
}

impl OpenSplit {
    fn finish(self) -> Result<Split, DataError> {
        Ok(Split {
            name: self.name,
            documents: self.documents,
            tokens: self.tokens,
            text_bytes: Some(self.text_bytes),
            shards: self.writer.finish()?,
        })
    }
}

/// Writes the documents of a batch to their splits and empties it.
fn write_batch(
    splits: &mut [OpenSplit],
    batch: &mut Vec<(usize, String)>,
    tokenizer: &Tokenizer,
) -> Result<(), DataError> {
    let end = tokenizer.end_of_document();
    let tokens = tokenizer.encode(batch.iter().map(|(_, text)| text.as_str()).collect())?;
    for ((split, text), mut tokens) in batch.drain(..).zip(tokens) {
        tokens.extend(end);
        let split = &mut splits[split];
        split.documents += 1;
        split.text_bytes += text.len() as u64;
        split.tokens += tokens.len() as u64;
        split.writer.write(&tokens)?;
    }
    Ok(())
}
