//! Finds the constants of a law of loss that suit a table best: Newton's method on all of them from each promising
//! start.
//!
//! Refuses to know what rows stand for, and whether the table deserves a law.

use crate::fit::loss::objective::{Form, ObjectiveTable, Slopes};
use crate::fit::numeric::descent::next_damping;
use crate::fit::numeric::linear_algebra;

/// A minimum, or where the search for one ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Minimum<const K: usize> {
    pub(crate) theta: [f64; K],
    /// The objective there, as [`ObjectiveTable::value`] gives it.
    pub(crate) value: f64,
    /// Whether Newton's method came to rest.
    pub(crate) converged: bool,
    /// How well the constants that are not at a limit can be told apart (see [`linear_algebra::distinctness`]).
    pub(crate) distinctness: f64,
}

/// Newton's method is quadratic at the end; who needs more steps than this does not converge.
const NEWTON_STEPS_MAX: u32 = 500;

/// Newton's method from one start within the limits, damped by the majorant: with a large damping it is
/// iteratively reweighted least squares, which always descends, with a small one Newton, which ends fast.
/// Ends when the next step would lower the objective by less than `tolerance` of it.
pub(crate) fn descend<F: Form<K>, const K: usize>(
    table: &ObjectiveTable,
    start: &[f64; K],
    tolerance: f64,
) -> Minimum<K> {
    let limits = F::limits(table);
    let mut theta = *start;
    for j in 0..K {
        theta[j] = theta[j].clamp(limits[j].0, limits[j].1);
    }
    let mut shape = table.shape::<F, K>(&theta);
    let exact = EXACT_RESIDUAL * EXACT_RESIDUAL * table.weight.iter().sum::<f64>();
    let mut damping = DAMPING_START;
    let mut converged = false;
    for _ in 0..NEWTON_STEPS_MAX {
        let full = step(&shape, 0.0, &theta, &limits);
        let promise = full.map_or(f64::INFINITY, |(_, gain)| gain);
        if shape.value <= exact || promise <= tolerance * shape.value {
            // The last step is free: Newton's method doubles the digits with each.
            if let Some((change, _)) = full {
                let last = moved_within(&theta, &change, &limits);
                if table.shape::<F, K>(&last).value < shape.value {
                    theta = last;
                }
            }
            converged = true;
            break;
        }
        let Some((change, gain)) = step(&shape, damping, &theta, &limits) else {
            damping *= 10.0;
            continue;
        };
        let candidate = moved_within(&theta, &change, &limits);
        let there = table.shape::<F, K>(&candidate);
        let kept = (shape.value - there.value) / gain.max(f64::MIN_POSITIVE);
        if there.value < shape.value {
            (theta, shape) = (candidate, there);
        }
        damping = next_damping(damping, kept);
        if damping > DAMPING_MAX {
            // No descent is left at this precision: at rest if the promise is as small.
            converged = promise <= 1e-6 * shape.value;
            break;
        }
    }
    Minimum {
        theta,
        value: table.value::<F, K>(&theta),
        converged,
        distinctness: free_distinctness(&shape.majorant, &theta, &limits),
    }
}

/// Residuals of this size are rounding: the law is met exactly.
const EXACT_RESIDUAL: f64 = 1e-14;
/// The damping of the first step.
const DAMPING_START: f64 = 1e-2;
/// Above this the steps are smaller than rounding.
const DAMPING_MAX: f64 = 1e12;

/// The place after a step, kept within the limits against rounding.
fn moved_within<const K: usize>(theta: &[f64; K], change: &[f64; K], limits: &[(f64, f64); K]) -> [f64; K] {
    std::array::from_fn(|j| (theta[j] + change[j]).clamp(limits[j].0, limits[j].1))
}

/// The damped step and its promise: Newton's where the surface is bowl-shaped, else that of the majorant.
fn step<const K: usize>(
    shape: &Slopes<K>,
    damping: f64,
    theta: &[f64; K],
    limits: &[(f64, f64); K],
) -> Option<([f64; K], f64)> {
    let damped = |matrix: &[[f64; K]; K]| {
        let mut damped = *matrix;
        for (j, row) in damped.iter_mut().enumerate() {
            // Marquardt's damping: each constant by its own scale.
            row[j] += damping * shape.majorant[j][j];
        }
        damped
    };
    step_within(&damped(&shape.hessian), &shape.gradient, theta, limits)
        .or_else(|| step_within(&damped(&shape.majorant), &shape.gradient, theta, limits))
}

/// The step that minimises `gradient·s + ½ s·bend·s` within the limits, and how much that gains; `None` when `bend`
/// is not positive definite. A constant that would cross its limit goes to the limit, and the others are solved
/// for again.
fn step_within<const K: usize>(
    bend: &[[f64; K]; K],
    gradient: &[f64; K],
    theta: &[f64; K],
    limits: &[(f64, f64); K],
) -> Option<([f64; K], f64)> {
    // A constant at its limit stays there if its slope points outwards.
    let mut moved: [Option<f64>; K] = std::array::from_fn(|j| {
        let held = (theta[j] <= limits[j].0 && gradient[j] >= 0.0) || (theta[j] >= limits[j].1 && gradient[j] <= 0.0);
        held.then_some(0.0)
    });
    loop {
        let mut matrix = [[0.0; K]; K];
        let mut rhs = [0.0; K];
        for j in 0..K {
            if let Some(known) = moved[j] {
                matrix[j][j] = 1.0;
                rhs[j] = known;
                continue;
            }
            rhs[j] = -gradient[j];
            for k in 0..K {
                match moved[k] {
                    Some(known) => rhs[j] -= bend[j][k] * known,
                    None => matrix[j][k] = bend[j][k],
                }
            }
        }
        let change = linear_algebra::solve(&matrix, &rhs)?;
        let crossing = (0..K).find(|&j| {
            let there = theta[j] + change[j];
            moved[j].is_none() && (there < limits[j].0 || there > limits[j].1)
        });
        let Some(j) = crossing else {
            let gain = (0..K)
                .map(|j| {
                    let bent: f64 = (0..K).map(|k| bend[j][k] * change[k]).sum();
                    -change[j] * (gradient[j] + 0.5 * bent)
                })
                .sum();
            return Some((change, gain));
        };
        let limit = if change[j] < 0.0 { limits[j].0 } else { limits[j].1 };
        moved[j] = Some(limit - theta[j]);
    }
}

/// [`linear_algebra::distinctness`] of the constants that are not at a limit.
fn free_distinctness<const K: usize>(matrix: &[[f64; K]; K], theta: &[f64; K], limits: &[(f64, f64); K]) -> f64 {
    let free: [bool; K] = std::array::from_fn(|j| theta[j] > limits[j].0 && theta[j] < limits[j].1);
    let mut reduced = [[0.0; K]; K];
    for j in 0..K {
        for k in 0..K {
            reduced[j][k] = match (free[j] && free[k], j == k) {
                (true, _) => matrix[j][k],
                (false, true) => 1.0,
                (false, false) => 0.0,
            };
        }
    }
    linear_algebra::distinctness(&reduced)
}

/// The relative accuracy of the objective to which the point fit is carried.
const POINT_TOLERANCE: f64 = 1e-13;

/// The same for the starts, of which the best is carried on.
const START_TOLERANCE: f64 = 1e-6;

/// The best minimum from the starts of a law; `None` of an empty table.
pub(crate) fn minimise<F: Form<K>, const K: usize>(table: &ObjectiveTable) -> Option<Minimum<K>> {
    F::starts(table)
        .iter()
        .map(|start| descend::<F, K>(table, start, START_TOLERANCE))
        .min_by(|a, b| a.value.total_cmp(&b.value))
        .map(|best| descend::<F, K>(table, &best.theta, POINT_TOLERANCE))
}
