//! Where a command works: the home, the clock, the machine.

use std::path::PathBuf;

use crate::fault::Faults;
use crate::model::config::DeviceKind;
use crate::protocol::Trainer;
use crate::run::failure::Failure;
use crate::store::Store;
use crate::workdir::{Holder, Workdir};

/// Version of the program; the worker must have the same.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything a command needs to know about where it runs.
#[derive(Debug, Clone)]
pub struct Context {
    pub workdir: Workdir,
    pub trainer: Trainer,
    /// The device asked for, or found.
    pub device: DeviceKind,
    pub worker: PathBuf,
    /// NVIDIA GPUs of this machine.
    pub gpus: usize,
    /// Cores that may be used.
    pub cores: u64,
    /// Memory that is free, in bytes; none: the system does not tell.
    pub memory: Option<u64>,
    /// Name of this machine.
    pub host: String,
    /// Faults that are to come on purpose.
    pub faults: Faults,
    /// The flags that the next command needs to work in the same place: ` --home DIR`; empty where none was given.
    pub flags: String,
}

impl Context {
    /// The time now, ISO 8601 UTC to the microsecond, so that text sorts as time does.
    pub fn now(&self) -> String {
        format!("{:.6}", jiff::Timestamp::now())
    }

    /// Slots for workers: a GPU each, or a core for each thread.
    pub fn slots(&self) -> u64 {
        match self.device {
            DeviceKind::Cpu => self.cores,
            DeviceKind::Cuda => self.gpus.max(1) as u64,
        }
    }

    /// A device by libtorch's name.
    pub fn device_name(&self, device: usize) -> String {
        match self.device {
            DeviceKind::Cpu => "cpu".to_owned(),
            DeviceKind::Cuda => format!("cuda:{device}"),
        }
    }

    /// Who this process is, for the lock.
    pub fn holder(&self) -> Holder {
        Holder {
            pid: std::process::id(),
            host: self.host.clone(),
            since: self.now(),
        }
    }

    /// Opens the database, creating the home and it where there is none yet.
    pub async fn store_or_new(&self) -> Result<Store, Failure> {
        self.workdir.create()?;
        Ok(Store::open(self.workdir.database()).await?)
    }

    /// Opens a database that must exist, and brings it up to date.
    pub async fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open_existing(self.workdir.database()).await?)
    }
}

/// Name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
