//! Fits laws to the trials of a home and to the runs of anybody's table, keeps them, and asks them.
//!
//! Refuses to know flags and how a law is printed.

pub mod batch;
pub mod cross_check;
pub mod curves;
pub mod loss;
pub mod lr_batch;
pub mod page;
pub mod predict;
pub mod table;
pub mod three_term;
