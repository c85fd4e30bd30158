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
    tensor.square().mean(tch::Kind::Float).sqrt().double_value(&[])
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

/// How many steps have been done when the changes are measured.
const STEPS: [u64; 3] = [1, 4, 10];

/// For each number of steps and each width, the change of the stream after the last layer and of the logits.
fn changes(parametrization: Parametrization) -> Vec<Vec<[f64; 2]>> {
    let mut changes = vec![Vec::new(); STEPS.len()];
    for width in WIDTHS {
        let mut run = config(width, 2, width / 32);
        run.parametrization = parametrization;
        run.optimizer.lr = 3e-4;
        let batch = batch(&run, 1);
        let mut trainer = Trainer::new(&run, Device::Cpu);
        let before = observe(&trainer, &batch);
        let last = before.len() - 1;
        for (steps, changes) in STEPS.iter().zip(&mut changes) {
            while trainer.done.0 < *steps {
                trainer.step(&batch).expect("finite");
            }
            let after = observe(&trainer, &batch);
            changes.push([last - 1, last].map(|which| rms(&(&after[which] - &before[which]))));
        }
    }
    changes
}

/// How many times larger the largest of the changes is than the smallest, for the stream and for the logits.
fn spread(changes: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|which| {
        let values = changes.iter().map(|change| change[which]);
        values.clone().fold(0.0, f64::max) / values.fold(f64::INFINITY, f64::min)
    })
}

// Measured: with muP the stream 1.1, the logits 1.8 to 2.3 (the noise of the loud tied head falls with the root of
// the width; it does not grow); with the standard parametrisation 50 to 230 and 13 to 50.

#[test]
fn with_mup_changes_do_not_grow_with_the_width() {
    for (steps, changes) in STEPS.iter().zip(changes(Parametrization::Mup)) {
        let [stream, logits] = spread(&changes);
        assert!(stream < 1.5 && logits < 2.8, "{steps} steps: {changes:?}");
        assert!(changes[3][1] < changes[0][1], "{steps} steps: {changes:?}");
    }
}

#[test]
fn with_the_standard_parametrisation_changes_grow_with_the_width() {
    for (steps, changes) in STEPS.iter().zip(changes(Parametrization::Standard)) {
        let [stream, logits] = spread(&changes);
        assert!(stream > 20.0 && logits > 8.0, "{steps} steps: {changes:?}");
        assert!(changes.is_sorted_by(|a, b| a[0] < b[0] && a[1] < b[1]), "{changes:?}");
    }
}
