//! Carries things out: between the pure middle and the adapters, and nowhere else.
//!
//! Refuses to know flags and how results are printed.

pub mod advising;
pub mod care;
pub mod cluster;
pub mod context;
pub mod coordinates;
mod databases;
pub mod exporting;
pub mod failure;
pub mod filter;
pub mod fit;
pub mod forecasting;
mod hearing;
mod limits;
mod lr_runs;
mod nexts;
mod orchestra;
pub mod orchestrate;
mod page_recipe;
pub mod planning;
pub mod proxies;
pub mod recipe_files;
mod reclaim;
pub mod reporting;
pub mod sources;
pub mod standing;
pub mod sweep_set;
pub mod toy;
