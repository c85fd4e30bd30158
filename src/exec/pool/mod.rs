//! Workers on a cluster: a pool of long-lived jobs that take one stage after another.
//!
//! Refuses to know what a job means, where results are kept, and which batch system runs the jobs. What a worker wrote is
//! the truth; what the batch system says is a hint: it shortens the wait for a silent worker, and tells how many more
//! are on their way.

mod adoption;
mod batch_system;
mod folders;
mod pool_status;
mod provisioning;
mod remote_worker;
mod roster;
mod settings;
mod shutdown;
mod submissions;
mod submitter;
#[cfg(test)]
mod tests;
mod waiting;
mod worker_pool;

pub use adoption::{Adopted, Retired, retire_others};
pub use batch_system::{Answer, BatchSystem, CallError, Finding, SubmitError};
pub use folders::{has_others, revoked};
pub use pool_status::PoolStatus;
pub use settings::{PoolError, Settings, Timeouts};
pub use worker_pool::Pool;
