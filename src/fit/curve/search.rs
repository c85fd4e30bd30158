//! Finds the constants that suit rows best: a grid whose linear part is solved inside, then Levenberg's and
//! Marquardt's method on all constants from the promising cells. Refuses to know whether the rows deserve a law.
//!
//! The objective is `Σ Huber_δ(ln predicted − ln loss)`, as both papers have it. Written as half a sum of squares
//! of `sign(r)·√(2·Huber(r))` it is one for Gauss and Newton. What curves hardly show is known beforehand of other models
//! ([`Law::anchors`]): a second search adds half the noise that the first left ([`Problem::noise_at`]), times the
//! squared distance in standard deviations, so that one standard deviation costs what one effective observation costs.
//! What the curves then know less of than the anchor does is held at the anchor.

use super::Law;
use super::law::{self, Linear, Scale, Track};
use crate::fit::numeric::descent::next_damping;
use crate::fit::numeric::linear_algebra::{non_negative, solve_free};

/// Constants of the larger law: three that are linear, four that are not. The smaller law's last two stay at zero.
pub(super) const CONSTANTS: usize = 7;

/// The linear constants, then those of the shape.
pub(super) type Theta = [f64; CONSTANTS];

/// Where the Huber loss turns from square to linear, in log loss.
pub(super) const HUBER_DELTA: f64 = 1e-3;

#[derive(Debug)]
pub(super) struct Problem {
    pub(super) law: Law,
    pub(super) tracks: Vec<Track>,
    /// The loss at the rows of all tracks, in order.
    pub(super) losses: Vec<f64>,
    /// Units of the constants.
    pub(super) scale: Scale,
    /// The longest schedule, in steps.
    pub(super) steps: f64,
    /// The variance of one effective observation, of which an anchor counts as one; zero in a search without anchors.
    pub(super) noise: f64,
    /// The constants of the shape that are held at their anchors.
    pub(super) held: Vec<usize>,
}

/// Where a search ended.
#[derive(Debug, Clone)]
pub(super) struct CurveMinimum {
    pub(super) linear: Linear,
    /// What is not, as in [`Law::limits`].
    pub(super) shape: Vec<f64>,
    /// The objective, with what the anchors add.
    pub(super) value: f64,
    /// What the anchors add to it.
    pub(super) anchored: f64,
    /// Whether the search came to rest.
    pub(super) converged: bool,
}

/// For each row the power and the drop.
pub(super) struct Columns {
    power: Vec<f64>,
    drop: Vec<f64>,
}

/// How far searches from single cells go, of which the best are carried on.
const START: (u32, f64) = (30, 1e-4);
/// How far the best are carried.
const POINT: (u32, f64) = (400, 1e-11);
/// Cells that are followed, and those that are carried on.
const FOLLOWED: (usize, usize) = (8, 2);

impl Problem {
    /// The best minimum, with what the law knows beforehand.
    pub(super) fn minimise(&mut self) -> Option<CurveMinimum> {
        let free = self.search()?;
        self.noise = self.noise_at(&free);
        let anchored = self.search()?;
        self.held = self.unmoved(&anchored);
        if self.held.is_empty() {
            return Some(anchored);
        }
        self.search()
    }

    /// The best minimum from the promising cells.
    fn search(&self) -> Option<CurveMinimum> {
        let mut minima = self.starts();
        minima.truncate(FOLLOWED.0);
        for minimum in &mut minima {
            *minimum = self.descend(minimum, START);
        }
        minima.sort_by(|a, b| a.value.total_cmp(&b.value));
        minima.truncate(FOLLOWED.1);
        minima
            .iter()
            .map(|minimum| self.descend(minimum, POINT))
            .min_by(|a, b| a.value.total_cmp(&b.value))
    }

    /// The cells of the grid, with their linear part: of each shape of the drop the best power, best first.
    fn starts(&self) -> Vec<CurveMinimum> {
        let axes = self.law.grid(self.scale, self.steps);
        let mut shapes = vec![Vec::new()];
        for axis in &axes[1..] {
            let longer = |shape: &Vec<f64>| {
                axis.iter()
                    .map(|&v| [shape.as_slice(), &[v]].concat())
                    .collect::<Vec<_>>()
            };
            shapes = shapes.iter().flat_map(longer).collect();
        }
        let powers: Vec<Vec<f64>> = axes[0].iter().map(|alpha| self.powers(alpha.exp())).collect();
        let mut cells = Vec::new();
        for shape in shapes {
            let mut columns = Columns {
                power: Vec::new(),
                drop: self.drops(&shape),
            };
            let cell = |(alpha, power): (&f64, &Vec<f64>)| {
                columns.power.clone_from(power);
                let (linear, value) = self.solve_inside(&columns);
                let shape = [&[*alpha], shape.as_slice()].concat();
                let anchored = self.anchored(&shape);
                CurveMinimum {
                    linear,
                    shape,
                    value: value + anchored,
                    anchored,
                    converged: false,
                }
            };
            cells.extend(
                axes[0]
                    .iter()
                    .zip(&powers)
                    .map(cell)
                    .min_by(|a, b| a.value.total_cmp(&b.value)),
            );
        }
        cells.sort_by(|a, b| a.value.total_cmp(&b.value));
        cells
    }

    fn powers(&self, alpha: f64) -> Vec<f64> {
        let rows = self.tracks.iter().flat_map(Track::rows);
        rows.map(|row| law::power(row.area, alpha, self.scale)).collect()
    }

    /// The drops for a shape without its first constant, which is that of the power.
    fn drops(&self, shape: &[f64]) -> Vec<f64> {
        let track = |track: &Track| track.drops(self.law, shape, self.scale);
        self.tracks.iter().flat_map(track).collect()
    }

    pub(super) fn columns(&self, shape: &[f64]) -> Columns {
        Columns {
            power: self.powers(shape[0].exp()),
            drop: self.drops(&shape[1..]),
        }
    }

    /// The residuals in log loss, and the predictions. A prediction below zero counts as one that is a thousandth.
    pub(super) fn residuals(&self, linear: &Linear, columns: &Columns) -> Vec<(f64, f64)> {
        let predicted = columns.power.iter().zip(&columns.drop);
        predicted
            .zip(&self.losses)
            .map(|((power, drop), loss)| {
                let p = (linear[0] + linear[1] * power - linear[2] * drop).max(1e-3 * loss);
                ((p / loss).ln(), p)
            })
            .collect()
    }

    /// The best non-negative linear part for fixed columns, by reweighted least squares.
    fn solve_inside(&self, columns: &Columns) -> (Linear, f64) {
        const REWEIGHTINGS: usize = 5;
        let mut rows: Vec<(f64, f64)> = self.losses.iter().map(|&loss| (0.0, loss)).collect();
        let mut linear = [0.0; 3];
        for _ in 0..REWEIGHTINGS {
            let mut gram = [[0.0; 3]; 3];
            let mut rhs = [0.0; 3];
            for (i, &(r, p)) in rows.iter().enumerate() {
                let row = [1.0, columns.power[i], -columns.drop[i]];
                let weight = (HUBER_DELTA / r.abs().max(HUBER_DELTA)) / (p * p);
                for j in 0..3 {
                    rhs[j] += weight * row[j] * p * (1.0 - r);
                    for k in 0..3 {
                        gram[j][k] += weight * row[j] * row[k];
                    }
                }
            }
            linear = non_negative(&gram, &rhs);
            rows = self.residuals(&linear, columns);
        }
        (linear, rows.iter().map(|&(r, _)| huber(r)).sum())
    }

    /// The search from a start: at most so many steps, until the next would gain less than a share of the objective.
    fn descend(&self, start: &CurveMinimum, (steps, tolerance): (u32, f64)) -> CurveMinimum {
        let limits = self.limits();
        let mut x: Theta = [0.0; CONSTANTS];
        for ((x, start), limit) in x.iter_mut().zip(start.linear.iter().chain(&start.shape)).zip(&limits) {
            *x = start.clamp(limit.0, limit.1);
        }
        let mut here = self.slope(&x);
        let exact = 1e-28 * self.losses.len() as f64;
        let (mut damping, mut converged) = (1e-3, false);
        for _ in 0..steps {
            let Some((change, gain)) = step(&here, damping, &x, &limits) else {
                damping *= 10.0;
                continue;
            };
            if here.value <= exact || (gain <= tolerance * here.value && damping <= 1e-5) {
                converged = true;
                break;
            }
            let candidate: Theta = std::array::from_fn(|j| (x[j] + change[j]).clamp(limits[j].0, limits[j].1));
            let value = self.value(&candidate);
            let kept = (here.value - value) / gain;
            if value < here.value {
                x = candidate;
                here = self.slope(&x);
            }
            damping = next_damping(damping, kept);
            if damping > 1e12 {
                // No descent is left at this precision.
                converged = gain <= 1e-6 * here.value;
                break;
            }
        }
        CurveMinimum {
            linear: [x[0], x[1], x[2]],
            shape: self.shape(&x).to_vec(),
            value: here.value,
            anchored: self.anchored(&x[3..]),
            converged,
        }
    }

    /// The constants that are not linear, as in [`Law::limits`].
    pub(super) fn shape<'a>(&self, x: &'a Theta) -> &'a [f64] {
        &x[3..3 + self.law.shape_names().len()]
    }

    /// Limits of all constants: the linear ones are not negative, and what is held has its anchor alone.
    fn limits(&self) -> [(f64, f64); CONSTANTS] {
        let mut limits = [(0.0, 0.0); CONSTANTS];
        limits[..3].fill((0.0, f64::INFINITY));
        for (limit, known) in limits[3..].iter_mut().zip(self.law.limits(self.scale, self.steps)) {
            *limit = known;
        }
        for anchor in self.law.anchors().iter().filter(|it| self.held.contains(&it.constant)) {
            limits[3 + anchor.constant] = (anchor.at, anchor.at);
        }
        limits
    }

    fn value(&self, x: &Theta) -> f64 {
        let rows = self.residuals(&[x[0], x[1], x[2]], &self.columns(self.shape(x)));
        rows.iter().map(|&(r, _)| huber(r)).sum::<f64>() + self.anchored(&x[3..])
    }

    /// What the anchors add to the objective.
    fn anchored(&self, shape: &[f64]) -> f64 {
        let anchors = self.law.anchors().iter();
        anchors
            .map(|a| 0.5 * self.noise * ((shape[a.constant] - a.at) / a.sd).powi(2))
            .sum()
    }

    /// The objective with its gradient and Gauss' and Newton's curvature.
    fn slope(&self, x: &Theta) -> Slope {
        let columns = self.columns(self.shape(x));
        let rows = self.residuals(&[x[0], x[1], x[2]], &columns);
        let mut slope = Slope::flat();
        for (row, &(r, p)) in self.gradients(x, &columns).iter().zip(&rows) {
            let root = (2.0 * huber(r)).sqrt();
            let bend = if root <= HUBER_DELTA { 1.0 } else { HUBER_DELTA / root };
            slope.add(row, root.copysign(r), bend / p);
        }
        for anchor in self.law.anchors() {
            let mut row = [0.0; CONSTANTS];
            row[3 + anchor.constant] = 1.0;
            let factor = self.noise.sqrt() / anchor.sd;
            slope.add(&row, factor * (x[3 + anchor.constant] - anchor.at), factor);
        }
        slope.value = rows.iter().map(|&(r, _)| huber(r)).sum::<f64>() + self.anchored(&x[3..]);
        slope
    }

    /// How the prediction of each row moves with each constant.
    pub(super) fn gradients(&self, x: &Theta, columns: &Columns) -> Vec<Theta> {
        const NUDGE: f64 = 1e-6;
        let shape = self.shape(x);
        let nudged: Vec<Vec<f64>> = (1..shape.len())
            .map(|j| {
                let mut there = shape[1..].to_vec();
                there[j - 1] += NUDGE;
                self.drops(&there)
            })
            .collect();
        let alpha = x[3].exp();
        let areas = self.tracks.iter().flat_map(Track::rows).map(|row| row.area);
        let gradient = |(i, area): (usize, f64)| {
            let (power, drop) = (columns.power[i], columns.drop[i]);
            let mut row = [0.0; CONSTANTS];
            row[..3].copy_from_slice(&[1.0, power, -drop]);
            row[3] = -alpha * x[1] * power * (area / self.scale.area).ln();
            for (slot, there) in row[4..].iter_mut().zip(&nudged) {
                *slot = x[2] * (drop - there[i]) / NUDGE;
            }
            row
        };
        areas.enumerate().map(gradient).collect()
    }
}

/// The objective around a place.
struct Slope {
    value: f64,
    gradient: Theta,
    bend: [[f64; CONSTANTS]; CONSTANTS],
}

impl Slope {
    fn flat() -> Self {
        Self {
            value: 0.0,
            gradient: [0.0; CONSTANTS],
            bend: [[0.0; CONSTANTS]; CONSTANTS],
        }
    }

    /// Adds a row: its residual, and how the prediction moves with each constant, times `factor`.
    fn add(&mut self, row: &Theta, residual: f64, factor: f64) {
        for j in 0..CONSTANTS {
            self.gradient[j] += residual * factor * row[j];
            for k in 0..CONSTANTS {
                // One order of the product on both sides of the diagonal.
                self.bend[j][k] += factor * factor * row[j.max(k)] * row[j.min(k)];
            }
        }
    }
}

/// The damped step within the limits and what it promises. A constant that is at its limit and would leave it, or
/// that no row knows, stays.
fn step(slope: &Slope, damping: f64, x: &Theta, limits: &[(f64, f64); CONSTANTS]) -> Option<(Theta, f64)> {
    let free = std::array::from_fn(|j| {
        let held =
            (x[j] <= limits[j].0 && slope.gradient[j] >= 0.0) || (x[j] >= limits[j].1 && slope.gradient[j] <= 0.0);
        !held && slope.bend[j][j] > 0.0
    });
    let mut damped = slope.bend;
    for (j, row) in damped.iter_mut().enumerate() {
        row[j] *= 1.0 + damping;
    }
    let change = solve_free(&damped, &slope.gradient.map(|g| -g), &free)?;
    let gain = (0..CONSTANTS)
        .map(|j| {
            let bent: f64 = (0..CONSTANTS).map(|k| slope.bend[j][k] * change[k]).sum();
            -change[j] * (slope.gradient[j] + 0.5 * bent)
        })
        .sum();
    Some((change, gain))
}

fn huber(r: f64) -> f64 {
    let size = r.abs();
    if size <= HUBER_DELTA {
        0.5 * r * r
    } else {
        HUBER_DELTA * (size - 0.5 * HUBER_DELTA)
    }
}
