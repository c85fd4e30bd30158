//! A few whole sequences through all layers, forward and backward, by one thread; refuses to know threads and batches.

use crate::fused::attention::{Attention, Kept};
use crate::fused::elementwise::{Rotations, swiglu, swiglu_backward};
use crate::fused::head::{Head, HeadGradients};
use crate::fused::norm::{self, Norm};
use crate::fused::products::{Target, View, multiply};
use crate::fused::spec::{Layout, ModelSpec};

/// What the backward pass of a layer needs of R rows.
#[derive(Debug)]
struct Saved {
    /// Residual stream before attention, `(R, width)`.
    x: Vec<f32>,
    /// One over its root mean square, `(R)`.
    rstd: Vec<f32>,
    /// Turned queries and keys, and values, `(R, qkv_width)`.
    qkv: Vec<f32>,
    /// `(sequences, heads, context)`.
    lse: Vec<f32>,
    /// Output of attention, `(R, width)`.
    attended: Vec<f32>,
    /// Residual stream before the feed-forward layer, `(R, width)`.
    middle: Vec<f32>,
    /// One over its root mean square, `(R)`.
    middle_rstd: Vec<f32>,
    /// Gate and up, `(R, 2 d_ff)`; backward leaves their gradient here.
    gate_up: Vec<f32>,
}

/// The buffers of one thread.
#[derive(Debug)]
pub(crate) struct Tile {
    spec: ModelSpec,
    layout: Layout,
    rotations: Rotations,
    attention: Attention,
    head: Head,
    layers: Vec<Saved>,
    /// Residual stream after the last layer, `(R, width)`.
    last: Vec<f32>,
    last_rstd: Vec<f32>,
    /// Output of a norm, `(R, width)`.
    y: Vec<f32>,
    /// Its gradient, `(R, width)`.
    dy: Vec<f32>,
    /// Gradient of the residual stream, `(R, width)`.
    dx: Vec<f32>,
    /// Inside of the feed-forward layer, `(R, d_ff)`.
    inner: Vec<f32>,
    dqkv: Vec<f32>,
    inputs: Vec<u32>,
    targets: Vec<u32>,
}

impl Tile {
    /// Buffers for `sequences` at a time.
    pub(crate) fn new(spec: &ModelSpec, sequences: usize) -> Self {
        let rows = sequences * spec.context;
        let buffer = |columns: usize| vec![0.0; rows * columns];
        let saved = || Saved {
            x: buffer(spec.width),
            rstd: buffer(1),
            qkv: buffer(spec.qkv_width()),
            lse: buffer(spec.heads),
            attended: buffer(spec.width),
            middle: buffer(spec.width),
            middle_rstd: buffer(1),
            gate_up: buffer(2 * spec.d_ff),
        };
        Self {
            spec: *spec,
            layout: Layout::new(spec),
            rotations: Rotations::new(spec),
            attention: Attention::new(spec),
            head: Head::new(spec.width, spec.vocab, rows),
            layers: (0..spec.layers).map(|_| saved()).collect(),
            last: buffer(spec.width),
            last_rstd: buffer(1),
            y: buffer(spec.width),
            dy: buffer(spec.width),
            dx: buffer(spec.width),
            inner: buffer(spec.d_ff),
            dqkv: buffer(spec.qkv_width()),
            inputs: Vec::with_capacity(rows),
            targets: Vec::with_capacity(rows),
        }
    }

    /// Summed loss in nats of `tokens (sequences, context + 1)`.
    pub(crate) fn loss(&mut self, params: &[f32], tokens: &[u32]) -> f64 {
        let rows = self.forward(params, tokens);
        let embedding = &params[self.layout.embedding()];
        self.head
            .loss(embedding, &self.y[..rows * self.spec.width], &self.targets, None)
    }

    /// Summed loss in nats of `tokens (sequences, context + 1)`; adds `scale` times its gradient to `grad`.
    pub(crate) fn accumulate(&mut self, params: &[f32], grad: &mut [f32], tokens: &[u32], scale: f32) -> f64 {
        let rows = self.forward(params, tokens);
        let size = rows * self.spec.width;
        let gradients = HeadGradients {
            input: &mut self.dy[..size],
            embedding: &mut grad[self.layout.embedding()],
            scale,
        };
        let embedding = &params[self.layout.embedding()];
        let loss = self
            .head
            .loss(embedding, &self.y[..size], &self.targets, Some(gradients));
        self.dx[..size].fill(0.0);
        let norm = last_norm(&self.spec, &self.layout, params);
        let dgain = &mut grad[self.layout.last_norm()];
        norm::backward(
            norm,
            &self.dy[..size],
            &self.last[..size],
            &self.last_rstd[..rows],
            &mut self.dx[..size],
            dgain,
        );
        for layer in (0..self.spec.layers).rev() {
            self.feed_forward_backward(params, grad, layer, rows);
            self.attention_backward(params, grad, layer, rows);
        }
        self.embedding_backward(grad);
        loss
    }

    /// Everything up to the input of the head, which is left in `y`; gives the number of rows.
    fn forward(&mut self, params: &[f32], tokens: &[u32]) -> usize {
        let context = self.spec.context;
        self.inputs.clear();
        self.targets.clear();
        for sequence in tokens.chunks_exact(context + 1) {
            self.inputs.extend_from_slice(&sequence[..context]);
            self.targets.extend_from_slice(&sequence[1..]);
        }
        let (width, rows) = (self.spec.width, self.inputs.len());
        let embedding = &params[self.layout.embedding()];
        for (x, &token) in self.layers[0].x.chunks_exact_mut(width).zip(&self.inputs) {
            let from = &embedding[token as usize * width..][..width];
            for (x, e) in x.iter_mut().zip(from) {
                *x = e * self.spec.scale_emb;
            }
        }
        for layer in 0..self.spec.layers {
            self.attention_forward(params, layer, rows);
            self.feed_forward_forward(params, layer, rows);
        }
        let norm = last_norm(&self.spec, &self.layout, params);
        let size = rows * width;
        norm::forward(
            norm,
            &self.last[..size],
            &mut self.last_rstd[..rows],
            &mut self.y[..size],
        );
        rows
    }

    /// `middle = x + residual · out(attention(norm(x)))`.
    fn attention_forward(&mut self, params: &[f32], layer: usize, rows: usize) {
        let spec = &self.spec;
        let (width, columns, size) = (spec.width, spec.qkv_width(), rows * spec.width);
        let saved = &mut self.layers[layer];
        let norm = layer_norm(spec, &params[self.layout.attention_norm(layer)]);
        let y = &mut self.y[..size];
        norm::forward(norm, &saved.x[..size], &mut saved.rstd[..rows], y);
        let weights = View::new(&params[self.layout.qkv(layer)], columns, width);
        let qkv = &mut saved.qkv[..rows * columns];
        multiply(
            Target::replace(qkv, columns),
            1.0,
            View::new(y, rows, width),
            weights.t(),
        );
        self.rotations.turn(qkv);
        self.attention
            .forward(qkv, &mut saved.attended[..size], &mut saved.lse[..rows * spec.heads]);
        saved.middle[..size].copy_from_slice(&saved.x[..size]);
        let out = View::new(&params[self.layout.out(layer)], width, width);
        let attended = View::new(&saved.attended, rows, width);
        multiply(Target::add(&mut saved.middle, width), spec.residual, attended, out.t());
    }

    /// The next layer's `x = middle + residual · down(swiglu(norm(middle)))`.
    fn feed_forward_forward(&mut self, params: &[f32], layer: usize, rows: usize) {
        let spec = &self.spec;
        let (width, d_ff, size) = (spec.width, spec.d_ff, rows * spec.width);
        let (before, after) = self.layers.split_at_mut(layer + 1);
        let saved = &mut before[layer];
        let next = after.first_mut().map_or(&mut self.last, |next| &mut next.x);
        let norm = layer_norm(spec, &params[self.layout.feed_forward_norm(layer)]);
        let y = &mut self.y[..size];
        norm::forward(norm, &saved.middle[..size], &mut saved.middle_rstd[..rows], y);
        let weights = View::new(&params[self.layout.gate_up(layer)], 2 * d_ff, width);
        let gate_up = &mut saved.gate_up[..rows * 2 * d_ff];
        multiply(
            Target::replace(gate_up, 2 * d_ff),
            1.0,
            View::new(y, rows, width),
            weights.t(),
        );
        let inner = &mut self.inner[..rows * d_ff];
        swiglu(d_ff, gate_up, inner);
        next[..size].copy_from_slice(&saved.middle[..size]);
        let down = View::new(&params[self.layout.down(layer)], width, d_ff);
        multiply(
            Target::add(next, width),
            spec.residual,
            View::new(inner, rows, d_ff),
            down.t(),
        );
    }

    /// From the gradient of a layer's output in `dx` to that of its middle.
    fn feed_forward_backward(&mut self, params: &[f32], grad: &mut [f32], layer: usize, rows: usize) {
        let (spec, layout) = (&self.spec, &self.layout);
        let (width, d_ff, size) = (spec.width, spec.d_ff, rows * spec.width);
        let saved = &mut self.layers[layer];
        let (y, dy, dx) = (&mut self.y[..size], &mut self.dy[..size], &mut self.dx[..size]);
        let inner = &mut self.inner[..rows * d_ff];
        let gate_up = &mut saved.gate_up[..rows * 2 * d_ff];
        let dx_rows = View::new(dx, rows, width);
        let down = View::new(&params[layout.down(layer)], width, d_ff);
        multiply(Target::replace(inner, d_ff), spec.residual, dx_rows, down);
        swiglu_backward(d_ff, gate_up, inner);
        let ddown = Target::add(&mut grad[layout.down(layer)], d_ff);
        multiply(ddown, spec.residual, dx_rows.t(), View::new(inner, rows, d_ff));
        let norm = layer_norm(spec, &params[layout.feed_forward_norm(layer)]);
        norm::again(norm, &saved.middle[..size], &saved.middle_rstd[..rows], y);
        let dgate_up = View::new(gate_up, rows, 2 * d_ff);
        let dweights = Target::add(&mut grad[layout.gate_up(layer)], width);
        multiply(dweights, 1.0, dgate_up.t(), View::new(y, rows, width));
        let weights = View::new(&params[layout.gate_up(layer)], 2 * d_ff, width);
        multiply(Target::replace(dy, width), 1.0, dgate_up, weights);
        let dgain = &mut grad[layout.feed_forward_norm(layer)];
        norm::backward(norm, dy, &saved.middle[..size], &saved.middle_rstd[..rows], dx, dgain);
    }

    /// From the gradient of a layer's middle in `dx` to that of its input.
    fn attention_backward(&mut self, params: &[f32], grad: &mut [f32], layer: usize, rows: usize) {
        let (spec, layout) = (&self.spec, &self.layout);
        let (width, columns, size) = (spec.width, spec.qkv_width(), rows * spec.width);
        let saved = &self.layers[layer];
        let (y, dy, dx) = (&mut self.y[..size], &mut self.dy[..size], &mut self.dx[..size]);
        let dx_rows = View::new(dx, rows, width);
        let out = View::new(&params[layout.out(layer)], width, width);
        multiply(Target::replace(dy, width), spec.residual, dx_rows, out);
        let attended = View::new(&saved.attended, rows, width);
        let dout = Target::add(&mut grad[layout.out(layer)], width);
        multiply(dout, spec.residual, dx_rows.t(), attended);
        let dqkv = &mut self.dqkv[..rows * columns];
        dqkv.fill(0.0);
        let kept = Kept {
            qkv: &saved.qkv[..rows * columns],
            out: &saved.attended[..size],
            lse: &saved.lse[..rows * spec.heads],
        };
        self.attention.backward(kept, dy, dqkv);
        self.rotations.turn_back(dqkv);
        let norm = layer_norm(spec, &params[layout.attention_norm(layer)]);
        norm::again(norm, &saved.x[..size], &saved.rstd[..rows], y);
        let dqkv = View::new(dqkv, rows, columns);
        multiply(
            Target::add(&mut grad[layout.qkv(layer)], width),
            1.0,
            dqkv.t(),
            View::new(y, rows, width),
        );
        let weights = View::new(&params[layout.qkv(layer)], columns, width);
        multiply(Target::replace(dy, width), 1.0, dqkv, weights);
        let dgain = &mut grad[layout.attention_norm(layer)];
        norm::backward(norm, dy, &saved.x[..size], &saved.rstd[..rows], dx, dgain);
    }

    /// Adds the gradient of the first residual stream to the rows of the tokens that were read.
    fn embedding_backward(&self, grad: &mut [f32]) {
        let width = self.spec.width;
        let embedding = &mut grad[self.layout.embedding()];
        for (dx, &token) in self.dx.chunks_exact(width).zip(&self.inputs) {
            let to = &mut embedding[token as usize * width..][..width];
            for (to, dx) in to.iter_mut().zip(dx) {
                *to += dx * self.spec.scale_emb;
            }
        }
    }
}

/// A norm inside a layer.
fn layer_norm<'a>(spec: &ModelSpec, gain: &'a [f32]) -> Norm<'a> {
    Norm {
        gain,
        factor: 1.0,
        eps: spec.norm_eps,
    }
}

/// The norm before the head, its output divided for the logits.
fn last_norm<'a>(spec: &ModelSpec, layout: &Layout, params: &'a [f32]) -> Norm<'a> {
    Norm {
        gain: &params[layout.last_norm()],
        factor: 1.0 / spec.logits_divisor,
        eps: spec.norm_eps,
    }
}
