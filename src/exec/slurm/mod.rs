//! Slurm as a batch system: its commands, and what is missing where workers cannot be had.
//!
//! Refuses to know what runs in a job.

mod client;
mod doctor;

pub use client::{CallError, Client, SubmitError, unwanted};
pub use doctor::{Finding, survey};
