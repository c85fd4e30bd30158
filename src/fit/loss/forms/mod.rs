//! The laws of loss over size N and tokens D: what each says of a place, and how the solver sees it.
//!
//! Refuses to know which of them suits a table.

pub(crate) mod additive;
pub(crate) mod farseer;
pub(crate) mod joint;
pub(crate) mod tied;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fit::loss::chinchilla::Law;

pub use farseer::FarseerLaw;
pub use joint::JointLaw;
pub use tied::TiedLaw;

/// What a constant can be, which bounds its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The irreducible loss, in the unit of the loss: never below zero.
    Floor,
    /// The coefficient of a power: it spans powers of ten, so its interval is taken in logarithms.
    Scale,
    /// An exponent that a power law must show.
    Exponent,
    /// Any other number.
    Free,
}

/// A law of loss whose constants are known.
pub trait Surface: Debug + Copy + PartialEq + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// Its name on the command line.
    const NAME: &'static str;
    const FORMULA: &'static str;
    /// Its constants in the order of [`Surface::constants`].
    const CONSTANTS: &'static [(&'static str, Role)];

    /// The loss of a model of `params` parameters after `tokens` tokens.
    fn loss(&self, params: f64, tokens: f64) -> f64;

    fn constants(&self) -> Vec<f64>;

    /// The law with these constants, in the same order.
    fn with(constants: &[f64]) -> Self;

    /// The loss that no size and no data take away; none where the law has no such constant.
    fn floor(&self) -> Option<f64>;

    /// The same law with the constants of the additive one; none where its form is another.
    fn additive(&self) -> Option<Law> {
        None
    }

    /// a of `N_opt ∝ C^a` at C = 6ND; none where the law has no such power.
    fn size_exponent(&self) -> Option<f64>;
}
