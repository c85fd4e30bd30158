//! Laws from observations: of the final loss, and of the best learning rate.
//!
//! Plain numbers in, plain numbers out; randomness is a seed that is passed in. Refuses to know where observations
//! come from and what is done with a law.

pub mod chinchilla;
pub mod learning_rate;
pub mod loss_fit;
pub mod loss_law;
pub mod observation;
pub mod refusal;
pub mod small;
pub mod statistics;

use serde::{Deserialize, Serialize};

/// A fitted number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Its value, from all observations.
    pub value: f64,
    /// Its standard error, from resampled configurations; none where too few could be drawn.
    pub se: Option<f64>,
    /// Its 95 % interval, likewise.
    pub ci95: Option<[f64; 2]>,
}

/// Something that a reader of a fit must know, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable name.
    pub code: String,
    /// A sentence.
    pub text: String,
}

impl Warning {
    /// A warning.
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            text: text.into(),
        }
    }
}
