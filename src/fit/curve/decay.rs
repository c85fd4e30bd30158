//! Which decay of a warm-up-stable-decay schedule ends at the lowest loss, by a fitted law. Refuses to know what a
//! step costs.

use serde::{Deserialize, Serialize};

use super::path::Path;
use super::predict::{NOT_IDENTIFIED, cautions, losses};
use super::{CurveFit, RatePoint, Refusal, Schedule, Warning};
use crate::model::schedule::Decay;

/// The run that a schedule is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub peak: f64,
    /// All steps, warm-up and decay among them.
    pub steps: u32,
    /// Steps of linear warm-up.
    pub warmup: u32,
    /// Last learning rate, as a share of the highest.
    pub floor: f64,
}

/// A schedule and its end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub form: Decay,
    /// The decay, as a share of all steps.
    pub fraction: f64,
    /// The predicted loss at the last step, in nats per token.
    pub loss: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decays {
    /// The decay that ends lowest.
    pub best: Candidate,
    /// A cosine over all steps after the warm-up.
    pub cosine: Candidate,
    /// All decays, by form and then by fraction.
    pub table: Vec<Candidate>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// Fractions of the table in hundredths, from one to this.
const PERCENT_MAX: u32 = 60;
/// Points of a decay; between them the rate is linear.
const POINTS: u32 = 200;
const STEPS_MIN: u32 = 100;

/// Predicts the end of a run under each form and length of decay. Refused when the fit cannot tell what a decay is
/// worth.
pub fn decays(fit: &CurveFit, run: Run) -> Result<Decays, Refusal> {
    check(&run)?;
    if fit.warnings.iter().any(|w| w.code == NOT_IDENTIFIED) {
        let name = "decays of a run".to_owned();
        return Err(Refusal::SingleSchedule { name });
    }
    let candidate = |form: Decay, fraction: f64| -> Result<Candidate, Refusal> {
        let path = Path::new(&schedule(&run, form, fraction));
        let loss = losses(fit, &path, [f64::from(run.steps)])?[0];
        Ok(Candidate { form, fraction, loss })
    };
    let whole = f64::from(run.steps - run.warmup) / f64::from(run.steps);
    // Equal ratios never reach zero.
    let reaches = |form: &Decay| *form != Decay::Exponential || run.floor > 0.0;
    let forms = Decay::ALL.iter().copied().filter(reaches);
    let table = forms
        .flat_map(|form| (1..=PERCENT_MAX).map(move |percent| (form, f64::from(percent) / 100.0)))
        .filter(|(_, fraction)| *fraction <= whole)
        .map(|(form, fraction)| candidate(form, fraction))
        .collect::<Result<Vec<_>, _>>()?;
    let lowest = table.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).copied();
    let best = lowest.ok_or(Refusal::BadPlan {
        what: "the warm-up leaves no room for a decay",
    })?;
    let mut warnings = cautions(fit, &schedule(&run, best.form, best.fraction))?;
    if best.fraction <= 0.01 || best.fraction >= f64::from(PERCENT_MAX) / 100.0 {
        let text = format!(
            "the best decay takes {:.0} % of the steps, at the edge of what was tried",
            100.0 * best.fraction
        );
        warnings.push(Warning::new("decay_at_edge", text));
    }
    Ok(Decays {
        best,
        cosine: candidate(Decay::Cosine, whole)?,
        table,
        warnings,
    })
}

fn check(run: &Run) -> Result<(), Refusal> {
    let what = if !(run.peak.is_finite() && run.peak > 0.0) {
        "the peak learning rate must be above zero"
    } else if !(0.0..1.0).contains(&run.floor) {
        "the floor must be a share of the peak, from zero to below one"
    } else if run.steps < STEPS_MIN {
        "a run needs a hundred steps at least"
    } else if run.warmup >= run.steps {
        "the warm-up takes all steps"
    } else {
        return Ok(());
    };
    Err(Refusal::BadPlan { what })
}

/// A warm-up, a constant rate, and a decay over the last `fraction` of all steps.
pub fn schedule(run: &Run, form: Decay, fraction: f64) -> Schedule {
    let (first, end) = (f64::from(run.warmup.max(1)), f64::from(run.steps));
    let start = (end - fraction * end).round().max(first);
    let mut points = vec![RatePoint {
        step: first,
        lr: run.peak,
    }];
    let mut push = |step: f64, lr: f64| {
        if points.last().is_none_or(|last| step > last.step) {
            points.push(RatePoint { step, lr });
        }
    };
    push(start, run.peak);
    for k in 1..=POINTS {
        let step = (start + (end - start) * f64::from(k) / f64::from(POINTS)).round();
        let x = (step - start) / (end - start);
        push(step, run.peak * form.factor(x, run.floor));
    }
    Schedule {
        name: format!(
            "{} decay over {:.0} % of {} steps",
            form.name(),
            100.0 * fraction,
            run.steps
        ),
        warmup: f64::from(run.warmup),
        points,
    }
}
