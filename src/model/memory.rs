//! What a worker takes of a machine's memory, before it was ever measured.
//!
//! Refuses to know how much there is. Rough on purpose and rather too high: what was measured comes first.

use crate::model::config::{DeviceKind, Precision, RunConfig};

/// The program with libtorch in it, as measured.
const PROGRAM: u64 = 300 << 20;
/// What a process takes of a card before its first tensor: CUDA's context and libtorch's kernels, generously.
const CARD_PROGRAM: u64 = 800 << 20;
/// float32.
const FLOAT: u64 = 4;
/// Weights, gradient, two moments, and one more while they are updated.
const COPIES: u64 = 5;
/// Tokens that a thread of the CPU takes through the layers at a time, and the logits that exist then, at most.
const TILE: u64 = 512;
const LOGITS: u64 = 1 << 20;

/// Bytes of a worker that trains this run, at its peak: of the memory that its device has.
pub fn worker_bytes(config: &RunConfig) -> u64 {
    let (shape, numerics) = (config.shape, config.numerics);
    let params = shape.params_total(config.vocab).0;
    let in_flight = numerics.micro_batch * config.context;
    // Kept for the way back in each layer: inputs of the products, norms and gates.
    let layer = 12 * shape.width + 4 * shape.d_ff;
    if numerics.device == DeviceKind::Cpu && config.precision == Precision::Float32 {
        // A thread has a gradient of its own, and one tile of tokens at a time, of a whole sequence at least.
        let tile = in_flight.min(TILE.max(config.context)) * shape.layers * layer;
        let thread = params + tile + LOGITS.max(64 * config.vocab);
        return PROGRAM + FLOAT * (COPIES * params + numerics.threads * thread);
    }
    // libtorch's own gradient also keeps attention's scores twice, the logits, their softmax and their gradient.
    let row = shape.layers * (layer + 2 * shape.heads * config.context) + 3 * config.vocab;
    let program = match numerics.device {
        DeviceKind::Cpu => PROGRAM,
        DeviceKind::Cuda => CARD_PROGRAM,
    };
    program + FLOAT * (COPIES * params + in_flight * row)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::config::{Numerics, Optimizer};
    use crate::model::ladder;
    use crate::model::mup::{Multipliers, Parametrization};
    use crate::model::schedule::{Form, Schedule};
    use crate::units::{Steps, Tokens};

    fn nine_million(micro_batch: u64) -> RunConfig {
        of_rung("9M", micro_batch)
    }

    /// A run of a rung with a vocabulary of 256.
    pub(in crate::model) fn of_rung(rung: &str, micro_batch: u64) -> RunConfig {
        RunConfig {
            shape: ladder::find(rung).expect("on the ladder").shape,
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
            of_a_test: 0.0,
        }
    }

    #[test]
    fn a_9m_worker_fits_a_gigabyte_and_half_the_micro_batch_takes_less_on_a_card() {
        let on_the_processor = worker_bytes(&nine_million(32));
        assert!(on_the_processor < 1 << 30, "{on_the_processor}");
        let card = |micro_batch| {
            let mut run = nine_million(micro_batch);
            run.numerics.device = DeviceKind::Cuda;
            worker_bytes(&run)
        };
        assert!(card(4) < card(8) && card(8) < 2 << 30, "{}", card(8));
    }
}
