//! What curves leave open of the constants: the noise about a minimum, and the spread of the constants that goes with
//! it. Refuses to search.
//!
//! Near a minimum the objective is a parabola, and its width in units of the noise is the spread (Laplace). The anchors
//! count in it as they count in the search.

use std::collections::BTreeMap;

use super::law::Anchor;
use super::search::{CONSTANTS, CurveMinimum, HUBER_DELTA, Problem, Theta};
use super::{Origin, Parameter};
use crate::fit::Estimate;
use crate::fit::numeric::linear_algebra::{inverse, quadratic_form};
use crate::fit::numeric::{bootstrap, statistics};

/// Noise is never less than rounding: then what no row shows still has the spread of its anchor.
const NOISE_MIN: f64 = 1e-24;

/// The spread of the constants about a minimum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    /// The covariance of the linear constants and those of the shape; zero for one at its limit.
    pub(super) covariance: [[f64; CONSTANTS]; CONSTANTS],
    /// Degrees of freedom of the noise.
    pub(super) dof: f64,
}

/// The residuals of a minimum, in figures.
struct Residuals {
    /// Twice what one effective observation costs.
    noise: f64,
    /// The mean of the second derivative of Huber's loss.
    bend: f64,
    /// Observations, less those that say what their neighbours say.
    effective: f64,
}

impl Problem {
    /// The variance of one effective observation about a minimum, in squares of log loss: what Huber's loss makes of
    /// the residuals (Huber 1964), for as many rows as say the same because residuals of neighbours are alike.
    pub(super) fn noise_at(&self, minimum: &CurveMinimum) -> f64 {
        self.figures(minimum).noise
    }

    fn figures(&self, minimum: &CurveMinimum) -> Residuals {
        let rows = self.residuals(&minimum.linear, &self.columns(&minimum.shape));
        let residuals: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let count = residuals.len() as f64;
        let psi = |r: f64| r.clamp(-HUBER_DELTA, HUBER_DELTA);
        let square = residuals.iter().map(|&r| psi(r).powi(2)).sum::<f64>() / count;
        let bend = bend(&residuals);
        let alike = self.alike(&residuals.iter().map(|&r| psi(r)).collect::<Vec<_>>());
        let constants = self.constants() as f64;
        let lost = count / (count - constants).max(1.0);
        Residuals {
            noise: (square / bend * alike * lost).max(NOISE_MIN),
            bend,
            effective: count / alike,
        }
    }

    /// How many neighbouring rows say what one row says: one and twice the sum of the autocorrelations before the first
    /// that is not above zero (Geyer 1992).
    fn alike(&self, residuals: &[f64]) -> f64 {
        let of_tracks = self.by_track(residuals);
        let square = residuals.iter().map(|r| r * r).sum::<f64>() / residuals.len() as f64;
        let correlation = |lag: usize| {
            let pairs = of_tracks
                .iter()
                .flat_map(|track| track.iter().zip(track.iter().skip(lag)));
            let (sum, count) = pairs.fold((0.0, 0.0), |(sum, count), (a, b)| (sum + a * b, count + 1.0));
            Some(sum / count / square).filter(|rho| *rho > 0.0)
        };
        1.0 + 2.0 * (1..residuals.len()).map_while(correlation).sum::<f64>()
    }

    /// Numbers of rows, those of each track by themselves.
    fn by_track<'a>(&self, mut numbers: &'a [f64]) -> Vec<&'a [f64]> {
        let track = |rows: usize| {
            let (of_track, rest) = numbers.split_at(rows);
            numbers = rest;
            of_track
        };
        self.tracks.iter().map(|track| track.rows().len()).map(track).collect()
    }

    /// The median miss of each track, as a share of the loss.
    pub(super) fn misses(&self, minimum: &CurveMinimum) -> Vec<f64> {
        let rows = self.residuals(&minimum.linear, &self.columns(&minimum.shape));
        let sizes: Vec<f64> = rows.iter().map(|row| row.0.abs()).collect();
        let median = |of_track: &[f64]| statistics::quantile(&statistics::sorted(of_track.to_vec()), 0.5);
        self.by_track(&sizes)
            .into_iter()
            .map(|it| median(it).unwrap_or(0.0))
            .collect()
    }

    /// The constants that are searched.
    fn constants(&self) -> usize {
        3 + self.law.shape_names().len() - self.held.len()
    }

    /// The spread about a minimum; none where the rows and the anchors leave a direction open.
    pub(super) fn spread(&self, minimum: &CurveMinimum) -> Option<Spread> {
        let Residuals { bend, effective, .. } = self.figures(minimum);
        let x = theta(minimum);
        let columns = self.columns(&minimum.shape);
        let rows = self.residuals(&minimum.linear, &columns);
        let noise = self.noise.max(NOISE_MIN);
        let free: [bool; CONSTANTS] = std::array::from_fn(|j| {
            // A linear constant at zero is at its limit. What is held is as unsure as its anchor.
            (j < 3 && x[j] > 0.0) || (j >= 3 && j < 3 + minimum.shape.len())
        });
        let mut precision = [[0.0; CONSTANTS]; CONSTANTS];
        for (row, (_, p)) in self.gradients(&x, &columns).iter().zip(rows) {
            for j in 0..CONSTANTS {
                for k in 0..CONSTANTS {
                    precision[j][k] += bend * row[j.max(k)] * row[j.min(k)] / (p * p * noise);
                }
            }
        }
        for anchor in self.law.anchors() {
            precision[3 + anchor.constant][3 + anchor.constant] += anchor.sd.powi(-2);
        }
        let apart = |j: usize, k: usize| if j == k { 1.0 } else { 0.0 };
        let reduced: [Theta; CONSTANTS] = std::array::from_fn(|j| {
            std::array::from_fn(|k| {
                if free[j] && free[k] {
                    precision[j][k]
                } else {
                    apart(j, k)
                }
            })
        });
        let inverse = inverse(&reduced)?;
        let covariance =
            std::array::from_fn(|j| std::array::from_fn(|k| if free[j] && free[k] { inverse[j][k] } else { 0.0 }));
        Some(Spread {
            covariance,
            dof: (effective - self.constants() as f64).max(1.0),
        })
    }

    /// The anchored constants that the curves know less of than the anchor does, and have not moved from it.
    pub(super) fn unmoved(&self, minimum: &CurveMinimum) -> Vec<usize> {
        let spread = self.spread(minimum);
        let anchors = self.law.anchors().iter();
        let is_unmoved = |anchor: &&Anchor| {
            let off = (minimum.shape[anchor.constant] - anchor.at).abs();
            let at = 3 + anchor.constant;
            let variance = spread.map_or(f64::INFINITY, |it| it.covariance[at][at]);
            off < anchor.sd && variance > 0.5 * anchor.sd.powi(2)
        };
        anchors.filter(is_unmoved).map(|anchor| anchor.constant).collect()
    }

    /// The constants by their names, each with its interval, and whether the curves moved it.
    pub(super) fn parameters(&self, minimum: &CurveMinimum) -> BTreeMap<String, Parameter> {
        const NUDGE: f64 = 1e-6;
        let spread = self.spread(minimum);
        let (law, scale) = (self.law, self.scale);
        let named = |x: &Theta| law.named([x[0], x[1], x[2]], self.shape(x), scale);
        let x = theta(minimum);
        let nudged: [BTreeMap<String, f64>; CONSTANTS] = std::array::from_fn(|j| {
            let mut there = x;
            there[j] += NUDGE;
            named(&there)
        });
        let held = |name: &str| {
            let place = law.shape_names().iter().position(|it| *it == name);
            place.is_some_and(|place| self.held.contains(&place))
        };
        let parameter = |(name, value): (String, f64)| {
            let line = Line::of(&name);
            let slope: Theta = std::array::from_fn(|j| (line.to(nudged[j][&name]) - line.to(value)) / NUDGE);
            let is_finite = slope.iter().all(|it| it.is_finite());
            let known = spread.filter(|_| is_finite && !held(&name));
            let variance = known
                .map(|it| quadratic_form(&it.covariance, &slope))
                .filter(|it| *it > 0.0);
            let on_line = bootstrap::estimate(line.to(value), variance, spread.map_or(1.0, |it| it.dof));
            let source = if held(&name) { Origin::Published } else { Origin::Fitted };
            let estimate = line.back(value, &on_line);
            (name, Parameter { estimate, source })
        };
        named(&x).into_iter().map(parameter).collect()
    }
}

fn theta(minimum: &CurveMinimum) -> Theta {
    let mut x = [0.0; CONSTANTS];
    let constants = minimum.linear.iter().chain(&minimum.shape);
    x.iter_mut().zip(constants).for_each(|(x, constant)| *x = *constant);
    x
}

/// On which line the error of a constant is even on both sides.
#[derive(Debug, Clone, Copy)]
enum Line {
    Plain,
    /// Of what cannot be below zero.
    Log,
    /// Of what is below one: `−ln(1 − x)`.
    Memory,
}

impl Line {
    fn of(name: &str) -> Self {
        match name {
            "L0" | "gamma" => Self::Plain,
            "lambda" => Self::Memory,
            _ => Self::Log,
        }
    }

    fn to(self, value: f64) -> f64 {
        match self {
            Self::Plain => value,
            Self::Log => value.ln(),
            Self::Memory => -(1.0 - value).ln(),
        }
    }

    fn from(self, on_line: f64) -> f64 {
        match self {
            Self::Plain => on_line,
            Self::Log => on_line.exp(),
            Self::Memory => 1.0 - (-on_line).exp(),
        }
    }

    /// The estimate of a value, from that on the line.
    fn back(self, value: f64, on_line: &Estimate) -> Estimate {
        let steepness = match self {
            Self::Plain => 1.0,
            Self::Log => value,
            Self::Memory => 1.0 - value,
        };
        Estimate {
            value,
            se: on_line.se.map(|se| se * steepness),
            // An end that no number holds says that the curves do not show the constant.
            ci95: on_line
                .ci95
                .map(|ends| ends.map(|end| self.from(end)))
                .filter(|ends| ends.iter().all(|end| end.is_finite())),
        }
    }
}

/// The mean of the second derivative of Huber's loss, for residuals that are as wide as their median is: of Gaussian
/// ones the share within δ, to a tenth.
fn bend(residuals: &[f64]) -> f64 {
    let sizes = statistics::sorted(residuals.iter().map(|r| r.abs()).collect());
    let sd = 1.4826 * statistics::quantile(&sizes, 0.5).unwrap_or(0.0);
    HUBER_DELTA / HUBER_DELTA.hypot((std::f64::consts::PI / 2.0).sqrt() * sd)
}
