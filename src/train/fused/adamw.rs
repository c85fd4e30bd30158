//! AdamW with clipping over flat buffers in one pass; refuses to know schedules and models.

#![expect(
    clippy::inline_always,
    reason = "bodies are compiled anew for each set of instructions"
)]

use std::ops::Range;

use crate::fused::pool::{PART, Pool};
use crate::fused::simd::{LANES, dispatched, fma};

/// A consecutive part of the parameters with its own learning rate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GroupRange {
    /// Elements of the flat buffer; groups follow one another and cover it.
    pub(crate) range: Range<usize>,
    /// Learning rate of the group.
    pub(crate) lr: f64,
    /// Decay, coupled to the learning rate: `p −= lr · weight_decay · p`.
    pub(crate) weight_decay: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AdamStep {
    pub(crate) groups: Vec<GroupRange>,
    /// Decay of the first moment.
    pub(crate) beta1: f64,
    /// Decay of the second moment.
    pub(crate) beta2: f64,
    /// Added to the root of the second moment.
    pub(crate) eps: f64,
    /// Largest global norm of the gradient.
    pub(crate) clip: f64,
    /// Number of this update, from 1.
    pub(crate) step: u64,
}

/// Clips and updates; gives the global norm of `grad` before clipping. `grad` itself stays as it is.
///
/// If the norm is not finite, nothing is changed. All buffers are of one length.
pub(crate) fn adamw_step(
    pool: &Pool,
    params: &mut [f32],
    grad: &[f32],
    moments: (&mut [f32], &mut [f32]),
    update: &AdamStep,
) -> f64 {
    let squares = pool.map(grad.chunks(PART).collect(), sum_of_squares);
    let norm = squares.iter().sum::<f64>().sqrt();
    if !norm.is_finite() {
        return norm;
    }
    // 1e-6 as PyTorch's `clip_grad_norm_` has it.
    let clip = if norm > update.clip {
        update.clip / (norm + 1e-6)
    } else {
        1.0
    };
    let (mut params, mut grad, (mut first, mut second)) = (params, grad, moments);
    assert!(grad.len() == params.len() && first.len() == params.len() && second.len() == params.len());
    let (mut parts, mut done) = (Vec::new(), 0);
    for group in &update.groups {
        assert_eq!(group.range.start, done, "groups follow one another");
        done = group.range.end;
        let numbers = Numbers::new(update, group, clip);
        let mut left = group.range.len();
        while left > 0 {
            let len = left.min(PART);
            let (p, m, v);
            (p, params) = params.split_at_mut(len);
            (m, first) = first.split_at_mut(len);
            (v, second) = second.split_at_mut(len);
            let g;
            (g, grad) = grad.split_at(len);
            parts.push((numbers, p, g, m, v));
            left -= len;
        }
    }
    assert!(params.is_empty(), "groups cover the parameters");
    pool.for_each(parts, |(numbers, p, g, m, v)| update_part(numbers, p, g, m, v));
    norm
}

/// What the pass multiplies by.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    clip: f32,
    beta1: f32,
    beta2: f32,
    root_correction: f32,
    eps: f32,
    keep: f32,
    change: f32,
}

impl Numbers {
    fn new(update: &AdamStep, group: &GroupRange, clip: f64) -> Self {
        let steps = update.step as f64;
        let (correction1, correction2) = (1.0 - update.beta1.powf(steps), 1.0 - update.beta2.powf(steps));
        Self {
            clip: clip as f32,
            beta1: (1.0 - update.beta1) as f32,
            beta2: (1.0 - update.beta2) as f32,
            root_correction: (1.0 / correction2.sqrt()) as f32,
            eps: update.eps as f32,
            keep: (1.0 - group.lr * group.weight_decay) as f32,
            change: (-group.lr / correction1) as f32,
        }
    }
}

dispatched! {
    /// `Σ x²`, in float64 lanes.
    fn sum_of_squares(values: &[f32]) -> f64 = sum_of_squares_body
}

#[inline(always)]
fn sum_of_squares_body<const FMA: bool>(values: &[f32]) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += f64::from(chunk[i]) * f64::from(chunk[i]);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
}

dispatched! {
    fn update_part(n: Numbers, params: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) = update_body
}

#[inline(always)]
fn update_body<const FMA: bool>(n: Numbers, params: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) {
    for (((p, &g), m), v) in params.iter_mut().zip(grad).zip(first).zip(second) {
        let g = g * n.clip;
        *m = fma::<FMA>(g - *m, n.beta1, *m);
        *v = fma::<FMA>(fma::<FMA>(g, g, -*v), n.beta2, *v);
        let change = *m / fma::<FMA>(v.sqrt(), n.root_correction, n.eps);
        *p = fma::<FMA>(change, n.change, *p * n.keep);
    }
}
