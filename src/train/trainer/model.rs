//! The proxy itself: a Llama-like decoder with `MiniCPM`'s multipliers (`MiniCPM`, table 7; logits equal Granite's).
//!
//! Shapes are written at the end of the lines that make them: B sequences, T tokens each, d the width, H all heads of
//! queries, keys and values. Refuses to know about optimisers, files and jobs.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sandbox::model::config::{Precision, RMS_EPS, ROPE_THETA, RunConfig};
use sandbox::model::mup::Scaling;
use sandbox::model::shape::Shape;
use tch::{Device, Kind, Reduction, Tensor};

use crate::trainer::layout::{LayerWeights, Layout, Weights, dim};

/// A batch of sequences on the device of the model.
pub(crate) struct Batch {
    /// Tokens that are read: `(B, T)`, int64.
    pub(crate) inputs: Tensor,
    /// The tokens that follow them: `(B, T)`, int64.
    pub(crate) targets: Tensor,
    /// The windows that both are cut from, one after another.
    pub(crate) windows: Vec<i64>,
}

impl Batch {
    /// A batch of windows one after another, each of `context + 1` tokens.
    pub(crate) fn from_windows(tokens: &[i64], context: u64, device: Device) -> Self {
        let context = dim(context);
        let windows = Tensor::from_slice(tokens).view([-1, context + 1]).to_device(device);
        Self {
            inputs: windows.narrow(1, 0, context).contiguous(),
            targets: windows.narrow(1, 1, context).contiguous(),
            windows: tokens.to_vec(),
        }
    }
}

/// A model: its parameters and what they are multiplied by.
pub(crate) struct Model {
    /// Where each parameter lies.
    pub(crate) layout: Layout,
    /// All parameters, float32, the one leaf of the graph.
    pub(crate) flat: Tensor,
    shape: Shape,
    scaling: Scaling,
    compute: Kind,
    /// Rotations of every position: `(T, 1, head_dim / 2)`, complex.
    rotations: Tensor,
}

impl Model {
    /// The model of a run with its initial weights.
    pub(crate) fn new(config: &RunConfig, device: Device) -> Self {
        let layout = Layout::new(config.shape, config.vocab);
        let flat = initial_weights(&layout, config.scaling(), config.seed);
        Self::from_weights(config, &flat, device)
    }

    /// The model of a run with given weights, one flat vector.
    pub(crate) fn from_weights(config: &RunConfig, flat: &Tensor, device: Device) -> Self {
        Self {
            layout: Layout::new(config.shape, config.vocab),
            flat: flat.copy().to_device(device).set_requires_grad(true),
            shape: config.shape,
            scaling: config.scaling(),
            compute: match config.precision {
                Precision::Float32 => Kind::Float,
                Precision::Bfloat16 => Kind::BFloat16,
            },
            rotations: rotations(config.context, config.shape.head_dim).to_device(device),
        }
    }

    /// The device of the parameters.
    pub(crate) fn device(&self) -> Device {
        self.flat.device()
    }

    /// Logits of every position: `(B, T, vocab)`.
    #[cfg(test)]
    pub(crate) fn logits(&self, inputs: &Tensor) -> Tensor {
        self.trace(inputs, &mut |_| {})
    }

    /// Logits of every position; `see` is shown the residual stream before each layer and after the last.
    pub(crate) fn trace(&self, inputs: &Tensor, see: &mut dyn FnMut(&Tensor)) -> Tensor {
        let weights = self.layout.weights(&self.flat.to_kind(self.compute));
        let mut x = Tensor::embedding(&weights.embedding, inputs, -1, false, false); // (B, T, d)
        x *= self.scaling.embedding();
        for layer in &weights.layers {
            see(&x);
            x = self.layer(layer, &x);
        }
        see(&x);
        self.head(&weights, &x)
    }

    /// Summed cross-entropy in nats of the targets, float32.
    pub(crate) fn loss_sum(&self, inputs: &Tensor, targets: &Tensor) -> Tensor {
        let logits = self.trace(inputs, &mut |_| {});
        let vocab = logits.size().last().copied().expect("logits have a last dimension");
        logits
            .view([-1, vocab])
            .to_kind(Kind::Float)
            .cross_entropy_loss::<&Tensor>(&targets.view([-1]), None, Reduction::Sum, -100, 0.0)
    }

    /// One layer: attention and loader-forward, each a residual branch scaled by `scale_depth / √L`.
    fn layer(&self, weights: &LayerWeights, x: &Tensor) -> Tensor {
        // The factor is put on the small matrix, not on the large activations.
        let residual = self.scaling.residual();
        let y = rms_norm(x, &weights.attention_norm);
        let attended = self.attention(&weights.qkv, &y); // (B, T, heads · head_dim)
        let x = x + attended.linear::<&Tensor>(&(&weights.out * residual), None);
        let y = rms_norm(&x, &weights.feed_forward_norm);
        let halves = y.linear::<&Tensor>(&weights.gate_up, None).chunk(2, -1); // 2 × (B, T, d_ff)
        let inner = halves[0].silu() * &halves[1];
        x + inner.linear::<&Tensor>(&(&weights.down * residual), None)
    }

    /// Causal attention, scores times `1/√head_dim`: `(B, T, d)` to `(B, T, heads · head_dim)`.
    fn attention(&self, qkv: &Tensor, x: &Tensor) -> Tensor {
        let (batch, time, _) = x.size3().expect("activations are (B, T, d)");
        let (heads, kv_heads) = (dim(self.shape.heads), dim(self.shape.kv_heads));
        let head_dim = dim(self.shape.head_dim);
        let qkv = x.linear::<&Tensor>(&self.pair_rotated_rows(qkv), None);
        let qkv = qkv.view([batch, time, heads + 2 * kv_heads, head_dim]);
        let parts = qkv.split_with_sizes([heads + kv_heads, kv_heads], 2);
        let turned = self.rotate(&parts[0]).split_with_sizes([heads, kv_heads], 2);
        let (q, k, v) = (&turned[0], self.share(&turned[1]), self.share(&parts[1]));
        Tensor::scaled_dot_product_attention::<&Tensor>(
            &q.transpose(1, 2),
            &k.transpose(1, 2),
            &v.transpose(1, 2),
            None,
            0.0,
            true,
            None,
            false,
        )
        .transpose(1, 2)
        .reshape([batch, time, heads * head_dim])
    }

    /// Puts the rows that rotary embedding turns together beside each other, in every query and key head.
    ///
    /// The family pairs row i of a head with row i + `head_dim / 2`. Scores do not depend on the order of rows as long
    /// as queries and keys have the same; neighbours are the parts of complex numbers, and turning is one product.
    fn pair_rotated_rows(&self, qkv: &Tensor) -> Tensor {
        let (width, half) = (dim(self.shape.width), dim(self.shape.head_dim) / 2);
        let turned = dim(self.shape.heads + self.shape.kv_heads);
        let values = dim(self.shape.kv_heads) * 2 * half;
        let parts = qkv.split_with_sizes([turned * 2 * half, values], 0);
        let paired = parts[0].view([turned, 2, half, width]).transpose(1, 2);
        Tensor::cat(&[&paired.reshape([-1, width]), &parts[1]], 0)
    }

    /// Repeats each key or value head for the group of query heads that shares it: `(B, T, heads, head_dim)`.
    fn share(&self, x: &Tensor) -> Tensor {
        if self.shape.heads == self.shape.kv_heads {
            return x.shallow_clone();
        }
        x.repeat_interleave_self_int(dim(self.shape.heads / self.shape.kv_heads), 2, None)
    }

    /// Rotary embedding of heads whose pairs are neighbours: `(B, T, heads, head_dim)`, in float32.
    fn rotate(&self, x: &Tensor) -> Tensor {
        let (batch, time, heads, head_dim) = x.size4().expect("heads are (B, T, heads, head_dim)");
        let pairs = x.to_kind(Kind::Float).view([batch, time, heads, head_dim / 2, 2]);
        let turned = pairs.view_as_complex() * self.rotations.narrow(0, 0, time);
        turned.view_as_real().flatten(3, 4).to_kind(self.compute)
    }

    /// The last norm and the tied head, its input divided by `m`.
    fn head(&self, weights: &Weights, x: &Tensor) -> Tensor {
        let gain = &weights.norm / self.scaling.logits_divisor();
        rms_norm(x, &gain).linear::<&Tensor>(&weights.embedding, None) // (B, T, vocab)
    }
}

/// Root-mean-square norm over the width; libtorch takes the mean square in float32.
fn rms_norm(x: &Tensor, gain: &Tensor) -> Tensor {
    x.rms_norm(gain.size(), Some(gain), RMS_EPS)
}

/// Unit complex numbers of every position and frequency: `(context, 1, head_dim / 2)`.
fn rotations(context: u64, head_dim: u64) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    let exponents = Tensor::arange_start_step(0, dim(head_dim), 2, options) / head_dim as f64;
    let frequencies = Tensor::full([1], ROPE_THETA, options).pow(&exponents).reciprocal();
    let angles = Tensor::arange(dim(context), options).outer(&frequencies).unsqueeze(1);
    Tensor::complex(&angles.cos(), &angles.sin())
}

/// Initial weights on the CPU: one stream of random numbers for each tensor, so that they do not depend on the
/// device, on threads, or on what was drawn before.
pub(crate) fn initial_weights(layout: &Layout, scaling: Scaling, seed: u64) -> Tensor {
    let mut values = Vec::with_capacity(usize::try_from(layout.numel()).expect("fits in memory"));
    for (stream, entry) in layout.entries.iter().enumerate() {
        let count = usize::try_from(entry.numel()).expect("fits in memory");
        match scaling.init_std(entry.group) {
            None => values.extend(std::iter::repeat_n(1.0f32, count)),
            Some(std) => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(stream as u64);
                values.extend(normal(&mut rng).take(count).map(|z| (z * std) as f32));
            }
        }
    }
    Tensor::from_slice(&values)
}

/// Standard normal numbers, two from each pair of uniform ones (Box and Muller, 1958).
fn normal(rng: &mut ChaCha8Rng) -> impl Iterator<Item = f64> {
    std::iter::repeat_with(move || {
        // 1 − u lies in (0, 1], so its logarithm is finite.
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let angle = std::f64::consts::TAU * rng.random::<f64>();
        [radius * angle.cos(), radius * angle.sin()]
    })
    .flatten()
}
