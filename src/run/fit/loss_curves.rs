//! Loss curves of trials that have run here.
//!
//! Refuses to fit.

use crate::fit::curve::{Curve, CurvePoint, Refusal};
use crate::record::{TrialRow, TrialState};
use crate::run::failure::Failure;
use crate::run::fit::request::refused;
use crate::store::Store;
use crate::study::select;

/// The curves of the finished trials of a sweep, `[to fit, to predict]` as they are named by slug or id; without names
/// for the first, all that are not to be predicted.
pub(super) async fn of_trials(
    store: &mut Store,
    sweep: &str,
    mut rows: Vec<TrialRow>,
    names: [&[String]; 2],
) -> Result<[Vec<Curve>; 2], Failure> {
    rows.retain(|row| row.state == TrialState::Complete);
    let is = |row: &TrialRow, name: &String| row.slug == *name || row.trial.starts_with(name.as_str());
    let named = |names: &[String]| -> Result<Vec<TrialRow>, Failure> {
        names
            .iter()
            .map(|name| {
                let found: Vec<&TrialRow> = rows.iter().filter(|row| is(row, name)).collect();
                match found[..] {
                    [row] => Ok(row.clone()),
                    [] => {
                        let message = format!("`{sweep}` has no finished trial `{name}`");
                        Err(Failure::invalid(
                            "unknown_trial",
                            message,
                            "`sandbox status --trials` lists them",
                        ))
                    }
                    _ => {
                        let message = format!("`{name}` is the beginning of {} trials", found.len());
                        Err(Failure::invalid("ambiguous_trial", message, "give more characters"))
                    }
                }
            })
            .collect()
    };
    let predict = named(names[1])?;
    let train = if names[0].is_empty() {
        rows.iter()
            .filter(|row| predict.iter().all(|other| other.trial != row.trial))
            .cloned()
            .collect()
    } else {
        named(names[0])?
    };
    alike(&train.iter().chain(&predict).collect::<Vec<_>>())?;
    Ok([recorded(store, &train).await?, recorded(store, &predict).await?])
}

/// Curves differ in the schedule alone, or their losses tell of something else.
fn alike(trials: &[&TrialRow]) -> Result<(), Failure> {
    let Some(first) = trials.first() else {
        return Err(refused(&Refusal::NoCurves.into()));
    };
    let Some((other, differences)) = select::first_unlike(trials) else {
        return Ok(());
    };
    Err(Failure::invalid(
        "mixed_curves",
        format!(
            "`{}` and `{}` differ in more than the schedule, in {}: a law of curves is that of one size, batch and data",
            first.slug,
            other.slug,
            differences.join(", ")
        ),
        "choose some: `--where \"model == 9M and batch_tokens == 65536\"`",
    ))
}

/// The training curves of trials, in their order.
async fn recorded(store: &mut Store, trials: &[TrialRow]) -> Result<Vec<Curve>, Failure> {
    let mut curves = Vec::new();
    for trial in trials {
        let points = store.training_curve(&trial.sweep, &trial.trial).await?;
        curves.push(Curve {
            name: trial.slug.clone(),
            points: points
                .into_iter()
                .map(|(step, lr, loss)| CurvePoint { step, lr, loss })
                .collect(),
        });
    }
    Ok(curves)
}
