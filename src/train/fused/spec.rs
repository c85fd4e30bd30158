//! The shape of the network, its multipliers, and where each weight lies; refuses to know what weights do.

use std::ops::Range;

/// A decoder: its dimensions and what it is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ModelSpec {
    /// Width of the residual stream, d; a multiple of `heads`.
    pub(crate) width: usize,
    pub(crate) layers: usize,
    /// Number of query heads.
    pub(crate) heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub(crate) kv_heads: usize,
    /// Width of the feed-forward layer.
    pub(crate) d_ff: usize,
    /// Number of tokens in the vocabulary.
    pub(crate) vocab: usize,
    /// Tokens of a sequence, T.
    pub(crate) context: usize,
    /// Multiplies the embedding's output.
    pub(crate) scale_emb: f32,
    /// Multiplies the output of each residual branch: `scale_depth / √layers`.
    pub(crate) residual: f32,
    /// Divides the input of the head.
    pub(crate) logits_divisor: f32,
    /// Added to the mean square in the norms.
    pub(crate) norm_eps: f32,
    /// Base of the rotary frequencies.
    pub(crate) rope_theta: f32,
}

impl ModelSpec {
    /// Width of one head.
    pub(crate) fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// Columns of queries, keys and values together: `(heads + 2 kv_heads) · head_dim`.
    pub(crate) fn qkv_width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim()
    }

    /// Panics if the dimensions do not fit together.
    pub(crate) fn check(&self) {
        let sizes = [
            self.width,
            self.layers,
            self.heads,
            self.kv_heads,
            self.d_ff,
            self.vocab,
        ];
        assert!(!sizes.contains(&0) && self.context > 0, "every dimension is at least 1");
        assert!(self.width.is_multiple_of(self.heads), "width is a multiple of heads");
        assert!(
            self.heads.is_multiple_of(self.kv_heads),
            "heads is a multiple of kv_heads"
        );
        assert!(self.head_dim().is_multiple_of(2), "the width of a head is even");
    }
}

/// Where each weight begins in the flat buffer: embedding, norms, then the matrices layer by layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Layout {
    spec: ModelSpec,
}

impl Layout {
    /// The layout of a model.
    pub(crate) fn new(spec: &ModelSpec) -> Self {
        Self { spec: *spec }
    }

    /// The number of all parameters.
    pub(crate) fn numel(&self) -> usize {
        self.matrices(self.spec.layers)
    }

    /// The tied embedding and head: `(vocab, width)`.
    pub(crate) fn embedding(&self) -> Range<usize> {
        0..self.spec.vocab * self.spec.width
    }

    /// All gains of norms.
    #[cfg(test)]
    pub(crate) fn norms(&self) -> Range<usize> {
        self.embedding().end..self.matrices(0)
    }

    /// Gain of the norm before attention: `(width)`.
    pub(crate) fn attention_norm(&self, layer: usize) -> Range<usize> {
        self.norm(2 * layer)
    }

    /// Gain of the norm before the feed-forward layer: `(width)`.
    pub(crate) fn feed_forward_norm(&self, layer: usize) -> Range<usize> {
        self.norm(2 * layer + 1)
    }

    /// Gain of the last norm: `(width)`.
    pub(crate) fn last_norm(&self) -> Range<usize> {
        self.norm(2 * self.spec.layers)
    }

    /// Queries, keys and values: `((heads + 2 kv_heads) · head_dim, width)`.
    pub(crate) fn qkv(&self, layer: usize) -> Range<usize> {
        let start = self.matrices(layer);
        start..start + self.spec.qkv_width() * self.spec.width
    }

    /// Output of attention: `(width, heads · head_dim)`.
    pub(crate) fn out(&self, layer: usize) -> Range<usize> {
        let start = self.qkv(layer).end;
        start..start + self.spec.width * self.spec.width
    }

    /// Gate and up: `(2 d_ff, width)`.
    pub(crate) fn gate_up(&self, layer: usize) -> Range<usize> {
        let start = self.out(layer).end;
        start..start + 2 * self.spec.d_ff * self.spec.width
    }

    /// Down: `(width, d_ff)`.
    pub(crate) fn down(&self, layer: usize) -> Range<usize> {
        let start = self.gate_up(layer).end;
        start..start + self.spec.width * self.spec.d_ff
    }

    fn norm(&self, index: usize) -> Range<usize> {
        let start = self.embedding().end + index * self.spec.width;
        start..start + self.spec.width
    }

    /// Where the matrices of a layer begin.
    fn matrices(&self, layer: usize) -> usize {
        let spec = &self.spec;
        let rows = spec.qkv_width() + spec.width + 3 * spec.d_ff;
        (spec.vocab + 2 * spec.layers + 1 + layer * rows) * spec.width
    }
}
