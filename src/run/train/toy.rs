//! The toy trainer: a worker that answers from a planted law in no time, so that everything around training can be
//! tested end to end, and a fit must give the planted constants back.
//!
//! Speaks the same language as `sandbox-worker`. Its rows say `trainer = toy`, and no law takes them without being
//! told to.

use std::io::{BufRead as _, Write as _};
use std::path::Path;

use fs_err as fs;
use serde::Deserialize;

use crate::mailbox::Leaving;
use crate::model::config::RunConfig;
use crate::model::data_info::DataInfo;
use crate::model::schedule::Form;
use crate::protocol::{CHECKPOINT_FILE, Checkpoint, Job, LINES_FILE, Line, Point, Process, Split, write_line};
use crate::run::context::{VERSION, host_name};
use crate::units::Steps;
use crate::workdir::write_whole;
use crate::worker_mailbox::{Call, Mailbox};

/// Irreducible loss of the planted law, nats per token.
pub const E: f64 = 1.5;
/// Coefficient of the size.
pub const A: f64 = 40.0;
/// Exponent of the size.
pub const ALPHA: f64 = 0.40;
/// Coefficient of the tokens.
pub const B: f64 = 90.0;
/// Exponent of the tokens.
pub const BETA: f64 = 0.35;
/// The best learning rate, at every size: muP holds in the planted world.
pub const LR: f64 = 0.01;
/// What a learning rate that is off by a factor e costs, nats.
pub const LR_CURVATURE: f64 = 0.05;
/// Above this learning rate the toy diverges.
pub const LR_EDGE: f64 = 0.2;
/// What a learning rate that is still at its peak costs, nats.
const UNDECAYED: f64 = 0.15;
/// The best batch after a million tokens, in tokens, while the learning rate is at its peak.
pub const BATCH: f64 = 4000.0;
/// Its exponent in tokens.
pub const BATCH_EXPONENT: f64 = 0.5;
/// What a batch that is off by a factor e costs along a run, nats; a finished run has made up for it, so that runs of
/// one batch show the law of loss exactly.
const BATCH_CURVATURE: f64 = 0.005;
/// Points that a stage records, at most, beside its last.
const POINTS: u64 = 1000;

/// What is planted beside the law of loss, for tests; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Planted {
    /// ln of what the best learning rate at 100,000 parameters and 1M tokens is to [`LR`].
    shift: f64,
    /// Exponents of the best learning rate in parameters, tokens and batch (about [`BATCH`]).
    by_size: f64,
    by_tokens: f64,
    by_batch: f64,
    /// What a batch that is off the best by a factor e costs at the end of a run, nats.
    batch_cost: f64,
    /// What a cosine costs at the end of a run, nats.
    cosine_cost: f64,
    /// How much steeper the loss rises above the best rate than below, as a share.
    skew: f64,
    /// The standard deviation of a final loss, nats.
    noise: f64,
}

impl Planted {
    /// From a JSON object with some of the fields.
    fn of(text: Option<&str>) -> std::io::Result<Self> {
        text.map_or_else(
            || Ok(Self::default()),
            |text| serde_json::from_str(text).map_err(std::io::Error::other),
        )
    }

    /// ln of the best learning rate.
    fn ln_lr(&self, params: f64, tokens: f64, batch: f64) -> f64 {
        let Self {
            shift,
            by_size,
            by_tokens,
            by_batch,
            ..
        } = self;
        LR.ln()
            + shift
            + by_size * (params / 1e5).ln()
            + by_tokens * (tokens / 1e6).ln()
            + by_batch * (batch / BATCH).ln()
    }

    /// What is added to the loss at the end of a run.
    fn at_the_end(&self, config: &RunConfig, off_batch: f64) -> f64 {
        let cosine = match config.schedule.form {
            Form::Cosine { .. } => self.cosine_cost,
            Form::Constant | Form::Wsd { .. } | Form::Linear { .. } => 0.0,
        };
        cosine + self.batch_cost * off_batch * off_batch + self.noise * noise_of(config)
    }
}

/// A number of the standard normal distribution (to a sum of twelve) that is a run's own.
fn noise_of(config: &RunConfig) -> f64 {
    let text = serde_json::to_string(config).unwrap_or_default();
    let hash = blake3::hash(text.as_bytes());
    let uniform = |pair: &[u8]| f64::from(u16::from_le_bytes([pair[0], pair[1]])) / 65_535.0;
    hash.as_bytes().chunks(2).take(12).map(uniform).sum::<f64>() - 6.0
}

/// The loss of the planted law after `done` steps.
pub fn loss(config: &RunConfig, done: Steps, planted: &Planted) -> f64 {
    let params = config.shape.params_non_embedding().as_f64();
    let tokens = config.tokens_at(done).as_f64().max(1.0);
    let law = E + A / params.powf(ALPHA) + B / tokens.powf(BETA);
    let batch = config.batch_tokens.as_f64();
    let off = config.optimizer.lr.ln() - planted.ln_lr(params, tokens, batch);
    let off = if off > 0.0 { off * (1.0 + planted.skew) } else { off };
    let end = match config.schedule.form {
        Form::Constant => None,
        Form::Wsd { end, .. } | Form::Cosine { end, .. } | Form::Linear { end, .. } => Some(end),
    };
    let decayed = end == Some(done);
    let best = BATCH * (tokens / 1e6).powf(BATCH_EXPONENT);
    let off_batch = (batch / best).ln();
    law + LR_CURVATURE * off * off
        + if decayed {
            planted.at_the_end(config, off_batch)
        } else {
            (UNDECAYED + BATCH_CURVATURE * off_batch * off_batch) * config.schedule.factor(done)
        }
}

/// Answers jobs until the orchestrator is gone.
pub fn serve(call: &Call, planted: Option<&str>) -> std::io::Result<()> {
    let planted = Planted::of(planted)?;
    if call.is_of_a_pool() {
        return serve_pool(call, &planted);
    }
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line != "stop" {
            answer(Path::new(&line), &planted)?;
        }
    }
    Ok(())
}

/// Answers the jobs of a pool.
fn serve_pool(call: &Call, planted: &Planted) -> std::io::Result<()> {
    let Some(mut inbox) = Mailbox::join(call, VERSION, &host_name())? else {
        return Ok(());
    };
    while let Some(path) = inbox.next_job() {
        if let Err(error) = answer(&path, planted) {
            inbox.leave(Leaving::Failed);
            return Err(error);
        }
    }
    Ok(())
}

fn answer(path: &Path, planted: &Planted) -> std::io::Result<()> {
    let job: Job = serde_json::from_str(&fs::read_to_string(path)?).map_err(std::io::Error::other)?;
    let mut text = Vec::new();
    for line in lines(&job, path, planted)? {
        write_line(&mut text, job.attempt, &line)?;
    }
    fs::write(path.with_file_name(LINES_FILE), text)?;
    // The bell: somebody may be waiting for it.
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(b"\n")?;
    stdout.flush()
}

fn lines(job: &Job, path: &Path, planted: &Planted) -> std::io::Result<Vec<Line>> {
    let mut lines = vec![Line::Started {
        from: job.from,
        unusable: Vec::new(),
        process: Process::of(std::process::id(), &|path| fs::read_to_string(path).ok()),
        host: host_name(),
        device: "toy".to_owned(),
        libtorch: None,
    }];
    let every = ((job.to.0 - job.from.0) / POINTS).max(1);
    for step in (job.from.0 + 1..=job.to.0).filter(|step| step % every == 0 || *step == job.to.0) {
        if job.config.optimizer.lr > LR_EDGE {
            lines.push(Line::Diverged { step });
            return Ok(lines);
        }
        lines.push(Line::Point(Point {
            step,
            split: Split::train(),
            loss: loss(&job.config, Steps(step), planted),
            lr: Some(job.config.lr_at(Steps(step - 1))),
            grad_norm: Some(1.0),
            bits_per_byte: None,
        }));
    }
    let info: DataInfo = crate::data::manifest::Manifest::read(&job.data)
        .map_err(std::io::Error::other)?
        .info();
    for (name, _) in &info.held_out {
        let loss = loss(&job.config, job.to, planted);
        lines.push(Line::Point(Point {
            step: job.to.0,
            split: Split(name.clone()),
            loss,
            lr: None,
            grad_norm: None,
            bits_per_byte: info.bits_per_byte(name, loss),
        }));
    }
    let checkpoint = if job.keep_state { Some(leave_state(path)?) } else { None };
    lines.push(Line::Finished {
        checkpoint,
        seconds: 1e-3,
        peak_bytes: None,
        spent: None,
    });
    Ok(lines)
}

/// The toy's state is its position, which the job knows.
fn leave_state(path: &Path) -> std::io::Result<Checkpoint> {
    let path = path.with_file_name(CHECKPOINT_FILE);
    write_whole(&path, b"toy")?;
    Ok(Checkpoint {
        path,
        hash: blake3::hash(b"toy").to_hex().to_string(),
        bytes: 3,
    })
}
