//! A stage that no worker has yet.
//!
//! Refuses to know who will have it.

use std::path::PathBuf;

use crate::exec::lines::{Lost, News};
use crate::protocol::Cause;
use crate::units::StageId;

/// An attempt without a worker.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) stage: StageId,
    pub(super) attempt: u32,
    pub(super) job: PathBuf,
}

impl Waiting {
    /// What becomes of it where it is stopped.
    pub(super) fn stopped(self) -> News {
        News {
            stage: self.stage,
            attempt: self.attempt,
            lines: Vec::new(),
            bytes: 0,
            lost: Some(Lost {
                cause: Cause::Interrupted,
                message: "stopped before a worker had begun with it".to_owned(),
            }),
        }
    }
}
