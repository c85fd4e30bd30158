//! The coordinate check of muP (Yang et al., Tensor Programs V, appendix D.1): how much a few steps change
//! activations and logits must not depend on the width.
//!
//! Changes, not values: at the start both parametrisations look alike wherever initialisation is scaled.

use sandbox::model::mup::Parametrization;
use tch::{Device, Tensor, no_grad};

use super::{batch, config};
use crate::model::Batch;
use crate::step::Trainer;

/// The widths, eightfold from the first to the last.
const WIDTHS: [u64; 4] = [64, 128, 256, 512];

/// Root mean square of a tensor.
fn rms(tensor: &Tensor) -> f64 {
    tensor
        .square()
        .mean(tch::Kind::Float)
        .sqrt()
        .double_value(&[])
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

/// For each width, the change of the stream after the last layer and of the logits over some steps.
fn changes(parametrization: Parametrization, steps: u64) -> Vec<[f64; 2]> {
    WIDTHS
        .iter()
        .map(|&width| {
            let mut sums = [0.0; 2];
            for seed in 1..=2 {
                let mut run = config(width, 2, width / 32);
                run.parametrization = parametrization;
                run.seed = seed;
                run.optimizer.lr = 0.003;
                let batch = batch(&run, seed);
                let mut trainer = Trainer::new(&run, Device::Cpu);
                let before = observe(&trainer, &batch);
                for _ in 0..steps {
                    trainer.step(&batch).expect("finite");
                }
                let after = observe(&trainer, &batch);
                let last = before.len() - 1;
                sums[0] += rms(&(&after[last - 1] - &before[last - 1]));
                sums[1] += rms(&(&after[last] - &before[last]));
            }
            sums
        })
        .collect()
}

/// How many times larger the largest of the changes is than the smallest, for the stream and for the logits.
fn spread(changes: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|which| {
        let values = changes.iter().map(|change| change[which]);
        values.clone().fold(0.0, f64::max) / values.fold(f64::INFINITY, f64::min)
    })
}

#[test]
fn with_mup_changes_do_not_depend_on_the_width() {
    for steps in [1, 4, 10] {
        let changes = changes(Parametrization::Mup, steps);
        let [stream, logits] = spread(&changes);
        assert!(stream < 2.0 && logits < 2.0, "{steps} steps: {changes:?}");
    }
}

#[test]
fn with_the_standard_parametrisation_changes_grow_with_the_width() {
    for steps in [1, 4] {
        let changes = changes(Parametrization::Standard, steps);
        let [stream, logits] = spread(&changes);
        assert!(stream > 2.0 && logits > 4.0, "{steps} steps: {changes:?}");
    }
}
