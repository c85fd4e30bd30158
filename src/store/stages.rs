//! What the events of a stage and of its attempts do to the tables.

use sqlx::SqliteConnection;

use crate::protocol::{Cause, Checkpoint, Resume};
use crate::stage::StageEvent;
use crate::store::log::{Entry, StageDetail};
use crate::store::rows::signed;
use crate::store::{StoreError, rows};
use crate::units::{StageId, Steps};

/// One lawful step of a stage; anything else is a damaged log.
pub(super) async fn stage_event(
    tx: &mut SqliteConnection,
    at: &str,
    stage: &StageId,
    event: StageEvent,
    detail: &StageDetail,
) -> Result<(), StoreError> {
    let state = rows::stage_state(tx, stage).await?;
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
            attempt_ended(tx, at, stage, attempt, "complete", detail).await?;
            // Only the state at the end is of use now, and only where a fork starts from it.
            sqlx::query("delete from checkpoints where stage = ?")
                .bind(&stage.0)
                .execute(&mut *tx)
                .await?;
            if let Some(checkpoint) = &detail.checkpoint {
                let end = rows::end_of(tx, stage).await?;
                put_checkpoint(tx, stage, attempt, end, checkpoint).await?;
            }
            ended(tx, at, stage, None).await
        }
        StageEvent::Diverged { attempt } => {
            attempt_ended(tx, at, stage, attempt, "diverged", detail).await?;
            sqlx::query("delete from checkpoints where stage = ?")
                .bind(&stage.0)
                .execute(&mut *tx)
                .await?;
            ended(tx, at, stage, detail.step).await
        }
        StageEvent::Faulted { attempt } => {
            sqlx::query("update stages set cause = ? where stage = ?")
                .bind(detail.cause.map(Cause::name))
                .bind(&stage.0)
                .execute(&mut *tx)
                .await?;
            attempt_ended(tx, at, stage, attempt, "faulted", detail).await
        }
        StageEvent::GaveUp | StageEvent::Reopened => Ok(()),
    }
}

/// A stage has its result; its seconds are those of all attempts that brought it forward.
async fn ended(
    tx: &mut SqliteConnection,
    at: &str,
    stage: &StageId,
    diverged_step: Option<u64>,
) -> Result<(), StoreError> {
    sqlx::query(
        "update stages set diverged_step = ?, finished_at = ?, cause = null,
           seconds = (select sum(seconds) from attempts where attempts.stage = stages.stage) where stage = ?",
    )
    .bind(diverged_step.map(signed))
    .bind(at)
    .bind(&stage.0)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// A new attempt; what earlier ones measured stays until its worker says where it begins.
async fn launched(
    tx: &mut SqliteConnection,
    at: &str,
    stage: &StageId,
    attempt: u32,
    detail: &StageDetail,
) -> Result<(), StoreError> {
    sqlx::query("update stages set attempts = ?, code_version = ? where stage = ?")
        .bind(attempt)
        .bind(&detail.code_version)
        .bind(&stage.0)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into attempts (stage, attempt, state, folder, started_at, worker, micro_batch)
         values (?, ?, 'running', ?, ?, ?, ?)",
    )
    .bind(&stage.0)
    .bind(attempt)
    .bind(detail.folder.as_deref().unwrap_or_default())
    .bind(at)
    .bind(detail.worker.map(signed))
    .bind(detail.micro_batch.map(signed))
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
        "update attempts set state = ?, ended_at = ?, seconds = coalesce(?, seconds), peak_bytes = ?, cause = ?,
           message = ?, steps = coalesce(? - from_steps, steps), bytes = ?, spent = ? where stage = ? and attempt = ?",
    )
    .bind(state)
    .bind(at)
    .bind(detail.seconds)
    .bind(detail.peak_bytes.map(signed))
    .bind(detail.cause.map(Cause::name))
    .bind(&detail.message)
    .bind(detail.step.map(signed))
    .bind(detail.bytes.map(signed))
    .bind(
        detail
            .spent
            .map(|spent| serde_json::to_string(&spent).unwrap_or_default()),
    )
    .bind(&stage.0)
    .bind(attempt)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// A worker has begun: takes an [`Entry::Started`].
pub(super) async fn started(tx: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreError> {
    let Entry::Started {
        stage,
        attempt,
        from,
        process,
        host,
        device,
        libtorch,
    } = entry
    else {
        return Ok(());
    };
    sqlx::query(
        "update attempts set from_steps = coalesce(?, (select from_steps from stages where stage = ?)),
           pid = ?, pid_started = ?, boot = ?, host = ?, device = ? where stage = ? and attempt = ?",
    )
    .bind(from.map(|from| signed(from.0)))
    .bind(&stage.0)
    .bind(process.pid)
    .bind(process.started.map(signed))
    .bind(&process.boot)
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
    forget_after(tx, stage, *from).await
}

/// A worker has left a state behind inside a stage.
pub(super) async fn left(
    tx: &mut SqliteConnection,
    stage: &StageId,
    attempt: u32,
    resume: &Resume,
    seconds: f64,
) -> Result<(), StoreError> {
    put_checkpoint(tx, stage, attempt, resume.step.0, &resume.checkpoint).await?;
    sqlx::query("update attempts set seconds = ? where stage = ? and attempt = ?")
        .bind(seconds)
        .bind(&stage.0)
        .bind(attempt)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// States are no longer there.
pub(super) async fn dropped(tx: &mut SqliteConnection, stage: &StageId, steps: &[Steps]) -> Result<(), StoreError> {
    for step in steps {
        sqlx::query("delete from checkpoints where stage = ? and step = ?")
            .bind(&stage.0)
            .bind(signed(step.0))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// What earlier attempts measured beyond the place where this one begins is measured anew; what is complete stands.
async fn forget_after(tx: &mut SqliteConnection, stage: &StageId, from: Option<Steps>) -> Result<(), StoreError> {
    sqlx::query(
        "delete from points where stage = ?1 and step > ?2
           and exists (select 1 from stages where stage = ?1 and state = 'running')",
    )
    .bind(&stage.0)
    .bind(from.map_or(0, |from| signed(from.0)))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// A state is on disk.
async fn put_checkpoint(
    tx: &mut SqliteConnection,
    stage: &StageId,
    attempt: u32,
    step: u64,
    checkpoint: &Checkpoint,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert or replace into checkpoints (stage, step, attempt, path, hash, bytes)
         values (?, ?, ?, ?, ?, ?)",
    )
    .bind(&stage.0)
    .bind(signed(step))
    .bind(attempt)
    .bind(checkpoint.path.display().to_string())
    .bind(&checkpoint.hash)
    .bind(signed(checkpoint.bytes))
    .execute(&mut *tx)
    .await?;
    Ok(())
}
