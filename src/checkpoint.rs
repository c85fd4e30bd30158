//! The file of a training state: what stands in it, from bytes and into bytes.
//!
//! safetensors, float32: weights under their Hugging Face names, `AdamW`'s moments as two flat vectors. Nothing that
//! could run code is ever loaded. Refuses to know disks, tensors and jobs.

use std::collections::BTreeMap;

use safetensors::tensor::{SafeTensors, TensorView};
use safetensors::{Dtype, SafeTensorError};
use serde::{Deserialize, Serialize};

use crate::units::Steps;

/// Name of the first moments.
pub const EXP_AVG: &str = "adamw.exp_avg";
/// Name of the second moments.
pub const EXP_AVG_SQ: &str = "adamw.exp_avg_sq";

/// The one key of the metadata: of several, the writer's order would be another each time, and so the file's hash.
const ABOUT: &str = "sandbox";
/// Bytes of a float32.
const FLOAT: usize = 4;

/// What a state is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The stage that left it behind.
    pub stage: String,
    /// Hash of everything that determines the training.
    pub config_hash: String,
    pub step: Steps,
}

/// Bytes that are no state of this program, or not the one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn unusable(error: SafeTensorError) -> Unusable {
    Unusable(error.to_string())
}

#[derive(Debug)]
pub struct State<'a> {
    about: About,
    tensors: SafeTensors<'a>,
}

impl<'a> State<'a> {
    /// Reads a file's bytes.
    pub fn read(file: &'a [u8]) -> Result<Self, Unusable> {
        let (_, header) = SafeTensors::read_metadata(file).map_err(unusable)?;
        let about = header.metadata().as_ref().and_then(|metadata| metadata.get(ABOUT));
        let about = about.ok_or_else(|| Unusable("it is no training state of this program".to_owned()))?;
        Ok(Self {
            about: serde_json::from_str(about).map_err(|error| Unusable(error.to_string()))?,
            tensors: SafeTensors::deserialize(file).map_err(unusable)?,
        })
    }

    pub fn about(&self) -> &About {
        &self.about
    }

    /// The little-endian bytes of a tensor that must have so many elements.
    pub fn floats(&self, name: &str, numel: usize) -> Result<&[u8], Unusable> {
        let view = self.tensors.tensor(name).map_err(unusable)?;
        if view.dtype() != Dtype::F32 || view.shape().iter().product::<usize>() != numel {
            return Err(Unusable(format!("`{name}` does not fit the shape of the job")));
        }
        // The slice lives as long as the file: the view only borrows it.
        Ok(view.data())
    }
}

/// The bytes of a state: tensors by name, each with its dimensions and its little-endian float32.
pub fn write(about: &About, tensors: &BTreeMap<&str, (Vec<usize>, &[u8])>) -> Result<Vec<u8>, Unusable> {
    let views = tensors
        .iter()
        .map(|(name, (size, data))| {
            Ok((
                *name,
                TensorView::new(Dtype::F32, size.clone(), data).map_err(unusable)?,
            ))
        })
        .collect::<Result<BTreeMap<_, _>, Unusable>>()?;
    let about = serde_json::to_string(about).map_err(|error| Unusable(error.to_string()))?;
    safetensors::serialize(views, Some([(ABOUT.to_owned(), about)].into())).map_err(unusable)
}

/// The dimensions of a flat vector of so many bytes.
pub fn flat(data: &[u8]) -> Vec<usize> {
    vec![data.len() / FLOAT]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file() -> Vec<u8> {
        let about = About {
            stage: "abc".to_owned(),
            config_hash: "hash".to_owned(),
            step: Steps(7),
        };
        let data = [1u8, 2, 3, 4, 5, 6, 7, 8];
        write(&about, &[("weight", (vec![1, 2], &data[..]))].into()).expect("a state")
    }

    #[test]
    fn a_state_comes_back_as_it_was_and_twice_as_the_same_bytes() {
        let file = file();
        let state = State::read(&file).expect("a state");
        assert_eq!((state.about().step, state.about().stage.as_str()), (Steps(7), "abc"));
        assert_eq!(state.floats("weight", 2).expect("there"), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(state.floats("weight", 3).is_err() && state.floats("bias", 2).is_err());
        assert_eq!(file, self::file());
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_state_are_refused_without_a_panic(
            cut in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut file = file();
            let place = place.index(file.len());
            file[place] = byte;
            file.truncate(cut.index(file.len() + 1));
            if let Ok(state) = State::read(&file) {
                drop(state.floats("weight", 2));
            }
        }
    }
}
