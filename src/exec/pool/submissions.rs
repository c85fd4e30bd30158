//! What a pool has submitted: recorded before it is submitted, so that nothing is submitted twice unnoticed.
//!
//! Refuses to know how it is submitted.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::mailbox;
use crate::queue::script::Submission;
use crate::workdir::write_atomic;

/// A submission as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) number: u64,
    /// What its job is found by.
    pub(super) key: String,
    pub(super) tasks: u64,
}

/// The records of a pool.
#[derive(Debug, Clone)]
pub(super) struct Submissions {
    pool: PathBuf,
}

impl Submissions {
    /// The submissions in the folder of a pool.
    pub(super) fn new(pool: &Path) -> Self {
        Self { pool: pool.to_owned() }
    }

    fn file(&self, number: u64, ending: &str) -> PathBuf {
        self.pool.join(mailbox::SUBMISSIONS).join(format!("{number}.{ending}"))
    }

    /// Records that this is about to be submitted, and writes its script.
    pub(super) fn intend(&self, submission: &Submission) -> std::io::Result<()> {
        fs::create_dir_all(self.pool.join(mailbox::OUT))?;
        write_atomic(&submission.path, &submission.script)?;
        let intent = Intent {
            number: submission.number,
            key: submission.key.clone(),
            tasks: submission.tasks,
        };
        let text = serde_json::to_vec_pretty(&intent).map_err(std::io::Error::other)?;
        write_atomic(&self.file(submission.number, "json"), &text)
    }

    /// Records the job that came of it.
    pub(super) fn accepted(&self, number: u64, job: u64) -> std::io::Result<()> {
        write_atomic(&self.file(number, "job"), job.to_string().as_bytes())
    }

    /// Records that every job was cancelled.
    pub(super) fn settled(&self) -> std::io::Result<()> {
        fs::write(self.pool.join(mailbox::SETTLED), "")
    }

    /// Everything that was ever intended, with its job where one is known.
    pub(super) fn entries(&self) -> std::io::Result<Vec<(Intent, Option<u64>)>> {
        let folder = match fs::read_dir(self.pool.join(mailbox::SUBMISSIONS)) {
            Ok(folder) => folder,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut entries = Vec::new();
        for entry in folder {
            let path = entry?.path();
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let intent: Intent = serde_json::from_slice(&fs::read(&path)?).map_err(std::io::Error::other)?;
            let job = fs::read_to_string(self.file(intent.number, "job")).ok();
            entries.push((intent, job.and_then(|job| job.trim().parse().ok())));
        }
        entries.sort_by_key(|(intent, _)| intent.number);
        Ok(entries)
    }
}
