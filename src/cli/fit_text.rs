//! How a law is shown to a person in a terminal.
//!
//! Refuses to know any one law.

use crate::cli::output::table;
use crate::fit::Warning;
use crate::fit::law::{AnyKept, reasons};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::model_selection::Tried;
use crate::fit::view::{Constant, Rows, warned};
use crate::units::printed;

/// A law: its formula, its constants, its tables, how it was fitted and how well, and what a reader must know.
pub(super) fn law_text(law: &AnyKept) -> String {
    let (kept, view) = (&law.kept, law.kept.law.view());
    let source = kept.source.as_ref().map_or_else(String::new, |it| format!(" of {it}"));
    let mut parts = vec![format!(
        "fit {}{source}: {} over {} ({} left out)",
        kept.fit,
        view.formula,
        view.rests_on,
        kept.left_out.len()
    )];
    if !view.constants.is_empty() {
        let rows: Vec<Vec<String>> = view.constants.iter().map(row).collect();
        parts.push(table(&["", "value", "se", "95 % from", "to"], &rows));
    }
    parts.extend(view.tables.iter().map(|Rows { columns, rows }| table(columns, rows)));
    if !kept.left_out.is_empty() {
        parts.push(format!("left out: {}", reasons(&kept.left_out)));
    }
    let chosen_from = law.chosen_from();
    let facts = view.facts.iter().chain(&law.facts).chain(&chosen_from);
    parts.extend(facts.map(|(name, text)| format!("{name}: {text}")));
    parts.join("\n") + &warnings_text(kept.law.warnings())
}

fn row(constant: &Constant) -> Vec<String> {
    let digits = |value: f64| printed(value, 4);
    let dash = || "–".to_owned();
    let estimate = &constant.estimate;
    let no_error = || {
        if constant.is_published {
            "published".to_owned()
        } else {
            dash()
        }
    };
    vec![
        constant.name.clone(),
        digits(estimate.value),
        estimate.se.map_or_else(no_error, digits),
        estimate.ci95.map_or_else(dash, |ends| digits(ends[0])),
        estimate.ci95.map_or_else(dash, |ends| digits(ends[1])),
    ]
}

pub(super) fn tried_text(tried: &[Tried]) -> String {
    let row = |it: &Tried| {
        let error = it.hold_out.as_ref().map(|held| 100.0 * held.mean_abs_rel_error);
        vec![
            it.law.to_owned(),
            it.objective.map_or("", objective_text).to_owned(),
            error.map_or_else(|| "–".to_owned(), |error| format!("{error:.3} %")),
            it.refused.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = tried.iter().map(row).collect();
    table(&["law", "by", "misses the held-out runs by", ""], &rows)
}

fn objective_text(objective: Objective) -> &'static str {
    match objective {
        Objective::Huber => "huber",
        Objective::LeastSquares => "least squares",
    }
}

pub(super) fn warnings_text(warnings: &[Warning]) -> String {
    warnings
        .iter()
        .map(|warning| format!("\nwarning {}", warned(warning)))
        .collect()
}
