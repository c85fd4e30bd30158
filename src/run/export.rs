//! What other programs read: a proxy as a folder that `transformers` loads, a sweep as TensorBoard's event files.
//!
//! Refuses to know tables: those are the command's own.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::checkpoint::State;
use crate::data::dataset::Dataset;
use crate::data::manifest::Manifest;
use crate::hugging_face::{self, Architecture, Form};
use crate::model::config::RunConfig;
use crate::model::tensors;
use crate::record::{PointRow, TrialRow};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::planning::data_failure;
use crate::store::Store;
use crate::tensorboard;
use crate::units::StageId;
use crate::workdir::write_atomic;

/// Writes a finished proxy as a folder that `transformers` loads, with the tokenizer of its data where that has one and is
/// still here; gives the files.
pub async fn model(
    context: &Context,
    store: &mut Store,
    trial: &TrialRow,
    form: Form,
    folder: &Path,
) -> Result<Vec<PathBuf>, Failure> {
    let not_kept = || {
        Failure::invalid(
            "no_weights",
            format!("the weights at the end of `{}` were not kept", trial.slug),
            "set `resources: {keep_weights: true}` in the sweep and run it again: only the last stages are trained again",
        )
    };
    let path = store.path(&trial.sweep, &trial.trial).await?;
    let leaf = StageId(path.last().ok_or_else(not_kept)?.stage.clone());
    let states = store.checkpoints(&leaf).await?;
    let end = states
        .iter()
        .find(|state| state.step.0 == trial.steps)
        .ok_or_else(not_kept)?;
    let file = context.workdir.resolved(&end.checkpoint.path);
    let bytes = fs::read(&file)?;
    if blake3::hash(&bytes).to_hex().as_str() != end.checkpoint.hash {
        return Err(damaged(&file, "it is not what was written"));
    }
    let config = store.stage_config(&leaf).await?;
    let state = State::read(&bytes).map_err(|error| damaged(&file, &error.to_string()))?;
    let flat = tensors::gather(config.shape, config.vocab, |name, numel| state.floats(name, numel))
        .map_err(|error| damaged(&file, &error.to_string()))?;
    let data = data_of(context, &config)?;
    let architecture = Architecture::of_run(&config, data.as_ref().and_then(|data| data.manifest().end_of_document));
    let mut files = hugging_face::export(&architecture, form, &flat)
        .map_err(|error| Failure::new(exit::INTERNAL, "export", error.to_string(), "please report this"))?;
    let tokenizer = data.map(|data| data.tokenizer()).transpose().map_err(data_failure)?;
    if let Some(tokenizer) = tokenizer.flatten() {
        let (json, end) = tokenizer.exported();
        files.extend(hugging_face::tokenizer_files(&architecture, json, end.as_deref()));
    }
    let mut written = Vec::new();
    for file in files {
        let path = folder.join(file.name);
        write_atomic(&path, &file.bytes)?;
        written.push(path);
    }
    Ok(written)
}

fn damaged(file: &Path, why: &str) -> Failure {
    let message = format!("the state `{}` cannot be used: {why}", file.display());
    Failure::environment("damaged_checkpoint", message, "run the sweep again: it is made again")
}

/// The data of a run, if it is still here.
fn data_of(context: &Context, config: &RunConfig) -> Result<Option<Dataset>, Failure> {
    let Ok(folders) = fs::read_dir(context.workdir.data()) else {
        return Ok(None);
    };
    for folder in folders {
        let folder = folder?.path();
        if folder.is_dir() {
            let manifest = Manifest::read(&folder).map_err(data_failure)?;
            if manifest.info().hash == config.data_hash {
                return Dataset::open(&folder).map(Some).map_err(data_failure);
            }
        }
    }
    Ok(None)
}

/// Writes every point of the trials as event files, a folder each; gives the folders.
///
/// Times are seconds of training since 1970 began: the database does not know when a point was made.
pub async fn events(
    store: &mut Store,
    sweep: Option<&str>,
    trials: &[TrialRow],
    folder: &Path,
) -> Result<Vec<PathBuf>, Failure> {
    let by_name: std::collections::BTreeMap<&str, &TrialRow> =
        trials.iter().map(|row| (row.trial.as_str(), row)).collect();
    let mut written = Vec::new();
    let mut open: Option<(TrialRow, Vec<u8>)> = None;
    let mut failure = None;
    let mut close = |open: &mut Option<(TrialRow, Vec<u8>)>| {
        if let Some((trial, bytes)) = open.take() {
            let path = folder
                .join(&trial.sweep)
                .join(&trial.slug)
                .join(tensorboard::file_name(0));
            if let Err(error) = write_atomic(&path, &bytes) {
                failure.get_or_insert(error);
            }
            written.push(path);
        }
    };
    store
        .each_point(sweep, &mut |point| {
            let Some(trial) = by_name.get(point.trial.as_str()) else {
                return;
            };
            if open.as_ref().is_none_or(|(open, _)| open.trial != point.trial) {
                close(&mut open);
                open = Some(((*trial).clone(), tensorboard::header(0.0)));
            }
            if let Some((trial, bytes)) = &mut open {
                scalars(bytes, trial, &point);
            }
        })
        .await?;
    close(&mut open);
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(written),
    }
}

/// The scalars of one point.
fn scalars(bytes: &mut Vec<u8>, trial: &TrialRow, point: &PointRow) {
    let share = point.step as f64 / trial.steps.max(1) as f64;
    let time = trial.seconds.unwrap_or(trial.steps as f64) * share;
    let tag = format!("loss/{}", point.split);
    tensorboard::scalar(bytes, &tag, point.step, time, point.loss);
    for (tag, value) in [("lr", point.lr), ("grad_norm", point.grad_norm)] {
        if let Some(value) = value {
            tensorboard::scalar(bytes, tag, point.step, time, value);
        }
    }
}
