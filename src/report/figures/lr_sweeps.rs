//! The figure of final loss over the learning rate, a panel for each budget and batch.
//!
//! Refuses to estimate a best learning rate: it shows the ones it is given.

use std::collections::{BTreeMap, BTreeSet};

use crate::fit::rate::lr_parabola::LrGroup;
use crate::record::{TrialRow, TrialState};
use crate::report::axes::{Budgets, Roster, linear_axis, omitted, positive_range, range, rate_axis};
use crate::report::figures::best_lr;
use crate::report::figures::law_marks::curve;
use crate::report::study::{BestLr, LrBowl, LrPoint, Study};
use crate::report::text;
use crate::report::view::{Beyond, Content, FigureView, Ink, Mark, Numbers, Panel, Shape, Stroke};
use crate::setup::Factor::{Batch, Budget, LearningRate, Seed, Size};
use crate::setup::Setup;
use crate::study::select;

/// How far the axis of losses reaches above the worst of the best losses: in spans of the best losses, and at least
/// so many nats. A run beyond is marked above the panel.
const REACH: (f64, f64) = (0.5, 0.35);

/// How far to both sides of its minimum a parabola is drawn, as a factor: where it is fitted.
const WINDOW: f64 = 4.1;
/// Most panels of the figure.
const PANELS_MAX: usize = 12;

/// One panel: the bowls of a budget and a batch.
#[derive(Default)]
struct Group<'a> {
    bowls: Vec<&'a LrBowl>,
    /// Whether a law of the learning rate rests on it.
    is_fitted: bool,
}

/// Final loss against learning rate, a panel for each token budget and batch.
pub(crate) fn lr_sweeps(study: &Study<'_>) -> FigureView {
    let read_off = if study.bowls.is_empty() {
        bowls_of(&select::of_most_frequent_kind(study.trials), &[])
    } else {
        Vec::new()
    };
    let fitted = if study.bowls.is_empty() {
        &read_off[..]
    } else {
        study.bowls
    };
    let others = other_batches(study.trials, fitted);
    let sizes = Roster::of(study.trials);
    let bowls = || fitted.iter().chain(&others);
    let budgets = Budgets::of(bowls().map(|bowl| (bowl.params, bowl.tokens)));
    let mut groups: BTreeMap<(usize, u64), Group<'_>> = BTreeMap::new();
    for (bowl, is_fitted) in fitted
        .iter()
        .map(|it| (it, true))
        .chain(others.iter().map(|it| (it, false)))
    {
        if let Some(at) = budgets.index(bowl.params, bowl.tokens) {
            let group = groups.entry((at, bowl.batch_tokens)).or_default();
            group.bowls.push(bowl);
            group.is_fitted |= is_fitted;
        }
    }
    while groups.len() > PANELS_MAX {
        groups.pop_first();
    }
    let shown: BTreeSet<&str> = groups
        .values()
        .flat_map(|group| group.bowls.iter().flat_map(|bowl| bowl.points.iter()))
        .map(|point| point.trial.as_str())
        .collect();
    let omitted = omitted(study.trials, &shown, "of another schedule or other settings");
    let rates = positive_range(bowls().flat_map(|bowl| bowl.points.iter().map(|p| p.lr)));
    let all: Vec<&LrBowl> = bowls().collect();
    let top = top_of(&all);
    let (content, has_law) = match (rates, loss_range(&all, top)) {
        (Some(rates), Some(losses)) if rates[1] > rates[0] => {
            panels(study, &groups, &budgets, [rates, [losses[0], top.min(losses[1])]])
        }
        (_, None) => (Content::Missing("No run has finished its schedule.".to_owned()), false),
        (_, Some(_)) => {
            let why = "All runs share one learning rate: a bowl needs at least two.";
            (Content::Missing(why.to_owned()), false)
        }
    };
    let key = if matches!(content, Content::Panels(_)) {
        sizes.key()
    } else {
        Vec::new()
    };
    FigureView {
        name: "lr-bowls",
        title: "Final loss against learning rate".to_owned(),
        caption: caption(fitted, has_law, groups.values().any(|group| !group.is_fitted)),
        key,
        content,
        omitted,
    }
}

/// The panels, and whether the law of the learning rate is drawn in one.
fn panels(
    study: &Study<'_>,
    groups: &BTreeMap<(usize, u64), Group<'_>>,
    budgets: &Budgets,
    [rates, losses]: [[f64; 2]; 2],
) -> (Content, bool) {
    let sizes = Roster::of(study.trials);
    let batches: BTreeSet<u64> = groups.keys().map(|&(_, batch)| batch).collect();
    let mut has_law = false;
    let panels = groups.iter().map(|(&(at, batch), group)| {
        let law = best_lr::along(study.rates.filter(|_| group.is_fitted), &group.bowls, at, budgets);
        has_law |= law.is_some();
        let of_batch = if batches.len() > 1 {
            format!(", batch {}", text::count(batch as f64))
        } else {
            String::new()
        };
        let marks = group.bowls.iter().flat_map(|bowl| marks_of(bowl, &sizes, losses[1]));
        Panel {
            title: budgets.title(at) + &of_batch,
            x: rate_axis(rates),
            y: linear_axis("final loss (nats per token)", Numbers::Plain, losses),
            marks: law.into_iter().chain(marks).collect(),
        }
    });
    let panels = panels.collect();
    (Content::Panels(panels), has_law)
}

/// The bowls of the batches on which no law of the learning rate rests, at the same settings otherwise.
fn other_batches(trials: &[TrialRow], fitted: &[LrBowl]) -> Vec<LrBowl> {
    let taken: BTreeSet<&str> = fitted
        .iter()
        .flat_map(|bowl| bowl.points.iter().map(|p| p.trial.as_str()))
        .collect();
    let alike = |row: &TrialRow| Setup::from(row).without([Size, Budget, LearningRate, Seed, Batch]);
    let settings: BTreeSet<Setup> = trials
        .iter()
        .filter(|row| taken.contains(row.trial.as_str()))
        .map(alike)
        .collect();
    let ended = |row: &&TrialRow| row.final_loss.is_some() || row.state == TrialState::Diverged;
    let others: Vec<&TrialRow> = trials
        .iter()
        .filter(ended)
        .filter(|row| !taken.contains(row.trial.as_str()) && settings.contains(&alike(row)))
        .collect();
    let batches: BTreeSet<u64> = fitted.iter().map(|bowl| bowl.batch_tokens).collect();
    let mut bowls = bowls_of(&others, &[]);
    bowls.retain(|bowl| {
        let rates: BTreeSet<u64> = bowl.points.iter().map(|point| point.lr.to_bits()).collect();
        rates.len() > 1 && !batches.contains(&bowl.batch_tokens)
    });
    bowls
}

/// How to read the bowls.
fn caption(fitted: &[LrBowl], has_law: bool, has_others: bool) -> String {
    let has_seeds = fitted
        .iter()
        .any(|bowl| at_rates(bowl).iter().any(|at| at.losses.len() > 1));
    let mut caption = "Loss on the held-out set at the end of the schedule, one colour a size.".to_owned();
    caption.push_str(if has_seeds {
        " Dots are means over seeds, bars run from the lowest to the highest seed."
    } else {
        " Dots are runs."
    });
    caption.push_str(&format!(
        " Diamonds are the best learning rates {}, where they are bracketed, at the bottom of the parabola that gave \
         them. Above the panels: crosses are runs that diverged, triangles are finite losses above the axis.",
        best_lr::intervals(fitted.iter().filter_map(|bowl| bowl.best.as_ref()))
    ));
    if has_law {
        caption.push_str(" The uncoloured line joins where the law of the learning rate puts the best rates.");
    }
    if has_others {
        caption.push_str(" Panels without diamonds are batches that the law of the learning rate does not rest on.");
    }
    caption
}

/// The runs of a bowl at one learning rate.
struct AtRate<'a> {
    lr: f64,
    /// Finite losses, from low to high.
    losses: Vec<f64>,
    points: Vec<&'a LrPoint>,
}

impl AtRate<'_> {
    fn mean(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len() as f64
    }

    fn hover(&self, sizes: &Roster<'_>) -> String {
        match self.points.as_slice() {
            [point] => sizes.hover(&point.trial),
            points => format!(
                "lr {}: mean {} of {}, {} to {}\n{}",
                text::number(self.lr, 3),
                text::loss(self.mean()),
                text::plural(self.losses.len(), "run"),
                text::loss(self.losses[0]),
                text::loss(self.losses[self.losses.len() - 1]),
                points
                    .first()
                    .map_or_else(String::new, |point| sizes.hover(&point.trial))
            ),
        }
    }
}

/// The runs of a bowl by learning rate, from small to large.
fn at_rates(bowl: &LrBowl) -> Vec<AtRate<'_>> {
    let mut points: Vec<&LrPoint> = bowl.points.iter().collect();
    points.sort_by(|a, b| a.lr.total_cmp(&b.lr).then(a.trial.cmp(&b.trial)));
    let of_rate = |points: &[&'_ LrPoint]| {
        let mut losses: Vec<f64> = points
            .iter()
            .filter_map(|point| point.loss)
            .filter(|loss| loss.is_finite())
            .collect();
        losses.sort_by(f64::total_cmp);
        (points[0].lr, losses)
    };
    points
        .chunk_by(|a, b| a.lr.total_cmp(&b.lr).is_eq())
        .map(|points| {
            let (lr, losses) = of_rate(points);
            let points = points.to_vec();
            AtRate { lr, losses, points }
        })
        .collect()
}

/// The highest loss that is drawn at its height.
fn top_of(bowls: &[&LrBowl]) -> f64 {
    let best = range(
        bowls
            .iter()
            .filter_map(|bowl| range(bowl.points.iter().filter_map(|point| point.loss)).map(|losses| losses[0])),
    );
    let [low, high] = best.unwrap_or([0.0, 0.0]);
    high + ((high - low) * REACH.0).max(REACH.1)
}

fn loss_range(bowls: &[&LrBowl], top: f64) -> Option<[f64; 2]> {
    range(
        bowls
            .iter()
            .flat_map(|bowl| bowl.points.iter().filter_map(|point| point.loss))
            .filter(|&loss| loss <= top),
    )
}

/// The means over seeds with their bars, joined by a line, and the parabola with its minimum; `top` is the highest
/// loss that is drawn at its height.
fn marks_of(bowl: &LrBowl, sizes: &Roster<'_>, top: f64) -> Vec<Mark> {
    let ink = sizes.ink_of(bowl.params, &bowl.model);
    let label = text::size_label(&bowl.model, bowl.params);
    let rates = at_rates(bowl);
    let known = || rates.iter().filter(|at| !at.losses.is_empty());
    let line: Vec<[f64; 2]> = known().map(|at| [at.lr, at.mean()]).collect();
    let mut marks = Vec::new();
    if line.iter().any(|at| at[1] <= top) {
        marks.push(Mark::Line {
            points: line,
            ink,
            stroke: Stroke::Thin,
            label: None,
            hover: Some(format!("{label}, {} tokens", text::count(bowl.tokens as f64))),
        });
    }
    marks.extend(parabola(bowl, &label, ink));
    for at in known() {
        let (mean, hover) = (at.mean(), at.hover(sizes));
        if at.losses.len() > 1 {
            marks.push(Mark::Span {
                from: [at.lr, at.losses[0]],
                to: [at.lr, at.losses[at.losses.len() - 1]],
                ink,
                hover: Some(hover.clone()),
            });
        }
        marks.push(if mean <= top {
            Mark::Dot {
                at: [at.lr, mean],
                ink,
                shape: Shape::Disc,
                hover: Some(hover),
            }
        } else {
            Mark::Off {
                x: at.lr,
                why: Beyond::Above,
                ink,
                hover: Some(hover),
            }
        });
    }
    // One cross a rate, however many of its seeds diverged.
    for at in rates.iter().filter(|at| at.losses.len() < at.points.len()) {
        let lost = at.points.iter().find(|point| point.loss.is_none());
        marks.extend(lost.map(|point| Mark::Off {
            x: at.lr,
            why: Beyond::Diverged,
            ink,
            hover: Some(sizes.hover(&point.trial)),
        }));
    }
    marks.extend(bowl.best.iter().flat_map(|best| marks_of_best(best, &label, ink)));
    marks
}

/// The parabola in ln(lr) that gave the best rate, over the rates about it.
fn parabola(bowl: &LrBowl, label: &str, ink: Ink) -> Option<Mark> {
    let best = bowl.best?;
    let curvature = best.curvature?;
    let rates = positive_range(bowl.points.iter().filter(|p| p.loss.is_some()).map(|p| p.lr))?;
    let [low, high] = [(best.lr / WINDOW).max(rates[0]), (best.lr * WINDOW).min(rates[1])];
    (low < high).then(|| Mark::Line {
        points: curve(low, high, |lr| {
            Some(best.loss + curvature * (lr / best.lr).ln().powi(2))
        }),
        ink,
        stroke: Stroke::Law,
        label: None,
        hover: Some(format!("the parabola of {label} in ln(learning rate)")),
    })
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

/// Parameters, name of the size, tokens and tokens of a batch.
type Place<'a> = (u64, &'a str, u64, u64);

/// The trials at each size, budget and batch over the learning rate, with the best rates of a law's groups.
pub fn bowls_of(trials: &[&TrialRow], groups: &[LrGroup]) -> Vec<LrBowl> {
    let mut places: BTreeMap<Place<'_>, Vec<&TrialRow>> = BTreeMap::new();
    for &trial in trials {
        let place = (
            trial.params_non_embedding,
            trial.model.as_str(),
            trial.tokens_asked,
            trial.batch_tokens,
        );
        places.entry(place).or_default().push(trial);
    }
    let bowl = |((params, model, tokens, batch_tokens), runs): (Place<'_>, Vec<&TrialRow>)| {
        let is_of = |group: &&LrGroup| {
            let is_run = |run: &&TrialRow| (run.tokens as f64).total_cmp(&group.tokens).is_eq();
            group.model == model && group.params.total_cmp(&(params as f64)).is_eq() && runs.iter().any(is_run)
        };
        let best_of = |group: &LrGroup| {
            Some(BestLr {
                lr: group.best?,
                ci95: group.ci95,
                loss: group.loss?,
                curvature: group.curvature,
            })
        };
        LrBowl {
            model: model.to_owned(),
            params,
            tokens,
            batch_tokens,
            best: groups.iter().find(is_of).and_then(best_of),
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

    fn point(lr: f64, loss: Option<f64>) -> LrPoint {
        let trial = "t".to_owned();
        LrPoint { trial, lr, loss }
    }

    fn bowl(points: Vec<LrPoint>) -> LrBowl {
        LrBowl {
            model: "9M".to_owned(),
            params: 9,
            tokens: 1,
            batch_tokens: 1,
            points,
            best: None,
        }
    }

    #[test]
    fn seeds_of_one_rate_are_a_mean_and_a_bar() {
        let bowl = bowl(
            (0..9)
                .map(|seed| point(0.01, (seed != 4).then(|| 3.0 + f64::from(seed))))
                .collect(),
        );
        let marks = marks_of(&bowl, &Roster::of(&[]), 20.0);
        let dots: Vec<[f64; 2]> = marks
            .iter()
            .filter_map(|mark| match mark {
                Mark::Dot { at, .. } => Some(*at),
                _ => None,
            })
            .collect();
        assert_eq!(dots, [[0.01, 7.0]]);
        assert!(marks.iter().any(|mark| matches!(
            mark,
            Mark::Span {
                from: [_, 3.0],
                to: [_, 11.0],
                ..
            }
        )));
        assert_eq!(marks.iter().filter(|mark| matches!(mark, Mark::Off { .. })).count(), 1);
    }

    #[test]
    fn a_diverged_run_stands_above_the_panel_and_is_no_number() {
        let bowl = bowl(vec![point(0.01, Some(4.0)), point(0.1, None), point(0.03, Some(9.0))]);
        let top = top_of(&[&bowl]);
        let marks = marks_of(&bowl, &Roster::of(&[]), top);
        let off: Vec<(f64, Beyond)> = marks
            .iter()
            .filter_map(|mark| match mark {
                Mark::Off { x, why, .. } => Some((*x, *why)),
                _ => None,
            })
            .collect();
        assert_eq!(off, [(0.03, Beyond::Above), (0.1, Beyond::Diverged)]);
    }
}
