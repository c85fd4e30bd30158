//! The database checked against its log, told from another by one hash, and copied.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use crate::store::log::Entry;
use crate::store::rows::unsigned;
use crate::store::{Store, StoreError, write};

/// The tables that follow from the log, with their keys.
const DERIVED: [(&str, &str); 8] = [
    ("sweeps", "sweep"),
    ("stages", "stage"),
    ("attempts", "stage, attempt"),
    ("trials", "sweep, trial"),
    ("trial_stages", "sweep, trial, position"),
    ("checkpoints", "stage, step"),
    ("studies", "study"),
    ("decisions", "study, n"),
];

/// A counter of a running attempt, which is ahead of the log until the attempt ends.
const LIVE: (&str, &str) = ("attempts", "steps");

/// What every part of the result is, but for what a disturbance may change: times, attempts, places. A column that came
/// later and follows from the others (`tokens_asked`) stays out, so that older digests can be compared; a trial counts
/// for each of its sweeps.
const RESULTS: [&str; 3] = [
    "select 'trial', trial, sweep, slug, state, trainer, model, params_non_embedding, params_total, width, layers, heads,
       vocab, context, parametrization, lr, batch_tokens, schedule, warmup_tokens, decay_fraction, tokens, steps, seed,
       flops, final_loss, bits_per_byte, diverged_at_tokens, device, numerics, code_epoch, code_version, data_hash,
       config_hash, axes_json as axes
     from v_sweep_trials where trainer <> 'imported' order by sweep, trial",
    "select 'stage', stage, parent, kind, from_tokens, to_tokens, state, trials
     from v_stages where trials > 0 order by stage",
    "select 'point', stage, step, split, loss, lr, grad_norm, bits_per_byte
     from points where stage in (select stage from v_stages where trials > 0) order by stage, step, split",
];

/// Points that cannot be right, and how that is said.
const POINTS: [(&str, &str); 3] = [
    (
        "a point lies outside its stage",
        "select distinct p.stage from points p join stages s using (stage)
         where p.step <= s.from_steps or p.step > s.to_steps",
    ),
    (
        "the stage is complete, but not every step has its point",
        "select s.stage from stages s where s.state = 'complete' and s.trainer = 'proxy' and s.to_steps - s.from_steps <>
           (select count(*) from points p where p.stage = s.stage and p.split = 'train')",
    ),
    (
        "the stage is complete, but its loss on held-out data is missing",
        "select s.stage from stages s where s.state = 'complete' and not exists
           (select 1 from points p where p.stage = s.stage and p.step = s.to_steps and p.split <> 'train')",
    ),
];

/// Something in the database that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The table, or the file.
    pub table: String,
    pub key: String,
    pub what: String,
}

impl Store {
    /// Replays the log into an empty database and compares; also asks `SQLite`, and counts the points.
    pub async fn check(&mut self) -> Result<(u64, Vec<Problem>), StoreError> {
        let mut problems = Vec::new();
        let problem = |table: &str, key: String, what: &str| Problem {
            table: table.to_owned(),
            key,
            what: what.to_owned(),
        };
        for row in sqlx::query("pragma integrity_check")
            .fetch_all(&mut self.connection)
            .await?
        {
            let said: String = row.try_get(0)?;
            if said != "ok" {
                problems.push(problem("database", String::new(), &said));
            }
        }
        for row in sqlx::query("pragma foreign_key_check")
            .fetch_all(&mut self.connection)
            .await?
        {
            problems.push(problem(
                row.try_get(0)?,
                String::new(),
                "a row names one that is not there",
            ));
        }
        let (events, mut replayed) = self.replay().await?;
        for (table, key) in DERIVED {
            let mut is = dump(&mut self.connection, table, key).await?;
            let should = dump(&mut replayed, table, key).await?;
            for (key, row) in should {
                match is.remove(&key) {
                    None => problems.push(problem(table, key, "the log has it, the table does not")),
                    Some(found) if found != row => {
                        let what = format!("the table says {found}, the log {row}");
                        problems.push(problem(table, key, &what));
                    }
                    Some(_) => {}
                }
            }
            problems.extend(
                is.into_keys()
                    .map(|key| problem(table, key, "the table has it, the log does not")),
            );
        }
        for (what, sql) in POINTS {
            for row in sqlx::query(sql).fetch_all(&mut self.connection).await? {
                problems.push(problem("points", row.try_get(0)?, what));
            }
        }
        Ok((events, problems))
    }

    /// A database in memory that holds what follows from the log, and the number of its entries.
    async fn replay(&mut self) -> Result<(u64, SqliteConnection), StoreError> {
        let mut empty = SqliteConnectOptions::new()
            .in_memory(true)
            .disable_statement_logging()
            .connect()
            .await?;
        sqlx::migrate!("./migrations")
            .run(&mut empty)
            .await
            .map_err(|error| StoreError::Damaged(error.to_string()))?;
        let rows = sqlx::query("select seq, at, body from events order by seq")
            .fetch_all(&mut self.connection)
            .await?;
        let mut tx = empty.begin().await?;
        for row in &rows {
            let damaged = |error: &dyn std::fmt::Display| {
                StoreError::Damaged(format!("entry {}: {error}", row.try_get::<i64, _>(0).unwrap_or(0)))
            };
            let entry = Entry::read(row.try_get(2)?).map_err(|error| damaged(&error))?;
            write::derive(&mut tx, row.try_get(1)?, &entry)
                .await
                .map_err(|error| damaged(&error))?;
        }
        tx.commit().await?;
        Ok((rows.len() as u64, empty))
    }

    /// One hash over every result: equal hashes are equal results.
    pub async fn digest(&mut self) -> Result<String, StoreError> {
        use futures_util::TryStreamExt as _;
        let mut hasher = blake3::Hasher::new();
        for sql in RESULTS {
            let mut rows = sqlx::query(sql).fetch(&mut self.connection);
            while let Some(row) = rows.try_next().await? {
                hasher.update(text_of(&row, None)?.as_bytes());
                hasher.update(b"\n");
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Copies the database, as it is at one moment, into a file that must not exist yet.
    pub async fn backup(&mut self, to: &Path) -> Result<(), StoreError> {
        sqlx::query("vacuum into ?")
            .bind(to.display().to_string())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

/// Every row of a table as text, by its key.
async fn dump(
    connection: &mut SqliteConnection,
    table: &str,
    key: &str,
) -> Result<BTreeMap<String, String>, StoreError> {
    let live = (table == LIVE.0).then_some(LIVE.1);
    let sql = format!(
        "select {}, * from {table}",
        key.split(", ").collect::<Vec<_>>().join(" || ' ' || ")
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, text_of(row, live)?)))
        .collect()
}

/// The values of a row but the first, each with its column; numbers in their shortest form.
fn text_of(row: &SqliteRow, without: Option<&str>) -> Result<String, StoreError> {
    use sqlx::{Column as _, TypeInfo as _, ValueRef as _};
    let mut text = String::new();
    for column in row
        .columns()
        .iter()
        .skip(1)
        .filter(|column| Some(column.name()) != without)
    {
        let value = row.try_get_raw(column.ordinal())?;
        let value = if value.is_null() {
            "null".to_owned()
        } else {
            match value.type_info().name() {
                "INTEGER" => unsigned(row.try_get(column.ordinal())?).to_string(),
                "REAL" => format!("{:?}", row.try_get::<f64, _>(column.ordinal())?),
                _ => format!("{:?}", row.try_get::<&str, _>(column.ordinal())?),
            }
        };
        text.push_str(&format!("{}={value} ", column.name()));
    }
    Ok(text)
}
