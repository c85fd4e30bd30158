//! What a curve and a schedule must be before any sum is taken over them. Refuses to know laws.

use super::{Curve, CurvePoint, Refusal, Schedule};

/// The least number of rows: the largest law has seven constants.
pub(super) const ROWS_MIN: usize = 10;

/// The curve, its steps counted from 1, if every row can be that of a run.
pub(super) fn curve(curve: &Curve) -> Result<Curve, Refusal> {
    let counted = schedule(&curve.schedule(0.0))?;
    let bad = curve.points.iter().position(|p| !(p.loss.is_finite() && p.loss > 0.0));
    if let Some(index) = bad {
        let what = format!("the loss is {}", curve.points[index].loss);
        return Err(bad_row(&curve.name, index, what));
    }
    let points = curve.points.iter().zip(&counted.points);
    Ok(Curve {
        name: curve.name.clone(),
        points: points.map(|(p, at)| CurvePoint { step: at.step, ..*p }).collect(),
    })
}

/// Whether a curve falls at all: a law of training has nothing to say of one that does not.
pub(super) fn falls(name: &str, rows: &[CurvePoint]) -> Result<(), Refusal> {
    let tenth = rows.len().div_ceil(10);
    let mean = |rows: &[CurvePoint]| rows.iter().map(|row| row.loss).sum::<f64>() / rows.len() as f64;
    let [first, last] = [mean(&rows[..tenth]), mean(&rows[rows.len() - tenth..])];
    if last < first {
        return Ok(());
    }
    let name = name.to_owned();
    Err(Refusal::NotFalling { name, first, last })
}

/// The schedule, its steps counted from 1, if every row can be that of a run. Programs that count from 0 call the
/// first update 0.
pub(super) fn schedule(schedule: &Schedule) -> Result<Schedule, Refusal> {
    let bad_curve = |what: &str| Refusal::BadCurve {
        name: schedule.name.clone(),
        what: what.to_owned(),
    };
    if !(schedule.warmup.is_finite() && schedule.warmup >= 0.0) {
        return Err(bad_curve(&format!("the warm-up is {} steps", schedule.warmup)));
    }
    let mut last = f64::NEG_INFINITY;
    for (index, point) in schedule.points.iter().enumerate() {
        let what = if !point.step.is_finite() || point.step < 0.0 {
            format!("the step is {}; steps count from 0 or 1", point.step)
        } else if point.step <= last {
            format!("step {} comes after step {last}; steps must rise", point.step)
        } else if !(point.lr.is_finite() && point.lr >= 0.0) {
            format!("the learning rate is {}", point.lr)
        } else {
            last = point.step;
            continue;
        };
        return Err(bad_row(&schedule.name, index, what));
    }
    if schedule.points.iter().all(|p| p.lr == 0.0) {
        return Err(bad_curve("no learning rate is above zero"));
    }
    let from_zero = schedule.points.first().is_some_and(|first| first.step < 1.0);
    let mut counted = schedule.clone();
    counted
        .points
        .iter_mut()
        .for_each(|p| p.step += f64::from(u8::from(from_zero)));
    Ok(counted)
}

fn bad_row(name: &str, index: usize, what: String) -> Refusal {
    Refusal::BadRow {
        name: name.to_owned(),
        row: index + 1,
        what,
    }
}
