//! The figures of a report, one file each, in the order of the page.
//!
//! To add one: a file here, its `mod` line, and its place in [`all`].

pub(crate) mod allocation;
pub(crate) mod beside;
pub(crate) mod best_lr;
pub(crate) mod compute;
pub(crate) mod envelope;
pub(crate) mod equal_loss;
pub(crate) mod forecast;
pub(crate) mod hold_out;
pub(crate) mod law;
pub(crate) mod law_marks;
pub(crate) mod loss_curves;
pub mod lr_sweeps;
pub(crate) mod rate_batch;
pub(crate) mod residuals;
pub(crate) mod schedules;
pub(crate) mod wsd_vs_cosine;

use std::collections::BTreeSet;

use crate::report::figures::loss_curves::{Along, loss_curves};
use crate::report::study::Study;
use crate::report::view::FigureView;

/// The figures of a study, and how many points its training curves show.
pub(crate) fn all(study: &Study<'_>) -> (Vec<FigureView>, u64) {
    let of_law = [
        law::law(study),
        hold_out::hold_out(study),
        residuals::residuals(study),
        allocation::allocation(study),
    ];
    // A table of others has no trials here: there is a law to show, and nothing else.
    if study.is_law_alone() {
        return (of_law.into(), 0);
    }
    let (by_tokens, points_shown) = loss_curves(study, Along::Tokens);
    let batches: BTreeSet<u64> = study.trials.iter().map(|trial| trial.batch_tokens).collect();
    let mut figures: Vec<FigureView> = study
        .forecast
        .map(|score| forecast::forecast(study, score))
        .into_iter()
        .collect();
    figures.extend(study.beside.map(|other| beside::side_by_side(study, other)));
    figures.push(by_tokens);
    // With one batch, steps are tokens by another name.
    if batches.len() > 1 {
        figures.push(loss_curves(study, Along::Steps).0);
    }
    figures.extend([
        loss_curves(study, Along::Compute).0,
        lr_sweeps::lr_sweeps(study),
        best_lr::best_rates(study),
    ]);
    figures.extend(rate_batch::rate_batch(study));
    figures.push(equal_loss::equal_loss(study));
    figures.extend(of_law);
    figures.extend([schedules::schedules(study), wsd_vs_cosine::wsd_vs_cosine(study)]);
    (figures, points_shown)
}
