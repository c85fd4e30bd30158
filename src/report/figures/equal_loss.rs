//! How many tokens a loss takes at each batch size: the picture behind a batch law (Hu et al. 2024, section 3.2).
//!
//! Read off the smoothed training curves, one run a size and batch. Refuses to fit a law to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::TrialRow;
use crate::report::axes::{Roster, log_axis, omitted, positive_range};
use crate::report::curves::{BATCHES_MIN, best_by_batch};
use crate::report::study::{BatchMinimum, BatchRule, Study};
use crate::report::text;
use crate::report::view::{Content, FigureView, Ink, Mark, Numbers, Panel, Shape, Stroke};

/// The levels, as factors above the lowest loss that enough batch sizes reach.
const LEVELS: [f64; 5] = [1.0, 1.08, 1.18, 1.32, 1.5];

/// The run that stands for a batch size, with its curve.
struct Run<'a> {
    trial: &'a TrialRow,
    curve: Vec<[f64; 2]>,
}

/// Tokens to equal losses against batch size, a panel for each size.
pub(crate) fn equal_loss(study: &Study<'_>) -> FigureView {
    let runs = runs_by_size(study);
    let shown: BTreeSet<&str> = runs
        .values()
        .flat_map(|runs| runs.iter().map(|run| run.trial.trial.as_str()))
        .collect();
    let omitted = omitted(study.trials, &shown, "not the best of their size and batch");
    let sizes = Roster::of(study.trials);
    let panels: Vec<Panel> = runs
        .values()
        .filter_map(|runs| panel(runs, &sizes, study.batch))
        .collect();
    let (content, omitted) = if panels.is_empty() {
        let why = "No size has finished runs at three or more batch sizes.";
        (Content::Missing(why.to_owned()), Vec::new())
    } else {
        (Content::Panels(panels), omitted)
    };
    FigureView {
        name: "equal-loss",
        title: "Tokens to equal losses by batch size".to_owned(),
        caption: caption(study.batch),
        key: Vec::new(),
        content,
        omitted,
    }
}

fn caption(rule: Option<&BatchRule<'_>>) -> String {
    let mut caption = "Each line joins the tokens after which a smoothed training loss (nats per token, at the right \
        end) was reached, from the best run of each batch size; coloured diamonds mark the batch that took fewest \
        tokens."
        .to_owned();
    if let Some(rule) = rule {
        let [by_tokens, by_loss] = &rule.formulas;
        caption.push_str(&format!(
            " The uncoloured line is the law of the batch, {by_tokens}; by loss, {by_loss}. It rests on {}, whose own \
             minima are the uncoloured diamonds.",
            rule.read_from
        ));
    }
    caption
}

/// The same with their curves.
fn runs_by_size<'a>(study: &Study<'a>) -> BTreeMap<(u64, &'a str), Vec<Run<'a>>> {
    let mut runs: BTreeMap<(u64, &str), Vec<Run<'_>>> = BTreeMap::new();
    for (size, by_batch) in best_by_batch(study.trials) {
        let of_size: Vec<Run<'_>> = by_batch
            .into_values()
            .filter_map(|at| {
                let trial = &study.trials[at];
                let curve = study.curves.losses(&trial.trial)?;
                Some(Run { trial, curve })
            })
            .collect();
        if of_size.len() >= BATCHES_MIN {
            runs.insert(size, of_size);
        }
    }
    runs
}

fn panel(runs: &[Run<'_>], sizes: &Roster<'_>, rule: Option<&BatchRule<'_>>) -> Option<Panel> {
    let lowest = |run: &Run<'_>| run.curve.iter().map(|point| point[1]).fold(f64::INFINITY, f64::min);
    let mut ends: Vec<f64> = runs.iter().map(lowest).collect();
    ends.sort_by(f64::total_cmp);
    let floor = *ends.get(BATCHES_MIN - 1)?;
    let mut marks = Vec::new();
    for (rank, factor) in LEVELS.into_iter().rev().enumerate() {
        let ink = Ink::Size { rank, of: LEVELS.len() };
        marks.extend(level(runs, floor * factor, ink, sizes));
    }
    let tokens = positive_range(marks.iter().flat_map(|mark| match mark {
        Mark::Dot { at, .. } => vec![at[1]],
        Mark::Line { .. }
        | Mark::Span { .. }
        | Mark::Area { .. }
        | Mark::Field { .. }
        | Mark::Off { .. }
        | Mark::Level { .. } => Vec::new(),
    }))?;
    let batches = positive_range(runs.iter().map(|run| run.trial.batch_tokens as f64))?;
    let first = runs.first()?.trial;
    if let Some(rule) = rule {
        marks.extend(law_marks(rule, first.params_non_embedding as f64, tokens));
    }
    Some(Panel {
        title: text::size_label(&first.model, first.params_non_embedding),
        x: log_axis("batch (tokens)", Numbers::Counts, batches),
        y: log_axis("tokens to the loss", Numbers::Counts, tokens),
        marks,
    })
}

/// The law of the batch over the tokens of a panel, and the minima of this size that it rests on.
fn law_marks(rule: &BatchRule<'_>, params: f64, [low, high]: [f64; 2]) -> Vec<Mark> {
    let line = Mark::Line {
        points: [low, high].map(|tokens| [(rule.at)(tokens), tokens]).into(),
        ink: Ink::Plain,
        stroke: Stroke::Law,
        label: None,
        hover: Some(rule.formulas[0].clone()),
    };
    let is_here = |minimum: &&BatchMinimum| (minimum.params / params - 1.0).abs() < 0.02;
    let minima = rule.minima.iter().filter(is_here).map(|minimum| Mark::Dot {
        at: [minimum.batch_tokens, minimum.tokens],
        ink: Ink::Plain,
        shape: Shape::Diamond,
        hover: Some(format!(
            "loss {} takes fewest tokens, {}, with batches of {} tokens",
            text::loss(minimum.loss),
            text::count(minimum.tokens),
            text::count(minimum.batch_tokens)
        )),
    });
    [line].into_iter().chain(minima).collect()
}

/// The line of one loss with its dots; none if fewer than three batches reach it from above.
fn level(runs: &[Run<'_>], loss: f64, ink: Ink, sizes: &Roster<'_>) -> Vec<Mark> {
    let reached: Vec<([f64; 2], &TrialRow)> = runs
        .iter()
        .filter_map(|run| {
            let tokens = tokens_to(&run.curve, loss)?;
            Some(([run.trial.batch_tokens as f64, tokens], run.trial))
        })
        .collect();
    let fewest = reached.iter().map(|(at, _)| at[1]).min_by(f64::total_cmp);
    if reached.len() < BATCHES_MIN {
        return Vec::new();
    }
    let label = format!("{loss:.2}");
    let line = Mark::Line {
        points: reached.iter().map(|&(at, _)| at).collect(),
        ink,
        stroke: Stroke::Strong,
        hover: Some(format!("training loss {label}")),
        label: Some(label.clone()),
    };
    let dots = reached.iter().map(|&(at, trial)| Mark::Dot {
        at,
        ink,
        shape: if Some(at[1]) == fewest {
            Shape::Diamond
        } else {
            Shape::Disc
        },
        hover: Some(format!(
            "loss {label} after {} tokens\n{}",
            text::count(at[1]),
            sizes.hover(&trial.trial)
        )),
    });
    [line].into_iter().chain(dots).collect()
}

/// The tokens after which a curve is first at or below a loss, between its points in log tokens; none if it never
/// is, or is from its beginning.
fn tokens_to(curve: &[[f64; 2]], loss: f64) -> Option<f64> {
    let pair = curve.windows(2).find(|pair| pair[0][1] > loss && pair[1][1] <= loss)?;
    let ([from, above], [to, below]) = (pair[0], pair[1]);
    let share = (above - loss) / (above - below);
    Some(from * (to / from).powf(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_to_a_loss_lie_between_the_points_around_it() {
        let curve = [[10.0, 5.0], [100.0, 4.0], [1000.0, 3.0]];
        assert_eq!(tokens_to(&curve, 4.0), Some(100.0));
        let between = tokens_to(&curve, 3.5).expect("reached");
        assert!((between / 316.227_766 - 1.0).abs() < 1e-6, "{between}");
        assert_eq!(tokens_to(&curve, 2.0), None);
        assert_eq!(tokens_to(&curve, 6.0), None);
    }
}
