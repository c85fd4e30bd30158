//! The law of loss over size, steps and batch, as it is kept and shown.
//!
//! Refuses to know how its constants are found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::law::{About, Data, Fitted, Found, Law, LeftOutForm, Needs, Options, Place, Said};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::model_selection::{self, HeldOut, LossOf};
use crate::fit::loss::three_term::{self, ThreeTermLaw};
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;
use crate::fit::view::{Constant, View, fact};
use crate::fit::{Estimate, Warning};

/// L(N, S, b) = E + A/N^α + B/S^β + G/b^γ with S = D/b.
#[derive(Debug)]
pub struct ThreeTerm;

/// A fit of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThreeTermFit {
    /// Runs that were given.
    pub n: usize,
    /// E, A, alpha, B, beta, G and gamma, for parameters, steps and tokens of a batch.
    pub parameters: BTreeMap<String, Estimate>,
    /// How a fit without the largest runs predicted the best of them.
    pub hold_out: Option<HeldOut>,
    /// The law itself, for predictions.
    pub three_term: ThreeTermLaw,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

impl Law for ThreeTerm {
    type Fit = ThreeTermFit;
    const ABOUT: About = About {
        name: "three-term",
        tells: "the loss over size, steps and batch",
        formula: "L(N, S, b) = E + A / N^α + B / S^β + G / b^γ with S = D / b",
        source: "Schaipp 2026, arXiv 2607.01487",
        limits: "batches near the best one, at their best learning rates",
        needs: Needs::Runs,
        beside: None,
        compare: Some(compare),
        work_max: None,
        left_out: LeftOutForm::Pairs,
    };

    fn fit(data: &Data, options: &Options<'_>) -> Result<Found<ThreeTermFit>, Refusal> {
        let draws = Draws {
            count: options.bootstrap,
            seed: 0,
        };
        let law = three_term::fit(&data.runs, draws)?;
        let mut warnings = law.warnings.clone();
        let held = model_selection::held_out_error(&data.runs, compare, options.objective, options.hold_out);
        let hold_out = held.unwrap_or_else(|refusal| {
            let text = format!("without the held-out runs there is no law to check: {refusal}");
            warnings.push(Warning::new("no_hold_out", text));
            None
        });
        let identity = law.clone();
        let fit = ThreeTermFit {
            n: data.runs.len(),
            parameters: parameters(&law),
            hold_out,
            three_term: law,
            warnings,
        };
        Ok(Found::new(fit, &identity, data.left_out.clone()))
    }
}

fn compare(seen: &[Observation], _objective: Objective) -> Result<LossOf, Refusal> {
    let law = three_term::fit(seen, Draws { count: 0, seed: 0 })?;
    Ok(Box::new(move |run| {
        Some(law.loss(run.params, run.tokens, run.batch_tokens?))
    }))
}

fn parameters(law: &ThreeTermLaw) -> BTreeMap<String, Estimate> {
    let bare = |value: f64| Estimate {
        value,
        se: None,
        ci95: None,
    };
    let names = [("A", "alpha"), ("B", "beta"), ("G", "gamma")];
    let terms = names.iter().enumerate().flat_map(|(term, (coefficient, exponent))| {
        [
            ((*coefficient).to_owned(), bare(law.coefficients[term])),
            ((*exponent).to_owned(), law.exponents[term]),
        ]
    });
    std::iter::once(("E".to_owned(), law.e)).chain(terms).collect()
}

impl Fitted for ThreeTermFit {
    fn at(&self, place: Place) -> Option<Said> {
        let best = self.three_term.best_batch(place.tokens);
        let batch = place.batch_tokens.unwrap_or(best);
        let (loss, extrapolation) = self.three_term.predict(place.params, place.tokens, batch);
        Some(Said {
            loss: Some(loss),
            extrapolation,
            batch_tokens: Some(Estimate {
                value: best,
                se: None,
                ci95: None,
            }),
            ..Said::default()
        })
    }

    fn has_batch(&self) -> bool {
        true
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn view(&self) -> View {
        let names = ["E", "A", "alpha", "B", "beta", "G", "gamma"];
        let constants = names.map(|name| Constant::new(name, self.parameters[name]));
        let best = Constant::new("best batch: D^", self.three_term.batch_exponent);
        View {
            formula: ThreeTerm::ABOUT.formula.to_owned(),
            rests_on: format!("{} of {} runs", self.three_term.rows, self.n),
            constants: constants.into_iter().chain([best]).collect(),
            facts: self.hold_out.iter().map(HeldOut::fact).collect(),
            ..View::default()
        }
    }
}

impl HeldOut {
    fn fact(&self) -> (String, String) {
        let error = 100.0 * self.mean_abs_rel_error;
        fact(
            "hold-out",
            format!("{} runs predicted to {error:.2} % from the others", self.n),
        )
    }
}
