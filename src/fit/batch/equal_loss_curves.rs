//! The curves that the law of the batch is read from: what runs of several budgets end with, or the training loss along
//! single runs.
//!
//! Refuses to know which runs there are, and to look for a best batch.

use serde::{Deserialize, Serialize};

use crate::fit::observation::Observation;

/// Each window of a training curve ends this factor of tokens after the one before: a step's loss is that of one batch,
/// and small batches are noisy.
const WINDOW: f64 = 1.1;

/// What a size reaches with one batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchCurve {
    /// What the curve is called.
    pub label: String,
    pub params: f64,
    /// Tokens in a batch.
    pub batch_tokens: f64,
    /// Tokens seen and loss in nats per token. Only points that are lower than all before count: the others say
    /// nothing of when a loss was reached.
    pub points: Vec<(f64, f64)>,
}

/// What the points of the curves are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// Final losses of runs of several budgets.
    #[default]
    FinalLosses,
    /// The training loss along one run for each size and batch, as in `MiniCPM`'s study.
    TrainingLosses,
}

impl ReadFrom {
    pub fn words(self) -> &'static str {
        match self {
            Self::FinalLosses => "final losses",
            Self::TrainingLosses => "training losses along the runs",
        }
    }
}

/// Curves of finished runs: at each size and batch the lowest loss of each number of tokens, whatever the learning
/// rate.
pub fn of_budgets(runs: &[Observation]) -> Vec<BatchCurve> {
    let mut rows: Vec<(f64, f64, f64, f64)> = runs
        .iter()
        .filter_map(|run| Some((run.params, run.batch_tokens?, run.tokens, run.loss)))
        .collect();
    rows.sort_by(|a, b| {
        let by_curve = a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1));
        by_curve.then(a.2.total_cmp(&b.2)).then(a.3.total_cmp(&b.3))
    });
    rows.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
        .map(|same| BatchCurve {
            label: format!("{:.4e} parameters, batches of {:.4e} tokens", same[0].0, same[0].1),
            params: same[0].0,
            batch_tokens: same[0].1,
            points: same.iter().map(|row| (row.2, row.3)).collect(),
        })
        .collect()
}

/// The training losses of single steps, `(tokens seen, loss)` in order, as means over windows that grow with the tokens;
/// each stands at the mean of ln tokens.
pub fn windows(steps: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let window = |tokens: f64| (tokens.ln() / WINDOW.ln()).floor() as i64;
    steps
        .chunk_by(|a, b| window(a.0) == window(b.0))
        .map(|inside| {
            let count = inside.len() as f64;
            let [tokens, loss] = inside
                .iter()
                .fold([0.0, 0.0], |[tokens, loss], step| [tokens + step.0.ln(), loss + step.1]);
            ((tokens / count).exp(), loss / count)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_keep_a_power_law_and_grow_with_the_tokens() {
        let law = |tokens: f64| 9.0 * tokens.powf(-0.1);
        let steps: Vec<(f64, f64)> = (1..=4000)
            .map(|step| f64::from(step) * 1e3)
            .map(|d| (d, law(d)))
            .collect();
        let points = windows(&steps);
        for (tokens, loss) in &points {
            assert!((loss / law(*tokens) - 1.0).abs() < 1e-4, "{tokens} {loss}");
        }
        assert!((60..90).contains(&points.len()), "{}", points.len());
        assert!(
            (points[0].0 / 1e3 - 1.0).abs() < 1e-9,
            "a window of one step is that step"
        );
    }

    #[test]
    fn the_noise_of_single_steps_is_averaged() {
        let noisy: Vec<(f64, f64)> = (0..500)
            .map(|i| (1e6 + f64::from(i), 3.0 + if i % 2 == 0 { 0.2 } else { -0.2 }))
            .collect();
        assert_eq!(windows(&noisy).len(), 1);
        assert!((windows(&noisy)[0].1 - 3.0).abs() < 1e-9);
    }
}
