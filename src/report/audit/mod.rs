//! What to show of an audit: how forecasts did over all sets, set by set, and cut by cut.
//!
//! Refuses to replay forecasts, and to know how anything is drawn or marked up.

mod figures;
mod words;

use serde::Serialize;

use crate::fit::audit::{Audit, CutAudit, Figures, SetAudit};
pub use crate::report::audit::words::{cut_value, short};
use crate::report::text::{number, plural};
use crate::report::view::{Cell, Column, FigureView, Table};

/// The page of an audit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditView {
    pub title: String,
    /// What was asked of the forecasts.
    pub question: String,
    /// All sets in numbers: a name, a value.
    pub summary: Vec<(String, String)>,
    /// A row for each set, and one for all.
    pub sets: Table,
    /// How to read it.
    pub notes: Vec<String>,
    pub figures: Vec<FigureView>,
    /// A row for each cut.
    pub cuts: Table,
}

/// What the columns mean.
const NOTES: [&str; 2] = [
    "At each cut everything larger is hidden, a law is chosen and fitted on the rest, and every hidden run is compared \
     with its forecast. Error: the mean of |forecast − measured| / measured. Bias: the same with its sign; above zero, \
     forecasts are too high. In 50, 80, 95 %: the share of hidden runs inside these intervals of a new run.",
    "Width / error: the mean full width of the 95 % interval over the mean error. With normal errors and a right interval \
     it is 4.9; far above that the interval says little, below it holds too few runs. Forecasts of one cut err together, \
     and a large run is forecast at several cuts: the forecasts of a set are not independent.",
];

impl AuditView {
    pub fn new(audit: &Audit) -> Self {
        Self {
            title: title(audit),
            question: "What would have been forecast of the larger runs, had only the smaller ones been there?"
                .to_owned(),
            summary: summary(audit),
            sets: sets(audit),
            notes: NOTES.map(str::to_owned).into(),
            figures: figures::all(audit),
            cuts: cuts(audit),
        }
    }
}

/// The set by its name, or how many there are.
fn title(audit: &Audit) -> String {
    match &audit.sets[..] {
        [set] => short(&set.source).to_owned(),
        sets => format!("{} sets of runs", sets.len()),
    }
}

fn summary(audit: &Audit) -> Vec<(String, String)> {
    let all = &audit.all;
    let cuts = audit.sets.iter().flat_map(|set| &set.cuts);
    let (scored, refused): (Vec<&CutAudit>, Vec<&CutAudit>) = cuts.partition(|cut| cut.refused.is_none());
    let mut rows = vec![(
        "forecasts".to_owned(),
        all.n.map_or_else(|| "none".to_owned(), |n| n.to_string()),
    )];
    rows.push(("cuts".to_owned(), scored.len().to_string()));
    if !refused.is_empty() {
        rows.push(("cuts that carry no law".to_owned(), refused.len().to_string()));
    }
    let shares = [
        ("inside their 50 % interval", all.covered50),
        ("inside their 80 % interval", all.covered80),
        ("inside their 95 % interval", all.covered95),
    ];
    for (name, share) in shares {
        rows.extend(share.map(|share| (name.to_owned(), percent(share, 0))));
    }
    let error = all.mean_abs_rel_error;
    rows.extend(error.map(|error| ("mean error".to_owned(), percent(error, 2))));
    let width = all.width_over_error;
    rows.extend(width.map(|width| ("width / error".to_owned(), number(width, 2))));
    rows
}

/// A share in percent, with so many decimals.
fn percent(share: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * share)
}

/// Figures as cells: forecasts, error, bias, the three shares, width over error.
fn cells(figures: &Figures) -> Vec<Cell> {
    let share = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| Cell::from(""), |value| Cell::number(percent(value, decimals), value))
    };
    let bias = figures.bias.map_or_else(
        || Cell::from(""),
        |bias| Cell::number(format!("{:+.2} %", 100.0 * bias).replace('-', "\u{2212}"), bias),
    );
    let n = figures.n.map_or_else(|| Cell::from(""), |n| n.to_string().into());
    let width = figures.width_over_error;
    let width = width.map_or_else(|| Cell::from(""), |width| Cell::number(number(width, 2), width));
    vec![
        n,
        share(figures.mean_abs_rel_error, 2),
        bias,
        share(figures.covered50, 0),
        share(figures.covered80, 0),
        share(figures.covered95, 0),
        width,
    ]
}

/// The columns of [`cells`].
fn columns() -> [Column; 7] {
    [
        "forecasts",
        "error",
        "bias",
        "in 50 %",
        "in 80 %",
        "in 95 %",
        "width / error",
    ]
    .map(Column::numbers)
}

fn sets(audit: &Audit) -> Table {
    let row = |set: &SetAudit| {
        let cuts = set.cuts.iter().filter(|cut| cut.refused.is_none()).count();
        let law = set.law.or(set.refused.as_deref()).unwrap_or_default();
        let mut row = vec![short(&set.source).into(), law.into(), cuts.to_string().into()];
        row.extend(cells(&set.figures));
        row
    };
    let mut rows: Vec<Vec<Cell>> = audit.sets.iter().map(row).collect();
    if audit.sets.len() > 1 {
        let cuts = audit.sets.iter().flat_map(|set| &set.cuts);
        let cuts = cuts.filter(|cut| cut.refused.is_none()).count();
        let mut all = vec!["all".into(), "".into(), cuts.to_string().into()];
        all.extend(cells(&audit.all));
        rows.push(all);
    }
    let first = [
        Column::words("set"),
        Column::words("law at the last cut"),
        Column::numbers("cuts"),
    ];
    Table {
        columns: first.into_iter().chain(columns()).collect(),
        rows,
    }
}

fn cuts(audit: &Audit) -> Table {
    let row = |set: &SetAudit, cut: &CutAudit| {
        let law = cut.law.or(cut.refused.as_deref()).unwrap_or_default();
        let mut row = vec![
            short(&set.source).into(),
            Cell::number(cut_value(cut), cut.at),
            plural(cut.seen, "run").into(),
            law.into(),
        ];
        row.extend(cells(&cut.figures));
        row
    };
    let rows = audit
        .sets
        .iter()
        .flat_map(|set| set.cuts.iter().map(move |cut| row(set, cut)));
    let first = [
        Column::words("set"),
        Column::words("fitted up to"),
        Column::words("from"),
        Column::words("law"),
    ];
    Table {
        columns: first.into_iter().chain(columns()).collect(),
        rows: rows.collect(),
    }
}
