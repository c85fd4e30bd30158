//! The plain rows of a study, as every reader sees them: a trial, a point, a stage.
//!
//! The columns are those of `sandbox export` and of the views `v_trials`, `v_points`, `v_stages`. Refuses to know
//! where rows are stored, tabulated or drawn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::setup::Setup;

/// What has become of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// Some of its stages are still to be trained.
    Pending,
    /// One of its stages is being trained.
    Running,
    /// Trained to its end.
    Complete,
    /// A loss was not finite: a result, the edge of stability.
    Diverged,
    /// Given up after its attempts; the cause is in its attempts.
    Failed,
    /// Taken out by the user.
    Cancelled,
}

impl TrialState {
    /// Every state, in the order of tables.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Running,
        Self::Complete,
        Self::Diverged,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in the database, JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Diverged => "diverged",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A run of others among the trials, of which there is less to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportedTrial {
    /// Its name here.
    pub trial: String,
    /// The import.
    pub sweep: String,
    /// What its file calls it.
    pub slug: String,
    /// Only finished runs are imported.
    pub state: TrialState,
    /// `imported`.
    pub trainer: String,
    /// Parameters, as they were given.
    pub params_non_embedding: f64,
    /// Peak learning rate.
    pub lr: Option<f64>,
    /// Tokens of a batch.
    pub batch_tokens: Option<f64>,
    /// Schedule.
    pub schedule: Option<String>,
    /// Tokens.
    pub tokens: f64,
    /// Seed.
    pub seed: Option<u64>,
    /// Training compute, FLOP.
    pub flops: Option<f64>,
    /// Nats per token.
    pub final_loss: f64,
    /// Hash of the file.
    pub data_hash: String,
}

/// How many trials are in each state; states without a trial are there with 0.
pub fn count_states(states: impl IntoIterator<Item = TrialState>) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = TrialState::ALL.iter().map(|state| (state.name(), 0)).collect();
    for state in states {
        *counts.entry(state.name()).or_default() += 1;
    }
    counts
}

/// One trial. Tokens are counts, losses nats per token, times seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRow {
    /// Name of the trial: a hash of its configuration.
    pub trial: String,
    /// The sweep that asked for it.
    pub sweep: String,
    /// A name that people can read.
    pub slug: String,
    /// What has become of it.
    pub state: TrialState,
    /// `proxy`, `toy` or `imported`.
    pub trainer: String,
    /// Name of its rung, or its shape.
    pub model: String,
    /// Parameters without the embedding: the N of the laws.
    pub params_non_embedding: u64,
    /// All parameters.
    pub params_total: u64,
    /// Width of the residual stream.
    pub width: u64,
    /// Layers.
    pub layers: u64,
    /// Query heads.
    pub heads: u64,
    /// Size of the vocabulary.
    pub vocab: u64,
    /// Tokens in a sequence.
    pub context: u64,
    /// `mup` or `standard`.
    pub parametrization: String,
    /// Peak learning rate of the embedding's group.
    pub lr: f64,
    /// Tokens in a batch.
    pub batch_tokens: u64,
    /// `wsd`, `cosine`, `linear` or `constant`.
    pub schedule: String,
    /// Tokens of warm-up.
    pub warmup_tokens: u64,
    /// Share of the run that decays; none for schedules without one.
    pub decay_fraction: Option<f64>,
    /// Tokens of the whole run: whole batches.
    pub tokens: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Seed.
    pub seed: u64,
    /// FLOPs of the whole run, as if it ran alone.
    pub flops: f64,
    /// Loss on the first held-out set at the end of a finished schedule; none for whatever did not finish.
    pub final_loss: Option<f64>,
    /// The same in bits per byte of text.
    pub bits_per_byte: Option<f64>,
    /// Tokens at which the loss was seen not to be finite.
    pub diverged_at_tokens: Option<u64>,
    /// Device that trained its last stage.
    pub device: Option<String>,
    /// Whatever else changes bits.
    pub numerics: String,
    /// Epoch of the training code.
    pub code_epoch: u64,
    /// Version of the program that trained its last stage.
    pub code_version: Option<String>,
    /// Hash of the prepared data.
    pub data_hash: String,
    /// Hash of the whole configuration.
    pub config_hash: String,
    /// Seconds of training of its stages, shared ones counted in full.
    pub seconds: Option<f64>,
    /// The budget as the sweep names it, in tokens: the same at every batch. 0: an entry of the log from before it was
    /// a column.
    #[serde(default)]
    pub tokens_asked: u64,
    /// The axes that the sweep varies, by path.
    pub axes: BTreeMap<String, serde_json::Value>,
    /// Everything else that was asked for, beside size, learning rate, batch, tokens and seed, by path, as JSON: trials in
    /// which it differs are not replicates of each other.
    #[serde(skip)]
    pub setup: BTreeMap<String, String>,
}

/// All that was asked for, with the data by its hash, whatever its name is.
impl From<&TrialRow> for Setup {
    fn from(row: &TrialRow) -> Self {
        let own = [
            ("model", row.model.clone()),
            ("params", row.params_non_embedding.to_string()),
            ("tokens_asked", row.tokens_asked.to_string()),
            ("lr", row.lr.to_string()),
            ("batch_tokens", row.batch_tokens.to_string()),
            ("schedule", row.schedule.clone()),
            ("parametrization", row.parametrization.clone()),
            ("seed", row.seed.to_string()),
            ("data", row.data_hash.clone()),
        ];
        let decay = row
            .decay_fraction
            .map(|share| ("schedule.decay_fraction", share.to_string()));
        let own = own
            .into_iter()
            .chain(decay)
            .map(|(path, value)| (path.to_owned(), value));
        Self::new(row.setup.clone().into_iter().chain(own))
    }
}

impl TrialRow {
    /// Why it has no final loss; none if it has one.
    pub fn why_no_loss(&self) -> Option<&'static str> {
        let why = match self.state {
            TrialState::Complete if self.final_loss.is_some() => return None,
            TrialState::Complete if self.schedule == "constant" => "its schedule does not decay",
            TrialState::Complete => "without a held-out loss",
            TrialState::Diverged => "diverged",
            TrialState::Failed => "failed",
            TrialState::Cancelled => "cancelled",
            TrialState::Running => "still running",
            TrialState::Pending => "not started",
        };
        Some(why)
    }
}

/// One recorded point of a trial; steps and tokens count from the trial's own beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointRow {
    /// The trial.
    pub trial: String,
    /// The stage that recorded it.
    pub stage: String,
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// FLOPs spent.
    pub flops: f64,
    /// Learning rate of the embedding's group; none for evaluations.
    pub lr: Option<f64>,
    /// `train`, or the name of a held-out set.
    pub split: String,
    /// Nats per token; a training loss is one step's mean.
    pub loss: f64,
    /// Global norm of the gradient before clipping; none for evaluations.
    pub grad_norm: Option<f64>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRow {
    /// Name of the state that it reaches.
    pub stage: String,
    /// The stage it starts from.
    pub parent: Option<String>,
    /// `trunk`, `decay` or `whole`.
    pub kind: String,
    /// Tokens before it.
    pub from_tokens: u64,
    /// Tokens after it.
    pub to_tokens: u64,
    /// The names of [`TrialState`].
    pub state: TrialState,
    /// Attempts so far.
    pub attempts: u64,
    /// Tokens that were trained for it, failed attempts included.
    pub tokens_trained: u64,
    /// Seconds of all its attempts.
    pub seconds: Option<f64>,
    /// Trials that pass through it.
    pub trials: u64,
}
