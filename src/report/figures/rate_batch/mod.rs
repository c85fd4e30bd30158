//! The figure of final loss over learning rate and batch: a map for each size and budget.
//!
//! Drawn from the runs alone, so also where no law of rate and batch was found. Refuses to fit.

pub(crate) mod of_law;

use std::collections::{BTreeMap, BTreeSet};

use crate::record::TrialRow;
use crate::report::axes::{log_axis, omitted, rate_axis};
use crate::report::study::Study;
use crate::report::text::{self, number};
use crate::report::view::{Content, FigureView, Ink, Mark, Numbers, Panel, Shape};
use crate::setup::Factor::{Batch, Budget, LearningRate, Seed, Size};
use crate::setup::Setup;

/// The fewest rates and the fewest batches of a map.
const SIDES_MIN: usize = 2;
/// Most maps; the largest sizes and budgets are kept.
const PANELS_MAX: usize = 9;
/// Shades of a map, and the relative losses above the best at which each begins: equal differences hide the floor.
const SHADES: [f64; 6] = [0.0, 0.005, 0.01, 0.02, 0.05, 0.1];

/// Parameters, name of the size, and tokens that were asked for.
type Place<'a> = (u64, &'a str, u64);

/// The runs of one size and budget by batch and the bits of the learning rate.
type Grid<'a> = BTreeMap<(u64, u64), Vec<&'a TrialRow>>;

/// Final loss over rate and batch; none where no size has several of both.
pub(crate) fn rate_batch(study: &Study<'_>) -> Option<FigureView> {
    let mut grids = grids(study.trials);
    while grids.len() > PANELS_MAX {
        grids.pop_first();
    }
    let panels: Vec<Panel> = grids.iter().filter_map(|(place, grid)| panel(place, grid)).collect();
    let shown: BTreeSet<&str> = grids
        .values()
        .flat_map(|grid| grid.values().flatten())
        .map(|trial| trial.trial.as_str())
        .collect();
    (!panels.is_empty()).then(|| FigureView {
        name: "rate-batch",
        title: "Final loss over learning rate and batch".to_owned(),
        caption: "Each field is the mean final loss of the runs at one learning rate and batch, shaded by how far it lies \
            above the lowest of its panel; the diamond is the lowest. Fields that are missing were not run or diverged. \
            Where the diamond lies at a side, the best may lie beyond."
            .to_owned(),
        key: key(),
        content: Content::Panels(panels),
        omitted: omitted(study.trials, &shown, "of another schedule, or without a grid of rates and batches"),
    })
}

/// The ink of a shade: the lowest losses stand out most.
fn shade(at: usize) -> Ink {
    Ink::Size {
        rank: SHADES.len() - 1 - at,
        of: SHADES.len(),
    }
}

/// The grids of the settings with most runs on grids.
fn grids(trials: &[TrialRow]) -> BTreeMap<Place<'_>, Grid<'_>> {
    let mut kinds: BTreeMap<Setup, BTreeMap<Place<'_>, Grid<'_>>> = BTreeMap::new();
    for trial in trials
        .iter()
        .filter(|trial| trial.final_loss.is_some_and(f64::is_finite))
    {
        let kind = Setup::from(trial).without([Size, Budget, LearningRate, Seed, Batch]);
        let place = (trial.params_non_embedding, trial.model.as_str(), trial.tokens_asked);
        let field = (trial.batch_tokens, trial.lr.to_bits());
        let grids = kinds.entry(kind).or_default();
        grids.entry(place).or_default().entry(field).or_default().push(trial);
    }
    for grids in kinds.values_mut() {
        grids.retain(|_, grid| {
            let batches: BTreeSet<u64> = grid.keys().map(|&(batch, _)| batch).collect();
            let rates: BTreeSet<u64> = grid.keys().map(|&(_, rate)| rate).collect();
            batches.len() >= SIDES_MIN && rates.len() >= SIDES_MIN
        });
    }
    let runs = |grids: &BTreeMap<Place<'_>, Grid<'_>>| -> usize {
        grids.values().flat_map(|grid| grid.values()).map(Vec::len).sum()
    };
    kinds.into_values().max_by_key(runs).unwrap_or_default()
}

fn panel(&(params, model, tokens): &Place<'_>, grid: &Grid<'_>) -> Option<Panel> {
    let fields: Vec<Field> = grid
        .iter()
        .filter(|((batch, rate), _)| *batch > 0 && f64::from_bits(*rate) > 0.0)
        .map(|(&(batch, rate), runs)| {
            let losses = runs.iter().filter_map(|run| run.final_loss);
            let mean = losses.sum::<f64>() / runs.len() as f64;
            ([f64::from_bits(rate), batch as f64], mean, Some(runs.len()))
        })
        .collect();
    let size = text::size_label(model, params);
    map(&format!("{size}, {} tokens", text::count(tokens as f64)), &fields)
}

/// Rate and batch, the mean loss there, and how many runs it is of, where that is known.
type Field = ([f64; 2], f64, Option<usize>);

/// The map of one size and budget, with a diamond at its lowest field; none without fields.
fn map(title: &str, fields: &[Field]) -> Option<Panel> {
    let (best, lowest, _) = fields.iter().min_by(|a, b| a.1.total_cmp(&b.1)).copied()?;
    let edges = [0, 1].map(|axis| edges(fields.iter().map(|field| field.0[axis])));
    let mut marks: Vec<Mark> = fields
        .iter()
        .filter_map(|&(at, loss, runs)| {
            let ([left, right], [bottom, top]) = (around(&edges[0], at[0])?, around(&edges[1], at[1])?);
            let above = loss / lowest - 1.0;
            let shades = SHADES.iter().rposition(|from| above >= *from).unwrap_or(0);
            let of = runs.map_or_else(String::new, |runs| format!(" of {}", text::plural(runs, "run")));
            Some(Mark::Field {
                from: [left, bottom],
                to: [right, top],
                ink: shade(shades),
                hover: Some(format!(
                    "lr {}, batch {}\nloss {}{of} ({:+.1} %)",
                    number(at[0], 3),
                    text::count(at[1]),
                    text::loss(loss),
                    100.0 * above
                )),
            })
        })
        .collect();
    marks.push(Mark::Dot {
        at: best,
        ink: Ink::Plain,
        shape: Shape::Diamond,
        hover: Some(format!("the lowest, {}", text::loss(lowest))),
    });
    let ends = |edges: &[f64]| Some([*edges.first()?, *edges.last()?]);
    Some(Panel {
        title: title.to_owned(),
        x: rate_axis(ends(&edges[0])?),
        y: log_axis("batch (tokens)", Numbers::Counts, ends(&edges[1])?),
        marks,
    })
}

/// The shades in words.
fn key() -> Vec<(Ink, String)> {
    let best = Ink::Size {
        rank: SHADES.len() - 1,
        of: SHADES.len(),
    };
    let others = SHADES.iter().enumerate().skip(1);
    let others = others.map(|(at, from)| (shade(at), format!("{} % and more above", number(100.0 * from, 2))));
    [(best, "up to 0.5 % above the lowest".to_owned())]
        .into_iter()
        .chain(others)
        .collect()
}

/// The borders of fields about values: midway in the logarithm, and as far beyond the ends.
fn edges(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    let mut edges: Vec<f64> = sorted.windows(2).map(|pair| (pair[0] * pair[1]).sqrt()).collect();
    if let (Some(first), Some(last)) = (edges.first().copied(), edges.last().copied()) {
        edges.insert(0, sorted[0] * sorted[0] / first);
        edges.push(sorted[sorted.len() - 1] * sorted[sorted.len() - 1] / last);
    }
    edges
}

/// The borders on both sides of a value.
fn around(edges: &[f64], value: f64) -> Option<[f64; 2]> {
    let pair = edges.windows(2).find(|pair| pair[0] <= value && value <= pair[1])?;
    Some([pair[0], pair[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_meet_midway_and_reach_as_far_beyond_the_ends() {
        let edges = edges([4.0, 1.0, 4.0, 16.0].into_iter());
        assert_eq!(edges, [0.5, 2.0, 8.0, 32.0]);
        assert_eq!(around(&edges, 4.0), Some([2.0, 8.0]));
    }
}
