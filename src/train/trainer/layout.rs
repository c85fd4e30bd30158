//! Where every parameter lies in the one flat vector of a model.
//!
//! The vector holds the groups of muP one after another (embedding, norms, matrices), so that the optimiser works on
//! whole spans; matrices that are multiplied by the same input are neighbours, so that one product serves them all.
//! Names are those of Hugging Face's Llama family. Refuses to know what the parameters do.

use sandbox::model::mup::Group;
use sandbox::model::shape::Shape;
use sandbox::model::tensors::{NamedTensor, tensors};
use tch::Tensor;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name in checkpoints.
    pub(crate) name: String,
    /// Its group of muP.
    pub(crate) group: Group,
    pub(crate) size: Vec<i64>,
    /// Where it begins in the flat vector.
    pub(crate) offset: i64,
}

impl Entry {
    /// The number of its elements.
    pub(crate) fn numel(&self) -> i64 {
        self.size.iter().product()
    }
}

/// A consecutive part of the flat vector that belongs to one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) group: Group,
    pub(crate) offset: i64,
    /// How many elements it has.
    pub(crate) len: i64,
}

/// The flat vector's table of contents.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The parameters in order.
    pub(crate) entries: Vec<Entry>,
    shape: Shape,
    vocab: i64,
}

/// The weights of one layer, products of a common input fused.
pub(crate) struct LayerWeights {
    /// Gain of the norm before attention: `(width)`.
    pub(crate) attention_norm: Tensor,
    /// Gain of the norm before the loader-forward layer: `(width)`.
    pub(crate) feed_forward_norm: Tensor,
    /// Queries, keys and values: `((heads + 2 kv_heads) · head_dim, width)`.
    pub(crate) qkv: Tensor,
    /// Output of attention: `(width, heads · head_dim)`.
    pub(crate) out: Tensor,
    /// Gate and up: `(2 d_ff, width)`.
    pub(crate) gate_up: Tensor,
    /// Down: `(width, d_ff)`.
    pub(crate) down: Tensor,
}

/// All weights as views of one flat vector.
pub(crate) struct Weights {
    /// The tied embedding and head: `(vocab, width)`.
    pub(crate) embedding: Tensor,
    /// Gain of the last norm: `(width)`.
    pub(crate) norm: Tensor,
    /// The layers from the input up.
    pub(crate) layers: Vec<LayerWeights>,
}

impl Layout {
    /// The layout of a shape with a vocabulary.
    pub(crate) fn new(shape: Shape, vocab: u64) -> Self {
        let mut offset = 0;
        let entry = |tensor: NamedTensor| {
            let size: Vec<i64> = tensor.size.iter().map(|&size| dim(size)).collect();
            let begin = offset;
            offset += size.iter().product::<i64>();
            Entry {
                name: tensor.name,
                group: tensor.group,
                size,
                offset: begin,
            }
        };
        Self {
            entries: tensors(shape, vocab).into_iter().map(entry).collect(),
            shape,
            vocab: dim(vocab),
        }
    }

    /// The number of all parameters.
    pub(crate) fn numel(&self) -> i64 {
        self.entries.last().map_or(0, |last| last.offset + last.numel())
    }

    /// The groups' spans, which cover the vector.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for entry in &self.entries {
            match spans.last_mut() {
                Some(span) if span.group == entry.group => span.len += entry.numel(),
                Some(_) | None => spans.push(Span {
                    group: entry.group,
                    offset: entry.offset,
                    len: entry.numel(),
                }),
            }
        }
        spans
    }

    /// The weights inside a flat vector, in one split, so that a gradient comes back in one piece.
    pub(crate) fn weights(&self, flat: &Tensor) -> Weights {
        let width = dim(self.shape.width);
        let queries = dim(self.shape.heads * self.shape.head_dim);
        let qkv = queries + 2 * dim(self.shape.kv_heads * self.shape.head_dim);
        let d_ff = dim(self.shape.d_ff);
        let layers = usize::try_from(self.shape.layers).expect("layers fit in memory");
        let mut sizes = vec![self.vocab * width];
        sizes.extend(vec![width; 2 * layers + 1]);
        for _ in 0..layers {
            sizes.extend([qkv * width, width * queries, 2 * d_ff * width, width * d_ff]);
        }
        let mut parts = flat.split_with_sizes(sizes, 0).into_iter();
        let mut next = || parts.next().expect("one part for each size");
        let embedding = next().view([self.vocab, width]);
        let norms: Vec<(Tensor, Tensor)> = (0..layers).map(|_| (next(), next())).collect();
        let norm = next();
        let layers = norms
            .into_iter()
            .map(|(attention_norm, feed_forward_norm)| LayerWeights {
                attention_norm,
                feed_forward_norm,
                qkv: next().view([qkv, width]),
                out: next().view([width, queries]),
                gate_up: next().view([2 * d_ff, width]),
                down: next().view([width, d_ff]),
            })
            .collect();
        Weights {
            embedding,
            norm,
            layers,
        }
    }
}

/// A dimension as libtorch counts it.
pub(crate) fn dim(value: u64) -> i64 {
    i64::try_from(value).expect("shapes are checked to be small")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox::model::ladder;

    #[test]
    fn the_vector_has_exactly_the_parameters_of_the_shape() {
        for rung in ladder::LADDER {
            let layout = Layout::new(rung.shape, 512);
            assert_eq!(layout.numel(), dim(rung.shape.params_total(512).0), "{}", rung.name);
            let spans = layout.spans();
            assert_eq!(spans.len(), 3);
            assert_eq!(spans.iter().map(|span| span.len).sum::<i64>(), layout.numel());
        }
    }

    #[test]
    fn fused_weights_are_the_named_parameters_one_below_the_other() {
        let shape = Shape::new(8, 2, 4, 2, 20).expect("a shape");
        let layout = Layout::new(shape, 16);
        let flat = Tensor::arange(layout.numel(), (tch::Kind::Float, tch::Device::Cpu));
        let weights = layout.weights(&flat);
        let named = |name: &str| {
            let entry = layout.entries.iter().find(|entry| entry.name.ends_with(name));
            let entry = entry.expect(name);
            flat.narrow(0, entry.offset, entry.numel()).view(&entry.size[..])
        };
        let layer = &weights.layers[1];
        let qkv = Tensor::cat(
            &[
                named("1.self_attn.q_proj.weight"),
                named("1.self_attn.k_proj.weight"),
                named("1.self_attn.v_proj.weight"),
            ],
            0,
        );
        let gate_up = Tensor::cat(&[named("1.mlp.gate_proj.weight"), named("1.mlp.up_proj.weight")], 0);
        assert!(layer.qkv.equal(&qkv));
        assert!(layer.gate_up.equal(&gate_up));
        assert!(layer.out.equal(&named("1.self_attn.o_proj.weight")));
        assert!(layer.down.equal(&named("1.mlp.down_proj.weight")));
        assert!(
            layer
                .feed_forward_norm
                .equal(&named("1.post_attention_layernorm.weight"))
        );
        assert!(weights.norm.equal(&named("model.norm.weight")));
    }
}
