//! Which trials of a study count, which of them compare, and what they still lack.
//!
//! Pure functions on rows. Refuses to know where rows are stored, how laws are fitted, and what is shown.

pub mod alike;
pub mod filter;
pub mod pairs;
pub mod proxies;
pub mod select;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// A trial that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name; of a table, the place of its row.
    pub trial: String,
    /// Why.
    pub reason: String,
}

impl LeftOut {
    /// A trial with the reason.
    pub fn new(trial: &str, reason: &str) -> Self {
        Self {
            trial: trial.to_owned(),
            reason: reason.to_owned(),
        }
    }
}
