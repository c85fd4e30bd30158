//! Laws from observations: what a size and a number of tokens cost in loss, and which learning rate they want.
//!
//! ```text
//! observation → design → core (solver on a table) → spread (draws) → hold_out, outliers → judge → loss_law
//!                            chinchilla: the law itself        loss_fit: what is kept, and what it predicts
//! learning_rate: a bowl for each group of runs, and how its lowest point drifts → transfer: the verdict on muP
//! surface → lr_batch: learning rate and batch from one valley; batch_law: the batch from curves of equal loss
//! three_term: the loss off the best batch;  choice: which law of loss to believe
//! curve → isoflop: minima at equal compute;  curves: whole loss curves
//! ```
//! Plain numbers in, plain numbers out: the same runs in any order give the same bits, on any number of threads. A law
//! that the data cannot carry is refused by a named code. Refuses to know where runs come from and who reads a law.

pub mod batch_curves;
pub mod batch_law;
pub mod bootstrap;
pub mod bowl;
pub mod chinchilla;
pub mod choice;
mod core;
mod curve;
pub mod curves;
pub mod design;
pub mod hold_out;
pub mod isoflop;
mod judge;
pub mod learning_rate;
pub mod line;
mod linear;
pub mod loss_fit;
pub mod loss_law;
pub mod lr_batch;
pub mod observation;
mod outliers;
pub mod refusal;
mod solver;
pub mod spread;
pub mod statistics;
mod surface;
mod table;
pub mod three_term;
pub mod transfer;

use serde::{Deserialize, Serialize};

/// A fitted number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Its value, from all observations.
    pub value: f64,
    /// Its standard error; none where it is not known.
    pub se: Option<f64>,
    /// Its 95 % interval; none where it is not known.
    pub ci95: Option<[f64; 2]>,
}

impl Estimate {
    /// Whether the 95 % interval is known and leaves zero out.
    pub fn excludes_zero(&self) -> bool {
        self.ci95.is_some_and(|[low, high]| low > 0.0 || high < 0.0)
    }
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
