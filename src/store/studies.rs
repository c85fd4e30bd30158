//! Studies and their decisions: what follows from the log. Refuses to decide.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::campaign::cost::Cost;
use crate::campaign::state::Made;
use crate::store::log::Entry;
use crate::store::rows::{json, signed, unsigned};
use crate::store::{Store, StoreError};

/// A study as it was planned last.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyRow {
    pub study: String,
    /// Its file.
    pub spec: String,
    /// Its frame, JSON.
    pub frame: serde_json::Value,
    pub planned_at: String,
}

impl Store {
    /// The study of that name.
    pub async fn study(&mut self, name: &str) -> Result<Option<StudyRow>, StoreError> {
        let row = sqlx::query("select study, spec, frame, planned_at from studies where study = ?")
            .bind(name)
            .fetch_optional(&mut self.connection)
            .await?;
        row.map(|row| {
            Ok(StudyRow {
                study: row.try_get(0)?,
                spec: row.try_get(1)?,
                frame: json(&row, 2)?,
                planned_at: row.try_get(3)?,
            })
        })
        .transpose()
    }

    /// The decisions of a study, in their order.
    pub async fn decisions(&mut self, study: &str) -> Result<Vec<Made>, StoreError> {
        let rows = sqlx::query(
            "select n, question, what, why, sweep, spec, trials, tokens, flops, seconds, outcome
             from decisions where study = ? order by n",
        )
        .bind(study)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(made).collect()
    }

    /// Whether the last decision of a study ended it, as it was planned last.
    pub async fn study_has_ended(&mut self, study: &str) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "select count(*) from studies s join decisions d using (study)
             where s.study = ? and d.question = 'stop' and d.decided_at >= s.planned_at
               and d.n = (select max(n) from decisions where study = s.study)",
        )
        .bind(study)
        .fetch_one(&mut self.connection)
        .await?;
        Ok(row.try_get::<i64, _>(0)? > 0)
    }

    /// Seconds that workers have spent on the stages of a study's sweeps since it began.
    pub async fn study_seconds(&mut self, study: &str) -> Result<f64, StoreError> {
        let row = sqlx::query(
            "select coalesce(sum(a.seconds), 0.0) from attempts a
             where a.started_at >= (select min(decided_at) from decisions where study = ?1)
               and a.stage in (select p.stage from trial_stages p join decisions d on d.sweep = p.sweep
                               where d.study = ?1)",
        )
        .bind(study)
        .fetch_one(&mut self.connection)
        .await?;
        Ok(row.try_get(0)?)
    }

    /// The newest score of the forecast of a recipe.
    pub async fn score_of(&mut self, recipe: &str) -> Result<Option<serde_json::Value>, StoreError> {
        let row = sqlx::query(
            "select s.body from scores s join forecasts f using (forecast) where f.recipe = ?
             order by s.scored_at desc limit 1",
        )
        .bind(recipe)
        .fetch_optional(&mut self.connection)
        .await?;
        row.as_ref().map(|row| json(row, 0)).transpose()
    }
}

fn made(row: &SqliteRow) -> Result<Made, StoreError> {
    Ok(Made {
        n: unsigned(row.try_get(0)?),
        question: row.try_get(1)?,
        what: row.try_get(2)?,
        why: row.try_get(3)?,
        sweep: row.try_get(4)?,
        text: row.try_get(5)?,
        cost: Cost {
            trials: unsigned(row.try_get(6)?),
            tokens: unsigned(row.try_get(7)?),
            flops: row.try_get(8)?,
            seconds: row.try_get(9)?,
        },
        outcome: row.try_get(10)?,
    })
}

/// Takes an entry about a study.
pub(super) async fn derive(tx: &mut SqliteConnection, at: &str, entry: &Entry) -> Result<(), StoreError> {
    match entry {
        Entry::StudyPlanned { study, spec, frame } => {
            sqlx::query(
                "insert into studies (study, spec, frame, planned_at) values (?, ?, ?, ?)
                 on conflict (study) do update set spec = excluded.spec, frame = excluded.frame,
                   planned_at = excluded.planned_at",
            )
            .bind(study)
            .bind(spec)
            .bind(frame.to_string())
            .bind(at)
            .execute(&mut *tx)
            .await?;
        }
        Entry::Decided { study, decision } => put_decision(tx, at, study, decision).await?,
        Entry::Concluded { study, n, outcome } => {
            let done = sqlx::query(
                "update decisions set outcome = ?, ended_at = ? where study = ? and n = ? and outcome is null",
            )
            .bind(outcome)
            .bind(at)
            .bind(study)
            .bind(signed(*n))
            .execute(&mut *tx)
            .await?;
            if done.rows_affected() == 0 {
                return Err(StoreError::Damaged(format!(
                    "decision {n} of `{study}` ended twice, or was never made"
                )));
            }
        }
        Entry::SweepPlanned { .. }
        | Entry::StagePlanned { .. }
        | Entry::Stage { .. }
        | Entry::Started { .. }
        | Entry::Left { .. }
        | Entry::Dropped { .. }
        | Entry::Registered { .. }
        | Entry::Cancelled { .. } => {}
    }
    Ok(())
}

async fn put_decision(tx: &mut SqliteConnection, at: &str, study: &str, decision: &Made) -> Result<(), StoreError> {
    // What runs nothing is done as soon as it is decided.
    let ended_at = decision.outcome.as_ref().map(|_| at);
    sqlx::query(
        "insert into decisions (study, n, question, what, why, sweep, spec, trials, tokens, flops, seconds, decided_at,
           outcome, ended_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(study)
    .bind(signed(decision.n))
    .bind(&decision.question)
    .bind(&decision.what)
    .bind(&decision.why)
    .bind(&decision.sweep)
    .bind(&decision.text)
    .bind(signed(decision.cost.trials))
    .bind(signed(decision.cost.tokens))
    .bind(decision.cost.flops)
    .bind(decision.cost.seconds)
    .bind(at)
    .bind(&decision.outcome)
    .bind(ended_at)
    .execute(&mut *tx)
    .await?;
    Ok(())
}
