//! The figure of the law of loss: its data with its curves, out to the recipe.
//!
//! Refuses to fit: laws come in with their predictions.

use std::collections::{BTreeMap, BTreeSet};

use crate::recipe::Recipe;
use crate::record::TrialRow;
use crate::report::axes::{Roster, evenly, log_axis, loss_axis, omitted, positive_range};
use crate::report::figures::compute::{FLOPS_PER_PARAM_TOKEN, best_params};
use crate::report::figures::law_marks::{Drawable, curve, dot, drawable, no_law, not_in_law, range_of_marks, rings};
use crate::report::law_view::LawPoint;
use crate::report::recipe_view::{item, recipe_tokens};
use crate::report::study::Study;
use crate::report::text;
use crate::report::view::{Content, FigureView, Ink, Mark, Numbers, Omitted, Panel, Shape, Stroke};

/// Curves of more sizes than this would hide each other's labels.
const CURVES_MAX: usize = 9;

/// How far curves reach beyond the data in tokens: enough to see where they go.
const LOOK_AHEAD: f64 = 2.5;

/// Final loss against tokens with the fitted curves; without a law the measurements alone.
pub(crate) fn law(study: &Study<'_>) -> FigureView {
    let sizes = Roster::of_study(study);
    let drawn = drawable(study);
    let title = match drawn {
        Some(_) => "The scaling law with its data",
        None => "Final loss by tokens",
    };
    let (content, caption, omitted) = match drawn {
        Some(drawn) => {
            let mut panels = vec![law_panel(&drawn, &sizes)];
            panels.extend(study.recipe.and_then(|recipe| compute_panel(&drawn, recipe, &sizes)));
            let out = if panels.len() > 1 {
                " Right: the same law at its best split of compute; the diamond is the recipe with its 95 % interval."
            } else {
                ""
            };
            let caption = format!(
                "Dots are measured losses at the end of finished schedules{}. Curves are {}, dashed beyond the \
                 tokens of their data.{out}",
                rings(drawn.law),
                drawn.law.formula
            );
            (Content::Panels(panels), caption, not_in_law(study.trials, &drawn))
        }
        None => measured(study, &sizes),
    };
    FigureView {
        name: "law",
        title: title.to_owned(),
        caption,
        key: Vec::new(),
        content,
        omitted,
    }
}

/// Points of each size, in the order of sizes.
fn by_size(points: &[LawPoint]) -> Vec<Vec<&LawPoint>> {
    let mut ordered: Vec<&LawPoint> = points.iter().collect();
    ordered.sort_by(|a, b| a.params.total_cmp(&b.params).then_with(|| a.model.cmp(&b.model)));
    // Sizes of tables are rounded to their names.
    let is_one = |a: &&LawPoint, b: &&LawPoint| a.model == b.model && b.params <= 1.1 * a.params;
    ordered.chunk_by(is_one).map(<[&LawPoint]>::to_vec).collect()
}

/// At most so many of the groups: the smallest, the largest, and others evenly between.
fn spread<'a, 'b>(groups: &'b [Vec<&'a LawPoint>], most: usize) -> Vec<&'b Vec<&'a LawPoint>> {
    if groups.len() <= most {
        return groups.iter().collect();
    }
    let last = groups.len() - 1;
    (0..most).map(|k| &groups[k * last / (most - 1)]).collect()
}

fn law_panel(drawn: &Drawable<'_>, sizes: &Roster<'_>) -> Panel {
    let points = drawn.law.points;
    let [low, high] = positive_range(points.iter().map(|point| point.tokens)).unwrap_or([1.0, 10.0]);
    let end = high * LOOK_AHEAD;
    let mut marks = Vec::new();
    for group in spread(&by_size(points), CURVES_MAX) {
        let Some(first) = group.first() else { continue };
        let ink = sizes.ink_named(&first.model);
        let label = text::size_label(&first.model, first.params as u64);
        let Some([from, to]) = positive_range(group.iter().map(|point| point.tokens)) else {
            continue;
        };
        let curve = |from: f64, to: f64| curve(from, to, |tokens| (drawn.predict)(first.params, tokens));
        let hover = format!("{} at {label} parameters", drawn.law.law);
        marks.push(Mark::Line {
            points: curve(from, to),
            ink,
            stroke: Stroke::Law,
            label: None,
            hover: Some(hover.clone()),
        });
        marks.push(Mark::Line {
            points: curve(to, end),
            ink,
            stroke: Stroke::Beyond,
            label: Some(label),
            hover: Some(format!("{hover}, beyond its data")),
        });
    }
    marks.extend(
        drawn
            .dots
            .iter()
            .map(|point| dot(point, [point.tokens, point.loss], sizes)),
    );
    let losses = range_of_marks(&marks, 1).unwrap_or([1.0, 10.0]);
    Panel {
        title: "By tokens".to_owned(),
        x: log_axis("tokens", Numbers::Counts, [low, end]),
        y: loss_axis("final loss (nats per token)", losses),
        marks,
    }
}

/// Loss against compute, out to the recipe, with the law at its best allocation.
fn compute_panel(drawn: &Drawable<'_>, recipe: &Recipe, sizes: &Roster<'_>) -> Option<Panel> {
    let (loss, interval) = item(recipe, "loss")?;
    let target = FLOPS_PER_PARAM_TOKEN * recipe.params as f64 * recipe_tokens(recipe)?;
    let compute = |point: &LawPoint| FLOPS_PER_PARAM_TOKEN * point.params * point.tokens;
    let [low, high] = positive_range(drawn.law.points.iter().map(compute))?;
    let params = positive_range(drawn.law.points.iter().map(|point| point.params))?;
    let params = [params[0] / 30.0, recipe.params as f64 * 30.0];
    let best = |flops: f64| best_params(drawn.predict, flops, params).map(|(_, loss)| loss);
    let line = |from: f64, to: f64, stroke: Stroke, label: Option<&str>| Mark::Line {
        points: curve(from, to, best),
        ink: Ink::Plain,
        stroke,
        label: label.map(str::to_owned),
        hover: Some("the law at its best split of compute between parameters and tokens".to_owned()),
    };
    let end = target.max(high) * 1.5;
    let mut marks = vec![
        line(low, high, Stroke::Law, None),
        line(high, end, Stroke::Beyond, None),
    ];
    marks.extend(
        drawn
            .dots
            .iter()
            .map(|point| dot(point, [compute(point), point.loss], sizes)),
    );
    let hover = format!("the recipe: loss {}", text::loss(loss));
    marks.extend(interval.map(|[from, to]| Mark::Span {
        from: [target, from],
        to: [target, to],
        ink: Ink::Plain,
        hover: Some(format!(
            "{hover}, 95 % interval {} to {}",
            text::loss(from),
            text::loss(to)
        )),
    }));
    marks.push(Mark::Dot {
        at: [target, loss],
        ink: Ink::Plain,
        shape: Shape::Diamond,
        hover: Some(hover),
    });
    let losses = range_of_marks(&marks, 1)?;
    Some(Panel {
        title: format!(
            "By compute, out to the recipe ({}\u{d7} beyond the data)",
            human_factor(target / high)
        ),
        x: log_axis("compute 6ND (FLOP)", Numbers::Plain, [low, end]),
        y: loss_axis("loss (nats per token)", losses),
        marks,
    })
}

/// A factor as people say it: `1.4`, `250k`, `1e9`.
fn human_factor(factor: f64) -> String {
    if factor < 1e4 {
        text::number(factor, 2)
    } else {
        text::number(factor, 1)
    }
}

/// The best run at each number of tokens, by size.
type BestRuns<'a> = BTreeMap<(u64, &'a str), BTreeMap<u64, &'a TrialRow>>;

/// Without a law: measured losses by tokens, the best learning rate of each size and budget.
fn measured(study: &Study<'_>, sizes: &Roster<'_>) -> (Content, String, Vec<Omitted>) {
    let mut best = BestRuns::new();
    for trial in study.trials {
        let Some(loss) = trial.final_loss else {
            continue;
        };
        let size = (trial.params_non_embedding, trial.model.as_str());
        let slot = best.entry(size).or_default().entry(trial.tokens_asked).or_insert(trial);
        if slot.final_loss.is_none_or(|held| loss < held) {
            *slot = trial;
        }
    }
    let shown: BTreeSet<&str> = best
        .values()
        .flat_map(|runs| runs.values().map(|trial| trial.trial.as_str()))
        .collect();
    let omitted = omitted(study.trials, &shown, "not the best of their size and tokens");
    let marks = marks_of_best(&best, sizes);
    let caption = format!(
        "The best measured loss of each size at each number of tokens. {}",
        no_law(study)
    );
    let content = match (range_of_marks(&marks, 0), range_of_marks(&marks, 1)) {
        (Some(tokens), Some(losses)) => Content::Panels(vec![Panel {
            title: String::new(),
            x: log_axis("tokens", Numbers::Counts, tokens),
            y: loss_axis("final loss (nats per token)", losses),
            marks,
        }]),
        _ => Content::Missing("No run has finished its schedule.".to_owned()),
    };
    (content, caption, omitted)
}

/// A thin line through the best runs of each size, with their dots.
fn marks_of_best(best: &BestRuns<'_>, sizes: &Roster<'_>) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut dots = Vec::new();
    for runs in best.values() {
        let points: Vec<[f64; 2]> = runs
            .values()
            .filter_map(|trial| Some([trial.tokens as f64, trial.final_loss?]))
            .collect();
        let Some(trial) = runs.values().next() else {
            continue;
        };
        dots.extend(
            evenly(points.iter().zip(runs.values()))
                .into_iter()
                .map(|(&at, trial)| Mark::Dot {
                    at,
                    ink: sizes.ink(trial),
                    shape: Shape::Disc,
                    hover: Some(text::trial_hover(trial)),
                }),
        );
        marks.push(Mark::Line {
            points,
            ink: sizes.ink(trial),
            stroke: Stroke::Thin,
            label: Some(text::size_label(&trial.model, trial.params_non_embedding)),
            hover: None,
        });
    }
    marks.extend(dots);
    marks
}
