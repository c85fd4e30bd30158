//! Carries things out: between the pure middle and the adapters, and nowhere else.
//!
//! Refuses to know flags and how results are printed.

pub mod advising;
pub mod context;
pub mod coordinates;
pub mod export;
pub mod failure;
pub mod filter;
pub mod fit;
pub mod forecasting;
pub mod home;
mod lr_runs;
mod nexts;
mod page_recipe;
pub mod planning;
pub mod proxies;
pub mod recipe_files;
pub mod report;
pub mod sweep_set;
pub mod train;
