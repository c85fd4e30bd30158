//! What else the same compute, or the same loss, could buy: `MiniCPM`'s small model trained on against the larger
//! compute-optimal one.
//!
//! Refuses to choose: what inference is worth, the reader knows.

use crate::fit::loss::chinchilla::Law;
use crate::fit::loss::loss_fit::LossFit;
use crate::recipe::Alternative;

/// FLOPs of training for each parameter and token, and of inference for each parameter and token: the laws' own unit.
const TRAINING: f64 = 6.0;
const INFERENCE: f64 = 2.0;
/// Sizes and tokens nearer than this, in logarithms, are the same run.
const SAME: f64 = 0.01;

/// The run as it is asked, and three beside it.
pub(super) fn alternatives(fit: &LossFit, params: f64, tokens: f64) -> Vec<Alternative> {
    let law = fit.point();
    let flops = TRAINING * params * tokens;
    let loss = law.loss(params, tokens);
    let row = |name: &str, params: f64, tokens: f64| {
        let predicted = fit.predict(params, tokens);
        Alternative {
            name: name.to_owned(),
            params,
            tokens,
            flops: TRAINING * params * tokens,
            loss: predicted.mean,
            ci95: predicted.ci95_mean,
            inference_flops_per_token: INFERENCE * params,
        }
    };
    let same_compute = law.compute_optimal(flops);
    let mut rows = vec![
        row("as_asked", params, tokens),
        row("optimal_tokens_for_this_size", params, law.optimal_tokens(params)),
        row("optimal_for_this_compute", same_compute.params, same_compute.tokens),
    ];
    rows.extend(optimal_for_loss(&law, loss, flops).map(|it| row("optimal_for_this_loss", it.0, it.1)));
    rows.retain(|row| {
        [row.params, row.tokens, row.loss]
            .iter()
            .all(|number| number.is_finite())
    });
    // A run that is the one that is asked for tells nothing.
    let differs = |row: &Alternative| (row.params / params).ln().abs().max((row.tokens / tokens).ln().abs()) > SAME;
    let asked = rows.iter().take(1).cloned();
    let others = rows.iter().skip(1).filter(|row| differs(row)).cloned();
    asked.chain(others).collect()
}

/// The compute-optimal run that reaches a loss: it costs the least training; none where no compute below `flops` does.
fn optimal_for_loss(law: &Law, loss: f64, flops: f64) -> Option<(f64, f64)> {
    let (mut low, mut high) = (flops.ln() - 40.0, flops.ln());
    if law.compute_optimal(high.exp()).loss > loss {
        return None;
    }
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if law.compute_optimal(middle.exp()).loss > loss {
            low = middle;
        } else {
            high = middle;
        }
    }
    let best = law.compute_optimal(high.exp());
    Some((best.params, best.tokens))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::six_nd;

    #[test]
    fn the_optimal_run_of_a_loss_reaches_it_with_less_compute() {
        let law = Law {
            e: 1.8172,
            a: 482.01,
            alpha: 0.3478,
            b: 2085.43,
            beta: 0.3658,
        };
        // A small model, trained ten times longer than is compute-optimal for it.
        let (params, tokens) = (1e9, 10.0 * law.optimal_tokens(1e9));
        let (loss, flops) = (law.loss(params, tokens), six_nd(params, tokens));
        let (larger, fewer) = optimal_for_loss(&law, loss, flops).expect("less compute reaches it");
        assert!((law.loss(larger, fewer) / loss - 1.0).abs() < 1e-9);
        assert!(
            larger > 2.0 * params && six_nd(larger, fewer) < 0.9 * flops,
            "{larger} {fewer}"
        );
    }
}
