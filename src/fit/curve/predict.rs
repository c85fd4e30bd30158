//! Predicts curves from a fit, and scores predictions. Refuses to know how the fit was found.

use super::check;
use super::law::{self, Scale, Track};
use super::path::{Knot, Path};
use super::{Curve, CurveFit, CurvePoint, Refusal, Schedule, Score, Warning};

/// The warning of a fit that cannot tell what a decay is worth.
pub(super) const NOT_IDENTIFIED: &str = "annealing_not_identified";

/// The loss at each point of a schedule, in nats per token; at points within the warm-up it means little.
/// Refused when the law was fitted on curves that do not tell what a decay is worth, and none of them is this one.
pub fn predict(fit: &CurveFit, schedule: &Schedule) -> Result<Vec<f64>, Refusal> {
    let schedule = &check::schedule(schedule)?;
    let path = Path::new(schedule);
    let identified = fit.warnings.iter().all(|w| w.code != NOT_IDENTIFIED);
    let covers = |trained: &Schedule| {
        let trained = Path::new(trained);
        path.end() <= trained.end() && trained.agrees(&path)
    };
    if !identified && !fit.trained_on.iter().any(covers) {
        let name = schedule.name.clone();
        return Err(Refusal::SingleSchedule { name });
    }
    losses(fit, &path, schedule.points.iter().map(|p| p.step))
}

/// The loss at steps of a path that rise.
pub(super) fn losses(fit: &CurveFit, path: &Path, steps: impl IntoIterator<Item = f64>) -> Result<Vec<f64>, Refusal> {
    let (linear, shape) = fit.law.unnamed(&fit.values())?;
    let track = Track::new(path.clone(), steps);
    let drops = track.drops(fit.law, &shape[1..], Scale::ONE);
    let loss = |(row, drop): (&Knot, f64)| {
        linear[0] + linear[1] * law::power(row.area, shape[0].exp(), Scale::ONE) - linear[2] * drop
    };
    Ok(track.rows().iter().zip(drops).map(loss).collect())
}

/// What makes a prediction an extrapolation that no fit can vouch for.
pub fn cautions(fit: &CurveFit, schedule: &Schedule) -> Result<Vec<Warning>, Refusal> {
    /// Published curves were predicted to three times the length of those that were fitted (arXiv 2503.12811).
    const LONGER_MAX: f64 = 3.0;
    let path = Path::new(&check::schedule(schedule)?);
    let trained: Vec<Path> = fit.trained_on.iter().map(Path::new).collect();
    let mut warnings = Vec::new();
    let mut warn = |code: &str, text: String| warnings.push(Warning::new(code, text));
    if trained.iter().all(|t| (path.peak / t.peak - 1.0).abs() > 0.1) {
        let text = format!("no curve was fitted at a peak learning rate near {:e}", path.peak);
        warn("peak_not_trained", text);
    }
    let longest = trained.iter().map(Path::end).fold(0.0, f64::max);
    if path.end() > LONGER_MAX * longest {
        let text = format!(
            "{} steps are more than three times the longest curve's {longest}",
            path.end()
        );
        warn("longer_than_trained", text);
    }
    let lowest = trained.iter().map(Path::lowest).fold(f64::INFINITY, f64::min);
    if path.lowest() < 0.5 * lowest {
        let text = format!(
            "the rate falls to {:e}, in the curves to {lowest:e} at the lowest",
            path.lowest()
        );
        warn("lower_than_trained", text);
    }
    Ok(warnings)
}

/// How well a prediction meets the rows of a curve after its recorded warm-up.
pub fn score(predicted: &[f64], curve: &Curve) -> Result<Score, Refusal> {
    let curve = &check::curve(curve)?;
    if predicted.len() != curve.points.len() {
        return Err(Refusal::BadCurve {
            name: curve.name.clone(),
            what: format!("it has {} rows, the prediction {}", curve.points.len(), predicted.len()),
        });
    }
    let from = Path::new(&curve.schedule(0.0)).plateau();
    let first = curve.points.partition_point(|p| p.step < from);
    Ok(scored(&curve.name, &predicted[first..], &curve.points[first..]))
}

/// The score of one prediction for each row.
pub(super) fn scored(name: &str, predicted: &[f64], rows: &[CurvePoint]) -> Score {
    let n = rows.len();
    let mean = rows.iter().map(|row| row.loss).sum::<f64>() / n as f64;
    let spread: f64 = rows.iter().map(|row| (row.loss - mean).powi(2)).sum();
    let errors: Vec<f64> = rows
        .iter()
        .zip(predicted)
        .map(|(row, p)| (p - row.loss).abs())
        .collect();
    let squares: f64 = errors.iter().map(|e| e * e).sum();
    Score {
        name: name.to_owned(),
        n,
        r2: if spread > 0.0 { 1.0 - squares / spread } else { 0.0 },
        mae: errors.iter().sum::<f64>() / n as f64,
        worst: errors.iter().zip(rows).map(|(e, row)| e / row.loss).fold(0.0, f64::max),
    }
}
