//! The learning rate at every step, and its sums, from the rates at some steps. Refuses to know losses and laws.

use super::{RatePoint, Schedule};

/// A place where the rate is known; between two of them it is linear.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knot {
    pub(super) step: f64,
    /// The learning rate of that step.
    pub(super) lr: f64,
    /// Sum of the learning rates of all steps up to and with this one.
    pub(super) area: f64,
}

/// A stretch over which the rate changes by the same amount at each step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) from: Knot,
    pub(super) to: Knot,
}

impl Change {
    /// The change at each step.
    pub(super) fn each(&self) -> f64 {
        (self.to.lr - self.from.lr) / (self.to.step - self.from.step)
    }
}

/// A schedule without gaps.
#[derive(Debug, Clone)]
pub(super) struct Path {
    knots: Vec<Knot>,
    plateau: usize,
    /// The highest learning rate.
    pub(super) peak: f64,
}

/// Below this share of the peak two rates are the same: recorded rates may be rounded to single precision.
const SAME: f64 = 1e-6;

impl Path {
    /// The path of a checked schedule.
    pub(super) fn new(schedule: &Schedule) -> Self {
        let points = &schedule.points;
        let peak = points.iter().map(|p| p.lr).fold(0.0, f64::max);
        let mut knots = Vec::with_capacity(points.len() + 3);
        let mut push = |step: f64, lr: f64| {
            let area = knots
                .last()
                .map_or(0.0, |last: &Knot| ahead(last, lr, step - last.step, step - last.step));
            knots.push(Knot { step, lr, area });
        };
        let first = points.first().copied().unwrap_or(RatePoint { step: 1.0, lr: 0.0 });
        let warmup = schedule.warmup.min(first.step);
        push(0.0, if warmup > 0.0 { 0.0 } else { first.lr });
        if warmup > 0.0 && warmup < first.step {
            push(warmup, first.lr);
        }
        for (index, point) in points.iter().enumerate() {
            if index > 0 && is_jump(points, index, peak) {
                push(point.step - 1.0, points[index - 1].lr);
            }
            push(point.step, point.lr);
        }
        // Without a known warm-up the knot at zero is an assumption, and no rise may be read from it.
        let mut plateau = usize::from(warmup == 0.0).min(knots.len() - 1);
        while plateau + 1 < knots.len() && (knots[plateau].lr == 0.0 || knots[plateau + 1].lr > knots[plateau].lr) {
            plateau += 1;
        }
        Self { knots, plateau, peak }
    }

    /// The first step after the first rise of the rate: neither law speaks of what is before it.
    pub(super) fn plateau(&self) -> f64 {
        self.knots[self.plateau].step
    }

    pub(super) fn end(&self) -> f64 {
        self.knots[self.knots.len() - 1].step
    }

    /// The lowest rate after the warm-up.
    pub(super) fn lowest(&self) -> f64 {
        self.knots[self.plateau..]
            .iter()
            .map(|k| k.lr)
            .fold(f64::INFINITY, f64::min)
    }

    /// The knots from the end of the warm-up on.
    pub(super) fn after_warmup(&self) -> &[Knot] {
        &self.knots[self.plateau..]
    }

    /// Rate and area at a step; after the end the last rate goes on.
    pub(super) fn at(&self, step: f64) -> Knot {
        let next = self.knots.partition_point(|k| k.step < step);
        let last = self.knots[next.saturating_sub(1)];
        let (end, n) = self
            .knots
            .get(next)
            .map_or((last.lr, step - last.step), |k| (k.lr, k.step - last.step));
        if n <= 0.0 {
            return Knot { step, ..last };
        }
        let j = step - last.step;
        Knot {
            step,
            lr: last.lr + (end - last.lr) * j / n,
            area: ahead(&last, end, j, n),
        }
    }

    /// The knots after the warm-up without those that a line between others replaces, to this share of the peak.
    pub(super) fn thinned(&self, share: f64) -> Vec<Knot> {
        let knots = self.after_warmup();
        let tolerance = share * self.peak;
        let flat = |i: usize| (knots[i].lr - knots[i - 1].lr).abs() <= SAME * self.peak;
        let mut kept = vec![knots[0]];
        for (i, knot) in knots.iter().enumerate().skip(1) {
            let is_last = i + 1 == knots.len();
            let from = kept[kept.len() - 1].lr;
            // The end of a constant stretch stays, or the first changes would be smeared over it.
            if is_last || flat(i) != flat(i + 1) || (knots[i + 1].lr - from).abs() > tolerance {
                kept.push(*knot);
            }
        }
        kept
    }

    /// The changes of the rate after the warm-up: small ones are put together up to one share of the peak, large ones
    /// cut down to another. The multi-power law then costs rows × changes, and moves by less than 1e-4 nats.
    pub(super) fn changes(&self) -> Vec<Change> {
        const TOGETHER: f64 = 0.005;
        const APART: f64 = 0.02;
        let mut changes = Vec::new();
        for pair in self.thinned(TOGETHER).windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let change = (to.lr - from.lr).abs();
            if change <= SAME * self.peak {
                continue;
            }
            let steps = to.step - from.step;
            let parts = (change / (APART * self.peak)).ceil().clamp(1.0, steps.max(1.0));
            let mut last = from;
            for part in 1..=parts as usize {
                let step = (from.step + steps * part as f64 / parts).round();
                let next = if part as f64 >= parts { to } else { self.at(step) };
                changes.push(Change { from: last, to: next });
                last = next;
            }
        }
        changes
    }

    /// Whether the rate falls by more than a hundredth of the peak after the warm-up.
    pub(super) fn decays(&self) -> bool {
        let mut highest = 0.0_f64;
        self.after_warmup().iter().any(|k| {
            highest = highest.max(k.lr);
            highest - k.lr > 0.01 * self.peak
        })
    }

    /// Whether the rate stays, to a hundredth of the peak, for a tenth of the steps after the warm-up; a cosine turns
    /// within a fifteenth.
    pub(super) fn stays(&self) -> bool {
        let knots = self.after_warmup();
        let long = 0.1 * (self.end() - self.plateau());
        let mut from = knots[0];
        knots.iter().any(|knot| {
            if (knot.lr - from.lr).abs() > 0.01 * self.peak {
                from = *knot;
            }
            knot.step - from.step >= long && long > 0.0
        })
    }

    /// Whether two paths have the same rates wherever both are known, to a twentieth of the peak: a run that was
    /// stopped earlier, or that was recorded at other steps.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let from = self.plateau().max(other.plateau());
        let to = self.end().min(other.end());
        let tolerance = 0.05 * self.peak.max(other.peak);
        let both = self.knots.iter().chain(&other.knots).map(|k| k.step);
        from < to
            && both
                .filter(|step| (from..=to).contains(step))
                .all(|step| (self.at(step).lr - other.at(step).lr).abs() <= tolerance)
    }
}

/// Sum of the rates of `j` of the `n` steps from a knot to the rate `end`, added to the knot's own.
fn ahead(from: &Knot, end: f64, j: f64, n: f64) -> f64 {
    if n <= 0.0 {
        return from.area;
    }
    from.area + j * from.lr + (end - from.lr) * j * (j + 1.0) / (2.0 * n)
}

/// Whether the rate is constant on both sides of the rows before `index` and changes in between alone.
fn is_jump(points: &[RatePoint], index: usize, peak: f64) -> bool {
    let moves = |i: usize| (points[i].lr - points[i - 1].lr).abs() > SAME * peak;
    index >= 2
        && index + 1 < points.len()
        && points[index].step - points[index - 1].step > 1.0
        && moves(index)
        && !moves(index - 1)
        && !moves(index + 1)
}
