//! Cross-entropy over the vocabulary for a chunk of rows, backward at once; refuses to know the network below.

#![expect(
    clippy::inline_always,
    reason = "bodies are compiled anew for each set of instructions"
)]

use crate::fused::products::{Target, View, multiply};
use crate::fused::simd::{self, dispatched};

/// Elements of logits that exist at a time, about; they should stay in the cache with the embedding.
const LOGITS: usize = 1 << 19;

/// The head of one thread.
#[derive(Debug)]
pub(crate) struct Head {
    width: usize,
    vocab: usize,
    /// Rows in a chunk.
    rows: usize,
    /// Logits, then their gradients: `(rows, vocab)`.
    logits: Vec<f32>,
}

/// Gradients that the head makes.
#[derive(Debug)]
pub(crate) struct HeadGradients<'a> {
    /// Of the head's input, replaced: `(R, width)`.
    pub(crate) input: &'a mut [f32],
    /// Of the embedding, added to: `(vocab, width)`.
    pub(crate) embedding: &'a mut [f32],
    pub(crate) scale: f32,
}

impl Head {
    /// Buffers for chunks of at most `rows` rows.
    pub(crate) fn new(width: usize, vocab: usize, rows: usize) -> Self {
        let rows = (LOGITS / vocab).next_multiple_of(64).clamp(64, 1024).min(rows);
        Self {
            width,
            vocab,
            rows,
            logits: vec![0.0; rows * vocab],
        }
    }

    /// Summed cross-entropy in nats of `targets (R)` under `input (R, width)` times the embedding.
    pub(crate) fn loss(
        &mut self,
        embedding: &[f32],
        input: &[f32],
        targets: &[u32],
        mut gradients: Option<HeadGradients<'_>>,
    ) -> f64 {
        let mut total = 0.0;
        let embedding = View::new(embedding, self.vocab, self.width);
        let chunks = input
            .chunks(self.rows * self.width)
            .zip(targets.chunks(self.rows))
            .enumerate();
        for (index, (input, targets)) in chunks {
            let logits = &mut self.logits[..targets.len() * self.vocab];
            let input_rows = View::new(input, targets.len(), self.width);
            multiply(Target::replace(logits, self.vocab), 1.0, input_rows, embedding.t());
            total += cross_entropy(logits, self.vocab, targets, gradients.as_ref().map(|to| to.scale));
            if let Some(to) = &mut gradients {
                let dlogits = View::new(logits, targets.len(), self.vocab);
                let dinput = &mut to.input[index * self.rows * self.width..][..input.len()];
                multiply(Target::replace(dinput, self.width), 1.0, dlogits, embedding);
                multiply(Target::add(to.embedding, self.width), 1.0, dlogits.t(), input_rows);
            }
        }
        total
    }
}

dispatched! {
    /// Summed cross-entropy of rows of logits; with a `scale` they become the gradient of the scaled loss.
    fn cross_entropy(logits: &mut [f32], vocab: usize, targets: &[u32], scale: Option<f32>) -> f64 = cross_entropy_body
}

#[inline(always)]
fn cross_entropy_body<const FMA: bool>(logits: &mut [f32], vocab: usize, targets: &[u32], scale: Option<f32>) -> f64 {
    let mut total = 0.0;
    for (row, &target) in logits.chunks_exact_mut(vocab).zip(targets) {
        let wanted = row[target as usize];
        let max = simd::max(row);
        let sum = simd::exp_and_sum::<FMA>(row, max);
        total += f64::from(sum.ln() + (max - wanted));
        if let Some(scale) = scale {
            let share = scale / sum;
            for value in row.iter_mut() {
                *value *= share;
            }
            row[target as usize] -= scale;
        }
    }
    total
}
