//! The forecast of a study: a recipe of the largest run, registered before that run is trained, and scored after it.
//!
//! Refuses to choose the run.

use crate::campaign::cost::Costs;
use crate::campaign::decide::amount;
use crate::campaign::state::{Forecast, Made, TOO_DEAR};
use crate::recipe::forecast::Score;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::recipe::{advise, files, forecast};
use crate::run::study::target::{self, Run};
use crate::spec::study_file::{Question, StudyFile};
use crate::store::Store;
use crate::units::human_count;

/// The decision to train what is foretold: registered first, so that nobody can have known. `left`: of the budget.
pub(super) async fn decision(
    context: &Context,
    store: &mut Store,
    (study, made): (&StudyFile, &[Made]),
    run: &Forecast,
    costs: &dyn Costs,
    left: f64,
) -> Result<Made, Failure> {
    let what = format!(
        "a forecast of {} on {} tokens",
        run.model,
        human_count(run.tokens as f64)
    );
    let drop = |what: String, why: String| Made {
        n: made.len() as u64 + 1,
        question: Question::Forecast.name().to_owned(),
        what,
        outcome: Some(format!("not run: {why}")),
        why,
        sweep: None,
        text: None,
        cost: crate::campaign::cost::Cost::default(),
    };
    let ask = Run {
        params: run.params as f64,
        tokens: run.tokens as f64,
        beyond: true,
    };
    let (laws, recipe) = match target::recipe(context, store, study, made, ask).await? {
        Ok(found) => found,
        Err(refusal) => return Ok(drop(what, refusal.message)),
    };
    let proxies = advise::settings_of_best(store, &laws).await?;
    let sweep = files::sweep(&recipe, &proxies, run.seeds);
    let text = sweep.and_then(|sweep| Ok(serde_yaml::to_string(&sweep).map_err(std::io::Error::other)?));
    let text = match text {
        Ok(text) => text,
        Err(refusal) => return Ok(drop(what, refusal.message)),
    };
    let unit = study.budget.kind;
    let cost = match costs.of(&[&text]) {
        Ok(cost) => cost,
        Err(why) => return Ok(drop(what, why)),
    };
    let needed = cost.in_unit(unit);
    if needed > left {
        let why = format!("it costs {}, and {} are left", amount(needed, unit), amount(left, unit));
        return Ok(drop(format!("{TOO_DEAR}{what}"), why));
    }
    forecast::register(context, store, &recipe).await?;
    Ok(Made {
        n: made.len() as u64 + 1,
        question: Question::Forecast.name().to_owned(),
        what: format!("{what}, registered before it is trained"),
        why: run.why.clone(),
        sweep: Some(forecast::sweep_of(&recipe.recipe)),
        text: Some(text),
        cost,
        outcome: None,
    })
}

/// How the forecast of a decision did, once its run is trained.
pub(super) async fn score(context: &Context, store: &mut Store, made: &Made) -> Result<Option<Score>, Failure> {
    let Some(recipe) = made.sweep.as_deref().and_then(|sweep| sweep.strip_prefix("recipe-")) else {
        return Ok(None);
    };
    let forecasts = store.forecasts("").await?;
    let Some(row) = forecasts.into_iter().find(|row| row.recipe == recipe) else {
        return Ok(None);
    };
    Ok(Some(forecast::score(context, store, &row.forecast, None).await?))
}

/// In a sentence.
pub(super) fn sentence(score: &Score) -> String {
    let inside = match score.covered {
        Some(true) => ", inside its interval",
        Some(false) => ", OUTSIDE its interval",
        None => "",
    };
    format!(
        "foretold {:.4}, came {:.4}: off by {:+.2} %{inside}",
        score.predicted,
        score.actual,
        100.0 * score.relative_error
    )
}
