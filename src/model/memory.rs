//! What a worker takes of a machine's memory, before it was ever measured.
//!
//! Refuses to know how much there is. Rough on purpose and rather too high: what was measured comes first.

use crate::model::config::{DeviceKind, RunConfig};

/// The program with libtorch in it, as measured.
const PROGRAM: u64 = 300 << 20;
/// What a process takes of a card before its first tensor: CUDA's context and libtorch's kernels, generously.
const CARD_PROGRAM: u64 = 800 << 20;
/// float32.
const FLOAT: u64 = 4;
/// Weights, gradient, two moments, and one more while they are updated.
const COPIES: u64 = 5;

/// Bytes of a worker that trains this run, at its peak: of the memory that its device has.
pub fn worker_bytes(config: &RunConfig) -> u64 {
    let shape = config.shape;
    let in_flight = config.numerics.micro_batch * config.context;
    // Kept for the way back in each layer: inputs of the products, norms and gates, and attention's scores twice.
    let layer = 12 * shape.width + 4 * shape.d_ff + 2 * shape.heads * config.context;
    // Logits, their softmax and their gradient.
    let head = 3 * config.vocab;
    let program = match config.numerics.device {
        DeviceKind::Cpu => PROGRAM,
        DeviceKind::Cuda => CARD_PROGRAM,
    };
    program + FLOAT * (COPIES * shape.params_total(config.vocab).0 + in_flight * (shape.layers * layer + head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{DeviceKind, Numerics, Optimizer, Precision};
    use crate::model::ladder;
    use crate::model::mup::{Multipliers, Parametrization};
    use crate::model::schedule::{Form, Schedule};
    use crate::units::{Steps, Tokens};

    fn nine_million(micro_batch: u64) -> RunConfig {
        RunConfig {
            shape: ladder::find("9M").expect("on the ladder").shape,
            vocab: 256,
            context: 256,
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
            batch_tokens: Tokens(8192),
            schedule: Schedule {
                warmup: Steps(1),
                form: Form::Constant,
            },
            seed: 0,
            data_hash: String::new(),
            precision: Precision::Float32,
            numerics: Numerics {
                device: DeviceKind::Cpu,
                threads: 1,
                micro_batch,
            },
        }
    }

    #[test]
    fn half_the_micro_batch_takes_less_and_a_9m_worker_fits_two_gigabytes() {
        let whole = worker_bytes(&nine_million(8));
        assert!(whole < 2 << 30, "{whole}");
        assert!(worker_bytes(&nine_million(4)) < whole);
    }
}
