//! Tests of the whole training: small models on random tokens, on the CPU.

mod coordinates;
mod fused;
mod fused_backend;
mod granite;
mod jobs;
mod training;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sandbox::model::config::{DeviceKind, Numerics, Optimizer, Precision, RunConfig};
use sandbox::model::mup::{Multipliers, Parametrization};
use sandbox::model::schedule::{Form, Schedule};
use sandbox::model::shape::Shape;
use sandbox::units::{Steps, Tokens};
use tch::Tensor;

use crate::trainer::model::Batch;

/// A run of a small shape with a constant learning rate; tests change what they are about.
pub(crate) fn config(width: u64, layers: u64, heads: u64) -> RunConfig {
    RunConfig {
        shape: Shape::new(width, layers, heads, heads, width * 5 / 2).expect("a shape"),
        vocab: 64,
        context: 16,
        parametrization: Parametrization::Mup,
        multipliers: Multipliers::default(),
        optimizer: Optimizer {
            lr: 0.01,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            clip: 1.0,
        },
        batch_tokens: Tokens(64),
        schedule: Schedule {
            warmup: Steps(0),
            form: Form::Constant,
        },
        seed: 1,
        data_hash: String::new(),
        precision: Precision::Float32,
        numerics: Numerics {
            device: DeviceKind::Cpu,
            threads: 1,
            micro_batch: 4,
        },
    }
}

/// Random tokens for one batch of a run.
pub(crate) fn batch(config: &RunConfig, seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = config.sequences() * (config.context + 1);
    let tokens: Vec<i64> = (0..count)
        .map(|_| rng.random_range(0..i64::try_from(config.vocab).expect("small")))
        .collect();
    Batch::from_windows(&tokens, config.context, tch::Device::Cpu)
}

/// The largest absolute value of a tensor.
pub(crate) fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}
