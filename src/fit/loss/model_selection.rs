//! Which of several laws of loss to believe: the one that best predicts the runs that it has not seen.
//!
//! Refuses to compare what laws minimise: each minimises something else, and more constants always fit better.

use serde::{Deserialize, Serialize};

use crate::fit::design::Design;
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::hold_out::cut;
use crate::fit::loss::loss_law::HoldOut;
use crate::fit::numeric::statistics;
use crate::fit::observation::{Observation, best_per_cell};
use crate::fit::refusal::Refusal;

/// The loss of a run by a fitted law; none where the run does not say what the law needs.
pub type LossOf = Box<dyn Fn(&Observation) -> Option<f64>>;

/// Fits a law of loss to runs, to predict others; what is minimised is for laws that leave it open.
pub type Compare = fn(&[Observation], Objective) -> Result<LossOf, Refusal>;

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
pub fn held_out_error(
    runs: &[Observation],
    law: Compare,
    objective: Objective,
    hold_out: HoldOut,
) -> Result<Option<HeldOut>, Refusal> {
    let design = Design::new(runs.to_vec());
    let Some((axis, limit)) = cut(hold_out, &design) else {
        return Ok(None);
    };
    let (held, seen): (Vec<_>, Vec<_>) = runs.iter().cloned().partition(|run| axis.of(run) > limit);
    let (held, _) = best_per_cell(&held);
    if held.is_empty() {
        return Ok(None);
    }
    let loss_of = law(&seen, objective)?;
    let error = |run: &Observation| Some((loss_of(run)? - run.loss).abs() / run.loss);
    let errors: Vec<f64> = held.iter().filter_map(error).collect();
    Ok(statistics::mean(&errors).map(|mean| HeldOut {
        n: errors.len(),
        mean_abs_rel_error: mean,
        max_abs_rel_error: errors.iter().copied().fold(0.0, f64::max),
    }))
}

/// A law that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Tried {
    pub law: &'static str,
    /// How it did on the runs held out; none: it has no answer.
    pub hold_out: Option<HeldOut>,
    /// Why it has none.
    pub refused: Option<String>,
}

/// Tries laws of loss, each with its name, on the runs that are held out; the best comes first.
///
/// # Errors
/// `not_identified` where none has an answer.
pub fn try_all(
    laws: &[(&'static str, Compare)],
    runs: &[Observation],
    objective: Objective,
    hold_out: HoldOut,
) -> Result<Vec<Tried>, Refusal> {
    let attempt = |&(law, compare): &(&'static str, Compare)| {
        let (hold_out, refused) = match held_out_error(runs, compare, objective, hold_out) {
            Ok(Some(held)) => (Some(held), None),
            Ok(None) => (None, Some("no run lies above the limit of the hold-out".to_owned())),
            Err(refusal) => (None, Some(refusal.to_string())),
        };
        Tried { law, hold_out, refused }
    };
    let mut tried: Vec<Tried> = laws.iter().map(attempt).collect();
    let error = |it: &Tried| {
        it.hold_out
            .as_ref()
            .map_or(f64::INFINITY, |held| held.mean_abs_rel_error)
    };
    tried.sort_by(|a, b| error(a).total_cmp(&error(b)));
    if tried.iter().all(|it| it.hold_out.is_none()) {
        let why = "no law predicts runs that it has not seen: there is nothing to choose by".to_owned();
        return Err(Refusal::NotIdentified { why });
    }
    Ok(tried)
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

    fn compare(name: &str) -> Compare {
        let law = crate::fit::laws::named(name).expect("a law");
        law.about.compare.expect("a law of loss")
    }

    fn ask(runs: &[Observation], law: &str, hold_out: HoldOut) -> Result<Option<HeldOut>, Refusal> {
        held_out_error(runs, compare(law), Objective::LeastSquares, hold_out)
    }

    #[test]
    fn both_laws_are_asked_for_the_same_runs() {
        let runs = grid(true);
        let ask = |law| ask(&runs, law, HoldOut::Largest).expect("fits").expect("held out");
        let (two, three) = (ask("chinchilla"), ask("three-term"));
        assert_eq!((two.n, three.n), (4, 4));
        assert!(three.mean_abs_rel_error < two.mean_abs_rel_error, "{three:?} {two:?}");
        assert!(three.mean_abs_rel_error < 1e-6, "{three:?}");
        let laws = ["chinchilla", "three-term"].map(|law| (law, compare(law)));
        let tried = try_all(&laws, &runs, Objective::Huber, HoldOut::Largest).expect("an answer");
        assert_eq!(tried[0].law, "three-term");
        assert!(
            try_all(&laws, &runs, Objective::Huber, HoldOut::None).is_err(),
            "nothing is held out"
        );
    }

    #[test]
    fn a_law_that_the_other_runs_refuse_says_so() {
        let mut runs = grid(false);
        for run in &mut runs {
            run.batch_tokens = None;
        }
        assert!(ask(&runs, "three-term", HoldOut::Largest).is_err(), "no batch is known");
        let found = ask(&runs, "chinchilla", HoldOut::Largest)
            .expect("fits")
            .expect("held out");
        assert!(found.max_abs_rel_error < 1e-6, "{found:?}");
        assert_eq!(ask(&runs, "chinchilla", HoldOut::None), Ok(None));
    }
}
