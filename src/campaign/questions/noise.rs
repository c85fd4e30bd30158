//! How much do seeds scatter? A few runs that differ in the seed alone.

use crate::campaign::questions::{Step, asked, percent, settled};
use crate::campaign::state::{Chosen, State};
use crate::record::TrialRow;
use crate::spec::study_file::Question;
use crate::units::human_count;

pub(super) fn step(state: &State<'_>, chosen: &mut Chosen) -> Step {
    let frame = state.frame;
    let lr = chosen.tried[chosen.tried.len() / 2];
    let tokens = frame.tokens[frame.tokens.len() / 2];
    let mut grid = settled(chosen)
        .with("model", [frame.probe()])
        .with("lr", [lr])
        .with("tokens", [tokens]);
    grid.seeds = (0..state.study.seeds).collect();
    let what = format!(
        "{} seeds of {} on {} tokens, lr {lr}",
        state.study.seeds,
        frame.probe(),
        human_count(tokens as f64)
    );
    let why = "How much do runs scatter that differ in the seed alone? Smaller differences decide nothing.";
    let (rows, ask) = asked(state, Question::Noise, &grid, what, why);
    let losses: Vec<f64> = rows
        .into_iter()
        .flatten()
        .filter_map(|row: &TrialRow| row.final_loss)
        .collect();
    chosen.noise = scatter(&losses);
    let answer = chosen.noise.map(|noise| {
        format!(
            "seeds scatter by {} of the loss (one standard deviation)",
            percent(noise)
        )
    });
    Step {
        answer,
        ask,
        starved: false,
    }
}

/// The relative standard deviation of some losses; none of fewer than two.
fn scatter(losses: &[f64]) -> Option<f64> {
    if losses.len() < 2 {
        return None;
    }
    let count = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / count;
    let squares: f64 = losses.iter().map(|loss| (loss - mean).powi(2)).sum();
    Some((squares / (count - 1.0)).sqrt() / mean)
}
