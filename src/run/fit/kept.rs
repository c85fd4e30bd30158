//! Fits that are kept: the one that is meant, and what it says elsewhere.
//!
//! Refuses to fit.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fit::Warning;
use crate::fit::curve::decay::{self, Decays};
use crate::fit::curve::{self, CurveFit, Schedule};
use crate::fit::law::{About, AnyKept, Law as _, Needs, Place, Said};
use crate::fit::laws::{self, LrBatch, LrBatchFit};
use crate::fit::refusal::Refusal;
use crate::run::failure::Failure;
use crate::run::fit::request::refused;
use crate::store::{FitRow, Store};

/// What a law says of a place.
#[derive(Debug, Clone, Serialize)]
pub struct PlaceView {
    pub fit: String,
    #[serde(flatten)]
    pub said: Said,
}

/// The one fit that is meant, of a law that answers for places.
pub async fn place_law(store: &mut Store, name: &str) -> Result<AnyKept, Failure> {
    kept(store, name, &laws::names(|about| about.needs != Needs::LossCurves)).await
}

/// The one law that has a page of its own that is meant: of loss in size and tokens, or of learning rate and batch.
pub async fn drawn_law(store: &mut Store, name: &str) -> Result<AnyKept, Failure> {
    let is_drawn = |about: &About| about.compare.is_some() || about.name == LrBatch::ABOUT.name;
    kept(store, name, &laws::names(is_drawn)).await
}

/// The law of learning rate and batch, where a fit is one.
pub fn lr_batch(any: &AnyKept) -> Result<Option<LrBatchFit>, Failure> {
    if any.about.name != LrBatch::ABOUT.name {
        return Ok(None);
    }
    let found = serde_json::from_value(any.body.clone());
    found
        .map(Some)
        .map_err(|error| damaged(&any.kept.fit, &error.to_string()))
}

/// The one law of loss curves that is meant.
pub async fn curve_law(store: &mut Store, name: &str) -> Result<AnyKept, Failure> {
    kept(store, name, &laws::names(|about| about.needs == Needs::LossCurves)).await
}

/// What a law says of a place.
pub fn at(law: &AnyKept, place: Place) -> PlaceView {
    PlaceView {
        fit: law.kept.fit.clone(),
        said: law.kept.law.at(place).unwrap_or_default(),
    }
}

/// What a law of curves says of a schedule.
#[derive(Debug, Clone, Serialize)]
pub struct CurveView {
    pub fit: String,
    pub steps: Vec<f64>,
    /// The loss at each of them, nats per token.
    pub losses: Vec<f64>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// The curve under a schedule.
pub fn curve(kept: &AnyKept, schedule: &Schedule) -> Result<CurveView, Failure> {
    let law = of_curves(kept)?;
    Ok(CurveView {
        fit: kept.kept.fit.clone(),
        steps: schedule.points.iter().map(|point| point.step).collect(),
        losses: curve::predict(law, schedule).map_err(of_curves_refused)?,
        warnings: curve::cautions(law, schedule).map_err(of_curves_refused)?,
    })
}

/// The decay that ends lowest.
#[derive(Debug, Clone, Serialize)]
pub struct DecayView {
    pub fit: String,
    #[serde(flatten)]
    pub decays: Decays,
}

/// The decay of a run that ends lowest.
pub fn best_decay(kept: &AnyKept, run: decay::Run) -> Result<DecayView, Failure> {
    Ok(DecayView {
        fit: kept.kept.fit.clone(),
        decays: decay::decays(of_curves(kept)?, run).map_err(of_curves_refused)?,
    })
}

fn of_curves(kept: &AnyKept) -> Result<&CurveFit, Failure> {
    kept.kept.law.curves().ok_or_else(|| {
        let message = format!("fit {} says nothing of a schedule", kept.kept.fit);
        Failure::invalid("usage", message, "ask a law of loss curves")
    })
}

fn of_curves_refused(refusal: curve::Refusal) -> Failure {
    refused(&Refusal::from(refusal))
}

const LAST: &str = "last";

/// The one fit of these laws that is meant: by its name, the beginning of it, or `last`.
async fn kept(store: &mut Store, name: &str, laws: &[&str]) -> Result<AnyKept, Failure> {
    let is_meant = |row: &FitRow| laws.contains(&row.law.as_str());
    let mut found: Vec<FitRow> = if name == LAST {
        store.newest_fit(laws).await?.into_iter().collect()
    } else {
        store.fits(name).await?.into_iter().filter(is_meant).collect()
    };
    let row = match (found.pop(), found.len()) {
        (Some(row), 0) => row,
        (None, _) => {
            return Err(Failure::invalid(
                "unknown_fit",
                format!("there is no fit `{name}` of a law {}", laws.join(", ")),
                "`sandbox fit` makes one; `last` is the newest",
            ));
        }
        (Some(_), _) => {
            return Err(Failure::invalid(
                "ambiguous_fit",
                format!("`{name}` is the beginning of several fits"),
                "give more characters",
            ));
        }
    };
    let law = laws::named(&row.law).ok_or_else(|| damaged(&row.fit, "its law is unknown"))?;
    (law.read)(row.body).map_err(|error| damaged(&row.fit, &error.to_string()))
}

/// Reads what is kept beside laws.
pub(in crate::run) fn read<T: DeserializeOwned>(row: &FitRow) -> Result<T, Failure> {
    serde_json::from_value(row.body.clone()).map_err(|error| damaged(&row.fit, &error.to_string()))
}

fn damaged(fit: &str, why: &str) -> Failure {
    Failure::environment(
        "damaged_database",
        format!("fit {fit} cannot be read: {why}"),
        "fit again",
    )
}
