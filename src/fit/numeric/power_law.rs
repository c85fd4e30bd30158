//! A power law of one variable: a straight line in logarithms, by least squares.
//!
//! Refuses to know what the variables mean.

use serde::{Deserialize, Serialize};

use crate::fit::Estimate;
use crate::fit::numeric::bootstrap;
use crate::fit::numeric::linear_algebra;

/// y = exp(level)·(x / exp(centre))^exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LogLine {
    /// The mean of ln x.
    centre: f64,
    level: f64,
    pub(crate) exponent: f64,
}

/// A power law of one variable with its errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Power {
    /// The value where the variable is one.
    pub c: f64,
    pub exponent: Estimate,
    /// The mean of the variable's logarithm, and the value's logarithm there.
    centre: [f64; 2],
    /// The covariance of that value's logarithm and of the exponent; none where it is not known.
    covariance: Option<[[f64; 2]; 2]>,
    dof: f64,
}

impl LogLine {
    /// The line through (ln x, ln y), each with a weight; `None` unless x takes two values.
    pub(crate) fn through(points: &[(f64, f64, f64)]) -> Option<Self> {
        let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|&(x, y, w)| w * of(x, y)).sum::<f64>();
        let total = sum(&|_, _| 1.0);
        let (centre, level) = (sum(&|x, _| x) / total, sum(&|_, y| y) / total);
        let spread = sum(&|x, _| (x - centre).powi(2));
        (spread > 1e-9 * total).then(|| Self {
            centre,
            level,
            exponent: sum(&|x, y| (x - centre) * (y - level)) / spread,
        })
    }

    /// ln y at ln x.
    pub(crate) fn at(&self, ln_x: f64) -> f64 {
        self.level + self.exponent * (ln_x - self.centre)
    }

    /// What differs between draws of this line: ln y at this line's centre, and the exponent.
    pub(crate) fn constants_of(&self, draw: &Self) -> [f64; 2] {
        [draw.at(self.centre), draw.exponent]
    }

    /// The power law, with the covariance of its [`LogLine::constants_of`].
    pub(crate) fn power(&self, covariance: Option<[[f64; 2]; 2]>, dof: f64) -> Power {
        Power {
            c: self.at(0.0).exp(),
            exponent: bootstrap::estimate(self.exponent, covariance.map(|matrix| matrix[1][1]), dof),
            centre: [self.centre, self.level],
            covariance,
            dof,
        }
    }
}

impl Power {
    /// The value at x, with the interval of the law.
    pub fn at(&self, x: f64) -> Estimate {
        let off = [1.0, x.ln() - self.centre[0]];
        let ln_value = self.centre[1] + self.exponent.value * off[1];
        let variance = self
            .covariance
            .map(|matrix| linear_algebra::quadratic_form(&matrix, &off));
        bootstrap::exponential(bootstrap::estimate(ln_value, variance, self.dof))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_law_is_a_line() {
        let points = [1.0, 2.0, 5.0].map(|x: f64| (x.ln(), (3.0 * x.powf(0.4)).ln(), x));
        let line = LogLine::through(&points).unwrap();
        let power = line.power(Some([[0.01, 0.0], [0.0, 0.04]]), 1e6);
        assert!((power.c - 3.0).abs() < 1e-12 && (power.exponent.value - 0.4).abs() < 1e-12);
        assert!((power.exponent.se.unwrap() - 0.2).abs() < 1e-12);
        let far = power.at(100.0);
        assert!((far.value - 3.0 * 100f64.powf(0.4)).abs() < 1e-9);
        assert!(far.ci95.unwrap()[0] < far.value);
        assert_eq!(LogLine::through(&[(1.0, 1.0, 1.0)]), None);
    }
}
