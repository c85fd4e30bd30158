//! The coordinate check of muP (Yang et al., Tensor Programs V, appendix D.1): how much a few steps change activations
//! and logits must not depend on the width.
//!
//! Changes, not values: at the start both parametrisations look alike wherever initialisation is scaled. Refuses to
//! judge.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sandbox::model::config::{ADAM_EPS, DeviceKind, Numerics, Optimizer, Precision, RunConfig};
use sandbox::model::mup::{Multipliers, Parametrization};
use sandbox::model::schedule::{Form, Schedule};
use sandbox::model::shape::Shape;
use sandbox::recipe::Coordinates;
use sandbox::units::{Steps, Tokens};
use tch::{Device, Tensor, no_grad};

use crate::failure::Failure;
use crate::trainer::model::Batch;
use crate::trainer::step::Trainer;

/// The widths, eightfold from the first to the last.
pub(crate) const WIDTHS: [u64; 4] = [64, 128, 256, 512];
/// How many steps have been done when the changes are measured.
pub(crate) const STEPS: [u64; 3] = [1, 4, 10];
/// A rate at which the standard parametrisation shows its growth and muP shows none.
const LR: f64 = 3e-4;

/// Measures with muP; the worst over the numbers of steps.
pub(crate) fn measure(multipliers: Multipliers) -> Result<Coordinates, Failure> {
    let mut found = Coordinates {
        widths: [WIDTHS[0], WIDTHS[WIDTHS.len() - 1]],
        stream: 1.0,
        logits: 1.0,
    };
    for changes in changes(Parametrization::Mup, multipliers)? {
        let [stream, logits] = spread(&changes);
        found.stream = found.stream.max(stream);
        found.logits = found.logits.max(logits);
    }
    Ok(found)
}

/// For each number of steps and each width, the change of the stream after the last layer and of the logits.
pub(crate) fn changes(
    parametrization: Parametrization,
    multipliers: Multipliers,
) -> Result<Vec<Vec<[f64; 2]>>, Failure> {
    let mut changes = vec![Vec::new(); STEPS.len()];
    for width in WIDTHS {
        let run = config(width, parametrization, multipliers)?;
        let batch = batch(&run);
        let mut trainer = Trainer::new(&run, Device::Cpu);
        let before = observe(&trainer, &batch);
        let last = before.len() - 1;
        for (steps, changes) in STEPS.iter().zip(&mut changes) {
            while trainer.done.0 < *steps {
                trainer
                    .step(&batch)
                    .map_err(|error| Failure::from_message(format!("{error:?}")))?;
            }
            let after = observe(&trainer, &batch);
            changes.push([last - 1, last].map(|which| rms(&(&after[which] - &before[which]))));
        }
    }
    Ok(changes)
}

/// How many times larger the largest of the changes is than the smallest, for the stream and for the logits.
pub(crate) fn spread(changes: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|which| {
        let values = changes.iter().map(|change| change[which]);
        values.clone().fold(0.0, f64::max) / values.fold(f64::INFINITY, f64::min)
    })
}

/// A run of two layers with a constant learning rate.
fn config(width: u64, parametrization: Parametrization, multipliers: Multipliers) -> Result<RunConfig, Failure> {
    let heads = width / 32;
    let shape = Shape::new(width, 2, heads, heads, width * 5 / 2);
    Ok(RunConfig {
        shape: shape.map_err(|error| Failure::from_message(error.to_string()))?,
        vocab: 64,
        context: 16,
        parametrization,
        multipliers,
        optimizer: Optimizer {
            lr: LR,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            eps: ADAM_EPS,
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
    })
}

/// Random tokens, the same for every width.
fn batch(config: &RunConfig) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let count = config.sequences() * (config.context + 1);
    let tokens: Vec<i64> = (0..count)
        .map(|_| i64::from(rng.random_range(0..u32::try_from(config.vocab).unwrap_or(u32::MAX))))
        .collect();
    Batch::from_windows(&tokens, config.context, Device::Cpu)
}

/// The residual stream before each layer and after the last, then the logits.
fn observe(trainer: &Trainer, batch: &Batch) -> Vec<Tensor> {
    no_grad(|| {
        let mut seen = Vec::new();
        let logits = trainer
            .model
            .trace(&batch.inputs, &mut |stream| seen.push(stream.copy()));
        seen.push(logits);
        seen
    })
}

/// Root mean square of a tensor.
fn rms(tensor: &Tensor) -> f64 {
    tensor.square().mean(tch::Kind::Float).sqrt().double_value(&[])
}
