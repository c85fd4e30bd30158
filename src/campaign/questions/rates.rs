//! Which learning rate, and does it carry over the width? Grids at the smallest sizes over all budgets, widened wherever
//! the best rate lies at an edge.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::campaign::questions::{Step, asked, settled};
use crate::campaign::state::{Chosen, Design, State};
use crate::fit::rate::learning_rate::{self, LrFit};
use crate::fit::rate::lr_parabola::{Edge, LrRun};
use crate::fit::rate::transfer::Verdict;
use crate::record::TrialRow;
use crate::spec::study_file::Question;
use crate::units::significant;

/// Rates of one size at most: a best rate further away is no matter of the grid.
const RATES_MAX: usize = 9;
/// Rates of one size to begin with: a minimum has a worse value on each side.
const FIRST: usize = 3;
/// No rate outside these is tried.
const BOUNDS: [f64; 2] = [1e-5, 1.0];

type Rates<'a> = BTreeMap<&'a str, Vec<f64>>;

pub(super) fn step(state: &State<'_>, chosen: &mut Chosen) -> Step {
    let frame = state.frame;
    let mut rates = begin(state);
    let mut why = "Which learning rate is best at each size and budget, and is it one for all widths?".to_owned();
    loop {
        let (rows, ask) = asked(
            state,
            Question::Rates,
            &grid(state, chosen, &rates),
            words(&rates),
            &why,
        );
        let runs: Vec<LrRun> = rows.into_iter().flatten().map(run).collect();
        let law = learning_rate::fit(&runs).ok();
        if ask.is_some() {
            settle(chosen, law.as_ref(), &rates);
            return Step { ask, ..Step::default() };
        }
        let wider = law
            .as_ref()
            .map_or_else(|| lower(&rates), |law| widened(law, &rates, &frame.lrs));
        match wider {
            // A study that may not ask on answers with what it has.
            Some((more, reason)) if !state.is_dropped(Question::Rates) => (rates, why) = (more, reason),
            Some(_) | None => {
                settle(chosen, law.as_ref(), &rates);
                return Step {
                    answer: law.as_ref().map(answer),
                    ask: None,
                    starved: false,
                };
            }
        }
    }
}

/// The rates to begin with: the middle three of the range at the smallest sizes; of a full grid, all at all sizes.
fn begin<'a>(state: &State<'a>) -> Rates<'a> {
    let frame = state.frame;
    let (models, lrs) = match state.design {
        Design::Grid => (frame.models.as_slice(), frame.lrs.as_slice()),
        Design::Chosen | Design::Random | Design::Cheapest => (frame.small(), middle(&frame.lrs, FIRST)),
    };
    models.iter().map(|model| (model.as_str(), lrs.to_vec())).collect()
}

/// So many values in the middle of a range.
pub(super) fn middle<T>(values: &[T], count: usize) -> &[T] {
    let from = values.len().saturating_sub(count) / 2;
    &values[from..(from + count).min(values.len())]
}

fn grid(state: &State<'_>, chosen: &Chosen, rates: &Rates<'_>) -> crate::campaign::grid::Grid {
    let mut grid = settled(chosen).with("tokens", state.frame.tokens.iter().copied());
    let each = rates
        .iter()
        .flat_map(|(model, lrs)| lrs.iter().map(move |lr| (*model, *lr)));
    grid.variants = each
        .map(|(model, lr)| BTreeMap::from([("model".to_owned(), Value::from(model)), ("lr".to_owned(), json!(lr))]))
        .collect();
    grid
}

fn words(rates: &Rates<'_>) -> String {
    let each: Vec<String> = rates
        .iter()
        .map(|(model, lrs)| {
            format!(
                "{model} at {}",
                lrs.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    format!("learning rates {}", each.join("; "))
}

fn run(row: &TrialRow) -> LrRun {
    LrRun {
        model: row.model.clone(),
        params: row.params_non_embedding as f64,
        width: row.width as f64,
        tokens: row.tokens as f64,
        lr: row.lr,
        loss: row.final_loss,
    }
}

/// The rates of each size with those that the edges ask for; none where every minimum lies inside.
fn widened<'a>(law: &LrFit, rates: &Rates<'a>, range: &[f64]) -> Option<(Rates<'a>, String)> {
    let mut wider = rates.clone();
    let mut at: Vec<String> = Vec::new();
    for group in &law.groups {
        let (Some(edge), Some(lrs)) = (group.edge, rates.get(group.model.as_str())) else {
            continue;
        };
        let (Some(first), Some(last)) = (lrs.first(), lrs.last()) else {
            continue;
        };
        let step = lrs.get(1).map_or(2.0, |second| second / first).clamp(1.5, 4.0);
        let stable = group.points.last().map_or(*last, |point| point.0);
        let next = match edge {
            // The range of the file first; beyond it by the grid's own step.
            Edge::Low => range.iter().copied().rfind(|lr| lr < first).unwrap_or(first / step),
            Edge::High => range.iter().copied().find(|lr| lr > last).unwrap_or(last * step),
            // Between the last rate that trains and the first that does not.
            Edge::Stability => (stable * group.diverged_from.unwrap_or(stable * step)).sqrt(),
        };
        let next = significant(next, 3);
        let is_new = lrs.iter().all(|lr| (lr / next - 1.0).abs() > 0.02);
        if is_new && lrs.len() < RATES_MAX && (BOUNDS[0]..=BOUNDS[1]).contains(&next) {
            let of_model = wider.get_mut(group.model.as_str())?;
            if of_model.iter().all(|lr| (lr / next - 1.0).abs() > 0.02) {
                of_model.push(next);
                of_model.sort_by(f64::total_cmp);
                at.push(format!(
                    "{} {}",
                    group.model,
                    if edge == Edge::Low { "below" } else { "above" }
                ));
            }
        }
    }
    (!at.is_empty()).then(|| {
        (
            wider,
            format!("The best rate lies at the edge of the grid: {}.", at.join(", ")),
        )
    })
}

/// Without any loss, lower rates; none where they are as low as they get.
fn lower<'a>(rates: &Rates<'a>) -> Option<(Rates<'a>, String)> {
    let mut wider = rates.clone();
    for lrs in wider.values_mut() {
        let next = significant(lrs.first()? / 4.0, 3);
        if lrs.len() >= RATES_MAX || next < BOUNDS[0] {
            return None;
        }
        lrs.insert(0, next);
    }
    Some((wider, "No law of the rate yet: lower rates.".to_owned()))
}

fn settle(chosen: &mut Chosen, law: Option<&LrFit>, rates: &Rates<'_>) {
    chosen.rates = law.cloned();
    let mut tried: Vec<f64> = rates.values().flatten().copied().collect();
    tried.sort_by(f64::total_cmp);
    tried.dedup();
    chosen.tried = tried;
}

fn answer(law: &LrFit) -> String {
    let moves = match law.transfer.map(|transfer| transfer.verdict) {
        Some(Verdict::Verified) => "it carries over the widths",
        Some(Verdict::Drifts) => "it drifts with the width",
        Some(Verdict::NotKnown) | None => "whether it carries over the widths is not known",
    };
    let interval = law
        .best
        .ci95
        .map_or_else(String::new, |[low, high]| format!(" ({low:.2e} to {high:.2e})"));
    format!(
        "lr {:.2e}{interval} from {} minima, {} at an edge; {moves}",
        law.best.value, law.bracketed, law.at_edge
    )
}
