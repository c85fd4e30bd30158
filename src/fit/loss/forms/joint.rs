//! `L = E + (A/N^α + B/D^β)^c`: size and data limit each other (Kaplan et al. 2020, arXiv 2001.08361, equation 1.5,
//! with an irreducible loss). With c = 1 it is the additive law; below, the larger of the two terms decides more.
//!
//! The solver moves E, ln X', p, ln Y', q and c, where `X = X'·N^-p` and `Y = Y'·D^-q` are what size and data cost alone:
//! `L = E + (X^(1/c) + Y^(1/c))^c`. Refuses to search.

use serde::{Deserialize, Serialize};

use crate::fit::loss::chinchilla::{EXPONENT_RANGE, Law};
use crate::fit::loss::forms::{Role, Surface};
use crate::fit::loss::objective::{Form, ObjectiveTable, Spot};
use crate::fit::loss::solver;

/// The six constants, for N in parameters and D in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JointLaw {
    /// The irreducible loss, in the unit of the loss.
    #[serde(rename = "E")]
    pub e: f64,
    /// ln A and ln B: alone they can exceed 1e300.
    pub ln_a: f64,
    pub alpha: f64,
    pub ln_b: f64,
    pub beta: f64,
    /// The exponent of the sum.
    pub c: f64,
}

/// The range of c. Kaplan et al. found 0.095 (their α_D).
const JOINT_RANGE: (f64, f64) = (0.02, 6.0);

/// Places of what the solver moves.
const E: usize = 0;
const LN_X: usize = 1;
const P: usize = 2;
const LN_Y: usize = 3;
const Q: usize = 4;
const C: usize = 5;

impl Surface for JointLaw {
    const NAME: &'static str = "joint";
    const FORMULA: &'static str = "L(N, D) = E + (A / N^α + B / D^β)^c";
    const CONSTANTS: &'static [(&'static str, Role)] = &[
        ("E", Role::Floor),
        ("A", Role::Scale),
        ("alpha", Role::Exponent),
        ("B", Role::Scale),
        ("beta", Role::Exponent),
        ("c", Role::Exponent),
    ];

    fn loss(&self, params: f64, tokens: f64) -> f64 {
        let size = self.ln_a - self.alpha * params.ln();
        let data = self.ln_b - self.beta * tokens.ln();
        self.e + (self.c * ln_sum(size, data).0).exp()
    }

    fn constants(&self) -> Vec<f64> {
        vec![self.e, self.ln_a.exp(), self.alpha, self.ln_b.exp(), self.beta, self.c]
    }

    fn with(constants: &[f64]) -> Self {
        Self {
            e: constants[0],
            ln_a: constants[1].ln(),
            alpha: constants[2],
            ln_b: constants[3].ln(),
            beta: constants[4],
            c: constants[5],
        }
    }

    fn floor(&self) -> Option<f64> {
        Some(self.e)
    }

    /// At equal compute the sum inside is lowest where that of the additive law is.
    fn size_exponent(&self) -> Option<f64> {
        Some(self.beta / (self.alpha + self.beta))
    }
}

/// `ln(e^a + e^b)` and the share of the first.
fn ln_sum(a: f64, b: f64) -> (f64, f64) {
    let share = 1.0 / (1.0 + (b - a).exp());
    (a.max(b) + (-(a - b).abs()).exp().ln_1p(), share)
}

/// What a row's value and slopes share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// ln X and ln Y.
    ln_x: f64,
    ln_y: f64,
    /// The share of size in the sum.
    share: f64,
    /// The reducible loss.
    reducible: f64,
}

impl Terms {
    /// The slopes of the logarithm of the reducible loss by ln X, ln Y and c.
    fn slopes(&self) -> [f64; 3] {
        let x_ln_x = |x: f64| if x > 0.0 { x * x.ln() } else { 0.0 };
        [
            self.share,
            1.0 - self.share,
            -x_ln_x(self.share) - x_ln_x(1.0 - self.share),
        ]
    }
}

impl Form<6> for JointLaw {
    type Terms = Terms;
    const BOUNDED: &'static [(&'static str, usize)] = &[("alpha", P), ("beta", Q), ("c", C)];
    const FLOOR: Option<usize> = Some(E);
    const DESIGN_MIN: [usize; 2] = [3, 8];

    fn terms(theta: &[f64; 6], spot: Spot) -> Terms {
        let (ln_x, ln_y) = (theta[LN_X] - theta[P] * spot.n, theta[LN_Y] - theta[Q] * spot.d);
        let (sum, share) = ln_sum(ln_x / theta[C], ln_y / theta[C]);
        Terms {
            ln_x,
            ln_y,
            share,
            reducible: (theta[C] * sum).exp(),
        }
    }

    fn predicted(theta: &[f64; 6], terms: &Terms) -> f64 {
        theta[E] + terms.reducible
    }

    fn parts(_: &[f64; 6], terms: &Terms) -> [f64; 2] {
        [terms.ln_x.exp(), terms.ln_y.exp()]
    }

    fn gradient(_: &[f64; 6], terms: &Terms, spot: Spot, scale: f64) -> [f64; 6] {
        let loss = terms.reducible * scale;
        let [x, y, c] = terms.slopes().map(|slope| slope * loss);
        [scale, x, -spot.n * x, y, -spot.d * y, c]
    }

    fn add_bend(theta: &[f64; 6], terms: &Terms, spot: Spot, scale: f64, second: f64, hessian: &mut [[f64; 6]; 6]) {
        let c = theta[C];
        let [x, y, by_c] = terms.slopes();
        // The second derivatives of ln(reducible) by ln X, ln Y and c all hold this product.
        let mixed = x * y / c;
        let apart = (terms.ln_x - terms.ln_y) / c;
        let slope = [0.0, x, -spot.n * x, y, -spot.d * y, by_c];
        // How each number moves ln X - ln Y over c.
        let lever = [0.0, 1.0, -spot.n, -1.0, spot.d, -apart];
        let loss = terms.reducible * scale * second;
        for j in LN_X..=C {
            for k in LN_X..=j {
                hessian[j][k] += loss * (slope[j] * slope[k] + mixed * lever[j] * lever[k]);
            }
        }
    }

    fn limits(table: &ObjectiveTable) -> [(f64, f64); 6] {
        let (floor, term) = (table.floor_limits(), table.term_limits());
        [floor, term, EXPONENT_RANGE, term, EXPONENT_RANGE, JOINT_RANGE]
    }

    /// The additive law and bends of it, each carried on by least squares: Huber's loss sees little from afar.
    fn starts(table: &ObjectiveTable) -> Vec<[f64; 6]> {
        const NEAR: f64 = 1e-3;
        let Some(additive) = solver::minimise::<Law, 5>(table) else {
            return Vec::new();
        };
        let [e, x, p, y, q] = additive.theta;
        let squares = table.by_least_squares();
        let bent = [0.5, 0.25, 0.1, 2.0].map(|c| {
            let start = [e, x, p, y, q, c];
            solver::descend::<Self, 6>(&squares, &start, NEAR).theta
        });
        [[e, x, p, y, q, 1.0]].into_iter().chain(bent).collect()
    }

    fn law(theta: &[f64; 6], centre: (f64, f64)) -> Self {
        let c = theta[C];
        Self {
            e: theta[E],
            ln_a: (theta[LN_X] + theta[P] * centre.0) / c,
            alpha: theta[P] / c,
            ln_b: (theta[LN_Y] + theta[Q] * centre.1) / c,
            beta: theta[Q] / c,
            c,
        }
    }
}
