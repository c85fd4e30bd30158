//! The best learning rate over tokens has three meanings, and three exponents: the batch stays, the batch is the best at
//! each number of tokens, or the rate is taken per √batch.
//!
//! Refuses to call any of them the exponent.

use serde::{Deserialize, Serialize};

use crate::fit::Estimate;

/// What the batch does while the tokens grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batch {
    /// It stays.
    #[default]
    Fixed,
    /// It is the best one at each number of tokens.
    Best,
    /// It is the best one, and the rate is divided by its root: what is left where rates go with √batch.
    PerRoot,
}

impl Batch {
    pub fn words(self) -> &'static str {
        match self {
            Self::Fixed => "at a fixed batch",
            Self::Best => "at the best batch",
            Self::PerRoot => "at the best batch, per \u{221a}batch",
        }
    }
}

/// The exponent of tokens in one of the meanings, at equal size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OverTokens {
    pub batch: Batch,
    pub exponent: Estimate,
}
