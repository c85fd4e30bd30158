//! A look at prepared data: what there is, and what one of it says.
//!
//! Refuses to change anything.

use std::path::Path;

use serde::Serialize;

use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::manifest::{MANIFEST_FILE, Manifest};
use crate::model::data_info::DataInfo;

/// Tokens of a sample.
const SAMPLE_TOKENS: u64 = 200;

/// One data set in numbers, with the beginning of each split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    pub manifest: Manifest,
    /// The beginning of each split, in the order of the manifest.
    pub samples: Vec<Sample>,
}

/// The beginning of a split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    pub split: String,
    /// Its text; none: it never was text.
    pub text: Option<String>,
    pub tokens: Vec<i64>,
}

/// The names of all data below a folder, sorted; a folder that is not there has none.
pub fn names(root: &Path) -> Result<Vec<String>, DataError> {
    if !root.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs_err::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().join(MANIFEST_FILE).exists() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A name with what planning must know of its data, or why that cannot be read.
pub type Listed = (String, Result<DataInfo, DataError>);

/// All data below a folder, sorted by name; data that cannot be read is told as such and hides no other.
pub fn list(root: &Path) -> Result<Vec<Listed>, DataError> {
    let names = names(root)?;
    let info = |name: String| {
        let info = Manifest::read(&root.join(&name)).map(|manifest| manifest.info());
        (name, info)
    };
    Ok(names.into_iter().map(info).collect())
}

/// Opens the data of a name.
pub fn open(root: &Path, name: &str) -> Result<Dataset, DataError> {
    if !root.join(name).join(MANIFEST_FILE).exists() {
        return Err(DataError::UnknownData {
            name: name.to_owned(),
            known: names(root)?,
        });
    }
    Dataset::open(&root.join(name))
}

/// Checks the data of a name against its hashes and shows how each split begins.
pub fn inspect(root: &Path, name: &str) -> Result<Inspection, DataError> {
    let data = open(root, name)?;
    data.verify()?;
    let tokenizer = data.tokenizer()?;
    let mut samples = Vec::new();
    for split in &data.manifest().splits {
        let mut tokens = Vec::new();
        let split = data.split(&split.name)?;
        split.read(0..split.tokens().min(SAMPLE_TOKENS), &mut tokens);
        let ids: Vec<u32> = tokens.iter().map(|&token| token as u32).collect();
        let text = tokenizer.as_ref().map(|tokenizer| tokenizer.decode(&ids));
        samples.push(Sample {
            split: split.name().to_owned(),
            text: text.transpose()?,
            tokens,
        });
    }
    Ok(Inspection {
        manifest: data.manifest().clone(),
        samples,
    })
}
