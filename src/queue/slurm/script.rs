//! What is submitted to Slurm: the arguments of `sbatch`, from a profile and numbers.
//!
//! Refuses to know whether it is submitted, and by whom.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::mailbox;
use crate::queue::Site;
use crate::queue::script::{JOB_NAME, ScriptError, Submission, Wanted, arrays, check, key, worker_script};

/// Seconds before the end of its time at which a worker is told to hand its stage back.
pub const NOTICE: u64 = 120;

/// The submissions for so many workers: arrays of at most the site's size.
pub fn submissions(wanted: &Wanted<'_>, site: &Site) -> Result<Vec<Submission>, ScriptError> {
    check(wanted)?;
    let bytes = wanted.folder.as_os_str().as_bytes();
    if bytes.iter().any(|byte| b"\\\n\r".contains(byte)) {
        return Err(ScriptError::Path(wanted.folder.to_owned()));
    }
    let submissions = arrays(wanted, site).into_iter().zip(wanted.first..);
    Ok(submissions
        .map(|((tasks, throttle), number)| submission(wanted, number, tasks, throttle))
        .collect())
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
        program: "sbatch",
        args,
        path: wanted.folder.join(mailbox::SCRIPTS).join(format!("{number}.sh")),
        script: worker_script(wanted, number),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::profile::Profile;

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
    }
}
