//! What a kept fit of any law says elsewhere.
//!
//! Refuses to fit.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fit::Estimate;
use crate::fit::Warning;
use crate::fit::curve::decay::{self, Decays};
use crate::fit::curve::{self, CurveFit, Schedule};
use crate::fit::loss::loss_fit::{Extrapolation, LossFit, Prediction, Sensitivity};
use crate::fit::rate::learning_rate::{LrFit, LrRule};
use crate::fit::rate::lr_batch::LrBatchGroup;
use crate::run::failure::Failure;
use crate::run::fit::batch::{self, KeptBatch};
use crate::run::fit::curves::{self as curve_fitting, KeptCurves};
use crate::run::fit::loss::{CHINCHILLA, Kept, LR};
use crate::run::fit::lr_batch::{self, Both};
use crate::run::fit::three_term::{self, KeptThreeTerm};
use crate::store::{FitRow, Store};

/// A size, a number of tokens and perhaps a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Parameters, by the convention of the fit.
    pub params: f64,
    /// Tokens.
    pub tokens: f64,
    /// Tokens of a batch; none: the best.
    pub batch_tokens: Option<f64>,
}

/// A law that answers for places.
#[derive(Debug)]
pub enum PlaceLaw {
    /// The loss.
    Loss(Box<LossFit>),
    /// The loss off the best batch.
    ThreeTerm(Box<KeptThreeTerm>),
    /// The best learning rate.
    Lr(Box<LrFit>),
    /// The best learning rate and batch, with the groups that they rest on.
    LrBatch(Box<Both>, Vec<LrBatchGroup>),
    /// The best batch, by curves of equal loss.
    Batch(Box<KeptBatch>),
}

/// What a law says of a place; what it does not speak of is missing.
#[derive(Debug, Clone, Serialize)]
pub struct PlaceView {
    /// The fit.
    pub fit: String,
    /// The loss, nats per token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Prediction>,
    /// How much of it hangs on E.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity_to_e: Option<Sensitivity>,
    /// The best peak learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<Estimate>,
    /// By which rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_by: Option<LrRule>,
    /// The best batch in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<Estimate>,
    /// How far beyond the runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extrapolation: Option<Extrapolation>,
}

/// The one fit that is meant, of a law that answers for places.
pub async fn place_law(store: &mut Store, name: &str) -> Result<(String, PlaceLaw), Failure> {
    const LAWS: [&str; 5] = [CHINCHILLA, three_term::LAW, LR, lr_batch::LAW, batch::LAW];
    let row = stored(store, name, &LAWS).await?;
    let law = match row.law.as_str() {
        CHINCHILLA => PlaceLaw::Loss(read(&row)?),
        three_term::LAW => PlaceLaw::ThreeTerm(read(&row)?),
        LR => PlaceLaw::Lr(read(&row)?),
        batch::LAW => PlaceLaw::Batch(read(&row)?),
        _ => {
            #[derive(serde::Deserialize)]
            struct Stored {
                laws: Both,
                groups: Vec<LrBatchGroup>,
            }
            let Stored { laws, groups } = read(&row)?;
            PlaceLaw::LrBatch(Box::new(laws), groups)
        }
    };
    Ok((row.fit, law))
}

/// The one law of loss in size and tokens that is meant, with all that is kept of it.
pub async fn kept_loss_law(store: &mut Store, name: &str) -> Result<Kept<LossFit>, Failure> {
    read(&stored(store, name, &[CHINCHILLA]).await?)
}

/// The one law of curves that is meant.
pub async fn curve_law(store: &mut Store, name: &str) -> Result<(String, CurveFit), Failure> {
    let laws = [curve::Law::Annealing, curve::Law::MultiPower].map(curve_fitting::name_of);
    let row = stored(store, name, &laws).await?;
    let kept: KeptCurves = read(&row)?;
    Ok((row.fit, kept.law))
}

impl PlaceLaw {
    /// Whether its loss depends on the batch.
    pub fn has_batch(&self) -> bool {
        matches!(self, Self::ThreeTerm(_))
    }

    /// What the law says of a place.
    pub fn at(&self, fit: &str, place: Place) -> PlaceView {
        let Place { params, tokens, .. } = place;
        let nothing = PlaceView {
            fit: fit.to_owned(),
            loss: None,
            sensitivity_to_e: None,
            lr: None,
            lr_by: None,
            batch_tokens: None,
            extrapolation: None,
        };
        match self {
            Self::Loss(law) => PlaceView {
                loss: Some(law.predict(params, tokens)),
                sensitivity_to_e: law.sensitivity_to_e(params, tokens),
                extrapolation: Some(law.extrapolation(params, tokens)),
                ..nothing
            },
            Self::ThreeTerm(kept) => {
                let best = kept.three_term.best_batch(tokens);
                PlaceView {
                    loss: Some(Prediction {
                        mean: kept.three_term.loss(params, tokens, place.batch_tokens.unwrap_or(best)),
                        ci95_mean: None,
                        ci95_new_run: None,
                    }),
                    batch_tokens: Some(Estimate {
                        value: best,
                        se: None,
                        ci95: None,
                    }),
                    ..nothing
                }
            }
            Self::Lr(law) => {
                let found = law.predict(params, tokens);
                PlaceView {
                    lr: Some(found.lr),
                    lr_by: Some(found.by),
                    ..nothing
                }
            }
            Self::LrBatch(both, groups) => PlaceView {
                lr: Some(both.lr.at(params, tokens)),
                batch_tokens: Some(both.batch.at(params, tokens)),
                extrapolation: Extrapolation::beyond(groups.iter().map(|it| (it.params, it.tokens)), params, tokens),
                ..nothing
            },
            Self::Batch(kept) => {
                let levels = kept.law.levels.iter().map(|it| (it.params, it.tokens));
                PlaceView {
                    batch_tokens: Some(kept.law.by_tokens.at(tokens)),
                    extrapolation: Extrapolation::beyond(levels, params, tokens),
                    ..nothing
                }
            }
        }
    }
}

/// What a law of curves says of a schedule.
#[derive(Debug, Clone, Serialize)]
pub struct CurveView {
    /// The fit.
    pub fit: String,
    /// Steps, as asked.
    pub steps: Vec<f64>,
    /// The loss at each of them, nats per token.
    pub losses: Vec<f64>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// The curve under a schedule.
pub fn curve(fit: &str, law: &CurveFit, schedule: &Schedule) -> Result<CurveView, Failure> {
    let refused = |refusal| curve_fitting::refused(&refusal);
    Ok(CurveView {
        fit: fit.to_owned(),
        steps: schedule.points.iter().map(|point| point.step).collect(),
        losses: curve::predict(law, schedule).map_err(refused)?,
        warnings: curve::cautions(law, schedule).map_err(refused)?,
    })
}

/// The decay that ends lowest.
#[derive(Debug, Clone, Serialize)]
pub struct DecayView {
    /// The fit.
    pub fit: String,
    /// What was found.
    #[serde(flatten)]
    pub decays: Decays,
}

/// The decay of a run that ends lowest.
pub fn best_decay(fit: &str, law: &CurveFit, run: decay::Run) -> Result<DecayView, Failure> {
    Ok(DecayView {
        fit: fit.to_owned(),
        decays: decay::decays(law, run).map_err(|refusal| curve_fitting::refused(&refusal))?,
    })
}

/// The newest fit.
const LAST: &str = "last";

/// The one fit of these laws that is meant: by its name, the beginning of it, or `last`.
async fn stored(store: &mut Store, name: &str, laws: &[&str]) -> Result<FitRow, Failure> {
    let is_meant = |row: &FitRow| laws.contains(&row.law.as_str());
    let mut found: Vec<FitRow> = if name == LAST {
        store.newest_fit(laws).await?.into_iter().collect()
    } else {
        store.fits(name).await?.into_iter().filter(is_meant).collect()
    };
    match (found.pop(), found.len()) {
        (Some(row), 0) => Ok(row),
        (None, _) => Err(Failure::invalid(
            "unknown_fit",
            format!("there is no fit `{name}` of a law {}", laws.join(", ")),
            "`sandbox fit` makes one; `last` is the newest",
        )),
        (Some(_), _) => Err(Failure::invalid(
            "ambiguous_fit",
            format!("`{name}` is the beginning of several fits"),
            "give more characters",
        )),
    }
}

pub(in crate::run) fn read<T: DeserializeOwned>(row: &FitRow) -> Result<T, Failure> {
    serde_json::from_value(row.body.clone()).map_err(|error| {
        let message = format!("fit {} cannot be read: {error}", row.fit);
        Failure::environment("damaged_database", message, "fit again")
    })
}
