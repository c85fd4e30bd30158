//! What a reader must know before trusting a fit: its status and its warnings.
//!
//! Refuses to change any number.

use crate::fit::loss::bootstrap_intervals::ParameterDraws;
use crate::fit::loss::chinchilla::Status;
use crate::fit::loss::hold_out::HoldOut;
use crate::fit::loss::loss_fit::HoldOutReport;
use crate::fit::loss::loss_fit::Widening;
use crate::fit::loss::outliers::Outliers;
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::statistics;
use crate::fit::refusal::Refusal;
use crate::fit::{Estimate, Warning};
use std::collections::BTreeMap;

pub(crate) struct Diagnosed<'a> {
    pub(crate) core: &'a FittedConstants,
    pub(crate) spread: &'a ParameterDraws,
    /// Its constants with their intervals.
    pub(crate) parameters: &'a BTreeMap<String, Estimate>,
    /// What was to be held out.
    pub(crate) cut: HoldOut,
    pub(crate) checked: &'a Result<Option<HoldOutReport>, Refusal>,
    /// What rolling the hold-out taught.
    pub(crate) widening: Option<Widening>,
    /// The runs that lie far off it.
    pub(crate) outliers: Option<&'a Outliers>,
}

/// A 95 % interval of an exponent that spans this factor is no knowledge of it.
const FLAT_FACTOR: f64 = 10.0;
/// A 95 % interval of an exponent that spans this factor is worth a warning.
const UNCERTAIN_FACTOR: f64 = 3.0;
/// Published laws leave 0.3 to 1 % of the loss unexplained; above this something else moves the loss.
const POOR_FIT: f64 = 0.03;
/// The law is rejected against the replicates at this level.
const LACK_OF_FIT_LEVEL: f64 = 0.01;

/// What the solver found.
pub(crate) fn status(core: &FittedConstants, parameters: &BTreeMap<String, Estimate>) -> Status {
    if span(&parameters["alpha"]).max(span(&parameters["beta"])) > FLAT_FACTOR {
        Status::Flat
    } else if core.without_irreducible_loss() {
        Status::AtBound
    } else {
        Status::Converged
    }
}

/// The ratio of the ends of an interval; one where there is none.
fn span(estimate: &Estimate) -> f64 {
    estimate.ci95.map_or(1.0, |[low, high]| high / low)
}

pub(crate) fn warnings(judged: &Diagnosed<'_>) -> Vec<Warning> {
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

fn irreducible_loss(judged: &Diagnosed<'_>) -> Option<Warning> {
    judged.core.without_irreducible_loss().then(|| {
        Warning::new(
            "irreducible_loss_at_zero",
            "the irreducible loss E is zero, its limit: the runs are far from it, and losses far beyond them are \
             predicted too low",
        )
    })
}

fn exponents(judged: &Diagnosed<'_>) -> Option<Warning> {
    let wide: Vec<String> = ["alpha", "beta"]
        .iter()
        .map(|name| (name, &judged.parameters[*name]))
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

fn hold_out(judged: &Diagnosed<'_>) -> Option<Warning> {
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

fn unchecked(judged: &Diagnosed<'_>) -> Option<Warning> {
    judged.widening.is_none().then(|| {
        Warning::new(
            "extrapolation_not_calibrated",
            "intervals beyond the data come from the draws alone; with six sizes or more they are checked against \
             runs held out",
        )
    })
}

fn poor_fit(judged: &Diagnosed<'_>) -> Option<Warning> {
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
fn outliers(judged: &Diagnosed<'_>) -> Option<Warning> {
    let found = judged.outliers?;
    let with = &judged.core.law;
    let without = match &found.without {
        Ok(c) => format!(
            "without them alpha {:.3} becomes {:.3} and beta {:.3} becomes {:.3}",
            with.alpha, c.alpha, with.beta, c.beta
        ),
        Err(refusal) => format!("without them there is no law: {refusal}"),
    };
    Some(Warning::new(
        "outliers",
        format!(
            "{} run(s) lie far off the law and move it: {}; {without}",
            found.labels.len(),
            found.labels.join(", ")
        ),
    ))
}

/// Compares the scatter about the law with that of replicates (the F test of lack of fit).
fn lack_of_fit(judged: &Diagnosed<'_>) -> Option<Warning> {
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
    let dof_between = design.configurations as f64 - 5.0;
    if dof_within < 1.0 || within <= 0.0 {
        return None;
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

fn draws_lost(judged: &Diagnosed<'_>) -> Option<Warning> {
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
