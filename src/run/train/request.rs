//! What `run` is asked for.
//!
//! Refuses to know how it is done.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::protocol::Cause;
use crate::run::train::cluster::Cluster;

/// What `run` was asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    pub file: PathBuf,
    pub sets: Vec<String>,
    /// Whether the first failure ends everything.
    pub fail_fast: bool,
    /// Further attempts after a fault, by cause; the sweep's word where nothing is said.
    pub retry: BTreeMap<Cause, u32>,
    /// Workers at once; none: what the sweep says, else as many as the machine carries.
    pub workers: Option<u64>,
    /// Hours that it may take, beside the sweep's own budget.
    pub hours: Option<f64>,
    /// The cluster whose nodes train; none: this machine does.
    pub cluster: Option<Cluster>,
}

impl Request {
    /// A sweep file as it is, on this machine.
    pub fn of_file(file: PathBuf) -> Self {
        Self {
            file,
            sets: Vec::new(),
            fail_fast: false,
            retry: BTreeMap::new(),
            workers: None,
            hours: None,
            cluster: None,
        }
    }
}
