//! Which trials differ in nothing but what a figure compares.
//!
//! Refuses to know what is drawn.

use std::collections::BTreeMap;

use crate::record::TrialRow;

/// Everything that sets trials of one size, budget, learning rate and seed apart, as text.
pub fn settings(trial: &TrialRow) -> String {
    let schedule = format!("{} {:?}", trial.schedule, trial.decay_fraction);
    let rest = format!("{} {} {}", trial.batch_tokens, trial.parametrization, trial.data_hash);
    format!("{schedule} {rest} {:?}", trial.setup)
}

/// Finished WSD runs, each with the cosine run that differs from it in nothing but the schedule.
pub fn pairs_of(trials: &[TrialRow]) -> Vec<(&TrialRow, &TrialRow)> {
    fn key(trial: &TrialRow) -> impl Ord + '_ {
        (
            (trial.params_non_embedding, trial.model.as_str()),
            (trial.tokens, trial.batch_tokens, trial.warmup_tokens),
            (trial.lr.to_bits(), trial.seed),
            (trial.parametrization.as_str(), trial.data_hash.as_str()),
            beside_schedule(trial),
        )
    }
    let finished = || trials.iter().filter(|trial| trial.final_loss.is_some());
    let cosine: BTreeMap<_, &TrialRow> = finished()
        .filter(|trial| trial.schedule == "cosine")
        .map(|trial| (key(trial), trial))
        .collect();
    finished()
        .filter(|trial| trial.schedule == "wsd")
        .filter_map(|wsd| cosine.get(&key(wsd)).map(|&partner| (wsd, partner)))
        .collect()
}

/// The setup of a trial without its schedule.
fn beside_schedule(trial: &TrialRow) -> Vec<(&String, &String)> {
    let of_schedule = |name: &str| name.starts_with("schedule.");
    trial.setup.iter().filter(|(name, _)| !of_schedule(name)).collect()
}
