//! The law of loss `L(N, D) = E + A/N^α + B/D^β` and what follows from it on paper.
//!
//! Source: Hoffmann et al. 2022 (arXiv 2203.15556), equation 2; `MiniCPM` (arXiv 2404.06395), section 4.5, writes
//! the same law with `C_N`, `C_D`, `L_0`. Refuses to know how the constants are found.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The sum of Huber(1e-3) of `ln(predicted) − ln(loss)`: Hoffmann et al. 2022, equation 3.
    #[default]
    Huber,
    /// The sum of squares of `predicted − loss`.
    LeastSquares,
}

/// Where Huber's loss turns from a parabola into a line, in log loss (Hoffmann et al. 2022, equation 3).
pub const HUBER_DELTA: f64 = 1e-3;

/// The range of both exponents. Published ones lie in 0.17..0.46; at an end of this range the data do not
/// bend like a power law.
pub const EXPONENT_RANGE: (f64, f64) = (0.01, 3.0);

/// How a solution was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A minimum inside the range of every constant.
    Converged,
    /// A minimum with the irreducible loss at zero.
    AtBound,
    /// A valley: a 95 % interval of an exponent spans a factor of ten, or a tenth of the draws come to no rest.
    Flat,
}

/// The five constants, for N in parameters and D in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// The irreducible loss, in the unit of the loss.
    #[serde(rename = "E")]
    pub e: f64,
    /// The scale of the size term: its loss at one parameter.
    #[serde(rename = "A")]
    pub a: f64,
    /// The exponent of the size term.
    pub alpha: f64,
    /// The scale of the data term: its loss at one token.
    #[serde(rename = "B")]
    pub b: f64,
    /// The exponent of the data term.
    pub beta: f64,
}

/// A split of compute between size and data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ComputeOptimal {
    pub params: f64,
    pub tokens: f64,
    /// The loss that the law gives there.
    pub loss: f64,
}

/// `MiniCPM` writes N in 1e9 parameters, D in 1e9 tokens and C in 1e18 FLOP (axes of its figure 10).
const BILLION: f64 = 1e9;

impl Law {
    /// The loss of a model of `params` parameters after `tokens` tokens.
    pub fn loss(&self, params: f64, tokens: f64) -> f64 {
        self.e + self.a * params.powf(-self.alpha) + self.b * tokens.powf(-self.beta)
    }

    /// The exponent `a = β/(α+β)` of `N_opt ∝ C^a` (Hoffmann et al., equation 4).
    pub fn size_exponent(&self) -> f64 {
        self.beta / (self.alpha + self.beta)
    }

    /// The exponent `b = α/(α+β)` of `D_opt ∝ C^b` (Hoffmann et al., equation 4).
    pub fn data_exponent(&self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }

    /// The size and the tokens of the lowest loss for `flops` = 6·N·D: `N = K·(C/6)^a`, `D = (C/6)^b / K` with
    /// `K = (αA/(βB))^(1/(α+β))` (Hoffmann et al., equation 4; their G is K).
    pub fn compute_optimal(&self, flops: f64) -> ComputeOptimal {
        let k = self.balance();
        let product = flops / 6.0;
        let params = k * product.powf(self.size_exponent());
        let tokens = product.powf(self.data_exponent()) / k;
        ComputeOptimal {
            params,
            tokens,
            loss: self.loss(params, tokens),
        }
    }

    /// The tokens for which a size is compute-optimal: with them [`Law::compute_optimal`] would choose it.
    pub fn optimal_tokens(&self, params: f64) -> f64 {
        // From αA/N^α = βB/D^β, the condition of the optimum.
        let size_slope = self.alpha * self.a * params.powf(-self.alpha);
        (self.beta * self.b / size_slope).powf(1.0 / self.beta)
    }

    /// `K = (αA/(βB))^(1/(α+β))`.
    fn balance(&self) -> f64 {
        // In logarithms: A alone can exceed 1e30 when exponents are large.
        ((self.alpha * self.a).ln() - (self.beta * self.b).ln())
            .mul_add(1.0 / (self.alpha + self.beta), 0.0)
            .exp()
    }

    /// `MiniCPM`'s `K²` in `N_opt/D_opt = K²·(C/6)^η`, in its units (1e9 parameters, 1e9 tokens, 1e18 FLOP).
    pub fn minicpm_k_squared(&self) -> f64 {
        let in_billions = Self {
            a: self.a * BILLION.powf(-self.alpha),
            b: self.b * BILLION.powf(-self.beta),
            ..*self
        };
        in_billions.balance().powi(2)
    }

    /// `MiniCPM`'s `η = (β−α)/(α+β)`: zero when size and data should grow alike.
    pub fn minicpm_eta(&self) -> f64 {
        (self.beta - self.alpha) / (self.alpha + self.beta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fit of Besiroglu et al. 2024 (arXiv 2404.10102).
    const EPOCH: Law = Law {
        e: 1.8172,
        a: 482.01,
        alpha: 0.3478,
        b: 2085.43,
        beta: 0.3658,
    };

    #[test]
    fn the_optimal_split_spends_the_compute_and_beats_its_neighbours() {
        let flops = 5.76e23;
        let best = EPOCH.compute_optimal(flops);
        assert!((6.0 * best.params * best.tokens / flops - 1.0).abs() < 1e-9);
        assert!((EPOCH.optimal_tokens(best.params) / best.tokens - 1.0).abs() < 1e-9);
        for factor in [0.9, 1.1] {
            assert!(EPOCH.loss(best.params * factor, best.tokens / factor) > best.loss);
        }
    }

    #[test]
    fn minicpm_units_give_its_published_ratio() {
        // The row `Average` of `MiniCPM`'s table of section 4.5: K² 0.01, η -0.10, D/N 192 at 1e21 FLOP; from its rounded
        // constants the ratio is 183.9.
        let average = Law {
            e: 0.31,
            a: 0.0715 * 1e9_f64.powf(0.29),
            alpha: 0.29,
            b: 0.300 * 1e9_f64.powf(0.23),
            beta: 0.23,
        };
        let ratio = average.minicpm_k_squared() * (1e21_f64 / 1e18 / 6.0).powf(average.minicpm_eta());
        assert!((1.0 / ratio - 183.9).abs() < 0.5, "{}", 1.0 / ratio);
        let direct = average.compute_optimal(1e21);
        assert!((direct.tokens / direct.params * ratio - 1.0).abs() < 1e-9);
    }
}
