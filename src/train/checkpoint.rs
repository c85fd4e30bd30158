//! Training states between tensors and the disk: written through, and named by the blake3 of the file.
//!
//! Refuses to know about jobs, and what stands in the file: that is [`sandbox::checkpoint`]'s affair.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use fs_err::File;
use sandbox::checkpoint::{self, About, EXP_AVG, EXP_AVG_SQ, State, Unusable};
use sandbox::model::config::RunConfig;
use sandbox::protocol::{Cause, Checkpoint};
use sandbox::units::Steps;
use tch::{Device, Kind, Tensor};

use crate::failure::Failure;
use crate::trainer::layout::Layout;
use crate::trainer::model::Model;
use crate::trainer::step::Trainer;

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
    let (exp_avg, exp_avg_sq) = (bytes(&trainer.optimizer.exp_avg), bytes(&trainer.optimizer.exp_avg_sq));
    let mut tensors: BTreeMap<&str, (Vec<usize>, &[u8])> = BTreeMap::new();
    for entry in &trainer.model.layout.entries {
        let start = index(entry.offset) * 4;
        let part = &weights[start..start + index(entry.numel()) * 4];
        let size = entry.size.iter().map(|&size| index(size)).collect();
        tensors.insert(&entry.name, (size, part));
    }
    tensors.insert(EXP_AVG, (checkpoint::flat(&exp_avg), &exp_avg));
    tensors.insert(EXP_AVG_SQ, (checkpoint::flat(&exp_avg_sq), &exp_avg_sq));
    let about = About {
        stage: stage.to_owned(),
        config_hash: config_hash(&trainer.config)?,
        step: trainer.done,
    };
    let file = checkpoint::write(&about, &tensors).map_err(|error| Failure::from_message(error.to_string()))?;
    write_through(path, &file, before_rename)?;
    Ok(Checkpoint {
        path: path.to_owned(),
        hash: blake3::hash(&file).to_hex().to_string(),
        bytes: file.len() as u64,
    })
}

/// Reads a state back to go on with `config`, from exactly the step `from`.
pub(crate) fn load(recorded: &Checkpoint, config: &RunConfig, from: Steps, device: Device) -> Result<Trainer, Failure> {
    let damaged = |why: &str| {
        let path = recorded.path.display();
        Failure::new(
            Cause::DamagedCheckpoint,
            format!("checkpoint {path}: {why}; train its stage again"),
        )
    };
    let file = fs_err::read(&recorded.path).map_err(|error| damaged(&error.to_string()))?;
    if blake3::hash(&file).to_hex().as_str() != recorded.hash {
        return Err(damaged("its content does not have the recorded hash"));
    }
    let unusable = |error: Unusable| damaged(&error.to_string());
    let state = State::read(&file).map_err(unusable)?;
    if state.about().step != from {
        return Err(damaged("it is not the state at the step where the stage begins"));
    }
    let read = |name: &str, numel: i64| {
        let data = state.floats(name, index(numel)).map_err(unusable)?;
        Ok::<Tensor, Failure>(Tensor::from_data_size(data, &[numel], Kind::Float))
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
