//! Prepares data: from inputs to a folder of shards with a manifest, whole or not at all.
//!
//! Documents are read twice, so that memory holds their hashes and never the corpus: once to decide their fates, once
//! to write their tokens. Refuses to know where the working home is; the folder of all data is an argument.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::dataset::Dataset;
use crate::data::documents;
use crate::data::error::DataError;
use crate::data::fates::{self, Fate, HeldOut, HeldOutFrom, Seen};
use crate::data::manifest::{self, FORMAT, Manifest, SYNTHETIC, Split, TOKENIZER_FILE};
use crate::data::shards::{SHARD_TOKENS, ShardWriter, Width};
use crate::data::source::{self, Source, TextFile};
use crate::data::synthetic::{Markov, MarkovSpec};
use crate::data::tokenizer::{Tokenizer, TokenizerSpec};
use crate::model::data_info::TRAIN;

/// Text that is turned into tokens at once, on all cores, in bytes.
const BATCH_BYTES: usize = 8 << 20;
/// Most text that a BPE is trained on, in bytes; merges of a small vocabulary are settled long before.
const BPE_SAMPLE_BYTES: u64 = 16 << 20;
/// Tokens of a synthetic source that are written at once.
const SYNTHETIC_CHUNK: u64 = 1 << 20;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The name that sweeps will use.
    pub name: String,
    /// The inputs, in order.
    pub sources: Vec<Source>,
    /// The tokenizer; not used by a synthetic source.
    pub tokenizer: TokenizerSpec,
    /// The column of text in tables and JSON lines.
    pub text_column: String,
    /// The held-out sets, the one of the final loss first; none: [`HeldOut::standard`].
    pub held_out: Vec<HeldOut>,
    /// Most bytes of text that are taken from the inputs: a fair sample of documents.
    pub bytes_max: Option<u64>,
    /// Whether other data of this name is replaced.
    pub force: bool,
    /// Where cargo keeps its registry (`CARGO_HOME`, else `~/.cargo`); only `rust-sources` looks there.
    pub cargo_home: PathBuf,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The inputs are found; cargo may be fetching.
    Searching,
    /// So many documents have been read.
    Reading(u64),
    /// A BPE is trained.
    TrainingTokenizer,
    /// So many bytes of text, of so many, are tokens.
    Tokenizing {
        /// Done.
        bytes: u64,
        /// In all.
        total: u64,
    },
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// New data.
    Prepared,
    /// The same data was there, whole.
    Unchanged,
    /// Data of that name was replaced, or the same data was damaged and is whole again.
    Replaced,
}

/// What came out; the keys are those of `sandbox data prepare --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The name.
    pub data: String,
    /// Hash of all tokens.
    pub hash: String,
    /// Size of the vocabulary.
    pub vocab: u64,
    /// Tokens by split.
    pub tokens: BTreeMap<String, u64>,
    /// Bytes of training text for each token; none for a synthetic source.
    pub bytes_per_token: Option<f64>,
    /// Documents of all splits.
    pub documents: u64,
    /// Documents left out because their equal is in.
    pub duplicates_dropped: u64,
    /// The tokenizer's name.
    pub tokenizer: String,
    /// The loss that no model can beat, in nats per token, where it is known.
    pub entropy_rate_nats: Option<f64>,
    /// What was done.
    pub outcome: Outcome,
}

/// Prepares data in the folder `root/<name>`; on any error nothing there has changed.
pub fn prepare(request: &Request, root: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Summary, DataError> {
    if !manifest::is_name(&request.name) {
        return Err(DataError::BadName {
            name: request.name.clone(),
        });
    }
    let mut request = request.clone();
    if request.held_out.is_empty() {
        request.held_out.push(HeldOut::standard());
    }
    fates::check_sets(&request.held_out)?;
    let target = Target::new(root, &request.name);
    progress(Progress::Searching);
    match &request.sources[..] {
        [Source::Markov(spec)] => prepare_markov(&request, spec, &target, progress),
        _ => prepare_text(&request, &target, progress),
    }
}

/// Where the data goes, and the folder beside it where it is made.
struct Target {
    folder: PathBuf,
    staging: PathBuf,
}

impl Target {
    fn new(root: &Path, name: &str) -> Self {
        Self {
            folder: root.join(name),
            // A name never begins with a dot, so this is nobody's data.
            staging: root.join(format!(".{name}.{}.tmp", std::process::id())),
        }
    }

    /// What is there: the outcome that preparing these inputs would have, and the manifest if that is no work.
    fn compare(&self, request: &Request, inputs_hash: &str) -> Result<(Outcome, Option<Manifest>), DataError> {
        if !self.folder.exists() {
            return Ok((Outcome::Prepared, None));
        }
        let there = Manifest::read(&self.folder);
        if there.as_ref().is_ok_and(|there| there.inputs_hash == inputs_hash) {
            let whole = Dataset::open(&self.folder).and_then(|data| data.verify());
            return Ok(match whole {
                Ok(()) => (Outcome::Unchanged, there.ok()),
                Err(_) => (Outcome::Replaced, None),
            });
        }
        if request.force {
            return Ok((Outcome::Replaced, None));
        }
        Err(DataError::NameTaken {
            name: request.name.clone(),
        })
    }

    /// Starts an empty staging folder.
    fn stage(&self) -> Result<(), DataError> {
        if self.staging.exists() {
            fs_err::remove_dir_all(&self.staging)?;
        }
        fs_err::create_dir_all(&self.staging)?;
        Ok(())
    }

    /// Writes the manifest and puts the staged folder in its place.
    fn publish(&self, manifest: &Manifest) -> Result<(), DataError> {
        manifest.write(&self.staging)?;
        let old = self.staging.with_extension("old");
        let replaces = self.folder.exists();
        if replaces {
            fs_err::rename(&self.folder, &old)?;
        }
        fs_err::rename(&self.staging, &self.folder)?;
        if replaces {
            fs_err::remove_dir_all(&old)?;
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // After a success it is gone; after an error this is the clean-up, and the first error is the one to tell.
        drop(fs_err::remove_dir_all(&self.staging));
    }
}

/// Prepares a synthetic source: one stretch of the chain for each split.
fn prepare_markov(
    request: &Request,
    spec: &MarkovSpec,
    target: &Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, DataError> {
    let wrong = |why: &str| DataError::BadSynthetic {
        text: spec.canonical(),
        why: why.to_owned(),
    };
    if request.tokenizer != TokenizerSpec::Byte {
        return Err(wrong("it gives tokens and needs no tokenizer"));
    }
    let mut splits = vec![(TRAIN.to_owned(), 0)];
    for set in &request.held_out {
        let HeldOutFrom::Share(share) = set.from else {
            return Err(wrong("a held-out set of it is a share, not a path"));
        };
        splits.push((set.name.clone(), (share * spec.tokens as f64).round() as u64));
    }
    let held_out: u64 = splits.iter().map(|(_, tokens)| tokens).sum();
    splits[0].1 = spec.tokens.saturating_sub(held_out);
    if splits.iter().any(|(_, tokens)| *tokens < 2) {
        return Err(wrong("so few tokens leave a split without any"));
    }
    let mut hasher = blake3::Hasher::new();
    manifest::feed(&mut hasher, &format!("{FORMAT} {} {splits:?}", spec.canonical()));
    let inputs_hash = manifest::short_hash(&hasher);
    let (outcome, there) = target.compare(request, &inputs_hash)?;
    if let Some(there) = there {
        return Ok(summary(&there, outcome));
    }
    target.stage()?;
    let chain = Markov::new(spec);
    let mut manifest = Manifest {
        tokenizer: SYNTHETIC.to_owned(),
        vocab: spec.vocab,
        entropy_rate_nats: Some(chain.entropy_rate_nats()),
        ..empty_manifest(request, inputs_hash, Width::for_vocab(spec.vocab))
    };
    for (stream, (name, tokens)) in (0u64..).zip(splits) {
        let mut writer = ShardWriter::new(&target.staging, &name, Width::for_vocab(spec.vocab), SHARD_TOKENS);
        let mut walk = chain.walk(stream);
        let mut done = 0;
        while done < tokens {
            let chunk = SYNTHETIC_CHUNK.min(tokens - done);
            let chunk = usize::try_from(chunk).expect("a chunk is small");
            let drawn: Vec<u32> = walk.by_ref().take(chunk).collect();
            writer.write(&drawn)?;
            done += drawn.len() as u64;
            progress(Progress::Tokenizing {
                bytes: done,
                total: tokens,
            });
        }
        manifest.documents += 1;
        manifest.splits.push(Split {
            name,
            documents: 1,
            tokens,
            text_bytes: None,
            shards: writer.finish()?,
        });
    }
    finish(manifest, target, outcome)
}

/// Prepares text.
fn prepare_text(request: &Request, target: &Target, progress: &mut dyn FnMut(Progress)) -> Result<Summary, DataError> {
    let files = find_files(request, target)?;
    let corpus = read_corpus(request, files, progress)?;
    let (tokenizer_text, loaded) = match &request.tokenizer {
        TokenizerSpec::Byte => (manifest::BYTE.to_owned(), Some(Tokenizer::Byte)),
        TokenizerSpec::Bpe(_) => (format!("{} {BPE_SAMPLE_BYTES}", request.tokenizer.name()), None),
        TokenizerSpec::File(path) => {
            let tokenizer = Tokenizer::load(path)?;
            (tokenizer.json().unwrap_or_default().to_owned(), Some(tokenizer))
        }
    };
    let inputs_hash = corpus.hash(request, &tokenizer_text);
    let (outcome, there) = target.compare(request, &inputs_hash)?;
    if let Some(there) = there {
        return Ok(summary(&there, outcome));
    }
    let tokenizer = match (loaded, &request.tokenizer) {
        (Some(tokenizer), _) => tokenizer,
        (None, TokenizerSpec::Bpe(vocab)) => {
            progress(Progress::TrainingTokenizer);
            Tokenizer::train(*vocab, &corpus.sample(request)?)?
        }
        (None, TokenizerSpec::Byte | TokenizerSpec::File(_)) => unreachable!("loaded above"),
    };
    target.stage()?;
    let width = Width::for_vocab(tokenizer.vocab());
    let mut manifest = Manifest {
        tokenizer: request.tokenizer.name(),
        tokenizer_hash: tokenizer
            .json()
            .map(|json| blake3::hash(json.as_bytes()).to_hex().to_string()),
        vocab: tokenizer.vocab(),
        end_of_document: tokenizer.end_of_document(),
        duplicates_dropped: corpus.count(Fate::Duplicate),
        ..empty_manifest(request, inputs_hash, width)
    };
    if let Some(json) = tokenizer.json() {
        fs_err::write(target.staging.join(TOKENIZER_FILE), json)?;
    }
    manifest.splits = write_splits(request, &corpus, &tokenizer, &target.staging, progress)?;
    manifest.documents = manifest.splits.iter().map(|split| split.documents).sum();
    finish(manifest, target, outcome)
}

/// The files of all inputs; those of held-out sets first, so that their documents are not trained on.
fn find_files(request: &Request, target: &Target) -> Result<Vec<TextFile>, DataError> {
    let mut files = Vec::new();
    for (set, held_out) in request.held_out.iter().enumerate() {
        if let HeldOutFrom::Path(path) = &held_out.from {
            let source = Source::Path(path.clone());
            files.extend(source::files(&source, Some(set), &request.cargo_home, &target.staging)?);
        }
    }
    for source in &request.sources {
        files.extend(source::files(source, None, &request.cargo_home, &target.staging)?);
    }
    Ok(files)
}

/// What is known after the first reading.
struct Corpus {
    files: Vec<TextFile>,
    /// All documents, in the order of reading.
    seen: Vec<Seen>,
    /// Their fates.
    fates: Vec<Fate>,
}

/// Reads all documents once and decides their fates.
fn read_corpus(
    request: &Request,
    files: Vec<TextFile>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Corpus, DataError> {
    let mut seen = Vec::new();
    for file in &files {
        documents::visit(file, &request.text_column, &mut |text| {
            seen.push(Seen {
                hash: *blake3::hash(text.as_bytes()).as_bytes(),
                bytes: text.len() as u64,
                set: file.set,
            });
            Ok(())
        })?;
        progress(Progress::Reading(seen.len() as u64));
    }
    if seen.is_empty() {
        let inputs: Vec<String> = request.sources.iter().map(|source| format!("`{source}`")).collect();
        return Err(DataError::EmptyCorpus {
            searched: format!("{} is empty", inputs.join(", ")),
        });
    }
    let fates = fates::decide(&seen, &request.held_out, request.bytes_max)?;
    Ok(Corpus { files, seen, fates })
}

impl Corpus {
    fn count(&self, wanted: Fate) -> u64 {
        self.fates.iter().filter(|fate| **fate == wanted).count() as u64
    }

    /// Hash of everything that will determine the tokens.
    fn hash(&self, request: &Request, tokenizer: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        manifest::feed(&mut hasher, &FORMAT.to_string());
        manifest::feed(&mut hasher, tokenizer);
        for set in &request.held_out {
            manifest::feed(&mut hasher, &set.name);
        }
        for (document, fate) in self.seen.iter().zip(&self.fates) {
            if let Some(split) = split_of(*fate) {
                hasher.update(&(split as u64).to_le_bytes());
                hasher.update(&document.hash);
            }
        }
        manifest::short_hash(&hasher)
    }

    /// Reads the documents again, with their fates; a file that has changed meanwhile is an error.
    fn visit(
        &self,
        request: &Request,
        visit: &mut dyn FnMut(usize, &str) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut index = 0;
        for file in &self.files {
            let changed = || DataError::Changed {
                path: file.path.clone(),
            };
            documents::visit(file, &request.text_column, &mut |text| {
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

    /// The training text that a BPE is trained on: documents in the order of their hashes, up to a limit.
    fn sample(&self, request: &Request) -> Result<Vec<String>, DataError> {
        let mut order: Vec<usize> = (0..self.seen.len())
            .filter(|&index| self.fates[index] == Fate::Train)
            .collect();
        order.sort_by_key(|&index| self.seen[index].hash);
        let mut bytes = 0;
        let mut wanted = vec![false; self.seen.len()];
        for index in order {
            if bytes < BPE_SAMPLE_BYTES {
                bytes += self.seen[index].bytes;
                wanted[index] = true;
            }
        }
        let mut texts = Vec::new();
        self.visit(request, &mut |index, text| {
            if wanted[index] {
                texts.push(text.to_owned());
            }
            Ok(())
        })?;
        Ok(texts)
    }
}

/// The split of a fate: 0 is training; none: it is left out.
fn split_of(fate: Fate) -> Option<usize> {
    match fate {
        Fate::Train => Some(0),
        Fate::HeldOut(set) => Some(set + 1),
        Fate::Duplicate | Fate::LeftOut => None,
    }
}

/// Turns documents into tokens, a batch at a time, and gives the finished splits.
fn write_splits(
    request: &Request,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Split>, DataError> {
    let width = Width::for_vocab(tokenizer.vocab());
    let names = request.held_out.iter().map(|set| set.name.clone());
    let mut splits: Vec<OpenSplit> = std::iter::once(TRAIN.to_owned())
        .chain(names)
        .map(|name| OpenSplit {
            writer: ShardWriter::new(folder, &name, width, SHARD_TOKENS),
            name,
            documents: 0,
            tokens: 0,
            text_bytes: 0,
        })
        .collect();
    let kept = corpus.seen.iter().zip(&corpus.fates);
    let kept = kept.filter(|(_, fate)| split_of(**fate).is_some());
    let total = kept.map(|(document, _)| document.bytes).sum();
    let mut batch: Vec<(usize, String)> = Vec::new();
    let (mut waiting, mut done) = (0, 0);
    corpus.visit(request, &mut |index, text| {
        let Some(split) = split_of(corpus.fates[index]) else {
            return Ok(());
        };
        waiting += text.len();
        batch.push((split, text.to_owned()));
        if waiting >= BATCH_BYTES {
            write_batch(&mut splits, &mut batch, tokenizer)?;
            done += waiting as u64;
            waiting = 0;
            progress(Progress::Tokenizing { bytes: done, total });
        }
        Ok(())
    })?;
    write_batch(&mut splits, &mut batch, tokenizer)?;
    progress(Progress::Tokenizing { bytes: total, total });
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

/// A manifest in which nothing is counted yet.
fn empty_manifest(request: &Request, inputs_hash: String, width: Width) -> Manifest {
    Manifest {
        format: FORMAT,
        name: request.name.clone(),
        hash: String::new(),
        inputs_hash,
        sources: request.sources.iter().map(Source::to_string).collect(),
        tokenizer: String::new(),
        tokenizer_hash: None,
        vocab: 0,
        end_of_document: None,
        token_bytes: width.bytes(),
        documents: 0,
        duplicates_dropped: 0,
        entropy_rate_nats: None,
        splits: Vec::new(),
    }
}

/// Names the data by its hash and puts it in its place.
fn finish(mut manifest: Manifest, target: &Target, outcome: Outcome) -> Result<Summary, DataError> {
    manifest.hash = manifest.tokens_hash();
    target.publish(&manifest)?;
    Ok(summary(&manifest, outcome))
}

fn summary(manifest: &Manifest, outcome: Outcome) -> Summary {
    let tokens = manifest.splits.iter();
    let tokens = tokens.map(|split| (split.name.clone(), split.tokens)).collect();
    Summary {
        data: manifest.name.clone(),
        hash: manifest.hash.clone(),
        vocab: manifest.vocab,
        tokens,
        bytes_per_token: manifest.train().and_then(Split::bytes_per_token),
        documents: manifest.documents,
        duplicates_dropped: manifest.duplicates_dropped,
        tokenizer: manifest.tokenizer.clone(),
        entropy_rate_nats: manifest.entropy_rate_nats,
        outcome,
    }
}

#[cfg(test)]
mod tests;
