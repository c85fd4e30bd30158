//! The best batch by loss, MiniCPM's way (arXiv 2404.06395, section 3.2 and appendix A.2): at one size, for each level
//! of loss, the batch that reaches it with the fewest tokens; then batch = c / L^k over all levels and sizes.
//!
//! The same minima give batch = c·D^b. Refuses to call the largest or smallest batch of a level its best, and to know
//! how a curve was made.

use serde::{Deserialize, Serialize};

use crate::fit::Warning;
use crate::fit::batch::equal_loss_curves::BatchCurve;
use crate::fit::design::{SAME_SIZE, distinct};
use crate::fit::numeric::akima::Akima;
use crate::fit::numeric::bootstrap;
use crate::fit::numeric::linear_algebra::Normal;
use crate::fit::numeric::power_law::{LogLine, Power};
use crate::fit::refusal::Refusal;

/// Levels of loss at each size, evenly spaced in ln L over what three batches reach: curves are read between their
/// points, and more levels say nothing new.
const LEVELS: u32 = 12;
/// Levels with a minimum, at least.
const LEVELS_MIN: usize = 3;
/// Batches that reach a level, at least: one on each side of the best.
const BATCHES_MIN: usize = 3;
/// Points of a curve, at least.
const POINTS_MIN: usize = 3;
/// Batches that need up to this factor more tokens than the best take part in the parabola: far from the best, tokens
/// grow in proportion to the batch and not as its square.
const WINDOW_FACTOR: f64 = 2.0;

/// The best batch for one level of loss at one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    pub params: f64,
    /// Loss, nats per token.
    pub loss: f64,
    /// The batch that reaches it with the fewest tokens, in tokens.
    pub batch_tokens: f64,
    /// How many tokens that takes.
    pub tokens: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchLaw {
    /// batch = c·L^−k: its exponent is −k.
    pub by_loss: Power,
    /// The alternative: batch = c·D^b.
    pub by_tokens: Power,
    /// The minima, by size, then from high loss to low.
    pub levels: Vec<Level>,
    /// Levels whose best batch is the smallest or the largest that reaches them; they are left out.
    pub not_bracketed: usize,
    /// Curves that are left out, each with the reason.
    pub left_out: Vec<(String, String)>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// Fits the law; intervals come from leaving out one curve after the other (the jackknife of Tukey 1958), because all
/// levels of one curve share its luck.
///
/// # Errors
/// `bad_observation`; `optimum_at_edge` where no level has a minimum; `not_identified` where fewer than three have one.
pub fn fit(curves: &[BatchCurve]) -> Result<BatchLaw, Refusal> {
    curves.iter().try_for_each(check)?;
    let (kept, short): (Vec<Reach>, Vec<&BatchCurve>) = partition(curves);
    let (levels, not_bracketed) = minima(&kept);
    if levels.is_empty() && not_bracketed > 0 {
        return Err(Refusal::OptimumAtEdge { groups: not_bracketed });
    }
    let why = format!(
        "{} levels of loss have a best batch between two worse ones; three are the least",
        levels.len()
    );
    let refusal = Refusal::NotIdentified { why };
    if levels.len() < LEVELS_MIN {
        return Err(refusal);
    }
    let (Some(by_loss), Some(by_tokens)) = (line(&levels, |level| level.loss), line(&levels, |level| level.tokens))
    else {
        return Err(refusal);
    };
    let without: Vec<Vec<Level>> = (0..kept.len())
        .map(|left_out| {
            let others: Vec<Reach> = (0..kept.len())
                .filter(|&i| i != left_out)
                .map(|i| kept[i].clone())
                .collect();
            minima(&others).0
        })
        .collect();
    let mut left_out: Vec<(String, String)> = short
        .into_iter()
        .map(|curve| (curve.label.clone(), "fewer than three points fall in loss".to_owned()))
        .collect();
    left_out.sort();
    let mut warnings = Vec::new();
    if not_bracketed > 0 {
        let text = format!("{not_bracketed} levels of loss have their best batch at the edge and are left out");
        warnings.push(Warning::new("minima_at_edge", text));
    }
    let by_loss = jackknifed(&by_loss, &without, |level| level.loss);
    let by_tokens = jackknifed(&by_tokens, &without, |level| level.tokens);
    if let Some(why) = by_tokens.exponent.open_exponent("of D of the best batch") {
        return Err(Refusal::NotIdentified { why });
    }
    if let Some(why) = by_loss.exponent.open_exponent("of L of the best batch") {
        warnings.push(Warning::new("not_identified", why));
    }
    Ok(BatchLaw {
        by_loss,
        by_tokens,
        levels,
        not_bracketed,
        left_out,
        warnings,
    })
}

/// Refuses numbers that no curve can have.
fn check(curve: &BatchCurve) -> Result<(), Refusal> {
    let points = curve.points.iter().flat_map(|&(tokens, loss)| [tokens, loss]);
    for value in points.chain([curve.params, curve.batch_tokens]) {
        if !value.is_finite() || value <= 0.0 {
            return Err(Refusal::BadObservation {
                label: curve.label.clone(),
                what: format!("{value} is no size, batch, loss or number of tokens"),
            });
        }
    }
    Ok(())
}

/// When a curve reaches a loss.
#[derive(Debug, Clone)]
struct Reach {
    params: f64,
    /// ln of the batch in tokens.
    batch: f64,
    /// −ln L at the first and the last point that count.
    range: [f64; 2],
    /// ln of tokens over −ln L.
    tokens: Akima,
}

impl Reach {
    /// The curve over the points that are lower than all before; `None` of too few.
    fn new(curve: &BatchCurve) -> Option<Self> {
        let mut ordered = curve.points.clone();
        ordered.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut lower: Vec<(f64, f64)> = Vec::new();
        for (tokens, loss) in ordered {
            let progress = -loss.ln();
            if lower.last().is_none_or(|&(before, _)| progress > before) {
                lower.push((progress, tokens.ln()));
            }
        }
        if lower.len() < POINTS_MIN {
            return None;
        }
        Some(Self {
            params: curve.params,
            batch: curve.batch_tokens.ln(),
            range: [lower.first()?.0, lower.last()?.0],
            tokens: Akima::through(lower)?,
        })
    }
}

/// Curves that can be read, by size, then batch, and those that cannot.
fn partition(curves: &[BatchCurve]) -> (Vec<Reach>, Vec<&BatchCurve>) {
    let mut kept = Vec::new();
    let mut short = Vec::new();
    for curve in curves {
        match Reach::new(curve) {
            Some(reach) => kept.push(reach),
            None => short.push(curve),
        }
    }
    kept.sort_by(|a, b| {
        let by_place = a.params.total_cmp(&b.params).then(a.batch.total_cmp(&b.batch));
        by_place
            .then(a.range[0].total_cmp(&b.range[0]))
            .then(a.range[1].total_cmp(&b.range[1]))
    });
    (kept, short)
}

/// The minima of all levels of all sizes, and the number of levels whose best batch is at the edge.
fn minima(curves: &[Reach]) -> (Vec<Level>, usize) {
    let mut found = Vec::new();
    let mut at_edge = 0;
    for size in distinct(curves.iter().map(|curve| curve.params)) {
        let of_size: Vec<&Reach> = curves
            .iter()
            .filter(|curve| (size..=size * (1.0 + SAME_SIZE)).contains(&curve.params))
            .collect();
        for progress in levels(&of_size) {
            let points = reached(&of_size, progress);
            if points.len() < BATCHES_MIN {
                continue;
            }
            let Some((batch, tokens)) = lowest(&points) else {
                at_edge += 1;
                continue;
            };
            found.push(Level {
                params: size,
                loss: (-progress).exp(),
                batch_tokens: batch.exp(),
                tokens: tokens.exp(),
            });
        }
    }
    (found, at_edge)
}

/// ln of the batch and mean ln of the tokens that reach a level, for each batch that does.
fn reached(curves: &[&Reach], progress: f64) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = curves
        .iter()
        .filter_map(|curve| Some((curve.batch, curve.tokens.value(progress)?)))
        .collect();
    points
        .chunk_by(|a, b| b.0 - a.0 < SAME_SIZE.ln_1p())
        .map(|same| {
            let count = same.len() as f64;
            (same[0].0, same.iter().map(|point| point.1).sum::<f64>() / count)
        })
        .collect()
}

/// Levels of −ln L that at least three curves pass, from high loss to low.
fn levels(curves: &[&Reach]) -> Vec<f64> {
    let ends = |end: usize| {
        let mut ends: Vec<f64> = curves.iter().map(|curve| curve.range[end]).collect();
        ends.sort_by(f64::total_cmp);
        ends
    };
    let (starts, stops) = (ends(0), ends(1));
    let Some(low) = starts.len().checked_sub(BATCHES_MIN) else {
        return Vec::new();
    };
    let [from, to] = [starts[BATCHES_MIN - 1], stops[low]];
    (0..LEVELS)
        .map(|i| from + (to - from) * (f64::from(i) + 0.5) / f64::from(LEVELS))
        .filter(|_| to > from)
        .collect()
}

/// The lowest point of tokens over batch, both in logarithms: the vertex of a parabola about the lowest of the points,
/// which has to lie between the neighbours. `None` where the lowest is the first or the last.
fn lowest(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let best = (0..points.len()).min_by(|&a, &b| points[a].1.total_cmp(&points[b].1))?;
    if best == 0 || best + 1 == points.len() {
        return None;
    }
    let near: Vec<(f64, f64)> = (0..points.len())
        .filter(|&i| i.abs_diff(best) <= 1 || points[i].1 <= points[best].1 + WINDOW_FACTOR.ln())
        .map(|i| points[i])
        .collect();
    let neighbours = &points[best - 1..=best + 1];
    let between = |place: &(f64, f64)| (neighbours[0].0..=neighbours[2].0).contains(&place.0);
    let centre = points[best].0;
    vertex(&near, centre)
        .filter(between)
        .or_else(|| vertex(neighbours, centre).filter(between))
}

/// The lowest point of the parabola through points by least squares; `None` where it has none.
fn vertex(points: &[(f64, f64)], centre: f64) -> Option<(f64, f64)> {
    let mut normal = Normal::empty();
    for &(x, y) in points {
        normal.add_row(&[1.0, x - centre, (x - centre).powi(2)], y, 1.0);
    }
    let [c0, c1, c2] = normal.solve()?;
    (c2 > 0.0).then(|| (centre - c1 / (2.0 * c2), c0 - c1 * c1 / (4.0 * c2)))
}

/// The line of the best batch over a coordinate of the levels, in logarithms.
fn line(levels: &[Level], of: fn(&Level) -> f64) -> Option<LogLine> {
    let points: Vec<_> = levels
        .iter()
        .map(|level| (of(level).ln(), level.batch_tokens.ln(), 1.0))
        .collect();
    LogLine::through(&points)
}

/// The power law with the errors that leaving out each curve shows; none where too few curves can be spared.
fn jackknifed(line: &LogLine, without: &[Vec<Level>], of: fn(&Level) -> f64) -> Power {
    let constants: Option<Vec<[f64; 2]>> = without
        .iter()
        .map(|levels| Some(levels).filter(|levels| levels.len() >= LEVELS_MIN))
        .map(|levels| Some(line.constants_of(&self::line(levels?, of)?)))
        .collect();
    let count = without.len() as f64;
    // The values of a jackknife differ by 1 / (n − 1) of what draws would.
    let covariance = constants
        .and_then(|constants| bootstrap::covariance(&constants))
        .map(|matrix| matrix.map(|row| row.map(|v| v * (count - 1.0).powi(2) / count)));
    line.power(covariance, count - 2.0)
}

#[cfg(test)]
mod tests;
