//! Reads rows: for tables, for the plan, for people.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::model::config::RunConfig;
use crate::plan::{Known, KnownStage, StageKind, StagePlan};
use crate::record::{PointRow, StageRow, TrialRow, TrialState};
use crate::spec::TrialSpec;
use crate::stage::StageState;
use crate::store::{Store, StoreError};
use crate::units::{StageId, Steps, TrialId};
use crate::wire::Checkpoint;

/// A sweep that was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRow {
    /// Its name.
    pub sweep: String,
    /// Its question.
    pub description: Option<String>,
    /// The size of the run that it is for.
    pub target_params: Option<u64>,
    /// Its file, as it was.
    pub spec: String,
}

/// A fit that was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitRow {
    /// Its name.
    pub fit: String,
    /// The sweep that it rests on; none: somebody's file.
    pub sweep: Option<String>,
    /// Its law.
    pub law: String,
    /// All of it.
    pub body: serde_json::Value,
}

/// A stage that is on a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunningRow {
    /// A trial that passes through the stage, and how many do.
    pub trial: String,
    /// The stage.
    pub stage: String,
    /// Which attempt.
    pub attempt: u64,
    /// The worker's number.
    pub worker: Option<u64>,
    /// Its process.
    pub pid: Option<u64>,
    /// Its machine.
    pub host: Option<String>,
    /// Its device.
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
    /// The stage.
    pub stage: String,
    /// Which attempt.
    pub attempt: u64,
    /// `running`, `complete`, `diverged` or `faulted`.
    pub state: String,
    /// Its folder.
    pub folder: String,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Worker of the attempt.
    pub worker: Option<u64>,
    /// Device.
    pub device: Option<String>,
    /// Seconds of training.
    pub seconds: Option<f64>,
    /// Why it ended without a result.
    pub cause: Option<String>,
    /// What the worker said.
    pub message: Option<String>,
}

impl Store {
    /// All sweeps, by name.
    pub async fn sweeps(&mut self) -> Result<Vec<SweepRow>, StoreError> {
        let rows = sqlx::query("select sweep, description, target_params, spec from sweeps order by sweep")
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(SweepRow {
                    sweep: row.try_get(0)?,
                    description: row.try_get(1)?,
                    target_params: row.try_get::<Option<i64>, _>(2)?.map(unsigned),
                    spec: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// The sweep that was planned last.
    pub async fn newest_sweep(&mut self) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("select sweep from sweeps order by planned_at desc, sweep limit 1")
            .fetch_optional(&mut self.connection)
            .await?;
        row.map(|row| row.try_get(0).map_err(StoreError::from)).transpose()
    }

    /// The trials of a sweep, or of all, in the order of their files.
    pub async fn trials(&mut self, sweep: Option<&str>) -> Result<Vec<TrialRow>, StoreError> {
        let rows = sqlx::query("select * from v_trials where ?1 is null or sweep = ?1 order by sweep, position")
            .bind(sweep)
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(trial_row).collect()
    }

    /// The points of the trials of a sweep, or of all, ordered by trial, step, split.
    pub async fn points(&mut self, sweep: Option<&str>) -> Result<Vec<PointRow>, StoreError> {
        let rows = sqlx::query(
            "select trial, stage, step, tokens, flops, lr, split, loss, grad_norm from v_points
             where ?1 is null or trial in (select trial from trials where sweep = ?1 and asked = 1)
             order by trial, step, split",
        )
        .bind(sweep)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(PointRow {
                    trial: row.try_get(0)?,
                    stage: row.try_get(1)?,
                    step: unsigned(row.try_get(2)?),
                    tokens: unsigned(row.try_get(3)?),
                    flops: row.try_get(4)?,
                    lr: row.try_get(5)?,
                    split: row.try_get(6)?,
                    loss: row.try_get(7)?,
                    grad_norm: row.try_get(8)?,
                })
            })
            .collect()
    }

    /// The stages that the trials of a sweep, or of all, pass through.
    pub async fn stages(&mut self, sweep: Option<&str>) -> Result<Vec<StageRow>, StoreError> {
        let rows = sqlx::query(
            "select stage, parent, kind, from_tokens, to_tokens, state, attempts, tokens_trained, seconds, trials
             from v_stages
             where trials > 0 and (?1 is null or stage in (
               select ts.stage from trial_stages ts join trials t on t.sweep = ts.sweep and t.trial = ts.trial
               where ts.sweep = ?1 and t.asked = 1))
             order by from_tokens, stage",
        )
        .bind(sweep)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(stage_row).collect()
    }

    /// Everything that was planned in this home, for the next plan of `sweep`.
    pub async fn known(&mut self, sweep: &str) -> Result<Known, StoreError> {
        let rows = sqlx::query(
            "select stage, parent, lineage, kind, config, from_steps, to_steps, state, attempts, checkpoint is not null
             from stages",
        )
        .fetch_all(&mut self.connection)
        .await?;
        let stages = rows
            .iter()
            .map(known_stage)
            .collect::<Result<BTreeMap<_, _>, StoreError>>()?;
        let rows = sqlx::query("select trial, axes, settings from trials where sweep = ?")
            .bind(sweep)
            .fetch_all(&mut self.connection)
            .await?;
        let trials = rows
            .iter()
            .map(|row| {
                let spec = TrialSpec {
                    axes: json(row, 1)?,
                    settings: json(row, 2)?,
                };
                Ok((TrialId(row.try_get(0)?), spec))
            })
            .collect::<Result<BTreeMap<_, _>, StoreError>>()?;
        Ok(Known { stages, trials })
    }

    /// The state that a stage left behind.
    pub async fn checkpoint(&mut self, stage: &StageId) -> Result<Option<Checkpoint>, StoreError> {
        let row =
            sqlx::query("select checkpoint, checkpoint_hash from stages where stage = ? and checkpoint is not null")
                .bind(&stage.0)
                .fetch_optional(&mut self.connection)
                .await?;
        row.map(|row| {
            let path: String = row.try_get(0)?;
            Ok(Checkpoint {
                path: PathBuf::from(path),
                hash: row.try_get(1)?,
            })
        })
        .transpose()
    }

    /// How often each stage was tried.
    pub async fn attempts(&mut self) -> Result<BTreeMap<StageId, u32>, StoreError> {
        let rows = sqlx::query("select stage, attempts from stages")
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    StageId(row.try_get(0)?),
                    u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or(u32::MAX),
                ))
            })
            .collect()
    }

    /// The attempts at one stage, the first first.
    pub async fn attempts_at(&mut self, stage: &str) -> Result<Vec<StageAttempt>, StoreError> {
        let rows = sqlx::query(
            "select stage, attempt, state, folder, started_at, ended_at, worker, device, seconds, cause, message
             from attempts where stage = ? order by attempt",
        )
        .bind(stage)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(StageAttempt {
                    stage: row.try_get(0)?,
                    attempt: unsigned(row.try_get(1)?),
                    state: row.try_get(2)?,
                    folder: row.try_get(3)?,
                    started_at: row.try_get(4)?,
                    ended_at: row.try_get(5)?,
                    worker: row.try_get::<Option<i64>, _>(6)?.map(unsigned),
                    device: row.try_get(7)?,
                    seconds: row.try_get(8)?,
                    cause: row.try_get(9)?,
                    message: row.try_get(10)?,
                })
            })
            .collect()
    }

    /// The stages of one trial in order.
    pub async fn path(&mut self, sweep: &str, trial: &str) -> Result<Vec<StageRow>, StoreError> {
        let rows = sqlx::query(
            "select s.* from trial_stages ts join v_stages s using (stage)
             where ts.sweep = ? and ts.trial = ? order by ts.position",
        )
        .bind(sweep)
        .bind(trial)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(stage_row).collect()
    }

    /// What was asked of one trial, in full.
    pub async fn settings(&mut self, sweep: &str, trial: &str) -> Result<serde_json::Value, StoreError> {
        let row = sqlx::query("select settings from trials where sweep = ? and trial = ?")
            .bind(sweep)
            .bind(trial)
            .fetch_one(&mut self.connection)
            .await?;
        json(&row, 0)
    }

    /// The stages that a worker has now, or had when its orchestrator went away.
    pub async fn running(&mut self) -> Result<Vec<RunningRow>, StoreError> {
        let rows = sqlx::query(
            "select coalesce((select min(ts.trial) from trial_stages ts where ts.stage = s.stage), ''), s.stage,
               a.attempt, a.worker, a.pid, a.host, a.device, a.started_at, a.steps * s.batch_tokens,
               (s.to_steps - s.from_steps) * s.batch_tokens,
               (select p.loss from points p where p.stage = s.stage and p.split = 'train' order by p.step desc limit 1)
             from stages s join attempts a on a.stage = s.stage and a.attempt = s.attempts
             where s.state = 'running' order by a.started_at, s.stage",
        )
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(RunningRow {
                    trial: row.try_get(0)?,
                    stage: row.try_get(1)?,
                    attempt: unsigned(row.try_get(2)?),
                    worker: row.try_get::<Option<i64>, _>(3)?.map(unsigned),
                    pid: row.try_get::<Option<i64>, _>(4)?.map(unsigned),
                    host: row.try_get(5)?,
                    device: row.try_get(6)?,
                    since: row.try_get(7)?,
                    tokens: unsigned(row.try_get(8)?),
                    tokens_total: unsigned(row.try_get(9)?),
                    loss: row.try_get(10)?,
                })
            })
            .collect()
    }

    /// FLOPs per second and slot that this home has measured: by model where it has, and over all.
    pub async fn rates(&mut self) -> Result<(BTreeMap<String, f64>, Option<f64>), StoreError> {
        let rows = sqlx::query(
            "select config, sum((to_steps - from_steps) * batch_tokens * flops_per_token), sum(seconds)
             from stages where state = 'complete' and trainer = 'proxy' and seconds > 0 group by config",
        )
        .fetch_all(&mut self.connection)
        .await?;
        let mut by_shape: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        let mut all = (0.0, 0.0);
        for row in &rows {
            let config: RunConfig = json(row, 0)?;
            let (flops, seconds): (f64, f64) = (row.try_get(1)?, row.try_get(2)?);
            let sum = by_shape.entry(rate_key(&config)).or_default();
            *sum = (sum.0 + flops, sum.1 + seconds);
            all = (all.0 + flops, all.1 + seconds);
        }
        let rates = by_shape
            .into_iter()
            .map(|(key, (flops, seconds))| (key, flops / seconds))
            .collect();
        Ok((rates, (all.1 > 0.0).then(|| all.0 / all.1)))
    }

    /// Why the stages of a sweep failed: stage, cause, folder of the last attempt.
    pub async fn failures(&mut self, sweep: &str) -> Result<Vec<(String, String, String)>, StoreError> {
        let rows = sqlx::query(
            "select ts.trial, coalesce(s.cause, 'other'), a.folder
             from trial_stages ts join trials t on t.sweep = ts.sweep and t.trial = ts.trial and t.asked = 1
             join stages s on s.stage = ts.stage and s.state = 'failed'
             join attempts a on a.stage = s.stage and a.attempt = s.attempts
             where ts.sweep = ? order by t.position",
        )
        .bind(sweep)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .collect()
    }

    /// The fits whose name begins like this, or the newest for `last`.
    pub async fn fits(&mut self, name: &str) -> Result<Vec<FitRow>, StoreError> {
        let query = if name == "last" {
            sqlx::query("select fit, sweep, law, body from fits order by made_at desc, fit limit 1")
        } else {
            sqlx::query("select fit, sweep, law, body from fits where substr(fit, 1, length(?1)) = ?1 order by fit")
                .bind(name)
        };
        let rows = query.fetch_all(&mut self.connection).await?;
        rows.iter().map(fit_row).collect()
    }

    /// The newest fit of a law.
    pub async fn newest_fit(&mut self, law: &str) -> Result<Option<FitRow>, StoreError> {
        let row =
            sqlx::query("select fit, sweep, law, body from fits where law = ? order by made_at desc, fit limit 1")
                .bind(law)
                .fetch_optional(&mut self.connection)
                .await?;
        row.as_ref().map(fit_row).transpose()
    }

    /// The newest fit of each law that rests on a sweep.
    pub async fn fits_of(&mut self, sweep: &str) -> Result<Vec<FitRow>, StoreError> {
        let rows = sqlx::query(
            "select fit, sweep, law, body, max(made_at) from fits where sweep = ? group by law order by law",
        )
        .bind(sweep)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(fit_row).collect()
    }

    /// The newest recipe that rests on a sweep.
    pub async fn recipe_of(&mut self, sweep: &str) -> Result<Option<serde_json::Value>, StoreError> {
        let row = sqlx::query("select body from recipes where sweep = ? order by made_at desc, recipe limit 1")
            .bind(sweep)
            .fetch_optional(&mut self.connection)
            .await?;
        row.map(|row| json(&row, 0)).transpose()
    }
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
    let row = sqlx::query("select state, attempts from stages where stage = ?")
        .bind(&stage.0)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| StoreError::Damaged(format!("stage {stage} was never planned")))?;
    state_of(row.try_get(0)?, row.try_get(1)?)
}

fn state_of(name: &str, attempts: i64) -> Result<StageState, StoreError> {
    match name {
        "pending" => Ok(StageState::Pending),
        "running" => Ok(StageState::Running {
            attempt: u32::try_from(attempts).unwrap_or(u32::MAX),
        }),
        "complete" => Ok(StageState::Complete),
        "diverged" => Ok(StageState::Diverged),
        "failed" => Ok(StageState::Failed),
        other => Err(StoreError::Damaged(format!("a stage is `{other}`"))),
    }
}

fn known_stage(row: &SqliteRow) -> Result<(StageId, KnownStage), StoreError> {
    let id = StageId(row.try_get(0)?);
    let kind = match row.try_get::<&str, _>(3)? {
        "trunk" => StageKind::Trunk,
        "decay" => StageKind::Decay,
        _ => StageKind::Whole,
    };
    let plan = StagePlan {
        id: id.clone(),
        parent: row.try_get::<Option<String>, _>(1)?.map(StageId),
        lineage: row.try_get(2)?,
        kind,
        config: json(row, 4)?,
        from: Steps(unsigned(row.try_get(5)?)),
        to: Steps(unsigned(row.try_get(6)?)),
    };
    let state = state_of(row.try_get(7)?, row.try_get(8)?)?;
    Ok((
        id,
        KnownStage {
            plan,
            state,
            has_state: row.try_get(9)?,
        },
    ))
}

fn stage_row(row: &SqliteRow) -> Result<StageRow, StoreError> {
    Ok(StageRow {
        stage: row.try_get("stage")?,
        parent: row.try_get("parent")?,
        kind: row.try_get("kind")?,
        from_tokens: unsigned(row.try_get("from_tokens")?),
        to_tokens: unsigned(row.try_get("to_tokens")?),
        state: trial_state(row.try_get("state")?)?,
        attempts: unsigned(row.try_get("attempts")?),
        tokens_trained: unsigned(row.try_get("tokens_trained")?),
        seconds: row.try_get("seconds")?,
        trials: unsigned(row.try_get("trials")?),
    })
}

fn trial_row(row: &SqliteRow) -> Result<TrialRow, StoreError> {
    let count = |name: &str| row.try_get::<i64, _>(name).map(unsigned);
    Ok(TrialRow {
        trial: row.try_get("trial")?,
        sweep: row.try_get("sweep")?,
        slug: row.try_get("slug")?,
        state: trial_state(row.try_get("state")?)?,
        trainer: row.try_get("trainer")?,
        model: row.try_get("model")?,
        params_non_embedding: count("params_non_embedding")?,
        params_total: count("params_total")?,
        width: count("width")?,
        layers: count("layers")?,
        heads: count("heads")?,
        vocab: count("vocab")?,
        context: count("context")?,
        parametrization: row.try_get("parametrization")?,
        lr: row.try_get("lr")?,
        batch_tokens: count("batch_tokens")?,
        schedule: row.try_get("schedule")?,
        warmup_tokens: count("warmup_tokens")?,
        decay_fraction: row.try_get("decay_fraction")?,
        tokens: count("tokens")?,
        steps: count("steps")?,
        seed: count("seed")?,
        flops: row.try_get("flops")?,
        final_loss: row.try_get("final_loss")?,
        bits_per_byte: row.try_get("bits_per_byte")?,
        diverged_at_tokens: row.try_get::<Option<i64>, _>("diverged_at_tokens")?.map(unsigned),
        device: row.try_get("device")?,
        numerics: row.try_get("numerics")?,
        code_epoch: count("code_epoch")?,
        code_version: row.try_get("code_version")?,
        data_hash: row.try_get("data_hash")?,
        config_hash: row.try_get("config_hash")?,
        seconds: row.try_get("seconds")?,
        axes: serde_json::from_str(row.try_get("axes")?).map_err(|error| StoreError::Damaged(error.to_string()))?,
    })
}

fn fit_row(row: &SqliteRow) -> Result<FitRow, StoreError> {
    Ok(FitRow {
        fit: row.try_get(0)?,
        sweep: row.try_get(1)?,
        law: row.try_get(2)?,
        body: json(row, 3)?,
    })
}

fn trial_state(name: &str) -> Result<TrialState, StoreError> {
    TrialState::from_name(name).ok_or_else(|| StoreError::Damaged(format!("a state is `{name}`")))
}

fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: usize) -> Result<T, StoreError> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
