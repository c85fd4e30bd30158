//! The named shapes: MiniCPM's ladder, its two final models, and smaller rungs for CPUs.
//!
//! The smaller rungs follow the ladder's pattern (`d_ff` = 2.5 `d_m`, multi-head attention, depth growing with
//! width) with narrower heads, so that a machine without a GPU can train a whole grid in minutes. Those of two layers
//! (6K 9K 13K 18K 24K 37K 53K 119K) differ in width alone: a law over them sees no step of the depth.

use crate::model::shape::Shape;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// The name, as sweeps write it (case-insensitive).
    pub name: &'static str,
    pub shape: Shape,
}

/// Width of a head on the whole ladder above the CPU rungs (`MiniCPM`, table 8).
const HEAD_DIM: u64 = 64;

/// A rung of the ladder: multi-head attention, `d_ff` = 2.5 `d_m`.
const fn rung(name: &'static str, width: u64, layers: u64, head_dim: u64) -> Rung {
    let heads = width / head_dim;
    Rung {
        name,
        shape: Shape {
            width,
            layers,
            heads,
            kv_heads: heads,
            head_dim,
            d_ff: width * 5 / 2,
        },
    }
}

/// All named shapes, the smallest first.
pub const LADDER: &[Rung] = &[
    // CPU rungs, named by their parameters without the embedding.
    rung("6K", 16, 2, 8),
    rung("9K", 20, 2, 10),
    rung("13K", 24, 2, 8),
    rung("18K", 28, 2, 14),
    rung("24K", 32, 2, 16),
    rung("37K", 40, 2, 8),
    rung("53K", 48, 2, 8),
    rung("55K", 40, 3, 8),
    rung("80K", 48, 3, 16),
    rung("119K", 72, 2, 8),
    rung("144K", 56, 4, 8),
    rung("189K", 64, 4, 16),
    rung("531K", 96, 5, 16),
    rung("1.1M", 128, 6, 32),
    rung("3M", 192, 7, 32),
    rung("6M", 256, 8, 64),
    // MiniCPM, table 8.
    rung("9M", 320, 8, HEAD_DIM),
    rung("30M", 512, 12, HEAD_DIM),
    rung("70M", 640, 14, HEAD_DIM),
    rung("0.1B", 768, 16, HEAD_DIM),
    rung("0.17B", 896, 18, HEAD_DIM),
    rung("0.2B", 1024, 20, HEAD_DIM),
    rung("0.5B", 1344, 24, HEAD_DIM),
    // MiniCPM, table 2: the models that were released. The smaller one shares keys and values.
    Rung {
        name: "1.2B",
        shape: Shape {
            width: 1536,
            layers: 52,
            heads: 24,
            kv_heads: 8,
            head_dim: HEAD_DIM,
            d_ff: 3840,
        },
    },
    rung("2.4B", 2304, 40, HEAD_DIM),
];

/// Finds a rung by its name, whatever the case.
pub fn find(name: &str) -> Option<Rung> {
    LADDER
        .iter()
        .copied()
        .find(|rung| rung.name.eq_ignore_ascii_case(name.trim()))
}

/// The name of a shape that stands on the ladder.
pub fn name_of(shape: Shape) -> Option<&'static str> {
    LADDER.iter().find(|rung| rung.shape == shape).map(|rung| rung.name)
}

/// The rung whose non-embedding size is nearest to `params`, by ratio.
pub fn nearest(params: f64) -> Rung {
    let distance = |rung: &Rung| (rung.shape.params_non_embedding().as_f64() / params).ln().abs();
    let mut best = LADDER[0];
    for rung in LADDER {
        if distance(rung) < distance(&best) {
            best = *rung;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exact counts: without norms, with norms (`MiniCPM` tables 2 and 8, recomputed).
    const EXACT: &[(&str, u64, u64)] = &[
        ("9M", 9_420_800, 9_426_240),
        ("30M", 36_175_872, 36_188_672),
        ("70M", 65_945_600, 65_964_160),
        ("0.1B", 108_527_616, 108_552_960),
        ("0.17B", 166_182_912, 166_216_064),
        ("0.2B", 241_172_480, 241_214_464),
        ("0.5B", 498_548_736, 498_614_592),
        ("1.2B", 1_247_281_152, 1_247_442_432),
        ("2.4B", 2_441_871_360, 2_442_057_984),
        ("6K", 5_888, 5_968),
        ("9K", 9_200, 9_300),
        ("13K", 13_248, 13_368),
        ("18K", 18_032, 18_172),
        ("24K", 23_552, 23_712),
        ("37K", 36_800, 37_000),
        ("53K", 52_992, 53_232),
        ("55K", 55_200, 55_480),
        ("80K", 79_488, 79_824),
        ("119K", 119_232, 119_592),
        ("144K", 144_256, 144_760),
        ("189K", 188_416, 188_992),
        ("531K", 529_920, 530_976),
        ("1.1M", 1_130_496, 1_132_160),
        ("3M", 2_967_552, 2_970_432),
        ("6M", 6_029_312, 6_033_664),
    ];

    #[test]
    fn every_rung_has_its_exact_number_of_parameters() {
        assert_eq!(EXACT.len(), LADDER.len());
        for &(name, matrices, with_norms) in EXACT {
            let shape = find(name).expect(name).shape;
            assert_eq!(shape.params_matrices().0, matrices, "{name}");
            assert_eq!(shape.params_non_embedding().0, with_norms, "{name}");
        }
    }

    #[test]
    fn the_embeddings_of_the_released_models_add_what_the_paper_says() {
        let large = find("2.4B").expect("on the ladder").shape;
        assert_eq!(
            large.params_total(122_753).0 - large.params_non_embedding().0,
            282_822_912
        );
    }

    #[test]
    fn every_rung_is_a_valid_shape_and_in_order() {
        for rung in LADDER {
            let s = rung.shape;
            assert_eq!(
                Shape::new(s.width, s.layers, s.heads, s.kv_heads, s.d_ff),
                Ok(s),
                "{}",
                rung.name
            );
            assert_eq!(name_of(s), Some(rung.name));
        }
        assert!(LADDER.is_sorted_by_key(|rung| rung.shape.params_non_embedding()));
        assert_eq!(find("0.1b").map(|rung| rung.name), Some("0.1B"));
        assert_eq!(nearest(2.4e9).name, "2.4B");
    }
}
