//! The figure of the law of loss: its data with its curves, out to the recipe.
//!
//! Refuses to fit: laws come in with their predictions.

use std::collections::{BTreeMap, BTreeSet};

use crate::recipe::Recipe;
use crate::record::TrialRow;
use crate::report::axes::{Roster, evenly, log_axis, loss_axis, omitted, positive_range};
use crate::report::figures::compute::{FLOPS_PER_PARAM_TOKEN, best_params};
use crate::report::figures::law_marks::{
    Drawable, band_edges, curve, dot, drawable, no_law, not_in_law, on_interval, range_of_marks, rings,
};
use crate::report::law_view::LawPoint;
use crate::report::recipe_view::{item, recipe_tokens};
use crate::report::study::Study;
use crate::report::text;
use crate::report::view::{Content, FigureView, Ink, Mark, Numbers, Omitted, Panel, Shape, Stroke};

/// Curves of more sizes than this would hide each other's labels.
const CURVES_MAX: usize = 9;

/// How far curves reach beyond the data in tokens: enough to see where they go.
const LOOK_AHEAD: f64 = 2.5;

/// A recipe of more than so many times the compute of the largest run is not drawn: the data would be a dot in a corner,
/// and what a law says there is no picture of it.
pub(crate) const FARTHEST: f64 = 1e5;

/// How far the law is drawn beyond the data in compute where no recipe asks for more.
const AHEAD_OF_DATA: f64 = 10.0;

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
            panels.extend(compute_panel(&drawn, study.recipe, &sizes));
            let caption = caption(study, &drawn, panels.len() > 1);
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

/// How to read the two panels.
fn caption(study: &Study<'_>, drawn: &Drawable<'_>, has_compute: bool) -> String {
    let mut caption = format!(
        "Dots are measured losses at the end of finished schedules{}. Curves are {}, dashed beyond the tokens of their \
         data.",
        rings(drawn.law),
        drawn.law.formula
    );
    let has_bands = drawn.law.spread.is_some();
    if has_bands {
        caption.push_str(" Bands are where one new run would lie: 95 %");
        caption.push_str(if has_compute { ", on the right also 50 %." } else { "." });
    }
    if !has_compute {
        return caption;
    }
    caption.push_str(" Right: the same law at its best split of compute");
    let beyond = study.recipe.and_then(|recipe| Some(beyond(drawn, recipe)?.1));
    caption.push_str(&match beyond {
        None => ".".to_owned(),
        Some(factor) if factor <= FARTHEST => "; the diamond is the recipe with its 95 % interval.".to_owned(),
        Some(factor) => format!(
            ". The recipe takes {} times the compute of the largest run, too far beyond the data to be drawn.",
            human_factor(factor)
        ),
    });
    caption
}

/// The compute of the recipe, 6ND, and how many times that of the run with the most it is.
fn beyond(drawn: &Drawable<'_>, recipe: &Recipe) -> Option<(f64, f64)> {
    let target = FLOPS_PER_PARAM_TOKEN * recipe.params as f64 * recipe_tokens(recipe)?;
    let most = drawn.law.points.iter().map(compute).reduce(f64::max)?;
    Some((target, target / most))
}

/// 6ND of a run.
fn compute(point: &LawPoint) -> f64 {
    FLOPS_PER_PARAM_TOKEN * point.params * point.tokens
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
        let interval = |tokens: f64| (drawn.law.spread?)(first.params, tokens)?.ci95_new_run;
        let edges = band_edges(from, end, interval);
        if edges.len() > 1 {
            marks.push(Mark::band(&edges, ink, None));
        }
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

/// Loss against compute, out to the recipe where that is near enough, with the law at its best allocation.
fn compute_panel(drawn: &Drawable<'_>, recipe: Option<&Recipe>, sizes: &Roster<'_>) -> Option<Panel> {
    let [low, high] = positive_range(drawn.law.points.iter().map(compute))?;
    let params = positive_range(drawn.law.points.iter().map(|point| point.params))?;
    let target = recipe.and_then(|recipe| {
        let (at, factor) = beyond(drawn, recipe)?;
        let (loss, interval) = item(recipe, "loss")?;
        (factor <= FARTHEST).then_some((recipe.params as f64, at, loss, interval))
    });
    let farthest = target.map_or(params[1], |(params_of_target, ..)| params[1].max(params_of_target));
    let reach = [params[0] / 30.0, farthest * 30.0];
    let best = |flops: f64| best_params(drawn.predict, flops, reach);
    let line = |from: f64, to: f64, stroke: Stroke| Mark::Line {
        points: curve(from, to, |flops| Some(best(flops)?.1)),
        ink: Ink::Plain,
        stroke,
        label: None,
        hover: Some("the law at its best split of compute between parameters and tokens".to_owned()),
    };
    let end = target.map_or(high * AHEAD_OF_DATA, |(_, at, ..)| high.max(at) * 1.5);
    let at_best = |flops: f64| {
        let (params, _) = best(flops)?;
        (drawn.law.spread?)(params, flops / (FLOPS_PER_PARAM_TOKEN * params))
    };
    let bands = [
        band_edges(low, end, |flops| at_best(flops)?.ci95_new_run),
        band_edges(low, end, |flops| at_best(flops)?.ci50),
    ];
    let bands = bands.iter().filter(|edges| edges.len() > 1);
    let mut marks: Vec<Mark> = bands.map(|edges| Mark::band(edges, Ink::Plain, None)).collect();
    marks.extend([line(low, high, Stroke::Law), line(high, end, Stroke::Beyond)]);
    let dots = drawn.dots.iter();
    marks.extend(dots.map(|point| dot(point, [compute(point), point.loss], sizes)));
    marks.extend(target.into_iter().flat_map(|(_, at, loss, interval)| {
        let words = interval.map_or_else(String::new, |[from, to]| {
            format!(", 95 % interval {} to {}", text::loss(from), text::loss(to))
        });
        let hover = format!("the recipe: loss {}{words}", text::loss(loss));
        on_interval([at, loss], interval, Ink::Plain, &hover)
    }));
    let losses = range_of_marks(&marks, 1)?;
    let title = match target {
        Some((_, at, ..)) if at > high => {
            format!(
                "By compute, out to the recipe ({}\u{d7} beyond the data)",
                human_factor(at / high)
            )
        }
        Some(_) | None => "By compute".to_owned(),
    };
    Some(Panel {
        title,
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
