//! The languages of a sweep file: located YAML, conditions, `--set`, and what is said of a mistake.
//!
//! Refuses to know what the keys mean.

pub(crate) mod edit;
pub mod expressions;
pub(crate) mod lex;
pub mod mistakes;
pub(crate) mod tree;
