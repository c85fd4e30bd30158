//! The law of loss in size, steps and batch, and the choice among laws of loss, to results that are kept.
//!
//! Refuses to know how they are printed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::loss::model_selection::{self, HeldOut, LossLaw};
use crate::fit::loss::three_term::{self, ThreeTermLaw};
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::observation::Observation;
use crate::fit::refusal::Refusal;
use crate::fit::{Estimate, Warning};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::loss::{self, Request};
use crate::run::sources::{self, Source};
use crate::store::Store;

/// The name of the law in the database and on the command line.
pub const LAW: &str = "three-term";

/// The law, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptThreeTerm {
    /// Its name.
    pub fit: String,
    /// `three-term`.
    pub law: String,
    /// The sweep, import or file.
    pub source: String,
    /// Runs that were given.
    pub n: usize,
    /// E, A, alpha, B, beta, G and gamma, for parameters, steps and tokens of a batch.
    pub parameters: BTreeMap<String, Estimate>,
    /// How a fit without the largest runs predicted the best of them.
    pub hold_out: Option<HeldOut>,
    /// The law itself, for predictions.
    pub three_term: ThreeTermLaw,
    /// Runs that did not enter.
    pub left_out: Vec<(String, String)>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// Fits the law and keeps it.
pub async fn fit(
    context: &Context,
    store: &mut Store,
    source: Source<'_>,
    request: &Request,
) -> Result<KeptThreeTerm, Failure> {
    let sources::Runs {
        name: source,
        observations: runs,
        left_out,
        ..
    } = sources::runs(context, store, source, request).await?;
    let draws = Draws {
        count: request.bootstrap,
        seed: 0,
    };
    let law = three_term::fit(&runs, draws).map_err(|refusal| loss::refused(&refusal))?;
    let mut warnings = law.warnings.clone();
    let hold_out =
        model_selection::held_out_error(&runs, LossLaw::ThreeTerm, request.hold_out).unwrap_or_else(|refusal| {
            let text = format!("without the held-out runs there is no law to check: {refusal}");
            warnings.push(Warning::new("no_hold_out", text));
            None
        });
    let kept = KeptThreeTerm {
        fit: loss::name(&law),
        law: LAW.to_owned(),
        source,
        n: runs.len(),
        parameters: parameters(&law),
        hold_out,
        three_term: law,
        left_out,
        warnings,
    };
    loss::keep(context, store, None, &kept.fit, LAW, &kept).await?;
    Ok(kept)
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

/// A law that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Tried {
    /// Which.
    pub law: &'static str,
    /// How it did on the runs held out; none: it has no answer.
    pub hold_out: Option<HeldOut>,
    /// Why it has none.
    pub refused: Option<String>,
}

/// Tries laws of loss on the runs that are held out; the best comes first.
pub async fn try_all(
    context: &Context,
    store: &mut Store,
    source: Source<'_>,
    request: &Request,
) -> Result<Vec<Tried>, Failure> {
    let runs = sources::runs(context, store, source, request).await?.observations;
    let laws = [
        ("chinchilla", LossLaw::Chinchilla(request.objective)),
        (LAW, LossLaw::ThreeTerm),
    ];
    let mut tried = laws.map(|(name, law)| attempt(name, &runs, law, request)).to_vec();
    let error = |it: &Tried| {
        it.hold_out
            .as_ref()
            .map_or(f64::INFINITY, |held| held.mean_abs_rel_error)
    };
    tried.sort_by(|a, b| error(a).total_cmp(&error(b)));
    if tried[0].hold_out.is_none() {
        let nothing = "no law predicts runs that it has not seen: there is nothing to choose by".to_owned();
        return Err(loss::refused(&Refusal::NotIdentified { why: nothing }));
    }
    Ok(tried)
}

fn attempt(law: &'static str, runs: &[Observation], which: LossLaw, request: &Request) -> Tried {
    let (hold_out, refused) = match model_selection::held_out_error(runs, which, request.hold_out) {
        Ok(Some(held)) => (Some(held), None),
        Ok(None) => (None, Some("no run lies above the limit of the hold-out".to_owned())),
        Err(refusal) => (None, Some(refusal.to_string())),
    };
    Tried { law, hold_out, refused }
}
