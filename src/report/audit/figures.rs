//! The figures of an audit: how many runs lie in their intervals, and how errors grow with the distance.
//!
//! Refuses to replay forecasts.

use crate::fit::audit::{Audit, Figures, Scored, SetAudit};
use crate::report::audit::words::{cut_value, short};
use crate::report::axes::{linear_axis, log_axis, positive_range, range};
use crate::report::text::{self, number};
use crate::report::view::{Content, FigureView, Ink, Mark, Numbers, Omitted, Panel, Shape, Stroke};

/// Forecasts drawn in one panel: more hide each other.
const DRAWN_MAX: usize = 90;
/// Sets with a panel of their own.
const PANELS_MAX: usize = 18;
/// What misses are drawn in.
const MISSED: Ink = Ink::Kind(1);
const INSIDE: Ink = Ink::Kind(0);

/// Every figure; none where no forecast was made.
pub(super) fn all(audit: &Audit) -> Vec<FigureView> {
    if audit.all.n.is_none() {
        return Vec::new();
    }
    calibration(audit).into_iter().chain([errors(audit)]).collect()
}

/// What intervals promise, and the shares that they hold.
fn shares(figures: &Figures) -> Option<[[f64; 2]; 3]> {
    Some([
        [50.0, 100.0 * figures.covered50?],
        [80.0, 100.0 * figures.covered80?],
        [95.0, 100.0 * figures.covered95?],
    ])
}

fn line(points: &[[f64; 2]], ink: Ink, stroke: Stroke, label: Option<&str>, hover: Option<String>) -> Mark {
    Mark::Line {
        points: points.to_vec(),
        ink,
        stroke,
        label: label.map(str::to_owned),
        hover,
    }
}

/// Promised against held; none without intervals.
fn calibration(audit: &Audit) -> Option<FigureView> {
    let all = shares(&audit.all)?;
    let mut marks = vec![line(
        &[[45.0, 45.0], [100.0, 100.0]],
        Ink::Plain,
        Stroke::Beyond,
        Some("as promised"),
        None,
    )];
    for set in audit.sets.iter().filter(|_| audit.sets.len() > 1) {
        let Some(points) = shares(&set.figures) else { continue };
        let [fifty, eighty, most] = points.map(|point| number(point[1], 2));
        let hover = format!(
            "{}\n{fifty}, {eighty}, {most} % lie in their intervals of 50, 80, 95 %",
            short(&set.source)
        );
        marks.push(line(&points, Ink::Quiet, Stroke::Thin, None, Some(hover.clone())));
        marks.extend(points.map(|at| Mark::Dot {
            at,
            ink: Ink::Quiet,
            shape: Shape::Ring,
            hover: Some(hover.clone()),
        }));
    }
    let label = if audit.sets.len() > 1 { "all sets" } else { "forecasts" };
    marks.push(line(&all, INSIDE, Stroke::Strong, Some(label), None));
    marks.extend(all.map(|at| Mark::Dot {
        at,
        ink: INSIDE,
        shape: Shape::Disc,
        hover: Some(format!(
            "{} % lie in their intervals of {} %",
            number(at[1], 3),
            number(at[0], 2)
        )),
    }));
    let low = range(marks.iter().flat_map(|mark| mark.along(1)))?[0];
    Some(FigureView {
        name: "calibration",
        title: "What intervals promise, and what they hold".to_owned(),
        caption: format!(
            "The share of hidden runs inside their 50, 80 and 95 % intervals, over all forecasts{}. Above the line \
             intervals are wider than they promise, below it they are narrower.",
            if audit.sets.len() > 1 {
                "; a thin line is a set"
            } else {
                ""
            }
        ),
        key: Vec::new(),
        content: Content::Panels(vec![Panel {
            title: String::new(),
            x: linear_axis("promised (%)", Numbers::Plain, [45.0, 100.0]),
            y: linear_axis("held (%)", Numbers::Plain, [low.min(45.0), 100.0]),
            marks,
        }]),
        omitted: Vec::new(),
    })
}

/// Measured less forecast over the distance, a panel a set.
fn errors(audit: &Audit) -> FigureView {
    let sets = audit.sets.iter().filter(|set| set.figures.n.is_some());
    let panels: Vec<Panel> = sets.take(PANELS_MAX).filter_map(panel).collect();
    let scored = audit.all.n.unwrap_or_default();
    let drawn: usize = panels
        .iter()
        .flat_map(|panel| &panel.marks)
        .filter(|mark| is_dot(mark))
        .count();
    let thinned = Omitted {
        trials: scored - drawn,
        reason: "thinned out evenly".to_owned(),
    };
    FigureView {
        name: "errors",
        title: "Errors of forecasts over the distance".to_owned(),
        caption:
            "Each mark is a hidden run: measured less forecast, in per cent of the forecast, over its compute as a \
                  multiple of the largest run that was seen. The line through it is the 95 % interval of a new run; \
                  a filled mark lies outside."
                .to_owned(),
        key: vec![
            (INSIDE, "inside the 95 % interval".to_owned()),
            (MISSED, "outside".to_owned()),
        ],
        content: Content::Panels(panels),
        omitted: (thinned.trials > 0).then_some(thinned).into_iter().collect(),
    }
}

fn is_dot(mark: &Mark) -> bool {
    matches!(mark, Mark::Dot { .. })
}

/// The forecasts of a set, evenly chosen where they are many.
fn panel(set: &SetAudit) -> Option<Panel> {
    let runs: Vec<(String, &Scored)> = set
        .cuts
        .iter()
        .flat_map(|cut| cut.runs.iter().map(|run| (cut_value(cut), run)))
        .collect();
    let stride = runs.len().div_ceil(DRAWN_MAX).max(1);
    let mut marks = vec![Mark::Level { y: 0.0 }];
    for (cut, run) in runs.iter().step_by(stride) {
        marks.extend(of_run(cut, run));
    }
    let x = positive_range(marks.iter().flat_map(|mark| mark.along(0)))?;
    let y = range(marks.iter().flat_map(|mark| mark.along(1)))?;
    Some(Panel {
        title: fitting(short(&set.source)),
        x: log_axis("compute, times the largest seen", Numbers::Plain, x),
        y: linear_axis("measured less forecast (%)", Numbers::Signed, y),
        marks,
    })
}

/// A title as long as a panel is wide.
fn fitting(name: &str) -> String {
    const LETTERS_MAX: usize = 38;
    if name.chars().count() <= LETTERS_MAX {
        return name.to_owned();
    }
    let begin: String = name.chars().take(LETTERS_MAX - 1).collect();
    begin + "\u{2026}"
}

/// The interval of a run and the run in it, from the forecast in per cent.
fn of_run(cut: &str, run: &Scored) -> Vec<Mark> {
    let off = |loss: f64| 100.0 * (loss / run.forecast.mean - 1.0);
    let interval = run.forecast.ci95_new_run;
    let (ink, shape) = match run.is_inside(interval) {
        Some(false) => (MISSED, Shape::Disc),
        Some(true) | None => (INSIDE, Shape::Ring),
    };
    let hover = format!(
        "{}\n{} parameters, {} tokens, fitted up to {cut}\nmeasured {}, forecast {} ({:+.2} %)",
        run.label,
        text::count(run.params),
        text::count(run.tokens),
        text::loss(run.measured),
        text::loss(run.forecast.mean),
        off(run.measured)
    );
    let span = interval.map(|[low, high]| Mark::Span {
        from: [run.compute_ratio, off(low)],
        to: [run.compute_ratio, off(high)],
        ink,
        hover: Some(hover.clone()),
    });
    let dot = Mark::Dot {
        at: [run.compute_ratio, off(run.measured)],
        ink,
        shape,
        hover: Some(hover.clone()),
    };
    span.into_iter().chain([dot]).collect()
}
