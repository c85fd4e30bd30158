//! The passes by hand against libtorch's own gradient.

use sandbox::model::config::RunConfig;
use sandbox::model::mup::Parametrization;
use sandbox::model::shape::Shape;
use tch::{Device, Tensor};

use super::{batch, config};
use crate::trainer::fused_backend::FusedBackend;
use crate::trainer::step::Trainer;

/// Several shapes: keys that are shared, more windows than a micro-batch, more threads than one, both parametrisations.
fn runs() -> Vec<RunConfig> {
    let mut grouped = config(48, 3, 6);
    grouped.shape = Shape::new(48, 3, 6, 2, 96).expect("a shape");
    grouped.numerics.micro_batch = 3;
    let mut wide = config(128, 2, 4);
    wide.numerics.threads = 2;
    wide.parametrization = Parametrization::Standard;
    vec![config(32, 2, 2), grouped, wide]
}

#[test]
fn gradients_are_libtorchs() {
    for run in runs() {
        let batch = batch(&run, 5);
        let mut reference = Trainer::reference(&run);
        let (loss, gradient) = reference.loss_and_gradient(&batch);
        let mut hand = FusedBackend::new(&run, &reference.model.layout, Device::Cpu).expect("float32 on the CPU");
        let by_hand = hand.loss_and_gradient(&reference.model.flat, &batch);
        assert!((by_hand / loss - 1.0).abs() < 1e-6, "{by_hand} {loss}");
        let difference = (Tensor::from_slice(hand.gradient()) - &gradient)
            .norm()
            .double_value(&[]);
        let norm = gradient.norm().double_value(&[]);
        assert!(difference < 1e-5 * norm, "{difference} of {norm} at {:?}", run.shape);
        let summed = hand.loss_sum(&reference.model.flat, &batch);
        assert!((summed / (loss * batch.inputs.numel() as f64) - 1.0).abs() < 1e-6);
    }
}

#[test]
fn two_hundred_steps_are_those_of_the_reference_within_rounding() {
    for mut run in runs() {
        // At rates near the edge of stability any rounding grows to whatever it likes.
        run.optimizer.lr = 3e-4;
        let (mut reference, mut by_hand) = (Trainer::reference(&run), Trainer::new(&run, Device::Cpu));
        for step in 0..200 {
            let batch = batch(&run, step);
            let wanted = reference.step(&batch).expect("finite");
            let found = by_hand.step(&batch).expect("finite");
            let off = |found: f64, wanted: f64| (found / wanted - 1.0).abs();
            let (loss, norm) = (off(found.loss, wanted.loss), off(found.grad_norm, wanted.grad_norm));
            assert!(loss < 1e-4 && norm < 1e-3, "step {step}: {found:?} {wanted:?}");
        }
    }
}
