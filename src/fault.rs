//! Faults on purpose: what `SANDBOX_FAIL` asks for, so that every way to fail can be tested through the real programs.
//!
//! Refuses to know how a fault is carried out. The text is a list with commas of `KIND@STAGE:STEP`, where `STAGE` is
//! the beginning of a stage's name or `*`, `STEP` may be `*` as well, and each fault comes in the first attempt at a stage only, or in the first
//! so many with `xN` behind it: `kill@*:20x2,oom@3fa9:1`.

use std::str::FromStr;

/// The variable of the environment that holds the list.
pub const VARIABLE: &str = "SANDBOX_FAIL";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The memory is full.
    OutOfMemory,
    /// The loss is not a number.
    NotANumber,
    /// The disk is full.
    DiskFull,
    /// The worker is killed before the step.
    Kill,
    /// The worker is killed between the write of a checkpoint and its rename.
    Torn,
    /// The worker says nothing any more.
    Hang,
    /// The step takes its time.
    Slow,
    /// The orchestrator is killed between the record of a launch and the launch.
    Unlaunched,
    /// The orchestrator is killed between the record of a result and what follows from it.
    Unfollowed,
}

impl Kind {
    const ALL: [(&str, Self); 9] = [
        ("oom", Self::OutOfMemory),
        ("nan", Self::NotANumber),
        ("enospc", Self::DiskFull),
        ("kill", Self::Kill),
        ("torn", Self::Torn),
        ("hang", Self::Hang),
        ("slow", Self::Slow),
        ("unlaunched", Self::Unlaunched),
        ("unfollowed", Self::Unfollowed),
    ];
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    kind: Kind,
    stage: String,
    /// None: every step.
    step: Option<u64>,
    attempts: u32,
}

/// The faults that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults(Vec<Fault>);

/// A list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no fault: write KIND@STAGE:STEP with a KIND of oom, nan, enospc, kill, torn, hang, slow, unlaunched, unfollowed"
)]
pub struct NoFault(String);

impl FromStr for Faults {
    type Err = NoFault;

    fn from_str(text: &str) -> Result<Self, NoFault> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts
            .map(|part| fault(part).ok_or_else(|| NoFault(part.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn fault(text: &str) -> Option<Fault> {
    let (kind, place) = text.split_once('@')?;
    let (_, kind) = Kind::ALL.into_iter().find(|(name, _)| *name == kind)?;
    let (stage, count) = place.split_once(':')?;
    let (step, attempts) = count.split_once('x').unwrap_or((count, "1"));
    Some(Fault {
        kind,
        stage: stage.trim_end_matches('*').to_owned(),
        step: match step {
            "*" => None,
            step => Some(step.parse().ok()?),
        },
        attempts: attempts.parse().ok()?,
    })
}

impl Faults {
    /// Whether the attempt at the stage is to fail in this way at this step.
    pub fn strikes(&self, kind: Kind, stage: &str, attempt: u32, step: u64) -> bool {
        self.0.iter().any(|fault| {
            fault.kind == kind
                && fault.step.is_none_or(|at| at == step)
                && attempt <= fault.attempts
                && stage.starts_with(&fault.stage)
        })
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_where_it_was_asked_for_and_nowhere_else() {
        let faults: Faults = "kill@*:20x2, oom@3fa9:1".parse().expect("two faults");
        assert!(faults.strikes(Kind::Kill, "any", 2, 20));
        assert!(!faults.strikes(Kind::Kill, "any", 3, 20));
        assert!(!faults.strikes(Kind::Kill, "any", 1, 21));
        assert!(faults.strikes(Kind::OutOfMemory, "3fa9bb", 1, 1));
        assert!(!faults.strikes(Kind::OutOfMemory, "4fa9bb", 1, 1));
        let slow: Faults = "slow@*:*x9".parse().expect("a fault");
        assert!(slow.strikes(Kind::Slow, "any", 9, 77) && !slow.strikes(Kind::Slow, "any", 10, 77));
        assert!("kill@5".parse::<Faults>().is_err());
        assert!("crash@*:5".parse::<Faults>().is_err());
    }
}
