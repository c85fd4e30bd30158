//! Numbers from papers, each with its source and where it was measured.

use serde_json::json;

use crate::model::ladder;
use crate::model::schedule::Decay;
use crate::model::shape::Shape;
use crate::recipe::PublishedItem;
use crate::recipe::TextShape;
use crate::recipe::evidence::Annealing;

/// Peak learning rate of the embedding's group (MiniCPM 2404.06395, section 3.3; sizes 0.04B to 0.5B, verified at 2.1B).
pub const LR: f64 = 0.01;
/// The paper of [`LR`].
pub const LR_SOURCE: &str = "MiniCPM 2404.06395, 3.3";

/// The decay: a tenth of the run (MiniCPM, figure 5; 0.036B), exponential (4.2). Where it ends is not published as a
/// share: the 2.4B's half-life of 5,000 steps ends near 0.03.
pub const ANNEALING: Annealing = Annealing {
    form: Decay::Exponential,
    fraction: 0.1,
    last: 0.1,
};
/// The paper of [`ANNEALING`] and of the schedule.
pub const SCHEDULE_SOURCE: &str = "MiniCPM 2404.06395, 4.3";

/// Share of the run that warms up (MiniCPM's code; the paper says that it hardly matters).
pub const WARMUP_FRACTION: f64 = 0.01;
/// The source of [`WARMUP_FRACTION`].
pub const WARMUP_SOURCE: &str = "MiniCPM's code: --warmup-iters 0.01";

/// The best batch in tokens for so many tokens: `0.58 D^0.571` (Step Law, 2503.04715; AdamW, cosine, 60M to 1B).
///
/// MiniCPM's own law, `1.21e9 / L^6.24`, holds for C4 nats of its tokenizer and cannot be used with other losses.
pub fn batch_tokens(tokens: f64) -> f64 {
    0.58 * tokens.powf(0.571)
}
/// The paper of [`batch_tokens`].
pub const BATCH_SOURCE: &str = "Step Law 2503.04715: 0.58 D^0.571";

/// About so many tokens a parameter are compute-optimal (Chinchilla, 2203.15556; 70M to 16B).
pub const TOKENS_PER_PARAM: f64 = 20.0;
/// The paper of [`TOKENS_PER_PARAM`].
pub const TOKENS_SOURCE: &str = "Chinchilla 2203.15556: about 20 N";

/// What `MiniCPM-2.4B` was trained with.
pub fn minicpm() -> Vec<PublishedItem> {
    let item = |item: &str, value: serde_json::Value, source: &str| PublishedItem {
        item: item.to_owned(),
        value,
        source: source.to_owned(),
    };
    vec![
        item("params", json!(2_442_057_984_u64), "MiniCPM 2404.06395, table 2"),
        item("lr", json!(LR), LR_SOURCE),
        item("lr_hidden", json!(LR / 9.0), "MiniCPM's code: lr / (2304 / 256)"),
        item(
            "batch_tokens",
            json!(3_932_160),
            "MiniCPM 2404.06395, 6.2: 960 sequences of 4,096",
        ),
        item("warmup_tokens", json!(11e9), WARMUP_SOURCE),
        item("schedule", json!("wsd"), SCHEDULE_SOURCE),
        item(
            "decay_fraction",
            json!(0.09),
            "0.1T of 1.1T tokens, exponential, half-life 5,000 steps",
        ),
        item("tokens", json!(1.1e12), "MiniCPM 2404.06395, 6.2"),
    ]
}

/// Vocabulary and context of a model that was released (MiniCPM, table 2); every other size is one of the reader's own.
pub fn text(rung: &str) -> Option<TextShape> {
    let vocab = match rung {
        "1.2B" => 73_440,
        "2.4B" => 122_753,
        _ => return None,
    };
    Some(TextShape { vocab, context: 4096 })
}

/// The rung within a tenth of a size, else a shape by the ladder's pattern: `d_ff` = 2.5 `d_m`, heads of 64, and layers
/// that grow with the width, `d_m / L` = 40 for small and 56 for large ones.
pub fn shape(params: f64) -> (String, Shape) {
    let rung = ladder::nearest(params);
    if (rung.shape.params_non_embedding().as_f64() / params - 1.0).abs() < 0.1 {
        return (rung.name.to_owned(), rung.shape);
    }
    let aspect = if params < 1e8 { 40.0 } else { 56.0 };
    // N ≈ 11.5 L d²
    let width = (params * aspect / 11.5).cbrt();
    let heads = (width / 64.0).round().max(1.0) as u64;
    let width = 64 * heads;
    let layers = (params / 11.5 / (width * width) as f64).round().max(1.0) as u64;
    let shape = Shape {
        width,
        layers,
        heads,
        kv_heads: heads,
        head_dim: 64,
        d_ff: width * 5 / 2,
    };
    // Below a width of one head of 64 the pattern ends, and the ladder does not.
    let off = |shape: Shape| (shape.params_non_embedding().as_f64() / params).ln().abs();
    if off(rung.shape) < off(shape) {
        return (rung.name.to_owned(), rung.shape);
    }
    ("derived".to_owned(), shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_off_the_ladder_gets_a_shape_of_about_that_size() {
        assert_eq!(shape(2.4e9).0, "2.4B");
        assert_eq!(shape(5e3).0, "6K");
        for params in [7e9, 1.3e10, 7e10, 3.4e8] {
            let (name, shape) = shape(params);
            assert_eq!(name, "derived");
            let off = shape.params_non_embedding().as_f64() / params;
            assert!((0.85..1.15).contains(&off), "{params}: {off}");
        }
    }

    #[test]
    fn the_published_batch_is_near_what_minicpm_used() {
        assert!((batch_tokens(1.1e12) / 3.93e6 - 1.0).abs() < 0.25);
    }
}
