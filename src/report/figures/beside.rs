//! The figure of two studies side by side: the same cells of both, loss against loss, and the difference.
//!
//! Refuses to pair runs.

use std::collections::BTreeSet;

use crate::fit::numeric::statistics::{mean, standard_deviation, t_975};
use crate::report::axes::{Roster, linear_axis, log_axis, positive_range, range, rate_axis};
use crate::report::study::{Other, Study};
use crate::report::text;
use crate::report::view::{Axis, Content, FigureView, Ink, Mark, Numbers, Omitted, Panel, Shape, Stroke};
use crate::study::beside::{Apart, Beside, Cell, beside};

/// Two studies, cell by cell.
pub(crate) fn side_by_side(study: &Study<'_>, other: &Other<'_>) -> FigureView {
    let pairs = beside(study.trials, other.trials);
    let names = [study.sweep, other.name];
    let content = if pairs.cells.is_empty() {
        Content::Missing(format!(
            "{} and {} have no finished cell in common.",
            names[0], names[1]
        ))
    } else {
        let sizes = Roster::of(study.trials);
        Content::Panels(vec![against(&pairs, names, &sizes), differences(&pairs, names, &sizes)])
    };
    let only = |at: usize| Omitted {
        trials: pairs.alone[at],
        reason: format!("in {} alone (cells)", names[at]),
    };
    FigureView {
        name: "beside",
        title: format!("{} beside {}", names[0], names[1]),
        caption: caption(&pairs, names),
        key: Roster::of(study.trials).key(),
        content,
        omitted: [0, 1].map(only).into_iter().filter(|it| it.trials > 0).collect(),
    }
}

fn caption(pairs: &Beside<'_>, [first, second]: [&str; 2]) -> String {
    let differences: Vec<f64> = pairs.cells.iter().map(Cell::difference).collect();
    let Some(centre) = mean(&differences) else {
        return String::new();
    };
    let count = differences.len() as f64;
    let half = standard_deviation(&differences)
        .map(|sd| format!(" \u{b1} {:.4}", t_975(count - 1.0) * sd / count.sqrt()))
        .unwrap_or_default();
    let lower = differences.iter().filter(|nats| **nats < 0.0).count();
    let sentence = format!(
        "A dot is a cell that both studies have: the same size, budget, learning rate and all other settings, mean final \
         losses over seeds, nats per token. {second} less {first}: {centre:+.4}{half} on average (95 %, over {}); \
         {second} is lower in {lower}. {}.",
        text::plural(differences.len(), "cell"),
        words(&pairs.apart)
    );
    sentence.replace(" -", " \u{2212}")
}

/// What sets the studies apart, in words.
fn words(apart: &[Apart]) -> String {
    if apart.is_empty() {
        return "No setting that is one in each study differs".to_owned();
    }
    let each = apart.iter().map(|it| {
        let [first, second] = it.values.each_ref().map(|value| short(value.trim_matches('"')));
        format!("{} {first} against {second}", it.path)
    });
    format!("They differ in {}", each.collect::<Vec<_>>().join(", "))
}

/// Hashes of data are long, and their first characters tell them apart.
fn short(value: &str) -> &str {
    const HASH: usize = 16;
    match value.char_indices().nth(HASH) {
        Some((end, _)) if value.starts_with("b3:") => &value[..end],
        _ => value,
    }
}

fn hover(cell: &Cell<'_>, [first, second]: [&str; 2]) -> String {
    format!(
        "{}\n{first}: {} ({})\n{second}: {} ({})\ndifference {:+.4} nats",
        cell.run.slug,
        text::loss(cell.losses[0]),
        text::plural(cell.runs[0], "run"),
        text::loss(cell.losses[1]),
        text::plural(cell.runs[1], "run"),
        cell.difference()
    )
}

fn dot(cell: &Cell<'_>, at: [f64; 2], names: [&str; 2], sizes: &Roster<'_>) -> Mark {
    Mark::Dot {
        at,
        ink: sizes.ink(cell.run),
        shape: Shape::Disc,
        hover: Some(hover(cell, names)),
    }
}

/// Loss against loss, with the line on which both are equal.
fn against(pairs: &Beside<'_>, names: [&str; 2], sizes: &Roster<'_>) -> Panel {
    let ends = range(pairs.cells.iter().flat_map(|cell| cell.losses)).unwrap_or([1.0, 2.0]);
    let equal = Mark::Line {
        points: ends.map(|end| [end, end]).to_vec(),
        ink: Ink::Quiet,
        stroke: Stroke::Thin,
        label: None,
        hover: Some("equal losses".to_owned()),
    };
    let dots = pairs.cells.iter().map(|cell| dot(cell, cell.losses, names, sizes));
    let axis = |name: &str| linear_axis(&format!("loss of {name} (nats per token)"), Numbers::Plain, ends);
    Panel {
        title: "Loss against loss".to_owned(),
        x: axis(names[0]),
        y: axis(names[1]),
        marks: [equal].into_iter().chain(dots).collect(),
    }
}

/// The differences along what was varied most.
fn differences(pairs: &Beside<'_>, [first, second]: [&str; 2], sizes: &Roster<'_>) -> Panel {
    let (x, of) = along(pairs);
    let dots = pairs
        .cells
        .iter()
        .map(|cell| dot(cell, [of(cell), cell.difference()], [first, second], sizes));
    let ends = range(pairs.cells.iter().map(Cell::difference).chain([0.0])).unwrap_or([-0.1, 0.1]);
    Panel {
        title: "Difference".to_owned(),
        x,
        y: linear_axis(&format!("{second} less {first} (nats)"), Numbers::Signed, ends),
        marks: [Mark::Level { y: 0.0 }].into_iter().chain(dots).collect(),
    }
}

/// The axis of the learning rate, the tokens or the size: of which the cells have most values.
fn along(pairs: &Beside<'_>) -> (Axis, fn(&Cell<'_>) -> f64) {
    let of: [fn(&Cell<'_>) -> f64; 3] = [
        |cell| cell.run.lr,
        |cell| cell.run.tokens_asked as f64,
        |cell| cell.run.params_non_embedding as f64,
    ];
    let count = |of: fn(&Cell<'_>) -> f64| {
        let values: BTreeSet<u64> = pairs.cells.iter().map(|cell| of(cell).to_bits()).collect();
        values.len()
    };
    let most = (0..of.len()).rev().max_by_key(|&at| count(of[at])).unwrap_or(0);
    let values = positive_range(pairs.cells.iter().map(of[most])).unwrap_or([1.0, 10.0]);
    let axis = match most {
        0 => rate_axis(values),
        1 => log_axis("tokens", Numbers::Counts, values),
        _ => log_axis("parameters", Numbers::Counts, values),
    };
    (axis, of[most])
}
