//! Small dense linear algebra: positive definite systems and non-negative least squares.
//!
//! Refuses to know what the matrices mean.

/// Solves `matrix · x = rhs` for a symmetric positive definite matrix by Cholesky's factorisation, after
/// scaling the diagonal to one. `None` when the matrix is not positive definite.
pub(crate) fn solve<const K: usize>(matrix: &[[f64; K]; K], rhs: &[f64; K]) -> Option<[f64; K]> {
    let (factor, scale) = factorise(matrix)?;
    let mut x = [0.0; K];
    for i in 0..K {
        let known: f64 = (0..i).map(|j| factor[i][j] * x[j]).sum();
        x[i] = (rhs[i] * scale[i] - known) / factor[i][i];
    }
    for i in (0..K).rev() {
        let known: f64 = (i + 1..K).map(|j| factor[j][i] * x[j]).sum();
        x[i] = (x[i] - known) / factor[i][i];
    }
    for i in 0..K {
        x[i] *= scale[i];
    }
    Some(x)
}

/// [`solve`] for the unknowns that are free; the others are held at zero.
pub(crate) fn solve_free<const K: usize>(matrix: &[[f64; K]; K], rhs: &[f64; K], free: &[bool; K]) -> Option<[f64; K]> {
    // An unknown that is held becomes an equation of its own: x = 0.
    let held = |i: usize, j: usize| if i == j { 1.0 } else { 0.0 };
    let reduced =
        std::array::from_fn(|i| std::array::from_fn(|j| if free[i] && free[j] { matrix[i][j] } else { held(i, j) }));
    let target = std::array::from_fn(|i| if free[i] { rhs[i] } else { 0.0 });
    solve(&reduced, &target)
}

/// The inverse of a symmetric positive definite matrix; `None` when it is not one.
pub(crate) fn inverse<const K: usize>(matrix: &[[f64; K]; K]) -> Option<[[f64; K]; K]> {
    let mut inverse = [[0.0; K]; K];
    for (i, row) in inverse.iter_mut().enumerate() {
        let unit: [f64; K] = std::array::from_fn(|j| f64::from(u8::from(i == j)));
        *row = solve(matrix, &unit)?;
    }
    Some(inverse)
}

/// The normal equations of a least-squares problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Normal<const K: usize> {
    /// The sum of the outer products of the rows.
    pub(crate) gram: [[f64; K]; K],
    /// The sum of the rows, each times its value.
    pub(crate) rhs: [f64; K],
}

impl<const K: usize> Normal<K> {
    pub(crate) fn empty() -> Self {
        Self {
            gram: [[0.0; K]; K],
            rhs: [0.0; K],
        }
    }

    /// Adds a row and its value.
    pub(crate) fn add_row(&mut self, row: &[f64; K], value: f64, weight: f64) {
        for i in 0..K {
            self.rhs[i] += weight * row[i] * value;
            for (sum, x) in self.gram[i].iter_mut().zip(row) {
                *sum += weight * row[i] * x;
            }
        }
    }

    /// Adds the rows of another problem.
    pub(crate) fn add(&mut self, other: &Self, weight: f64) {
        for i in 0..K {
            self.rhs[i] += weight * other.rhs[i];
            for (sum, x) in self.gram[i].iter_mut().zip(&other.gram[i]) {
                *sum += weight * x;
            }
        }
    }

    /// The unknowns; `None` when the rows do not tell them apart.
    pub(crate) fn solve(&self) -> Option<[f64; K]> {
        solve(&self.gram, &self.rhs)
    }
}

/// The form `x·matrix·x`.
pub(crate) fn quadratic_form<const K: usize>(matrix: &[[f64; K]; K], x: &[f64; K]) -> f64 {
    matrix
        .iter()
        .zip(x)
        .map(|(row, xi)| xi * row.iter().zip(x).map(|(m, xj)| m * xj).sum::<f64>())
        .sum()
}

/// The smallest share of any direction that the directions before it do not explain (1 - R², between 0 and
/// 1): near zero the matrix cannot tell its unknowns apart. Zero when it is not positive definite.
pub(crate) fn distinctness<const K: usize>(matrix: &[[f64; K]; K]) -> f64 {
    factorise(matrix).map_or(0.0, |(factor, _)| {
        (0..K).map(|i| factor[i][i].powi(2)).fold(1.0, f64::min)
    })
}

/// Cholesky's factor of the matrix scaled to a unit diagonal, and the scales.
fn factorise<const K: usize>(matrix: &[[f64; K]; K]) -> Option<([[f64; K]; K], [f64; K])> {
    let mut scale = [0.0; K];
    for i in 0..K {
        let diagonal = matrix[i][i];
        if !(diagonal.is_finite() && diagonal > 0.0) {
            return None;
        }
        scale[i] = 1.0 / diagonal.sqrt();
    }
    let mut factor = [[0.0; K]; K];
    for i in 0..K {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let rest = matrix[i][j] * scale[i] * scale[j] - known;
            if i == j {
                // Below this a pivot is rounding, not information.
                if rest.is_nan() || rest <= 1e-15 {
                    return None;
                }
                factor[i][i] = rest.sqrt();
            } else {
                factor[i][j] = rest / factor[j][j];
            }
        }
    }
    Some((factor, scale))
}

/// The minimum of `½ xᵀ·gram·x − rhsᵀ·x` over `x ≥ 0` (non-negative least squares, from its normal equations):
/// with a few unknowns every set of positive ones is tried.
pub(crate) fn non_negative<const K: usize>(gram: &[[f64; K]; K], rhs: &[f64; K]) -> [f64; K] {
    let mut best = [0.0; K];
    let mut best_gain = 0.0;
    for set in 1_u32..1 << K {
        let free: [bool; K] = std::array::from_fn(|i| set & (1 << i) != 0);
        let Some(x) = solve_free(gram, rhs, &free) else {
            continue;
        };
        let gain: f64 = (0..K).map(|i| rhs[i] * x[i]).sum();
        if x.iter().all(|&v| v >= 0.0) && gain > best_gain {
            (best, best_gain) = (x, gain);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_positive_definite_system_is_solved() {
        let x = solve(&[[4.0, 1.0], [1.0, 3.0]], &[1.0, 2.0]).unwrap();
        assert!((x[0] - 1.0 / 11.0).abs() < 1e-15 && (x[1] - 7.0 / 11.0).abs() < 1e-15);
    }

    #[test]
    fn an_indefinite_system_is_refused() {
        assert_eq!(solve(&[[1.0, 2.0], [2.0, 1.0]], &[1.0, 1.0]), None);
        assert!(distinctness(&[[1.0, 2.0], [2.0, 1.0]]) == 0.0);
    }

    #[test]
    fn non_negative_least_squares_holds_the_offending_unknown_at_zero() {
        let identity = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        for (rhs, expected) in [([1.0, -2.0, 3.0], [1.0, 0.0, 3.0]), ([-1.0, -2.0, -3.0], [0.0; 3])] {
            let x = non_negative(&identity, &rhs);
            assert!((0..3).all(|i| (x[i] - expected[i]).abs() < 1e-15), "{x:?}");
        }
    }
}
