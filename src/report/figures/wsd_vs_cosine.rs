//! The figure of WSD against cosine, run by run over the learning rate.
//!
//! Refuses to choose the pairs.

use std::collections::{BTreeMap, BTreeSet};

use crate::fit::numeric::statistics::t_975;
use crate::record::TrialRow;
use crate::report::axes::{
    Budgets, DOTS_MAX, Roster, evenly, linear_axis, log_axis, mean_by_lr, omitted, positive_range, range, rate_axis,
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
        let sizes = Roster::of(study.trials);
        Content::Panels(match one_rate(&pairs) {
            Some(_) => vec![panel_by_tokens(&pairs, &sizes)],
            None => panels_of_pairs(&pairs, &sizes),
        })
    };
    FigureView {
        name: "wsd-vs-cosine",
        title: "WSD against cosine".to_owned(),
        caption: format!(
            "Final loss of WSD minus that of cosine, at equal size, tokens, learning rate and seed. Below the line \
             WSD is better. Headings give the mean with its 95 % interval over the pairs.{}{}",
            match one_rate(&pairs) {
                Some(rate) => format!(" All pairs have a learning rate of {}.", text::number(rate, 3)),
                None => String::new(),
            },
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

/// The learning rate of all pairs; none where there are several.
fn one_rate(pairs: &[(&TrialRow, &TrialRow)]) -> Option<f64> {
    let rates: BTreeSet<u64> = pairs.iter().map(|(wsd, _)| wsd.lr.to_bits()).collect();
    (rates.len() == 1).then(|| pairs[0].0.lr)
}

/// With one learning rate there is nothing to see along it: every pair by tokens, seeds joined by a bar.
fn panel_by_tokens(pairs: &[(&TrialRow, &TrialRow)], sizes: &Roster<'_>) -> Panel {
    let tokens = positive_range(pairs.iter().map(|(wsd, _)| wsd.tokens as f64)).unwrap_or([1.0, 10.0]);
    let differences = range(pairs.iter().filter_map(difference).chain([0.0])).unwrap_or([-0.1, 0.1]);
    let mut bars: BTreeMap<(u64, &str, u64), Vec<f64>> = BTreeMap::new();
    let mut dots = Vec::new();
    for pair in pairs {
        let (wsd, _) = pair;
        let Some(nats) = difference(pair) else { continue };
        let place = (wsd.params_non_embedding, wsd.model.as_str(), wsd.tokens);
        bars.entry(place).or_default().push(nats);
        dots.push(dot(pair, [wsd.tokens as f64, nats], sizes));
    }
    let title = format!("All pairs{}", mean_of(&dots));
    let bars = bars.into_iter().filter_map(|((params, model, tokens), nats)| {
        let [low, high] = range(nats)?;
        Some(Mark::Span {
            from: [tokens as f64, low],
            to: [tokens as f64, high],
            ink: sizes.ink_of(params, model),
            hover: None,
        })
    });
    Panel {
        title,
        x: log_axis("tokens", Numbers::Counts, tokens),
        y: linear_axis("WSD minus cosine (nats per token)", Numbers::Signed, differences),
        marks: [Mark::Level { y: 0.0 }]
            .into_iter()
            .chain(bars)
            .chain(evenly(dots.into_iter()))
            .collect(),
    }
}

/// A pair as a dot.
fn dot((wsd, cosine): &(&TrialRow, &TrialRow), at: [f64; 2], sizes: &Roster<'_>) -> Mark {
    Mark::Dot {
        at,
        ink: sizes.ink(wsd),
        shape: Shape::Disc,
        hover: Some(format!("{} against {}\n{:+.3} nats", wsd.slug, cosine.slug, at[1])),
    }
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
        let (wsd, _) = pair;
        let (Some(at), Some(nats)) = (
            budgets.index(wsd.params_non_embedding, wsd.tokens_asked),
            difference(pair),
        ) else {
            continue;
        };
        let size = (at, wsd.params_non_embedding, wsd.model.clone());
        lines.entry(size).or_default().push([wsd.lr, nats]);
        dots[at].push(dot(pair, [wsd.lr, nats], sizes));
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

/// `: mean -0.008 \u{b1} 0.003`, of the heights of dots; the interval is Student's, where there are two pairs or more.
fn mean_of(dots: &[Mark]) -> String {
    let heights: Vec<f64> = dots.iter().flat_map(|mark| mark.along(1)).collect();
    let count = heights.len() as f64;
    let mean = heights.iter().sum::<f64>() / count;
    let squares: f64 = heights.iter().map(|height| (height - mean).powi(2)).sum();
    let half = (heights.len() > 1)
        .then(|| t_975(count - 1.0) * (squares / (count - 1.0) / count).sqrt())
        .map_or_else(String::new, |half| format!(" \u{b1} {half:.3}"));
    format!(": mean {mean:+.3}{half}").replace('-', "\u{2212}")
}
