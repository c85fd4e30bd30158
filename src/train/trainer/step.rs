//! One optimiser step: forward and backward over micro-batches, clipping, update.
//!
//! Refuses to know where batches come from and who records the numbers.

use sandbox::model::config::RunConfig;
use sandbox::units::Steps;
use tch::{Device, Tensor, no_grad};

use crate::trainer::fused_backend::FusedBackend;
use crate::trainer::model::{Batch, Model};
use crate::trainer::optim::AdamW;

/// What a step measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    /// Mean loss of the step's tokens in nats, before the update.
    pub(crate) loss: f64,
    /// Learning rate of the embedding's group in the update.
    pub(crate) lr: f64,
    /// Global norm of the gradient before clipping.
    pub(crate) grad_norm: f64,
}

/// A step that gave a number that is not finite: the run has diverged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotFinite;

/// A model in training.
pub(crate) struct Trainer {
    pub(crate) config: RunConfig,
    pub(crate) model: Model,
    pub(crate) optimizer: AdamW,
    pub(crate) done: Steps,
    /// The passes by hand; none: libtorch's.
    fused: Option<FusedBackend>,
}

impl Trainer {
    /// A model with its initial weights.
    pub(crate) fn new(config: &RunConfig, device: Device) -> Self {
        Self::from_model(config, Model::new(config, device))
    }

    /// A given model that has not been trained yet.
    pub(crate) fn from_model(config: &RunConfig, model: Model) -> Self {
        Self {
            optimizer: AdamW::new(config.optimizer, &model.layout, config.scaling(), &model.flat),
            config: config.clone(),
            fused: FusedBackend::new(config, &model.layout, model.device()),
            model,
            done: Steps(0),
        }
    }

    /// The same, trained by libtorch's gradient wherever it is: the reference that the passes by hand must meet.
    #[cfg(test)]
    pub(crate) fn reference(config: &RunConfig) -> Self {
        Self {
            fused: None,
            ..Self::new(config, Device::Cpu)
        }
    }

    /// Trains on one batch, `micro_batch` sequences at a time.
    ///
    /// After [`NotFinite`] the parameters are those before the step.
    pub(crate) fn step(&mut self, batch: &Batch) -> Result<Measured, NotFinite> {
        let lr = self.config.lr_at(self.done);
        let number = self.done.0 + 1;
        let (loss, grad_norm) = if self.fused.is_some() {
            self.by_hand(batch, lr, number)?
        } else {
            self.by_libtorch(batch, lr, number)?
        };
        if !grad_norm.is_finite() {
            return Err(NotFinite);
        }
        self.done.0 = number;
        Ok(Measured { loss, lr, grad_norm })
    }

    /// Loss, gradient and update by hand; gives the loss and the norm. Without a finite norm nothing is updated.
    fn by_hand(&mut self, batch: &Batch, lr: f64, number: u64) -> Result<(f64, f64), NotFinite> {
        let hand = self.fused.as_mut().ok_or(NotFinite)?;
        let loss = hand.loss_and_gradient(&self.model.flat, batch);
        if !loss.is_finite() {
            return Err(NotFinite);
        }
        Ok((loss, hand.update(&self.model.flat, &self.optimizer, lr, number)))
    }

    /// The same by libtorch's gradient.
    fn by_libtorch(&mut self, batch: &Batch, lr: f64, number: u64) -> Result<(f64, f64), NotFinite> {
        let (loss, mut gradient) = self.loss_and_gradient(batch);
        if !loss.is_finite() {
            return Err(NotFinite);
        }
        let grad_norm = self.optimizer.clip(&mut gradient);
        if grad_norm.is_finite() {
            self.optimizer.update(&self.model.flat, &gradient, lr, number);
        }
        Ok((loss, grad_norm))
    }

    /// Summed loss of a batch in nats, nothing learnt.
    pub(crate) fn loss_sum(&mut self, batch: &Batch) -> f64 {
        match &mut self.fused {
            Some(hand) => hand.loss_sum(&self.model.flat, batch),
            None => no_grad(|| self.model.loss_sum(&batch.inputs, &batch.targets)).double_value(&[]),
        }
    }

    /// Mean loss over all tokens of the batch and its gradient, both libtorch's.
    pub(crate) fn loss_and_gradient(&mut self, batch: &Batch) -> (f64, Tensor) {
        self.model.flat.zero_grad();
        let tokens = batch.inputs.numel() as f64;
        let micro_batch = i64::try_from(self.config.numerics.micro_batch.max(1)).unwrap_or(i64::MAX);
        let inputs = batch.inputs.split(micro_batch, 0);
        let targets = batch.targets.split(micro_batch, 0);
        let mut loss = 0.0;
        for (inputs, targets) in inputs.into_iter().zip(targets) {
            let mean = self.model.loss_sum(&inputs, &targets) / tokens;
            mean.backward();
            loss += mean.double_value(&[]);
        }
        (loss, self.model.flat.grad())
    }
}
