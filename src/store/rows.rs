//! Rows of the database as plain values, and how each is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use crate::model::config::RunConfig;
use crate::plan::{KnownStage, StagePlan};
use crate::protocol::{Checkpoint, Resume, Spent};
use crate::record::{Kind, StageRow, TrialRow, TrialState, Value};
use crate::spec::Settings;
use crate::stage::{StageKind, StageState};
use crate::store::StoreError;
use crate::units::{StageId, Steps};

/// A sweep that was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRow {
    pub sweep: String,
    pub description: Option<String>,
    /// The size of the run that it is for.
    pub target_params: Option<u64>,
    /// Its file, as it was.
    pub spec: String,
}

/// A stage that is on a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunningRow {
    /// A trial that passes through the stage.
    pub trial: String,
    pub stage: String,
    pub attempt: u64,
    pub worker: Option<u64>,
    pub pid: Option<u64>,
    /// When the process started, in the kernel's ticks since boot.
    #[serde(skip)]
    pub pid_started: Option<u64>,
    /// The boot that the process belongs to.
    #[serde(skip)]
    pub boot: Option<String>,
    #[serde(skip)]
    pub folder: String,
    /// Tokens that this attempt has trained.
    #[serde(skip)]
    pub tokens_made: u64,
    pub host: Option<String>,
    pub device: Option<String>,
    /// Since when, ISO 8601 UTC.
    pub since: String,
    /// Tokens of the stage so far.
    pub tokens: u64,
    /// Tokens of the stage.
    pub tokens_total: u64,
    /// The newest training loss.
    pub loss: Option<f64>,
}

/// One attempt at a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageAttempt {
    pub stage: String,
    pub attempt: u64,
    /// `running`, `complete`, `diverged` or `faulted`.
    pub state: String,
    pub folder: String,
    pub started_at: String,
    pub ended_at: Option<String>,
    /// Worker of the attempt.
    pub worker: Option<u64>,
    pub device: Option<String>,
    pub seconds: Option<f64>,
    /// Why it ended without a result.
    pub cause: Option<String>,
    /// What the worker said.
    pub message: Option<String>,
    /// Steps done before its first.
    pub from_steps: Option<u64>,
    /// Steps that it made.
    pub steps: u64,
    /// Sequences in one forward pass, where a full memory made them fewer than planned.
    pub micro_batch: Option<u64>,
    /// Peak memory in bytes.
    pub peak_bytes: Option<u64>,
    /// Where its time went.
    pub spent: Option<Spent>,
}

/// What a speed depends on: two configurations with this key in common run equally fast.
pub fn rate_key(config: &RunConfig) -> String {
    let shape = config.shape;
    format!(
        "{}-{}-{}-{}-{}-{}-{}-{}",
        shape.width,
        shape.layers,
        shape.heads,
        shape.kv_heads,
        shape.d_ff,
        config.vocab,
        config.context,
        config.numerics.name()
    )
}

pub(super) async fn stage_state(tx: &mut SqliteConnection, stage: &StageId) -> Result<StageState, StoreError> {
    let sql = format!("select state, attempts, {IS_OPEN} from stages s where stage = ?");
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(&stage.0)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| StoreError::Damaged(format!("stage {stage} was never planned")))?;
    state_of(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)
}

/// Steps after a stage.
pub(super) async fn end_of(tx: &mut SqliteConnection, stage: &StageId) -> Result<u64, StoreError> {
    let row = sqlx::query("select to_steps from stages where stage = ?")
        .bind(&stage.0)
        .fetch_one(&mut *tx)
        .await?;
    Ok(unsigned(row.try_get(0)?))
}

/// Whether the newest attempt at stage `s` has no end yet.
pub(super) const IS_OPEN: &str =
    "exists (select 1 from attempts a where a.stage = s.stage and a.attempt = s.attempts and a.state = 'running')";

fn state_of(name: &str, attempts: i64, is_open: bool) -> Result<StageState, StoreError> {
    let attempt = u32::try_from(attempts).unwrap_or(u32::MAX);
    match name {
        "pending" => Ok(StageState::Pending),
        "running" => Ok(StageState::Running { attempt }),
        "complete" if is_open => Ok(StageState::Remaking { attempt }),
        "complete" => Ok(StageState::Complete),
        "diverged" => Ok(StageState::Diverged),
        "failed" => Ok(StageState::Failed),
        other => Err(StoreError::Damaged(format!("a stage is `{other}`"))),
    }
}

pub(super) fn known_stage(row: &SqliteRow) -> Result<(StageId, KnownStage), StoreError> {
    let id = StageId(row.try_get(0)?);
    let plan = StagePlan {
        id: id.clone(),
        parent: row.try_get::<Option<String>, _>(1)?.map(StageId),
        lineage: row.try_get(2)?,
        kind: stage_kind(row.try_get(3)?)?,
        config: json(row, 4)?,
        from: Steps(unsigned(row.try_get(5)?)),
        to: Steps(unsigned(row.try_get(6)?)),
    };
    let state = state_of(row.try_get(7)?, row.try_get(8)?, row.try_get(10)?)?;
    Ok((
        id,
        KnownStage {
            plan,
            state,
            has_state: row.try_get(9)?,
        },
    ))
}

fn stage_kind(name: &str) -> Result<StageKind, StoreError> {
    StageKind::parse(name).ok_or_else(|| StoreError::Damaged(format!("a stage is a `{name}`")))
}

pub(super) fn stage_row(row: &SqliteRow) -> Result<StageRow, StoreError> {
    Ok(StageRow {
        stage: row.try_get("stage")?,
        parent: row.try_get("parent")?,
        kind: stage_kind(row.try_get("kind")?)?,
        from_tokens: unsigned(row.try_get("from_tokens")?),
        to_tokens: unsigned(row.try_get("to_tokens")?),
        state: trial_state(row.try_get("state")?)?,
        attempts: unsigned(row.try_get("attempts")?),
        tokens_trained: unsigned(row.try_get("tokens_trained")?),
        seconds: row.try_get("seconds")?,
        trials: unsigned(row.try_get("trials")?),
    })
}

/// The rows of a view of trials, with what was asked of each in full.
macro_rules! select_trials {
    ($view:literal) => {
        concat!(
            "select *, (select settings from trials t where t.sweep = v.sweep and t.trial = v.trial) settings from ",
            $view,
            " v where trainer <> 'imported'"
        )
    };
}

/// The rows that [`trial_row`] reads, before any condition: each trial for each of its sweeps.
pub(super) const SELECT_TRIALS: &str = select_trials!("v_sweep_trials");

/// The same with each trial once.
pub(super) const SELECT_TRIALS_ONCE: &str = select_trials!("v_trials");

/// What was asked for a trial beside what laws vary, by path of the axis, as JSON.
fn setup(settings: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let settings: Settings = serde_json::from_str(settings).map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(TrialRow::setup_of(&settings))
}

pub(super) fn trial_row(row: &SqliteRow) -> Result<TrialRow, StoreError> {
    let mut trial = TrialRow::read(|name, kind| cell(row, name, kind))?;
    trial.axes =
        serde_json::from_str(row.try_get("axes_json")?).map_err(|error| StoreError::Damaged(error.to_string()))?;
    trial.setup = setup(row.try_get("settings")?)?;
    Ok(trial)
}

fn cell<'a>(row: &'a SqliteRow, name: &str, kind: Kind) -> Result<Value<'a>, StoreError> {
    let value = match kind {
        Kind::Count => row.try_get::<Option<i64>, _>(name)?.map(unsigned).map(Value::Count),
        Kind::Number => row.try_get::<Option<f64>, _>(name)?.map(Value::Number),
        Kind::Text => row.try_get::<Option<&str>, _>(name)?.map(Value::Text),
    };
    Ok(value.unwrap_or(Value::Missing))
}

/// Columns: step, path, hash, bytes.
pub(super) fn resume_row(row: &SqliteRow) -> Result<Resume, StoreError> {
    let path: String = row.try_get(1)?;
    Ok(Resume {
        step: Steps(unsigned(row.try_get(0)?)),
        checkpoint: Checkpoint {
            path: path.into(),
            hash: row.try_get(2)?,
            bytes: unsigned(row.try_get(3)?),
        },
    })
}

pub(super) fn trial_state(name: &str) -> Result<TrialState, StoreError> {
    TrialState::parse(name).ok_or_else(|| StoreError::Damaged(format!("a state is `{name}`")))
}

pub(super) fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: usize) -> Result<T, StoreError> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| StoreError::Damaged(error.to_string()))
}

pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// `SQLite`'s integers are signed; counts stay far below the border.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
