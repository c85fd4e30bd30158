//! A number together with how sure it is.
//!
//! Refuses to know what it measures.

use serde::{Deserialize, Serialize};

/// A number and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value at the fit of all rows.
    pub value: f64,
    /// Its standard error; `None` where it is not known.
    pub se: Option<f64>,
    /// Its 95 % interval; `None` where it is not known.
    pub ci95: Option<[f64; 2]>,
}

impl Estimate {
    /// For an exponent: the factor by which the quantity changes when its variable doubles. The standard error is
    /// that of the factor's logarithm.
    #[must_use]
    pub fn per_doubling(&self) -> Self {
        Self {
            value: self.value.exp2(),
            se: self.se.map(|se| se * std::f64::consts::LN_2),
            ci95: self.ci95.map(|interval| interval.map(f64::exp2)),
        }
    }

    /// Whether the 95 % interval is known and leaves zero out.
    pub fn excludes_zero(&self) -> bool {
        self.ci95.is_some_and(|[low, high]| low > 0.0 || high < 0.0)
    }
}
