//! The figure of WSD against cosine, run by run over the learning rate.
//!
//! Refuses to choose the pairs.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::TrialRow;
use crate::report::axes::{
    Budgets, DOTS_MAX, Roster, evenly, linear_axis, mean_by_lr, omitted, positive_range, range, rate_axis,
};
use crate::report::study::Study;
use crate::report::text;
use crate::report::view::{Content, FigureView, Mark, Numbers, Panel, Shape, Stroke};
use crate::study::pairs::wsd_and_cosine;

/// The difference of final losses between WSD and cosine at equal size, budget, learning rate and seed.
pub(crate) fn wsd_vs_cosine(study: &Study<'_>) -> FigureView {
    let pairs = wsd_and_cosine(study.trials);
    let paired: BTreeSet<&str> = pairs
        .iter()
        .flat_map(|(wsd, cosine)| [wsd.trial.as_str(), cosine.trial.as_str()])
        .collect();
    let omitted = omitted(study.trials, &paired, "without a partner");
    let schedules: BTreeSet<&str> = study.trials.iter().map(|t| t.schedule.name()).collect();
    let content = if pairs.is_empty() {
        Content::Missing(
            if schedules.contains("wsd") && schedules.contains("cosine") {
                "No finished WSD run has a finished cosine run of the same size, tokens, learning rate and seed."
            } else {
                "The study does not hold both WSD and cosine runs."
            }
            .to_owned(),
        )
    } else {
        Content::Panels(panels_of_pairs(&pairs, &Roster::of(study.trials)))
    };
    FigureView {
        name: "wsd-vs-cosine",
        title: "WSD against cosine".to_owned(),
        caption: format!(
            "Final loss of WSD minus that of cosine, at equal size, tokens, learning rate and seed. Below the line \
             WSD is better.{}",
            if pairs.len() > DOTS_MAX {
                " Lines and means are of all pairs, dots an even choice."
            } else {
                ""
            }
        ),
        key: if pairs.is_empty() {
            Vec::new()
        } else {
            Roster::of(study.trials).key()
        },
        content,
        omitted,
    }
}

fn difference((wsd, cosine): &(&TrialRow, &TrialRow)) -> Option<f64> {
    Some(wsd.final_loss? - cosine.final_loss?)
}

fn panels_of_pairs(pairs: &[(&TrialRow, &TrialRow)], sizes: &Roster<'_>) -> Vec<Panel> {
    let budgets = Budgets::of(
        pairs
            .iter()
            .map(|(wsd, _)| (wsd.params_non_embedding, wsd.tokens_asked)),
    );
    let rates = positive_range(pairs.iter().map(|(wsd, _)| wsd.lr)).unwrap_or([1e-3, 1e-2]);
    let differences = range(pairs.iter().filter_map(difference).chain([0.0])).unwrap_or([-0.1, 0.1]);
    let mut lines: BTreeMap<(usize, u64, String), Vec<[f64; 2]>> = BTreeMap::new();
    let mut dots: Vec<Vec<Mark>> = vec![Vec::new(); budgets.len()];
    for pair in pairs {
        let (wsd, cosine) = pair;
        let (Some(at), Some(nats)) = (
            budgets.index(wsd.params_non_embedding, wsd.tokens_asked),
            difference(pair),
        ) else {
            continue;
        };
        let size = (at, wsd.params_non_embedding, wsd.model.clone());
        lines.entry(size).or_default().push([wsd.lr, nats]);
        dots[at].push(Mark::Dot {
            at: [wsd.lr, nats],
            ink: sizes.ink(wsd),
            shape: Shape::Disc,
            hover: Some(format!("{} against {}\n{nats:+.3} nats", wsd.slug, cosine.slug)),
        });
    }
    let mut panels: Vec<Panel> = (0..budgets.len())
        .map(|at| Panel {
            title: budgets.title(at) + &mean_of(&dots[at]),
            x: rate_axis(rates),
            y: linear_axis("WSD minus cosine (nats per token)", Numbers::Signed, differences),
            marks: vec![Mark::Level { y: 0.0 }],
        })
        .collect();
    for ((at, params, model), points) in lines {
        panels[at].marks.push(Mark::Line {
            points: mean_by_lr(points),
            ink: sizes.ink_of(params, &model),
            stroke: Stroke::Thin,
            label: Some(text::size_label(&model, params)),
            hover: None,
        });
    }
    for (panel, dots) in panels.iter_mut().zip(dots) {
        panel.marks.extend(evenly(dots.into_iter()));
    }
    panels
}

/// `: mean -0.008`, of the heights of dots.
fn mean_of(dots: &[Mark]) -> String {
    let heights: Vec<f64> = dots
        .iter()
        .filter_map(|mark| match mark {
            Mark::Dot { at, .. } => Some(at[1]),
            Mark::Line { .. } | Mark::Span { .. } | Mark::Off { .. } | Mark::Level { .. } => None,
        })
        .collect();
    let mean = heights.iter().sum::<f64>() / heights.len() as f64;
    format!(": mean {mean:+.3}").replace('-', "\u{2212}")
}
