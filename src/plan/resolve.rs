//! From what was asked to what is trained: units become steps, defaults become numbers.

use crate::model::config::{ADAM_EPS, DeviceKind, Numerics, Optimizer, RunConfig};
use crate::model::data_info::{self, DataInfo};
use crate::model::schedule::{Form, Schedule};
use crate::spec::{ScheduleName, Settings};
use crate::units::{Steps, Tokens};

/// What the plan may assume of the machine; every field changes bits, so nothing else may decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// The kind of device that trains.
    pub device: DeviceKind,
    /// Threads of a worker, where the sweep says so.
    pub threads: Option<u64>,
}

/// From this size on a worker gets two threads.
///
/// By measurement both ways do the same work: two threads of one worker do 1.98 to 2.04 times one from nano to 9M
/// (`experiments/bench/2026-11-25-cpu.json`), two workers of one thread 1.97 to 2.0 times. Many small stages fill a
/// machine with one thread each; a large one is rather done sooner, and holds its memory half as long.
const TWO_THREADS_FROM_PARAMS: u64 = 3_000_000;

/// The most tokens in one forward pass, unless the sweep says otherwise: activations of more do not fit the caches.
const FORWARD_TOKENS: u64 = 8192;

/// Why a trial cannot be trained as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A step trains on whole sequences.
    #[error("batch_tokens {batch} is not a multiple of context {context}")]
    Batch {
        /// Tokens in a batch.
        batch: u64,
        /// Tokens in a sequence.
        context: u64,
    },
    /// Not one step fits.
    #[error("{tokens} tokens are less than one batch of {batch}")]
    TooShort {
        tokens: u64,
        /// Tokens in a batch.
        batch: u64,
    },
    /// The warm-up leaves nothing.
    #[error(
        "the warm-up of {warmup} steps leaves nothing of a run of {steps} steps; shorten `schedule.warmup` or raise `tokens`"
    )]
    WarmUp {
        warmup: u64,
        /// Steps of the run.
        steps: u64,
    },
    /// The data does not hold one window.
    #[error("data `{data}` has {tokens} training tokens, fewer than one window of context {context}")]
    DataTooSmall {
        data: String,
        tokens: u64,
        /// Tokens in a sequence.
        context: u64,
    },
    /// No final loss could be measured.
    #[error(
        "data `{data}` has {tokens} tokens in `{set}`, fewer than one window of context {context}: there would be no final loss; hold out more of it, or shorten `context`"
    )]
    HeldOutTooSmall {
        data: String,
        set: String,
        tokens: u64,
        /// Tokens in a sequence.
        context: u64,
    },
    /// bfloat16 needs a card.
    #[error("precision bfloat16 needs a CUDA device; this machine trains on its processor")]
    Precision,
}

/// Resolves one trial: its configuration and its number of steps.
pub fn resolve(settings: &Settings, data: &DataInfo, machine: Machine) -> Result<(RunConfig, Steps), ResolveError> {
    let batch = settings.batch_tokens.0;
    let context = settings.context;
    if batch == 0 || context == 0 || !batch.is_multiple_of(context) {
        return Err(ResolveError::Batch { batch, context });
    }
    if data.train_windows(context) == 0 {
        return Err(ResolveError::DataTooSmall {
            data: data.name.clone(),
            tokens: data.train_tokens.0,
            context,
        });
    }
    if let Some((set, tokens)) = data.held_out.first()
        && data_info::windows(*tokens, context) == 0
    {
        return Err(ResolveError::HeldOutTooSmall {
            data: data.name.clone(),
            set: set.clone(),
            tokens: tokens.0,
            context,
        });
    }
    if settings.precision == crate::model::config::Precision::Bfloat16 && machine.device == DeviceKind::Cpu {
        return Err(ResolveError::Precision);
    }
    let asked = settings.tokens.resolve(settings.shape.params_non_embedding());
    let steps = whole_steps(asked, batch);
    if steps == 0 {
        return Err(ResolveError::TooShort { tokens: asked.0, batch });
    }
    let schedule = schedule(settings, Tokens(steps * batch), batch);
    if schedule.warmup.0 >= steps {
        return Err(ResolveError::WarmUp {
            warmup: schedule.warmup.0,
            steps,
        });
    }
    let optimizer = Optimizer {
        lr: settings.lr,
        weight_decay: settings.weight_decay,
        beta1: settings.beta1,
        beta2: settings.beta2,
        eps: ADAM_EPS,
        clip: settings.clip,
    };
    let config = RunConfig {
        shape: settings.shape,
        vocab: data.vocab,
        context,
        parametrization: settings.parametrization,
        multipliers: settings.multipliers,
        optimizer,
        batch_tokens: settings.batch_tokens,
        schedule,
        seed: settings.seed,
        data_hash: data.hash.clone(),
        precision: settings.precision,
        numerics: numerics(settings, machine),
        #[cfg(test)]
        of_a_test: settings.of_a_test,
    };
    Ok((config, Steps(steps)))
}

/// The nearest whole number of steps.
fn whole_steps(tokens: Tokens, batch: u64) -> u64 {
    (tokens.as_f64() / batch as f64).round() as u64
}

fn schedule(settings: &Settings, total: Tokens, batch: u64) -> Schedule {
    let asked = &settings.schedule;
    let end = Steps(total.0 / batch);
    let warmup = Steps(whole_steps(asked.warmup.resolve(total), batch));
    let final_fraction = asked.final_fraction;
    let form = match asked.name {
        ScheduleName::Constant => Form::Constant,
        ScheduleName::Cosine => Form::Cosine { end, final_fraction },
        ScheduleName::Linear => Form::Linear { end, final_fraction },
        ScheduleName::Wsd => {
            // At least one step decays, and the decay never eats into the warm-up.
            let decay = ((asked.decay_fraction * end.as_f64()).round() as u64).clamp(1, end.0);
            let decay_start = Steps((end.0 - decay).max(warmup.0.min(end.0)));
            Form::Wsd {
                decay_start,
                end,
                decay: asked.decay,
                final_fraction,
            }
        }
    };
    Schedule { warmup, form }
}

fn numerics(settings: &Settings, machine: Machine) -> Numerics {
    let large = settings.shape.params_non_embedding().0 >= TWO_THREADS_FROM_PARAMS;
    let threads = match machine.device {
        DeviceKind::Cpu => machine.threads.unwrap_or(if large { 2 } else { 1 }),
        DeviceKind::Cuda => 1,
    };
    let sequences = settings.batch_tokens.0 / settings.context;
    let fitting = (FORWARD_TOKENS / settings.context).clamp(1, sequences);
    Numerics {
        device: machine.device,
        threads,
        micro_batch: settings.micro_batch.unwrap_or(fitting).min(sequences),
    }
}
