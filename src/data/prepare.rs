//! Prepares data: from inputs to a folder of shards with a manifest, whole or not at all.
//!
//! Documents are read twice, so that memory holds their hashes and never the corpus: once to decide their fates, once
//! to write their tokens. Refuses to know where the working home is; the folder of all data is an argument.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::corpus::{BadRecords, Corpus, Reading};
use crate::data::dataset::Dataset;
use crate::data::encode;
use crate::data::error::DataError;
use crate::data::manifest::{self, FORMAT, Manifest, SYNTHETIC, Split, TOKENIZER_FILE};
use crate::data::shards::{SHARD_TOKENS, ShardWriter, Width};
use crate::data::source::{self, Source, TextFile};
use crate::data::split::{self, Fate, HeldOut, HeldOutFrom};
use crate::data::synthetic::{Markov, MarkovSpec};
use crate::data::tokenizer::{Tokenizer, TokenizerSpec};
use crate::model::data_info::TRAIN;

/// Tokens of a synthetic source that are written at once.
const SYNTHETIC_CHUNK: usize = 1 << 20;
/// Most text that a BPE is trained on, in bytes; merges of a small vocabulary are settled long before.
const BPE_SAMPLE_BYTES: u64 = 16 << 20;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The name that sweeps will use.
    pub name: String,
    /// The inputs, in order.
    pub sources: Vec<Source>,
    /// The tokenizer; not used by a synthetic source.
    pub tokenizer: TokenizerSpec,
    pub reading: Reading,
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
    /// So much is tokens: bytes of text, or tokens of a split of a synthetic source.
    Tokenizing { bytes: u64, total: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Prepared,
    /// The same data was there, whole.
    Unchanged,
    /// Data of that name was replaced, or the same data was damaged and is whole again.
    Replaced,
}

/// What came out; the keys are those of `sandbox data prepare --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub data: String,
    /// Hash of all tokens.
    pub hash: String,
    /// Size of the vocabulary.
    pub vocab: u64,
    pub tokens: BTreeMap<String, u64>,
    /// Bytes of training text for each token; none for a synthetic source.
    pub bytes_per_token: Option<f64>,
    /// Documents of all splits.
    pub documents: u64,
    /// Documents left out because their equal is in.
    pub duplicates_dropped: u64,
    pub bad_records: BadRecords,
    pub tokenizer: String,
    /// The loss that no model can beat, in nats per token, where it is known.
    pub entropy_rate_nats: Option<f64>,
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
    split::check_sets(&request.held_out)?;
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
    let lengths = markov_lengths(request, spec)?;
    let names = split_names(request);
    let mut hasher = blake3::Hasher::new();
    manifest::feed(
        &mut hasher,
        &format!("{FORMAT} {} {names:?} {lengths:?}", spec.canonical()),
    );
    let inputs_hash = manifest::short_hash(&hasher);
    let (outcome, there) = target.compare(request, &inputs_hash)?;
    if let Some(there) = there {
        return Ok(summary(&there, outcome));
    }
    target.stage()?;
    let chain = Markov::new(spec);
    let mut splits = Vec::new();
    for (stream, (name, tokens)) in (0u64..).zip(names.into_iter().zip(lengths)) {
        let width = Width::for_vocab(spec.vocab);
        let mut writer = ShardWriter::new(&target.staging, &name, width, SHARD_TOKENS);
        let mut walk = chain.walk(stream);
        for done in (0..tokens).step_by(SYNTHETIC_CHUNK) {
            let chunk = usize::try_from(tokens - done).map_or(SYNTHETIC_CHUNK, |left| left.min(SYNTHETIC_CHUNK));
            writer.write(&walk.by_ref().take(chunk).collect::<Vec<u32>>())?;
            progress(Progress::Tokenizing {
                bytes: done,
                total: tokens,
            });
        }
        splits.push(Split {
            name,
            documents: 1,
            tokens,
            text_bytes: None,
            shards: writer.finish()?,
        });
    }
    let manifest = Manifest {
        tokenizer: SYNTHETIC.to_owned(),
        vocab: spec.vocab,
        entropy_rate_nats: Some(chain.entropy_rate_nats()),
        documents: splits.len() as u64,
        splits,
        ..empty_manifest(request, inputs_hash, Width::for_vocab(spec.vocab))
    };
    finish(manifest, target, outcome)
}

/// Tokens of each split of a synthetic source.
fn markov_lengths(request: &Request, spec: &MarkovSpec) -> Result<Vec<u64>, DataError> {
    let wrong = |why: &str| DataError::BadSynthetic {
        text: spec.canonical(),
        why: why.to_owned(),
    };
    if request.tokenizer != TokenizerSpec::Byte {
        return Err(wrong("it gives tokens and needs no tokenizer"));
    }
    let mut lengths = vec![spec.tokens];
    for set in &request.held_out {
        let HeldOutFrom::Share(share) = set.from else {
            return Err(wrong("a held-out set of it is a share, not a path"));
        };
        let length = (share * spec.tokens as f64).round() as u64;
        lengths[0] -= length;
        lengths.push(length);
    }
    // A window needs a token and its target.
    if lengths.iter().any(|length| *length < 2) {
        return Err(wrong("so few tokens leave a split without any"));
    }
    Ok(lengths)
}

fn prepare_text(request: &Request, target: &Target, progress: &mut dyn FnMut(Progress)) -> Result<Summary, DataError> {
    let files = find_files(request, target)?;
    let corpus = Corpus::read(
        files,
        &request.reading,
        &request.held_out,
        request.bytes_max,
        &mut |documents| progress(Progress::Reading(documents)),
    )?;
    // A loaded tokenizer is known by what is in it, one that is still to be trained by what it will be trained on.
    let (loaded, known_by) = match &request.tokenizer {
        TokenizerSpec::Byte => (Some(Tokenizer::Byte), manifest::BYTE.to_owned()),
        TokenizerSpec::Bpe(vocab) => (None, format!("bpe {vocab} of {BPE_SAMPLE_BYTES}")),
        TokenizerSpec::File(path) => {
            let tokenizer = Tokenizer::load(path)?;
            let json = tokenizer.json().unwrap_or_default().to_owned();
            (Some(tokenizer), json)
        }
    };
    let inputs_hash = text_inputs_hash(request, &known_by, &corpus);
    let (outcome, there) = target.compare(request, &inputs_hash)?;
    if let Some(there) = there {
        let bad_records = corpus.bad_records().clone();
        let there = summary(&there, outcome);
        return Ok(Summary { bad_records, ..there });
    }
    let tokenizer = match (loaded, &request.tokenizer) {
        (None, TokenizerSpec::Bpe(vocab)) => {
            progress(Progress::TrainingTokenizer);
            Tokenizer::train(*vocab, &corpus.sample(BPE_SAMPLE_BYTES)?)?
        }
        (loaded, _) => loaded.expect("all but a BPE are loaded"),
    };
    target.stage()?;
    if let Some(json) = tokenizer.json() {
        fs_err::write(target.staging.join(TOKENIZER_FILE), json)?;
    }
    let total = corpus.bytes();
    let splits = encode::write_splits(
        &corpus,
        &split_names(request),
        &tokenizer,
        &target.staging,
        &mut |bytes| {
            progress(Progress::Tokenizing { bytes, total });
        },
    )?;
    let hash = |json: &str| blake3::hash(json.as_bytes()).to_hex().to_string();
    let manifest = Manifest {
        tokenizer: request.tokenizer.name(),
        tokenizer_hash: tokenizer.json().map(hash),
        vocab: tokenizer.vocab(),
        end_of_document: tokenizer.end_of_document(),
        documents: splits.iter().map(|split| split.documents).sum(),
        duplicates_dropped: corpus.count(Fate::Duplicate),
        splits,
        ..empty_manifest(request, inputs_hash, Width::for_vocab(tokenizer.vocab()))
    };
    Ok(Summary {
        bad_records: corpus.bad_records().clone(),
        ..finish(manifest, target, outcome)?
    })
}

/// Hash of everything that will determine the tokens of text.
fn text_inputs_hash(request: &Request, tokenizer: &str, corpus: &Corpus) -> String {
    let mut hasher = blake3::Hasher::new();
    manifest::feed(&mut hasher, &FORMAT.to_string());
    manifest::feed(&mut hasher, tokenizer);
    for name in split_names(request) {
        manifest::feed(&mut hasher, &name);
    }
    corpus.feed(&mut hasher);
    manifest::short_hash(&hasher)
}

/// The names of the splits, in the order of their indices.
fn split_names(request: &Request) -> Vec<String> {
    let held_out = request.held_out.iter().map(|set| set.name.clone());
    std::iter::once(TRAIN.to_owned()).chain(held_out).collect()
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
        bad_records: BadRecords::default(),
        tokenizer: manifest.tokenizer.clone(),
        entropy_rate_nats: manifest.entropy_rate_nats,
        outcome,
    }
}

#[cfg(test)]
mod tests;
