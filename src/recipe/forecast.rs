//! How a forecast did: the loss that a recipe predicts beside the mean loss of the runs that were then trained.
//!
//! Refuses to know where forecasts and runs are kept.

use serde::{Deserialize, Serialize};

use crate::recipe::Recipe;
use crate::units::six_nd;

/// What came out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Final losses in nats per token, a run each; runs that differ in the seed alone.
    pub losses: Vec<f64>,
    /// Their trials, where they were trained here.
    pub trials: Vec<String>,
    /// When the first of them began to train.
    pub trained_at: Option<String>,
    /// Seconds of their training.
    pub seconds: Option<f64>,
}

/// A size and a number of tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub params: f64,
    pub tokens: f64,
}

/// A forecast that was scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub forecast: String,
    /// When it was registered.
    pub registered_at: String,
    pub hash: String,
    /// The recipe that it is of.
    pub recipe: String,
    /// When its run began to train; none where the loss was told.
    pub trained_at: Option<String>,
    /// Whether it was registered before that.
    pub registered_first: Option<bool>,
    pub params: u64,
    pub tokens: Option<f64>,
    /// Parameters against the largest run of the fit.
    pub params_ratio: Option<f64>,
    /// 6ND against the run of the fit with the most.
    pub compute_ratio: Option<f64>,
    /// The loss that was predicted, nats per token.
    pub predicted: f64,
    /// The 95 % interval of the mean of as many runs as there are.
    pub ci95: Option<[f64; 2]>,
    /// The 95 % interval of a new run.
    pub ci95_new_run: Option<[f64; 2]>,
    /// The loss that came out: the mean of the runs.
    pub actual: f64,
    /// How many runs that is the mean of.
    pub runs: usize,
    pub losses: Vec<f64>,
    pub trials: Vec<String>,
    /// What came out less what was predicted.
    pub error: f64,
    /// The same, relative to what came out.
    pub relative_error: f64,
    /// Whether the mean lies in its interval; none without one.
    pub covered: Option<bool>,
    /// Whether it lies in that of a new run.
    pub inside: Option<bool>,
    pub seconds: Option<f64>,
}

/// A forecast as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub forecast: String,
    pub registered_at: String,
    pub hash: String,
}

impl Score {
    /// None where nothing was predicted, or nothing came out.
    pub fn new(registered: Registered, recipe: &Recipe, outcome: Outcome, fitted: &[Place]) -> Option<Self> {
        let loss = recipe.items.get("loss")?;
        let predicted = loss.value.as_f64()?;
        let runs = outcome.losses.len();
        let actual = outcome.losses.iter().sum::<f64>() / runs as f64;
        if !actual.is_finite() {
            return None;
        }
        let tokens = recipe.items.get("tokens").and_then(|item| item.value.as_f64());
        let most = |of: fn(&Place) -> f64| fitted.iter().map(of).max_by(f64::total_cmp);
        let ci95 = loss
            .ci95_new_run
            .map(|new_run| of_mean(predicted, loss.ci95, new_run, runs));
        let holds = |[low, high]: [f64; 2]| low <= actual && actual <= high;
        Some(Self {
            recipe: recipe.recipe.clone(),
            registered_first: outcome.trained_at.as_ref().map(|at| registered.registered_at < *at),
            trained_at: outcome.trained_at,
            params: recipe.params,
            tokens,
            params_ratio: most(|it| it.params).map(|largest| recipe.params as f64 / largest),
            compute_ratio: most(|it| six_nd(it.params, it.tokens))
                .zip(tokens)
                .map(|(most, tokens)| six_nd(recipe.params as f64, tokens) / most),
            predicted,
            ci95,
            ci95_new_run: loss.ci95_new_run,
            actual,
            runs,
            losses: outcome.losses,
            trials: outcome.trials,
            error: actual - predicted,
            relative_error: (actual - predicted) / actual,
            covered: ci95.map(holds),
            inside: loss.ci95_new_run.map(holds),
            seconds: outcome.seconds,
            forecast: registered.forecast,
            registered_at: registered.registered_at,
            hash: registered.hash,
        })
    }
}

/// The interval of the mean of `runs` new runs, from that of the law's mean and that of one new run: what a run scatters
/// around the law is the difference of their squares, and the mean of k scatters by 1/√k of it.
fn of_mean(value: f64, law: Option<[f64; 2]>, new_run: [f64; 2], runs: usize) -> [f64; 2] {
    let half = |side: usize| {
        let of_run = new_run[side] - value;
        let of_law = law.map_or(0.0, |law| law[side] - value);
        let scatter = (of_run.powi(2) - of_law.powi(2)).max(0.0);
        (of_law.powi(2) + scatter / runs.max(1) as f64).sqrt()
    };
    [value - half(0), value + half(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_many_runs_scatters_less_and_never_less_than_the_law() {
        let (law, run) = ([1.97, 2.03], [1.95, 2.05]);
        let close = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12;
        assert!(close(of_mean(2.0, Some(law), run, 1), run));
        let four = (0.03_f64.powi(2) + 0.04_f64.powi(2) / 4.0).sqrt();
        assert!(close(of_mean(2.0, Some(law), run, 4), [2.0 - four, 2.0 + four]));
        let many = of_mean(2.0, Some(law), run, 1_000_000);
        assert!((many[0] - law[0]).abs() < 1e-6 && (many[1] - law[1]).abs() < 1e-6);
    }
}
