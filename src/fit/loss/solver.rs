//! Finds the constants of `L = E + A/N^α + B/D^β` that suit a table best: a grid of exponents, then Newton's
//! method on all five from each promising cell.
//!
//! Refuses to know what rows stand for, and whether the table deserves a law.

use crate::fit::loss::chinchilla::{HUBER_DELTA, Objective};
use crate::fit::loss::objective::{ObjectiveTable, Slopes, Theta};
use crate::fit::numeric::descent::next_damping;
use crate::fit::numeric::linear_algebra;

/// A minimum, or where the search for one ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Minimum {
    pub(crate) theta: Theta,
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
pub(crate) fn descend(table: &ObjectiveTable, start: &Theta, tolerance: f64) -> Minimum {
    let limits = table.limits();
    let mut theta = *start;
    for j in 0..5 {
        theta[j] = theta[j].clamp(limits[j].0, limits[j].1);
    }
    let mut shape = table.shape(&theta);
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
                if table.shape(&last).value < shape.value {
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
        let there = table.shape(&candidate);
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
        value: table.value(&theta),
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
fn moved_within(theta: &Theta, change: &Theta, limits: &[(f64, f64); 5]) -> Theta {
    std::array::from_fn(|j| (theta[j] + change[j]).clamp(limits[j].0, limits[j].1))
}

/// The damped step and its promise: Newton's where the surface is bowl-shaped, else that of the majorant.
fn step(shape: &Slopes, damping: f64, theta: &Theta, limits: &[(f64, f64); 5]) -> Option<(Theta, f64)> {
    let damped = |matrix: &[[f64; 5]; 5]| {
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
fn step_within(
    bend: &[[f64; 5]; 5],
    gradient: &Theta,
    theta: &Theta,
    limits: &[(f64, f64); 5],
) -> Option<(Theta, f64)> {
    // A constant at its limit stays there if its slope points outwards.
    let mut moved: [Option<f64>; 5] = std::array::from_fn(|j| {
        let held = (theta[j] <= limits[j].0 && gradient[j] >= 0.0) || (theta[j] >= limits[j].1 && gradient[j] <= 0.0);
        held.then_some(0.0)
    });
    loop {
        let mut matrix = [[0.0; 5]; 5];
        let mut rhs = [0.0; 5];
        for j in 0..5 {
            if let Some(known) = moved[j] {
                matrix[j][j] = 1.0;
                rhs[j] = known;
                continue;
            }
            rhs[j] = -gradient[j];
            for k in 0..5 {
                match moved[k] {
                    Some(known) => rhs[j] -= bend[j][k] * known,
                    None => matrix[j][k] = bend[j][k],
                }
            }
        }
        let change = linear_algebra::solve(&matrix, &rhs)?;
        let crossing = (0..5).find(|&j| {
            let there = theta[j] + change[j];
            moved[j].is_none() && (there < limits[j].0 || there > limits[j].1)
        });
        let Some(j) = crossing else {
            let gain = (0..5)
                .map(|j| {
                    let bent: f64 = (0..5).map(|k| bend[j][k] * change[k]).sum();
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
fn free_distinctness(matrix: &[[f64; 5]; 5], theta: &Theta, limits: &[(f64, f64); 5]) -> f64 {
    let free: [bool; 5] = std::array::from_fn(|j| theta[j] > limits[j].0 && theta[j] < limits[j].1);
    let mut reduced = [[0.0; 5]; 5];
    for j in 0..5 {
        for k in 0..5 {
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

/// The best minimum from the promising cells of a grid of exponents; `None` of an empty table.
pub(crate) fn minimise(table: &ObjectiveTable) -> Option<Minimum> {
    starts(table)
        .iter()
        .map(|start| descend(table, start, START_TOLERANCE))
        .min_by(|a, b| a.value.total_cmp(&b.value))
        .map(|best| descend(table, &best.theta, POINT_TOLERANCE))
}

/// Exponents of the grid: so many, from the first to the last, in equal ratios.
const GRID: (usize, f64, f64) = (14, 0.02, 2.5);
/// How many cells of the grid are followed to their minimum.
const STARTS_MAX: usize = 24;

/// The promising cells: for each pair of exponents the other three constants are found inside (they are
/// linear), and the local minima over the grid come first, then the next best cells.
fn starts(table: &ObjectiveTable) -> Vec<Theta> {
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
