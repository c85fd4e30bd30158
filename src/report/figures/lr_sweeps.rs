//! The figure of final loss over the learning rate, one curve a size and budget.
//!
//! Refuses to estimate a best learning rate: it shows the ones it is given.

use std::collections::{BTreeMap, BTreeSet};

use crate::fit::rate::lr_parabola::LrGroup;
use crate::record::TrialRow;
use crate::report::axes::{
    Budgets, DOTS_MAX, Roster, evenly, linear_axis, mean_by_lr, omitted, positive_range, range, rate_axis,
};
use crate::report::figures::best_lr;
use crate::report::study::{BestLr, LrBowl, LrPoint, Study};
use crate::report::text;
use crate::report::view::{Beyond, Content, FigureView, Ink, Mark, Numbers, Panel, Shape, Stroke};
use crate::study::select;

/// How far the axis of losses reaches above the worst of the best losses: in spans of the best losses, and at least
/// so many nats. A run beyond is marked above the panel.
const REACH: (f64, f64) = (0.5, 0.35);

/// Final loss against learning rate, a panel for each token budget.
pub(crate) fn lr_sweeps(study: &Study<'_>) -> FigureView {
    let read_off;
    let bowls = if study.bowls.is_empty() {
        read_off = bowls_of(&select::of_most_frequent_kind(study.trials), &[]);
        &read_off
    } else {
        study.bowls
    };
    let sizes = Roster::of(study.trials);
    let budgets = Budgets::of(bowls.iter().map(|bowl| (bowl.params, bowl.tokens)));
    let mut panels: Vec<(Vec<Mark>, BTreeSet<String>)> = vec![Default::default(); budgets.len()];
    let rates = positive_range(bowls.iter().flat_map(|bowl| bowl.points.iter().map(|p| p.lr)));
    let top = top_of(bowls);
    let runs: usize = bowls.iter().map(|bowl| bowl.points.len()).sum();
    let is_dense = runs > DOTS_MAX;
    for bowl in bowls {
        if let Some(at) = budgets.index(bowl.params, bowl.tokens) {
            panels[at].0.extend(marks_of(bowl, &sizes, top, is_dense));
            let names = bowl.points.iter().map(|point| point.trial.clone());
            panels[at].1.extend(names);
        }
    }
    let shown: BTreeSet<&str> = panels.iter().flat_map(|(_, names)| names).map(String::as_str).collect();
    let omitted = omitted(study.trials, &shown, "of another schedule or other settings");
    let laws: Vec<Option<Mark>> = (0..budgets.len())
        .map(|at| best_lr::along(study.rates, bowls, at, &budgets))
        .collect();
    let has_law = laws.iter().any(Option::is_some);
    let content = match (rates, loss_range(bowls, top)) {
        (Some(rates), Some(losses)) if rates[1] > rates[0] => Content::Panels(
            panels
                .into_iter()
                .zip(laws)
                .enumerate()
                .map(|(at, ((marks, _), law))| Panel {
                    marks: law.into_iter().chain(marks).collect(),
                    title: budgets.title(at),
                    x: rate_axis(rates),
                    y: linear_axis("final loss (nats per token)", Numbers::Plain, losses),
                })
                .collect(),
        ),
        (_, None) => Content::Missing("No run has finished its schedule.".to_owned()),
        (_, Some(_)) => Content::Missing("All runs share one learning rate: a bowl needs at least two.".to_owned()),
    };
    FigureView {
        name: "lr-bowls",
        title: "Final loss against learning rate".to_owned(),
        caption: caption(bowls, has_law, is_dense.then_some(runs)),
        key: Vec::new(),
        content,
        omitted,
    }
}

/// How to read the bowls; `thinned` is the number of runs of which not every one has a dot.
fn caption(bowls: &[LrBowl], has_law: bool, thinned: Option<usize>) -> String {
    let mut caption = format!(
        "Loss on the held-out set at the end of the schedule, one line a size. Diamonds are the best learning rates \
         {}, where they are bracketed. Above the panels: crosses are runs that diverged, triangles are finite losses \
         above the axis.",
        best_lr::intervals(bowls.iter().filter_map(|bowl| bowl.best.as_ref()))
    );
    if has_law {
        caption.push_str(" The uncoloured line joins where the law of the learning rate puts the best rates.");
    }
    if let Some(runs) = thinned {
        caption.push_str(&format!(
            " Lines go through the means of all {runs} runs; of those at one size and rate only the lowest, the \
             middle and the highest loss have a mark."
        ));
    }
    caption
}

/// The runs of a bowl that have a mark: where there are many, three at each learning rate.
fn marked(points: &[LrPoint], is_dense: bool) -> Vec<&LrPoint> {
    let mut ordered: Vec<&LrPoint> = points.iter().collect();
    if !is_dense {
        return ordered;
    }
    let loss = |point: &LrPoint| point.loss.unwrap_or(f64::INFINITY);
    ordered.sort_by(|a, b| {
        let by_rate = a.lr.total_cmp(&b.lr).then(loss(a).total_cmp(&loss(b)));
        by_rate.then(a.trial.cmp(&b.trial))
    });
    let three = ordered.chunk_by(|a, b| a.lr.total_cmp(&b.lr).is_eq()).flat_map(|runs| {
        let last = runs.len() - 1;
        let places = BTreeSet::from([0, last / 2, last]);
        places.into_iter().map(|at| runs[at])
    });
    evenly(three.collect::<Vec<_>>().into_iter())
}

/// The highest loss that is drawn at its height.
fn top_of(bowls: &[LrBowl]) -> f64 {
    let best = range(
        bowls
            .iter()
            .filter_map(|bowl| range(bowl.points.iter().filter_map(|point| point.loss)).map(|losses| losses[0])),
    );
    let [low, high] = best.unwrap_or([0.0, 0.0]);
    high + ((high - low) * REACH.0).max(REACH.1)
}

fn loss_range(bowls: &[LrBowl], top: f64) -> Option<[f64; 2]> {
    range(
        bowls
            .iter()
            .flat_map(|bowl| bowl.points.iter().filter_map(|point| point.loss))
            .filter(|&loss| loss <= top),
    )
}

fn marks_of(bowl: &LrBowl, sizes: &Roster<'_>, top: f64, is_dense: bool) -> Vec<Mark> {
    let ink = sizes.ink_of(bowl.params, &bowl.model);
    let mut marks = Vec::new();
    let label = text::size_label(&bowl.model, bowl.params);
    let line = mean_by_lr(
        bowl.points
            .iter()
            .filter_map(|point| Some([point.lr, point.loss?]))
            .collect(),
    );
    let drawn: Vec<[f64; 2]> = line.iter().copied().filter(|p| p[1] <= top).collect();
    if !drawn.is_empty() {
        marks.push(Mark::Line {
            points: line,
            ink,
            stroke: Stroke::Strong,
            label: Some(label.clone()),
            hover: Some(format!("{label}, {} tokens", text::count(bowl.tokens as f64))),
        });
    }
    for point in marked(&bowl.points, is_dense) {
        marks.push(match point.loss {
            Some(loss) if loss <= top => Mark::Dot {
                at: [point.lr, loss],
                ink,
                shape: Shape::Disc,
                hover: Some(sizes.hover(&point.trial)),
            },
            Some(_) => Mark::Off {
                x: point.lr,
                why: Beyond::Above,
                ink,
                hover: Some(sizes.hover(&point.trial)),
            },
            None => Mark::Off {
                x: point.lr,
                why: Beyond::Diverged,
                ink,
                hover: Some(sizes.hover(&point.trial)),
            },
        });
    }
    marks.extend(bowl.best.iter().flat_map(|best| marks_of_best(best, &label, ink)));
    marks
}

/// A best learning rate as a diamond on its interval.
fn marks_of_best(best: &BestLr, label: &str, ink: Ink) -> Vec<Mark> {
    let name = format!("best learning rate of {label}: {}", text::number(best.lr, 3));
    let hover = best.ci95.map_or(name.clone(), |[low, high]| {
        let (low, high) = (text::number(low, 3), text::number(high, 3));
        format!("{name} (95 % interval {low} to {high})")
    });
    let diamond = Mark::Dot {
        at: [best.lr, best.loss],
        ink,
        shape: Shape::Diamond,
        hover: Some(hover.clone()),
    };
    let interval = best.ci95.map(|[low, high]| Mark::Span {
        from: [low, best.loss],
        to: [high, best.loss],
        ink,
        hover: Some(hover),
    });
    interval.into_iter().chain([diamond]).collect()
}

/// The trials at each size and budget over the learning rate, with the best rates of a law's groups.
pub fn bowls_of(trials: &[&TrialRow], groups: &[LrGroup]) -> Vec<LrBowl> {
    let mut places: BTreeMap<(u64, &str, u64), Vec<&TrialRow>> = BTreeMap::new();
    for &trial in trials {
        let place = (trial.params_non_embedding, trial.model.as_str(), trial.tokens_asked);
        places.entry(place).or_default().push(trial);
    }
    let bowl = |((params, model, tokens), runs): ((u64, &str, u64), Vec<&TrialRow>)| {
        let is_of = |group: &&LrGroup| {
            let is_run = |run: &&TrialRow| (run.tokens as f64).total_cmp(&group.tokens).is_eq();
            group.model == model && group.params.total_cmp(&(params as f64)).is_eq() && runs.iter().any(is_run)
        };
        let best_of = |group: &LrGroup| Some((group.best?, group.loss?, group.ci95));
        let best = groups.iter().find(is_of).and_then(best_of);
        LrBowl {
            model: model.to_owned(),
            params,
            tokens,
            best: best.map(|(lr, loss, ci95)| BestLr { lr, ci95, loss }),
            points: runs
                .iter()
                .map(|run| LrPoint {
                    trial: run.trial.clone(),
                    lr: run.lr,
                    loss: run.final_loss,
                })
                .collect(),
        }
    };
    places.into_iter().map(bowl).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_runs_at_one_rate_three_have_a_mark() {
        let points: Vec<LrPoint> = (0..9)
            .map(|seed| LrPoint {
                trial: format!("t{seed}"),
                lr: 0.01,
                loss: (seed != 4).then(|| 3.0 + f64::from(seed)),
            })
            .collect();
        let losses = |is_dense| -> Vec<Option<f64>> { marked(&points, is_dense).iter().map(|p| p.loss).collect() };
        assert_eq!(losses(true), [Some(3.0), Some(8.0), None]);
        assert_eq!(losses(false).len(), 9);
    }

    #[test]
    fn a_diverged_run_stands_above_the_panel_and_is_no_number() {
        let point = |lr, loss| LrPoint {
            trial: "t".to_owned(),
            lr,
            loss,
        };
        let bowl = LrBowl {
            model: "9M".to_owned(),
            params: 9,
            tokens: 1,
            points: vec![point(0.01, Some(4.0)), point(0.1, None), point(0.03, Some(9.0))],
            best: None,
        };
        let top = top_of(std::slice::from_ref(&bowl));
        let marks = marks_of(&bowl, &Roster::of(&[]), top, false);
        let off: Vec<(f64, Beyond)> = marks
            .iter()
            .filter_map(|mark| match mark {
                Mark::Off { x, why, .. } => Some((*x, *why)),
                Mark::Line { .. } | Mark::Dot { .. } | Mark::Span { .. } | Mark::Level { .. } => None,
            })
            .collect();
        assert_eq!(off, [(0.1, Beyond::Diverged), (0.03, Beyond::Above)]);
    }
}
