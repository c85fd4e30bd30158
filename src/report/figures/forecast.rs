//! The figure of a forecast: the runs that a law was fitted on, what it said of the target, and what came.
//!
//! Refuses to judge when the forecast was made, and to fit.

use crate::recipe::forecast::Score;
use crate::report::axes::{Roster, log_axis, loss_axis, positive_range};
use crate::report::figures::compute::FLOPS_PER_PARAM_TOKEN;
use crate::report::figures::law_marks::{dot, drawable, on_interval, range_of_marks, thinned};
use crate::report::study::Study;
use crate::report::text;
use crate::report::view::{Content, FigureView, Ink, Mark, Numbers, Panel, Shape};

/// How far the measured runs stand from the forecast, as a share of the axis, so that neither hides the other.
const APART: f64 = 0.03;

/// Forecast against measured, out of the runs that the law rests on.
pub(crate) fn forecast(study: &Study<'_>, score: &Score) -> FigureView {
    let drawn = drawable(study);
    let panels = panels(study, score);
    FigureView {
        name: "forecast",
        title: "Forecast against measured".to_owned(),
        caption: caption(score),
        key: vec![(Ink::Plain, "forecast".to_owned()), (MEASURED, "measured".to_owned())],
        content: panels.map_or_else(
            || Content::Missing("The forecast names no tokens: it has no place on an axis of compute.".to_owned()),
            Content::Panels,
        ),
        omitted: drawn.as_ref().and_then(thinned).into_iter().collect(),
    }
}

/// What the runs of the target are drawn in.
const MEASURED: Ink = Ink::Kind(1);

/// What was forecast, what came, by how much it was off, and whether the interval held it.
fn caption(score: &Score) -> String {
    let within = |ci95: Option<[f64; 2]>| {
        ci95.map_or_else(String::new, |[low, high]| {
            format!(" (95 % interval {} to {})", text::loss(low), text::loss(high))
        })
    };
    let tokens = score
        .tokens
        .map_or_else(String::new, |tokens| format!(" after {} tokens", text::count(tokens)));
    let far = score.compute_ratio.map_or_else(String::new, |ratio| {
        format!(
            ", {}\u{d7} the compute of the largest run of the fit",
            text::number(ratio, 2)
        )
    });
    let came = match score.runs {
        1 => format!("it came out at {}", text::loss(score.actual)),
        runs => format!("it came out at {}, the mean of {runs} runs", text::loss(score.actual)),
    };
    let held = match score.covered {
        Some(true) => "the interval held it",
        Some(false) => "the interval did not hold it",
        None => "the forecast had no interval",
    };
    let too = if score.error > 0.0 { "too low" } else { "too high" };
    format!(
        "Forecast for {} parameters{tokens}{far}: {}{} nats per token; {came}. The forecast was {too} by {:.2} % ({} \
         nats), and {held}. Dots and rings on the left are the runs that the law was fitted on; the diamond is the forecast with its 95 % \
         interval, the dots beside it are the measured runs, the bar their mean.",
        text::count(score.params as f64),
        text::loss(score.predicted),
        within(score.ci95),
        100.0 * score.relative_error.abs(),
        text::loss(score.error.abs()),
    )
}

/// All runs, then the target alone: the interval is small beside the way to it.
fn panels(study: &Study<'_>, score: &Score) -> Option<Vec<Panel>> {
    let sizes = Roster::of_study(study);
    let compute = |params: f64, tokens: f64| FLOPS_PER_PARAM_TOKEN * params * tokens;
    let target = compute(score.params as f64, score.tokens?);
    let drawn = drawable(study);
    let fitted = drawn.iter().flat_map(|drawn| drawn.dots.iter());
    let fitted: Vec<Mark> = fitted
        .map(|point| dot(point, [compute(point.params, point.tokens), point.loss], &sizes))
        .collect();
    let [low, high] = positive_range(fitted.iter().flat_map(|mark| mark.along(0)).chain([target]))?;
    let panel = |title: &str, [from, to]: [f64; 2], fitted: Vec<Mark>| {
        let step = (to / from).max(1.5).powf(APART);
        let mut marks = fitted;
        marks.extend(of_target(score, target, step));
        let losses = range_of_marks(&marks, 1)?;
        Some(Panel {
            title: title.to_owned(),
            x: log_axis(
                "compute 6ND (FLOP)",
                Numbers::Plain,
                [from, to.max(target * step.powi(2))],
            ),
            y: loss_axis("loss (nats per token)", losses),
            marks,
        })
    };
    let near = panel("At the target", [target / 1.6, target * 1.6], Vec::new())?;
    if fitted.is_empty() {
        return Some(vec![near]);
    }
    Some(vec![panel("Out of the runs of the fit", [low, high], fitted)?, near])
}

/// The forecast, and beside it what came.
fn of_target(score: &Score, target: f64, step: f64) -> Vec<Mark> {
    let forecast = format!(
        "forecast {}, registered {}",
        text::loss(score.predicted),
        score.registered_at
    );
    let mut marks = on_interval([target, score.predicted], score.ci95, Ink::Plain, &forecast);
    marks.extend(score.losses.iter().map(|&loss| Mark::Dot {
        at: [target * step, loss],
        ink: MEASURED,
        shape: Shape::Disc,
        hover: Some(format!("measured {}", text::loss(loss))),
    }));
    marks.push(Mark::Span {
        from: [target * step.sqrt(), score.actual],
        to: [target * step.powf(1.5), score.actual],
        ink: MEASURED,
        hover: Some(format!("mean of the measured runs {}", text::loss(score.actual))),
    });
    marks
}
