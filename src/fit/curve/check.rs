//! What a curve and a schedule must be before any sum is taken over them. Refuses to know laws.

use super::{Curve, Refusal, Schedule};

/// The least number of rows: the largest law has seven constants.
pub(super) const ROWS_MIN: usize = 10;

/// Whether every row of a curve can be that of a run.
pub(super) fn curve(curve: &Curve) -> Result<(), Refusal> {
    schedule(&curve.schedule(0.0))?;
    let bad = curve.points.iter().position(|p| !(p.loss.is_finite() && p.loss > 0.0));
    bad.map_or(Ok(()), |index| {
        let what = format!("the loss is {}", curve.points[index].loss);
        Err(bad_row(&curve.name, index, what))
    })
}

/// Whether every row of a schedule can be that of a run.
pub(super) fn schedule(schedule: &Schedule) -> Result<(), Refusal> {
    let bad_curve = |what: &str| Refusal::BadCurve {
        name: schedule.name.clone(),
        what: what.to_owned(),
    };
    if !(schedule.warmup.is_finite() && schedule.warmup >= 0.0) {
        return Err(bad_curve(&format!("the warm-up is {} steps", schedule.warmup)));
    }
    let mut last = 0.0;
    for (index, point) in schedule.points.iter().enumerate() {
        let what = if !point.step.is_finite() || point.step < 1.0 {
            format!("the step is {}; steps count from 1", point.step)
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
    Ok(())
}

fn bad_row(name: &str, index: usize, what: String) -> Refusal {
    Refusal::BadRow {
        name: name.to_owned(),
        row: index + 1,
        what,
    }
}
