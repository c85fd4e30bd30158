//! From what the sweep, the machine and earlier attempts say to the scheduler's limits and tasks.
//!
//! Refuses to know what is decided with them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::card;
use crate::model::config::DeviceKind;
use crate::model::memory;
use crate::plan::StagePlan;
use crate::protocol::{Cause, Interval};
use crate::run::context::Context;
use crate::run::planning::Planned;
use crate::run::train::attempt::Attempt;
use crate::run::train::request::Request;
use crate::sched::{Device, Limits, Task};
use crate::spec::{DEFAULT_RETRIES, Sweep};
use crate::stage::{StageKind, StageState};
use crate::store::rate_key;
use crate::units::StageId;

/// How often a state is left behind inside a stage, unless the sweep says otherwise.
const CHECKPOINT_SECONDS: f64 = 60.0;

/// How long a worker may say nothing, unless the sweep says otherwise.
const SILENCE: Duration = Duration::from_hours(1);

/// Times in a row that a site may take the worker of a stage away before it has done anything for it.
const INTERRUPTED_MOST: u32 = 10;

/// Share of the free memory that workers may take.
const MEMORY_SHARE: f64 = 0.9;

/// Workers that share a card, where its memory is known and nobody says otherwise: small proxies leave a card idle
/// between their kernels, and more than a few of them only wait for each other.
const CARD_WORKERS: u64 = 4;

/// Workers at once, where somebody has said so.
fn workers(planned: &Planned, request: &Request) -> Option<u64> {
    request.workers.or(planned.sweep.resources.workers)
}

/// What the scheduler may use; `at_work`: workers that have a stage already.
pub(super) fn limits(context: &Context, planned: &Planned, request: &Request, at_work: usize) -> Limits {
    let workers = workers(planned, request);
    let devices = match (&request.cluster, context.device) {
        // Cores, cards and memory are the cluster's affair.
        (Some(cluster), _) => vec![Device {
            slots: cluster.workers().min(workers.unwrap_or(u64::MAX)).max(at_work as u64),
            bytes: None,
        }],
        (None, DeviceKind::Cpu) => vec![Device {
            slots: workers.unwrap_or(context.cores),
            bytes: context.memory.map(|bytes| (bytes as f64 * MEMORY_SHARE) as u64),
        }],
        (None, DeviceKind::Cuda) => cards(
            context.gpus.max(1),
            &card::free_bytes(),
            planned.sweep.resources.gpus,
            workers,
        ),
    };
    Limits {
        devices,
        retries: retries(planned, request),
        default_retries: DEFAULT_RETRIES,
        fail_fast: request.fail_fast,
    }
}

/// Cards with the `free` bytes of each, as far as they are known.
///
/// `share`: what a worker takes of a card, `workers`: how many run at once in all, where somebody has said so. Else
/// memory decides, and where nobody knows that either, a card has one worker.
fn cards(count: usize, free: &[u64], share: Option<f64>, workers: Option<u64>) -> Vec<Device> {
    let card = |index: usize| {
        let bytes = free.get(index).map(|bytes| (*bytes as f64 * MEMORY_SHARE) as u64);
        let by_default = if bytes.is_some() { CARD_WORKERS } else { 1 };
        let by_share = share.map_or(by_default, |share| (1.0 / share).floor().max(1.0) as u64);
        Device {
            slots: workers.map_or(by_share, |workers| workers.div_ceil(count as u64)),
            bytes,
        }
    };
    (0..count).map(card).collect()
}

/// Attempts after a fault: the command's word, else the sweep's, else what makes sense for the cause.
fn retries(planned: &Planned, request: &Request) -> BTreeMap<Cause, u32> {
    let mut retries: BTreeMap<Cause, u32> = [Cause::DiskFull, Cause::Data, Cause::Refused]
        .into_iter()
        .map(|hopeless| (hopeless, 0))
        .collect();
    retries.insert(Cause::Interrupted, INTERRUPTED_MOST);
    // Halving the micro-batch ends by itself.
    retries.insert(Cause::OutOfMemory, u32::MAX);
    for &cause in Cause::ALL {
        let asked = planned.sweep.retry.get(cause.name());
        if let Some(asked) = request.retry.get(&cause).or(asked) {
            retries.insert(cause, *asked);
        }
    }
    retries
}

/// How long a worker may say nothing.
pub(super) fn silence(sweep: &Sweep) -> Duration {
    let seconds = sweep.resources.timeout_seconds;
    seconds.map_or(SILENCE, Duration::from_secs_f64)
}

/// How often states are left behind inside a stage.
pub(super) fn interval(planned: &Planned, stage: &StagePlan) -> Interval {
    let resources = &planned.sweep.resources;
    match resources.checkpoint_tokens {
        Some(tokens) => Interval::Steps(tokens.div_ceil(stage.config.batch_tokens.0).max(1)),
        None => Interval::Seconds(resources.checkpoint_seconds.unwrap_or(CHECKPOINT_SECONDS)),
    }
}

/// The stages as the scheduler sees them: with what each holds up.
///
/// `attempts`: how often each was tried and how often its memory was full; `peaks`: bytes that were measured, by
/// [`rate_key`]; `at_work`: the attempts that workers make already.
pub(super) fn tasks(
    stages: &[StagePlan],
    planned: &Planned,
    attempts: &BTreeMap<StageId, (u32, u32)>,
    peaks: &BTreeMap<String, u64>,
    request: &Request,
    at_work: &BTreeMap<StageId, Attempt>,
) -> Vec<Task> {
    let count_workers = workers(planned, request).is_some() || request.cluster.is_some();
    let ours: BTreeMap<&StageId, &StagePlan> = stages.iter().map(|stage| (&stage.id, stage)).collect();
    let mut longest: BTreeMap<&StageId, f64> = BTreeMap::new();
    // Parents stand before children, so the way back sees every child first.
    for stage in stages.iter().rev() {
        let path = stage.flops() + longest.get(&stage.id).copied().unwrap_or(0.0);
        longest.insert(&stage.id, path);
        if let Some(parent) = stage.parent.as_ref().and_then(|parent| ours.get(parent)) {
            let behind = longest.entry(&parent.id).or_default();
            *behind = behind.max(path);
        }
    }
    let task = |stage: &StagePlan| {
        let numerics = stage.config.numerics;
        let (attempts, halvings) = attempts.get(&stage.id).copied().unwrap_or_default();
        let running = at_work.get(&stage.id).map(|attempt| attempt.number);
        Task {
            stage: stage.id.clone(),
            parent: stage.parent.clone().filter(|parent| ours.contains_key(parent)),
            slots: if count_workers || numerics.device == DeviceKind::Cuda {
                1
            } else {
                numerics.threads
            },
            bytes: peaks
                .get(&rate_key(&stage.config))
                .copied()
                .unwrap_or_else(|| memory::worker_bytes(&stage.config)),
            path_flops: longest[&stage.id],
            flops: stage.flops(),
            is_decay: stage.kind == StageKind::Decay,
            attempts: running.unwrap_or(attempts),
            halvings,
            halvings_max: numerics.micro_batch.ilog2(),
            remake: planned.known.state(&stage.id) == StageState::Complete,
            is_running: running.is_some(),
        }
    };
    stages.iter().map(task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_whose_memory_is_known_takes_several_workers_unless_somebody_says_otherwise() {
        let slots = |free: &[u64], share, workers| -> Vec<u64> {
            cards(2, free, share, workers).iter().map(|card| card.slots).collect()
        };
        assert_eq!(slots(&[], None, None), [1, 1]);
        assert_eq!(slots(&[1 << 30, 1 << 30], None, None), [CARD_WORKERS; 2]);
        assert_eq!(slots(&[1 << 30, 1 << 30], Some(0.5), None), [2, 2]);
        assert_eq!(slots(&[1 << 30, 1 << 30], Some(0.5), Some(6)), [3, 3]);
        assert_eq!(cards(1, &[1000], None, None)[0].bytes, Some(900));
    }
}
