//! Causal attention by blocks of queries, forward and backward; refuses to know projections and rotations.
//!
//! A block of queries meets the keys up to its own end, so the upper half of the scores is not computed but for the
//! corners of the blocks. Scores of one block exist at a time; backward makes them again from the logarithm of the sum
//! of exponentials that forward keeps.

#![expect(
    clippy::inline_always,
    reason = "bodies are compiled anew for each set of instructions"
)]

use crate::fused::products::{Target, View, multiply};
use crate::fused::simd::{self, dispatched, exp, fma};
use crate::fused::spec::ModelSpec;

/// Queries in a block.
const BLOCK: usize = 32;

/// Attention of one model with the buffers of one thread.
#[derive(Debug)]
pub(crate) struct Attention {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    context: usize,
    /// Scores of a block, then its probabilities: `(BLOCK, context)`.
    scores: Vec<f32>,
    /// Their gradients: `(BLOCK, context)`.
    dscores: Vec<f32>,
    /// Keys of a head, transposed: `(head_dim, context)`.
    keys: Vec<f32>,
    /// Values of a head, transposed: `(head_dim, context)`.
    values: Vec<f32>,
}

/// What attention keeps for its backward pass, of whole sequences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a> {
    /// Turned queries and keys, and values: `(R, qkv_width)`.
    pub(crate) qkv: &'a [f32],
    /// Output: `(R, heads · head_dim)`.
    pub(crate) out: &'a [f32],
    /// Logarithm of the sum of exponentials of every row of scores: `(sequences, heads, context)`.
    pub(crate) lse: &'a [f32],
}

impl Attention {
    /// Buffers for one thread.
    pub(crate) fn new(spec: &ModelSpec) -> Self {
        let (block, head) = (BLOCK.min(spec.context) * spec.context, spec.head_dim() * spec.context);
        Self {
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim(),
            context: spec.context,
            scores: vec![0.0; block],
            dscores: vec![0.0; block],
            keys: vec![0.0; head],
            values: vec![0.0; head],
        }
    }

    /// From `qkv (R, qkv_width)`, queries already over `√head_dim`, to `out (R, heads · head_dim)` and `lse`.
    pub(crate) fn forward(&mut self, qkv: &[f32], out: &mut [f32], lse: &mut [f32]) {
        let (row, width) = (self.row(), self.heads * self.head_dim);
        let rows = self.context;
        let sequences = qkv.chunks_exact(rows * row).zip(out.chunks_exact_mut(rows * width));
        for ((qkv, out), lse) in sequences.zip(lse.chunks_exact_mut(rows * self.heads)) {
            for (head, lse) in lse.chunks_exact_mut(rows).enumerate() {
                self.take_keys(qkv, head);
                for start in (0..rows).step_by(BLOCK) {
                    self.block_forward(qkv, head, start, &mut out[head * self.head_dim..], lse);
                }
            }
        }
    }

    /// Adds to `dqkv (R, qkv_width)`, zero before, the gradient that `dout (R, heads · head_dim)` makes.
    pub(crate) fn backward(&mut self, kept: Kept<'_>, dout: &[f32], dqkv: &mut [f32]) {
        let (row, width, rows) = (self.row(), self.heads * self.head_dim, self.context);
        for (index, dqkv) in dqkv.chunks_exact_mut(rows * row).enumerate() {
            let part = |data, columns: usize| part(data, index, rows * columns);
            let (kept_part, dout) = (
                Kept {
                    qkv: part(kept.qkv, row),
                    out: part(kept.out, width),
                    lse: part(kept.lse, self.heads),
                },
                part(dout, width),
            );
            for head in 0..self.heads {
                self.take_keys(kept_part.qkv, head);
                transpose(
                    &kept_part.qkv[self.value_offset(head)..],
                    row,
                    self.context,
                    &mut self.values,
                );
                for start in (0..rows).step_by(BLOCK) {
                    self.block_backward(kept_part, head, start, dout, dqkv);
                }
            }
        }
    }

    /// Columns of queries, keys and values together.
    fn row(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Where the keys of a query head begin in a row.
    fn key_offset(&self, head: usize) -> usize {
        (self.heads + head / (self.heads / self.kv_heads)) * self.head_dim
    }

    /// Where the values of a query head begin in a row.
    fn value_offset(&self, head: usize) -> usize {
        self.key_offset(head) + self.kv_heads * self.head_dim
    }

    /// Transposes the keys of a head once for all blocks of queries.
    fn take_keys(&mut self, qkv: &[f32], head: usize) {
        let offset = self.key_offset(head);
        transpose(&qkv[offset..], self.row(), self.context, &mut self.keys);
    }

    /// `scores = q · kᵀ` of a block of queries and the keys up to its end; gives the size of the block and that end.
    fn block_scores(&mut self, qkv: &[f32], head: usize, start: usize) -> (usize, usize) {
        let end = (start + BLOCK).min(self.context);
        let (row, dim) = (self.row(), self.head_dim);
        let queries = View::strided(&qkv[start * row + head * dim..], end - start, dim, row);
        let keys = View::strided(&self.keys, dim, end, self.context);
        multiply(Target::replace(&mut self.scores, end), 1.0, queries, keys);
        (end - start, end)
    }

    fn block_forward(&mut self, qkv: &[f32], head: usize, start: usize, out: &mut [f32], lse: &mut [f32]) {
        let (row, width) = (self.row(), self.heads * self.head_dim);
        let (count, end) = self.block_scores(qkv, head, start);
        let values = View::strided(&qkv[self.value_offset(head)..], end, self.head_dim, row);
        let scores = &mut self.scores[..count * end];
        softmax(scores, start, end, &mut lse[start..end]);
        let target = Target::replace(&mut out[start * width..], width);
        multiply(target, 1.0, View::new(scores, count, end), values);
    }

    fn block_backward(&mut self, kept: Kept<'_>, head: usize, start: usize, dout: &[f32], dqkv: &mut [f32]) {
        let (row, width, dim) = (self.row(), self.heads * self.head_dim, self.head_dim);
        let (key_at, value_at) = (self.key_offset(head), self.value_offset(head));
        let (count, end) = self.block_scores(kept.qkv, head, start);
        let (scores, dscores) = (&mut self.scores[..count * end], &mut self.dscores[..count * end]);
        let own = start * width + head * dim;
        let dout_block = View::strided(&dout[own..], count, dim, width);
        let values = View::strided(&self.values, dim, end, self.context);
        multiply(Target::replace(dscores, end), 1.0, dout_block, values);
        let pair = Outputs {
            out: &kept.out[own..],
            dout: &dout[own..],
            head_dim: dim,
            stride: width,
        };
        softmax_backward(
            scores,
            dscores,
            start,
            end,
            &kept.lse[head * self.context..][start..end],
            pair,
        );
        let (probabilities, dscores) = (View::new(scores, count, end), View::new(dscores, count, end));
        multiply(
            Target::add(&mut dqkv[value_at..], row),
            1.0,
            probabilities.t(),
            dout_block,
        );
        let queries = View::strided(&kept.qkv[start * row + head * dim..], count, dim, row);
        multiply(Target::add(&mut dqkv[key_at..], row), 1.0, dscores.t(), queries);
        let keys = View::strided(&kept.qkv[key_at..], end, dim, row);
        multiply(
            Target::add(&mut dqkv[start * row + head * dim..], row),
            1.0,
            dscores,
            keys,
        );
    }
}

/// The `index`-th part of `size` elements.
fn part(data: &[f32], index: usize, size: usize) -> &[f32] {
    &data[index * size..(index + 1) * size]
}

/// Output of a block and its gradient: rows of `head_dim` elements, `stride` apart.
#[derive(Debug, Clone, Copy)]
struct Outputs<'a> {
    out: &'a [f32],
    dout: &'a [f32],
    head_dim: usize,
    stride: usize,
}

/// `to (columns, rows)` from rows of `from` that begin `stride` elements after one another.
fn transpose(from: &[f32], stride: usize, rows: usize, to: &mut [f32]) {
    for (column, to) in to.chunks_exact_mut(rows).enumerate() {
        for (to, row) in to.iter_mut().zip(from.chunks(stride)) {
            *to = row[column];
        }
    }
}

dispatched! {
    /// Makes probabilities of the scores `(rows, end)` of queries from `start` on, zero for keys after the query.
    fn softmax(scores: &mut [f32], start: usize, end: usize, lse: &mut [f32]) = softmax_body
}

#[inline(always)]
fn softmax_body<const FMA: bool>(scores: &mut [f32], start: usize, end: usize, lse: &mut [f32]) {
    for (index, (row, lse)) in scores.chunks_exact_mut(end).zip(lse).enumerate() {
        let (seen, unseen) = row.split_at_mut(start + index + 1);
        let max = simd::max(seen);
        let sum = simd::exp_and_sum::<FMA>(seen, max);
        *lse = max + sum.ln();
        let share = 1.0 / sum;
        for p in seen {
            *p *= share;
        }
        unseen.fill(0.0);
    }
}

dispatched! {
    /// From scores and the gradients of probabilities to probabilities and the gradients of scores, in place.
    fn softmax_backward(
        scores: &mut [f32],
        dscores: &mut [f32],
        start: usize,
        end: usize,
        lse: &[f32],
        outputs: Outputs<'_>,
    ) = softmax_backward_body
}

#[inline(always)]
fn softmax_backward_body<const FMA: bool>(
    scores: &mut [f32],
    dscores: &mut [f32],
    start: usize,
    end: usize,
    lse: &[f32],
    outputs: Outputs<'_>,
) {
    let rows = scores.chunks_exact_mut(end).zip(dscores.chunks_exact_mut(end)).zip(lse);
    for (index, ((scores, dscores), &lse)) in rows.enumerate() {
        let at = index * outputs.stride..index * outputs.stride + outputs.head_dim;
        // The mean of the gradients under the probabilities is the output times its gradient.
        let mean = simd::dot::<FMA>(&outputs.out[at.clone()], &outputs.dout[at]);
        let (seen, unseen) = scores.split_at_mut(start + index + 1);
        let (dseen, dunseen) = dscores.split_at_mut(start + index + 1);
        for (p, d) in seen.iter_mut().zip(dseen) {
            *p = exp::<FMA>(*p - lse);
            *d = fma::<FMA>(*p, *d, -(*p * mean));
        }
        unseen.fill(0.0);
        dunseen.fill(0.0);
    }
}
