//! The figure of the hold-out: runs that the law had not seen, against what it said of them.
//!
//! Refuses to know how they were held out.

use crate::report::axes::{Roster, evenly, log_axis, loss_axis, positive_range, range};
use crate::report::figures::compute::FLOPS_PER_PARAM_TOKEN;
use crate::report::figures::law_marks::{drawable, no_law};
use crate::report::law_view::HeldOut;
use crate::report::study::Study;
use crate::report::text;
use crate::report::view::{Content, FigureView, Ink, Mark, Numbers, Omitted, Panel, Shape};

/// So many runs are told one by one.
const FEW: usize = 4;

/// Measured losses of the runs held out, in the intervals that a second fit gave them.
pub(crate) fn hold_out(study: &Study<'_>) -> FigureView {
    let (mut caption, mut content) = (String::new(), Content::Missing(no_law(study)));
    let mut omitted = Vec::new();
    if let Some(drawn) = drawable(study) {
        let held = drawn.law.held;
        content = match panel(held, &Roster::of_study(study)) {
            Some(panel) => Content::Panels(vec![panel]),
            None => Content::Missing("No run was held out.".to_owned()),
        };
        let trials = held.len() - evenly(held.iter()).len();
        if trials > 0 {
            let reason = "thinned out evenly".to_owned();
            omitted.push(Omitted { trials, reason });
        }
        caption = format!(
            "A second fit that had not seen these {} predicted them. Rings are the measured losses, diamonds the \
             predictions, lines the 95 % interval of a new run{}.",
            text::plural(held.len(), "run"),
            inside(held).map_or_else(String::new, |inside| format!(
                "; {inside} of {} rings lie inside",
                held.len()
            ))
        ) + &errors(held);
    }
    FigureView {
        name: "hold-out",
        title: "What the law said of runs it had not seen".to_owned(),
        caption,
        key: key(study),
        content,
        omitted,
    }
}

/// What came out less what was predicted: of each run where they are few, and on average.
fn errors(held: &[HeldOut]) -> String {
    let each: Vec<f64> = held
        .iter()
        .map(|run| 100.0 * (run.loss / run.predicted - 1.0))
        .collect();
    if each.is_empty() || each.iter().any(|error| !error.is_finite()) {
        return String::new();
    }
    let mean = |errors: &mut dyn Iterator<Item = f64>| errors.sum::<f64>() / held.len() as f64;
    let bias = mean(&mut each.iter().copied());
    let size = mean(&mut each.iter().map(|error| error.abs()));
    let single = if each.len() <= FEW {
        let words: Vec<String> = each.iter().map(|error| format!("{error:+.2}")).collect();
        format!(" ({} %)", words.join(", "))
    } else {
        String::new()
    };
    let direction = if bias > 0.0 { "too low" } else { "too high" };
    format!(
        " Measured less predicted is {bias:+.2} % of the loss on average{single}, which is the bias: predictions are \
         {direction}. The error is {size:.2} % on average, whatever its sign."
    )
    .replace('-', "\u{2212}")
}

/// The sizes that were held out, where they are several.
fn key(study: &Study<'_>) -> Vec<(Ink, String)> {
    let sizes = Roster::of_study(study);
    let held: Vec<Ink> = drawable(study).map_or_else(Vec::new, |drawn| {
        drawn.law.held.iter().map(|run| sizes.ink_named(&run.model)).collect()
    });
    let key = sizes.key().into_iter().filter(|(ink, _)| held.contains(ink));
    key.collect()
}

/// How many measurements lie in their intervals; none where there are no intervals.
fn inside(held: &[HeldOut]) -> Option<usize> {
    let inside = |run: &HeldOut| run.ci95.map(|[low, high]| low <= run.loss && run.loss <= high);
    let known: Option<Vec<bool>> = held.iter().map(inside).collect();
    Some(known?.into_iter().filter(|inside| *inside).count())
}

fn panel(held: &[HeldOut], sizes: &Roster<'_>) -> Option<Panel> {
    let compute = |run: &HeldOut| FLOPS_PER_PARAM_TOKEN * run.params * run.tokens;
    let ends = held.iter().flat_map(|run| run.ci95.into_iter().flatten());
    let values = held.iter().flat_map(|run| [run.loss, run.predicted]);
    let losses = range(values.chain(ends))?;
    let [low, high] = positive_range(held.iter().map(compute))?;
    let mut marks = Vec::new();
    for run in evenly(held.iter()) {
        let x = compute(run);
        let ink = sizes.ink_named(&run.model);
        let hover = format!(
            "{}\n{} parameters, {} tokens\nmeasured {}, predicted {} ({:+.2} %)",
            run.trial,
            text::count(run.params),
            text::count(run.tokens),
            text::loss(run.loss),
            text::loss(run.predicted),
            100.0 * (run.loss / run.predicted - 1.0),
        );
        marks.extend(run.ci95.map(|[from, to]| Mark::Span {
            from: [x, from],
            to: [x, to],
            ink,
            hover: Some(hover.clone()),
        }));
        for (y, shape) in [(run.predicted, Shape::Diamond), (run.loss, Shape::Ring)] {
            marks.push(Mark::Dot {
                at: [x, y],
                ink,
                shape,
                hover: Some(hover.clone()),
            });
        }
    }
    Some(Panel {
        title: String::new(),
        x: log_axis("compute 6ND (FLOP)", Numbers::Plain, [low / 1.1, high * 1.1]),
        y: loss_axis("loss (nats per token)", losses),
        marks,
    })
}
