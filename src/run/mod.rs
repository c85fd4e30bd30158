//! Carries things out: between the pure middle and the adapters, and nowhere else.
//!
//! Refuses to know flags and how results are printed.

pub mod context;
pub mod export;
pub mod failure;
pub mod figure_files;
pub mod fit;
pub mod home;
mod page_laws;
pub mod planning;
pub mod recipe;
pub mod report;
pub mod signals;
pub mod study;
pub mod sweep_set;
pub mod train;
pub mod worker;
