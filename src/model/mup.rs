//! muP in one table: initialisation, learning rate and multiplier of every tensor (`MiniCPM`, table 7).
//!
//! | tensor | initial std | learning rate | multiplier |
//! |---|---|---|---|
//! | embedding (tied with the head) | `init_std` | `lr` | output × `scale_emb` |
//! | matrices of the layers | `init_std / √m` | `lr / m` | – |
//! | norms | start at 1 | `lr` | – |
//! | output of a residual branch | – | – | × `scale_depth / √L` |
//! | logits | – | – | ÷ `m` |
//! | attention scores | – | – | ÷ `√d_h` |
//!
//! with m = `d_m / base_width`, 256 unless a study chooses another. The standard parametrisation is the same network with
//! m = 1 everywhere, so the two are one at the base width. The table says "no attention scaling" and the team's code scales by `1/√d_h`; the code wins.
//! Depth is not scaled in the learning rate (`CompleteP` would), because `MiniCPM` did not.

use serde::{Deserialize, Serialize};

use crate::model::shape::Shape;
use crate::words::words;

/// The width at which both parametrisations agree, unless a study chooses another: MiniCPM's `dim_model_base`.
pub const BASE_WIDTH: u64 = 256;

words! {
    /// How initialisation and learning rates follow the width.
    pub enum Parametrization {
        /// Maximal update parametrisation as `MiniCPM` uses it.
        Mup = "mup",
        /// No scaling with the width.
        Standard = "standard",
    }
}

/// The tuned constants of the parametrisation (`MiniCPM`, appendix A.1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Multipliers {
    /// Multiplies the embedding's output.
    pub scale_emb: f64,
    /// Multiplies each residual branch, over √layers.
    pub scale_depth: f64,
    /// Standard deviation of the initial weights at the base width.
    pub init_std: f64,
    /// The width at which both parametrisations agree. It came later than the names of the first runs: written only
    /// where it is another than theirs.
    #[serde(default = "minicpm_base", skip_serializing_if = "is_minicpm_base")]
    pub base_width: u64,
}

const fn minicpm_base() -> u64 {
    BASE_WIDTH
}

const fn is_minicpm_base(width: &u64) -> bool {
    *width == BASE_WIDTH
}

impl Default for Multipliers {
    fn default() -> Self {
        Self {
            scale_emb: 12.0,
            scale_depth: 1.4,
            init_std: 0.1,
            base_width: BASE_WIDTH,
        }
    }
}

/// The learning-rate groups of the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The tied embedding and head.
    Embedding,
    /// The matrices of attention and feed-forward layers.
    Matrix,
    /// The gains of the norms.
    Norm,
}

/// The table above, filled in for one shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    width_multiplier: f64,
    multipliers: Multipliers,
    layers: u64,
}

impl Scaling {
    /// Fills the table in for `shape`.
    pub fn new(shape: Shape, parametrization: Parametrization, multipliers: Multipliers) -> Self {
        let width_multiplier = match parametrization {
            Parametrization::Mup => shape.width as f64 / multipliers.base_width as f64,
            Parametrization::Standard => 1.0,
        };
        Self {
            width_multiplier,
            multipliers,
            layers: shape.layers,
        }
    }

    /// Standard deviation of the initial values; `None` for the gains of norms, which start at one.
    pub fn init_std(self, group: Group) -> Option<f64> {
        match group {
            Group::Embedding => Some(self.multipliers.init_std),
            Group::Matrix => Some(self.multipliers.init_std / self.width_multiplier.sqrt()),
            Group::Norm => None,
        }
    }

    /// What the peak learning rate of a group is multiplied by.
    pub fn lr_factor(self, group: Group) -> f64 {
        match group {
            Group::Embedding | Group::Norm => 1.0,
            Group::Matrix => 1.0 / self.width_multiplier,
        }
    }

    /// Multiplies the embedding's output.
    pub fn embedding(self) -> f64 {
        self.multipliers.scale_emb
    }

    /// Multiplies the output of each residual branch.
    pub fn residual(self) -> f64 {
        self.multipliers.scale_depth / (self.layers as f64).sqrt()
    }

    /// Divides the input of the head, hence the logits.
    pub fn logits_divisor(self) -> f64 {
        self.width_multiplier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ladder;

    #[test]
    fn both_parametrisations_agree_at_the_base_width() {
        let shape = ladder::find("6M").expect("256 wide").shape;
        let mup = Scaling::new(shape, Parametrization::Mup, Multipliers::default());
        let standard = Scaling::new(shape, Parametrization::Standard, Multipliers::default());
        assert_eq!(mup, standard);
    }

    #[test]
    fn the_2_4b_model_divides_by_nine() {
        let shape = ladder::find("2.4B").expect("on the ladder").shape;
        let scaling = Scaling::new(shape, Parametrization::Mup, Multipliers::default());
        assert!((scaling.logits_divisor() - 9.0).abs() < 1e-12);
        assert!((scaling.lr_factor(Group::Matrix) - 1.0 / 9.0).abs() < 1e-12);
        assert!((scaling.init_std(Group::Matrix).expect("random") - 0.1 / 3.0).abs() < 1e-12);
        assert_eq!(scaling.init_std(Group::Norm), None);
    }
}
