//! One worker as its orchestrator sees it: its folder, its sign of life, and the attempt that it has.
//!
//! Refuses to know the other workers, and what is done about one that is lost.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fs_err as fs;
use serde::de::DeserializeOwned;

use crate::exec::lines::{Lost, Written, read_from};
use crate::exec::pool::settings::Timeouts;
use crate::mailbox::{self, Beat, Bye, Hello, Leaving, Order};
use crate::protocol::{self, Cause, Line};
use crate::queue::{EndReason, Task, TaskId, TaskState};
use crate::units::StageId;

#[derive(Debug)]
pub(super) struct RemoteWorker {
    folder: PathBuf,
    /// The number that it has in the records.
    pub(super) number: usize,
    pub(super) hello: Hello,
    beat: Option<Beat>,
    /// When its sign of life changed last, by this side's clock.
    pub(super) heard: Instant,
    last_order: u64,
    pub(super) busy: Option<Busy>,
}

/// An attempt that a worker has.
#[derive(Debug)]
pub(super) struct Busy {
    pub(super) order: Order,
    lines: PathBuf,
    read_bytes: u64,
    /// When it said something last, or was begun.
    spoke: Instant,
    is_begun: bool,
    /// Whether it was asked to stop.
    pub(super) is_stopped: bool,
}

/// What the batch system said of a worker's task, and when it was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hint<'a> {
    pub(super) asked: Instant,
    /// What; none: it knows no such task any more.
    pub(super) task: Option<&'a Task>,
}

/// Whether a worker lives and works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// It lives, as far as can be told.
    Alive,
    /// It has left by itself.
    Left(Leaving),
    /// No sign of life for its lease.
    NoHeartbeat,
    /// It gives signs of life, and its lines stand still.
    Stalled,
    /// It gives signs of life, and does not begin with what it was given.
    NotStarting,
}

/// What a worker said since the last look.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) lines: Vec<Line>,
    /// Their bytes.
    pub(super) bytes: u64,
    /// What could not be understood.
    pub(super) garbled: Option<String>,
}

impl Said {
    /// Adds what was said behind it.
    pub(super) fn append(&mut self, later: Self) {
        self.lines.extend(later.lines);
        self.bytes += later.bytes;
        self.garbled = self.garbled.take().or(later.garbled);
    }

    /// Whether the attempt has ended by what was said.
    pub(super) fn has_ended(&self) -> bool {
        self.lines.last().is_some_and(Line::is_last)
    }
}

/// Reads a JSON file; none: it is not there, or no such thing (yet).
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> std::io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl RemoteWorker {
    /// The worker in a folder, once it has said who it is.
    pub(super) fn find(folder: PathBuf, number: usize, now: Instant) -> std::io::Result<Option<Self>> {
        let Some(hello) = read(&folder.join(mailbox::HELLO_FILE))? else {
            return Ok(None);
        };
        let mut worker = Self {
            number,
            hello,
            beat: None,
            heard: now,
            last_order: 0,
            busy: None,
            folder,
        };
        worker.last_order = worker.orders()?.last().map_or(0, |(order, _)| order.number);
        Ok(Some(worker))
    }

    /// The number that an earlier orchestrator has given to the worker in a folder.
    pub(super) fn number_in(folder: &Path) -> Option<usize> {
        fs::read_to_string(folder.join(mailbox::NUMBER_FILE))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Writes its number down, for the next orchestrator.
    pub(super) fn note_number(&self) -> std::io::Result<()> {
        fs::write(self.folder.join(mailbox::NUMBER_FILE), self.number.to_string())
    }

    /// Every order that it was ever given, with whether it was begun, in turn.
    pub(super) fn orders(&self) -> std::io::Result<Vec<(Order, bool)>> {
        let mut orders = Vec::new();
        for (name, is_begun) in [
            (mailbox::TAKEN, true),
            (mailbox::INBOX, false),
            (mailbox::CLOSED, false),
        ] {
            let entries = match fs::read_dir(self.folder.join(name)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let is_order = entry.file_name().to_str().and_then(mailbox::order_number).is_some();
                if is_order && let Some(order) = read::<Order>(&entry.path())? {
                    orders.push((order, is_begun));
                }
            }
        }
        // Taken between two looks: begun counts.
        orders.sort_by_key(|(order, is_begun)| (order.number, !is_begun));
        orders.dedup_by_key(|(order, _)| order.number);
        Ok(orders)
    }

    /// Its task in the batch system.
    pub(super) fn task(&self) -> Option<TaskId> {
        Some(TaskId {
            job: self.hello.job?,
            task: self.hello.task,
        })
    }

    /// Goes on with an order that an earlier orchestrator has given.
    pub(super) fn adopt(&mut self, order: Order, is_begun: bool, now: Instant) {
        self.busy = Some(Busy {
            lines: order.job.with_file_name(protocol::LINES_FILE),
            order,
            read_bytes: 0,
            spoke: now,
            is_begun,
            is_stopped: false,
        });
    }

    /// Gives it something to do; false: its inbox is closed.
    ///
    /// Where it is not certain whether the order has arrived, it counts as given: a worker that does not begin with it
    /// is found not to start, and only then the attempt may be given to another.
    pub(super) fn put(&mut self, stage: &StageId, attempt: u32, job: &Path, now: Instant) -> std::io::Result<bool> {
        let order = Order {
            number: self.last_order + 1,
            stage: stage.clone(),
            attempt,
            job: job.to_owned(),
        };
        let text = serde_json::to_vec(&order).map_err(std::io::Error::other)?;
        // Beside the inbox, which must not come into being again where it is closed.
        let made = self.folder.join("order.tmp");
        fs::write(&made, text)?;
        let inbox = self.folder.join(mailbox::INBOX);
        let file = mailbox::order_file(order.number);
        match fs::rename(&made, inbox.join(&file)) {
            // A rename that NFS has sent twice finds nothing the second time.
            Err(error) if error.kind() == ErrorKind::NotFound && !self.has_arrived(&file)? => return Ok(false),
            Ok(()) | Err(_) => {}
        }
        self.last_order = order.number;
        self.adopt(order, false, now);
        Ok(true)
    }

    /// Whether an order lies in one of the folders of a worker.
    fn has_arrived(&self, file: &str) -> std::io::Result<bool> {
        for name in [mailbox::INBOX, mailbox::TAKEN, mailbox::CLOSED] {
            if self.folder.join(name).join(file).try_exists()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks it to stop what it does.
    pub(super) fn stop(&mut self) -> std::io::Result<()> {
        match &mut self.busy {
            Some(busy) => {
                busy.is_stopped = true;
                fs::write(self.folder.join(mailbox::stop_file(busy.order.number)), "")
            }
            None => Ok(()),
        }
    }

    /// Closes its inbox: it begins nothing any more, and notices at its next sign of life.
    pub(super) fn close(&self) -> std::io::Result<()> {
        match fs::rename(self.folder.join(mailbox::INBOX), self.folder.join(mailbox::CLOSED)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes its order back where it has not begun with it: false where it may have. To be asked once its inbox is
    /// closed: then it never will. What is taken back lies nowhere any more, so that no later orchestrator finds it here.
    pub(super) fn withdraw(&self) -> std::io::Result<bool> {
        let Some(busy) = self.busy.as_ref().filter(|busy| !busy.is_begun) else {
            return Ok(false);
        };
        let file = mailbox::order_file(busy.order.number);
        if self.folder.join(mailbox::TAKEN).join(&file).try_exists()? {
            return Ok(false);
        }
        match fs::remove_file(self.folder.join(mailbox::CLOSED).join(&file)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(true),
        }
    }

    /// Whether it was given something and never began with anything: no worker at all, as far as work goes.
    pub(super) fn has_never_begun(&self) -> bool {
        self.last_order > 0 && self.beat.is_none_or(|beat| beat.taken == 0) && !self.has_begun()
    }

    /// Whether it has begun with what it was given last.
    pub(super) fn has_begun(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.is_begun)
    }

    /// Why it has left; none: it has not said so.
    pub(super) fn bye(&self) -> std::io::Result<Option<Leaving>> {
        Ok(read::<Bye>(&self.folder.join(mailbox::BYE_FILE))?.map(|bye| bye.why))
    }

    /// Its health. To be asked before its lines are read: what a dead worker said is in the file by then.
    pub(super) fn health(
        &mut self,
        now: Instant,
        hint: Option<Hint<'_>>,
        timeouts: &Timeouts,
    ) -> std::io::Result<Health> {
        let beat: Option<Beat> = read(&self.folder.join(mailbox::BEAT_FILE))?;
        if beat.is_some() && beat != self.beat {
            self.beat = beat;
            self.heard = now;
        } else if let Some(why) = self.bye()? {
            return Ok(Health::Left(why));
        }
        if let (Some(busy), Some(beat)) = (&mut self.busy, self.beat)
            && beat.taken >= busy.order.number
            && !busy.is_begun
        {
            busy.is_begun = true;
            busy.spoke = now;
        }
        let lease = if hint.is_some_and(|hint| hint.says_gone(self.heard)) {
            timeouts.short_lease
        } else {
            timeouts.lease
        };
        if now.duration_since(self.heard) > lease {
            return Ok(Health::NoHeartbeat);
        }
        // Before its first order a worker loads its libraries, on a busy file system for minutes.
        let has_loaded = self.beat.is_some_and(|beat| beat.taken > 0);
        let start = if has_loaded { timeouts.lease } else { timeouts.silence };
        Ok(match &self.busy {
            Some(busy) if busy.is_begun && now.duration_since(busy.spoke) > timeouts.silence => Health::Stalled,
            Some(busy) if !busy.is_begun && now.duration_since(busy.spoke) > start => Health::NotStarting,
            Some(_) | None => Health::Alive,
        })
    }

    /// What it said since the last look.
    pub(super) fn read_lines(&mut self, now: Instant) -> std::io::Result<Said> {
        let Some(busy) = &mut self.busy else {
            return Ok(Said::default());
        };
        let before = busy.read_bytes;
        let Written { lines, garbled } = read_from(&busy.lines, busy.order.attempt, &mut busy.read_bytes)?;
        if busy.read_bytes > before {
            busy.spoke = now;
            // A worker that writes lives.
            self.heard = now;
        }
        Ok(Said {
            lines,
            bytes: busy.read_bytes - before,
            garbled,
        })
    }

    /// Counts as heard later by a gap in which nobody looked.
    pub(super) fn excuse(&mut self, gap: std::time::Duration) {
        self.heard += gap;
        if let Some(busy) = &mut self.busy {
            busy.spoke += gap;
        }
    }

    /// How it went away.
    pub(super) fn lost(&self, health: &Health, hint: Option<Hint<'_>>) -> Lost {
        let gone = hint.and_then(Hint::gone);
        let told = gone
            .and_then(|task| task.exit)
            .and_then(|exit| protocol::cause_of_exit(exit.code));
        let why = gone.and_then(|task| match task.state {
            TaskState::Gone(why) => Some(why),
            TaskState::Queued | TaskState::Running | TaskState::Paused | TaskState::Unknown(_) => None,
        });
        let is_paused = hint
            .and_then(|hint| hint.task)
            .is_some_and(|task| task.state == TaskState::Paused);
        let (cause, what) = match health {
            Health::Stalled => (Cause::TimedOut, "it said nothing for too long".to_owned()),
            Health::Left(leaving) => (
                told.unwrap_or(Cause::WorkerLost),
                format!("it left without a last word: {}", leaving.text()),
            ),
            Health::NoHeartbeat if is_paused => (
                // What a site does to jobs is nobody's fault.
                Cause::Interrupted,
                "it gives no sign of life: its job is suspended".to_owned(),
            ),
            Health::NoHeartbeat | Health::NotStarting | Health::Alive => (
                told.or(why.map(EndReason::cause)).unwrap_or(Cause::WorkerLost),
                "it gives no sign of life".to_owned(),
            ),
        };
        let host = self.hello.node.as_ref().unwrap_or(&self.hello.host);
        let system = why.map_or(String::new(), |why| format!(" ({})", why.text()));
        let message = format!("worker {} on {host}: {what}{system}", self.number);
        Lost { cause, message }
    }
}

impl<'a> Hint<'a> {
    /// Whether the batch system, asked after the last sign of life, says that the task is gone.
    fn says_gone(self, heard: Instant) -> bool {
        self.asked > heard && self.task.is_none_or(|task| matches!(task.state, TaskState::Gone(_)))
    }

    fn gone(self) -> Option<&'a Task> {
        self.task.filter(|task| matches!(task.state, TaskState::Gone(_)))
    }
}

#[cfg(test)]
mod tests;
