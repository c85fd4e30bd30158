//! What only the live page asks: a few columns of many trials, curves thinned where they lie, the spans of attempts.
//!
//! Every answer costs what is shown, not what is recorded. Refuses to know how it is drawn.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Row as _};

use crate::record::{TrialRow, TrialState};
use crate::store::rows::{SELECT_TRIALS, json, trial_row, trial_state, unsigned};
use crate::store::{Store, StoreError};

/// Measurements of one piece of a curve that enter its mean: enough against noise, few enough for long runs.
const MEAN_OF: u32 = 12;

/// What figures need of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct LeanTrial {
    pub trial: String,
    /// A name that people can read.
    pub slug: String,
    /// What has become of it.
    pub state: TrialState,
    /// Name of its rung.
    pub model: String,
    /// Parameters without the embedding.
    pub params: u64,
    pub lr: f64,
    /// Tokens in a batch.
    pub batch_tokens: u64,
    /// The budget that was asked, in tokens.
    pub tokens_asked: u64,
    /// Final loss, once it has one.
    pub final_loss: Option<f64>,
    /// Whether any of its stages has been on a worker, be it for another trial.
    pub has_begun: bool,
}

/// A stage on the way of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStage {
    pub stage: String,
    pub from_steps: u64,
    pub to_steps: u64,
    /// Whether nothing will be added to it.
    pub is_over: bool,
}

/// When an attempt was at work, and what it made.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptSpan {
    /// When it began, ISO 8601 UTC.
    pub started_at: String,
    /// When it ended; none: it has not.
    pub ended_at: Option<String>,
    /// Tokens that it trained.
    pub tokens: f64,
    /// FLOPs that it spent.
    pub flops: f64,
}

impl Store {
    /// The schema of the database; none: nothing is in it yet.
    pub(super) async fn schema(&mut self) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query("select count(*) from sqlite_master where name = '_sqlx_migrations'")
            .fetch_one(&mut self.connection)
            .await?;
        if row.try_get::<i64, _>(0)? == 0 {
            return Ok(None);
        }
        let row = sqlx::query("select max(version) from _sqlx_migrations where success")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// The trial of that name: in a sweep, or in the first that asks for it and has not taken it out.
    pub async fn trial_named(&mut self, trial: &str, sweep: Option<&str>) -> Result<Option<TrialRow>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!(
            "{SELECT_TRIALS} and trial = ?1 and (?2 is null or sweep = ?2) order by state = 'cancelled', sweep limit 1"
        )))
        .bind(trial)
        .bind(sweep)
        .fetch_optional(&mut self.connection)
        .await?;
        row.map(|row| trial_row(&row)).transpose()
    }

    /// How many trials a sweep asks for.
    pub async fn trial_count(&mut self, sweep: &str) -> Result<u64, StoreError> {
        let row = sqlx::query("select count(*) from trials where sweep = ? and asked = 1")
            .bind(sweep)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(unsigned(row.try_get(0)?))
    }

    /// Some trials of a sweep: in the order of its file, or those with the lowest final losses first.
    pub async fn trial_page(
        &mut self,
        sweep: &str,
        offset: u64,
        limit: u64,
        is_best_first: bool,
    ) -> Result<Vec<TrialRow>, StoreError> {
        let (asked, order) = if is_best_first {
            let order = "final_loss is null, final_loss, position";
            ("v_sweep_trials where trainer <> 'imported'", order)
        } else {
            ("trials where asked = 1", "position")
        };
        let rows = sqlx::query(AssertSqlSafe(format!(
            "{SELECT_TRIALS} and sweep = ?1 and trial in (
               select trial from {asked} and sweep = ?1 order by {order} limit ?2 offset ?3)
             order by {order}"
        )))
        .bind(sweep)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(trial_row).collect()
    }

    /// What figures need of the trials of a sweep, in the order of its file.
    pub async fn lean_trials(&mut self, sweep: &str) -> Result<Vec<LeanTrial>, StoreError> {
        let rows = sqlx::query(
            "select trial, slug, state, model, params_non_embedding, lr, batch_tokens, tokens_asked, final_loss,
               exists (select 1 from trial_stages ts join stages s using (stage)
                 where ts.sweep = v.sweep and ts.trial = v.trial and s.state <> 'pending')
             from v_sweep_trials v where trainer <> 'imported' and sweep = ? order by position",
        )
        .bind(sweep)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(LeanTrial {
                    trial: row.try_get(0)?,
                    slug: row.try_get(1)?,
                    state: trial_state(row.try_get(2)?)?,
                    model: row.try_get(3)?,
                    params: unsigned(row.try_get(4)?),
                    lr: row.try_get(5)?,
                    batch_tokens: unsigned(row.try_get(6)?),
                    tokens_asked: unsigned(row.try_get(7)?),
                    final_loss: row.try_get(8)?,
                    has_begun: row.try_get(9)?,
                })
            })
            .collect()
    }

    /// The stages of these trials of a sweep, in order.
    pub async fn paths(
        &mut self,
        sweep: &str,
        trials: &[&str],
    ) -> Result<BTreeMap<String, Vec<PathStage>>, StoreError> {
        let rows = sqlx::query(
            "select ts.trial, s.stage, s.from_steps, s.to_steps, s.state in ('complete', 'diverged')
             from json_each(?2) wanted
             cross join trial_stages ts on ts.sweep = ?1 and ts.trial = wanted.value
             join stages s on s.stage = ts.stage order by ts.trial, ts.position",
        )
        .bind(sweep)
        .bind(serde_json::json!(trials).to_string())
        .fetch_all(&mut self.connection)
        .await?;
        let mut paths: BTreeMap<String, Vec<PathStage>> = BTreeMap::new();
        for row in &rows {
            paths.entry(row.try_get(0)?).or_default().push(PathStage {
                stage: row.try_get(1)?,
                from_steps: unsigned(row.try_get(2)?),
                to_steps: unsigned(row.try_get(3)?),
                is_over: row.try_get(4)?,
            });
        }
        Ok(paths)
    }

    /// The training loss of a stage: of each piece between two of these `edges` that has measurements, the mean step
    /// and the mean loss of its last few.
    pub async fn thinned(&mut self, stage: &str, edges: &[u64]) -> Result<Vec<(f64, f64)>, StoreError> {
        let pieces: Vec<(u64, u64)> = edges.windows(2).map(|edge| (edge[0], edge[1])).collect();
        // Each piece is found by the key of `points`; nothing but its last few rows is read.
        let rows = sqlx::query(
            "select (
               select json_array(avg(step), avg(loss)) from (
                 select step, loss from points
                 where stage = ?1 and step > json_extract(piece.value, '$[0]')
                   and step <= json_extract(piece.value, '$[1]') and split = 'train'
                 order by step desc limit ?3))
             from json_each(?2) piece",
        )
        .bind(stage)
        .bind(serde_json::json!(pieces).to_string())
        .bind(MEAN_OF)
        .fetch_all(&mut self.connection)
        .await?;
        let mut points = Vec::new();
        for row in &rows {
            let (step, loss): (Option<f64>, Option<f64>) = json(row, 0)?;
            points.extend(step.zip(loss));
        }
        Ok(points)
    }

    /// The attempts that were at work after a moment, ISO 8601 UTC.
    pub async fn attempts_after(&mut self, moment: &str) -> Result<Vec<AttemptSpan>, StoreError> {
        let rows = sqlx::query(
            "select a.started_at, a.ended_at, a.steps * s.batch_tokens, a.steps * s.batch_tokens * s.flops_per_token
             from attempts a cross join stages s on s.stage = a.stage
             where a.state = 'running' or a.ended_at > ?",
        )
        .bind(moment)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(AttemptSpan {
                    started_at: row.try_get(0)?,
                    ended_at: row.try_get(1)?,
                    tokens: row.try_get::<i64, _>(2)? as f64,
                    flops: row.try_get(3)?,
                })
            })
            .collect()
    }
}
