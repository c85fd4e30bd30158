//! Fits as a report takes them: constants, facts and observations out of `fit`'s own types.
//!
//! Refuses to fit and to draw.

use std::collections::BTreeMap;

use crate::fit::chinchilla::{Law, Objective, Status};
use crate::fit::learning_rate::{Edge, LrFit, LrGroup};
use crate::fit::loss_law::LossFit;
use crate::fit::refusal::Refusal;
use crate::fit::{Estimate, Warning};
use crate::record::{TrialRow, TrialState};
use crate::report::text::{count, number, plural};
use crate::report::{BestLr, Constant, LawInput, LawPoint, LrBowl, LrPoint};

/// A law, fitted or refused, that owns what [`LawInput`] borrows.
pub struct Fitted {
    law: String,
    fit: Option<String>,
    formula: String,
    params_are: String,
    refused: Option<String>,
    constants: Vec<Constant>,
    facts: Vec<(String, String)>,
    warnings: Vec<String>,
    points: Vec<LawPoint>,
    predict: Option<Box<dyn Fn(f64, f64) -> Option<f64>>>,
}

impl Fitted {
    /// The law of loss of a stored fit. A run is looked up among `trials` by its name or slug.
    pub fn loss(id: &str, fit: &LossFit, trials: &[TrialRow]) -> Self {
        let law: Law = fit.point();
        Self {
            law: fit.law.clone(),
            fit: Some(id.to_owned()),
            formula: "L = E + A/N^α + B/D^β".to_owned(),
            params_are: fit.convention.clone(),
            refused: None,
            constants: loss_constants(fit),
            facts: loss_facts(fit),
            warnings: sentences(&fit.warnings),
            points: loss_points(fit, trials),
            predict: Some(Box::new(move |params, tokens| Some(law.loss(params, tokens)))),
        }
    }

    /// The law of the best learning rate of a stored fit.
    pub fn learning_rate(id: &str, fit: &LrFit) -> Self {
        let mut constants = vec![constant("lr, best over all groups", &fit.best)];
        let exponents = [
            ("ln lr for each ln N", &fit.size_exponent),
            ("ln lr for each ln D", &fit.token_exponent),
        ];
        constants.extend(
            exponents
                .into_iter()
                .filter_map(|(name, estimate)| estimate.as_ref().map(|estimate| constant(name, estimate))),
        );
        Self {
            law: fit.law.clone(),
            fit: Some(id.to_owned()),
            formula: "the minimum of a parabola in ln lr, for each size and number of tokens".to_owned(),
            params_are: "params_non_embedding".to_owned(),
            refused: None,
            constants,
            facts: lr_facts(fit),
            warnings: sentences(&fit.warnings),
            points: Vec::new(),
            predict: None,
        }
    }

    /// A law that the data could not carry.
    pub fn refused(law: &str, why: &Refusal) -> Self {
        Self {
            law: law.to_owned(),
            fit: None,
            formula: String::new(),
            params_are: String::new(),
            refused: Some(why.to_string()),
            constants: Vec::new(),
            facts: Vec::new(),
            warnings: Vec::new(),
            points: Vec::new(),
            predict: None,
        }
    }

    /// What a report takes.
    pub fn input(&self) -> LawInput<'_> {
        LawInput {
            law: &self.law,
            fit: self.fit.as_deref(),
            formula: &self.formula,
            params_are: &self.params_are,
            refused: self.refused.as_deref(),
            constants: &self.constants,
            facts: &self.facts,
            warnings: &self.warnings,
            points: &self.points,
            predict: self.predict.as_deref(),
        }
    }
}

fn sentences(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(|warning| warning.text.clone()).collect()
}

fn constant(name: &str, estimate: &Estimate) -> Constant {
    Constant {
        name: name.to_owned(),
        value: estimate.value,
        ci95: estimate.ci95,
        unit: String::new(),
    }
}

/// The parameters in the paper's order and letters, then the exponents of the best split.
fn loss_constants(fit: &LossFit) -> Vec<Constant> {
    // Hoffmann et al. 2022, equation 4.
    const SPLIT: [(&str, &str); 2] = [("a", "a: best N grows as C^a"), ("b", "b: best D grows as C^b")];
    const LETTERS: [(&str, &str); 5] = [("E", "E"), ("A", "A"), ("alpha", "α"), ("B", "B"), ("beta", "β")];
    let mut constants: Vec<Constant> = LETTERS
        .into_iter()
        .filter_map(|(name, letter)| fit.parameters.get(name).map(|found| constant(letter, found)))
        .collect();
    if let Some(floor) = constants.first_mut() {
        "nats per token".clone_into(&mut floor.unit);
    }
    let split = SPLIT
        .into_iter()
        .filter_map(|(name, words)| fit.allocation.get(name).map(|found| constant(words, found)));
    constants.extend(split);
    constants
}

fn loss_facts(fit: &LossFit) -> Vec<(String, String)> {
    let status = match fit.status {
        Status::Converged => "converged",
        Status::AtBound => "an exponent stands at its bound",
        Status::Flat => "flat: the objective hardly changes along some direction",
    };
    let objective = match fit.objective.kind {
        Objective::Huber => "Huber loss of log loss",
        Objective::LeastSquares => "squared error of the loss",
    };
    let delta = fit
        .objective
        .delta
        .map_or_else(String::new, |delta| format!(", δ = {}", number(delta, 2)));
    let [n_low, n_high] = fit.seen.params;
    let [d_low, d_high] = fit.seen.tokens;
    let mut facts = vec![
        ("Solver", status.to_owned()),
        ("Minimised", format!("{objective}{delta}")),
        (
            "Fitted on",
            format!(
                "{} of {}, N {} to {}, D {} to {}",
                plural(fit.n, "run"),
                plural(fit.seen.sizes, "size"),
                count(n_low),
                count(n_high),
                count(d_low),
                count(d_high)
            ),
        ),
        (
            "Noise of a run",
            format!("{}% of its loss", number(fit.noise * 100.0, 2)),
        ),
        ("Bootstrap", format!("{} resamples", fit.draws.len())),
    ];
    if let Some(held) = &fit.hold_out {
        let covered = held.covered.map_or_else(String::new, |share| {
            format!(
                ", {}% of them inside the 95 % interval of a new run",
                number(share * 100.0, 2)
            )
        });
        let sentence = format!(
            "{} above {} {}: mean error {}%{covered}",
            plural(held.n, "run"),
            number(held.above, 3),
            if held.by == "params" { "parameters" } else { "FLOP" },
            number(held.mean_abs_rel_error * 100.0, 2)
        );
        facts.push(("Held out, predicted by a second fit", sentence));
    }
    facts
        .into_iter()
        .map(|(name, sentence)| (name.to_owned(), sentence))
        .collect()
}

fn loss_points(fit: &LossFit, trials: &[TrialRow]) -> Vec<LawPoint> {
    let mut by_name: BTreeMap<&str, &TrialRow> = trials.iter().map(|trial| (trial.slug.as_str(), trial)).collect();
    by_name.extend(trials.iter().map(|trial| (trial.trial.as_str(), trial)));
    fit.residuals
        .iter()
        .map(|run| {
            let trial = by_name.get(run.label.as_str());
            LawPoint {
                trial: trial.map_or_else(|| run.label.clone(), |trial| trial.trial.clone()),
                model: trial.map_or_else(|| count(run.params), |trial| trial.model.clone()),
                params: run.params,
                tokens: run.tokens,
                loss: run.measured,
                held_out: false,
            }
        })
        .collect()
}

fn lr_facts(fit: &LrFit) -> Vec<(String, String)> {
    let edges = |edge: Edge| fit.groups.iter().filter(|group| group.edge == Some(edge)).count();
    let mut facts = vec![(
        "Minimum inside the grid".to_owned(),
        format!("in {} of {}", fit.bracketed, plural(fit.groups.len(), "group")),
    )];
    if fit.at_edge > 0 {
        let (low, high) = (edges(Edge::Low), edges(Edge::High));
        let sentence = format!("smaller ones are missing in {low}, larger ones in {high}");
        facts.push(("Best learning rate at the edge".to_owned(), sentence));
    }
    if let Some(lr) = fit.diverged_from {
        facts.push(("Diverged from".to_owned(), format!("lr {}", number(lr, 3))));
    }
    facts
}

/// The bowls of a fit of the learning rate, from the `trials` that entered it.
pub fn bowls(fit: &LrFit, trials: &[TrialRow]) -> Vec<LrBowl> {
    fit.groups.iter().map(|group| bowl(group, trials)).collect()
}

fn bowl(group: &LrGroup, trials: &[TrialRow]) -> LrBowl {
    let same = |trial: &&TrialRow| trial.model == group.model && (trial.tokens as f64 - group.tokens).abs() < 0.5;
    let points = trials
        .iter()
        .filter(same)
        .filter(|trial| trial.final_loss.is_some() || trial.state == TrialState::Diverged)
        .map(|trial| LrPoint {
            trial: trial.trial.clone(),
            lr: trial.lr,
            loss: trial.final_loss,
        })
        .collect();
    LrBowl {
        model: group.model.clone(),
        params: group.params.round() as u64,
        tokens: group.tokens.round() as u64,
        points,
        best: group
            .best
            .zip(group.loss)
            .map(|(lr, loss)| BestLr { lr, ci95: None, loss }),
    }
}
