//! The figure of schedules: the learning rates that were applied.
//!
//! Refuses to know laws and losses.

use crate::report::axes::linear_axis;
use crate::report::curves::{schedule_name, schedule_trials};
use crate::report::study::Study;
use crate::report::text;
use crate::report::view::{Axis, Content, FigureView, Ink, Mark, Numbers, Panel, Scale, Stroke};

/// Learning rate by tokens, one line a form of schedule.
pub(crate) fn schedules(study: &Study<'_>) -> FigureView {
    let mut marks = Vec::new();
    let mut shown = 0;
    let (chosen, forms) = schedule_trials(study.trials);
    let left = forms - chosen.len();
    for at in chosen {
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
        caption: format!(
            "The rates that were applied, as recorded by the longest run of each form.{}",
            if left > 0 {
                format!(" Of {forms} forms an even choice; {left} are not drawn.")
            } else {
                String::new()
            }
        ),
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
