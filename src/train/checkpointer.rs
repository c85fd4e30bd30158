//! States left behind inside a stage, so that an attempt that is lost costs no more than the last interval.
//!
//! Refuses to know when training stops and who removes old states.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sandbox::protocol::{Interval, Job, Line, Resume, resume_file};
use sandbox::units::Steps;

use crate::failure::Failure;
use crate::lines::Lines;
use crate::trainer::step::Trainer;
use crate::{checkpoint, fault_injection};

/// Writing states may take this share of the time at most.
const SHARE: f64 = 0.03;

pub(crate) struct Checkpointer<'a> {
    job: &'a Job,
    folder: PathBuf,
    /// Where the last state stands, left behind or started from.
    last: Steps,
    /// When it was written, or training began.
    since: Instant,
    /// How long the last one took to write.
    cost: Duration,
    began: Instant,
}

impl<'a> Checkpointer<'a> {
    /// A checkpointer for a job that starts from `from`.
    pub(crate) fn new(job: &'a Job, folder: PathBuf, from: Steps) -> Self {
        let now = Instant::now();
        Self {
            job,
            folder,
            last: from,
            since: now,
            cost: Duration::ZERO,
            began: now,
        }
    }

    /// Seconds of training so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Leaves a state behind if it is time; not at the stage's end, which has a state of its own.
    pub(crate) fn visit(&mut self, trainer: &Trainer, lines: &mut Lines) -> Result<(), Failure> {
        let is_due = match self.job.checkpoint_every {
            Interval::Steps(steps) => trainer.done.0 >= self.last.0 + steps.max(1),
            Interval::Seconds(seconds) => {
                self.since.elapsed().as_secs_f64() >= seconds.max(self.cost.as_secs_f64() / SHARE)
            }
        };
        if is_due && trainer.done < self.job.to {
            self.leave(trainer, lines)?;
        }
        Ok(())
    }

    /// Leaves a state behind, unless the last one is this one.
    pub(crate) fn leave(&mut self, trainer: &Trainer, lines: &mut Lines) -> Result<(), Failure> {
        if trainer.done == self.last {
            return Ok(());
        }
        let start = Instant::now();
        let path = self.folder.join(resume_file(trainer.done));
        let checkpoint = checkpoint::save(trainer, &self.job.stage.0, &path, &|| {
            fault_injection::before_rename(self.job, trainer.done);
        })?;
        self.last = trainer.done;
        self.since = Instant::now();
        self.cost = start.elapsed();
        lines.say(&Line::Left {
            resume: Resume {
                step: trainer.done,
                checkpoint,
            },
            seconds: self.seconds(),
        })
    }
}
