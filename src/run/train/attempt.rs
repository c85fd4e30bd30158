//! What a worker's lines mean for the log and the tables, whoever reads them: the run that launched the attempt, or
//! the next one, which finds it.
//!
//! Refuses to know workers and what is done next. Pure but for the paths that it makes portable.

use std::path::PathBuf;

use crate::exec::Lost;
use crate::protocol::{Cause, Checkpoint, Line, Point, Resume, Split};
use crate::sched::Outcome;
use crate::stage::StageEvent;
use crate::store::{Entry, Said, StageDetail};
use crate::units::{StageId, Steps};
use crate::workdir::Workdir;

/// States inside a stage that are kept: the newest, and the one before in case it is damaged.
const KEPT: usize = 2;

/// One attempt, as it is heard.
#[derive(Debug)]
pub(super) struct Attempt {
    workdir: Workdir,
    pub(super) stage: StageId,
    /// Which attempt at the stage, from 1.
    pub(super) number: u32,
    /// States inside the stage, the newest first.
    kept: Vec<Resume>,
    /// Whether the worker's first line was taken in by an earlier orchestrator.
    is_started: bool,
    /// The newest state that one has taken in.
    newest: Option<Steps>,
    /// Steps done before the attempt's first, once its worker has said so.
    pub(super) from: Option<Steps>,
    /// Steps done at the last point.
    pub(super) step: Option<u64>,
    /// Bytes of what the worker was told and said.
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// For the database, in order.
    pub(super) said: Vec<Said>,
    /// Files that nothing needs once that is written.
    pub(super) unneeded: Vec<PathBuf>,
    /// The last word, if it came.
    pub(super) last: Option<Line>,
}

impl Heard {
    /// The newest measurement of the training in it.
    pub(super) fn newest_point(&self) -> Option<&Point> {
        let points = self.said.iter().flat_map(|said| match said {
            Said::Points(points) => points.as_slice(),
            Said::Entry(_) => &[],
        });
        points.rev().find(|point| point.split == Split::train())
    }
}

impl Attempt {
    /// Of an attempt at a stage whose states on disk are `kept`, the newest first.
    pub(super) fn new(workdir: &Workdir, stage: StageId, number: u32, kept: Vec<Resume>) -> Self {
        Self {
            workdir: workdir.clone(),
            stage,
            number,
            kept,
            is_started: false,
            newest: None,
            from: None,
            step: None,
            bytes: 0,
        }
    }

    /// The same where an earlier orchestrator has heard its beginning: what was written down is not written again.
    /// Points are another matter: the database takes each once.
    pub(super) fn heard_before(self, is_started: bool, newest: Option<Steps>) -> Self {
        Self {
            is_started,
            newest,
            ..self
        }
    }

    pub(super) fn hear(&mut self, lines: Vec<Line>) -> Heard {
        let mut heard = Heard::default();
        let mut points = Vec::new();
        for line in lines {
            match line {
                Line::Point(point) => {
                    self.step = Some(point.step);
                    points.push(point);
                    continue;
                }
                Line::Started { .. } | Line::Left { .. } => {}
                Line::Diverged { .. } | Line::Finished { .. } | Line::Failed { .. } | Line::Stopped { .. } => {
                    heard.last = Some(line);
                    continue;
                }
            }
            // The log's entries stand among the points as they were said.
            if !points.is_empty() {
                heard.said.push(Said::Points(std::mem::take(&mut points)));
            }
            self.enter(line, &mut heard);
        }
        if !points.is_empty() {
            heard.said.push(Said::Points(points));
        }
        heard
    }

    fn enter(&mut self, line: Line, heard: &mut Heard) {
        let (stage, attempt) = (self.stage.clone(), self.number);
        match line {
            Line::Started {
                from,
                unusable,
                process,
                host,
                device,
                libtorch,
            } => {
                self.from = Some(from);
                if std::mem::replace(&mut self.is_started, true) {
                    return;
                }
                heard.said.push(Said::Entry(Entry::Started {
                    stage,
                    attempt,
                    from: Some(from),
                    process,
                    host,
                    device,
                    libtorch,
                }));
                let is_unusable = |resume: &Resume| resume.step > from;
                self.forget(&is_unusable, &unusable.join("; "), heard);
            }
            Line::Left { resume, .. } if self.newest.is_some_and(|newest| resume.step <= newest) => {}
            Line::Left { resume, seconds } => {
                let recorded = Resume {
                    step: resume.step,
                    checkpoint: Checkpoint {
                        path: self.workdir.recorded(&resume.checkpoint.path),
                        ..resume.checkpoint
                    },
                };
                self.kept.insert(0, recorded.clone());
                heard.said.push(Said::Entry(Entry::Left {
                    stage,
                    attempt,
                    resume: recorded,
                    seconds,
                }));
                if let Some(oldest) = self.kept.get(KEPT - 1).map(|resume| resume.step) {
                    self.forget(&|resume| resume.step < oldest, "there are newer ones", heard);
                }
            }
            Line::Point(_)
            | Line::Diverged { .. }
            | Line::Finished { .. }
            | Line::Failed { .. }
            | Line::Stopped { .. } => {}
        }
    }

    /// Notes that some of the states are not kept any longer.
    fn forget(&mut self, which: &dyn Fn(&Resume) -> bool, why: &str, heard: &mut Heard) {
        let (gone, kept) = std::mem::take(&mut self.kept).into_iter().partition(which);
        self.kept = kept;
        self.drop_states(&gone, why, heard);
    }

    fn drop_states(&self, gone: &[Resume], why: &str, heard: &mut Heard) {
        if gone.is_empty() {
            return;
        }
        heard.said.push(Said::Entry(Entry::Dropped {
            stage: self.stage.clone(),
            steps: gone.iter().map(|resume| resume.step).collect(),
            why: why.to_owned(),
        }));
        let paths = gone.iter().map(|resume| self.workdir.resolved(&resume.checkpoint.path));
        heard.unneeded.extend(paths);
    }

    /// The states inside the stage, which nothing needs once it has its result.
    pub(super) fn states(&self) -> impl Iterator<Item = PathBuf> {
        self.kept
            .iter()
            .map(|resume| self.workdir.resolved(&resume.checkpoint.path))
    }

    /// Whether the attempt has brought its stage forward.
    pub(super) fn has_moved(&self) -> bool {
        self.step.zip(self.from).is_some_and(|(step, from)| step > from.0)
    }

    /// How the attempt ended, from its last word or from the way its worker went away; none: it goes on.
    pub(super) fn ending(&self, last: Option<Line>, lost: Option<Lost>) -> Option<(Outcome, StageDetail)> {
        let empty = StageDetail {
            step: self.step.or(self.from.map(|from| from.0)),
            bytes: Some(self.bytes),
            ..StageDetail::default()
        };
        let fault = |cause, message: String, seconds| {
            let detail = StageDetail {
                cause: Some(cause),
                message: Some(message),
                seconds,
                ..empty.clone()
            };
            (Outcome::Faulted(cause), detail)
        };
        Some(match (last, lost) {
            (
                Some(Line::Finished {
                    checkpoint,
                    seconds,
                    peak_bytes,
                    spent,
                }),
                _,
            ) => {
                let checkpoint = checkpoint.map(|it| Checkpoint {
                    path: self.workdir.recorded(&it.path),
                    ..it
                });
                let detail = StageDetail {
                    checkpoint,
                    seconds: Some(seconds),
                    peak_bytes,
                    spent,
                    ..empty
                };
                (Outcome::Completed, detail)
            }
            (Some(Line::Diverged { step }), _) => {
                let detail = StageDetail {
                    step: Some(step),
                    ..empty
                };
                (Outcome::Diverged, detail)
            }
            (Some(Line::Failed { cause, message }), _) => fault(cause, message, None),
            (Some(Line::Stopped { seconds }), _) => {
                fault(Cause::Interrupted, "stopped when asked to".to_owned(), Some(seconds))
            }
            (Some(Line::Started { .. } | Line::Point(_) | Line::Left { .. }) | None, Some(lost)) => {
                fault(lost.cause, lost.message, None)
            }
            (Some(Line::Started { .. } | Line::Point(_) | Line::Left { .. }) | None, None) => return None,
        })
    }
}

/// The event of an outcome.
pub(super) fn event_of(outcome: Outcome, attempt: u32) -> StageEvent {
    match outcome {
        Outcome::Completed => StageEvent::Completed { attempt },
        Outcome::Diverged => StageEvent::Diverged { attempt },
        Outcome::Faulted(_) => StageEvent::Faulted { attempt },
    }
}
