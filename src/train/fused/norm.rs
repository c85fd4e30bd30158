//! Root-mean-square norm over the width, forward and backward; refuses to know what is normalised.

#![expect(
    clippy::inline_always,
    reason = "bodies are compiled anew for each set of instructions"
)]

use crate::fused::simd::{self, LANES, dispatched, fma};

/// What one norm is: its gain `(width)`, a factor on its output, and what is added to the mean square.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// Gain, `(width)`.
    pub(crate) gain: &'a [f32],
    pub(crate) factor: f32,
    /// Added to the mean square.
    pub(crate) eps: f32,
}

dispatched! {
    /// One over the root mean square of every row of `x (R, width)` into `rstd (R)`; `y = x · rstd · gain · factor`.
    pub(crate) fn forward(norm: Norm<'_>, x: &[f32], rstd: &mut [f32], y: &mut [f32]) = forward_body
}

dispatched! {
    /// The output of a norm once more, from what `forward` found.
    pub(crate) fn again(norm: Norm<'_>, x: &[f32], rstd: &[f32], y: &mut [f32]) = again_body
}

dispatched! {
    /// Adds to `dx (R, width)` and `dgain (width)` what `dy (R, width)` makes of them.
    pub(crate) fn backward(norm: Norm<'_>, dy: &[f32], x: &[f32], rstd: &[f32], dx: &mut [f32], dgain: &mut [f32]) = backward_body
}

#[inline(always)]
fn forward_body<const FMA: bool>(norm: Norm<'_>, x: &[f32], rstd: &mut [f32], y: &mut [f32]) {
    let width = norm.gain.len();
    for ((x, y), r) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(rstd) {
        *r = 1.0 / (simd::dot::<FMA>(x, x) / width as f32 + norm.eps).sqrt();
        row(norm, x, *r, y);
    }
}

#[inline(always)]
fn again_body<const FMA: bool>(norm: Norm<'_>, x: &[f32], rstd: &[f32], y: &mut [f32]) {
    let width = norm.gain.len();
    for ((x, y), &r) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(rstd) {
        row(norm, x, r, y);
    }
}

#[inline(always)]
fn row(norm: Norm<'_>, x: &[f32], rstd: f32, y: &mut [f32]) {
    let scale = rstd * norm.factor;
    for ((y, &x), &gain) in y.iter_mut().zip(x).zip(norm.gain) {
        *y = x * scale * gain;
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(
    norm: Norm<'_>,
    dy: &[f32],
    x: &[f32],
    rstd: &[f32],
    dx: &mut [f32],
    dgain: &mut [f32],
) {
    let width = norm.gain.len();
    let rows = dy
        .chunks_exact(width)
        .zip(x.chunks_exact(width))
        .zip(dx.chunks_exact_mut(width))
        .zip(rstd);
    for (((dy, x), dx), &rstd) in rows {
        let along = dot_of_three::<FMA>(dy, norm.gain, x);
        let scale = rstd * norm.factor;
        let pull = -scale * rstd * rstd * along / width as f32;
        for ((((dx, dgain), &dy), &x), &gain) in dx.iter_mut().zip(dgain.iter_mut()).zip(dy).zip(x).zip(norm.gain) {
            let scaled = dy * scale;
            *dx += fma::<FMA>(x, pull, scaled * gain);
            *dgain = fma::<FMA>(scaled, x, *dgain);
        }
    }
}

/// `Σ aᵢ bᵢ cᵢ`.
#[inline(always)]
fn dot_of_three<const FMA: bool>(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest), (c, c_rest)) =
        (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for i in 0..LANES {
            lanes[i] = fma::<FMA>(a[i] * b[i], c[i], lanes[i]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).zip(c_rest);
    simd::sum(lanes) + rest.fold(0.0, |rest, ((&a, &b), &c)| fma::<FMA>(a * b, c, rest))
}
