//! The figure of residuals: measured minus predicted loss, by tokens and by parameters.
//!
//! Refuses to fit: laws come in with their predictions.

use crate::report::axes::{Roster, linear_axis, log_axis, positive_range, range};
use crate::report::figures::law_marks::{Drawable, dot, drawable, no_law, not_in_law, rings};
use crate::report::law_view::LawPoint;
use crate::report::study::Study;
use crate::report::view::{Content, FigureView, Mark, Numbers, Panel};

/// Measured minus predicted loss, by tokens and by parameters.
pub(crate) fn residuals(study: &Study<'_>) -> FigureView {
    let mut omitted = Vec::new();
    let mut caption = String::new();
    let content = match drawable(study) {
        None => Content::Missing(no_law(study)),
        Some(drawn) => {
            caption = format!(
                "Measured minus predicted loss{}. A bend or a slope means that the form of the law does not hold.",
                rings(drawn.law)
            );
            omitted = not_in_law(study.trials, &drawn);
            residual_panels(&drawn, &Roster::of_study(study))
        }
    };
    FigureView {
        name: "residuals",
        title: "What the law leaves over".to_owned(),
        caption,
        key: Roster::of_study(study).key(),
        content,
        omitted,
    }
}

fn residual_panels(drawn: &Drawable<'_>, sizes: &Roster<'_>) -> Content {
    let residuals: Vec<(&LawPoint, f64)> = drawn
        .dots
        .iter()
        .filter_map(|&point| {
            let predicted = (drawn.predict)(point.params, point.tokens)?;
            Some((point, point.loss - predicted))
        })
        .filter(|(_, residual)| residual.is_finite())
        .collect();
    let Some([low, high]) = range(residuals.iter().map(|&(_, residual)| residual)) else {
        return Content::Missing("The law predicts none of its data.".to_owned());
    };
    let reach = low.abs().max(high.abs()).max(1e-4);
    let panel = |title: &str, label: &str, x: &dyn Fn(&LawPoint) -> f64| {
        let mut marks = vec![Mark::Level { y: 0.0 }];
        marks.extend(
            residuals
                .iter()
                .map(|&(point, residual)| dot(point, [x(point), residual], sizes)),
        );
        let values = positive_range(residuals.iter().map(|&(point, _)| x(point))).unwrap_or([1.0, 10.0]);
        Panel {
            title: title.to_owned(),
            x: log_axis(label, Numbers::Counts, values),
            y: linear_axis(
                "measured minus predicted (nats per token)",
                Numbers::Signed,
                [-reach, reach],
            ),
            marks,
        }
    };
    Content::Panels(vec![
        panel("By tokens", "tokens", &|point| point.tokens),
        panel("By parameters", "parameters", &|point| point.params),
    ])
}
