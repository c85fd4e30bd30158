//! Fits a law to curves, and says what they cannot carry. Refuses to know how constants are searched.

use super::check::{self, ROWS_MIN};
use super::law::{Scale, Track};
use super::path::Path;
use super::predict::{NOT_IDENTIFIED, losses, scored};
use super::search::{CurveMinimum, Problem};
use super::{Curve, CurveFit, CurvePoint, Law, RatePoint, Refusal, Schedule, Status, Warning};

/// Above this many rows a curve is averaged: the noise of single rows costs time and tells nothing.
const BINS: usize = 250;

/// A curve that passed the checks.
struct Checked<'a> {
    curve: &'a Curve,
    path: Path,
    /// The rows after the warm-up.
    rows: Vec<CurvePoint>,
}

/// Fits a law to curves. The first rise of a rate is its warm-up: its rates count in the sums, its rows and its
/// changes do not. `warmup` says how many steps of it come before the first row of each curve (see
/// [`Schedule::warmup`]); rows up to that step are left out too.
///
/// The sum of changes of the multi-power law starts after the warm-up, as in the paper; the script of its authors
/// starts at step 1, which lowers `L0` by `B` times the peak.
pub fn fit(curves: &[Curve], law: Law, warmup: f64) -> Result<CurveFit, Refusal> {
    let checked = curves
        .iter()
        .map(|curve| checked(curve, warmup))
        .collect::<Result<Vec<_>, _>>()?;
    if checked.is_empty() {
        return Err(Refusal::NoCurves);
    }
    let problem = problem(&checked, law);
    let no_minimum = || Refusal::BadCurve {
        name: checked[0].curve.name.clone(),
        what: "no constants suit it".to_owned(),
    };
    let (scale, limits) = (problem.scale, law.limits(problem.scale, problem.steps));
    let minimum = problem
        .minimise()
        .filter(|m| m.value.is_finite())
        .ok_or_else(no_minimum)?;
    let different = different(&checked);
    let mut fit = CurveFit {
        law,
        parameters: law.named(minimum.linear, &minimum.shape, scale),
        objective: minimum.value - minimum.anchored,
        status: if minimum.converged {
            Status::Converged
        } else {
            Status::Stopped
        },
        schedules: different.len(),
        warnings: warnings(&minimum, law, &limits, &different),
        train: Vec::new(),
        trained_on: different.iter().map(|c| thinned(c)).collect(),
    };
    for c in &checked {
        let predicted = losses(&fit, &c.path, c.rows.iter().map(|row| row.step))?;
        fit.train.push(scored(&c.curve.name, &predicted, &c.rows));
    }
    Ok(fit)
}

fn checked(curve: &Curve, warmup: f64) -> Result<Checked<'_>, Refusal> {
    check::curve(curve)?;
    let schedule = curve.schedule(warmup);
    check::schedule(&schedule)?;
    let path = Path::new(&schedule);
    let from = path.plateau().max(warmup);
    let rows: Vec<CurvePoint> = curve.points.iter().filter(|p| p.step >= from).copied().collect();
    if rows.len() < ROWS_MIN {
        return Err(Refusal::TooFewPoints {
            name: curve.name.clone(),
            found: rows.len(),
            least: ROWS_MIN,
        });
    }
    Ok(Checked { curve, path, rows })
}

fn problem(checked: &[Checked<'_>], law: Law) -> Problem {
    let most = |of: fn(&Path) -> f64| checked.iter().map(|c| of(&c.path)).fold(0.0, f64::max);
    let (mut tracks, mut losses) = (Vec::new(), Vec::new());
    for c in checked {
        let rows = binned(&c.rows);
        tracks.push(Track::new(c.path.clone(), rows.iter().map(|row| row.step)));
        losses.extend(rows.iter().map(|row| row.loss));
    }
    Problem {
        law,
        tracks,
        losses,
        scale: Scale {
            peak: most(|path| path.peak),
            area: most(|path| path.at(path.end()).area),
        },
        steps: most(Path::end),
        anchoring: 0.0,
    }
}

/// At most [`BINS`] rows: means over equal numbers of rows.
fn binned(rows: &[CurvePoint]) -> Vec<CurvePoint> {
    let bins = rows.len().min(BINS);
    (0..bins)
        .map(|bin| {
            let part = &rows[bin * rows.len() / bins..(bin + 1) * rows.len() / bins];
            let mean = |of: fn(&CurvePoint) -> f64| part.iter().map(of).sum::<f64>() / part.len() as f64;
            CurvePoint {
                step: mean(|p| p.step),
                lr: mean(|p| p.lr),
                loss: mean(|p| p.loss),
            }
        })
        .collect()
}

/// Of curves whose schedules agree the longest.
fn different<'a>(checked: &'a [Checked<'_>]) -> Vec<&'a Checked<'a>> {
    let mut longest_first: Vec<&Checked<'_>> = checked.iter().collect();
    longest_first.sort_by(|a, b| b.path.end().total_cmp(&a.path.end()));
    let mut different: Vec<&Checked<'_>> = Vec::new();
    for c in longest_first {
        if !different.iter().any(|d| d.path.agrees(&c.path)) {
            different.push(c);
        }
    }
    different
}

/// The schedule of a curve after its warm-up, without points that a line replaces.
fn thinned(checked: &Checked<'_>) -> Schedule {
    let knots = checked.path.thinned(0.005);
    Schedule {
        name: checked.curve.name.clone(),
        warmup: 0.0,
        points: knots.iter().map(|k| RatePoint { step: k.step, lr: k.lr }).collect(),
    }
}

/// What the reader of a fit must know.
fn warnings(minimum: &CurveMinimum, law: Law, limits: &[(f64, f64)], different: &[&Checked<'_>]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let decays = different.iter().any(|c| c.path.decays());
    let identified = different.len() >= 2 && decays;
    if !identified {
        let seen = if decays { "one schedule was" } else { "no decay was" };
        let text = format!("{seen} seen: what a decay is worth is a guess, and other schedules are not predicted");
        warnings.push(Warning::new(NOT_IDENTIFIED, text));
    }
    if identified && minimum.linear[2] == 0.0 {
        let text = "the learning rate decays in these curves, and the loss does not answer to it";
        warnings.push(Warning::new("no_annealing_seen", text));
    } else if identified {
        for ((x, limit), name) in minimum.shape.iter().zip(limits).zip(law.shape_names()) {
            if *x <= limit.0 || *x >= limit.1 {
                let text = format!("{name} ran to the end of its range: the curves do not show it");
                warnings.push(Warning::new("at_bound", text));
            }
        }
    }
    if !minimum.converged {
        let text = "the search ran out of steps: the constants may be off, the predictions hardly";
        warnings.push(Warning::new("not_converged", text));
    }
    warnings
}
