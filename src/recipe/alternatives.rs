//! What else the same compute, or the same loss, could buy: `MiniCPM`'s small model trained on against the larger
//! compute-optimal one.
//!
//! Refuses to choose: what inference is worth, the reader knows.

use crate::fit::law::OfLoss;
use crate::fit::loss::chinchilla::ComputeOptimal;
use crate::recipe::Alternative;
use crate::units::six_nd;

/// FLOPs of inference for each parameter and token, as training's are 6ND.
const INFERENCE: f64 = 2.0;
/// Sizes and tokens nearer than this, in logarithms, are the same run.
const SAME: f64 = 0.01;

/// The run as it is asked, and three beside it, where the law speaks of them; `holds`: whether it does of a size and tokens.
pub(super) fn alternatives(
    law: &dyn OfLoss,
    params: f64,
    tokens: f64,
    holds: impl Fn(f64, f64) -> bool,
) -> Vec<Alternative> {
    if !holds(params, tokens) {
        return Vec::new();
    }
    let flops = six_nd(params, tokens);
    let loss = law.loss(params, tokens);
    let row = |name: &str, params: f64, tokens: f64| {
        let predicted = law.predict(params, tokens);
        Alternative {
            name: name.to_owned(),
            params,
            tokens,
            flops: six_nd(params, tokens),
            loss: predicted.mean,
            ci95: predicted.ci95_mean,
            inference_flops_per_token: INFERENCE * params,
        }
    };
    let mut rows = vec![row("as_asked", params, tokens)];
    rows.extend(
        law.optimal_tokens(params)
            .map(|it| row("optimal_tokens_for_this_size", params, it.value)),
    );
    let same_compute = law.compute_optimal(flops);
    rows.extend(same_compute.map(|it| row("optimal_for_this_compute", it.params, it.tokens)));
    let same_loss = optimal_for_loss(&|flops| law.compute_optimal(flops), loss, flops);
    rows.extend(same_loss.map(|it| row("optimal_for_this_loss", it.params, it.tokens)));
    rows.retain(|row| {
        [row.params, row.tokens, row.loss]
            .iter()
            .all(|number| number.is_finite())
            && holds(row.params, row.tokens)
    });
    // A run that is the one that is asked for tells nothing.
    let differs = |row: &Alternative| (row.params / params).ln().abs().max((row.tokens / tokens).ln().abs()) > SAME;
    let asked = rows.iter().take(1).cloned();
    let others = rows.iter().skip(1).filter(|row| differs(row)).cloned();
    asked.chain(others).collect()
}

/// The compute-optimal run that reaches a loss: it costs the least training; none where no compute below `flops` does.
fn optimal_for_loss(optimal: &dyn Fn(f64) -> Option<ComputeOptimal>, loss: f64, flops: f64) -> Option<ComputeOptimal> {
    let (mut low, mut high) = (flops.ln() - 40.0, flops.ln());
    if optimal(high.exp())?.loss > loss {
        return None;
    }
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if optimal(middle.exp()).is_none_or(|best| best.loss > loss) {
            low = middle;
        } else {
            high = middle;
        }
    }
    optimal(high.exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::loss::chinchilla::Law;

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
        let best = optimal_for_loss(&|flops| Some(law.compute_optimal(flops)), loss, flops);
        let best = best.expect("less compute reaches it");
        let (larger, fewer) = (best.params, best.tokens);
        assert!((law.loss(larger, fewer) / loss - 1.0).abs() < 1e-9);
        assert!(
            larger > 2.0 * params && six_nd(larger, fewer) < 0.9 * flops,
            "{larger} {fewer}"
        );
    }
}
