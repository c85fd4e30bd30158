//! Temporary.
pub mod error;
pub mod manifest;
pub mod shards;
