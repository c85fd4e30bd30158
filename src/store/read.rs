//! Asks the database: for tables, for the plan, for people.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::model::config::RunConfig;
use crate::plan::Known;
use crate::protocol::Resume;
use crate::record::{StageRow, TrialRow, count_states};
use crate::spec::TrialSpec;
use crate::stage::StageState;
use crate::store::rows::{
    IS_OPEN, RunningRow, SELECT_TRIALS, SELECT_TRIALS_ONCE, StageAttempt, SweepRow, json, known_stage, rate_key,
    resume_row, stage_row, trial_row, unsigned,
};
use crate::store::{Entry, Store, StoreError, rows};
use crate::units::{StageId, TrialId};

impl Store {
    /// The name of the home that the database belongs to, wherever it lies.
    pub async fn home_id(&mut self) -> Result<String, StoreError> {
        let row = sqlx::query("select id from home")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(row.try_get(0)?)
    }

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

    /// The sweep that was run last: of those whose stages were begun last, the one that was announced last.
    pub async fn newest_sweep(&mut self) -> Result<Option<String>, StoreError> {
        let row = sqlx::query(
            "select sweep from sweeps w order by max(planned_at, coalesce((
               select max(a.started_at) from trials t
               join trial_stages ts on ts.sweep = t.sweep and ts.trial = t.trial
               join attempts a on a.stage = ts.stage
               where t.sweep = w.sweep and t.asked = 1), '')) desc, planned_at desc, sweep limit 1",
        )
        .fetch_optional(&mut self.connection)
        .await?;
        row.map(|row| row.try_get(0).map_err(StoreError::from)).transpose()
    }

    /// The trials of a sweep, or of all with each once, in the order of their files.
    pub async fn trials(&mut self, sweep: Option<&str>) -> Result<Vec<TrialRow>, StoreError> {
        // Runs of others have less to tell; `imported` reads them.
        let select = sweep.map_or(SELECT_TRIALS_ONCE, |_| SELECT_TRIALS);
        let rows = sqlx::query(AssertSqlSafe(format!(
            "{select} and (?1 is null or sweep = ?1) order by sweep, position"
        )))
        .bind(sweep)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(trial_row).collect()
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
        let rows = sqlx::query(AssertSqlSafe(format!(
            "select stage, parent, lineage, kind, config, from_steps, to_steps, state, attempts,
               exists (select 1 from checkpoints c where c.stage = s.stage and c.step = s.to_steps), {IS_OPEN}
             from stages s"
        )))
        .fetch_all(&mut self.connection)
        .await?;
        let stages = rows
            .iter()
            .map(known_stage)
            .collect::<Result<BTreeMap<_, _>, StoreError>>()?;
        let rows = sqlx::query("select trial, axes, settings, cancelled from trials where sweep = ?")
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
        let cancelled = rows
            .iter()
            .filter_map(|row| {
                let is_cancelled = row.try_get(3);
                match is_cancelled {
                    Ok(false) => None,
                    Ok(true) => Some(row.try_get(0).map(TrialId).map_err(StoreError::from)),
                    Err(error) => Some(Err(error.into())),
                }
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Known {
            stages,
            trials,
            cancelled,
            keeps_ends: false,
        })
    }

    /// What a stage trains.
    pub async fn stage_config(&mut self, stage: &StageId) -> Result<RunConfig, StoreError> {
        let row = sqlx::query("select config from stages where stage = ?")
            .bind(&stage.0)
            .fetch_one(&mut self.connection)
            .await?;
        json(&row, 0)
    }

    /// The states of a stage that are on disk: inside it and at its end, the last first.
    pub async fn checkpoints(&mut self, stage: &StageId) -> Result<Vec<Resume>, StoreError> {
        let rows = sqlx::query("select step, path, hash, bytes from checkpoints where stage = ? order by step desc")
            .bind(&stage.0)
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(resume_row).collect()
    }

    /// Every state on disk that the database knows of, by stage.
    pub async fn all_checkpoints(&mut self) -> Result<Vec<(StageId, Resume)>, StoreError> {
        let rows = sqlx::query("select step, path, hash, bytes, stage from checkpoints order by stage, step")
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter()
            .map(|row| Ok((StageId(row.try_get(4)?), resume_row(row)?)))
            .collect()
    }

    /// The entry that announced a sweep last.
    pub async fn newest_plan(&mut self, sweep: &str) -> Result<Option<Entry>, StoreError> {
        let row = sqlx::query(
            "select body from events where kind = 'sweep_planned' and subject = ? order by seq desc limit 1",
        )
        .bind(sweep)
        .fetch_optional(&mut self.connection)
        .await?;
        row.map(|row| Entry::read(row.try_get(0)?).map_err(|error| StoreError::Damaged(error.to_string())))
            .transpose()
    }

    /// How many trials of a sweep are in each state; states without a trial are there with 0.
    pub async fn counts(&mut self, sweep: &str) -> Result<BTreeMap<&'static str, u64>, StoreError> {
        // The states of `v_sweep_trials`, without its wide rows.
        let rows = sqlx::query(
            "select state, count(*) from (
               select case
                 when t.cancelled = 1 then 'cancelled'
                 when max(s.state = 'complete' and s.stage = t.leaf) then 'complete'
                 when max(s.state = 'diverged') then 'diverged'
                 when max(s.state = 'failed') then 'failed'
                 when max(s.state = 'running') then 'running'
                 else 'pending'
               end as state
               from trial_stages ts
               cross join trials t indexed by trials_standing
                 on t.sweep = ts.sweep and t.trial = ts.trial and t.asked = 1
               join stages s indexed by stages_standing on s.stage = ts.stage
               where ts.sweep = ? group by ts.trial)
             group by state",
        )
        .bind(sweep)
        .fetch_all(&mut self.connection)
        .await?;
        let mut counts = count_states([]);
        for row in &rows {
            let state = rows::trial_state(row.try_get(0)?)?;
            counts.insert(state.name(), unsigned(row.try_get(1)?));
        }
        Ok(counts)
    }

    /// Bytes of the files of all stages: what workers were told and said, and the states on disk.
    pub async fn stage_bytes(&mut self) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "select (select coalesce(sum(bytes), 0) from attempts) + (select coalesce(sum(bytes), 0) from checkpoints)",
        )
        .fetch_one(&mut self.connection)
        .await?;
        Ok(unsigned(row.try_get(0)?))
    }

    /// FLOPs that a sweep has still to be trained for; what would follow after a divergence is not trained.
    pub async fn flops_left(&mut self, sweep: &str) -> Result<f64, StoreError> {
        let row = sqlx::query(
            "select total(flops) from (
               select distinct s.stage, (s.to_steps - s.from_steps) * s.batch_tokens * s.flops_per_token as flops
               from trial_stages ts
               cross join trials t indexed by trials_standing
                 on t.sweep = ts.sweep and t.trial = ts.trial and t.asked = 1 and t.cancelled = 0
               join stages s indexed by stages_standing on s.stage = ts.stage and s.state in ('pending', 'running')
               where ts.sweep = ? and not exists (
                 select 1 from trial_stages d
                 join stages ds indexed by stages_standing on ds.stage = d.stage and ds.state = 'diverged'
                 where d.sweep = ts.sweep and d.trial = ts.trial))",
        )
        .bind(sweep)
        .fetch_one(&mut self.connection)
        .await?;
        Ok(row.try_get(0)?)
    }

    /// FLOPs per second and slot that this home has measured over all; a worker has a slot for each of its threads.
    pub async fn rate(&mut self) -> Result<Option<f64>, StoreError> {
        let row = sqlx::query(
            "select total(a.steps * s.batch_tokens * s.flops_per_token),
               total(a.seconds * json_extract(s.config, '$.numerics.threads'))
             from stages s join attempts a on a.stage = s.stage
             where s.trainer = 'proxy' and a.state = 'complete' and a.seconds > 0",
        )
        .fetch_one(&mut self.connection)
        .await?;
        let (flops, seconds): (f64, f64) = (row.try_get(0)?, row.try_get(1)?);
        Ok((seconds > 0.0).then(|| flops / seconds))
    }

    /// Where a stage stands.
    pub async fn stage_state(&mut self, stage: &StageId) -> Result<StageState, StoreError> {
        rows::stage_state(&mut self.connection, stage).await
    }

    /// The stages that trials of these names pass through.
    pub async fn stages_of(&mut self, trials: &BTreeSet<&str>) -> Result<BTreeSet<String>, StoreError> {
        let rows = sqlx::query("select distinct trial, stage from trial_stages")
            .fetch_all(&mut self.connection)
            .await?;
        let pairs = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let pairs: Vec<(&str, &str)> = pairs.collect::<Result<_, StoreError>>()?;
        let passed = pairs.into_iter().filter(|(trial, _)| trials.contains(trial));
        Ok(passed.map(|(_, stage)| stage.to_owned()).collect())
    }

    /// The stages whose states a stage which is still to be trained starts from: its parent's, and its own.
    pub async fn wanted_states(&mut self) -> Result<BTreeSet<StageId>, StoreError> {
        let rows = sqlx::query(
            "with open as (
               select s.stage, s.parent from trial_stages ts
               join trials t on t.sweep = ts.sweep and t.trial = ts.trial and t.asked = 1 and t.cancelled = 0
               join stages s on s.stage = ts.stage and s.state in ('pending', 'running', 'failed'))
             select stage from open union select parent from open where parent is not null",
        )
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(|row| Ok(StageId(row.try_get(0)?))).collect()
    }

    /// A number that changes whenever another process has written.
    pub async fn data_version(&mut self) -> Result<i64, StoreError> {
        let row = sqlx::query("pragma data_version")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// The trials of a sweep that were taken out.
    pub async fn cancelled(&mut self, sweep: &str) -> Result<BTreeSet<TrialId>, StoreError> {
        let rows = sqlx::query("select trial from trials where sweep = ? and cancelled = 1")
            .bind(sweep)
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(|row| Ok(TrialId(row.try_get(0)?))).collect()
    }

    /// The most memory that a worker took, in bytes, by [`rate_key`].
    pub async fn peaks(&mut self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = sqlx::query(
            "select s.config, max(a.peak_bytes) from stages s join attempts a on a.stage = s.stage
             where a.peak_bytes is not null group by s.config",
        )
        .fetch_all(&mut self.connection)
        .await?;
        let mut peaks: BTreeMap<String, u64> = BTreeMap::new();
        for row in &rows {
            let config: RunConfig = json(row, 0)?;
            let peak = peaks.entry(rate_key(&config)).or_default();
            *peak = (*peak).max(unsigned(row.try_get(1)?));
        }
        Ok(peaks)
    }

    /// How often each stage was tried, and how often its memory was full.
    pub async fn attempts(&mut self) -> Result<BTreeMap<StageId, (u32, u32)>, StoreError> {
        let rows = sqlx::query(
            "select stage, attempts, (select count(*) from attempts a
               where a.stage = s.stage and a.cause = 'out_of_memory') from stages s where attempts > 0",
        )
        .fetch_all(&mut self.connection)
        .await?;
        let count = |row: &SqliteRow, column: usize| -> Result<u32, StoreError> {
            Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(u32::MAX))
        };
        rows.iter()
            .map(|row| Ok((StageId(row.try_get(0)?), (count(row, 1)?, count(row, 2)?))))
            .collect()
    }

    /// The attempts at one stage, the first first.
    pub async fn attempts_at(&mut self, stage: &str) -> Result<Vec<StageAttempt>, StoreError> {
        let rows = sqlx::query(
            "select stage, attempt, state, folder, started_at, ended_at, worker, device, seconds, cause, message,
               from_steps, steps, micro_batch, peak_bytes, spent
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
                    from_steps: row.try_get::<Option<i64>, _>(11)?.map(unsigned),
                    steps: unsigned(row.try_get(12)?),
                    micro_batch: row.try_get::<Option<i64>, _>(13)?.map(unsigned),
                    peak_bytes: row.try_get::<Option<i64>, _>(14)?.map(unsigned),
                    spent: row
                        .try_get::<Option<String>, _>(15)?
                        .map(|text| serde_json::from_str(&text))
                        .transpose()
                        .map_err(|error| StoreError::Damaged(error.to_string()))?,
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
               a.attempt, a.worker, a.pid, a.host, a.device, a.started_at,
               (coalesce(a.from_steps, s.from_steps) - s.from_steps + a.steps) * s.batch_tokens,
               (s.to_steps - s.from_steps) * s.batch_tokens,
               (select p.loss from points p where p.stage = s.stage and p.split = 'train' order by p.step desc limit 1),
               a.pid_started, a.boot, a.folder, a.steps * s.batch_tokens
             from stages s join attempts a on a.stage = s.stage and a.attempt = s.attempts
             where a.state = 'running' order by a.started_at, s.stage",
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
                    pid_started: row.try_get::<Option<i64>, _>(11)?.map(unsigned),
                    boot: row.try_get(12)?,
                    folder: row.try_get(13)?,
                    tokens_made: unsigned(row.try_get(14)?),
                })
            })
            .collect()
    }

    /// FLOPs per second and worker that this home has measured: by model and threads where it has, and over all.
    pub async fn rates(&mut self) -> Result<(BTreeMap<String, f64>, Option<f64>), StoreError> {
        let rows = sqlx::query(
            "select s.config, sum(a.steps * s.batch_tokens * s.flops_per_token), sum(a.seconds)
             from stages s join attempts a on a.stage = s.stage
             where s.trainer = 'proxy' and a.state = 'complete' and a.seconds > 0 group by s.config",
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

    /// Why the trials of a sweep failed: trial, cause, folder of the last attempt.
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
}
