//! What is submitted, whatever the batch system: how many workers in which job, the key of each, the script of a worker.
//!
//! Refuses to know the arguments of the command that submits, and who runs it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::queue::Site;
use crate::spec::profile::Profile;

/// Name of all workers' jobs.
pub const JOB_NAME: &str = "sandbox-worker";

/// Workers that are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What each asks for.
    pub profile: &'a Profile,
    /// The pool's folder, absolute.
    pub folder: &'a Path,
    /// Name of the pool: letters, digits, `.`, `-` and `_`.
    pub pool: &'a str,
    pub workers: u64,
    /// Number of the first submission.
    pub first: u64,
    /// The worker's program and the arguments before those that the pool adds.
    pub program: &'a [OsString],
}

/// One call of the command that submits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its number in the pool.
    pub number: u64,
    /// What it is found by: it travels in the comment of the job.
    pub key: String,
    pub tasks: u64,
    /// The command: `sbatch`.
    pub program: &'static str,
    /// Its arguments before the script's path.
    pub args: Vec<OsString>,
    /// Where the script belongs.
    pub path: PathBuf,
    pub script: Vec<u8>,
}

/// What cannot be submitted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScriptError {
    /// The batch system cannot write into such a folder.
    #[error(
        "`{0}` cannot hold the output of jobs: a backslash, or a line break, in it means something else there; use another --home"
    )]
    Path(PathBuf),
    /// The folder depends on who reads it.
    #[error("`{0}` is no absolute path: name the folder from the root on")]
    Relative(PathBuf),
    /// The key would not survive.
    #[error("`{0}` cannot name a pool: use letters, digits, `.`, `-` and `_`")]
    Name(String),
}

/// Workers in each submission of so many, in arrays of at most the site's size, with how many of them may run at once.
pub fn arrays(wanted: &Wanted<'_>, site: &Site) -> Vec<(u64, Option<u64>)> {
    // 0 switches arrays off: then each worker is a job of its own.
    let most = site.max_array.max(1);
    let full = wanted.workers / most;
    let rest = wanted.workers % most;
    let sizes = (0..full).map(|_| most).chain((rest > 0).then_some(rest));
    // What may run at once is shared out among the arrays.
    let at_once = wanted.profile.max_workers.max(1);
    let mut before = 0;
    let throttled = sizes.map(|tasks| {
        let share = |tasks: u64| u128::from(at_once) * u128::from(tasks) / u128::from(wanted.workers);
        let throttle = share(before + tasks) - share(before);
        before += tasks;
        let throttle = u64::try_from(throttle).unwrap_or(u64::MAX).max(1);
        (tasks, (throttle < tasks).then_some(throttle))
    });
    throttled.collect()
}

/// Whether the pool's name travels unharmed, and its folder means the same everywhere.
pub fn check(wanted: &Wanted<'_>) -> Result<(), ScriptError> {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if wanted.pool.is_empty() || !wanted.pool.bytes().all(name_byte) {
        return Err(ScriptError::Name(wanted.pool.to_owned()));
    }
    if !wanted.folder.is_absolute() {
        return Err(ScriptError::Relative(wanted.folder.to_owned()));
    }
    Ok(())
}

/// What a submission is found by.
pub fn key(pool: &str, number: u64) -> String {
    format!("sandbox:{pool}:{number}")
}

/// The number of the submission of this pool that a comment names.
pub fn number_of(comment: &str, pool: &str) -> Option<u64> {
    let rest = comment.strip_prefix("sandbox:")?.strip_prefix(pool)?;
    rest.strip_prefix(':')?.parse().ok()
}

/// The script of a worker.
pub fn worker_script(wanted: &Wanted<'_>, number: u64) -> Vec<u8> {
    let profile = wanted.profile;
    let mut text = b"#!/bin/bash\n".to_vec();
    for line in &profile.setup {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    // In place of the shell, so that signals to the job reach the worker itself.
    text.extend_from_slice(b"exec");
    let idle = profile.idle.as_secs().to_string();
    let number = number.to_string();
    let mut words: Vec<&OsStr> = wanted.program.iter().map(OsString::as_os_str).collect();
    words.extend(["--inbox".as_ref(), wanted.folder.as_os_str()]);
    words.extend(["--submission", &number, "--idle", &idle].map(OsStr::new));
    for word in words {
        text.push(b' ');
        text.extend_from_slice(&quoted(word));
    }
    if let Some(limit) = profile.time.map(|time| time.as_secs()) {
        // Without what the lines above took.
        let left = format!(" --time-limit $((SECONDS < {limit} ? {limit} - SECONDS : 0))");
        text.extend_from_slice(left.as_bytes());
    }
    text.push(b'\n');
    text
}

/// A word as the shell reads it back, whatever stands in it.
pub fn quoted(word: &OsStr) -> Vec<u8> {
    let bytes = word.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+=./:,@".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return bytes.to_vec();
    }
    let mut text = vec![b'\''];
    for &byte in bytes {
        match byte {
            b'\'' => text.extend_from_slice(b"'\\''"),
            _ => text.push(byte),
        }
    }
    text.push(b'\'');
    text
}

impl Submission {
    /// The call as a person would type it.
    pub fn command_line(&self) -> String {
        let mut text = self.program.as_bytes().to_vec();
        for word in self.args.iter().map(OsString::as_os_str).chain([self.path.as_os_str()]) {
            text.push(b' ');
            text.extend_from_slice(&quoted(word));
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_belongs_to_one_pool() {
        assert_eq!(number_of(&key("g1", 3), "g1"), Some(3));
        for other in ["sandbox:g12:3", "sandbox:g1", "sandbox:g1:x", "(null)", ""] {
            assert_eq!(number_of(other, "g1"), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn the_shell_reads_back_what_was_quoted(words in proptest::collection::vec("[^\0]{0,12}", 1..4)) {
            let mut script = b"printf '%s\\0'".to_vec();
            for word in &words {
                script.push(b' ');
                script.extend_from_slice(&quoted(OsStr::new(word)));
            }
            let output = std::process::Command::new("bash").arg("-c").arg(OsString::from_vec(script)).output();
            let stdout = output.expect("bash").stdout;
            let expected: Vec<u8> = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
            prop_assert_eq!(stdout, expected);
        }
    }
}
