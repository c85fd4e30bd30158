//! How much runs would say of the target: the variance of its predicted loss before and after them.
//!
//! The law is fitted, and fitted again with each observation moved a little: how a prediction answers to each of them is
//! its gradient, and the covariance of predictions follows as for a linear model (the delta method; the design is
//! c-optimal for the target, chosen greedily). All in ln of the loss. Refuses to know what runs cost.

use crate::fit::laws::LAWS;
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::model_selection::{self, Compare, LossOf};
use crate::fit::observation::{Observation, best_per_cell};

/// A size and a number of tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub params: f64,
    pub tokens: f64,
}

/// What is believed of the loss everywhere.
pub struct Belief {
    /// The name of the law.
    pub law: &'static str,
    fitted: LossOf,
    /// The same where one observation each was moved by [`NUDGE`].
    moved: Vec<LossOf>,
    /// The standard deviation of ln of a run's loss about the law.
    pub scatter: f64,
    /// Runs that it rests on.
    pub runs: usize,
}

/// How far an observation is moved, in ln of the loss.
const NUDGE: f64 = 1e-3;
/// What no run is closer to its law than, in ln of the loss.
const SCATTER_MIN: f64 = 2e-4;
/// Constants of a usual law of loss.
const CONSTANTS: usize = 5;

impl std::fmt::Debug for Belief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Belief({}, {} runs, ±{})", self.law, self.runs, self.scatter)
    }
}

impl Belief {
    /// Of the law that best predicts larger runs from smaller ones; none where the runs carry no law. `noise`: the
    /// relative scatter of seeds.
    pub fn of(runs: &[Observation], noise: Option<f64>) -> Option<Self> {
        let (runs, _) = best_per_cell(runs);
        let laws: Vec<(&'static str, Compare)> = LAWS
            .iter()
            .filter_map(|law| Some((law.about.name, law.about.compare?)))
            .filter(|law| law.0 != "three-term")
            .collect();
        let choice = model_selection::choose(&laws, &runs, &[Objective::LeastSquares], 1);
        let order = choice
            .order
            .iter()
            .filter_map(|(name, _)| laws.iter().find(|law| law.0 == *name));
        order.copied().find_map(|(name, law)| Self::by(name, law, &runs, noise))
    }

    /// By one law.
    pub(super) fn by(name: &'static str, law: Compare, runs: &[Observation], noise: Option<f64>) -> Option<Self> {
        let fit = |runs: &[Observation]| law(runs, Objective::LeastSquares).ok();
        let fitted = fit(runs)?;
        let off = |run: &Observation| Some((run.loss / fitted(run)?).ln().powi(2));
        let squares: f64 = runs.iter().filter_map(off).sum();
        let spread = (squares / runs.len().saturating_sub(CONSTANTS).max(1) as f64).sqrt();
        let nudged = |place: usize| {
            let mut runs = runs.to_vec();
            runs[place].loss *= NUDGE.exp();
            fit(&runs)
        };
        Some(Self {
            law: name,
            moved: (0..runs.len()).map(nudged).collect::<Option<_>>()?,
            fitted,
            scatter: spread.max(noise.unwrap_or(0.0)).max(SCATTER_MIN),
            runs: runs.len(),
        })
    }

    /// The expected loss of a place.
    pub fn loss(&self, place: Place) -> Option<f64> {
        (self.fitted)(&at(place)).filter(|loss| loss.is_finite() && *loss > 0.0)
    }

    /// How ln of the loss of a place answers to ln of each observation.
    fn gradient(&self, place: Place) -> Option<Vec<f64>> {
        let base = self.loss(place)?.ln();
        let run = at(place);
        self.moved
            .iter()
            .map(|law| Some((law(&run)?.ln() - base) / NUDGE))
            .collect()
    }

    /// The covariance of what is believed of some places; none where the law has no value.
    pub fn covariance(&self, places: &[Place]) -> Option<Covariance> {
        let gradients: Vec<Vec<f64>> = places
            .iter()
            .map(|place| self.gradient(*place))
            .collect::<Option<_>>()?;
        let variance = self.scatter.powi(2);
        let product = |a: &[f64], b: &[f64]| variance * a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let rows = gradients
            .iter()
            .map(|a| gradients.iter().map(|b| product(a, b)).collect());
        Some(Covariance {
            rows: rows.collect(),
            noise: variance,
        })
    }
}

fn at(place: Place) -> Observation {
    Observation {
        label: String::new(),
        params: place.params,
        tokens: place.tokens,
        loss: 1.0,
        lr: None,
        batch_tokens: None,
        schedule: None,
        seed: None,
        flops: None,
        setup: None,
    }
}

/// The covariance of ln of the loss at some places.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariance {
    rows: Vec<Vec<f64>>,
    /// The variance of one run.
    noise: f64,
}

impl Covariance {
    pub fn variance(&self, place: usize) -> f64 {
        self.rows[place][place].max(0.0)
    }

    /// After one more run at each of these places.
    #[must_use]
    pub fn after(&self, runs: &[usize]) -> Self {
        let mut next = self.clone();
        for &run in runs {
            let column: Vec<f64> = next.rows.iter().map(|row| row[run]).collect();
            let spread = column[run].max(0.0) + self.noise;
            for (row, of_row) in next.rows.iter_mut().zip(&column) {
                for (value, of_column) in row.iter_mut().zip(&column) {
                    *value -= of_row * of_column / spread;
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(sizes: &[f64], budgets: &[f64]) -> Vec<Observation> {
        let loss = |n: f64, d: f64| 1.5 + 40.0 / n.powf(0.4) + 90.0 / d.powf(0.35);
        let cells = sizes.iter().flat_map(|&n| budgets.iter().map(move |&d| (n, d)));
        // A little off the law, so that it has a scatter.
        let wobble = |i: usize| 1.0 + 1e-3 * ((i * 7919 % 13) as f64 / 6.0 - 1.0);
        let run = |(i, (n, d)): (usize, (f64, f64))| Observation {
            label: i.to_string(),
            loss: loss(n, d) * wobble(i),
            ..at(Place { params: n, tokens: d })
        };
        cells.enumerate().map(run).collect()
    }

    #[test]
    fn a_run_towards_the_target_says_more_of_it_than_one_among_the_others() {
        let runs = grid(&[6e3, 13e3, 24e3, 55e3], &[2.5e5, 5e5, 1e6]);
        let belief = Belief::of(&runs, None).expect("a law");
        let place = |params, tokens| Place { params, tokens };
        let places = [place(1e6, 4e6), place(144e3, 1e6), place(13e3, 5e5)];
        let known = belief.covariance(&places).expect("values");
        let (before, near, inside) = (
            known.variance(0),
            known.after(&[1]).variance(0),
            known.after(&[2]).variance(0),
        );
        assert!(near < inside && inside <= before, "{before} {near} {inside}");
        assert!(near < 0.9 * before, "{before} {near}");
        // The same run again says less than the first time.
        let again = known.after(&[1, 1]).variance(0);
        assert!(near - again < before - near && again <= near, "{before} {near} {again}");
    }
}
