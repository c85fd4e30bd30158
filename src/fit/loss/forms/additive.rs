//! `L = E + A/N^α + B/D^β` (Hoffmann et al. 2022, arXiv 2203.15556, equation 2), as the solver sees it.
//!
//! Refuses to search.

use crate::fit::loss::chinchilla::{EXPONENT_RANGE, HUBER_DELTA, Law, Objective};
use crate::fit::loss::forms::{Role, Surface};
use crate::fit::loss::objective::{Form, ObjectiveTable, Spot};
use crate::fit::numeric::linear_algebra;

/// Places in the constants that the solver moves: E, ln A', α, ln B', β; A' and B' are the terms at the geometric mean
/// of N and of D.
pub(crate) const E: usize = 0;
pub(crate) const LN_A: usize = 1;
pub(crate) const ALPHA: usize = 2;
pub(crate) const LN_B: usize = 3;
pub(crate) const BETA: usize = 4;

impl Surface for Law {
    const NAME: &'static str = "chinchilla";
    const FORMULA: &'static str = "L(N, D) = E + A / N^α + B / D^β";
    const CONSTANTS: &'static [(&'static str, Role)] = &[
        ("E", Role::Floor),
        ("A", Role::Scale),
        ("alpha", Role::Exponent),
        ("B", Role::Scale),
        ("beta", Role::Exponent),
    ];

    fn loss(&self, params: f64, tokens: f64) -> f64 {
        Self::loss(self, params, tokens)
    }

    fn constants(&self) -> Vec<f64> {
        vec![self.e, self.a, self.alpha, self.b, self.beta]
    }

    fn with(constants: &[f64]) -> Self {
        Self {
            e: constants[0],
            a: constants[1],
            alpha: constants[2],
            b: constants[3],
            beta: constants[4],
        }
    }

    fn floor(&self) -> Option<f64> {
        Some(self.e)
    }

    fn additive(&self) -> Option<Law> {
        Some(*self)
    }

    fn size_exponent(&self) -> Option<f64> {
        Some(Self::size_exponent(self))
    }
}

impl Form<5> for Law {
    /// The two reducible terms.
    type Terms = [f64; 2];
    const BOUNDED: &'static [(&'static str, usize)] = &[("alpha", ALPHA), ("beta", BETA)];
    const FLOOR: Option<usize> = Some(E);

    fn terms(theta: &[f64; 5], spot: Spot) -> [f64; 2] {
        [
            (theta[LN_A] - theta[ALPHA] * spot.n).exp(),
            (theta[LN_B] - theta[BETA] * spot.d).exp(),
        ]
    }

    fn predicted(theta: &[f64; 5], [size, data]: &[f64; 2]) -> f64 {
        theta[E] + size + data
    }

    fn parts(_: &[f64; 5], terms: &[f64; 2]) -> [f64; 2] {
        *terms
    }

    fn gradient(_: &[f64; 5], [size, data]: &[f64; 2], spot: Spot, scale: f64) -> [f64; 5] {
        let (size, data) = (size * scale, data * scale);
        [scale, size, -spot.n * size, data, -spot.d * data]
    }

    fn add_bend(
        _: &[f64; 5],
        [size, data]: &[f64; 2],
        Spot { n, d, .. }: Spot,
        scale: f64,
        second: f64,
        hessian: &mut [[f64; 5]; 5],
    ) {
        let (size, data) = (size * scale, data * scale);
        hessian[LN_A][LN_A] += second * size;
        hessian[ALPHA][LN_A] -= second * n * size;
        hessian[ALPHA][ALPHA] += second * n * n * size;
        hessian[LN_B][LN_B] += second * data;
        hessian[BETA][LN_B] -= second * d * data;
        hessian[BETA][BETA] += second * d * d * data;
    }

    fn limits(table: &ObjectiveTable) -> [(f64, f64); 5] {
        let (floor, term) = (table.floor_limits(), table.term_limits());
        [floor, term, EXPONENT_RANGE, term, EXPONENT_RANGE]
    }

    fn starts(table: &ObjectiveTable) -> Vec<[f64; 5]> {
        starts(table)
    }

    fn law(theta: &[f64; 5], centre: (f64, f64)) -> Self {
        Self {
            e: theta[E],
            a: theta[ALPHA].mul_add(centre.0, theta[LN_A]).exp(),
            alpha: theta[ALPHA],
            b: theta[BETA].mul_add(centre.1, theta[LN_B]).exp(),
            beta: theta[BETA],
        }
    }
}

/// Exponents of the grid: so many, from the first to the last, in equal ratios.
const GRID: (usize, f64, f64) = (14, 0.02, 2.5);
/// How many cells of the grid are followed to their minimum.
const STARTS_MAX: usize = 24;

/// The promising cells: for each pair of exponents the other three constants are found inside (they are
/// linear), and the local minima over the grid come first, then the next best cells.
fn starts(table: &ObjectiveTable) -> Vec<[f64; 5]> {
    let (count, first, last) = GRID;
    let exponents: Vec<f64> = (0..count)
        .map(|k| first * (last / first).powf(k as f64 / (count - 1) as f64))
        .collect();
    let power = |x: &[f64]| -> Vec<Vec<f64>> {
        exponents
            .iter()
            .map(|p| x.iter().map(|v| (-p * v).exp()).collect())
            .collect()
    };
    let (size_columns, data_columns) = (power(&table.n), power(&table.d));
    let mut cells = Vec::with_capacity(count * count);
    for (j, size) in size_columns.iter().enumerate() {
        for (k, data) in data_columns.iter().enumerate() {
            let (inner, value) = solve_inside(table, size, data);
            // A term that is off at this cell starts small, where Newton's method can still see it.
            let term = |x: f64| x.max(1e-4).ln();
            cells.push((
                value,
                [inner[0], term(inner[1]), exponents[j], term(inner[2]), exponents[k]],
            ));
        }
    }
    let is_local = |index: usize| {
        let (j, k) = (index / count, index % count);
        (j.saturating_sub(1)..=(j + 1).min(count - 1)).all(|jj| {
            (k.saturating_sub(1)..=(k + 1).min(count - 1)).all(|kk| cells[index].0 <= cells[jj * count + kk].0)
        })
    };
    let mut order: Vec<(bool, f64, usize)> = (0..cells.len())
        .map(|index| (!is_local(index), cells[index].0, index))
        .collect();
    order.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    order
        .iter()
        .take(STARTS_MAX)
        .map(|&(_, _, index)| cells[index].1)
        .collect()
}

/// The best non-negative (E, A', B') for fixed exponents, and the objective there. Least squares is one linear
/// problem; Huber on log loss is a few reweighted ones, with `ln p − ln L ≈ (p − L)/L`.
fn solve_inside(table: &ObjectiveTable, size: &[f64], data: &[f64]) -> ([f64; 3], f64) {
    const REWEIGHTINGS: usize = 6;
    let rounds = match table.objective() {
        Objective::Huber => REWEIGHTINGS,
        Objective::LeastSquares => 1,
    };
    let mut x = [0.0; 3];
    let mut value = f64::INFINITY;
    let mut robust = vec![1.0; table.len()];
    for _ in 0..rounds {
        let mut gram = [[0.0; 3]; 3];
        let mut rhs = [0.0; 3];
        for i in 0..table.len() {
            let row = [1.0, size[i], data[i]];
            let loss = table.loss[i];
            let weight = table.weight[i]
                * robust[i]
                * match table.objective() {
                    Objective::Huber => 1.0 / (loss * loss),
                    Objective::LeastSquares => 1.0,
                };
            for j in 0..3 {
                rhs[j] += weight * row[j] * loss;
                for k in 0..3 {
                    gram[j][k] += weight * row[j] * row[k];
                }
            }
        }
        x = linear_algebra::non_negative(&gram, &rhs);
        value = 0.0;
        for i in 0..table.len() {
            let predicted = x[0] + x[1] * size[i] + x[2] * data[i];
            let r = match table.objective() {
                Objective::Huber => predicted / table.loss[i] - 1.0,
                Objective::LeastSquares => predicted - table.loss[i],
            };
            robust[i] = (HUBER_DELTA / r.abs().max(1e-300)).min(1.0);
            value += table.weight[i] * table.rho(r);
        }
    }
    (x, value)
}
