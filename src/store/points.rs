//! Reads recorded points: all of them, those of some trials, or how many there are.
//!
//! Refuses to thin: who asks for a trial gets every point of it.

use futures_util::TryStreamExt as _;
use serde_json::json;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::record::PointRow;
use crate::store::rows::unsigned;
use crate::store::{Store, StoreError};

impl Store {
    /// The points of the trials of a sweep, or of all, ordered by trial, step, split.
    pub async fn points(&mut self, sweep: Option<&str>) -> Result<Vec<PointRow>, StoreError> {
        let mut points = Vec::new();
        self.each_point(sweep, &mut |point| points.push(point)).await?;
        Ok(points)
    }

    /// The same, one by one: there may be more of them than memory.
    pub async fn each_point(&mut self, sweep: Option<&str>, take: &mut dyn FnMut(PointRow)) -> Result<(), StoreError> {
        let mut rows = sqlx::query(
            "select trial, stage, step, tokens, flops, lr, split, loss, grad_norm, seconds, peak_lr from v_points
             where ?1 is null or trial in (select trial from trials where sweep = ?1 and asked = 1)
             order by trial, step, split",
        )
        .bind(sweep)
        .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await? {
            take(point_row(&row)?);
        }
        Ok(())
    }

    /// The training curve of a trial: step, learning rate and loss, by step.
    pub async fn training_curve(&mut self, sweep: &str, trial: &str) -> Result<Vec<(f64, f64, f64)>, StoreError> {
        let rows = sqlx::query(
            "select cast(p.step as real), p.lr, p.loss from trial_stages ts join points p on p.stage = ts.stage
             where ts.sweep = ?1 and ts.trial = ?2 and p.split = 'train' and p.lr is not null order by p.step",
        )
        .bind(sweep)
        .bind(trial)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .collect()
    }

    /// The points of some trials of a sweep, one by one, trial after trial as they are named, by step and split.
    pub async fn each_point_of(
        &mut self,
        sweep: &str,
        trials: &[String],
        take: &mut dyn FnMut(PointRow),
    ) -> Result<(), StoreError> {
        for trial in trials {
            // Not from `v_points`: that looks through every trial for each one.
            let mut rows = sqlx::query(
                "select t.trial, p.stage, p.step, p.step * t.batch_tokens, p.step * t.batch_tokens * t.flops_per_token,
                   p.lr, p.split, p.loss, p.grad_norm,
                   path.seconds_before
                     + path.seconds * (p.step - path.from_steps) / (path.end_steps - path.from_steps), t.lr
                 from v_paths path
                 join trials t on t.sweep = ?1 and t.trial = ?2 and t.asked = 1
                 join points p on p.stage = path.stage
                 where path.sweep = ?1 and path.trial = ?2
                 order by p.step, p.split",
            )
            .bind(sweep)
            .bind(trial)
            .fetch(&mut self.connection);
            while let Some(row) = rows.try_next().await? {
                take(point_row(&row)?);
            }
        }
        Ok(())
    }

    /// How many points the trials of some sweeps have, a trial of several counted once, as the first of them has it; the
    /// points of a shared trunk count for each.
    pub async fn count_points(&mut self, sweeps: &[&str]) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "select coalesce(sum((select count(*) from points p where p.stage = ts.stage)), 0)
             from (select trial, sweep, min(named.key) from json_each(?1) named join trials on sweep = named.value
                   where asked = 1 group by trial) t
             join trial_stages ts on ts.sweep = t.sweep and ts.trial = t.trial",
        )
        .bind(json!(sweeps).to_string())
        .fetch_one(&mut self.connection)
        .await?;
        Ok(unsigned(row.try_get(0)?))
    }
}

fn point_row(row: &SqliteRow) -> Result<PointRow, StoreError> {
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
        seconds: row.try_get(9)?,
        peak_lr: row.try_get(10)?,
    })
}
