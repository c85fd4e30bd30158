//! Appends to the log, and derives the tables in the same transaction.

use sqlx::{Connection as _, QueryBuilder, SqliteConnection};

use crate::plan::StagePlan;
use crate::protocol::{Point, Trainer};
use crate::record::{Column, Origin, TrialRow, Value};
use crate::store::log::{Entry, TrialEntry};
use crate::store::rows::signed;
use crate::store::{Store, StoreError, stages, studies};
use crate::units::StageId;

/// What a worker said, as the database takes it in.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few of them at a time")]
pub enum Said {
    Points(Vec<Point>),
    /// Something for the log.
    Entry(Entry),
}

impl Store {
    /// Appends entries and derives the tables, all or nothing.
    pub async fn append(&mut self, at: &str, entries: &[Entry]) -> Result<(), StoreError> {
        let mut tx = self.connection.begin_with("begin immediate").await?;
        for entry in entries {
            log(&mut tx, at, entry).await?;
            derive(&mut tx, at, entry).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Takes in what a worker said, in its order and all or nothing: points that are there already are left alone.
    pub async fn take_in(&mut self, at: &str, stage: &StageId, attempt: u32, said: &[Said]) -> Result<(), StoreError> {
        let mut tx = self.connection.begin_with("begin immediate").await?;
        for said in said {
            match said {
                Said::Points(points) => put_points(&mut tx, stage, attempt, points).await?,
                Said::Entry(entry) => {
                    log(&mut tx, at, entry).await?;
                    derive(&mut tx, at, entry).await?;
                }
            }
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Rows of one statement: 7 values each, and `SQLite` takes 32,766.
const ROWS: usize = 512;

async fn put_points(
    tx: &mut SqliteConnection,
    stage: &StageId,
    attempt: u32,
    points: &[Point],
) -> Result<(), StoreError> {
    for rows in points.chunks(ROWS) {
        let mut query =
            QueryBuilder::new("insert into points (stage, step, split, loss, lr, grad_norm, bits_per_byte) ");
        query.push_values(rows, |mut row, point| {
            row.push_bind(&stage.0)
                .push_bind(signed(point.step))
                .push_bind(&point.split.0)
                .push_bind(point.loss)
                .push_bind(point.lr)
                .push_bind(point.grad_norm)
                .push_bind(point.bits_per_byte);
        });
        query.push(" on conflict do nothing");
        query.build().execute(&mut *tx).await?;
    }
    if let Some(last) = points.iter().map(|point| point.step).max() {
        sqlx::query("update attempts set steps = max(steps, ?1 - from_steps) where stage = ?2 and attempt = ?3")
            .bind(signed(last))
            .bind(&stage.0)
            .bind(attempt)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

pub(super) async fn log(tx: &mut SqliteConnection, at: &str, entry: &Entry) -> Result<(), StoreError> {
    let (kind, subject) = match entry {
        Entry::SweepPlanned { sweep, .. } => ("sweep_planned", sweep.as_str()),
        Entry::StagePlanned { stage, .. } => ("stage_planned", stage.id.0.as_str()),
        Entry::Stage { stage, .. } => ("stage", stage.0.as_str()),
        Entry::Started { stage, .. } => ("started", stage.0.as_str()),
        Entry::Left { stage, .. } => ("left", stage.0.as_str()),
        Entry::Dropped { stage, .. } => ("dropped", stage.0.as_str()),
        Entry::Cancelled { sweep, .. } => ("cancelled", sweep.as_str()),
        Entry::Registered { forecast, .. } => ("registered", forecast.as_str()),
        Entry::StudyPlanned { study, .. } => ("study_planned", study.as_str()),
        Entry::Decided { study, .. } => ("decided", study.as_str()),
        Entry::Concluded { study, .. } => ("concluded", study.as_str()),
    };
    let body = serde_json::to_string(entry).map_err(|error| StoreError::Damaged(error.to_string()))?;
    sqlx::query("insert into events (at, kind, subject, body) values (?, ?, ?, ?)")
        .bind(at)
        .bind(kind)
        .bind(subject)
        .bind(body)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

pub(super) async fn derive(tx: &mut SqliteConnection, at: &str, entry: &Entry) -> Result<(), StoreError> {
    match entry {
        Entry::SweepPlanned { .. } => put_sweep(tx, at, entry).await,
        Entry::StagePlanned { stage, trainer } => put_stage(tx, stage, *trainer).await,
        Entry::Stage { stage, event, detail } => stages::stage_event(tx, at, stage, *event, detail).await,
        Entry::Started { .. } => stages::started(tx, entry).await,
        Entry::Left {
            stage,
            attempt,
            resume,
            seconds,
        } => stages::left(tx, stage, *attempt, resume, *seconds).await,
        Entry::Dropped { stage, steps, .. } => stages::dropped(tx, stage, steps).await,
        // Its table is beside the log, like those of fits.
        Entry::Registered { .. } => Ok(()),
        Entry::StudyPlanned { .. } | Entry::Decided { .. } | Entry::Concluded { .. } => {
            studies::derive(tx, at, entry).await
        }
        Entry::Cancelled { sweep, trials, undo } => {
            for trial in trials {
                sqlx::query("update trials set cancelled = ? where sweep = ? and trial = ?")
                    .bind(!undo)
                    .bind(sweep)
                    .bind(trial)
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(())
        }
    }
}

/// Takes a [`Entry::SweepPlanned`].
async fn put_sweep(tx: &mut SqliteConnection, at: &str, entry: &Entry) -> Result<(), StoreError> {
    let Entry::SweepPlanned {
        sweep,
        description,
        target_params,
        spec,
        trials,
    } = entry
    else {
        return Ok(());
    };
    sqlx::query(
        "insert into sweeps (sweep, description, target_params, spec, planned_at) values (?, ?, ?, ?, ?)
         on conflict (sweep) do update set description = excluded.description,
           target_params = excluded.target_params, spec = excluded.spec, planned_at = excluded.planned_at",
    )
    .bind(sweep)
    .bind(description)
    .bind(target_params.map(signed))
    .bind(spec)
    .bind(at)
    .execute(&mut *tx)
    .await?;
    sqlx::query("update trials set asked = 0 where sweep = ?")
        .bind(sweep)
        .execute(&mut *tx)
        .await?;
    for (position, trial) in trials.iter().enumerate() {
        put_trial(tx, sweep, position, trial).await?;
    }
    Ok(())
}

async fn put_trial(
    tx: &mut SqliteConnection,
    sweep: &str,
    position: usize,
    trial: &TrialEntry,
) -> Result<(), StoreError> {
    let row = &trial.row;
    let leaf = trial
        .stages
        .last()
        .ok_or_else(|| StoreError::Damaged(format!("trial {} has no stage", row.trial)))?;
    // The path goes first: its rows name the trial's, which is replaced.
    sqlx::query("delete from trial_stages where sweep = ? and trial = ?")
        .bind(sweep)
        .bind(&row.trial)
        .execute(&mut *tx)
        .await?;
    let planned: Vec<&Column> = TrialRow::COLUMNS
        .iter()
        .filter(|it| it.origin == Origin::Plan)
        .collect();
    let names: Vec<&str> = planned.iter().map(|column| column.name).collect();
    let mut query = QueryBuilder::new(format!(
        "insert or replace into trials (asked, position, leaf, flops_per_token, decayed, held_out, axes, settings, {},
           cancelled) values (1, ",
        names.join(", ")
    ));
    let mut values = query.separated(", ");
    values
        .push_bind(signed(position as u64))
        .push_bind(&leaf.0)
        .push_bind(trial.flops_per_token)
        .push_bind(trial.decayed)
        .push_bind(&trial.held_out)
        .push_bind(serde_json::to_string(&row.axes).map_err(|error| StoreError::Damaged(error.to_string()))?)
        .push_bind(trial.settings.to_string());
    for column in planned {
        match (column.get)(row) {
            Value::Missing => values.push("null"),
            Value::Count(count) => values.push_bind(signed(count)),
            Value::Number(number) => values.push_bind(number),
            Value::Text(text) => values.push_bind(text),
        };
    }
    values
        .push("coalesce((select cancelled from trials where sweep = ")
        .push_bind_unseparated(sweep)
        .push_unseparated(" and trial = ")
        .push_bind_unseparated(&row.trial)
        .push_unseparated("), 0))");
    query.build().execute(&mut *tx).await?;
    put_path(tx, sweep, &row.trial, &trial.stages).await
}

async fn put_path(tx: &mut SqliteConnection, sweep: &str, trial: &str, stages: &[StageId]) -> Result<(), StoreError> {
    for (position, stage) in stages.iter().enumerate() {
        sqlx::query("insert into trial_stages (sweep, trial, position, stage) values (?, ?, ?, ?)")
            .bind(sweep)
            .bind(trial)
            .bind(signed(position as u64))
            .bind(&stage.0)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

async fn put_stage(tx: &mut SqliteConnection, stage: &StagePlan, trainer: Trainer) -> Result<(), StoreError> {
    let config = serde_json::to_string(&stage.config).map_err(|error| StoreError::Damaged(error.to_string()))?;
    // A pending stage may be cut anew by a later plan; a result keeps the cut that it was trained by.
    sqlx::query(
        "insert into stages (stage, parent, lineage, kind, config, trainer, from_steps, to_steps, batch_tokens,
           flops_per_token)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         on conflict (stage) do update set parent = excluded.parent, from_steps = excluded.from_steps
         where state in ('pending', 'failed')",
    )
    .bind(&stage.id.0)
    .bind(stage.parent.as_ref().map(|parent| &parent.0))
    .bind(&stage.lineage)
    .bind(stage.kind.name())
    .bind(config)
    .bind(trainer.name())
    .bind(signed(stage.from.0))
    .bind(signed(stage.to.0))
    .bind(signed(stage.config.batch_tokens.0))
    .bind(crate::plan::flops_per_token(&stage.config))
    .execute(&mut *tx)
    .await?;
    Ok(())
}
