//! `L = e^(s·N^q + S) + e^(B·N^b + Q) · D^-e^(A·N^a + U)`: the scale and the exponent of the data term move with the size
//! (Farseer, Li et al. 2025, arXiv 2506.10972; their second E is U here, as E is the irreducible loss elsewhere).
//!
//! Each of the three functions of N is moved by the solver as a level, a slope and a bend at the centre of the sizes: the
//! paper's own constants explain one another where the bend is small. Refuses to search.

use serde::{Deserialize, Serialize};

use crate::fit::loss::chinchilla::{EXPONENT_RANGE, Law};
use crate::fit::loss::forms::{Role, Surface};
use crate::fit::loss::objective::{Form, ObjectiveTable, Spot};
use crate::fit::loss::solver;

/// `level + slope·(e^(bend·n) − 1)/bend` with n = ln N − centre, which is `coefficient·N^bend + constant`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Moving {
    level: f64,
    slope: f64,
    bend: f64,
    /// The mean of ln N.
    centre: f64,
}

/// The nine constants, for N in parameters and D in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FarseerLaw {
    /// ln of what data cannot lower.
    size: Moving,
    /// ln of the scale of the data term.
    scale: Moving,
    /// ln of the exponent of the data term.
    exponent: Moving,
}

impl Moving {
    fn at(&self, ln_params: f64) -> f64 {
        self.level + self.slope * powered(self.bend, ln_params - self.centre)[0]
    }

    /// `coefficient, exponent, constant` of the paper.
    fn published(&self) -> [f64; 3] {
        let bend = away_from_zero(self.bend);
        let coefficient = self.slope / bend * (-bend * self.centre).exp();
        [coefficient, bend, self.level - self.slope / bend]
    }

    fn of([coefficient, bend, constant]: [f64; 3]) -> Self {
        Self {
            level: coefficient + constant,
            slope: coefficient * bend,
            bend,
            centre: 0.0,
        }
    }
}

/// A bend this small is a straight line in ln N; the paper's constants have no name for it.
fn away_from_zero(bend: f64) -> f64 {
    const LEAST: f64 = 1e-5;
    if bend.abs() < LEAST { LEAST.copysign(bend) } else { bend }
}

/// `(e^(qn) − 1)/q` with its first and second derivative by q.
fn powered(q: f64, n: f64) -> [f64; 3] {
    let x = q * n;
    if x.abs() < 1e-3 {
        let by_q = n * n * (0.5 + x * (1.0 / 3.0 + x * (0.125 + x / 30.0)));
        return [
            n * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x / 24.0))),
            by_q,
            n * n * n * (1.0 / 3.0 + x * (0.25 + x * 0.1)),
        ];
    }
    let (power, value) = (x.exp(), x.exp_m1() / q);
    let by_q = (n * power - value) / q;
    [value, by_q, (n * n * power - 2.0 * by_q) / q]
}

impl Surface for FarseerLaw {
    const NAME: &'static str = "farseer";
    const FORMULA: &'static str = "L(N, D) = e^(s · N^q + S) + e^(B · N^b + Q) · D^-e^(A · N^a + U)";
    const CONSTANTS: &'static [(&'static str, Role)] = &[
        ("s", Role::Free),
        ("q", Role::Free),
        ("S", Role::Free),
        ("B", Role::Free),
        ("b", Role::Free),
        ("Q", Role::Free),
        ("A", Role::Free),
        ("a", Role::Free),
        ("U", Role::Free),
    ];

    fn loss(&self, params: f64, tokens: f64) -> f64 {
        let n = params.ln();
        self.size.at(n).exp() + (self.scale.at(n) - tokens.ln() * self.exponent.at(n).exp()).exp()
    }

    fn constants(&self) -> Vec<f64> {
        [self.size, self.scale, self.exponent]
            .iter()
            .flat_map(Moving::published)
            .collect()
    }

    fn with(constants: &[f64]) -> Self {
        let of = |first: usize| Moving::of([constants[first], constants[first + 1], constants[first + 2]]);
        Self {
            size: of(0),
            scale: of(3),
            exponent: of(6),
        }
    }

    fn floor(&self) -> Option<f64> {
        None
    }

    fn size_exponent(&self) -> Option<f64> {
        None
    }
}

/// What a row's value and slopes share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// The part that data do not lower, and the part that they do.
    parts: [f64; 2],
    /// `(e^(qn) − 1)/q` of the three functions, with derivatives by q.
    powered: [[f64; 3]; 3],
    /// ln D times the exponent of the data.
    fall: f64,
}

impl Terms {
    /// The slopes of one function by its level, slope and bend.
    fn slopes(&self, theta: &[f64; 9], which: usize) -> [f64; 3] {
        let [value, by_bend, _] = self.powered[which];
        [1.0, value, theta[3 * which + 1] * by_bend]
    }

    /// The second derivatives of one function by slope and bend, and by bend twice.
    fn bends(&self, theta: &[f64; 9], which: usize) -> [f64; 2] {
        let [_, by_bend, twice] = self.powered[which];
        [by_bend, theta[3 * which + 1] * twice]
    }
}

impl Form<9> for FarseerLaw {
    type Terms = Terms;
    const BOUNDED: &'static [(&'static str, usize)] = &[];
    const FLOOR: Option<usize> = None;
    /// Three functions of N with three constants each.
    const DESIGN_MIN: [usize; 2] = [4, 14];

    fn terms(theta: &[f64; 9], spot: Spot) -> Terms {
        let powered: [[f64; 3]; 3] = std::array::from_fn(|k| powered(theta[3 * k + 2], spot.n));
        let value = |k: usize| theta[3 * k] + theta[3 * k + 1] * powered[k][0];
        let fall = spot.ln_tokens * value(2).exp();
        Terms {
            parts: [value(0).exp(), (value(1) - fall).exp()],
            powered,
            fall,
        }
    }

    fn predicted(_: &[f64; 9], terms: &Terms) -> f64 {
        terms.parts[0] + terms.parts[1]
    }

    fn parts(_: &[f64; 9], terms: &Terms) -> [f64; 2] {
        terms.parts
    }

    fn gradient(theta: &[f64; 9], terms: &Terms, _: Spot, scale: f64) -> [f64; 9] {
        let by = [
            terms.parts[0] * scale,
            terms.parts[1] * scale,
            -terms.fall * terms.parts[1] * scale,
        ];
        std::array::from_fn(|j| by[j / 3] * terms.slopes(theta, j / 3)[j % 3])
    }

    fn add_bend(theta: &[f64; 9], terms: &Terms, _: Spot, scale: f64, second: f64, hessian: &mut [[f64; 9]; 9]) {
        let [size, data] = terms.parts.map(|part| part * scale * second);
        let slopes: [[f64; 3]; 3] = std::array::from_fn(|k| terms.slopes(theta, k));
        // ln of the data term is `scale function − fall`, and the fall's logarithm moves with the third function.
        let lever: [f64; 9] = std::array::from_fn(|j| match j / 3 {
            0 => 0.0,
            1 => slopes[1][j % 3],
            _ => -terms.fall * slopes[2][j % 3],
        });
        for j in 0..9 {
            for k in 0..=j {
                let mut bend = data * lever[j] * lever[k];
                if j < 3 {
                    bend += size * slopes[0][j] * slopes[0][k];
                }
                if k >= 6 {
                    bend -= data * terms.fall * slopes[2][j % 3] * slopes[2][k % 3];
                }
                hessian[j][k] += bend;
            }
        }
        for (which, by) in [size, data, -terms.fall * data].into_iter().enumerate() {
            let [mixed, twice] = terms.bends(theta, which);
            hessian[3 * which + 2][3 * which + 1] += by * mixed;
            hessian[3 * which + 2][3 * which + 2] += by * twice;
        }
    }

    fn limits(table: &ObjectiveTable) -> [(f64, f64); 9] {
        const BEND: (f64, f64) = (-1.0, 1.0);
        let exponent = (EXPONENT_RANGE.0.ln(), EXPONENT_RANGE.1.ln());
        [
            table.term_limits(),
            (-5.0, 5.0),
            BEND,
            (-100.0, 200.0),
            (-30.0, 30.0),
            BEND,
            exponent,
            (-3.0, 3.0),
            BEND,
        ]
    }

    /// The additive law, with the data term bent either way.
    fn starts(table: &ObjectiveTable) -> Vec<[f64; 9]> {
        let Some(additive) = solver::minimise::<Law, 5>(table) else {
            return Vec::new();
        };
        let [e, ln_a, alpha, ln_b, beta] = additive.theta;
        let size = e + ln_a.exp();
        let slope = -alpha * ln_a.exp() / size;
        let ln_tokens = table.centre().1;
        let mut starts = Vec::new();
        for moves in [0.0, -0.1, -0.25] {
            for bend in [0.1, -0.2] {
                // The data term at the centre of tokens does not move at first.
                let scale = [ln_b + beta * ln_tokens, moves * beta * ln_tokens, bend];
                let [level, tilt, bend] = scale;
                starts.push([size.ln(), slope, -alpha, level, tilt, bend, beta.ln(), moves, bend]);
            }
        }
        starts
    }

    fn law(theta: &[f64; 9], centre: (f64, f64)) -> Self {
        let of = |k: usize| Moving {
            level: theta[3 * k],
            slope: theta[3 * k + 1],
            bend: theta[3 * k + 2],
            centre: centre.0,
        };
        Self {
            size: of(0),
            scale: of(1),
            exponent: of(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_of_the_paper_give_its_loss() {
        // Farseer, section 1: its fit to its own runs, in bits per character.
        let published = [-0.021, 0.169, -0.091, 88.01, -0.1, -5.287, -0.124, 0.123, 0.424];
        let law = FarseerLaw::with(&published);
        let (n, d) = (1e9_f64, 1e11_f64);
        let exponent = (-0.124 * n.powf(0.123) + 0.424).exp();
        let expected =
            (-0.021 * n.powf(0.169) - 0.091).exp() + (88.01 * n.powf(-0.1) - 5.287).exp() * d.powf(-exponent);
        assert!((law.loss(n, d) / expected - 1.0).abs() < 1e-12);
        for (back, one) in law.constants().iter().zip(published) {
            assert!((back / one - 1.0).abs() < 1e-9, "{back} {one}");
        }
    }

    #[test]
    fn a_small_bend_is_a_line() {
        for (q, n) in [(1e-3_f64, 0.9), (-2e-4, 3.0), (0.4, 2.0)] {
            let [value, by_q, twice] = powered(q, n);
            let step = 1e-4;
            let (up, down) = (powered(q + step, n), powered(q - step, n));
            assert!((value - (q * n).exp_m1() / q).abs() < 1e-9);
            assert!(((up[0] - down[0]) / (2.0 * step) - by_q).abs() < 1e-5);
            assert!(((up[1] - down[1]) / (2.0 * step) - twice).abs() < 1e-5);
        }
    }
}
