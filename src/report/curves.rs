//! Training curves from a stream of points: bucket means in log tokens, so that ten million points need neither
//! memory nor a second pass.
//!
//! Refuses to know how a curve is drawn.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{PointRow, TrialRow, TrialState};
use crate::spec::ScheduleName;

/// Most buckets of one curve.
const BUCKETS_MAX: usize = 160;
/// Fewest buckets of one curve, however many curves there are.
const BUCKETS_MIN: usize = 48;
/// Buckets of all curves together, roughly: what keeps a page light.
const BUCKETS_TOTAL: usize = 60_000;
/// Most curves that are kept; beyond it they are thinned evenly within each size, the best of each size kept.
pub const CURVES_MAX: usize = 400;
/// Most schedules of which the learning rate is kept: so many colours tell each other apart.
const SCHEDULES_MAX: usize = 6;
/// How far, as a share of the peak, a thinned schedule may be from the recorded one.
const SCHEDULE_TOLERANCE: f64 = 2e-3;

/// The fewest batch sizes that show a bend.
pub(crate) const BATCHES_MIN: usize = 3;
/// Most sizes with several batches; the largest are kept.
const SIZES_MAX: usize = 6;

/// Training losses with nearly the same number of tokens.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    count: u32,
    tokens: f64,
    loss: f64,
    /// The points of lowest and of highest loss.
    ends: [[f64; 2]; 2],
}

impl Bucket {
    const EMPTY: Self = Self {
        count: 0,
        tokens: 0.0,
        loss: 0.0,
        ends: [[0.0, f64::INFINITY], [0.0, f64::NEG_INFINITY]],
    };
}

/// The kept curve of one trial.
#[derive(Debug, Clone)]
struct Curve {
    /// Tokens at the left edge of the first bucket.
    from: f64,
    /// Buckets for each unit of ln tokens.
    density: f64,
    buckets: Vec<Bucket>,
    /// Tokens and learning rate, kept for the trials that stand for a schedule.
    rates: Option<Vec<[f64; 2]>>,
}

/// What a report keeps of the points of its trials. Add the points in any order; ordered by trial is fastest.
#[derive(Debug, Clone)]
pub struct Curves {
    /// By name of the trial.
    kept: BTreeMap<String, Curve>,
    seen: u64,
    /// Points that are recorded, where more are than were added.
    total: Option<u64>,
}

impl Curves {
    /// Chooses the curves to keep among `trials`; no points yet.
    pub fn new(trials: &[TrialRow]) -> Self {
        let chosen = choose(trials);
        let buckets = (BUCKETS_TOTAL / chosen.len().max(1)).clamp(BUCKETS_MIN, BUCKETS_MAX);
        let (schedules, _) = schedule_trials(trials);
        let mut kept = BTreeMap::new();
        for &at in &chosen {
            let trial = &trials[at];
            kept.insert(trial.trial.clone(), Curve::new(trial, buckets));
        }
        for &at in &schedules {
            let trial = &trials[at];
            let curve = kept.entry(trial.trial.clone()).or_insert_with(|| Curve::new(trial, 0));
            curve.rates = Some(Vec::new());
        }
        Self {
            kept,
            seen: 0,
            total: None,
        }
    }

    /// The trials whose points are drawn, by name: nobody needs to add those of others.
    pub fn wanted(&self) -> Vec<String> {
        self.kept.keys().cloned().collect()
    }

    /// Whether the points of a trial are drawn.
    pub fn keeps(&self, trial: &str) -> bool {
        self.kept.get(trial).is_some_and(|curve| !curve.buckets.is_empty())
    }

    /// Says how many points are recorded, where only those that are wanted are added.
    pub fn set_total(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// Chooses the curves and adds all `points`.
    pub fn collect<'a>(trials: &[TrialRow], points: impl IntoIterator<Item = &'a PointRow>) -> Self {
        let mut curves = Self::new(trials);
        for point in points {
            curves.add(point);
        }
        curves
    }

    /// Adds one recorded point.
    pub fn add(&mut self, point: &PointRow) {
        self.seen += 1;
        if point.split != "train" {
            return;
        }
        if let Some(curve) = self.kept.get_mut(&point.trial) {
            curve.add(point);
        }
    }

    /// How many points are recorded, of whatever split: as many as were added, if nobody said otherwise.
    pub fn points_total(&self) -> u64 {
        self.total.unwrap_or(self.seen)
    }

    /// The smoothed training curve of a trial as `[tokens, loss]`; none if it was not kept or has no finite loss.
    pub fn losses(&self, trial: &str) -> Option<Vec<[f64; 2]>> {
        let curve = self.kept.get(trial)?;
        let points: Vec<[f64; 2]> = curve
            .buckets
            .iter()
            .filter(|bucket| bucket.count > 0)
            .map(|bucket| {
                let count = f64::from(bucket.count);
                [bucket.tokens / count, bucket.loss / count]
            })
            .collect();
        (!points.is_empty()).then_some(points)
    }

    /// The recorded training losses of a trial as `[tokens, loss]`: of each bucket the lowest and the highest, in
    /// order, which keeps every spike; none where no bucket holds more than one point.
    pub fn raw(&self, trial: &str) -> Option<Vec<[f64; 2]>> {
        let curve = self.kept.get(trial)?;
        let mut points = Vec::new();
        for bucket in curve.buckets.iter().filter(|bucket| bucket.count > 0) {
            let [low, high] = bucket.ends;
            let (first, second) = if low[0] <= high[0] { (low, high) } else { (high, low) };
            points.push(first);
            if bucket.count > 1 {
                points.push(second);
            }
        }
        let is_raw = curve.buckets.iter().any(|bucket| bucket.count > 1);
        is_raw.then_some(points)
    }

    /// The learning rate of a trial that stands for its schedule, as `[tokens, rate]`, without the points that
    /// lie on a line between their neighbours.
    pub fn rates(&self, trial: &str) -> Option<Vec<[f64; 2]>> {
        let mut rates = self.kept.get(trial)?.rates.clone()?;
        rates.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let peak = rates.iter().map(|rate| rate[1]).fold(0.0, f64::max);
        (rates.len() > 1).then(|| simplify(&rates, peak * SCHEDULE_TOLERANCE))
    }
}

impl Curve {
    fn new(trial: &TrialRow, buckets: usize) -> Self {
        let from = (trial.batch_tokens.max(1)) as f64;
        let span = (trial.tokens as f64 / from).ln().max(1e-9);
        Self {
            from,
            density: buckets as f64 / span,
            buckets: vec![Bucket::EMPTY; buckets],
            rates: None,
        }
    }

    fn add(&mut self, point: &PointRow) {
        let tokens = point.tokens as f64;
        if let (Some(rates), Some(rate)) = (&mut self.rates, point.lr) {
            rates.push([tokens, rate]);
        }
        if self.buckets.is_empty() || tokens <= 0.0 || !point.loss.is_finite() {
            return;
        }
        let position = (tokens / self.from).ln().max(0.0) * self.density;
        let last = self.buckets.len() - 1;
        let bucket = &mut self.buckets[(position as usize).min(last)];
        bucket.count += 1;
        bucket.tokens += tokens;
        bucket.loss += point.loss;
        let [low, high] = &mut bucket.ends;
        // Of equal losses the one of fewest tokens, whatever the order in which they come.
        if (point.loss, tokens) < (low[1], low[0]) {
            *low = [tokens, point.loss];
        }
        if (-point.loss, tokens) < (-high[1], high[0]) {
            *high = [tokens, point.loss];
        }
    }
}

/// The trials whose curve a figure may show: finished or diverged. More than [`CURVES_MAX`] are thinned evenly in
/// the order of size and final loss; the best of every size stays, and the best of every size and batch.
fn choose(trials: &[TrialRow]) -> Vec<usize> {
    let mut drawable: Vec<usize> = (0..trials.len())
        .filter(|&at| matches!(trials[at].state, TrialState::Complete | TrialState::Diverged))
        .collect();
    if drawable.len() <= CURVES_MAX {
        return drawable;
    }
    let key = |at: usize| {
        let trial = &trials[at];
        let loss = trial.final_loss.unwrap_or(f64::INFINITY);
        (trial.params_non_embedding, trial.model.clone(), loss)
    };
    drawable.sort_by(|&a, &b| {
        let ((size_a, model_a, loss_a), (size_b, model_b, loss_b)) = (key(a), key(b));
        (size_a, model_a)
            .cmp(&(size_b, model_b))
            .then(loss_a.total_cmp(&loss_b))
    });
    let stride = drawable.len().div_ceil(CURVES_MAX);
    let mut best: BTreeSet<usize> = best_by_size(trials).into_iter().collect();
    best.extend(best_by_batch(trials).into_values().flat_map(BTreeMap::into_values));
    drawable
        .iter()
        .enumerate()
        .filter(|(rank, at)| rank % stride == 0 || best.contains(at))
        .map(|(_, &at)| at)
        .collect()
}

/// The trial of lowest final loss at the largest token budget of each size, in the order of sizes.
pub fn best_by_size(trials: &[TrialRow]) -> Vec<usize> {
    let mut best: BTreeMap<(u64, &str), usize> = BTreeMap::new();
    for (at, trial) in trials.iter().enumerate() {
        let Some(loss) = trial.final_loss else {
            continue;
        };
        let slot = best
            .entry((trial.params_non_embedding, trial.model.as_str()))
            .or_insert(at);
        let held = &trials[*slot];
        let held_loss = held.final_loss.unwrap_or(f64::INFINITY);
        let (budget, held_budget) = (trial.tokens_asked, held.tokens_asked);
        if budget > held_budget || (budget == held_budget && loss < held_loss) {
            *slot = at;
        }
    }
    best.into_values().collect()
}

/// The best run of each size and batch, as places in `trials`, of the largest sizes with enough batches.
pub(crate) fn best_by_batch(trials: &[TrialRow]) -> BTreeMap<(u64, &str), BTreeMap<u64, usize>> {
    let mut best: BTreeMap<(u64, &str), BTreeMap<u64, usize>> = BTreeMap::new();
    for (at, trial) in trials.iter().enumerate() {
        let Some(loss) = trial.final_loss else {
            continue;
        };
        let size = (trial.params_non_embedding, trial.model.as_str());
        let slot = best.entry(size).or_default().entry(trial.batch_tokens).or_insert(at);
        if trials[*slot].final_loss.is_none_or(|held| loss < held) {
            *slot = at;
        }
    }
    best.retain(|_, by_batch| by_batch.len() >= BATCHES_MIN);
    while best.len() > SIZES_MAX {
        best.pop_first();
    }
    best
}

/// One trial for each form of schedule: the one with most tokens, the first of equals; of many forms an even choice.
/// Also how many forms there are.
pub fn schedule_trials(trials: &[TrialRow]) -> (Vec<usize>, usize) {
    let mut longest: BTreeMap<String, usize> = BTreeMap::new();
    for (at, trial) in trials.iter().enumerate() {
        if trial.state != TrialState::Complete {
            continue;
        }
        let slot = longest.entry(schedule_name(trial)).or_insert(at);
        if trial.tokens > trials[*slot].tokens {
            *slot = at;
        }
    }
    let forms = longest.len();
    let all: Vec<usize> = longest.into_values().collect();
    if forms <= SCHEDULES_MAX {
        return (all, forms);
    }
    let at = |k: usize| k * (forms - 1) / (SCHEDULES_MAX - 1);
    ((0..SCHEDULES_MAX).map(|k| all[at(k)]).collect(), forms)
}

/// `WSD, 10% decay`, `cosine`.
pub fn schedule_name(trial: &TrialRow) -> String {
    let name = match trial.schedule {
        ScheduleName::Wsd => "WSD",
        other @ (ScheduleName::Cosine | ScheduleName::Linear | ScheduleName::Constant) => other.name(),
    };
    let form = trial
        .axes
        .get("schedule.decay")
        .and_then(|value| value.as_str())
        .map_or("decay", |form| {
            // Labels stand beside curves.
            if form == "one_minus_sqrt" {
                "1 \u{2212} \u{221a}p"
            } else {
                form
            }
        });
    match trial.decay_fraction {
        Some(share) => format!("{name}, {}% {form}", crate::units::significant(share * 100.0, 3)),
        None => name.to_owned(),
    }
}

/// Drops points that lie within `tolerance` of the line between their kept neighbours (Douglas and Peucker 1973).
fn simplify(points: &[[f64; 2]], tolerance: f64) -> Vec<[f64; 2]> {
    let mut keep = vec![false; points.len()];
    let mut open = vec![(0, points.len() - 1)];
    while let Some((from, to)) = open.pop() {
        keep[from] = true;
        keep[to] = true;
        let (a, b) = (points[from], points[to]);
        let slope = (b[1] - a[1]) / (b[0] - a[0]).max(f64::MIN_POSITIVE);
        let farthest = (from + 1..to)
            .map(|at| {
                let on_line = a[1] + slope * (points[at][0] - a[0]);
                (at, (points[at][1] - on_line).abs())
            })
            .max_by(|x, y| x.1.total_cmp(&y.1).then(y.0.cmp(&x.0)));
        if let Some((at, distance)) = farthest
            && distance > tolerance
        {
            open.push((from, at));
            open.push((at, to));
        }
    }
    points
        .iter()
        .zip(keep)
        .filter_map(|(&point, kept)| kept.then_some(point))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_keeps_its_ends_and_a_corner_its_corner() {
        let line: Vec<[f64; 2]> = (0..50).map(|x| [f64::from(x), 2.0 * f64::from(x)]).collect();
        assert_eq!(simplify(&line, 1e-9), vec![line[0], line[49]]);
        let corner: Vec<[f64; 2]> = (0..21).map(|x| [f64::from(x), f64::from(x.min(10))]).collect();
        assert_eq!(simplify(&corner, 1e-9), vec![corner[0], corner[10], corner[20]]);
    }
}
