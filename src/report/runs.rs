//! Figures of single runs: training curves, and the schedules they followed.
//!
//! Refuses to know laws and best learning rates.

use std::collections::BTreeSet;

use crate::record::{TrialRow, TrialState};
use crate::report::Study;
use crate::report::axes::{Sizes, group, linear_axis, log_axis, loss_axis, positive_range, range};
use crate::report::curves::{CURVES_MAX, best_by_size, schedule_name, schedule_trials};
use crate::report::text;
use crate::report::view::{Axis, Beyond, Content, FigureView, Ink, Mark, Numbers, Panel, Scale, Shape, Stroke};

/// How training curves are thinned, in words.
pub(crate) const THINNING: &str = "Each curve is the mean of the training losses that fall into one of up to 160 \
    buckets of equal width in log tokens (fewer when there are many curves). Above 400 curves an even choice is \
    drawn in the order of final loss within each size, and always the best of each size. \
    sandbox export writes every recorded point.";

/// Training loss by tokens; and how many points it shows.
pub(crate) fn loss_curves(study: &Study<'_>) -> (FigureView, u64) {
    let sizes = Sizes::of(study.trials);
    let best: BTreeSet<usize> = best_by_size(study.trials).into_iter().collect();
    let mut thin = Vec::new();
    let mut strong = Vec::new();
    let mut ends = Vec::new();
    let mut best_ends = Vec::new();
    let mut off = Vec::new();
    let mut omitted = Vec::new();
    let mut shown = 0;
    for (at, trial) in study.trials.iter().enumerate() {
        match curve_of(study, trial) {
            Ok(points) => {
                shown += points.len() as u64;
                let marked = best.contains(&at);
                let end = end_of(trial, marked, &sizes);
                if marked { &mut best_ends } else { &mut ends }.extend(end);
                off.extend(divergence_of(trial, &sizes));
                let line = line_of(trial, points, marked, &sizes);
                if marked { &mut strong } else { &mut thin }.push(line);
            }
            Err(reason) => omitted.push(reason),
        }
    }
    // Strong dots last, above the others.
    ends.append(&mut best_ends);
    let shown = shown + ends.len() as u64;
    let content = panel_of_curves(thin, strong, ends, off);
    let figure = FigureView {
        name: "loss-curves",
        title: "Training loss by tokens".to_owned(),
        caption: "One thin line a run; strong, the best run of each size at its largest budget. Dots are losses \
            on the held-out set at the end of a finished schedule; crosses above mark where a loss was no longer \
            finite."
            .to_owned(),
        key: Vec::new(),
        content,
        omitted: group(omitted),
    };
    (figure, shown)
}

/// The curve of a trial, or why it is not drawn.
fn curve_of(study: &Study<'_>, trial: &TrialRow) -> Result<Vec<[f64; 2]>, String> {
    let drawable = matches!(trial.state, TrialState::Complete | TrialState::Diverged);
    match study.curves.losses(&trial.trial) {
        Some(points) if drawable => Ok(points),
        None if drawable && study.trials.len() > CURVES_MAX => Err("thinned out".to_owned()),
        None if drawable => Err("without recorded points".to_owned()),
        Some(_) | None => Err(text::why_left_out(trial).unwrap_or_else(|| "without recorded points".to_owned())),
    }
}

fn line_of(trial: &TrialRow, points: Vec<[f64; 2]>, marked: bool, sizes: &Sizes<'_>) -> Mark {
    Mark::Line {
        points,
        ink: sizes.ink(trial),
        stroke: if marked { Stroke::Strong } else { Stroke::Thin },
        label: marked.then(|| text::size_label(&trial.model, trial.params_non_embedding)),
        hover: Some(text::trial_hover(trial)),
    }
}

fn end_of(trial: &TrialRow, marked: bool, sizes: &Sizes<'_>) -> Option<Mark> {
    Some(Mark::Dot {
        at: [trial.tokens as f64, trial.final_loss?],
        ink: sizes.ink(trial),
        shape: if marked { Shape::Disc } else { Shape::Ring },
        hover: Some(text::trial_hover(trial)),
    })
}

fn divergence_of(trial: &TrialRow, sizes: &Sizes<'_>) -> Option<Mark> {
    Some(Mark::Off {
        x: trial.diverged_at_tokens.filter(|&tokens| tokens > 0)? as f64,
        why: Beyond::Diverged,
        ink: sizes.ink(trial),
        hover: Some(text::trial_hover(trial)),
    })
}

/// The top of the axis leaves room for the beginning of the marked runs; whatever spikes above it is cut.
fn panel_of_curves(thin: Vec<Mark>, strong: Vec<Mark>, ends: Vec<Mark>, off: Vec<Mark>) -> Content {
    let of = |marks: &[Mark], axis: usize| {
        range(marks.iter().flat_map(|mark| match mark {
            Mark::Line { points, .. } => points.iter().map(|point| point[axis]).collect(),
            Mark::Dot { at, .. } => vec![at[axis]],
            Mark::Span { .. } | Mark::Off { .. } | Mark::Level { .. } => Vec::new(),
        }))
    };
    let speaking = if strong.is_empty() { &thin } else { &strong };
    let (Some(top), Some(all)) = (of(speaking, 1), of(&thin, 1).or(of(&strong, 1))) else {
        return Content::Missing("No finished or diverged run with recorded points to draw.".to_owned());
    };
    let lowest = [Some(top), Some(all), of(&ends, 1)]
        .into_iter()
        .flatten()
        .map(|values| values[0])
        .fold(f64::INFINITY, f64::min);
    let tokens = positive_range(
        [of(&thin, 0), of(&strong, 0), of(&ends, 0)]
            .into_iter()
            .flatten()
            .flatten(),
    )
    .unwrap_or([1.0, 10.0]);
    let panel = Panel {
        title: String::new(),
        x: log_axis("tokens", Numbers::Counts, tokens),
        y: loss_axis("training loss (nats per token)", [lowest, top[1]]),
        marks: [thin, strong, ends, off].concat(),
    };
    Content::Panels(vec![panel])
}

/// Learning rate by tokens, one line a form of schedule.
pub(crate) fn schedules(study: &Study<'_>) -> FigureView {
    let mut marks = Vec::new();
    let mut shown = 0;
    for at in schedule_trials(study.trials) {
        let trial = &study.trials[at];
        let Some(rates) = study.curves.rates(&trial.trial) else {
            continue;
        };
        marks.push(Mark::Line {
            points: rates
                .into_iter()
                .map(|[tokens, rate]| [tokens / trial.tokens.max(1) as f64, rate / trial.lr])
                .collect(),
            ink: Ink::Kind(shown),
            stroke: Stroke::Strong,
            label: Some(schedule_name(trial)),
            hover: Some(text::trial_hover(trial)),
        });
        shown += 1;
    }
    let content = if marks.is_empty() {
        Content::Missing("No finished run has recorded its learning rate.".to_owned())
    } else {
        Content::Panels(vec![Panel {
            title: String::new(),
            x: share_axis("share of the run"),
            y: linear_axis("learning rate (share of its peak)", Numbers::Percent, [0.0, 1.0]),
            marks,
        }])
    };
    FigureView {
        name: "schedules",
        title: "Learning-rate schedules".to_owned(),
        caption: "The rates that were applied, as recorded by the longest run of each form.".to_owned(),
        key: Vec::new(),
        content,
        omitted: Vec::new(),
    }
}

fn share_axis(label: &str) -> Axis {
    Axis {
        label: label.to_owned(),
        scale: Scale::Linear,
        numbers: Numbers::Percent,
        from: 0.0,
        to: 1.0,
    }
}
