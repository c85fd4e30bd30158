//! Which of several laws of loss to believe: the one that best predicts the runs that it has not seen.
//!
//! Refuses to compare what laws minimise: each minimises something else, and more constants always fit better.

use serde::{Deserialize, Serialize};

use crate::fit::design::Design;
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::hold_out::{axis, limit};
use crate::fit::loss::loss_law::HoldOut;
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::loss::three_term;
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::numeric::statistics;
use crate::fit::observation::{Observation, best_per_cell};
use crate::fit::refusal::Refusal;

/// A law of the final loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossLaw {
    /// In size and tokens.
    Chinchilla(Objective),
    /// In size, steps and batch.
    ThreeTerm,
}

/// How a law did on the runs that were held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Runs that were held out: the best of each size and number of tokens.
    pub n: usize,
    /// The mean of |predicted − loss| / loss.
    pub mean_abs_rel_error: f64,
    /// The largest of them.
    pub max_abs_rel_error: f64,
}

/// Fits the law without the runs that are held out, and predicts the best of these at each size and number of tokens:
/// the same runs for every law. None when nothing is held out.
///
/// # Errors
/// The refusal of the law by the other runs.
pub fn held_out_error(runs: &[Observation], law: LossLaw, hold_out: HoldOut) -> Result<Option<HeldOut>, Refusal> {
    let design = Design::new(runs.to_vec());
    let Some(limit) = limit(hold_out, &design) else {
        return Ok(None);
    };
    let axis = axis(hold_out);
    let (held, seen): (Vec<_>, Vec<_>) = runs.iter().cloned().partition(|run| axis.of(run) > limit);
    let (held, _) = best_per_cell(&held);
    if held.is_empty() {
        return Ok(None);
    }
    let error = |run: &Observation, predicted: f64| (predicted - run.loss).abs() / run.loss;
    let errors: Vec<f64> = match law {
        LossLaw::Chinchilla(objective) => {
            let (best, _) = best_per_cell(&seen);
            let law = FittedConstants::new(Design::new(best), objective)?.law;
            held.iter()
                .map(|run| error(run, law.loss(run.params, run.tokens)))
                .collect()
        }
        LossLaw::ThreeTerm => {
            let law = three_term::fit(&seen, Draws { count: 0, seed: 0 })?;
            let predicted = |run: &Observation| Some(law.loss(run.params, run.tokens, run.batch_tokens?));
            held.iter()
                .filter_map(|run| Some(error(run, predicted(run)?)))
                .collect()
        }
    };
    Ok(statistics::mean(&errors).map(|mean| HeldOut {
        n: errors.len(),
        mean_abs_rel_error: mean,
        max_abs_rel_error: errors.iter().copied().fold(0.0, f64::max),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grid over size, tokens and batch, by a law that knows the batch or not.
    fn grid(batch_matters: bool) -> Vec<Observation> {
        let mut runs = Vec::new();
        for params in [1e6_f64, 2e6, 4e6, 8e6, 1.6e7] {
            for tokens in [2e7_f64, 6e7, 2e8, 6e8] {
                for batch in [2e4_f64, 4e4, 8e4, 1.6e5, 3.2e5] {
                    let of_tokens = if batch_matters {
                        30.0 * (tokens / batch).powf(-0.5) + 300.0 * batch.powf(-0.5)
                    } else {
                        2000.0 * tokens.powf(-0.37)
                    };
                    let loss = 1.5 + 300.0 * params.powf(-0.35) + of_tokens;
                    runs.push(Observation {
                        label: format!("{params} {tokens} {batch}"),
                        params,
                        tokens,
                        loss,
                        lr: None,
                        batch_tokens: Some(batch),
                        schedule: None,
                        seed: None,
                        flops: None,
                        setup: None,
                    });
                }
            }
        }
        runs
    }

    #[test]
    fn both_laws_are_asked_for_the_same_runs() {
        let runs = grid(true);
        let ask = |law| {
            held_out_error(&runs, law, HoldOut::Largest)
                .expect("fits")
                .expect("held out")
        };
        let (two, three) = (ask(LossLaw::Chinchilla(Objective::Huber)), ask(LossLaw::ThreeTerm));
        assert_eq!((two.n, three.n), (4, 4));
        assert!(three.mean_abs_rel_error < two.mean_abs_rel_error, "{three:?} {two:?}");
        assert!(three.mean_abs_rel_error < 1e-6, "{three:?}");
    }

    #[test]
    fn a_law_that_the_other_runs_refuse_says_so() {
        let mut runs = grid(false);
        for run in &mut runs {
            run.batch_tokens = None;
        }
        assert!(
            held_out_error(&runs, LossLaw::ThreeTerm, HoldOut::Largest).is_err(),
            "no batch is known"
        );
        let law = LossLaw::Chinchilla(Objective::LeastSquares);
        let found = held_out_error(&runs, law, HoldOut::Largest)
            .expect("fits")
            .expect("held out");
        assert!(found.max_abs_rel_error < 1e-6, "{found:?}");
        assert_eq!(held_out_error(&runs, law, HoldOut::None), Ok(None));
    }
}
