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
    let tried = grid.variants.iter().zip(&losses).skip(1);
    let mut best: BTreeMap<&String, (f64, &Value)> = BTreeMap::new();
    for (variant, loss) in tried {
        let (Some((path, value)), Some(loss)) = (variant.first_key_value(), *loss) else {
            continue;
        };
        let gain = (base - loss) / base;
        let entry = best.entry(path).or_insert((gain, value));
        if gain > entry.0 {
            *entry = (gain, value);
        }
    }
    let wins: Vec<_> = best
        .iter()
        .filter(|(_, (gain, _))| *gain > chosen.resolution())
        .collect();
    let words: Vec<String> = wins
        .iter()
        .map(|(path, (gain, value))| format!("{path} {value} (−{})", percent(*gain)))
        .collect();
    let answer = if ask.is_some() {
        None
    } else if words.is_empty() {
        Some(format!(
            "the defaults stay: no other is better by more than {}",
            percent(chosen.resolution())
        ))
    } else {
        Some(words.join(", "))
    };
    if ask.is_none() {
        let taken = wins
            .iter()
            .map(|(path, (_, value))| ((**path).clone(), (*value).clone()));
        chosen.constants.extend(taken);
    }
    Step {
        answer,
        ask,
        starved: false,
    }
}
