//! Carries things out: between the pure middle and the adapters, and nowhere else.
//!
//! Refuses to know flags and how results are printed.

pub mod advising;
pub mod context;
pub mod failure;
pub mod fitting;
mod orchestra;
pub mod orchestrate;
pub mod planning;
pub mod reporting;
pub mod toy;
