//! One job: a stage trained from its beginning to its end, every step recorded.
//!
//! Refuses to know how jobs arrive and how they are stopped.

use std::path::{Path, PathBuf};

use sandbox::model::config::{DeviceKind, Precision, RunConfig};
use sandbox::model::shape::Shape;
use sandbox::protocol::{CHECKPOINT_FILE, Cause, Checkpoint, Job, Line, PROTOCOL, Point, Resume, Split};
use sandbox::units::Steps;
use tch::{Cuda, Device};

use crate::checkpointer::Checkpointer;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::lines::Lines;
use crate::loader::{Loader, TrainingLoader};
use crate::trainer::step::{NotFinite, Trainer};
use crate::{checkpoint, fault_injection, system};

/// Version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The prepared data that was read last, kept open for the next job.
#[derive(Default)]
pub(crate) struct Shelf {
    open: Option<(PathBuf, Loader)>,
}

impl Shelf {
    /// The prepared data in a folder, opened only if it is another one than last time.
    fn loader(&mut self, folder: &Path) -> Result<&Loader, Failure> {
        let open = match self.open.take() {
            Some((path, loader)) if path == folder => (path, loader),
            Some(_) | None => (folder.to_owned(), Loader::open(folder)?),
        };
        Ok(&self.open.insert(open).1)
    }
}

enum End {
    Complete { seconds: f64 },
    Diverged { step: u64 },
    Stopped,
}

/// How the evaluation ended.
enum Evaluated {
    Complete,
    /// The last update made a model whose loss is not finite.
    NotFinite,
    Stopped,
}

/// Does the job and says its last line but the failures'; `stopped` is asked before every step.
pub(crate) fn perform(
    job: &Job,
    folder: &Path,
    lines: &mut Lines,
    shelf: &mut Shelf,
    stopped: &dyn Fn() -> bool,
) -> Result<(), Failure> {
    let mut clock = Clock::new();
    let device = check(job)?;
    system::reset_peak();
    tch::set_num_threads(i32::try_from(job.config.numerics.threads).unwrap_or(i32::MAX));
    let loader = shelf.loader(&job.data)?;
    let training = loader.training(&job.config)?;
    let (mut trainer, unusable) = begin(job, device)?;
    lines.say(&Line::Started {
        from: trainer.done,
        unusable,
        process: system::process(),
        host: system::host(),
        device: system::describe(device),
        libtorch: Some(system::libtorch_version()),
    })?;
    clock.lap(|spent| &mut spent.load);
    let mut checkpointer = Checkpointer::new(job, folder.to_owned(), trainer.done);
    let course = Course {
        job,
        loader: &training,
        stopped,
    };
    let last = match course.train(&mut trainer, lines, &mut checkpointer, &mut clock)? {
        End::Diverged { step } => Line::Diverged { step },
        End::Stopped => hand_back(&trainer, lines, &mut checkpointer)?,
        End::Complete { seconds } => match evaluate(&mut trainer, loader, job.eval_windows, lines, stopped)? {
            Evaluated::NotFinite => Line::Diverged { step: trainer.done.0 },
            Evaluated::Stopped => hand_back(&trainer, lines, &mut checkpointer)?,
            Evaluated::Complete => {
                clock.lap(|spent| &mut spent.evaluation);
                let checkpoint = keep(&trainer, job, folder)?;
                clock.lap(|spent| &mut spent.checkpoint);
                Line::Finished {
                    checkpoint,
                    seconds,
                    peak_bytes: system::peak_bytes(device),
                    spent: Some(clock.spent()),
                }
            }
        },
    };
    lines.say(&last)
}

/// The state to train on from: the newest that an earlier attempt left and that is whole, else the stage's beginning.
///
/// Also says which states could not be used.
fn begin(job: &Job, device: Device) -> Result<(Trainer, Vec<String>), Failure> {
    let mut unusable = Vec::new();
    for resume in &job.resume {
        match checkpoint::load(&resume.checkpoint, &job.config, resume.step, device) {
            Ok(trainer) => return Ok((trainer, unusable)),
            Err(failure) if failure.cause == Cause::DamagedCheckpoint => unusable.push(failure.message),
            Err(failure) => return Err(failure),
        }
    }
    let trainer = match &job.parent {
        Some(parent) => checkpoint::load(parent, &job.config, job.from, device)?,
        None => Trainer::new(&job.config, device),
    };
    Ok((trainer, unusable))
}

/// Leaves what was done so far behind for the next attempt.
fn hand_back(trainer: &Trainer, lines: &mut Lines, checkpointer: &mut Checkpointer<'_>) -> Result<Line, Failure> {
    checkpointer.leave(trainer, lines)?;
    Ok(Line::Stopped {
        seconds: checkpointer.seconds(),
    })
}

/// Refuses jobs that this worker would do wrongly; gives the device.
fn check(job: &Job) -> Result<Device, Failure> {
    let config = &job.config;
    if job.protocol != PROTOCOL || job.version != VERSION {
        return Err(Failure::refused(format!(
            "the job is of version {} (protocol {}), this worker of {VERSION} (protocol {PROTOCOL}): build both programs together",
            job.version, job.protocol
        )));
    }
    let device = system::device(&job.device).map_err(Failure::refused)?;
    if device.is_cuda() != (config.numerics.device == DeviceKind::Cuda) {
        return Err(Failure::refused(format!(
            "the trial is planned for another kind of device than `{}`",
            job.device
        )));
    }
    if config.precision == Precision::Bfloat16 && !device.is_cuda() {
        return Err(Failure::refused(
            "bfloat16 needs a CUDA device; on a CPU use `precision: float32`",
        ));
    }
    let Shape {
        width,
        layers,
        heads,
        kv_heads,
        head_dim: _,
        d_ff,
    } = config.shape;
    if Shape::new(width, layers, heads, kv_heads, d_ff) != Ok(config.shape) {
        return Err(Failure::refused(format!("{:?} is no shape", config.shape)));
    }
    let tokens = config.batch_tokens.0;
    if config.context == 0 || tokens == 0 || !tokens.is_multiple_of(config.context) {
        return Err(Failure::refused(format!(
            "a batch of {tokens} tokens is no whole number of sequences of {}",
            config.context
        )));
    }
    let numerics = config.numerics;
    if numerics.threads == 0 || numerics.micro_batch == 0 {
        return Err(Failure::refused("threads and micro_batch must be at least 1"));
    }
    let is_inside = |resume: &Resume| (job.from..=job.to).contains(&resume.step);
    if job.from > job.to || (job.parent.is_none() && job.from != Steps(0)) || !job.resume.iter().all(is_inside) {
        return Err(Failure::refused(format!(
            "the stage goes from step {} to {} and its parent does not lead there",
            job.from.0, job.to.0
        )));
    }
    Ok(device)
}

/// What is trained, on what, and until when.
struct Course<'a> {
    job: &'a Job,
    loader: &'a TrainingLoader<'a>,
    stopped: &'a dyn Fn() -> bool,
}

impl Course<'_> {
    /// Trains up to the job's end.
    fn train(
        &self,
        trainer: &mut Trainer,
        lines: &mut Lines,
        checkpointer: &mut Checkpointer<'_>,
        clock: &mut Clock,
    ) -> Result<End, Failure> {
        let device = trainer.model.device();
        while trainer.done < self.job.to {
            if (self.stopped)() {
                return Ok(End::Stopped);
            }
            if fault_injection::before_step(self.job, trainer.done, self.stopped)? {
                return Ok(End::Diverged { step: trainer.done.0 });
            }
            let batch = self.loader.batch(&trainer.config, trainer.done, device);
            clock.lap(|spent| &mut spent.data);
            let measured = match trainer.step(&batch) {
                Ok(measured) => measured,
                Err(NotFinite) => {
                    return Ok(End::Diverged { step: trainer.done.0 });
                }
            };
            clock.lap(|spent| &mut spent.step);
            lines.say(&Line::Point(Point {
                step: trainer.done.0,
                split: Split::train(),
                loss: measured.loss,
                lr: Some(measured.lr),
                grad_norm: Some(measured.grad_norm),
                bits_per_byte: None,
            }))?;
            clock.lap(|spent| &mut spent.lines);
            checkpointer.visit(trainer, lines)?;
            clock.lap(|spent| &mut spent.checkpoint);
        }
        if let Device::Cuda(index) = device {
            Cuda::synchronize(i64::try_from(index).unwrap_or(0));
        }
        Ok(End::Complete {
            seconds: checkpointer.seconds(),
        })
    }
}

/// Loss on the first `windows` windows of each held-out set.
fn evaluate(
    trainer: &mut Trainer,
    loader: &Loader,
    windows: u64,
    lines: &mut Lines,
    stopped: &dyn Fn() -> bool,
) -> Result<Evaluated, Failure> {
    for set in loader.held_out() {
        let windows = windows.min(loader.windows(&set, trainer.config.context)?);
        // A set without a whole window has no loss.
        if windows == 0 {
            continue;
        }
        let Some(loss) = held_out_loss(trainer, loader, &set, windows, stopped)? else {
            return Ok(Evaluated::Stopped);
        };
        if !loss.is_finite() {
            return Ok(Evaluated::NotFinite);
        }
        lines.say(&Line::Point(Point {
            step: trainer.done.0,
            loss,
            lr: None,
            grad_norm: None,
            bits_per_byte: loader.bits_per_byte(&set, loss),
            split: set,
        }))?;
    }
    Ok(Evaluated::Complete)
}

/// Mean loss in nats per token over the first windows of a set; none if it was stopped.
fn held_out_loss(
    trainer: &mut Trainer,
    loader: &Loader,
    set: &Split,
    windows: u64,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<f64>, Failure> {
    let RunConfig { context, numerics, .. } = trainer.config;
    let (mut sum, mut first) = (0.0, 0);
    while first < windows {
        if stopped() {
            return Ok(None);
        }
        let end = windows.min(first + numerics.micro_batch);
        let batch = loader.held_out_batch(set, first..end, context, trainer.model.device())?;
        sum += trainer.loss_sum(&batch);
        first = end;
    }
    Ok(Some(sum / (windows * context) as f64))
}

/// Leaves the state behind where a later stage needs it.
fn keep(trainer: &Trainer, job: &Job, folder: &Path) -> Result<Option<Checkpoint>, Failure> {
    if !job.keep_state {
        return Ok(None);
    }
    let path = folder.join(CHECKPOINT_FILE);
    checkpoint::save(trainer, &job.stage.0, &path, &|| {
        fault_injection::before_rename(job, trainer.done);
    })
    .map(Some)
}

/// Reads the job in a file.
pub(crate) fn read(path: &Path) -> Result<Job, Failure> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(
            Cause::Refused,
            format!("{} is not a job of this version: {error}", path.display()),
        )
    })
}

/// The number of the attempt that a job asks for, whatever else it says.
pub(crate) fn attempt(path: &Path) -> Result<u32, Failure> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        attempt: u32,
    }
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text)
        .map(|Numbered { attempt }| attempt)
        .map_err(|error| Failure::new(Cause::Refused, format!("{} is not a job: {error}", path.display())))
}
