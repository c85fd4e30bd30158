//! Small dense linear algebra: systems of a handful of unknowns.

/// Solves a symmetric positive definite system by Cholesky; none where it is not.
pub fn solve<const N: usize>(matrix: &[[f64; N]; N], right: &[f64; N]) -> Option<[f64; N]> {
    let mut lower = [[0.0; N]; N];
    for row in 0..N {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| lower[row][k] * lower[column][k]).sum();
            let rest = matrix[row][column] - known;
            if row == column {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                lower[row][row] = rest.sqrt();
            } else {
                lower[row][column] = rest / lower[column][column];
            }
        }
    }
    let mut middle = [0.0; N];
    for row in 0..N {
        let known: f64 = (0..row).map(|k| lower[row][k] * middle[k]).sum();
        middle[row] = (right[row] - known) / lower[row][row];
    }
    let mut solution = [0.0; N];
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|k| lower[k][row] * solution[k]).sum();
        solution[row] = (middle[row] - known) / lower[row][row];
    }
    solution.iter().all(|value| value.is_finite()).then_some(solution)
}

/// The non-negative `x` with the least `|X x − y|²`, from the normal equations `XᵀX` and `Xᵀy`.
///
/// Three unknowns have seven sets of positive ones; all are tried.
pub fn non_negative(gram: &[[f64; 3]; 3], right: &[f64; 3]) -> Option<[f64; 3]> {
    let mut best: Option<(f64, [f64; 3])> = None;
    for mask in 1u8..8 {
        let is_free = |index: usize| mask & (1 << index) != 0;
        let mut matrix = [[0.0; 3]; 3];
        let mut vector = [0.0; 3];
        for row in 0..3 {
            for column in 0..3 {
                let both = is_free(row) && is_free(column);
                matrix[row][column] = if both {
                    gram[row][column]
                } else {
                    f64::from(u8::from(row == column))
                };
            }
            vector[row] = if is_free(row) { right[row] } else { 0.0 };
        }
        let Some(x) = solve(&matrix, &vector) else { continue };
        if x.iter().any(|value| *value < 0.0) {
            continue;
        }
        // |Xx − y|² less the constant yᵀy.
        let quadratic: f64 = (0..3)
            .flat_map(|i| (0..3).map(move |j| (i, j)))
            .map(|(i, j)| x[i] * gram[i][j] * x[j])
            .sum();
        let linear: f64 = (0..3).map(|i| 2.0 * x[i] * right[i]).sum();
        let value = quadratic - linear;
        if best.is_none_or(|(least, _)| value < least) {
            best = Some((value, x));
        }
    }
    best.map(|(_, x)| x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved_and_a_singular_one_is_not() {
        let x = solve(&[[4.0, 2.0], [2.0, 3.0]], &[8.0, 7.0]).expect("positive definite");
        assert!((x[0] - 1.25).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12);
        assert_eq!(solve(&[[1.0, 1.0], [1.0, 1.0]], &[1.0, 1.0]), None);
    }

    #[test]
    fn a_negative_unknown_is_set_to_zero_and_the_rest_solved_again() {
        let gram = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(non_negative(&gram, &[1.0, -2.0, 3.0]), Some([1.0, 0.0, 3.0]));
    }
}
