//! Workers, wherever they are: they are given jobs, and what they say is read.
//!
//! Refuses to know what a job means and where results are kept.

mod error;
mod lines;
pub mod local;
pub mod pool;
pub mod slurm;
mod systems;
mod workers;

pub use error::WorkersError;
pub use lines::{Lost, News, Written, left_behind};
pub use systems::{BATCH_SYSTEMS, batch_system};
pub use workers::Workers;
