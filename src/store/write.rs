//! Appends to the log, and derives the tables in the same transaction.

use sqlx::{Connection as _, Sqlite, SqliteConnection, Transaction};

use crate::plan::StagePlan;
use crate::stage::StageEvent;
use crate::store::log::{Entry, StageDetail, TrialEntry};
use crate::store::{Store, StoreError};
use crate::units::StageId;
use crate::wire::{Point, Trainer};

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

    /// Adds what a worker measured; a point that is there already is left alone.
    pub async fn add_points(&mut self, stage: &StageId, attempt: u32, points: &[Point]) -> Result<(), StoreError> {
        let mut tx = self.connection.begin_with("begin immediate").await?;
        for point in points {
            sqlx::query(
                "insert into points (stage, step, split, loss, lr, grad_norm, bits_per_byte)
                 values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
            )
            .bind(&stage.0)
            .bind(signed(point.step))
            .bind(&point.split.0)
            .bind(point.loss)
            .bind(point.lr)
            .bind(point.grad_norm)
            .bind(point.bits_per_byte)
            .execute(&mut *tx)
            .await?;
        }
        if let Some(last) = points.iter().map(|point| point.step).max() {
            sqlx::query(
                "update attempts set steps = ?1 - (select from_steps from stages where stage = ?2)
                 where stage = ?2 and attempt = ?3",
            )
            .bind(signed(last))
            .bind(&stage.0)
            .bind(attempt)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Keeps a fit; the same fit again changes nothing.
    pub async fn add_fit(&mut self, at: &str, fit: &crate::store::FitRow) -> Result<(), StoreError> {
        sqlx::query(
            "insert into fits (fit, made_at, sweep, law, body) values (?, ?, ?, ?, ?)
                     on conflict (fit) do update set made_at = excluded.made_at",
        )
        .bind(&fit.fit)
        .bind(at)
        .bind(&fit.sweep)
        .bind(&fit.law)
        .bind(fit.body.to_string())
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    /// Keeps a recipe; the same recipe again changes nothing.
    pub async fn add_recipe(
        &mut self,
        at: &str,
        recipe: &str,
        sweep: Option<&str>,
        body: &serde_json::Value,
    ) -> Result<(), StoreError> {
        sqlx::query("insert into recipes (recipe, made_at, sweep, body) values (?, ?, ?, ?) on conflict do nothing")
            .bind(recipe)
            .bind(at)
            .bind(sweep)
            .bind(body.to_string())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

async fn log(tx: &mut Transaction<'_, Sqlite>, at: &str, entry: &Entry) -> Result<(), StoreError> {
    let (kind, subject) = match entry {
        Entry::SweepPlanned { sweep, .. } => ("sweep_planned", sweep.as_str()),
        Entry::StagePlanned { stage, .. } => ("stage_planned", stage.id.0.as_str()),
        Entry::Stage { stage, .. } => ("stage", stage.0.as_str()),
        Entry::Started { stage, .. } => ("started", stage.0.as_str()),
        Entry::Cancelled { sweep, .. } => ("cancelled", sweep.as_str()),
    };
    let body = serde_json::to_string(entry).map_err(|error| StoreError::Damaged(error.to_string()))?;
    sqlx::query("insert into events (at, kind, subject, body) values (?, ?, ?, ?)")
        .bind(at)
        .bind(kind)
        .bind(subject)
        .bind(body)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn derive(tx: &mut SqliteConnection, at: &str, entry: &Entry) -> Result<(), StoreError> {
    match entry {
        Entry::SweepPlanned {
            sweep,
            description,
            target_params,
            spec,
            trials,
        } => {
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
        Entry::StagePlanned { stage, trainer } => put_stage(tx, stage, *trainer).await,
        Entry::Stage { stage, event, detail } => stage_event(tx, at, stage, *event, detail).await,
        Entry::Started {
            stage,
            attempt,
            pid,
            host,
            device,
            libtorch,
        } => {
            sqlx::query("update attempts set pid = ?, host = ?, device = ? where stage = ? and attempt = ?")
                .bind(*pid)
                .bind(host)
                .bind(device)
                .bind(&stage.0)
                .bind(*attempt)
                .execute(&mut *tx)
                .await?;
            sqlx::query("update stages set device = ?, libtorch = ? where stage = ?")
                .bind(device)
                .bind(libtorch)
                .bind(&stage.0)
                .execute(&mut *tx)
                .await?;
            Ok(())
        }
        Entry::Cancelled { sweep, trials } => {
            for trial in trials {
                sqlx::query("update trials set cancelled = 1 where sweep = ? and trial = ?")
                    .bind(sweep)
                    .bind(trial)
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(())
        }
    }
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
    sqlx::query(
        "insert or replace into trials (sweep, trial, position, asked, slug, leaf, trainer, model,
           params_non_embedding, params_total, width, layers, heads, vocab, context, parametrization, lr, batch_tokens,
           schedule, warmup_tokens, decay_fraction, tokens, steps, seed, flops, flops_per_token, decayed, held_out,
           numerics, code_epoch, data_hash, config_hash, axes, settings, cancelled)
         values (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
           coalesce((select cancelled from trials where sweep = ? and trial = ?), 0))",
    )
    .bind(sweep)
    .bind(&row.trial)
    .bind(signed(position as u64))
    .bind(&row.slug)
    .bind(&leaf.0)
    .bind(&row.trainer)
    .bind(&row.model)
    .bind(signed(row.params_non_embedding))
    .bind(signed(row.params_total))
    .bind(signed(row.width))
    .bind(signed(row.layers))
    .bind(signed(row.heads))
    .bind(signed(row.vocab))
    .bind(signed(row.context))
    .bind(&row.parametrization)
    .bind(row.lr)
    .bind(signed(row.batch_tokens))
    .bind(&row.schedule)
    .bind(signed(row.warmup_tokens))
    .bind(row.decay_fraction)
    .bind(signed(row.tokens))
    .bind(signed(row.steps))
    .bind(signed(row.seed))
    .bind(row.flops)
    .bind(trial.flops_per_token)
    .bind(trial.decayed)
    .bind(&trial.held_out)
    .bind(&row.numerics)
    .bind(signed(row.code_epoch))
    .bind(&row.data_hash)
    .bind(&row.config_hash)
    .bind(serde_json::to_string(&row.axes).map_err(|error| StoreError::Damaged(error.to_string()))?)
    .bind(trial.settings.to_string())
    .bind(sweep)
    .bind(&row.trial)
    .execute(&mut *tx)
    .await?;
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

async fn stage_event(
    tx: &mut SqliteConnection,
    at: &str,
    stage: &StageId,
    event: StageEvent,
    detail: &StageDetail,
) -> Result<(), StoreError> {
    let state = super::rows::stage_state(tx, stage).await?;
    let next = state
        .next(event)
        .map_err(|error| StoreError::Damaged(format!("stage {stage}: {error}")))?;
    sqlx::query("update stages set state = ? where stage = ?")
        .bind(next.name())
        .bind(&stage.0)
        .execute(&mut *tx)
        .await?;
    match event {
        StageEvent::Launched { attempt } => launched(tx, at, stage, attempt, detail).await,
        StageEvent::Completed { attempt } => {
            let checkpoint = detail.checkpoint.as_ref();
            sqlx::query(
                "update stages set seconds = ?, checkpoint = ?, checkpoint_hash = ?, cause = null, finished_at = ?
                 where stage = ?",
            )
            .bind(detail.seconds)
            .bind(checkpoint.map(|it| it.path.display().to_string()))
            .bind(checkpoint.map(|it| it.hash.clone()))
            .bind(at)
            .bind(&stage.0)
            .execute(&mut *tx)
            .await?;
            attempt_ended(tx, at, stage, attempt, "complete", detail).await
        }
        StageEvent::Diverged { attempt } => {
            sqlx::query("update stages set diverged_step = ?, finished_at = ? where stage = ?")
                .bind(detail.step.map(signed))
                .bind(at)
                .bind(&stage.0)
                .execute(&mut *tx)
                .await?;
            attempt_ended(tx, at, stage, attempt, "diverged", detail).await
        }
        StageEvent::Faulted { attempt } => {
            sqlx::query("update stages set cause = ? where stage = ?")
                .bind(detail.cause.map(crate::wire::Cause::name))
                .bind(&stage.0)
                .execute(&mut *tx)
                .await?;
            attempt_ended(tx, at, stage, attempt, "faulted", detail).await
        }
        StageEvent::GaveUp | StageEvent::Reopened => Ok(()),
    }
}

/// A new attempt begins from nothing: what an earlier one measured is not mixed with it.
async fn launched(
    tx: &mut SqliteConnection,
    at: &str,
    stage: &StageId,
    attempt: u32,
    detail: &StageDetail,
) -> Result<(), StoreError> {
    sqlx::query("delete from points where stage = ?")
        .bind(&stage.0)
        .execute(&mut *tx)
        .await?;
    sqlx::query("update stages set attempts = ?, code_version = ? where stage = ?")
        .bind(attempt)
        .bind(&detail.code_version)
        .bind(&stage.0)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into attempts (stage, attempt, state, folder, started_at, worker) values (?, ?, 'running', ?, ?, ?)",
    )
    .bind(&stage.0)
    .bind(attempt)
    .bind(detail.folder.as_deref().unwrap_or_default())
    .bind(at)
    .bind(detail.worker.map(signed))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn attempt_ended(
    tx: &mut SqliteConnection,
    at: &str,
    stage: &StageId,
    attempt: u32,
    state: &str,
    detail: &StageDetail,
) -> Result<(), StoreError> {
    sqlx::query(
        "update attempts set state = ?, ended_at = ?, seconds = ?, peak_bytes = ?, cause = ?, message = ?
         where stage = ? and attempt = ?",
    )
    .bind(state)
    .bind(at)
    .bind(detail.seconds)
    .bind(detail.peak_bytes.map(signed))
    .bind(detail.cause.map(crate::wire::Cause::name))
    .bind(&detail.message)
    .bind(&stage.0)
    .bind(attempt)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// `SQLite`'s integers are signed; counts stay far below the border.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
