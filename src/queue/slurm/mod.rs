//! Slurm as texts: the scripts that are submitted to it and what its commands print.
//!
//! Refuses to know processes, files and clocks; whoever talks to a cluster is in `exec::slurm`.

pub mod parse;
pub mod script;
pub mod state;
