//! What a MiniCPM proxy is: shapes, muP, schedules, cost, and the configuration that determines its training.
//!
//! Refuses to know about tensors, files and sweeps.

pub mod config;
pub mod data_info;
pub mod flops;
pub mod initial_loss;
pub mod ladder;
pub mod memory;
pub mod mup;
pub mod order;
pub mod schedule;
pub mod shape;
pub mod tensors;
