//! Where a law of loss is lowest for its compute, whatever its form: the size and the tokens of `C` = 6ND FLOPs, and the
//! tokens for which a size is that of its compute.
//!
//! Refuses to know any one law: a loss over size and tokens is all that it asks.

use crate::fit::loss::chinchilla::ComputeOptimal;

/// Halvings of an interval of logarithms: to ten digits.
const HALVINGS: usize = 48;
/// The step of a slope, in logarithms.
const STEP: f64 = 1e-3;
/// How far, in logarithms, an optimum may lie from where it is looked for.
const FAR: f64 = 35.0;

/// How the loss moves with ln N along equal compute: negative where a larger model with fewer tokens is better.
fn slope(loss: &impl Fn(f64, f64) -> f64, params: f64, tokens: f64) -> f64 {
    let at = |step: f64| loss(params * step.exp(), tokens * (-step).exp());
    at(STEP) - at(-STEP)
}

/// Where a slope passes from below zero to above it; none where it does not, or is no number.
fn root(slope: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> Option<f64> {
    if !(slope(low) < 0.0 && slope(high) > 0.0) {
        return None;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if slope(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(f64::midpoint(low, high))
}

/// The lowest loss of `flops` = 6ND.
pub(crate) fn compute_optimal(loss: impl Fn(f64, f64) -> f64, flops: f64) -> Option<ComputeOptimal> {
    let product = (flops / 6.0).ln();
    let middle = product / 2.0;
    let along = |ln_params: f64| slope(&loss, ln_params.exp(), (product - ln_params).exp());
    let params = root(along, middle - FAR / 2.0, middle + FAR / 2.0)?.exp();
    let tokens = product.exp() / params;
    Some(ComputeOptimal {
        params,
        tokens,
        loss: loss(params, tokens),
    })
}

/// The tokens for which a size is that of [`compute_optimal`].
pub(crate) fn optimal_tokens(loss: impl Fn(f64, f64) -> f64, params: f64) -> Option<f64> {
    // With few tokens fewer parameters would be better, with many more of them.
    let along = |ln_tokens: f64| -slope(&loss, params, ln_tokens.exp());
    root(along, params.ln() - FAR / 2.0, params.ln() + FAR).map(f64::exp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::loss::chinchilla::Law;

    const EPOCH: Law = Law {
        e: 1.8172,
        a: 482.01,
        alpha: 0.3478,
        b: 2085.43,
        beta: 0.3658,
    };

    #[test]
    fn the_additive_law_has_the_optimum_of_its_formula() {
        let (exact, found) = (
            EPOCH.compute_optimal(1e21),
            compute_optimal(|n, d| EPOCH.loss(n, d), 1e21).expect("an optimum"),
        );
        assert!((found.params / exact.params - 1.0).abs() < 1e-4, "{found:?} {exact:?}");
        let tokens = optimal_tokens(|n, d| EPOCH.loss(n, d), 1e9).expect("an optimum");
        assert!((tokens / EPOCH.optimal_tokens(1e9) - 1.0).abs() < 1e-4, "{tokens}");
    }

    #[test]
    fn a_law_that_only_falls_with_the_size_has_none() {
        assert_eq!(optimal_tokens(|n, _| 2.0 + 1.0 / n, 1e9), None);
        assert_eq!(compute_optimal(|_, d| 2.0 + 1.0 / d, 1e21), None);
    }
}
