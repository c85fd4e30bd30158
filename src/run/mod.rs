//! Carries things out: between the pure middle and the adapters, and nowhere else.
//!
//! Refuses to know flags and how results are printed.

pub mod advising;
pub mod batch_fitting;
pub mod context;
pub mod coordinates;
pub mod cross_check;
pub mod curve_fitting;
pub mod export;
pub mod failure;
pub mod filter;
pub mod fitting;
pub mod forecasting;
pub mod home;
pub mod lr_batch_fitting;
mod lr_runs;
mod nexts;
mod page_laws;
mod page_recipe;
pub mod planning;
pub mod predicting;
pub mod proxies;
pub mod recipe_files;
pub mod report;
pub mod sources;
pub mod sweep_set;
pub mod table_runs;
pub mod three_term_fitting;
pub mod train;
