//! The tensors of a model under Hugging Face's names, in the order of the flat vector that is trained.
//!
//! Refuses to know their values, and what is done with them.

use crate::model::mup::Group;
use crate::model::shape::Shape;

/// The tied embedding and head.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// The gain of the last norm.
pub const LAST_NORM: &str = "model.norm.weight";
/// The norms of a layer, in the order of the flat vector.
pub const LAYER_NORMS: [&str; 2] = ["input_layernorm", "post_attention_layernorm"];

/// A parameter: its name, its group of muP and its dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTensor {
    /// Its name in Hugging Face's Llama family, which training states use too.
    pub name: String,
    /// Its group of muP.
    pub group: Group,
    /// Its dimensions, rows first.
    pub size: Vec<u64>,
}

impl NamedTensor {
    /// The number of its elements.
    pub fn numel(&self) -> usize {
        // Shapes are checked to be small, so the product fits.
        self.size.iter().product::<u64>() as usize
    }
}

/// A matrix that every layer has.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    /// Its name within a layer.
    pub name: &'static str,
    pub size: [u64; 2],
    /// Whether it ends a residual branch.
    pub ends_branch: bool,
}

/// The matrices of a layer, in the order of the flat vector.
pub fn matrices(shape: Shape) -> [Matrix; 7] {
    let (width, d_ff) = (shape.width, shape.d_ff);
    let queries = shape.heads * shape.head_dim;
    let keys = shape.kv_heads * shape.head_dim;
    [
        ("self_attn.q_proj", [queries, width], false),
        ("self_attn.k_proj", [keys, width], false),
        ("self_attn.v_proj", [keys, width], false),
        ("self_attn.o_proj", [width, queries], true),
        ("mlp.gate_proj", [d_ff, width], false),
        ("mlp.up_proj", [d_ff, width], false),
        ("mlp.down_proj", [width, d_ff], true),
    ]
    .map(|(name, size, ends_branch)| Matrix {
        name,
        size,
        ends_branch,
    })
}

/// The name of a parameter of a layer; `*` stands for all layers.
pub fn in_layer(layer: impl std::fmt::Display, name: &str) -> String {
    format!("model.layers.{layer}.{name}.weight")
}

/// Every parameter in the order of the flat vector: the embedding, all norms, all matrices.
pub fn tensors(shape: Shape, vocab: u64) -> Vec<NamedTensor> {
    let tensor = |name: String, group, size: &[u64]| NamedTensor {
        name,
        group,
        size: size.to_vec(),
    };
    let mut all = vec![tensor(EMBEDDING.to_owned(), Group::Embedding, &[vocab, shape.width])];
    for layer in 0..shape.layers {
        all.extend(LAYER_NORMS.map(|name| tensor(in_layer(layer, name), Group::Norm, &[shape.width])));
    }
    all.push(tensor(LAST_NORM.to_owned(), Group::Norm, &[shape.width]));
    for layer in 0..shape.layers {
        all.extend(matrices(shape).map(|matrix| tensor(in_layer(layer, matrix.name), Group::Matrix, &matrix.size)));
    }
    all
}

/// Puts the flat vector together from tensors that are read by name and number of elements, as little-endian float32.
///
/// Reading and its mistakes are the caller's: a training state's `floats` fits.
pub fn gather<'a, E>(
    shape: Shape,
    vocab: u64,
    read: impl Fn(&str, usize) -> Result<&'a [u8], E>,
) -> Result<Vec<f32>, E> {
    let mut flat = Vec::new();
    for tensor in tensors(shape, vocab) {
        let (values, _) = read(&tensor.name, tensor.numel())?.as_chunks::<4>();
        flat.extend(values.iter().map(|&bytes| f32::from_le_bytes(bytes)));
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ladder;

    #[test]
    fn the_tensors_have_exactly_the_parameters_of_the_shape() {
        for rung in ladder::LADDER {
            let total: usize = tensors(rung.shape, 512).iter().map(NamedTensor::numel).sum();
            assert_eq!(total as u64, rung.shape.params_total(512).0, "{}", rung.name);
        }
    }

    #[test]
    fn the_order_is_that_of_the_flat_vector() {
        let shape = Shape::new(8, 1, 4, 2, 20).unwrap();
        let all = tensors(shape, 16);
        let listed: Vec<(&str, &[u64])> = all.iter().map(|t| (t.name.as_str(), t.size.as_slice())).collect();
        let expected: [(&str, &[u64]); 11] = [
            ("model.embed_tokens.weight", &[16, 8]),
            ("model.layers.0.input_layernorm.weight", &[8]),
            ("model.layers.0.post_attention_layernorm.weight", &[8]),
            ("model.norm.weight", &[8]),
            ("model.layers.0.self_attn.q_proj.weight", &[8, 8]),
            ("model.layers.0.self_attn.k_proj.weight", &[4, 8]),
            ("model.layers.0.self_attn.v_proj.weight", &[4, 8]),
            ("model.layers.0.self_attn.o_proj.weight", &[8, 8]),
            ("model.layers.0.mlp.gate_proj.weight", &[20, 8]),
            ("model.layers.0.mlp.up_proj.weight", &[20, 8]),
            ("model.layers.0.mlp.down_proj.weight", &[8, 20]),
        ];
        assert_eq!(listed, expected);
    }

    #[test]
    fn tensors_read_by_name_come_one_after_another() {
        let shape = Shape::new(8, 1, 4, 4, 20).unwrap();
        let norm = [1.5f32; 8].map(f32::to_le_bytes).concat();
        let zeros = vec![0u8; 4 * 160];
        let flat = gather(shape, 16, |name, numel| {
            Ok::<_, ()>(if name == LAST_NORM { &norm } else { &zeros[..4 * numel] })
        })
        .unwrap();
        assert_eq!(flat.len() as u64, shape.params_total(16).0);
        let ones: Vec<usize> = (0..flat.len()).filter(|&index| flat[index].to_bits() != 0).collect();
        assert_eq!(ones, (16 * 8 + 16..16 * 8 + 24).collect::<Vec<_>>());
        assert_eq!(
            gather(shape, 16, |name, _| Err(name.to_owned())),
            Err(EMBEDDING.to_owned())
        );
    }
}
