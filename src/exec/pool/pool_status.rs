//! How many workers a pool has, and what is told where none of them trains.

use std::collections::BTreeMap;

/// How many workers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Workers with nothing to do.
    pub idle: usize,
    /// Workers with a stage.
    pub busy: usize,
    /// Jobs whose workers have not come yet.
    pub coming: u64,
    /// Stages that no worker has yet.
    pub waiting: usize,
}

impl PoolStatus {
    /// Why nothing runs, in words; `reasons`: of jobs that wait, in the words of the batch system, with how many.
    pub(super) fn why_nothing_runs(&self, system: &str, reasons: &BTreeMap<&str, u64>) -> Option<String> {
        if self.busy > 0 || self.waiting == 0 || self.coming == 0 {
            return None;
        }
        let reasons: Vec<String> = reasons.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let why = if reasons.is_empty() {
            String::new()
        } else {
            format!(" ({system}: {})", reasons.join(", "))
        };
        let (waiting, coming) = (self.waiting, self.coming);
        Some(format!("{waiting} stages wait, {coming} workers are on their way{why}"))
    }
}
