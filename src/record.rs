//! The plain rows of a study, as every reader sees them: a trial, a point, a stage.
//!
//! The columns are those of `sandbox export` and of the views `v_trials`, `v_points`, `v_stages`. Refuses to know
//! where rows are stored, tabulated or drawn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::mup::Parametrization;
use crate::protocol::Trainer;
use crate::setup::Setup;
use crate::spec::{self, ScheduleName, Settings};
use crate::stage::StageKind;
pub use crate::stage::TrialState;

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
    pub trainer: Trainer,
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

/// What a column of trials holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers.
    Count,
    /// Numbers.
    Number,
    /// Text.
    Text,
}

/// Where the values of a column come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The plan: known before anything is trained, and in the log.
    Plan,
    /// What was trained.
    Result,
}

/// A value of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Not known.
    Missing,
    /// A whole number.
    Count(u64),
    /// A number.
    Number(f64),
    /// Text.
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// The whole number that it is.
    pub fn count(self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(count),
            Self::Missing | Self::Number(_) | Self::Text(_) => None,
        }
    }

    /// The number that it is, whole or not.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(count as f64),
            Self::Number(number) => Some(number),
            Self::Missing | Self::Text(_) => None,
        }
    }

    /// The text that it is.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Missing | Self::Count(_) | Self::Number(_) => None,
        }
    }
}

/// One column of trials: of the table, the views, the exports and every page.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name everywhere.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Where its values come from.
    pub origin: Origin,
    /// Its unit; empty where it has none.
    pub unit: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Its value in a row.
    pub get: for<'a> fn(&'a TrialRow) -> Value<'a>,
}

/// A type that stands in a column.
trait Field: Sized {
    const KIND: Kind;
    fn value(&self) -> Value<'_>;
    /// None where the value is no such type.
    fn read(value: Value<'_>) -> Option<Self>;
}

impl Field for u64 {
    const KIND: Kind = Kind::Count;
    fn value(&self) -> Value<'_> {
        Value::Count(*self)
    }
    fn read(value: Value<'_>) -> Option<Self> {
        value.count()
    }
}

impl Field for f64 {
    const KIND: Kind = Kind::Number;
    fn value(&self) -> Value<'_> {
        Value::Number(*self)
    }
    fn read(value: Value<'_>) -> Option<Self> {
        value.number()
    }
}

impl Field for String {
    const KIND: Kind = Kind::Text;
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
    fn read(value: Value<'_>) -> Option<Self> {
        value.text().map(str::to_owned)
    }
}

impl<T: Field> Field for Option<T> {
    const KIND: Kind = T::KIND;
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Missing, T::value)
    }
    fn read(value: Value<'_>) -> Option<Self> {
        if value == Value::Missing {
            Some(None)
        } else {
            T::read(value).map(Some)
        }
    }
}

/// An enum of words is text in a column.
macro_rules! word_fields {
    ($($word:ty),+) => {
        $(impl Field for $word {
            const KIND: Kind = Kind::Text;
            fn value(&self) -> Value<'_> {
                Value::Text(self.name())
            }
            fn read(value: Value<'_>) -> Option<Self> {
                Self::parse(value.text()?)
            }
        })+
    };
}

word_fields!(Parametrization, ScheduleName, Trainer, TrialState);

/// Declares [`TrialRow`] and the table of its columns: `name: type = origin, unit`, in the order of the exports.
macro_rules! trial_columns {
    ($(
        $(#[doc = $doc:literal])+
        $(#[serde($serde:ident)])?
        $name:ident: $type:ty = $origin:ident, $unit:literal,
    )+) => {
        /// One trial. Tokens are counts, losses nats per token, times seconds.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct TrialRow {
            $($(#[doc = $doc])+ $(#[serde($serde)])? pub $name: $type,)+
            /// The axes that the sweep varies, by path: a column `axis.<path>` each.
            pub axes: BTreeMap<String, serde_json::Value>,
            /// Everything else that was asked for, beside size, learning rate, batch, tokens and seed, by path, as JSON:
            /// trials in which it differs are not replicates of each other.
            #[serde(skip)]
            pub setup: BTreeMap<String, String>,
        }

        impl TrialRow {
            /// Every column but the axes, in the order of the exports.
            pub const COLUMNS: &[Column] = &[$(Column {
                name: stringify!($name),
                kind: <$type as Field>::KIND,
                origin: Origin::$origin,
                unit: $unit,
                doc: concat!($($doc),+),
                get: |row| row.$name.value(),
            },)+];

            /// The row whose columns hold what `read` finds by their name and kind.
            pub fn read<'a, E: From<UnreadableColumn>>(
                read: impl Fn(&'static str, Kind) -> Result<Value<'a>, E>,
            ) -> Result<Self, E> {
                Ok(Self {
                    $($name: {
                        let value = read(stringify!($name), <$type as Field>::KIND)?;
                        Field::read(value).ok_or(UnreadableColumn(stringify!($name)))?
                    },)+
                    axes: BTreeMap::new(),
                    setup: BTreeMap::new(),
                })
            }
        }
    };
}

/// The name of a column of trials that does not hold what it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the column `{0}` of a trial does not hold what it must")]
pub struct UnreadableColumn(pub &'static str);

trial_columns! {
    /// Name of the trial: a hash of its configuration.
    trial: String = Plan, "",
    /// The sweep that asked for it.
    sweep: String = Plan, "",
    /// A name that people can read.
    slug: String = Plan, "",
    /// What has become of it.
    state: TrialState = Result, "",
    /// `proxy`, `toy` or `imported`.
    trainer: Trainer = Plan, "",
    /// Name of its rung, or its shape.
    model: String = Plan, "",
    /// Parameters without the embedding: the N of the laws.
    params_non_embedding: u64 = Plan, "parameters",
    /// All parameters.
    params_total: u64 = Plan, "parameters",
    /// Width of the residual stream.
    width: u64 = Plan, "",
    /// Layers.
    layers: u64 = Plan, "",
    /// Query heads.
    heads: u64 = Plan, "",
    /// Size of the vocabulary.
    vocab: u64 = Plan, "",
    /// Tokens in a sequence.
    context: u64 = Plan, "tokens",
    /// `mup` or `standard`.
    parametrization: Parametrization = Plan, "",
    /// Peak learning rate of the embedding's group.
    lr: f64 = Plan, "",
    /// Tokens in a batch.
    batch_tokens: u64 = Plan, "tokens",
    /// `wsd`, `cosine`, `linear` or `constant`.
    schedule: ScheduleName = Plan, "",
    /// Tokens of warm-up.
    warmup_tokens: u64 = Plan, "tokens",
    /// Share of the run that decays; none for schedules without one.
    decay_fraction: Option<f64> = Plan, "",
    /// Tokens of the whole run: whole batches.
    tokens: u64 = Plan, "tokens",
    /// Steps of the whole run.
    steps: u64 = Plan, "",
    /// Seed.
    seed: u64 = Plan, "",
    /// FLOPs of the whole run, as if it ran alone.
    flops: f64 = Plan, "FLOP",
    /// Loss on the first held-out set at the end of a finished schedule; none for whatever did not finish.
    final_loss: Option<f64> = Result, "nats per token",
    /// The same in bits per byte of text.
    bits_per_byte: Option<f64> = Result, "bits per byte",
    /// Tokens at which the loss was seen not to be finite.
    diverged_at_tokens: Option<u64> = Result, "tokens",
    /// Device that trained its last stage.
    device: Option<String> = Result, "",
    /// Whatever else changes bits.
    numerics: String = Plan, "",
    /// Epoch of the training code.
    code_epoch: u64 = Plan, "",
    /// Version of the program that trained its last stage.
    code_version: Option<String> = Result, "",
    /// Hash of the prepared data.
    data_hash: String = Plan, "",
    /// Hash of the whole configuration.
    config_hash: String = Plan, "",
    /// Seconds of training of its stages, shared ones counted in full.
    seconds: Option<f64> = Result, "seconds",
    /// The budget as the sweep names it, in tokens: the same at every batch. 0: an entry of the log from before it was
    /// a column.
    #[serde(default)]
    tokens_asked: u64 = Plan, "tokens",
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
            ("schedule", row.schedule.name().to_owned()),
            ("parametrization", row.parametrization.name().to_owned()),
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
    /// What the settings of a trial put into [`setup`](Self::setup).
    pub fn setup_of(settings: &Settings) -> BTreeMap<String, String> {
        let setup = spec::setup(settings).map(|(path, value)| (path.to_owned(), value.to_string()));
        setup.collect()
    }

    /// Why it has no final loss; none if it has one.
    pub fn why_no_loss(&self) -> Option<&'static str> {
        let why = match self.state {
            TrialState::Complete if self.final_loss.is_some() => return None,
            TrialState::Complete if self.schedule == ScheduleName::Constant => "its schedule does not decay",
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
    /// Seconds of training from the trial's own beginning: measured by stage, even within one. None until its stage has
    /// ended.
    pub seconds: Option<f64>,
    /// Peak learning rate of the trial.
    pub peak_lr: f64,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRow {
    /// Name of the state that it reaches.
    pub stage: String,
    /// The stage it starts from.
    pub parent: Option<String>,
    /// What it is in the tree of stages.
    pub kind: StageKind,
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
