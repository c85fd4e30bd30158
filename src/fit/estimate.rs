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
