//! Carries out the faults that `SANDBOX_FAIL` asks a worker for.
//!
//! Refuses to know what is trained.

use std::sync::OnceLock;
use std::time::Duration;

use sandbox::fault::{Faults, Kind, VARIABLE};
use sandbox::protocol::{Cause, Job};
use sandbox::units::Steps;

use crate::failure::Failure;

/// How long a slow step takes, beside its work.
const SLOW: Duration = Duration::from_millis(20);

/// What the environment asks for; a list that cannot be read was refused by the orchestrator.
fn faults() -> &'static Faults {
    static FAULTS: OnceLock<Faults> = OnceLock::new();
    FAULTS.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a worker has no command line of its own for it"
        )]
        let text = std::env::var(VARIABLE).unwrap_or_default();
        text.parse().unwrap_or_default()
    })
}

/// Fails before the step that follows `done` if it is to; true: the loss is not a number.
pub(crate) fn before_step(job: &Job, done: Steps, stopped: &dyn Fn() -> bool) -> Result<bool, Failure> {
    if faults().is_empty() {
        return Ok(false);
    }
    let strikes = |kind| faults().strikes(kind, &job.stage.0, job.attempt, done.0);
    if strikes(Kind::Kill) {
        die();
    }
    while strikes(Kind::Hang) && !stopped() {
        std::thread::sleep(Duration::from_millis(10));
    }
    if strikes(Kind::Slow) {
        std::thread::sleep(SLOW);
    }
    if strikes(Kind::OutOfMemory) {
        return Err(Failure::from_message("provoked: out of memory"));
    }
    if strikes(Kind::DiskFull) {
        return Err(Failure::new(Cause::DiskFull, "provoked: no space left on device"));
    }
    Ok(strikes(Kind::NotANumber))
}

/// Dies between the write of a state and its rename if it is to.
pub(crate) fn before_rename(job: &Job, done: Steps) {
    if faults().strikes(Kind::Torn, &job.stage.0, job.attempt, done.0) {
        die();
    }
}

/// Ends as one that is killed: at once, without a word.
fn die() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
    std::process::abort()
}
