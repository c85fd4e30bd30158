//! Where compute is best spent: equal-loss lines over parameters and tokens, and the best split of compute.
//!
//! Refuses to know the form of a law: any loss that falls with parameters and tokens will do.

use std::collections::BTreeSet;

use crate::recipe::Recipe;
use crate::report::axes::{Roster, log_axis, positive_range};
use crate::report::figures::compute::{FLOPS_PER_PARAM_TOKEN, best_params};
use crate::report::figures::law::FARTHEST;
use crate::report::figures::law_marks::{CURVE_POINTS, Drawable, curve, dot, drawable, no_law, thinned};
use crate::report::law_view::Predict;
use crate::report::recipe_view::recipe_tokens;
use crate::report::study::Study;
use crate::report::text::{self, number};
use crate::report::view::{Axis, Content, FigureView, Ink, Mark, Numbers, Panel, Shape, Stroke};

/// Equal-loss lines of the figure.
const CONTOURS: u32 = 7;

/// A best split whose exponent has a wider interval is no crisp line.
const CRISP: f64 = 0.3;
/// An exponent with a narrower interval is set by the form of the law.
const FIXED: f64 = 1e-3;

/// Equal-loss lines over parameters and tokens, with the compute-optimal line.
pub(crate) fn allocation(study: &Study<'_>) -> FigureView {
    let drawn = drawable(study);
    let content = match &drawn {
        None => Content::Missing(no_law(study)),
        Some(drawn) => allocation_panel(drawn, study.recipe, &Roster::of_study(study)).map_or_else(
            || Content::Missing("The law has no loss to draw between its data and the recipe.".to_owned()),
            |panel| Content::Panels(vec![panel]),
        ),
    };
    FigureView {
        name: "allocation",
        title: "Where to spend compute".to_owned(),
        caption: caption(study, drawn.as_ref()),
        key: drawn.as_ref().map_or_else(Vec::new, |_| Roster::of_study(study).key()),
        content,
        omitted: drawn.as_ref().and_then(thinned).into_iter().collect(),
    }
}

/// How to read the plane, and how sure the best split is.
fn caption(study: &Study<'_>, drawn: Option<&Drawable<'_>>) -> String {
    let mut caption =
        "Thin lines join equal predicted losses (nats per token, at their right ends). Dots and rings are \
        the runs that the law rests on (rings: those that the hold-out sets aside)."
            .to_owned();
    let exponent = drawn.and_then(|drawn| drawn.law.size_exponent);
    match exponent.and_then(|it| Some((it.value, it.ci95?))) {
        Some((value, [low, high])) if high - low < FIXED => caption.push_str(&format!(
            " The strong line is the best split of compute, N as C^{} by the form of the law.",
            number(value, 2)
        )),
        Some((value, [low, high])) => {
            caption.push_str(&format!(
                " The best split of compute takes N as C^{}; the band is what its 95 % interval, {} to {}, leaves \
                 open about the middle of the data.",
                number(value, 2),
                number(low, 2),
                number(high, 2)
            ));
            if high - low > CRISP {
                caption.push_str(" So wide an interval is no answer: the line is one of many.");
            }
        }
        None => caption.push_str(" The strong line is the split of compute that the law finds best."),
    }
    let target = study
        .recipe
        .zip(drawn)
        .and_then(|(recipe, drawn)| target(drawn, recipe));
    caption.push_str(match (target, study.recipe) {
        (Some(_), _) => " The diamond is the recipe.",
        (None, Some(_)) => " The recipe lies too far beyond the data to be drawn.",
        (None, None) => "",
    });
    caption
}

/// Parameters and tokens of the recipe; none where they are farther out than is drawn.
fn target(drawn: &Drawable<'_>, recipe: &Recipe) -> Option<[f64; 2]> {
    let (params, tokens) = (recipe.params as f64, recipe_tokens(recipe)?);
    let most = drawn
        .law
        .points
        .iter()
        .map(|point| point.params * point.tokens)
        .reduce(f64::max)?;
    (params * tokens / most <= FARTHEST).then_some([params, tokens])
}

fn allocation_panel(drawn: &Drawable<'_>, recipe: Option<&Recipe>, sizes: &Roster<'_>) -> Option<Panel> {
    let points = drawn.law.points;
    let target = recipe.and_then(|recipe| target(drawn, recipe));
    let reach =
        |values: [f64; 2], axis: usize| positive_range(values.into_iter().chain(target.map(|target| target[axis])));
    let params = reach(positive_range(points.iter().map(|point| point.params))?, 0)?;
    let tokens = reach(positive_range(points.iter().map(|point| point.tokens))?, 1)?;
    let x = log_axis("parameters N", Numbers::Counts, [params[0] / 1.6, params[1] * 1.6]);
    let y = log_axis("tokens D", Numbers::Counts, [tokens[0] / 1.6, tokens[1] * 1.6]);
    let mut marks = contours(drawn.predict, &x, &y);
    marks.extend(open_split(drawn, &x, &y));
    let interval = drawn.law.size_exponent.and_then(|it| it.ci95);
    let is_crisp = interval.is_none_or(|[low, high]| high - low <= CRISP);
    marks.push(optimal_line(drawn.predict, &x, &y, is_crisp)?);
    marks.extend(
        drawn
            .dots
            .iter()
            .map(|point| dot(point, [point.params, point.tokens], sizes)),
    );
    marks.extend(target.map(|at| Mark::Dot {
        at,
        ink: Ink::Plain,
        shape: Shape::Diamond,
        hover: Some(format!(
            "the recipe: {} parameters, {} tokens",
            text::count(at[0]),
            text::count(at[1])
        )),
    }));
    Some(Panel {
        title: String::new(),
        x,
        y,
        marks,
    })
}

/// Lines of equal loss that end at the right edge, where their losses stand.
fn contours(predict: Predict<'_>, x: &Axis, y: &Axis) -> Vec<Mark> {
    let mut levels = BTreeSet::new();
    for at in 1..=CONTOURS {
        let share = f64::from(at) / f64::from(CONTOURS + 1);
        let tokens = y.from * (y.to / y.from).powf(share);
        let level = predict(x.to, tokens).map(|loss| format!("{loss:.2}"));
        levels.extend(level);
    }
    levels
        .into_iter()
        .filter_map(|level| {
            let loss: f64 = level.parse().ok()?;
            // Even steps along both axes: a contour is steep at one end and flat at the other.
            let mut points = curve(x.from, x.to, |params| {
                let loss_at = |tokens| predict(params, tokens);
                argument_of(&loss_at, loss, [y.from, y.to])
            });
            points.extend(
                curve(y.from, y.to, |tokens| {
                    let loss_at = |params| predict(params, tokens);
                    argument_of(&loss_at, loss, [x.from, x.to])
                })
                .into_iter()
                .map(|[tokens, params]| [params, tokens]),
            );
            points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(b[1].total_cmp(&a[1])));
            (points.len() > 1).then_some(Mark::Line {
                points,
                ink: Ink::Quiet,
                stroke: Stroke::Thin,
                hover: Some(format!("predicted loss {level}")),
                label: Some(level),
            })
        })
        .collect()
}

/// Where a falling function takes the value `loss`, by bisection in the logarithm; none outside the range.
fn argument_of(falling: &dyn Fn(f64) -> Option<f64>, loss: f64, [from, to]: [f64; 2]) -> Option<f64> {
    let (mut low, mut high) = (from.ln(), to.ln());
    if falling(from)? < loss || falling(to)? > loss {
        return None;
    }
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if falling(middle.exp())? > loss {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(f64::midpoint(low, high).exp())
}

/// 6ND.
fn compute(params: f64, tokens: f64) -> f64 {
    FLOPS_PER_PARAM_TOKEN * params * tokens
}

/// What the interval of the exponent leaves open: the best sizes at each compute, about that of the middle of the data.
fn open_split(drawn: &Drawable<'_>, x: &Axis, y: &Axis) -> Option<Mark> {
    let [low, high] = drawn.law.size_exponent?.ci95?;
    if high - low < FIXED {
        return None;
    }
    let data = positive_range(drawn.law.points.iter().map(|point| compute(point.params, point.tokens)))?;
    let middle = (data[0] * data[1]).sqrt();
    let (params, _) = best_params(drawn.predict, middle, [x.from / 100.0, x.to * 100.0])?;
    let (from, to) = (compute(x.from, y.from), compute(x.to, y.to));
    let at = |flops: f64, exponent: f64| {
        let params = params * (flops / middle).powf(exponent);
        [params, flops / (FLOPS_PER_PARAM_TOKEN * params)]
    };
    let steps = || (0..=CURVE_POINTS).map(|at| from * (to / from).powf(f64::from(at) / f64::from(CURVE_POINTS)));
    // The two edges cross in the middle: the smaller size first.
    let small = steps().map(|flops| at(flops, if flops < middle { high } else { low }));
    let large = steps().map(|flops| at(flops, if flops < middle { low } else { high }));
    let mut corners: Vec<[f64; 2]> = large.collect();
    corners.reverse();
    Some(Mark::Area {
        corners: small.chain(corners).collect(),
        ink: Ink::Plain,
        hover: Some(format!("N as C^{} to C^{}", number(low, 2), number(high, 2))),
    })
}

/// The best split of compute, as far as it lies inside the axes.
fn optimal_line(predict: Predict<'_>, x: &Axis, y: &Axis, is_crisp: bool) -> Option<Mark> {
    let (from, to) = (compute(x.from, y.from), compute(x.to, y.to));
    let points: Vec<[f64; 2]> = (0..=CURVE_POINTS)
        .map(|at| from * (to / from).powf(f64::from(at) / f64::from(CURVE_POINTS)))
        .filter_map(|flops| {
            let (params, _) = best_params(predict, flops, [x.from / 100.0, x.to * 100.0])?;
            Some([params, flops / (FLOPS_PER_PARAM_TOKEN * params)])
        })
        .filter(|at| (x.from..=x.to).contains(&at[0]) && (y.from..=y.to).contains(&at[1]))
        .collect();
    (points.len() > 1).then(|| Mark::Line {
        points,
        ink: Ink::Plain,
        stroke: if is_crisp { Stroke::Strong } else { Stroke::Beyond },
        label: Some("best split".to_owned()),
        hover: Some("compute-optimal parameters and tokens".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chinchilla as published (Hoffmann et al. 2022, approach 3).
    fn chinchilla(params: f64, tokens: f64) -> f64 {
        1.69 + 406.4 / params.powf(0.34) + 410.7 / tokens.powf(0.28)
    }

    #[test]
    fn tokens_of_a_loss_lead_back_to_the_loss() {
        let at_1b = |tokens| Some(chinchilla(1e9, tokens));
        let tokens = argument_of(&at_1b, 2.5, [1e8, 1e13]).expect("in range");
        let loss = chinchilla(1e9, tokens);
        assert!((loss - 2.5).abs() < 1e-6);
        assert_eq!(argument_of(&at_1b, 1.5, [1e8, 1e13]), None);
    }
}
