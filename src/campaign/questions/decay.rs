//! How long a decay? Several decays from one trunk, which cost next to nothing.

use crate::campaign::frame::Frame;
use crate::campaign::questions::{Step, asked, percent, settled};
use crate::campaign::state::{Chosen, State};
use crate::record::TrialRow;
use crate::spec::study_file::Question;
use crate::units::human_count;

pub(super) fn step(state: &State<'_>, chosen: &mut Chosen) -> Step {
    let frame = state.frame;
    if frame.decays.len() < 2 {
        return Step::default();
    }
    let (model, tokens) = (frame.probe(), frame.longest());
    let lr = chosen.lr(Frame::params(model) as f64, frame.middle_tokens());
    let grid = settled(chosen)
        .with("model", [model])
        .with("lr", [lr])
        .with("tokens", [tokens])
        .with("schedule.decay_fraction", frame.decays.iter().copied());
    let list: Vec<String> = frame.decays.iter().map(|share| percent(*share)).collect();
    let what = format!(
        "decays of {} from one trunk of {model} on {} tokens",
        list.join(", "),
        human_count(tokens as f64)
    );
    let why = "How long has the decay to be? It is cheap to ask: the trunk is shared.";
    let (rows, ask) = asked(state, Question::Decay, &grid, what, why);
    if ask.is_some() {
        return Step { ask, ..Step::default() };
    }
    let ended: Vec<(f64, f64)> = rows
        .into_iter()
        .flatten()
        .filter_map(|row: &TrialRow| Some((row.decay_fraction?, row.final_loss?)))
        .collect();
    let base = ended
        .iter()
        .find(|it| it.0.to_bits() == chosen.decay_fraction.to_bits())
        .map(|it| it.1);
    let (Some(base), Some(&(best, lowest))) = (base, ended.iter().min_by(|a, b| a.1.total_cmp(&b.1))) else {
        return Step::default();
    };
    // One trunk and one seed: what they share does not scatter.
    let gain = (base - lowest) / base;
    let answer = if gain > chosen.resolution() / 2.0 {
        chosen.decay_fraction = best;
        format!("a decay of {}: {} below the one before", percent(best), percent(gain))
    } else {
        format!(
            "a decay of {} stays: no other is better by more than noise",
            percent(chosen.decay_fraction)
        )
    };
    Step {
        answer: Some(answer),
        ask: None,
        starved: false,
    }
}
