//! The loss before the first step, which everybody looks at first: ln V where logits are small, far above it where muP
//! scales them up below its base width.
//!
//! Refuses to know data: targets are taken to be independent of the weights, which measured runs are within a nat of.

use crate::model::config::RunConfig;
use crate::model::mup::Group;

/// The expected loss of the initial weights in nats per token.
///
/// The last norm gives every token a vector of length √d, whose products with the rows of the tied embedding are V
/// numbers of standard deviation σ = `init_std` · √d / divisor. The loss is the mean of ln Σ exp of them. Of so few
/// numbers none lies in the tail that 1/(2V) of them would reach, so the mean of exp ends there.
pub fn initial_loss(config: &RunConfig) -> f64 {
    const STEP: f64 = 0.01;
    const FAR: f64 = 9.0;
    let scaling = config.scaling();
    let init_std = scaling.init_std(Group::Embedding).unwrap_or_default();
    let spread = init_std * (config.shape.width as f64).sqrt() / scaling.logits_divisor();
    let vocab = config.vocab as f64;
    let (mut tail, mut mean) = (0.0, 0.0);
    for step in 0..(2.0 * FAR / STEP) as u64 {
        let z = FAR - (step as f64 + 0.5) * STEP;
        let mass = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt() * STEP;
        tail += mass;
        if tail > 0.5 / vocab {
            mean += mass * (spread * z).exp();
        }
    }
    (vocab * mean).ln()
}

/// ln V: the loss of a model that takes every token for as likely as any other.
pub fn uniform_loss(config: &RunConfig) -> f64 {
    (config.vocab as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::memory::tests::of_rung;

    #[test]
    fn narrow_models_begin_where_measured_runs_begin() {
        // First training losses of three seeds each, vocabulary 256.
        for (rung, base, low, high) in [
            ("6K", 256, 16.29, 18.06),
            ("24K", 256, 11.6, 13.12),
            ("189K", 256, 9.24, 10.07),
            ("6K", 32, 5.15, 5.47),
            ("189K", 32, 5.05, 5.14),
        ] {
            let mut config = of_rung(rung, 1);
            config.multipliers.base_width = base;
            let expected = initial_loss(&config);
            assert!(
                (low - 1.0..high + 1.0).contains(&expected),
                "{rung}, {base}: {expected}"
            );
        }
    }
}
