//! Forecasts: a recipe frozen with its hash and date before the big run, and scored by what came out.
//!
//! Refuses to change a forecast.

use crate::recipe::Recipe;
use crate::recipe::forecast::{Outcome, Place, Registered, Score};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::store::{ForecastRow, Store};

/// Freezes a recipe as a forecast; the same recipe again is the same forecast, with its first date.
pub async fn register(context: &Context, store: &mut Store, recipe: &Recipe) -> Result<ForecastRow, Failure> {
    if recipe.items.get("loss").is_none_or(|loss| loss.value.is_null()) {
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

/// The sweep that trains the recipe of a forecast.
pub fn sweep_of(recipe: &str) -> String {
    format!("recipe-{recipe}")
}

/// Scores a forecast by the loss that came out, and keeps the score. `name`: its beginning, or `last` for the newest;
/// `actual`: the loss, unless the recipe's own sweep was trained in this home.
pub async fn score(context: &Context, store: &mut Store, name: &str, actual: Option<f64>) -> Result<Score, Failure> {
    let row = find(store, name).await?;
    let recipe: Recipe = serde_json::from_str(&row.body).map_err(std::io::Error::other)?;
    let outcome = match actual {
        Some(actual) => Outcome {
            losses: vec![actual],
            ..Outcome::default()
        },
        None => trained(store, &sweep_of(&recipe.recipe)).await?,
    };
    let registered = Registered {
        forecast: row.forecast,
        registered_at: row.registered_at,
        hash: row.hash,
    };
    let fitted = fitted(store, &recipe).await?;
    let score = Score::new(registered, &recipe, outcome, &fitted).ok_or_else(|| {
        let message = "there is no loss to compare: nothing was predicted, or what came out is no number";
        Failure::refused("nothing_to_score", message.to_owned(), "see `sandbox show RECIPE`")
    })?;
    let body = serde_json::to_value(&score).map_err(std::io::Error::other)?;
    store.add_score(&context.now(), &score.forecast, &body).await?;
    Ok(score)
}

async fn find(store: &mut Store, name: &str) -> Result<ForecastRow, Failure> {
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
    Ok(row)
}

/// What came out of the sweep that trains a recipe; every one of its runs counts.
async fn trained(store: &mut Store, sweep: &str) -> Result<Outcome, Failure> {
    let rows = store.trials(Some(sweep)).await?;
    let missing = rows.iter().filter(|row| row.final_loss.is_none()).count();
    if rows.is_empty() || missing > 0 {
        let message = match missing {
            0 => format!("the recipe of the forecast was not trained in this home: there is no sweep `{sweep}`"),
            some => format!("{some} of {} runs of `{sweep}` have no final loss", rows.len()),
        };
        let hint =
            "`sandbox recipe … --out DIR --register` writes DIR/sweep.yaml: run it; or tell the loss: `--actual LOSS`";
        return Err(Failure::refused("not_finished", message, hint));
    }
    Ok(Outcome {
        losses: rows.iter().filter_map(|row| row.final_loss).collect(),
        trials: rows.iter().map(|row| row.trial.clone()).collect(),
        trained_at: store.first_launch(sweep).await?,
        seconds: rows.iter().map(|row| row.seconds).sum(),
    })
}

/// The runs that the recipe's law of loss was fitted on.
async fn fitted(store: &mut Store, recipe: &Recipe) -> Result<Vec<Place>, Failure> {
    let Some(fit) = recipe.items.get("loss").and_then(|item| item.fit.as_ref()) else {
        return Ok(Vec::new());
    };
    let fits = store.fits(fit).await?;
    let runs = fits.iter().find_map(|fit| fit.body.get("residuals")?.as_array());
    let place = |run: &serde_json::Value| {
        Some(Place {
            params: run.get("params")?.as_f64()?,
            tokens: run.get("tokens")?.as_f64()?,
        })
    };
    Ok(runs.into_iter().flatten().filter_map(place).collect())
}
