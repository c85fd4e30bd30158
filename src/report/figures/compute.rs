//! The best split of compute between parameters and tokens by any law of loss.
//!
//! Refuses to know the form of a law, and to draw.

use crate::report::law_view::Predict;

/// FLOPs for each parameter and token (Kaplan et al. 2020, eq. 2.2).
pub(crate) const FLOPS_PER_PARAM_TOKEN: f64 = 6.0;

/// The parameters of least loss at so much compute, and that loss: the best of a grid of 1/8 decade, then the
/// minimum between its neighbours by golden-section search.
pub(crate) fn best_params(predict: Predict<'_>, flops: f64, [from, to]: [f64; 2]) -> Option<(f64, f64)> {
    let loss = |ln_params: f64| {
        let params = ln_params.exp();
        let tokens = flops / (FLOPS_PER_PARAM_TOKEN * params);
        predict(params, tokens).filter(|loss| loss.is_finite())
    };
    let steps = ((to / from).log10() * 8.0).ceil().clamp(1.0, 1000.0);
    let step = (to / from).ln() / steps;
    let (start, _) = (0..=steps as u32)
        .map(|at| from.ln() + step * f64::from(at))
        .filter_map(|ln_params| Some((ln_params, loss(ln_params)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1))?;
    let (mut low, mut high) = (start - step, start + step);
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    for _ in 0..30 {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if loss(left)? < loss(right)? {
            high = right;
        } else {
            low = left;
        }
    }
    let best = f64::midpoint(low, high);
    Some((best.exp(), loss(best)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chinchilla as published (Hoffmann et al. 2022, approach 3).
    fn chinchilla(params: f64, tokens: f64) -> f64 {
        1.69 + 406.4 / params.powf(0.34) + 410.7 / tokens.powf(0.28)
    }

    #[test]
    fn the_best_split_is_the_one_of_the_closed_form() {
        let flops: f64 = 5.76e23;
        let (alpha, beta): (f64, f64) = (0.34, 0.28);
        // N_opt = G (C/6)^(beta/(alpha+beta)), G = (alpha A / beta B)^(1/(alpha+beta)).
        let g = (alpha * 406.4 / (beta * 410.7)).powf(1.0 / (alpha + beta));
        let exact = g * (flops / 6.0).powf(beta / (alpha + beta));
        let predict = |params, tokens| Some(chinchilla(params, tokens));
        let (params, _) = best_params(&predict, flops, [1e6, 1e14]).expect("a minimum");
        assert!((params / exact).ln().abs() < 1e-4, "{params} {exact}");
    }
}
