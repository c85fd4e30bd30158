//! Training a sweep: from its file over workers, here or on a cluster, to its rows in the database.
//!
//! Refuses to know laws and recipes.

mod attempt;
pub mod cluster;
mod driver;
pub mod orchestrate;
pub mod progress;
mod recovery;
pub mod request;
mod resources;
pub mod toy;
