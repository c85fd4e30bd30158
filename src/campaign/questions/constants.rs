//! Which constants? Each is tried alone beside its default, at one small size; the default stays unless another wins by
//! more than noise.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::campaign::grid::Grid;
use crate::campaign::questions::{Step, asked, percent, settled};
use crate::campaign::state::{Chosen, State};
use crate::spec::study_file::Question;
use crate::units::human_count;

pub(super) fn step(state: &State<'_>, chosen: &mut Chosen) -> Step {
    let frame = state.frame;
    if frame.constants.is_empty() {
        return Step::default();
    }
    let lr = chosen.tried[chosen.tried.len() / 2];
    let tokens = frame.tokens[frame.tokens.len() / 2];
    let place = |grid: Grid| {
        grid.with("model", [frame.probe()])
            .with("lr", [lr])
            .with("tokens", [tokens])
    };
    let single = |path: &String, value: &Value| BTreeMap::from([(path.clone(), value.clone())]);
    let mut grid = place(settled(chosen));
    // The first is the default: a run that the noise has trained already.
    grid.variants = std::iter::once(BTreeMap::new())
        .chain(
            frame
                .constants
                .iter()
                .flat_map(|(path, values)| values.iter().map(move |value| single(path, value))),
        )
        .collect();
    let what = format!(
        "{} of {} on {} tokens, one constant at a time",
        frame.constants.keys().cloned().collect::<Vec<_>>().join(", "),
        frame.probe(),
        human_count(tokens as f64)
    );
    let why = "Do other constants than MiniCPM's train these proxies better, by more than noise?";
    let (rows, ask) = asked(state, Question::Constants, &grid, what, why);
    let losses: Vec<Option<f64>> = rows.iter().map(|row| row.and_then(|row| row.final_loss)).collect();
    let Some(Some(base)) = losses.first().copied() else {
        return Step { ask, ..Step::default() };
    };
    if ask.is_some() {
        return Step { ask, ..Step::default() };
    }
    let wins = winners(&grid, &losses, base, chosen.resolution());
    let words: Vec<String> = wins
        .iter()
        .map(|(path, (gain, value))| format!("{path} {value} (−{})", percent(*gain)))
        .collect();
    let answer = if words.is_empty() {
        format!(
            "the defaults stay: no other is better by more than {}",
            percent(chosen.resolution())
        )
    } else {
        words.join(", ")
    };
    chosen
        .constants
        .extend(wins.into_iter().map(|(path, (_, value))| (path, value)));
    Step {
        answer: Some(answer),
        ask: None,
        starved: false,
    }
}

/// The best value of each constant that does better than the default by more than noise, with its relative gain.
fn winners(grid: &Grid, losses: &[Option<f64>], base: f64, least: f64) -> BTreeMap<String, (f64, Value)> {
    let mut best: BTreeMap<String, (f64, Value)> = BTreeMap::new();
    for (variant, loss) in grid.variants.iter().zip(losses) {
        let (Some((path, value)), Some(loss)) = (variant.first_key_value(), *loss) else {
            continue;
        };
        let gain = (base - loss) / base;
        if gain > best.get(path).map_or(least, |it| it.0) {
            best.insert(path.clone(), (gain, value.clone()));
        }
    }
    best
}
