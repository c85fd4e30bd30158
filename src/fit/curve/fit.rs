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
struct Checked {
    name: String,
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
    let mut problem = problem(&checked, law);
    let no_minimum = || Refusal::BadCurve {
        name: checked[0].name.clone(),
        what: "no constants suit it".to_owned(),
    };
    let limits = law.limits(problem.scale, problem.steps);
    let minimum = problem
        .minimise()
        .filter(|m| m.value.is_finite())
        .ok_or_else(no_minimum)?;
    let different = different(&checked);
    let mut fit = CurveFit {
        law,
        parameters: problem.parameters(&minimum),
        objective: minimum.value - minimum.anchored,
        status: if minimum.converged {
            Status::Converged
        } else {
            Status::Stopped
        },
        schedules: different.len(),
        warnings: warnings(&minimum, law, &limits, &different)
            .into_iter()
            .chain(poor(&problem, &minimum, &checked))
            .collect(),
        train: Vec::new(),
        trained_on: different.iter().map(|c| thinned(c)).collect(),
    };
    for c in &checked {
        let predicted = losses(&fit, &c.path, c.rows.iter().map(|row| row.step))?;
        fit.train.push(scored(&c.name, &predicted, &c.rows));
    }
    Ok(fit)
}

fn checked(curve: &Curve, warmup: f64) -> Result<Checked, Refusal> {
    let counted = check::curve(curve)?;
    let path = Path::new(&check::schedule(&counted.schedule(warmup))?);
    let from = path.plateau().max(warmup);
    let rows: Vec<CurvePoint> = counted.points.iter().filter(|p| p.step >= from).copied().collect();
    if rows.len() < ROWS_MIN {
        return Err(Refusal::TooFewPoints {
            name: curve.name.clone(),
            found: rows.len(),
            least: ROWS_MIN,
        });
    }
    check::falls(&curve.name, &rows)?;
    let name = curve.name.clone();
    Ok(Checked { name, path, rows })
}

fn problem(checked: &[Checked], law: Law) -> Problem {
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
        noise: 0.0,
        held: Vec::new(),
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
fn different(checked: &[Checked]) -> Vec<&Checked> {
    let mut longest_first: Vec<&Checked> = checked.iter().collect();
    longest_first.sort_by(|a, b| b.path.end().total_cmp(&a.path.end()));
    let mut different: Vec<&Checked> = Vec::new();
    for c in longest_first {
        if !different.iter().any(|d| d.path.agrees(&c.path)) {
            different.push(c);
        }
    }
    different
}

/// The schedule of a curve after its warm-up, without points that a line replaces.
fn thinned(checked: &Checked) -> Schedule {
    let knots = checked.path.thinned(0.005);
    Schedule {
        name: checked.name.clone(),
        warmup: 0.0,
        points: knots.iter().map(|k| RatePoint { step: k.step, lr: k.lr }).collect(),
    }
}

/// What the reader of a fit must know.
fn warnings(minimum: &CurveMinimum, law: Law, limits: &[(f64, f64)], different: &[&Checked]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let decays = different.iter().any(|c| c.path.decays());
    // A cosine alone shows no rate at which nothing but the sum of rates grows.
    let stays = different.iter().any(|c| c.path.stays());
    let identified = stays && decays;
    if !identified {
        let seen = if decays {
            "no constant rate was seen beside the decay"
        } else {
            "no decay was seen"
        };
        let text = format!("{seen}: what a decay is worth is a guess, and other schedules are not predicted");
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

/// The curve that the law misses most, where it misses it by so much that something else differs.
fn poor(problem: &Problem, minimum: &CurveMinimum, checked: &[Checked]) -> Option<Warning> {
    /// As a share of the loss; published curves are missed by less than a hundredth at worst.
    const MISS_MAX: f64 = 0.02;
    let misses = problem.misses(minimum);
    let named = checked.iter().zip(misses);
    let (worst, miss) = named.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|it| it.1 > MISS_MAX)?;
    let text = format!(
        "half of the rows of {} are missed by more than {:.1} % of the loss: are the curves of one model, one text and \
         one unit (nats, not bits)?",
        worst.name,
        100.0 * miss
    );
    Some(Warning::new("poor_fit", text))
}
