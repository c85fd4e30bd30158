//! What a reader must know before trusting a fit: its status and its warnings.
//!
//! Refuses to change any number.

use crate::fit::loss::bootstrap_intervals::ParameterDraws;
use crate::fit::loss::checks::hold_out::HoldOut;
use crate::fit::loss::checks::outliers::Outliers;
use crate::fit::loss::checks::structure;
use crate::fit::loss::chinchilla::Status;
use crate::fit::loss::forms::{Role, Surface};
use crate::fit::loss::loss_fit::HoldOutReport;
use crate::fit::loss::loss_fit::Widening;
use crate::fit::loss::objective::Form;
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::statistics;
use crate::fit::refusal::Refusal;
use crate::fit::{Estimate, Warning};
use std::collections::BTreeMap;

pub(crate) struct Diagnosed<'a, F, const K: usize> {
    pub(crate) core: &'a FittedConstants<F, K>,
    pub(crate) spread: &'a ParameterDraws<F>,
    /// Its constants with their intervals.
    pub(crate) parameters: &'a BTreeMap<String, Estimate>,
    /// What was to be held out.
    pub(crate) cut: HoldOut,
    pub(crate) checked: &'a Result<Option<HoldOutReport>, Refusal>,
    /// What rolling the hold-out taught.
    pub(crate) widening: Option<&'a Widening>,
    /// The runs that lie far off it.
    pub(crate) outliers: Option<&'a Outliers<F>>,
}

/// A 95 % interval of an exponent that spans this factor is no knowledge of it.
const FLAT_FACTOR: f64 = 10.0;
/// Where more draws than this share come to no rest, intervals are those of the lucky ones.
const LOST_SHARE: f64 = 0.1;
/// A 95 % interval of an exponent that spans this factor is worth a warning.
const UNCERTAIN_FACTOR: f64 = 3.0;
/// Published laws leave 0.3 to 1 % of the loss unexplained; above this something else moves the loss.
const POOR_FIT: f64 = 0.03;
/// The law is rejected against the replicates at this level.
const LACK_OF_FIT_LEVEL: f64 = 0.01;
/// Without replicates the law is rejected at this level, where the structure is this share of the scatter at least.
const STRUCTURE_LEVEL: f64 = 0.001;
const STRUCTURE_SHARE: f64 = 0.1;

/// What the solver found.
pub(crate) fn status<F: Form<K>, const K: usize>(
    core: &FittedConstants<F, K>,
    spread: &ParameterDraws<F>,
    parameters: &BTreeMap<String, Estimate>,
) -> Status {
    let is_lost = spread.lost as f64 > LOST_SHARE * (spread.lost + spread.draws.len()) as f64;
    if is_lost || exponents_of::<F>().any(|name| span(&parameters[name]) > FLAT_FACTOR) {
        Status::Flat
    } else if core.without_irreducible_loss() {
        Status::AtBound
    } else {
        Status::Converged
    }
}

/// The names of a law's exponents.
fn exponents_of<F: Surface>() -> impl Iterator<Item = &'static str> {
    let constants = F::CONSTANTS.iter();
    constants
        .filter(|(_, role)| *role == Role::Exponent)
        .map(|(name, _)| *name)
}

/// The ratio of the ends of an interval; one where there is none.
fn span(estimate: &Estimate) -> f64 {
    estimate.ci95.map_or(1.0, |[low, high]| high / low)
}

pub(crate) fn warnings<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Vec<Warning> {
    [
        irreducible_loss(judged),
        exponents(judged),
        hold_out(judged),
        unchecked(judged),
        outliers(judged),
        poor_fit(judged),
        lack_of_fit(judged),
        draws_lost(judged),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn irreducible_loss<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Option<Warning> {
    judged.core.without_irreducible_loss().then(|| {
        Warning::new(
            "irreducible_loss_at_zero",
            "the irreducible loss E is zero, its limit: the runs are far from it, and losses far beyond them are \
             predicted too low",
        )
    })
}

fn exponents<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Option<Warning> {
    let wide: Vec<String> = exponents_of::<F>()
        .map(|name| (name, &judged.parameters[name]))
        .filter(|(_, estimate)| span(estimate) > UNCERTAIN_FACTOR)
        .filter_map(|(name, estimate)| {
            let [low, high] = estimate.ci95?;
            Some(format!("{name} lies anywhere in {low:.2}..{high:.2}"))
        })
        .collect();
    (!wide.is_empty()).then(|| {
        Warning::new(
            "exponent_uncertain",
            format!("{}: add sizes or budgets further apart", wide.join(" and ")),
        )
    })
}

fn hold_out<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Option<Warning> {
    let text = match (judged.checked, judged.cut) {
        (Err(refusal), _) => {
            format!("without the held-out runs there is no law to check: {refusal}")
        }
        (Ok(None), HoldOut::Largest | HoldOut::ParamsAbove(_) | HoldOut::FlopsAbove(_)) => {
            "no run lies above the limit of the hold-out: nothing was checked".to_owned()
        }
        (Ok(None), HoldOut::None) | (Ok(Some(_)), _) => return None,
    };
    Some(Warning::new("no_hold_out", text))
}

fn unchecked<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Option<Warning> {
    (judged.widening.is_none() && !judged.spread.draws.is_empty()).then(|| {
        Warning::new(
            "extrapolation_not_calibrated",
            "intervals beyond the data come from the draws alone; with six sizes or more they are checked against \
             runs held out",
        )
    })
}

fn poor_fit<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Option<Warning> {
    let sd = judged.spread.noise;
    (sd > POOR_FIT).then(|| {
        Warning::new(
            "poor_fit",
            format!(
                "runs scatter by {:.1} % of the loss about the law: something else than size and tokens moves them",
                100.0 * sd
            ),
        )
    })
}

/// Runs far off the law, and what the exponents are without them.
fn outliers<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Option<Warning> {
    let found = judged.outliers?;
    let with = judged.core.law.constants();
    let without = match &found.without {
        Ok(law) => {
            let without = law.constants();
            let exponents = F::CONSTANTS
                .iter()
                .enumerate()
                .filter(|(_, (_, role))| *role == Role::Exponent);
            let each = exponents.map(|(k, (name, _))| format!("{name} {:.3} becomes {:.3}", with[k], without[k]));
            let each = each.collect::<Vec<_>>().join(" and ");
            if each.is_empty() {
                "they are in the fit".to_owned()
            } else {
                format!("without them {each}")
            }
        }
        Err(refusal) => format!("without them there is no law: {refusal}"),
    };
    Some(Warning::new(
        "outliers",
        format!(
            "{} run(s) lie far off the law: {}; {without}",
            found.labels.len(),
            found.labels.join(", ")
        ),
    ))
}

/// Compares the scatter about the law with that of replicates (the F test of lack of fit).
fn lack_of_fit<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Option<Warning> {
    let design = &judged.core.design;
    let mut of_configuration: Vec<Vec<f64>> = vec![Vec::new(); design.configurations];
    for (i, &c) in design.configuration.iter().enumerate() {
        of_configuration[c].push(judged.core.log_residual(i));
    }
    let (mut within, mut between) = (0.0, 0.0);
    for residuals in &of_configuration {
        let mean = statistics::mean(residuals)?;
        within += residuals.iter().map(|r| (r - mean).powi(2)).sum::<f64>();
        between += residuals.len() as f64 * mean * mean;
    }
    let dof_within = (design.rows.len() - design.configurations) as f64;
    let dof_between = design.configurations as f64 - K as f64;
    if dof_within < 1.0 || within <= 0.0 {
        return structure(judged);
    }
    let f = (between / dof_between) / (within / dof_within);
    let p = statistics::f_upper_tail(f, dof_between, dof_within);
    (p < LACK_OF_FIT_LEVEL).then(|| {
        Warning::new(
            "lack_of_fit",
            format!(
                "the law misses configurations by {:.1} times what seeds scatter (p = {p:.1e}): \
                 something else than size, tokens and luck moves the loss",
                f.sqrt()
            ),
        )
    })
}

/// The same without replicates: what is left over has a shape.
fn structure<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Option<Warning> {
    let found = structure::find(judged.core)?;
    (found.p < STRUCTURE_LEVEL && found.share > STRUCTURE_SHARE).then(|| {
        let text = format!(
            "what the law leaves over moves with ln N, ln D and their product ({:.0} % of its scatter, p = {:.0e}): \
             another law may fit, `--law auto` looks for it",
            100.0 * found.share,
            found.p
        );
        Warning::new("lack_of_fit", text)
    })
}

fn draws_lost<F: Form<K>, const K: usize>(judged: &Diagnosed<'_, F, K>) -> Option<Warning> {
    let lost = judged.spread.lost;
    (lost > 0).then(|| {
        Warning::new(
            "resamples_left_out",
            format!(
                "{lost} of {} draws did not come to rest and are left out",
                lost + judged.spread.draws.len()
            ),
        )
    })
}
