//! Finds the constants that suit rows best: a grid whose linear part is solved inside, then Levenberg's and
//! Marquardt's method on all constants from the promising cells. Refuses to know whether the rows deserve a law.
//!
//! The objective is `Σ Huber_δ(ln predicted − ln loss)`, as both papers have it. Written as half a sum of squares
//! of `sign(r)·√(2·Huber(r))` it is one for Gauss and Newton. Exponents that curves hardly show are held near those of
//! other models ([`Law::anchors`]): the second search adds to the objective what the first left of it, times the
//! squared distance in standard deviations. Curves that the law meets exactly are thus fitted without any anchor.

use super::Law;
use super::law::{self, Linear, Scale, Track};

/// Where the Huber loss turns from square to linear, in log loss.
pub(super) const HUBER_DELTA: f64 = 1e-3;

/// Rows to fit.
#[derive(Debug)]
pub(super) struct Problem {
    /// The law.
    pub(super) law: Law,
    /// The curves.
    pub(super) tracks: Vec<Track>,
    /// The loss at the rows of all tracks, in order.
    pub(super) losses: Vec<f64>,
    /// Units of the constants.
    pub(super) scale: Scale,
    /// The longest schedule, in steps.
    pub(super) steps: f64,
    /// What one standard deviation from an anchor costs.
    pub(super) anchoring: f64,
}

/// Where a search ended.
#[derive(Debug, Clone)]
pub(super) struct CurveMinimum {
    /// What is linear.
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
struct Columns {
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
    pub(super) fn minimise(mut self) -> Option<CurveMinimum> {
        let free = self.search()?;
        if self.law.anchors().is_empty() {
            return Some(free);
        }
        // The misfit of a law is shared by the rows of a curve, so that all of it, not that of a row, is the measure.
        self.anchoring = free.value;
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

    fn columns(&self, shape: &[f64]) -> Columns {
        Columns {
            power: self.powers(shape[0].exp()),
            drop: self.drops(&shape[1..]),
        }
    }

    /// The residuals in log loss, and the predictions. A prediction below zero counts as one that is a thousandth.
    fn residuals(&self, linear: &Linear, columns: &Columns) -> Vec<(f64, f64)> {
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
            let mut gram = vec![vec![0.0; 3]; 3];
            let mut rhs = vec![0.0; 3];
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
        let mut x: Vec<f64> = start.linear.iter().chain(&start.shape).copied().collect();
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
            let moved = x.iter().zip(&change).zip(&limits);
            let candidate: Vec<f64> = moved
                .map(|((x, step), limit)| (x + step).clamp(limit.0, limit.1))
                .collect();
            let value = self.value(&candidate);
            let kept = (here.value - value) / gain;
            if value < here.value {
                x = candidate;
                here = self.slope(&x);
            }
            damping = match kept {
                k if k > 0.75 => (damping * 0.1).max(1e-12),
                k if k > 0.25 => damping,
                k if k > 0.0 => damping * 3.0,
                _ => damping * 8.0,
            };
            if damping > 1e12 {
                // No descent is left at this precision.
                converged = gain <= 1e-6 * here.value;
                break;
            }
        }
        CurveMinimum {
            linear: [x[0], x[1], x[2]],
            shape: x[3..].to_vec(),
            value: here.value,
            anchored: self.anchored(&x[3..]),
            converged,
        }
    }

    /// Limits of all constants: the linear ones are not negative.
    fn limits(&self) -> Vec<(f64, f64)> {
        let linear = std::iter::repeat_n((0.0, f64::INFINITY), 3);
        linear.chain(self.law.limits(self.scale, self.steps)).collect()
    }

    fn value(&self, x: &[f64]) -> f64 {
        let rows = self.residuals(&[x[0], x[1], x[2]], &self.columns(&x[3..]));
        rows.iter().map(|&(r, _)| huber(r)).sum::<f64>() + self.anchored(&x[3..])
    }

    /// What the anchors add to the objective.
    fn anchored(&self, shape: &[f64]) -> f64 {
        let anchors = self.law.anchors().iter();
        anchors
            .map(|a| self.anchoring * ((shape[a.constant] - a.at) / a.sd).powi(2))
            .sum()
    }

    /// The objective with its gradient and Gauss' and Newton's curvature.
    fn slope(&self, x: &[f64]) -> Slope {
        const NUDGE: f64 = 1e-6;
        let columns = self.columns(&x[3..]);
        let rows = self.residuals(&[x[0], x[1], x[2]], &columns);
        let nudged: Vec<Vec<f64>> = (4..x.len())
            .map(|j| {
                let mut shape = x[4..].to_vec();
                shape[j - 4] += NUDGE;
                self.drops(&shape)
            })
            .collect();
        let (alpha, size) = (x[3].exp(), x.len());
        let mut slope = Slope::flat(size);
        let areas = self.tracks.iter().flat_map(Track::rows).map(|row| row.area);
        for (i, (area, &(r, p))) in areas.zip(&rows).enumerate() {
            let (power, drop) = (columns.power[i], columns.drop[i]);
            let mut row = vec![1.0, power, -drop, -alpha * x[1] * power * (area / self.scale.area).ln()];
            row.extend(nudged.iter().map(|there| x[2] * (drop - there[i]) / NUDGE));
            let root = (2.0 * huber(r)).sqrt();
            let bend = if root <= HUBER_DELTA { 1.0 } else { HUBER_DELTA / root };
            slope.add(&row, root.copysign(r), bend / p);
        }
        for anchor in self.law.anchors() {
            let mut row = vec![0.0; size];
            row[3 + anchor.constant] = 1.0;
            let factor = (2.0 * self.anchoring).sqrt() / anchor.sd;
            slope.add(&row, factor * (x[3 + anchor.constant] - anchor.at), factor);
        }
        slope.value = rows.iter().map(|&(r, _)| huber(r)).sum::<f64>() + self.anchored(&x[3..]);
        slope
    }
}

/// The objective around a place.
struct Slope {
    value: f64,
    gradient: Vec<f64>,
    bend: Vec<Vec<f64>>,
}

impl Slope {
    fn flat(size: usize) -> Self {
        Self {
            value: 0.0,
            gradient: vec![0.0; size],
            bend: vec![vec![0.0; size]; size],
        }
    }

    /// Adds a row: its residual, and how the prediction moves with each constant, times `factor`.
    fn add(&mut self, row: &[f64], residual: f64, factor: f64) {
        for j in 0..row.len() {
            self.gradient[j] += residual * factor * row[j];
            for k in 0..=j {
                self.bend[j][k] += factor * factor * row[j] * row[k];
            }
        }
    }
}

/// The damped step within the limits and what it promises. A constant that is at its limit and would leave it, or
/// that no row knows, stays.
fn step(slope: &Slope, damping: f64, x: &[f64], limits: &[(f64, f64)]) -> Option<(Vec<f64>, f64)> {
    let free: Vec<usize> = (0..x.len())
        .filter(|&j| {
            let held =
                (x[j] <= limits[j].0 && slope.gradient[j] >= 0.0) || (x[j] >= limits[j].1 && slope.gradient[j] <= 0.0);
            !held && slope.bend[j][j] > 0.0
        })
        .collect();
    let bend = |j: usize, k: usize| slope.bend[j.max(k)][j.min(k)];
    let damped = |&j: &usize| {
        let entry = |&k: &usize| bend(j, k) * if j == k { 1.0 + damping } else { 1.0 };
        free.iter().map(entry).collect::<Vec<f64>>()
    };
    let matrix: Vec<Vec<f64>> = free.iter().map(damped).collect();
    let rhs: Vec<f64> = free.iter().map(|&j| -slope.gradient[j]).collect();
    let solved = solve(&matrix, &rhs)?;
    let mut change = vec![0.0; x.len()];
    for (&j, &value) in free.iter().zip(&solved) {
        change[j] = value;
    }
    let gain = (0..x.len())
        .map(|j| {
            let bent: f64 = (0..x.len()).map(|k| bend(j, k) * change[k]).sum();
            -change[j] * (slope.gradient[j] + 0.5 * bent)
        })
        .sum();
    Some((change, gain))
}

/// Huber's loss.
fn huber(r: f64) -> f64 {
    let size = r.abs();
    if size <= HUBER_DELTA {
        0.5 * r * r
    } else {
        HUBER_DELTA * (size - 0.5 * HUBER_DELTA)
    }
}

/// The minimum of `½ x·gram·x − rhs·x` over three unknowns that are not negative: the best of all that set some to
/// zero. It is the only one, so the first choice that sets none to zero ends the search when it qualifies.
fn non_negative(gram: &[Vec<f64>], rhs: &[f64]) -> Linear {
    const CHOICES: [&[usize]; 7] = [&[0, 1, 2], &[0, 1], &[0, 2], &[1, 2], &[0], &[1], &[2]];
    let mut best = ([0.0; 3], 0.0);
    for choice in CHOICES {
        let matrix: Vec<Vec<f64>> = choice
            .iter()
            .map(|&j| choice.iter().map(|&k| gram[j][k]).collect())
            .collect();
        let target: Vec<f64> = choice.iter().map(|&j| rhs[j]).collect();
        let Some(solved) = solve(&matrix, &target).filter(|x| x.iter().all(|v| *v >= 0.0)) else {
            continue;
        };
        // At a minimum the quadratic form is half the linear one.
        let value = -0.5 * solved.iter().zip(&target).map(|(x, t)| x * t).sum::<f64>();
        if value < best.1 {
            let mut x = [0.0; 3];
            for (&j, &v) in choice.iter().zip(&solved) {
                x[j] = v;
            }
            best = (x, value);
        }
        if choice.len() == 3 {
            break;
        }
    }
    best.0
}

/// Solves a symmetric positive definite system by Cholesky's factorisation, after scaling the diagonal to one;
/// `None` when it is not one.
fn solve(matrix: &[Vec<f64>], rhs: &[f64]) -> Option<Vec<f64>> {
    let size = rhs.len();
    let scale: Vec<f64> = (0..size).map(|i| 1.0 / matrix[i][i].sqrt()).collect();
    if scale.iter().any(|s| !s.is_finite()) {
        return None;
    }
    let mut factor = vec![vec![0.0; size]; size];
    for i in 0..size {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let rest = matrix[i][j] * scale[i] * scale[j] - known;
            factor[i][j] = if i != j {
                rest / factor[j][j]
            } else if rest > 1e-14 {
                rest.sqrt()
            } else {
                return None;
            };
        }
    }
    let mut x = vec![0.0; size];
    for i in 0..size {
        let known: f64 = (0..i).map(|j| factor[i][j] * x[j]).sum();
        x[i] = (rhs[i] * scale[i] - known) / factor[i][i];
    }
    for i in (0..size).rev() {
        let known: f64 = (i + 1..size).map(|j| factor[j][i] * x[j]).sum();
        x[i] = (x[i] - known) / factor[i][i];
    }
    Some(x.iter().zip(&scale).map(|(x, s)| x * s).collect())
}
