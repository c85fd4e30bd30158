//! Rotary embedding and SwiGLU, each in one pass over its rows; refuses to know products and attention.

#![expect(
    clippy::inline_always,
    reason = "bodies are compiled anew for each set of instructions"
)]

use crate::fused::simd::{LANES, dispatched, exp, fma};
use crate::fused::spec::ModelSpec;

/// Cosines and sines of every position and frequency, each `(context, head_dim / 2)`.
#[derive(Debug)]
pub(crate) struct Rotations {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
    heads: usize,
    turned: usize,
    stride: usize,
    scale: f32,
}

impl Rotations {
    /// The table of a model; frequencies and angles are rounded to float32 as the reference has them.
    pub(crate) fn new(spec: &ModelSpec) -> Self {
        let (head_dim, half) = (spec.head_dim(), spec.head_dim() / 2);
        let frequency = |i: usize| {
            let exponent = (2 * i) as f32 / head_dim as f32;
            1.0 / (f64::from(spec.rope_theta).powf(f64::from(exponent)) as f32)
        };
        let angles = (0..spec.context).flat_map(|t| (0..half).map(move |i| f64::from(t as f32 * frequency(i))));
        let (sin, cos) = angles.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
        Self {
            cos,
            sin,
            half,
            heads: spec.heads,
            turned: spec.heads + spec.kv_heads,
            stride: spec.qkv_width(),
            scale: 1.0 / (head_dim as f32).sqrt(),
        }
    }

    /// Turns queries and keys of whole sequences `(R, qkv_width)` and multiplies queries by `1/√head_dim`.
    pub(crate) fn turn(&self, qkv: &mut [f32]) {
        rotate(self, 1.0, qkv);
    }

    /// Turns gradients back: the transpose of [`Self::turn`].
    pub(crate) fn turn_back(&self, dqkv: &mut [f32]) {
        rotate(self, -1.0, dqkv);
    }
}

dispatched! {
    fn rotate(table: &Rotations, sign: f32, qkv: &mut [f32]) = rotate_body
}

#[inline(always)]
fn rotate_body<const FMA: bool>(table: &Rotations, sign: f32, qkv: &mut [f32]) {
    let half = table.half;
    let positions = table.cos.chunks_exact(half).zip(table.sin.chunks_exact(half)).cycle();
    for (row, (cos, sin)) in qkv.chunks_exact_mut(table.stride).zip(positions) {
        for (index, head) in row.chunks_exact_mut(2 * half).take(table.turned).enumerate() {
            let scale = if index < table.heads { table.scale } else { 1.0 };
            let (a, b) = head.split_at_mut(half);
            for (((a, b), &cos), &sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                let (x, y, sin) = (*a * scale, *b * scale, sin * sign);
                *a = fma::<FMA>(x, cos, -(y * sin));
                *b = fma::<FMA>(y, cos, x * sin);
            }
        }
    }
}

dispatched! {
    /// `inner = silu(gate) · up` of rows `gate_up (R, 2 d_ff)`, `inner (R, d_ff)`.
    pub(crate) fn swiglu(d_ff: usize, gate_up: &[f32], inner: &mut [f32]) = swiglu_body
}

#[inline(always)]
fn swiglu_body<const FMA: bool>(d_ff: usize, gate_up: &[f32], inner: &mut [f32]) {
    for (row, inner) in gate_up.chunks_exact(2 * d_ff).zip(inner.chunks_exact_mut(d_ff)) {
        let (gate, up) = row.split_at(d_ff);
        for ((inner, &gate), &up) in inner.iter_mut().zip(gate).zip(up) {
            *inner = gate / (1.0 + exp::<FMA>(-gate)) * up;
        }
    }
}

dispatched! {
    /// Backward of [`swiglu`] in place: `gate_up` becomes its gradient, and `inner`, which comes as the gradient of
    /// the output, becomes the output.
    pub(crate) fn swiglu_backward(d_ff: usize, gate_up: &mut [f32], inner: &mut [f32]) = swiglu_backward_body
}

#[inline(always)]
fn swiglu_backward_body<const FMA: bool>(d_ff: usize, gate_up: &mut [f32], inner: &mut [f32]) {
    for (row, inner) in gate_up.chunks_exact_mut(2 * d_ff).zip(inner.chunks_exact_mut(d_ff)) {
        let (gate, up) = row.split_at_mut(d_ff);
        let (gate, gate_rest) = gate.as_chunks_mut::<LANES>();
        let (up, up_rest) = up.as_chunks_mut::<LANES>();
        let (inner, inner_rest) = inner.as_chunks_mut::<LANES>();
        for ((inner, gate), up) in inner.iter_mut().zip(gate).zip(up) {
            // Copies, so that the compiler knows that no store changes what is read later.
            let (g, u, d) = (*gate, *up, *inner);
            for i in 0..LANES {
                (gate[i], up[i], inner[i]) = swiglu_slopes::<FMA>(g[i], u[i], d[i]);
            }
        }
        for ((inner, gate), up) in inner_rest.iter_mut().zip(gate_rest).zip(up_rest) {
            (*gate, *up, *inner) = swiglu_slopes::<FMA>(*gate, *up, *inner);
        }
    }
}

/// Gradients of gate and up from that of the output, and the output.
#[inline(always)]
fn swiglu_slopes<const FMA: bool>(gate: f32, up: f32, d: f32) -> (f32, f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp::<FMA>(-gate));
    let silu = gate * sigmoid;
    // The slope of silu is σ (1 + g (1 − σ)) = σ + silu (1 − σ).
    let slope = fma::<FMA>(silu, 1.0 - sigmoid, sigmoid);
    (d * up * slope, d * silu, silu * up)
}
