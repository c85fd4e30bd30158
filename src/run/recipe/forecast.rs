//! Forecasts: a recipe frozen with its hash and date before the big run, and scored by what came out.
//!
//! Refuses to change a forecast.

use serde::Serialize;

use crate::recipe::Recipe;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::store::{ForecastRow, Store};

/// Freezes a recipe as a forecast; the same recipe again is the same forecast, with its first date.
pub async fn register(context: &Context, store: &mut Store, recipe: &Recipe) -> Result<ForecastRow, Failure> {
    if !recipe.items.contains_key("loss") {
        return Err(Failure::refused(
            "nothing_to_forecast",
            "the recipe predicts no loss, so there is nothing to register".to_owned(),
            "a sweep with three sizes and three budgets carries a law of loss",
        ));
    }
    let body = serde_json::to_string(recipe).map_err(std::io::Error::other)?;
    let hash = blake3::hash(body.as_bytes()).to_hex().to_string();
    let row = ForecastRow {
        forecast: hash.chars().take(12).collect(),
        registered_at: context.now(),
        recipe: recipe.recipe.clone(),
        hash,
        body,
    };
    store.add_forecast(&row).await?;
    let kept = store.forecasts(&row.forecast).await?;
    Ok(kept.into_iter().next().unwrap_or(row))
}

/// How a forecast did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    pub forecast: String,
    /// When it was registered.
    pub registered_at: String,
    pub hash: String,
    /// The recipe that it is of.
    pub recipe: String,
    /// The loss that was predicted, nats per token.
    pub predicted: f64,
    /// The 95 % interval of a new run.
    pub ci95_new_run: Option<[f64; 2]>,
    /// The loss that came out.
    pub actual: f64,
    /// What came out less what was predicted.
    pub error: f64,
    /// The same, relative to what came out.
    pub relative_error: f64,
    /// Whether it lies in the interval; none without one.
    pub inside: Option<bool>,
}

/// Scores a forecast by the loss that came out, and keeps the score; `last` is the newest forecast.
pub async fn score(context: &Context, store: &mut Store, name: &str, actual: f64) -> Result<Score, Failure> {
    let mut found = store.forecasts(if name == "last" { "" } else { name }).await?;
    if name != "last" && found.len() > 1 {
        return Err(Failure::invalid(
            "ambiguous_forecast",
            format!("`{name}` is the beginning of several forecasts"),
            "give more characters",
        ));
    }
    if found.is_empty() {
        return Err(Failure::invalid(
            "unknown_forecast",
            format!("there is no forecast `{name}`"),
            "`sandbox recipe --params 2.4B --register` makes one",
        ));
    }
    let row = found.swap_remove(0);
    if blake3::hash(row.body.as_bytes()).to_hex().as_str() != row.hash {
        return Err(Failure::environment(
            "damaged_forecast",
            format!(
                "forecast {} is not what was registered: its hash is another",
                row.forecast
            ),
            "a forecast that was changed cannot be scored",
        ));
    }
    let recipe: Recipe = serde_json::from_str(&row.body).map_err(std::io::Error::other)?;
    let loss = &recipe.items["loss"];
    let predicted = loss.value.as_f64().unwrap_or(f64::NAN);
    let score = Score {
        forecast: row.forecast,
        registered_at: row.registered_at,
        hash: row.hash,
        recipe: row.recipe,
        predicted,
        ci95_new_run: loss.ci95_new_run,
        actual,
        error: actual - predicted,
        relative_error: (actual - predicted) / actual,
        inside: loss.ci95_new_run.map(|[low, high]| low <= actual && actual <= high),
    };
    let body = serde_json::to_value(&score).map_err(std::io::Error::other)?;
    store.add_score(&context.now(), &score.forecast, &body).await?;
    Ok(score)
}
