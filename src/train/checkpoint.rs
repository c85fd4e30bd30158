//! Training states on disk: safetensors, float32, named by the blake3 of the file.
//!
//! Weights stand under their Hugging Face names, `AdamW`'s moments as two flat vectors in the order of the layout.
//! Nothing that could run code is ever loaded. Refuses to know about jobs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use fs_err::File;
use safetensors::tensor::{SafeTensors, TensorView};
use safetensors::{Dtype, SafeTensorError};
use sandbox::model::config::RunConfig;
use sandbox::units::Steps;
use sandbox::wire::{Cause, Checkpoint};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::failure::Failure;
use crate::layout::Layout;
use crate::model::Model;
use crate::step::Trainer;

/// Names of the moments.
const EXP_AVG: &str = "adamw.exp_avg";
const EXP_AVG_SQ: &str = "adamw.exp_avg_sq";
/// The one key of the metadata: of several, the writer's order would be another each time, and so the file's hash.
const ABOUT: &str = "sandbox";

/// What a state is.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    /// The stage that left it behind.
    stage: String,
    /// Hash of everything that determines the training.
    config_hash: String,
    /// Steps done.
    step: Steps,
}

/// Hash of everything that determines the training, as it stands in the metadata.
fn config_hash(config: &RunConfig) -> Result<String, Failure> {
    let text = serde_json::to_vec(config).map_err(|error| Failure::from_message(error.to_string()))?;
    Ok(blake3::hash(&text).to_hex().to_string())
}

/// Writes the state of `trainer`: to a temporary name, through to the disk, then to its own name.
pub(crate) fn save(
    trainer: &Trainer,
    stage: &str,
    path: &Path,
    before_rename: &dyn Fn(),
) -> Result<Checkpoint, Failure> {
    let weights = bytes(&trainer.model.flat);
    let moments = [
        (EXP_AVG, bytes(&trainer.optimizer.exp_avg)),
        (EXP_AVG_SQ, bytes(&trainer.optimizer.exp_avg_sq)),
    ];
    let mut views: BTreeMap<&str, TensorView<'_>> = BTreeMap::new();
    for entry in &trainer.model.layout.entries {
        let start = index(entry.offset) * 4;
        let part = &weights[start..start + index(entry.numel()) * 4];
        let size = entry.size.iter().map(|&size| index(size)).collect();
        let view = TensorView::new(Dtype::F32, size, part).map_err(unexpected)?;
        views.insert(&entry.name, view);
    }
    for (name, data) in &moments {
        let view = TensorView::new(Dtype::F32, vec![data.len() / 4], data).map_err(unexpected)?;
        views.insert(name, view);
    }
    let about = About {
        stage: stage.to_owned(),
        config_hash: config_hash(&trainer.config)?,
        step: trainer.done,
    };
    let about = serde_json::to_string(&about).map_err(|error| Failure::from_message(error.to_string()))?;
    let metadata = [(ABOUT.to_owned(), about)].into();
    let file = safetensors::serialize(views, Some(metadata)).map_err(unexpected)?;
    write_through(path, &file, before_rename)?;
    Ok(Checkpoint {
        path: path.to_owned(),
        hash: blake3::hash(&file).to_hex().to_string(),
    })
}

/// Reads a state back to go on with `config`, from exactly the step `from`.
pub(crate) fn load(
    checkpoint: &Checkpoint,
    config: &RunConfig,
    from: Steps,
    device: Device,
) -> Result<Trainer, Failure> {
    let damaged = |why: &str| {
        let path = checkpoint.path.display();
        Failure::new(
            Cause::DamagedCheckpoint,
            format!("checkpoint {path}: {why}; train its stage again"),
        )
    };
    let file = fs_err::read(&checkpoint.path).map_err(|error| damaged(&error.to_string()))?;
    if blake3::hash(&file).to_hex().as_str() != checkpoint.hash {
        return Err(damaged("its content does not have the recorded hash"));
    }
    let (_, header) = SafeTensors::read_metadata(&file).map_err(|error| damaged(&error.to_string()))?;
    let about = header.metadata().as_ref().and_then(|metadata| metadata.get(ABOUT));
    let about: Option<About> = about.and_then(|about| serde_json::from_str(about).ok());
    if about.is_none_or(|about| about.step != from) {
        return Err(damaged("it is not the state at the step where the stage begins"));
    }
    let tensors = SafeTensors::deserialize(&file).map_err(|error| damaged(&error.to_string()))?;
    let read = |name: &str, numel: i64| match tensors.tensor(name) {
        Ok(view) if view.dtype() == Dtype::F32 && view.data().len() == index(numel) * 4 => {
            Ok(Tensor::from_data_size(view.data(), &[numel], Kind::Float))
        }
        Ok(_) => Err(damaged(&format!("`{name}` does not fit the shape of the job"))),
        Err(error) => Err(damaged(&error.to_string())),
    };
    let layout = Layout::new(config.shape, config.vocab);
    let parts = layout
        .entries
        .iter()
        .map(|entry| read(&entry.name, entry.numel()))
        .collect::<Result<Vec<_>, _>>()?;
    let model = Model::from_weights(config, &Tensor::cat(&parts, 0), device);
    let mut trainer = Trainer::from_model(config, model);
    trainer.optimizer.exp_avg = read(EXP_AVG, layout.numel())?.to_device(device);
    trainer.optimizer.exp_avg_sq = read(EXP_AVG_SQ, layout.numel())?.to_device(device);
    trainer.done = from;
    Ok(trainer)
}

/// A float32 tensor's bytes, little-endian.
fn bytes(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let mut data = vec![0u8; tensor.numel() * 4];
    tensor.copy_data_u8(&mut data, tensor.numel());
    data
}

/// Writes a whole file so that after a crash either all of it is there or nothing; on an error nothing is left.
fn write_through(path: &Path, data: &[u8], before_rename: &dyn Fn()) -> Result<(), Failure> {
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(data)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // A full disk needs the room; if even this fails, the next `gc` finds it.
        drop(fs_err::remove_file(&temporary));
        return Err(error.into());
    }
    before_rename();
    fs_err::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        // The new name itself must survive too.
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn index(value: i64) -> usize {
    usize::try_from(value).expect("sizes and offsets are not negative")
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands errors over by value")]
fn unexpected(error: SafeTensorError) -> Failure {
    Failure::from_message(error.to_string())
}
