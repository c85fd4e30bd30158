//! Laws from observations: what a size and a number of tokens cost in loss, and which learning rate and batch they want.
//!
//! ```text
//! observation → sanity: what is odd about a table
//! observation → design → loss/   the final loss over N and D, minima at equal compute, the loss off the best batch
//!                        rate/   the best learning rate, alone and with the batch
//!                        batch/  the best batch by curves of equal loss
//!                        curve/  the whole loss curve under any schedule
//!                        numeric/  what they share: linear algebra, statistics, bootstrap, interpolation, power laws
//! law: what a law is → laws/  the list of all, a file each;  kept: how fits are kept;  view: how they are shown
//! laws → audit: what they would have said of larger runs, had only the smaller ones been there
//! ```
//! Plain numbers in, plain numbers out: the same runs in any order give the same bits, on any number of threads. A law
//! that the data cannot carry is refused by a named code. Refuses to know where runs come from and who reads a law.

pub mod audit;
pub mod batch;
pub mod curve;
pub mod design;
pub mod kept;
pub mod law;
pub mod laws;
pub mod loss;
pub mod numeric;
pub mod observation;
pub mod rate;
pub mod refusal;
pub mod sanity;
pub mod view;

use serde::{Deserialize, Serialize};

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

    /// Of an exponent whose 95 % interval is wider than ±2, what is to be said: it could be anything.
    pub(crate) fn open_exponent(&self, name: &str) -> Option<String> {
        const WIDTH_MAX: f64 = 4.0;
        let [low, high] = self.ci95.filter(|[low, high]| high - low > WIDTH_MAX)?;
        Some(format!(
            "the exponent {name} lies anywhere from {low:.1} to {high:.1} (95 %)"
        ))
    }
}

/// Something that a reader of a fit must know, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub code: String,
    pub text: String,
}

impl Warning {
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            text: text.into(),
        }
    }
}
