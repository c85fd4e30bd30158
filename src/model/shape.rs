//! The shape of a proxy and how many parameters it has.
//!
//! Refuses to know the names of shapes (`ladder`) and how they are scaled (`mup`).

use serde::{Deserialize, Serialize};

use crate::units::Params;

/// The shape of a Llama-like decoder with tied embeddings, grouped-query attention and `SwiGLU`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shape {
    /// Width of the residual stream, `d_m`.
    pub width: u64,
    /// Number of transformer layers, L.
    pub layers: u64,
    /// Number of query heads.
    pub heads: u64,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: u64,
    /// Width of one head, `d_h`.
    pub head_dim: u64,
    /// Width of the feed-forward layer.
    pub d_ff: u64,
}

/// Why a shape cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A dimension is zero.
    #[error("`{0}` must be at least 1")]
    Zero(&'static str),
    /// The width is not a whole number of heads.
    #[error("width {width} is not a multiple of heads {heads}")]
    Heads {
        /// The width asked for.
        width: u64,
        /// The number of heads asked for.
        heads: u64,
    },
    /// Rotary embedding turns pairs of dimensions.
    #[error("the width of a head, {0}, must be even (rotary embedding turns pairs)")]
    OddHead(u64),
    /// Key and value heads are shared by whole groups of query heads.
    #[error("heads {heads} is not a multiple of kv_heads {kv_heads}")]
    KvHeads {
        /// The number of query heads.
        heads: u64,
        /// The number of key and value heads.
        kv_heads: u64,
    },
    /// Beyond any model that exists; counts would overflow.
    #[error("`{0}` is larger than 1Mi")]
    TooLarge(&'static str),
}

impl Shape {
    /// A shape of `width / heads` wide heads.
    pub fn new(width: u64, layers: u64, heads: u64, kv_heads: u64, d_ff: u64) -> Result<Self, ShapeError> {
        let named = [
            ("width", width),
            ("layers", layers),
            ("heads", heads),
            ("kv_heads", kv_heads),
            ("d_ff", d_ff),
        ];
        for (name, value) in named {
            if value == 0 {
                return Err(ShapeError::Zero(name));
            }
            if value > 1 << 20 {
                return Err(ShapeError::TooLarge(name));
            }
        }
        if !width.is_multiple_of(heads) {
            return Err(ShapeError::Heads { width, heads });
        }
        if !heads.is_multiple_of(kv_heads) {
            return Err(ShapeError::KvHeads { heads, kv_heads });
        }
        let head_dim = width / heads;
        if !head_dim.is_multiple_of(2) {
            return Err(ShapeError::OddHead(head_dim));
        }
        Ok(Self {
            width,
            layers,
            heads,
            kv_heads,
            head_dim,
            d_ff,
        })
    }

    /// Parameters of the matrices of the layers, without norms and embedding.
    pub fn params_matrices(self) -> Params {
        let attention = self.width * self.head_dim * 2 * (self.heads + self.kv_heads);
        let feed_forward = 3 * self.width * self.d_ff;
        Params(self.layers * (attention + feed_forward))
    }

    /// Parameters without the embedding, norms counted: the N of the laws.
    pub fn params_non_embedding(self) -> Params {
        Params(self.params_matrices().0 + (2 * self.layers + 1) * self.width)
    }

    /// All parameters; the embedding is tied, so it counts once.
    pub fn params_total(self, vocab: u64) -> Params {
        Params(self.params_non_embedding().0 + vocab * self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_cannot_be_built_say_why() {
        assert_eq!(Shape::new(0, 1, 1, 1, 1), Err(ShapeError::Zero("width")));
        assert_eq!(
            Shape::new(30, 1, 4, 4, 75),
            Err(ShapeError::Heads { width: 30, heads: 4 })
        );
        assert_eq!(Shape::new(12, 1, 4, 4, 30), Err(ShapeError::OddHead(3)));
        assert_eq!(
            Shape::new(32, 1, 4, 3, 80),
            Err(ShapeError::KvHeads { heads: 4, kv_heads: 3 })
        );
        assert_eq!(Shape::new(u64::MAX, 1, 1, 1, 1), Err(ShapeError::TooLarge("width")));
    }
}
