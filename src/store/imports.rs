//! Runs of others in the database: tables of their own, beside the log.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, QueryBuilder, Row as _};

use crate::fit::observation::Observation;
use crate::protocol::Trainer;
use crate::record::{ImportedTrial, TrialState};
use crate::store::rows::signed;
use crate::store::rows::unsigned;
use crate::store::{Store, StoreError};

/// Where imported runs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRow {
    /// The name that they have here.
    pub import: String,
    pub source: String,
    pub source_hash: String,
}

/// Rows of one statement: 11 values each, and `SQLite` takes 32,766.
const ROWS: usize = 1000;

impl Store {
    /// Keeps runs under a name, in the place of what had that name before.
    pub async fn add_import(&mut self, at: &str, row: &ImportRow, runs: &[Observation]) -> Result<(), StoreError> {
        let mut tx = self.connection.begin_with("begin immediate").await?;
        for table in [
            "delete from imported_runs where import = ?",
            "delete from imports where import = ?",
        ] {
            sqlx::query(table).bind(&row.import).execute(&mut *tx).await?;
        }
        sqlx::query("insert into imports (import, source, source_hash, imported_at) values (?, ?, ?, ?)")
            .bind(&row.import)
            .bind(&row.source)
            .bind(&row.source_hash)
            .bind(at)
            .execute(&mut *tx)
            .await?;
        for (chunk, runs) in runs.chunks(ROWS).enumerate() {
            let mut query = QueryBuilder::new(
                "insert into imported_runs (import, position, label, params, tokens, loss, lr, batch_tokens, schedule,
                   seed, flops) ",
            );
            query.push_values(runs.iter().enumerate(), |mut values, (index, run)| {
                values
                    .push_bind(&row.import)
                    .push_bind(signed((chunk * ROWS + index) as u64))
                    .push_bind(&run.label)
                    .push_bind(run.params)
                    .push_bind(run.tokens)
                    .push_bind(run.loss)
                    .push_bind(run.lr)
                    .push_bind(run.batch_tokens)
                    .push_bind(&run.schedule)
                    .push_bind(run.seed.map(signed))
                    .push_bind(run.flops);
            });
            query.build().execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The names of what was imported.
    pub async fn imports(&mut self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("select import from imports order by import")
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The runs of an import, or of all, as they stand among the trials.
    pub async fn imported_trials(&mut self, import: Option<&str>) -> Result<Vec<ImportedTrial>, StoreError> {
        let rows = sqlx::query(
            "select trial, sweep, slug, params_non_embedding, lr, batch_tokens, schedule, tokens, seed, flops, final_loss,
               data_hash
             from v_trials where trainer = 'imported' and (?1 is null or sweep = ?1) order by sweep, position",
        )
        .bind(import)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(imported_trial).collect()
    }

    /// The runs of an import, in the order of their file.
    pub async fn imported(&mut self, import: &str) -> Result<Vec<Observation>, StoreError> {
        let rows = sqlx::query(
            "select label, params, tokens, loss, lr, batch_tokens, schedule, seed, flops from imported_runs
             where import = ? order by position",
        )
        .bind(import)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(observation).collect()
    }
}

fn imported_trial(row: &SqliteRow) -> Result<ImportedTrial, StoreError> {
    Ok(ImportedTrial {
        trial: row.try_get(0)?,
        sweep: row.try_get(1)?,
        slug: row.try_get(2)?,
        state: TrialState::Complete,
        trainer: Trainer::Imported,
        params_non_embedding: row.try_get(3)?,
        lr: row.try_get(4)?,
        batch_tokens: row.try_get(5)?,
        schedule: row.try_get(6)?,
        tokens: row.try_get(7)?,
        seed: row.try_get::<Option<i64>, _>(8)?.map(unsigned),
        flops: row.try_get(9)?,
        final_loss: row.try_get(10)?,
        data_hash: row.try_get(11)?,
    })
}

fn observation(row: &SqliteRow) -> Result<Observation, StoreError> {
    Ok(Observation {
        label: row.try_get(0)?,
        params: row.try_get(1)?,
        tokens: row.try_get(2)?,
        loss: row.try_get(3)?,
        lr: row.try_get(4)?,
        batch_tokens: row.try_get(5)?,
        schedule: row.try_get(6)?,
        seed: row.try_get::<Option<i64>, _>(7)?.map(unsigned),
        flops: row.try_get(8)?,
        setup: None,
    })
}
