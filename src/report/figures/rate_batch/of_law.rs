//! The figures of a law of learning rate and batch: the maps that it was fitted to with its optimum, the law by size and
//! tokens, and what it cost in groups that it had not seen.
//!
//! Drawn from the fit alone. Refuses to fit.

use crate::fit::Estimate;
use crate::fit::rate::lr_batch::{LrBatchGroup, LrBatchLaw};
use crate::report::axes::{linear_axis, log_axis, positive_range, range, rate_axis};
use crate::report::figures::rate_batch::{Field, PANELS_MAX, key, map};
use crate::report::text::{self, number};
use crate::report::view::{Axis, Content, FigureView, Ink, Mark, Numbers, Panel, Shape, Stroke};
use crate::units::{human_count, significant};

/// Most sizes of a key.
const KEY_MAX: usize = 12;

/// All of them.
pub(crate) fn figures(law: &LrBatchLaw) -> Vec<FigureView> {
    vec![maps(law), by_tokens(law), regret(law)]
}

fn place(group: &LrBatchGroup) -> String {
    let [params, tokens] = [group.params, group.tokens].map(|count| human_count(significant(count, 3)));
    format!("{params} parameters, {tokens} tokens")
}

fn maps(law: &LrBatchLaw) -> FigureView {
    let drawable: Vec<&LrBatchGroup> = law.groups.iter().filter(|group| group.grid.len() > 3).collect();
    let surplus = drawable.len().saturating_sub(PANELS_MAX);
    let panels = drawable[surplus..].iter().filter_map(|group| {
        let fields: Vec<Field> = group
            .grid
            .iter()
            .map(|&[lr, batch, loss]| ([lr, batch], loss, None))
            .collect();
        let mut panel = map(&place(group), &fields)?;
        panel.marks.extend(optimum(law, group, &panel));
        Some(panel)
    });
    let panels: Vec<Panel> = panels.collect();
    let shown = panels.len();
    let content = if panels.is_empty() {
        Content::Missing("This fit was made before the points of its grids were kept: fit again.".to_owned())
    } else {
        Content::Panels(panels)
    };
    FigureView {
        name: "rate-batch",
        title: "Final loss over learning rate and batch, and the optimum by the law".to_owned(),
        caption: format!(
            "Each field is a mean final loss, shaded by how far it lies above the lowest of its panel. The diamond is the \
             lowest field, the ring with its bars the optimum by the law and its 95 % intervals, where it lies on the map. \
             {shown} of {} groups of equal size and tokens are drawn, the largest.",
            law.groups.len()
        ),
        key: key(),
        content,
        omitted: Vec::new(),
    }
}

/// The optimum of a group by the law, as far as the panel reaches.
fn optimum(law: &LrBatchLaw, group: &LrBatchGroup, panel: &Panel) -> Vec<Mark> {
    let (lr, batch) = law.predict(group.params, group.tokens);
    let is_inside = |axis: &Axis, value: f64| (axis.from..=axis.to).contains(&value);
    if !is_inside(&panel.x, lr.value) || !is_inside(&panel.y, batch.value) {
        return Vec::new();
    }
    let words = format!(
        "by the law: lr {}, batch {}",
        with_interval(&lr, |it| number(it, 3)),
        with_interval(&batch, text::count)
    );
    let ends =
        |estimate: &Estimate, axis: &Axis| estimate.ci95.map(|ends| ends.map(|end| end.clamp(axis.from, axis.to)));
    let span = |from, to| Mark::Span {
        from,
        to,
        ink: Ink::Plain,
        hover: Some(words.clone()),
    };
    let of_lr = ends(&lr, &panel.x).map(|[low, high]| span([low, batch.value], [high, batch.value]));
    let of_batch = ends(&batch, &panel.y).map(|[low, high]| span([lr.value, low], [lr.value, high]));
    let ring = Mark::Dot {
        at: [lr.value, batch.value],
        ink: Ink::Plain,
        shape: Shape::Ring,
        hover: Some(words),
    };
    of_lr.into_iter().chain(of_batch).chain([ring]).collect()
}

fn with_interval(estimate: &Estimate, write: impl Fn(f64) -> String) -> String {
    let ends = estimate
        .ci95
        .map(|[low, high]| format!(" ({} to {})", write(low), write(high)));
    format!("{}{}", write(estimate.value), ends.unwrap_or_default())
}

/// The sizes of a law, the smallest first.
fn sizes(law: &LrBatchLaw) -> Vec<f64> {
    let mut sizes: Vec<f64> = law.groups.iter().map(|group| group.params).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    sizes
}

fn ink(sizes: &[f64], params: f64) -> Ink {
    let rank = sizes.iter().position(|&size| size >= params).unwrap_or(0);
    Ink::Size { rank, of: sizes.len() }
}

fn key_of(sizes: &[f64]) -> Vec<(Ink, String)> {
    let step = sizes.len().div_ceil(KEY_MAX).max(1);
    let told = sizes.iter().step_by(step);
    told.map(|&size| (ink(sizes, size), human_count(significant(size, 3))))
        .collect()
}

/// Best rate and best batch over the tokens: lines by the law, dots at the lowest points of the grids.
fn by_tokens(law: &LrBatchLaw) -> FigureView {
    let sizes = sizes(law);
    let content = match positive_range(law.groups.iter().map(|group| group.tokens)) {
        None => Content::Missing("The law has no groups.".to_owned()),
        Some(tokens) => Content::Panels(vec![
            over_tokens("Best learning rate", law, &sizes, tokens, 0),
            over_tokens("Best batch", law, &sizes, tokens, 1),
        ]),
    };
    FigureView {
        name: "rate-batch-law",
        title: "The best learning rate and batch by size and tokens".to_owned(),
        caption: format!(
            "Lines: {}, {}, a line a size. Discs: the lowest point of each grid, which lies on the grid's own steps; rings: of \
             grids whose lowest point lies at an edge, which are left out. One valley is fitted to all groups, so the \
             lines need not pass through the discs.",
            text_of(&law.lr, "lr", 3),
            text_of(&law.batch, "batch", 3)
        ),
        key: key_of(&sizes),
        content,
        omitted: Vec::new(),
    }
}

fn text_of(law: &crate::fit::rate::lr_batch::PowerLaw, name: &str, digits: i32) -> String {
    let n = law
        .n_exponent
        .map_or_else(String::new, |it| format!(" · N^{:.2}", it.value));
    format!(
        "{name} = {}{n} · D^{:.2}",
        number(significant(law.c, digits), 3),
        law.d_exponent.value
    )
}

/// One panel: `which` 0 is the learning rate, 1 the batch.
fn over_tokens(title: &str, law: &LrBatchLaw, sizes: &[f64], [from, to]: [f64; 2], which: usize) -> Panel {
    const STEPS: i32 = 24;
    let at = |params: f64, tokens: f64| {
        let (lr, batch) = law.predict(params, tokens);
        if which == 0 { lr.value } else { batch.value }
    };
    let line = |&params: &f64| Mark::Line {
        points: (0..=STEPS)
            .map(|step| from * (to / from).powf(f64::from(step) / f64::from(STEPS)))
            .map(|tokens| [tokens, at(params, tokens)])
            .collect(),
        ink: ink(sizes, params),
        stroke: Stroke::Law,
        label: None,
        hover: Some(format!(
            "{} parameters, by the law",
            human_count(significant(params, 3))
        )),
    };
    let dot = |group: &LrBatchGroup| Mark::Dot {
        at: [group.tokens, group.lowest[which]],
        ink: ink(sizes, group.params),
        shape: if group.left_out.is_some() {
            Shape::Ring
        } else {
            Shape::Disc
        },
        hover: Some(format!(
            "{}\nlowest at lr {}, batch {}\nby the law lr {}, batch {}{}",
            place(group),
            number(group.lowest[0], 3),
            text::count(group.lowest[1]),
            number(law.predict(group.params, group.tokens).0.value, 3),
            text::count(law.predict(group.params, group.tokens).1.value),
            group
                .left_out
                .as_ref()
                .map_or_else(String::new, |why| format!("\nleft out: {why}"))
        )),
    };
    let marks: Vec<Mark> = sizes.iter().map(line).chain(law.groups.iter().map(dot)).collect();
    let values = positive_range(marks.iter().flat_map(|mark| mark.along(1))).unwrap_or([1.0, 10.0]);
    Panel {
        title: title.to_owned(),
        x: log_axis("tokens", Numbers::Counts, [from, to]),
        y: if which == 0 {
            rate_axis(values)
        } else {
            log_axis("batch (tokens)", Numbers::Counts, values)
        },
        marks,
    }
}

/// What predictions cost in groups that the fit had not seen.
fn regret(law: &LrBatchLaw) -> FigureView {
    let sizes = sizes(law);
    let mut caption = String::new();
    let content = match &law.hold_out {
        None => Content::Missing(
            "No group could be held out: the law needs sizes or budgets beyond those that it was fitted to.".to_owned(),
        ),
        Some(held) => {
            caption = format!(
                "The loss at the grid point nearest to what a second fit predicted, above the lowest of its grid, in per cent of \
                 the loss, of {} that the fit had not seen; on average {:.2} %. The line is what one learning rate and \
                 batch for all would cost: {:.2} %.",
                text::plural(held.n, "group"),
                100.0 * held.mean_regret,
                100.0 * held.constant_regret
            );
            let percent = |share: f64| 100.0 * share;
            let dots = held.points.iter().map(|point| Mark::Dot {
                at: [point.tokens, percent(point.regret)],
                ink: ink(&sizes, point.params),
                shape: Shape::Disc,
                hover: Some(format!(
                    "{} parameters, {} tokens\npredicted lr {}, batch {}\n{:.2} % above the lowest",
                    human_count(significant(point.params, 3)),
                    human_count(significant(point.tokens, 3)),
                    number(point.lr, 3),
                    text::count(point.batch_tokens),
                    percent(point.regret)
                )),
            });
            let level = Mark::Level {
                y: percent(held.constant_regret),
            };
            let tokens = positive_range(held.points.iter().map(|point| point.tokens)).unwrap_or([1.0, 10.0]);
            let regrets = held.points.iter().map(|point| percent(point.regret));
            let ends = range(regrets.chain([0.0, percent(held.constant_regret)])).unwrap_or([0.0, 1.0]);
            Content::Panels(vec![Panel {
                title: String::new(),
                x: log_axis("tokens", Numbers::Counts, tokens),
                y: linear_axis("above the lowest loss (%)", Numbers::Plain, ends),
                marks: [level].into_iter().chain(dots).collect(),
            }])
        }
    };
    FigureView {
        name: "rate-batch-regret",
        title: "What the law costs where it had not looked".to_owned(),
        caption,
        key: key_of(&sizes),
        content,
        omitted: Vec::new(),
    }
}
