//! The files of a folder that `transformers` loads, in two forms that give the same logits.
//!
//! Granite keeps the weights and has MiniCPM's multipliers in its configuration; Llama has no multipliers, so they are
//! folded into its weights, and the head is no longer the embedding. Refuses to know disks.

use std::borrow::Cow;
use std::collections::BTreeMap;

use safetensors::tensor::View;
use safetensors::{Dtype, SafeTensorError};
use serde_json::Value;

use super::{Architecture, config};
use crate::model::config::Precision;
use crate::model::tensors::{EMBEDDING, NamedTensor, in_layer, matrices, tensors};

/// The head, where it is a tensor of its own.
const HEAD: &str = "lm_head.weight";

/// As which model `transformers` loads a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `GraniteForCausalLM`, with the multipliers in its configuration.
    Granite,
    /// `LlamaForCausalLM`, with the multipliers folded into the weights.
    Llama,
}

impl Form {
    pub const ALL: [Self; 2] = [Self::Granite, Self::Llama];

    /// The name in commands and folders: `model_type` of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Granite => "granite",
            Self::Llama => "llama",
        }
    }
}

/// A file of an exported folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the folder.
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// Why a model cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum Unexportable {
    /// The weights are those of another shape or vocabulary.
    #[error(
        "there are {given} weights, and the model has {wanted}: give the configuration that they were trained with"
    )]
    Length {
        given: usize,
        /// Parameters of the model.
        wanted: usize,
    },
    /// A folded weight lies beyond float32.
    #[error("a weight of `{0}` is not finite once the multipliers are in it: export as Granite, or an earlier state")]
    NotFinite(String),
    /// The file of the weights could not be written.
    #[error("the weights cannot be written as safetensors: {0}; report the shape")]
    Safetensors(#[from] SafeTensorError),
}

/// The files of a model with these weights, one flat vector in the order of [`tensors`](crate::model::tensors::tensors).
///
/// The same arguments give the same bytes.
pub fn export(architecture: &Architecture, form: Form, flat: &[f32]) -> Result<Vec<File>, Unexportable> {
    let weights = weights(architecture, form, flat)?;
    // One key only: of several, the writer's order would be another each time. `transformers` asks for this one.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let config = match form {
        Form::Granite => config::granite(architecture, Precision::Float32),
        Form::Llama => config::llama(architecture, Precision::Float32),
    };
    Ok(vec![
        File {
            name: "config.json",
            bytes: text(&config),
        },
        File {
            name: "generation_config.json",
            bytes: text(&config::generation(architecture)),
        },
        File {
            name: "model.safetensors",
            bytes: safetensors::serialize(weights, Some(metadata))?,
        },
    ])
}

/// The files of a tokenizer beside them: its `tokenizer.json`, and how `transformers` loads it. `end`: the token that
/// ends a text.
pub fn tokenizer_files(architecture: &Architecture, json: String, end: Option<&str>) -> [File; 2] {
    let mut loaded_as = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": architecture.context,
        "clean_up_tokenization_spaces": false,
    });
    if let Some(end) = end {
        loaded_as["eos_token"] = end.into();
    }
    [
        File {
            name: "tokenizer.json",
            bytes: json.into_bytes(),
        },
        File {
            name: "tokenizer_config.json",
            bytes: text(&loaded_as),
        },
    ]
}

/// Some weights and what they are multiplied by when they are written.
struct Scaled<'a> {
    size: Vec<usize>,
    values: &'a [f32],
    factor: f64,
}

impl Scaled<'_> {
    /// The products, each rounded once.
    fn products(&self) -> impl Iterator<Item = f32> {
        self.values.iter().map(|&value| (f64::from(value) * self.factor) as f32)
    }
}

impl View for Scaled<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.size
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.products().flat_map(f32::to_le_bytes).collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// The tensors of a form by name.
fn weights<'a>(
    architecture: &Architecture,
    form: Form,
    flat: &'a [f32],
) -> Result<BTreeMap<String, Scaled<'a>>, Unexportable> {
    let named = tensors(architecture.shape, architecture.vocab);
    let wanted = named.iter().map(NamedTensor::numel).sum();
    if flat.len() != wanted {
        let given = flat.len();
        return Err(Unexportable::Length { given, wanted });
    }
    let factors = match form {
        Form::Granite => BTreeMap::new(),
        Form::Llama => folded(architecture),
    };
    let mut all = BTreeMap::new();
    let mut rest = flat;
    for tensor in named {
        let (values, after) = rest.split_at(tensor.numel());
        rest = after;
        let scaled = |factor| Scaled {
            size: tensor.size.iter().map(|&size| size as usize).collect(),
            values,
            factor,
        };
        if form == Form::Llama && tensor.name == EMBEDDING {
            let divisor = architecture.scaling().logits_divisor();
            all.insert(HEAD.to_owned(), scaled(1.0 / divisor));
        }
        let factor = factors.get(&tensor.name).copied().unwrap_or(1.0);
        all.insert(tensor.name.clone(), scaled(factor));
    }
    match all.iter().find(|(_, scaled)| !scaled.products().all(f32::is_finite)) {
        Some((name, _)) => Err(Unexportable::NotFinite(name.clone())),
        None => Ok(all),
    }
}

/// What is folded into the tensors under their own names; into all others, nothing.
fn folded(architecture: &Architecture) -> BTreeMap<String, f64> {
    let (shape, scaling) = (architecture.shape, architecture.scaling());
    let ends = matrices(shape).into_iter().filter(|matrix| matrix.ends_branch);
    let branches = ends.flat_map(|matrix| {
        let names = (0..shape.layers).map(move |layer| in_layer(layer, matrix.name));
        names.map(|name| (name, scaling.residual()))
    });
    branches.chain([(EMBEDDING.to_owned(), scaling.embedding())]).collect()
}

/// A configuration as people read it.
fn text(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hugging_face::fixture::small;
    use safetensors::SafeTensors;

    fn counting(architecture: &Architecture) -> Vec<f32> {
        let total = architecture.shape.params_total(architecture.vocab).0;
        (0..total).map(|index| index as f32 / 1024.0).collect()
    }

    fn named(files: &[File], name: &str) -> Vec<u8> {
        files.iter().find(|file| file.name == name).unwrap().bytes.clone()
    }

    /// A tensor's values by name.
    fn values(files: &[File], name: &str) -> Vec<f32> {
        let file = named(files, "model.safetensors");
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let (values, rest) = tensors.tensor(name).unwrap().data().as_chunks::<4>();
        assert!(rest.is_empty());
        values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    #[test]
    fn granite_has_the_weights_as_they_are_and_no_head() {
        let architecture = small();
        let flat = counting(&architecture);
        let files = export(&architecture, Form::Granite, &flat).unwrap();
        let mut begin = 0;
        for tensor in tensors(architecture.shape, architecture.vocab) {
            let end = begin + tensor.numel();
            assert_eq!(values(&files, &tensor.name), flat[begin..end], "{}", tensor.name);
            begin = end;
        }
        let file = named(&files, "model.safetensors");
        let (_, header) = SafeTensors::read_metadata(&file).unwrap();
        assert!(header.info(HEAD).is_none());
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    }

    #[test]
    fn llama_has_each_multiplier_in_the_weights_that_it_multiplies() {
        let architecture = small();
        let flat = counting(&architecture);
        let granite = export(&architecture, Form::Granite, &flat).unwrap();
        let llama = export(&architecture, Form::Llama, &flat).unwrap();
        let ratio = |name: &str, of: &str| {
            let (a, b) = (values(&llama, name), values(&granite, of));
            assert_eq!(a.len(), b.len());
            f64::from(a[a.len() - 1]) / f64::from(b[b.len() - 1])
        };
        let residual = 1.7 / 3f64.sqrt();
        for tensor in tensors(architecture.shape, architecture.vocab) {
            let name = tensor.name;
            let factor = match () {
                () if name == EMBEDDING => 7.0,
                () if name.contains("o_proj") || name.contains("down_proj") => residual,
                () => 1.0,
            };
            assert!((ratio(&name, &name) / factor - 1.0).abs() < 1e-7, "{name}");
        }
        assert!((ratio(HEAD, EMBEDDING) * 48.0 / 256.0 - 1.0).abs() < 1e-7);
    }

    #[test]
    fn the_same_weights_give_the_same_bytes() {
        let architecture = small();
        let flat = counting(&architecture);
        for form in Form::ALL {
            let once = export(&architecture, form, &flat).unwrap();
            assert_eq!(once, export(&architecture, form, &flat).unwrap());
            let config: Value = serde_json::from_slice(&named(&once, "config.json")).unwrap();
            assert_eq!(config["model_type"], form.name());
        }
    }

    #[test]
    fn weights_of_another_shape_are_refused_with_both_counts() {
        let architecture = small();
        let flat = counting(&architecture);
        let error = export(&architecture, Form::Granite, &flat[1..]).unwrap_err();
        let (given, wanted) = (flat.len() - 1, flat.len());
        assert!(error.to_string().contains(&format!("{given} weights")));
        assert!(error.to_string().contains(&format!("has {wanted}")));
    }

    #[test]
    fn a_weight_that_folding_carries_beyond_float32_is_refused_by_name() {
        let architecture = small();
        let mut flat = counting(&architecture);
        flat[0] = 3e38;
        assert!(export(&architecture, Form::Granite, &flat).is_ok());
        let error = export(&architecture, Form::Llama, &flat).unwrap_err();
        assert!(error.to_string().contains("lm_head.weight") || error.to_string().contains(EMBEDDING));
    }
}
