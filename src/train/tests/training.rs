//! What training must do whatever the data is.

use sandbox::model::mup::{Group, Parametrization};
use sandbox::model::schedule::{Decay, Form, Schedule};
use sandbox::units::{Steps, Tokens};
use tch::{Device, no_grad};

use super::{batch, config, largest};
use crate::checkpoint;
use crate::trainer::step::{NotFinite, Trainer};

#[test]
fn the_first_loss_of_wide_shapes_is_that_of_a_loud_tied_head() {
    for (width, heads, base) in [(320, 5, 256), (512, 8, 256), (320, 5, 64)] {
        let mut run = config(width, 8, heads);
        run.multipliers.base_width = base;
        run.vocab = 2048;
        run.context = 64;
        run.batch_tokens = Tokens(1024);
        let trainer = Trainer::new(&run, Device::Cpu);
        let batch = batch(&run, 3);
        let loss = no_grad(|| trainer.model.loss_sum(&batch.inputs, &batch.targets)).double_value(&[]) / 1024.0;
        // Logits have the variance (base · init_std)² / d, so the mean of the exponentials adds half of it.
        let expected = 2048f64.ln() + (base as f64 * 0.1).powi(2) / (2.0 * width as f64);
        assert!(
            (loss - expected).abs() < 0.15,
            "{width}, {base}: {loss} against {expected}"
        );
    }
}

#[test]
fn one_batch_can_be_learnt_by_heart() {
    let run = config(64, 2, 4);
    let batch = batch(&run, 1);
    let mut trainer = Trainer::new(&run, Device::Cpu);
    let losses: Vec<f64> = (0..150).map(|_| trainer.step(&batch).expect("finite").loss).collect();
    assert!(losses[0] > 4.0, "{}", losses[0]);
    let lowest = losses[100..].iter().copied().fold(f64::INFINITY, f64::min);
    assert!(lowest < 0.1, "{lowest}");
}

#[test]
fn a_batch_in_parts_has_the_gradient_of_the_whole() {
    let mut run = config(32, 2, 2);
    run.batch_tokens = Tokens(7 * 16);
    let batch = batch(&run, 5);
    let mut gradient = |micro_batch: u64| {
        run.numerics.micro_batch = micro_batch;
        let mut trainer = Trainer::new(&run, Device::Cpu);
        let (loss, gradient) = trainer.loss_and_gradient(&batch);
        (loss, gradient.copy())
    };
    let (whole_loss, whole) = gradient(7);
    for parts in [1, 2, 3] {
        let (loss, gradient) = gradient(parts);
        assert!((loss - whole_loss).abs() < 1e-5, "{loss} {whole_loss}");
        let error = largest(&(gradient - &whole)) / largest(&whole);
        assert!(error < 1e-5, "micro-batches of {parts}: {error}");
    }
}

#[test]
fn the_same_job_gives_the_same_bits() {
    for threads in [1, 2] {
        tch::set_num_threads(threads);
        let run = config(64, 2, 2);
        let train = || {
            let mut trainer = Trainer::new(&run, Device::Cpu);
            for step in 0..5 {
                trainer.step(&batch(&run, step)).expect("finite");
            }
            trainer.model.flat
        };
        assert!(train().equal(&train()));
    }
}

#[test]
fn a_run_that_goes_on_from_a_checkpoint_equals_the_unbroken_run_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.safetensors");
    let run = config(32, 2, 2);
    let step = |trainer: &mut Trainer| {
        let batch = batch(&run, trainer.done.0);
        trainer.step(&batch).expect("finite")
    };
    let mut unbroken = Trainer::new(&run, Device::Cpu);
    for _ in 0..4 {
        step(&mut unbroken);
    }
    let saved = checkpoint::save(&unbroken, "stage", &path, &|| {}).expect("saves");
    let mut resumed = checkpoint::load(&saved, &run, Steps(4), Device::Cpu).expect("loads");
    for _ in 0..4 {
        assert_eq!(step(&mut unbroken), step(&mut resumed));
    }
    assert!(unbroken.model.flat.equal(&resumed.model.flat));
}

#[test]
fn a_damaged_or_foreign_checkpoint_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.safetensors");
    let run = config(32, 1, 2);
    let trainer = Trainer::new(&run, Device::Cpu);
    let saved = checkpoint::save(&trainer, "stage", &path, &|| {}).expect("saves");
    let cause = |config: &sandbox::model::config::RunConfig, step| {
        let loaded = checkpoint::load(&saved, config, Steps(step), Device::Cpu);
        loaded.err().map(|failure| failure.cause)
    };
    let damaged = Some(sandbox::protocol::Cause::DamagedCheckpoint);
    assert_eq!(cause(&run, 0), None);
    assert_eq!(cause(&run, 1), damaged, "another step");
    assert_eq!(cause(&config(64, 1, 2), 0), damaged, "another shape");
    let mut bytes = fs_err::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&path, &bytes).expect("writes");
    assert_eq!(cause(&run, 0), damaged, "one bit");
    fs_err::remove_file(&path).expect("removes");
    assert_eq!(cause(&run, 0), damaged, "nothing there");
}

#[test]
fn the_first_update_of_each_group_is_its_learning_rate() {
    // AdamW's first update is the learning rate in each coordinate, whatever the gradient.
    for (parametrization, matrices) in [(Parametrization::Mup, 2.0), (Parametrization::Standard, 1.0)] {
        let mut run = config(512, 1, 8);
        run.parametrization = parametrization;
        run.optimizer.weight_decay = 0.0;
        run.optimizer.clip = f64::INFINITY;
        let mut trainer = Trainer::new(&run, Device::Cpu);
        let before = trainer.model.flat.detach().copy();
        trainer.step(&batch(&run, 1)).expect("finite");
        let change = trainer.model.flat.detach() - before;
        for span in trainer.model.layout.spans() {
            let part = change.narrow(0, span.offset, span.len);
            let expected = match span.group {
                Group::Matrix => run.optimizer.lr / matrices,
                Group::Embedding | Group::Norm => run.optimizer.lr,
            };
            let largest = largest(&part);
            assert!((largest / expected - 1.0).abs() < 1e-3, "{:?} {largest}", span.group);
        }
    }
}

#[test]
fn decay_shrinks_every_parameter_by_its_groups_learning_rate() {
    let mut run = config(512, 1, 8);
    run.optimizer.weight_decay = 0.5;
    let trainer = Trainer::new(&run, Device::Cpu);
    let mut optimizer = trainer.optimizer;
    let before = trainer.model.flat.detach().copy();
    optimizer.update(&trainer.model.flat, &before.zeros_like(), 0.01, 1);
    for span in trainer.model.layout.spans() {
        let factor = if span.group == Group::Matrix { 0.5 } else { 1.0 };
        let after = trainer.model.flat.detach().narrow(0, span.offset, span.len);
        let expected = before.narrow(0, span.offset, span.len) * (1.0 - 0.01 * factor * 0.5);
        assert!(largest(&(after - expected)) < 1e-7, "{:?}", span.group);
    }
}

#[test]
fn clipping_leaves_the_direction_and_records_the_norm_before() {
    let mut run = config(32, 1, 2);
    run.optimizer.clip = 0.01;
    let mut trainer = Trainer::new(&run, Device::Cpu);
    let (_, mut gradient) = trainer.loss_and_gradient(&batch(&run, 1));
    let before = gradient.copy();
    let norm = trainer.optimizer.clip(&mut gradient);
    assert!((norm - before.norm().double_value(&[])).abs() < 1e-6 && norm > 0.01);
    assert!((gradient.norm().double_value(&[]) - 0.01).abs() < 1e-6);
    assert!(largest(&(gradient - before * (0.01 / norm))) < 1e-6);
}

#[test]
fn steps_follow_the_schedule() {
    let mut run = config(16, 1, 1);
    run.schedule = Schedule {
        warmup: Steps(2),
        form: Form::Wsd {
            decay_start: Steps(4),
            end: Steps(6),
            decay: Decay::Linear,
            final_fraction: 0.0,
        },
    };
    let mut trainer = Trainer::new(&run, Device::Cpu);
    let rates: Vec<f64> = (0..6)
        .map(|step| trainer.step(&batch(&run, step)).expect("finite").lr)
        .collect();
    for (rate, expected) in rates.iter().zip([0.005, 0.01, 0.01, 0.01, 0.005, 0.0]) {
        assert!((rate - expected).abs() < 1e-12, "{rates:?}");
    }
}

#[test]
fn a_learning_rate_beyond_all_bounds_is_seen_as_not_finite() {
    let mut run = config(32, 2, 2);
    run.optimizer.lr = 1e30;
    let batch = batch(&run, 1);
    let mut trainer = Trainer::new(&run, Device::Cpu);
    let end = (0..10).find_map(|_| trainer.step(&batch).err());
    assert_eq!(end, Some(NotFinite));
    assert!(trainer.done < Steps(10));
}
