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
const APART: f64 = 0.02;

/// Forecast against measured, out of the runs that the law rests on.
pub(crate) fn forecast(study: &Study<'_>, score: &Score) -> FigureView {
    let drawn = drawable(study);
    let panel = panel(study, score);
    FigureView {
        name: "forecast",
        title: "Forecast against measured".to_owned(),
        caption: caption(score),
        key: vec![(Ink::Plain, "forecast".to_owned()), (MEASURED, "measured".to_owned())],
        content: panel.map_or_else(
            || Content::Missing("The forecast names no tokens: it has no place on an axis of compute.".to_owned()),
            |panel| Content::Panels(vec![panel]),
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
        1 => format!("came {}", text::loss(score.actual)),
        runs => format!("came {} on average of {runs} runs", text::loss(score.actual)),
    };
    let held = match score.covered {
        Some(true) => "the interval held it",
        Some(false) => "the interval did not hold it",
        None => "the forecast had no interval",
    };
    let too = if score.error > 0.0 { "too low" } else { "too high" };
    format!(
        "Forecast for {} parameters{tokens}{far}: {}{} nats per token; {came}. The forecast was {too} by {:.2} % ({} \
         nats), and {held}. Small dots are the runs that the law was fitted on; the diamond is the forecast with its 95 % \
         interval, the dots beside it are the measured runs, the bar their mean.",
        text::count(score.params as f64),
        text::loss(score.predicted),
        within(score.ci95),
        100.0 * score.relative_error.abs(),
        text::loss(score.error.abs()),
    )
}

fn panel(study: &Study<'_>, score: &Score) -> Option<Panel> {
    let sizes = Roster::of_study(study);
    let compute = |params: f64, tokens: f64| FLOPS_PER_PARAM_TOKEN * params * tokens;
    let target = compute(score.params as f64, score.tokens?);
    let drawn = drawable(study);
    let fitted = drawn.iter().flat_map(|drawn| drawn.dots.iter());
    let mut marks: Vec<Mark> = fitted
        .map(|point| dot(point, [compute(point.params, point.tokens), point.loss], &sizes))
        .collect();
    let [low, high] = positive_range(marks.iter().flat_map(|mark| mark.along(0)).chain([target]))?;
    let aside = |steps: f64| target * (high / low).max(2.0).powf(APART * steps);
    let hover = format!(
        "forecast {}, registered {}",
        text::loss(score.predicted),
        score.registered_at
    );
    marks.extend(on_interval([target, score.predicted], score.ci95, Ink::Plain, &hover));
    marks.extend(score.losses.iter().map(|&loss| Mark::Dot {
        at: [aside(1.0), loss],
        ink: MEASURED,
        shape: Shape::Disc,
        hover: Some(format!("measured {}", text::loss(loss))),
    }));
    marks.push(Mark::Span {
        from: [aside(0.5), score.actual],
        to: [aside(1.5), score.actual],
        ink: MEASURED,
        hover: Some(format!("mean of the measured runs {}", text::loss(score.actual))),
    });
    let losses = range_of_marks(&marks, 1)?;
    Some(Panel {
        title: String::new(),
        x: log_axis("compute 6ND (FLOP)", Numbers::Plain, [low, aside(2.0).max(high)]),
        y: loss_axis("loss (nats per token)", losses),
        marks,
    })
}
