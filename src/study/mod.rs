//! Which trials of a study count, which of them compare, and what they still lack.
//!
//! Pure functions on rows. Refuses to know where rows are stored, how laws are fitted, and what is shown.

pub mod alike;
pub mod beside;
pub mod carries;
pub mod filter;
pub mod next_sweep;
pub mod one_set;
pub mod pairs;
pub mod proxies;
pub mod select;
#[cfg(test)]
pub(crate) mod tests;

pub use crate::fit::law::LeftOut;
