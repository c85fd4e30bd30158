//! `L = E + (a·M^η + b·M^-η)·C^-η` with compute C = 6ND and over-training M = D/N: size and data share one exponent
//! (Gadre et al. 2024, arXiv 2403.08540, equation 4). It is the additive law with α = β = 2η.
//!
//! Refuses to search.

use serde::{Deserialize, Serialize};

use crate::fit::loss::chinchilla::{EXPONENT_RANGE, Law};
use crate::fit::loss::forms::{Role, Surface};
use crate::fit::loss::objective::{Form, ObjectiveTable, Spot};
use crate::fit::loss::solver;

/// The four constants, for N in parameters and D in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TiedLaw {
    /// The irreducible loss, in the unit of the loss.
    #[serde(rename = "E")]
    pub e: f64,
    /// The scale of what grows with M: too small a model.
    pub a: f64,
    /// The scale of what falls with M: too few tokens.
    pub b: f64,
    /// The exponent of compute; over size and over data it is twice that.
    pub eta: f64,
}

/// Places of what the solver moves: E, ln A', ln B' and 2η.
const E: usize = 0;
const LN_A: usize = 1;
const LN_B: usize = 2;
const EXPONENT: usize = 3;

impl Surface for TiedLaw {
    const NAME: &'static str = "tied";
    const FORMULA: &'static str = "L(C, M) = E + (a · M^η + b · M^-η) · C^-η with C = 6ND and M = D / N";
    const CONSTANTS: &'static [(&'static str, Role)] = &[
        ("E", Role::Floor),
        ("a", Role::Scale),
        ("b", Role::Scale),
        ("eta", Role::Exponent),
    ];

    fn loss(&self, params: f64, tokens: f64) -> f64 {
        let by_compute = (-self.eta * (6.0_f64.ln() + params.ln() + tokens.ln())).exp();
        let over = (self.eta * (tokens.ln() - params.ln())).exp();
        self.e + (self.a * over + self.b / over) * by_compute
    }

    fn constants(&self) -> Vec<f64> {
        vec![self.e, self.a, self.b, self.eta]
    }

    fn with(constants: &[f64]) -> Self {
        Self {
            e: constants[0],
            a: constants[1],
            b: constants[2],
            eta: constants[3],
        }
    }

    fn floor(&self) -> Option<f64> {
        Some(self.e)
    }

    fn size_exponent(&self) -> Option<f64> {
        Some(0.5)
    }
}

impl Form<4> for TiedLaw {
    /// The two reducible terms.
    type Terms = [f64; 2];
    const BOUNDED: &'static [(&'static str, usize)] = &[("eta", EXPONENT)];
    const FLOOR: Option<usize> = Some(E);

    fn terms(theta: &[f64; 4], spot: Spot) -> [f64; 2] {
        [
            (theta[LN_A] - theta[EXPONENT] * spot.n).exp(),
            (theta[LN_B] - theta[EXPONENT] * spot.d).exp(),
        ]
    }

    fn predicted(theta: &[f64; 4], [size, data]: &[f64; 2]) -> f64 {
        theta[E] + size + data
    }

    fn parts(_: &[f64; 4], terms: &[f64; 2]) -> [f64; 2] {
        *terms
    }

    fn gradient(_: &[f64; 4], [size, data]: &[f64; 2], spot: Spot, scale: f64) -> [f64; 4] {
        let (size, data) = (size * scale, data * scale);
        [scale, size, data, -spot.n * size - spot.d * data]
    }

    fn add_bend(
        _: &[f64; 4],
        [size, data]: &[f64; 2],
        Spot { n, d, .. }: Spot,
        scale: f64,
        second: f64,
        hessian: &mut [[f64; 4]; 4],
    ) {
        let (size, data) = (size * scale * second, data * scale * second);
        hessian[LN_A][LN_A] += size;
        hessian[LN_B][LN_B] += data;
        hessian[EXPONENT][LN_A] -= n * size;
        hessian[EXPONENT][LN_B] -= d * data;
        hessian[EXPONENT][EXPONENT] += n * n * size + d * d * data;
    }

    fn limits(table: &ObjectiveTable) -> [(f64, f64); 4] {
        let term = table.term_limits();
        [table.floor_limits(), term, term, EXPONENT_RANGE]
    }

    /// The additive law with either exponent for both, and powers beside them.
    fn starts(table: &ObjectiveTable) -> Vec<[f64; 4]> {
        let Some(additive) = solver::minimise::<Law, 5>(table) else {
            return Vec::new();
        };
        let [e, a, alpha, b, beta] = additive.theta;
        [alpha, beta, (alpha * beta).sqrt(), 0.1, 0.3, 0.7]
            .map(|exponent| [e, a, b, exponent])
            .to_vec()
    }

    fn law(theta: &[f64; 4], centre: (f64, f64)) -> Self {
        let (eta, exponent) = (0.5 * theta[EXPONENT], theta[EXPONENT]);
        // A/N^2η is A·6^η·(M/C)^η.
        let six = 6.0_f64.ln() * eta;
        Self {
            e: theta[E],
            a: (theta[LN_A] + exponent * centre.0 + six).exp(),
            b: (theta[LN_B] + exponent * centre.1 + six).exp(),
            eta,
        }
    }
}
