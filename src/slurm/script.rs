//! What is submitted: arguments of `sbatch` and the script of a worker, from a profile and numbers.
//!
//! Refuses to know whether it is submitted, and by whom.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::mailbox;
use crate::slurm::parse::Site;
use crate::spec::profile::Profile;

/// Seconds before the end of its time at which a worker is told to hand its stage back.
pub const NOTICE: u64 = 120;

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
    /// How many.
    pub workers: u64,
    /// Number of the first submission.
    pub first: u64,
    /// The worker's program and the arguments before those that the pool adds.
    pub program: &'a [OsString],
}

/// One call of `sbatch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its number in the pool.
    pub number: u64,
    /// What it is found by: it travels in the comment of the job.
    pub key: String,
    /// Workers in it.
    pub tasks: u64,
    /// Arguments of `sbatch` before the script's path.
    pub args: Vec<OsString>,
    /// Where the script belongs.
    pub path: PathBuf,
    /// The script.
    pub script: Vec<u8>,
}

/// What cannot be submitted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScriptError {
    /// Slurm cannot write into such a folder.
    #[error(
        "`{0}` cannot hold the output of Slurm jobs: Slurm gives a backslash, and a line break, a meaning of its own; use another --home"
    )]
    Path(PathBuf),
    /// The folder depends on who reads it.
    #[error("`{0}` is no absolute path: name the folder from the root on")]
    Relative(PathBuf),
    /// The key would not survive.
    #[error("`{0}` cannot name a pool: use letters, digits, `.`, `-` and `_`")]
    Name(String),
}

/// The submissions for so many workers: arrays of at most the site's size.
pub fn submissions(wanted: &Wanted<'_>, site: &Site) -> Result<Vec<Submission>, ScriptError> {
    check(wanted)?;
    // 0 switches arrays off: then each worker is a job of its own.
    let most = site.max_array.max(1);
    let mut left = wanted.workers;
    let mut sizes = Vec::new();
    while left > 0 {
        sizes.push(left.min(most));
        left -= left.min(most);
    }
    // What may run at once is shared out among the arrays.
    let at_once = wanted.profile.max_workers.max(1);
    let mut before = 0;
    let submissions = sizes.into_iter().zip(wanted.first..).map(|(tasks, number)| {
        let share = |tasks: u64| u128::from(at_once) * u128::from(tasks) / u128::from(wanted.workers);
        let throttle = share(before + tasks) - share(before);
        before += tasks;
        let throttle = u64::try_from(throttle).unwrap_or(u64::MAX).max(1);
        submission(wanted, number, tasks, (throttle < tasks).then_some(throttle))
    });
    Ok(submissions.collect())
}

fn check(wanted: &Wanted<'_>) -> Result<(), ScriptError> {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if wanted.pool.is_empty() || !wanted.pool.bytes().all(name_byte) {
        return Err(ScriptError::Name(wanted.pool.to_owned()));
    }
    if !wanted.folder.is_absolute() {
        return Err(ScriptError::Relative(wanted.folder.to_owned()));
    }
    let bytes = wanted.folder.as_os_str().as_bytes();
    if bytes.iter().any(|byte| b"\\\n\r".contains(byte)) {
        return Err(ScriptError::Path(wanted.folder.to_owned()));
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

fn submission(wanted: &Wanted<'_>, number: u64, tasks: u64, throttle: Option<u64>) -> Submission {
    let profile = wanted.profile;
    let key = key(wanted.pool, number);
    let mut args: Vec<OsString> = vec!["--parsable".into(), format!("--job-name={JOB_NAME}").into()];
    args.push(format!("--comment={key}").into());
    if tasks > 1 {
        let throttle = throttle.map_or(String::new(), |most| format!("%{most}"));
        args.push(format!("--array=0-{}{throttle}", tasks - 1).into());
    }
    for fixed in ["--no-requeue", "--open-mode=append", "--nodes=1", "--ntasks=1"] {
        args.push(fixed.into());
    }
    args.push(format!("--signal=B:USR2@{NOTICE}").into());
    args.push(with_path("--chdir=", wanted.folder));
    let name = format!("{}/{number}_{}.out", mailbox::OUT, if tasks > 1 { "%a" } else { "0" });
    let mut output = escaped(wanted.folder.as_os_str());
    output.push("/");
    output.push(name);
    args.push(with_path("--output=", Path::new(&output)));
    let cpus = profile.cpus.map(|cpus| cpus.to_string());
    let time = profile.time.map(|time| time.as_secs().div_ceil(60).to_string());
    let gpus = profile.gpus.as_ref().map(|gpus| format!("gpu:{gpus}"));
    for (option, value) in [
        ("partition", &profile.partition),
        ("account", &profile.account),
        ("qos", &profile.qos),
        ("time", &time),
        ("gres", &gpus),
        ("cpus-per-task", &cpus),
        ("mem", &profile.memory),
        ("constraint", &profile.constraint),
    ] {
        args.extend(
            value
                .as_ref()
                .map(|value| OsString::from(format!("--{option}={value}"))),
        );
    }
    args.extend(profile.sbatch.iter().map(OsString::from));
    Submission {
        number,
        key,
        tasks,
        args,
        path: wanted.folder.join(mailbox::SCRIPTS).join(format!("{number}.sh")),
        script: script(wanted, number),
    }
}

fn with_path(option: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(option);
    argument.push(path);
    argument
}

/// A path in which Slurm finds nothing to replace.
fn escaped(path: &OsStr) -> OsString {
    let mut bytes = Vec::new();
    for &byte in path.as_bytes() {
        bytes.push(byte);
        if byte == b'%' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

/// The script of a worker.
fn script(wanted: &Wanted<'_>, number: u64) -> Vec<u8> {
    let profile = wanted.profile;
    let mut text = b"#!/bin/bash\n".to_vec();
    for line in &profile.setup {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    // In place of the shell, so that Slurm's signals reach the worker itself.
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
        let mut text = b"sbatch".to_vec();
        for word in self.args.iter().map(OsString::as_os_str).chain([self.path.as_os_str()]) {
            text.push(b' ');
            text.extend_from_slice(&quoted(word));
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(max_array: u64) -> Site {
        Site {
            max_array,
            ..Site::default()
        }
    }

    fn of(profile: &Profile, folder: &str, workers: u64, max_array: u64) -> Result<Vec<Submission>, ScriptError> {
        let program = ["/opt/sandbox-worker".into(), "serve".into()];
        let wanted = Wanted {
            profile,
            folder: Path::new(folder),
            pool: "g1",
            workers,
            first: 3,
            program: &program,
        };
        submissions(&wanted, &site(max_array))
    }

    fn array(submission: &Submission) -> Option<&str> {
        let mut args = submission.args.iter().filter_map(|arg| arg.to_str());
        args.find_map(|arg| arg.strip_prefix("--array="))
    }

    #[test]
    fn a_submission_reads_as_it_should() {
        let profile = Profile {
            partition: Some("gpu".to_owned()),
            gpus: Some("a100:1".to_owned()),
            time: Some(std::time::Duration::from_secs(5401)),
            setup: vec!["module load cuda".to_owned()],
            sbatch: vec!["--exclude=n[1-2]".to_owned()],
            ..Profile::default()
        };
        let made = of(&profile, "/sh/a b%c's", 2, 1001).expect("submissions");
        assert_eq!(
            made[0].command_line(),
            "sbatch --parsable --job-name=sandbox-worker --comment=sandbox:g1:3 --array=0-1 --no-requeue \
             --open-mode=append --nodes=1 --ntasks=1 --signal=B:USR2@120 '--chdir=/sh/a b%c'\\''s' \
             '--output=/sh/a b%%c'\\''s/out/3_%a.out' --partition=gpu --time=91 --gres=gpu:a100:1 \
             '--exclude=n[1-2]' '/sh/a b%c'\\''s/scripts/3.sh'"
        );
        assert_eq!(
            String::from_utf8_lossy(&made[0].script),
            "#!/bin/bash\nmodule load cuda\nexec /opt/sandbox-worker serve --inbox '/sh/a b%c'\\''s' --submission 3 \
             --idle 300 --time-limit $((SECONDS < 5401 ? 5401 - SECONDS : 0))\n"
        );
    }

    #[test]
    fn what_slurm_would_misread_is_refused() {
        let profile = Profile::default();
        assert!(matches!(of(&profile, "/a\\b", 1, 9), Err(ScriptError::Path(_))));
        assert!(matches!(of(&profile, "a/b", 1, 9), Err(ScriptError::Relative(_))));
        assert_eq!(number_of("sandbox:g1:3", "g1"), Some(3));
        for other in ["sandbox:g12:3", "sandbox:g1", "sandbox:g1:x", "(null)", ""] {
            assert_eq!(number_of(other, "g1"), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn chunks_add_up_and_keep_to_the_site_and_the_throttle(
            workers in 0u64..5000, max_array in 0u64..1200, max_workers in 1u64..6000,
        ) {
            let profile = Profile { max_workers, ..Profile::default() };
            let made = of(&profile, "/p", workers, max_array).expect("submissions");
            prop_assert_eq!(made.iter().map(|s| s.tasks).sum::<u64>(), workers);
            let mut at_once = 0;
            for (index, submission) in made.iter().enumerate() {
                prop_assert!(submission.tasks >= 1 && submission.tasks <= max_array.max(1));
                prop_assert_eq!(submission.number, 3 + index as u64);
                let throttle = array(submission).and_then(|it| it.split_once('%')).map(|(_, most)| most.parse::<u64>());
                at_once += throttle.transpose().expect("a number").unwrap_or(submission.tasks);
            }
            prop_assert!(at_once <= max_workers.max(made.len() as u64));
        }

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
