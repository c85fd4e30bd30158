//! One optimiser step: forward and backward over micro-batches, clipping, update.
//!
//! Refuses to know where batches come from and who records the numbers.

use sandbox::model::config::RunConfig;
use sandbox::units::Steps;
use tch::{Device, Tensor};

use crate::model::{Batch, Model};
use crate::optim::AdamW;

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
    /// The configuration.
    pub(crate) config: RunConfig,
    /// The model.
    pub(crate) model: Model,
    /// The optimiser.
    pub(crate) optimizer: AdamW,
    /// Steps done.
    pub(crate) done: Steps,
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
            model,
            done: Steps(0),
        }
    }

    /// Trains on one batch, `micro_batch` sequences at a time.
    ///
    /// After [`NotFinite`] the parameters are those before the step.
    pub(crate) fn step(&mut self, batch: &Batch) -> Result<Measured, NotFinite> {
        let (loss, mut gradient) = self.loss_and_gradient(batch);
        if !loss.is_finite() {
            return Err(NotFinite);
        }
        let grad_norm = self.optimizer.clip(&mut gradient);
        if !grad_norm.is_finite() {
            return Err(NotFinite);
        }
        let lr = self.config.lr_at(self.done);
        self.done.0 += 1;
        self.optimizer.update(&self.model.flat, &gradient, lr, self.done.0);
        Ok(Measured { loss, lr, grad_norm })
    }

    /// Mean loss over all tokens of the batch, and its gradient.
    pub(crate) fn loss_and_gradient(&mut self, batch: &Batch) -> (f64, Tensor) {
        self.model.flat.zero_grad();
        let tokens = batch.inputs.numel() as f64;
        let micro_batch = i64::try_from(self.config.numerics.micro_batch.max(1)).unwrap_or(i64::MAX);
        let inputs = batch.inputs.split(micro_batch, 0);
        let targets = batch.targets.split(micro_batch, 0);
        let mut loss = 0.0;
        for (inputs, targets) in inputs.into_iter().zip(targets) {
            let mean = self.model.loss_sum(&Batch { inputs, targets }) / tokens;
            mean.backward();
            loss += mean.double_value(&[]);
        }
        (loss, self.model.flat.grad())
    }
}
