//! What a token costs to train.
//!
//! Counts the products of matrices, forward and backward (three times the forward), attention's scores and values in
//! full, and the tied head. Elementwise work is left out, as everywhere in the field. The laws use `6 N D` instead,
//! with their own N; both are named where they appear.

use crate::model::shape::Shape;
use crate::units::{Flops, Tokens};

/// Training FLOPs per token at a context length: `6 (matrices + V d) + 12 L d T`.
pub fn per_token(shape: Shape, vocab: u64, context: u64) -> f64 {
    let products = shape.params_matrices().as_f64() + (vocab * shape.width) as f64;
    let attention = 12.0 * shape.layers as f64 * (shape.heads * shape.head_dim) as f64 * context as f64;
    6.0 * products + attention
}

/// Training FLOPs of so many tokens.
pub fn training(shape: Shape, vocab: u64, context: u64, tokens: Tokens) -> Flops {
    Flops(per_token(shape, vocab, context) * tokens.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ladder;

    #[test]
    fn the_9m_proxy_costs_72_megaflop_a_token_at_context_256() {
        let shape = ladder::find("9M").expect("on the ladder").shape;
        let cost = per_token(shape, 4096, 256);
        assert!((cost / 72.25e6 - 1.0).abs() < 1e-3, "{cost}");
    }
}
