//! Fits and recipes that are kept. Refuses to know what stands in them.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::store::log::Entry;
use crate::store::rows::json;
use crate::store::{Store, StoreError, write};

/// A fit that was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitRow {
    pub fit: String,
    /// The sweep that it rests on; none: somebody's file.
    pub sweep: Option<String>,
    pub law: String,
    pub body: serde_json::Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastRow {
    /// Its name: the beginning of its hash.
    pub forecast: String,
    /// When it was registered.
    pub registered_at: String,
    /// The recipe that it is of.
    pub recipe: String,
    /// blake3 of the body.
    pub hash: String,
    /// The recipe as it was, JSON.
    pub body: String,
}

impl Store {
    /// Keeps a fit; the same fit again becomes the newest.
    pub async fn add_fit(&mut self, at: &str, fit: &FitRow) -> Result<(), StoreError> {
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

    /// Makes a fit the newest.
    pub async fn touch_fit(&mut self, at: &str, fit: &str) -> Result<(), StoreError> {
        sqlx::query("update fits set made_at = ? where fit = ?")
            .bind(at)
            .bind(fit)
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

    /// The newest recipe whose name begins like this.
    pub async fn recipe(&mut self, name: &str) -> Result<Option<serde_json::Value>, StoreError> {
        let row = sqlx::query(
            "select body from recipes where substr(recipe, 1, length(?1)) = ?1 order by made_at desc, recipe limit 1",
        )
        .bind(name)
        .fetch_optional(&mut self.connection)
        .await?;
        row.as_ref().map(|row| json(row, 0)).transpose()
    }

    /// Freezes a forecast, and puts its hash into the log before the events of its run; one that is there already stays
    /// as it was.
    pub async fn add_forecast(&mut self, forecast: &ForecastRow) -> Result<(), StoreError> {
        let mut tx = self.connection.begin_with("begin immediate").await?;
        let added = sqlx::query(
            "insert into forecasts (forecast, registered_at, recipe, hash, body) values (?, ?, ?, ?, ?)
             on conflict do nothing",
        )
        .bind(&forecast.forecast)
        .bind(&forecast.registered_at)
        .bind(&forecast.recipe)
        .bind(&forecast.hash)
        .bind(&forecast.body)
        .execute(&mut *tx)
        .await?;
        if added.rows_affected() > 0 {
            let entry = Entry::Registered {
                forecast: forecast.forecast.clone(),
                hash: forecast.hash.clone(),
            };
            write::log(&mut tx, &forecast.registered_at, &entry).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// When the first stage of a sweep's trials was given to a worker.
    pub async fn first_launch(&mut self, sweep: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query(
            "select min(a.started_at) from trial_stages t join attempts a on a.stage = t.stage where t.sweep = ?",
        )
        .bind(sweep)
        .fetch_one(&mut self.connection)
        .await?;
        Ok(row.try_get(0)?)
    }

    /// The forecasts whose name begins like this; of all, the newest first.
    pub async fn forecasts(&mut self, name: &str) -> Result<Vec<ForecastRow>, StoreError> {
        let rows = sqlx::query(
            "select forecast, registered_at, recipe, hash, body from forecasts
             where substr(forecast, 1, length(?1)) = ?1 order by registered_at desc, forecast",
        )
        .bind(name)
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ForecastRow {
                    forecast: row.try_get(0)?,
                    registered_at: row.try_get(1)?,
                    recipe: row.try_get(2)?,
                    hash: row.try_get(3)?,
                    body: row.try_get(4)?,
                })
            })
            .collect()
    }

    /// Keeps a score beside its forecast.
    pub async fn add_score(&mut self, at: &str, forecast: &str, body: &serde_json::Value) -> Result<(), StoreError> {
        sqlx::query("insert into scores (forecast, scored_at, body) values (?, ?, ?) on conflict do nothing")
            .bind(forecast)
            .bind(at)
            .bind(body.to_string())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// The newest score of a forecast that rests on a sweep, or on several as one study.
    pub async fn newest_score(&mut self, sweep: &str) -> Result<Option<serde_json::Value>, StoreError> {
        let row = sqlx::query(
            "select s.body from scores s join forecasts f using (forecast) join recipes r using (recipe)
             where r.sweep = ? order by s.scored_at desc limit 1",
        )
        .bind(sweep)
        .fetch_optional(&mut self.connection)
        .await?;
        row.as_ref().map(|row| json(row, 0)).transpose()
    }

    /// The fits whose name begins like this.
    pub async fn fits(&mut self, name: &str) -> Result<Vec<FitRow>, StoreError> {
        let rows =
            sqlx::query("select fit, sweep, law, body from fits where substr(fit, 1, length(?1)) = ?1 order by fit")
                .bind(name)
                .fetch_all(&mut self.connection)
                .await?;
        rows.iter().map(fit_row).collect()
    }

    /// The newest fit of some laws.
    pub async fn newest_fit(&mut self, laws: &[&str]) -> Result<Option<FitRow>, StoreError> {
        let places = vec!["?"; laws.len()].join(", ");
        let sql = format!(
            "select fit, sweep, law, body from fits where law in ({places}) order by made_at desc, fit limit 1"
        );
        let query = laws
            .iter()
            .fold(sqlx::query(AssertSqlSafe(sql)), |query, law| query.bind(*law));
        let row = query.fetch_optional(&mut self.connection).await?;
        row.as_ref().map(fit_row).transpose()
    }
}

fn fit_row(row: &SqliteRow) -> Result<FitRow, StoreError> {
    Ok(FitRow {
        fit: row.try_get(0)?,
        sweep: row.try_get(1)?,
        law: row.try_get(2)?,
        body: json(row, 3)?,
    })
}
