//! Whether residuals have a structure that a law leaves over: lack of fit that needs no replicates.
//!
//! Refuses to know which law it was.

use crate::fit::loss::objective::Form;
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::statistics;

/// Residuals beyond so many robust standard deviations count as that many: one run is no structure.
const CLIP_SD: f64 = 3.0;
/// Runs that are left to judge by, at least.
const DOF_MIN: usize = 5;

/// What a parabola over ln N and ln D explains of residuals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Structure {
    /// The share of their variance.
    pub(crate) share: f64,
    /// How often chance alone explains as much (the F test).
    pub(crate) p: f64,
}

/// Looks for structure in ln N, ln D, their squares and their product, beyond what the constants of the law can follow;
/// `None` of too few runs.
pub(crate) fn find<F: Form<K>, const K: usize>(core: &FittedConstants<F, K>) -> Option<Structure> {
    let count = core.design.rows.len();
    let residuals: Vec<f64> = (0..count).map(|row| core.log_residual(row)).collect();
    let most = CLIP_SD * statistics::robust_scale(residuals.clone(), K)?;
    let mut rest: Vec<f64> = residuals.iter().map(|residual| residual.clamp(-most, most)).collect();
    let slopes: Vec<[f64; K]> = (0..count)
        .map(|row| core.table.log_gradient::<F, K>(&core.minimum.theta, row))
        .collect();
    let mut basis = Basis::default();
    for place in 0..K {
        basis.add(slopes.iter().map(|slope| slope[place]).collect());
    }
    basis.take_out(&mut rest);
    let (followed, before) = (basis.0.len(), squares(&rest));
    let (n, d) = (&core.table.n, &core.table.d);
    for (power_n, power_d) in [(1, 0), (0, 1), (1, 1), (2, 0), (0, 2)] {
        basis.add(
            (0..count)
                .map(|row| n[row].powi(power_n) * d[row].powi(power_d))
                .collect(),
        );
    }
    basis.take_out(&mut rest);
    let added = basis.0.len() - followed;
    let dof = count
        .checked_sub(basis.0.len())
        .filter(|dof| *dof >= DOF_MIN && added > 0)? as f64;
    let after = squares(&rest);
    // Noise-free data have rounding for residuals.
    if before <= count as f64 * 1e-18 {
        return None;
    }
    let f = ((before - after) / added as f64) / (after / dof);
    Some(Structure {
        share: 1.0 - after / before,
        p: statistics::f_upper_tail(f, added as f64, dof),
    })
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// Orthonormal directions (Gram and Schmidt).
#[derive(Default)]
struct Basis(Vec<Vec<f64>>);

impl Basis {
    /// Adds a direction, unless those before it hold it already.
    fn add(&mut self, mut column: Vec<f64>) {
        let whole = squares(&column).sqrt();
        // Twice is enough: the second pass takes out what rounding left.
        self.take_out(&mut column);
        self.take_out(&mut column);
        let length = squares(&column).sqrt();
        if length > 1e-7 * whole {
            self.0.push(column.into_iter().map(|value| value / length).collect());
        }
    }

    /// Takes what the directions explain out of a column.
    fn take_out(&self, column: &mut [f64]) {
        for direction in &self.0 {
            let along: f64 = direction.iter().zip(column.iter()).map(|(a, b)| a * b).sum();
            for (value, unit) in column.iter_mut().zip(direction) {
                *value -= along * unit;
            }
        }
    }
}
