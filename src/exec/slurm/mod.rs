//! Slurm as a batch system: its commands, and what is missing where workers cannot be had.
//!
//! Refuses to know what runs in a job.

mod batch_system;
mod client;
mod doctor;

pub use batch_system::WORD;
pub use client::{Client, unwanted};
