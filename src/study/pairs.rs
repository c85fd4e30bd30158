//! Runs that differ in the schedule alone.
//!
//! Refuses to know what is made of the difference.

use std::collections::BTreeMap;

use crate::record::TrialRow;
use crate::setup::{Factor, Setup};
use crate::spec::ScheduleName;

/// Finished WSD runs, each with the finished cosine run that differs from it in nothing but the schedule, and warms up for
/// as many tokens.
pub fn wsd_and_cosine(trials: &[TrialRow]) -> Vec<(&TrialRow, &TrialRow)> {
    let finished_of = |schedule: ScheduleName| {
        let is_meant = move |row: &&TrialRow| row.final_loss.is_some() && row.schedule == schedule;
        trials.iter().filter(is_meant)
    };
    let key = |row: &TrialRow| (Setup::from(row).without([Factor::Schedule]), row.warmup_tokens);
    let cosine: BTreeMap<_, &TrialRow> = finished_of(ScheduleName::Cosine).map(|row| (key(row), row)).collect();
    finished_of(ScheduleName::Wsd)
        .filter_map(|wsd| Some((wsd, *cosine.get(&key(wsd))?)))
        .collect()
}
