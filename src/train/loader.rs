//! Batches of the prepared data as tensors.
//!
//! Refuses to know what is done with them, and in which order windows are read: that is the data's affair.

use std::path::Path;

use sandbox::data::dataset::{Dataset, SplitTokens};
use sandbox::data::error::DataError;
use sandbox::model::config::RunConfig;
use sandbox::model::order::{WindowOrder, batch_sequences};
use sandbox::protocol::{Cause, Split};
use sandbox::units::Steps;
use tch::Device;

use crate::failure::Failure;
use crate::trainer::model::Batch;

pub(crate) struct Loader {
    data: Dataset,
}

/// One run's training batches.
pub(crate) struct TrainingLoader<'a> {
    tokens: &'a SplitTokens,
    order: WindowOrder,
}

impl Loader {
    /// Opens the prepared data in a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let data = Dataset::open(folder).map_err(unreadable)?;
        Ok(Self { data })
    }

    /// The training batches of a run, if this is the data that the run was planned with.
    pub(crate) fn training(&self, config: &RunConfig) -> Result<TrainingLoader<'_>, Failure> {
        let info = self.data.info();
        if info.hash != config.data_hash || info.vocab != config.vocab {
            return Err(Failure::new(
                Cause::Data,
                format!(
                    "data `{}` is not what the run was planned with: hash {}, planned {}",
                    info.name, info.hash, config.data_hash
                ),
            ));
        }
        let order = self.data.train_order(config.context, config.seed).ok_or_else(|| {
            let why = "its training split is shorter than one sequence of the run";
            Failure::new(Cause::Data, format!("data `{}`: {why}", info.name))
        })?;
        let tokens = self.data.train().map_err(unreadable)?;
        Ok(TrainingLoader { tokens, order })
    }

    /// Names of the held-out sets, the one of the final loss first.
    pub(crate) fn held_out(&self) -> Vec<Split> {
        let sets = self.data.manifest().held_out();
        sets.map(|split| Split(split.name.clone())).collect()
    }

    /// Number of whole windows of a held-out set.
    pub(crate) fn windows(&self, set: &Split, context: u64) -> Result<u64, Failure> {
        Ok(self.data.split(&set.0).map_err(unreadable)?.windows(context))
    }

    /// Windows of a held-out set, from the `first` on; they must be there.
    pub(crate) fn held_out_batch(
        &self,
        set: &Split,
        windows: std::ops::Range<u64>,
        context: u64,
        device: Device,
    ) -> Result<Batch, Failure> {
        let split = self.data.split(&set.0).map_err(unreadable)?;
        let mut tokens = Vec::new();
        for window in windows {
            split.window(window, context, &mut tokens);
        }
        Ok(Batch::from_windows(&tokens, context, device))
    }

    /// A loss on a set in bits per byte of its text; none where there is no text.
    pub(crate) fn bits_per_byte(&self, set: &Split, loss_nats: f64) -> Option<f64> {
        self.data.info().bits_per_byte(&set.0, loss_nats)
    }
}

impl TrainingLoader<'_> {
    /// The batch of the step that follows `done` steps.
    pub(crate) fn batch(&self, config: &RunConfig, done: Steps, device: Device) -> Batch {
        let sequences = batch_sequences(config.tokens_at(done), config.batch_tokens, config.context);
        let mut tokens = Vec::new();
        self.tokens.batch(&self.order, sequences, config.context, &mut tokens);
        Batch::from_windows(&tokens, config.context, device)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands errors over by value")]
fn unreadable(error: DataError) -> Failure {
    Failure::new(Cause::Data, error.to_string())
}
