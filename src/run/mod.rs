//! Carries things out: between the pure middle and the adapters, and nowhere else.
//!
//! Refuses to know flags and how results are printed.

pub mod context;
pub mod failure;
pub mod orchestrate;
pub mod planning;
pub mod toy;
