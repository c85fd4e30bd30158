//! The tables and sentences of a report: summary, recipe, laws, check-list, trials, what was left out, provenance.
//!
//! Refuses to know figures.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::protocol::Trainer;
use crate::record::{TrialRow, TrialState, count_states};
use crate::report::axes::range;
use crate::report::study::Study;
use crate::report::text::{self, number, plural, size_label};
use crate::report::view::{Cell, Column, Table};
use crate::units::{human_seconds, whole_count};

/// A trial without a final loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub trial: String,
    pub slug: String,
    pub reason: String,
}

/// Most trials that the table lists.
pub const TRIALS_SHOWN_MAX: usize = 1000;

/// The study in numbers.
pub(crate) fn summary(trials: &[TrialRow]) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (state, count) in count_states(trials.iter().map(|trial| trial.state)) {
        if count > 0 {
            rows.push((state.to_owned(), plural(count as usize, "trial")));
        }
    }
    let sizes = range(trials.iter().map(|t| t.params_non_embedding as f64));
    if let Some([low, high]) = sizes {
        let span = span(low, high, text::count);
        rows.push(("parameters, without embedding".to_owned(), span));
    }
    if let Some([low, high]) = range(trials.iter().map(|trial| trial.tokens as f64)) {
        rows.push(("tokens of a run".to_owned(), span(low, high, text::count)));
    }
    let seconds: f64 = trials.iter().filter_map(|trial| trial.seconds).sum();
    if seconds > 0.0 {
        rows.push(("training time, as if alone".to_owned(), human_seconds(seconds)));
    }
    let best = trials
        .iter()
        .filter_map(|trial| Some((trial.final_loss?, trial)))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((loss, trial)) = best {
        let size = size_label(&trial.model, trial.params_non_embedding);
        rows.push((
            "lowest final loss, nats per token".to_owned(),
            format!("{} ({size})", text::loss(loss)),
        ));
    }
    rows
}

pub(crate) fn span(low: f64, high: f64, show: impl Fn(f64) -> String) -> String {
    let (low, high) = (show(low), show(high));
    if low == high { low } else { format!("{low} to {high}") }
}

/// What a reader must know first.
pub(crate) fn notices(study: &Study<'_>) -> Vec<String> {
    let mut notices = Vec::new();
    if study.trials.is_empty() && !study.is_law_alone() {
        notices.push("This study has no trials yet: run its sweep, then draw the report again.".to_owned());
    }
    let toys = study.trials.iter().filter(|t| t.trainer == Trainer::Toy).count();
    if toys > 0 {
        notices.push(format!(
            "{} of {} come from the toy trainer: their losses are computed from a planted law, nothing was trained.",
            plural(toys, "trial"),
            study.trials.len()
        ));
    }
    let open = study
        .trials
        .iter()
        .filter(|t| matches!(t.state, TrialState::Pending | TrialState::Running))
        .count();
    if open > 0 {
        notices.push(format!(
            "{} not finished: what follows will change.",
            if open == 1 {
                "1 trial is".to_owned()
            } else {
                format!("{open} trials are")
            }
        ));
    }
    notices
}

/// Every trial, by size, tokens, schedule and learning rate; and how many are beyond the limit.
pub(crate) fn trials(trials: &[TrialRow]) -> (Table, usize) {
    let mut order: Vec<&TrialRow> = trials.iter().collect();
    order.sort_by(|a, b| {
        (a.params_non_embedding, a.tokens, a.schedule.name())
            .cmp(&(b.params_non_embedding, b.tokens, b.schedule.name()))
            .then(a.lr.total_cmp(&b.lr))
            .then(a.slug.cmp(&b.slug))
            .then(a.trial.cmp(&b.trial))
    });
    let unlisted = order.len().saturating_sub(TRIALS_SHOWN_MAX);
    order.truncate(TRIALS_SHOWN_MAX);
    let table = Table {
        columns: vec![
            Column::words("trial"),
            Column::words("state"),
            Column::words("model"),
            Column::numbers("N"),
            Column::numbers("tokens"),
            Column::words("schedule"),
            Column::numbers("lr"),
            Column::numbers("batch"),
            Column::numbers("seed"),
            Column::numbers("final loss"),
            Column::numbers("bits/byte"),
            Column::numbers("FLOP"),
            Column::numbers("time"),
        ],
        rows: order.into_iter().map(trial_row).collect(),
    };
    (table, unlisted)
}

fn trial_row(trial: &TrialRow) -> Vec<Cell> {
    let count = |value: u64| Cell::number(text::count(value as f64), value as f64);
    let some = |value: Option<f64>, show: &dyn Fn(f64) -> String| {
        value.map_or_else(|| "".into(), |value| Cell::number(show(value), value))
    };
    let state = match (trial.state, trial.diverged_at_tokens) {
        (TrialState::Diverged, Some(tokens)) => {
            format!("diverged at {}", text::count(tokens as f64))
        }
        (state, _) => state.name().to_owned(),
    };
    vec![
        trial.slug.clone().into(),
        state.into(),
        trial.model.clone().into(),
        count(trial.params_non_embedding),
        count(trial.tokens),
        trial.schedule.name().into(),
        Cell::number(number(trial.lr, 3), trial.lr),
        Cell::number(whole_count(trial.batch_tokens), trial.batch_tokens as f64),
        trial.seed.to_string().into(),
        some(trial.final_loss, &text::loss),
        some(trial.bits_per_byte, &text::loss),
        Cell::number(format!("{:.1e}", trial.flops), trial.flops),
        some(trial.seconds, &human_seconds),
    ]
}

/// Every trial without a final loss, and why.
pub(crate) fn left_out(trials: &[TrialRow]) -> Vec<LeftOut> {
    trials
        .iter()
        .filter_map(|trial| {
            let mut reason = trial.why_no_loss()?.to_owned();
            if let (TrialState::Diverged, Some(tokens)) = (trial.state, trial.diverged_at_tokens) {
                reason = format!("diverged at {} tokens", text::count(tokens as f64));
            }
            Some(LeftOut {
                trial: trial.trial.clone(),
                slug: trial.slug.clone(),
                reason,
            })
        })
        .collect()
}

/// Where the numbers come from: each distinct value with its number of trials.
pub(crate) fn provenance(trials: &[TrialRow]) -> Vec<(String, String)> {
    type Read = fn(&TrialRow) -> Option<String>;
    let fields: [(&str, Read); 10] = [
        ("trainer", |t| Some(t.trainer.name().to_owned())),
        ("parametrisation", |t| Some(t.parametrization.name().to_owned())),
        ("code version", |t| t.code_version.clone()),
        ("code epoch", |t| Some(t.code_epoch.to_string())),
        ("device", |t| t.device.clone()),
        ("numerics", |t| Some(t.numerics.clone())),
        ("data hash", |t| Some(t.data_hash.clone())),
        ("vocabulary", |t| Some(t.vocab.to_string())),
        ("context", |t| Some(format!("{} tokens", t.context))),
        ("seeds", |t| Some(t.seed.to_string())),
    ];
    let mut rows: Vec<(String, String)> = fields
        .into_iter()
        .map(|(name, read)| (name.to_owned(), distinct(trials, read)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    rows.extend(setups(trials));
    let configs: BTreeSet<&str> = trials.iter().map(|t| t.config_hash.as_str()).collect();
    if !trials.is_empty() {
        rows.push((
            "configurations".to_owned(),
            format!("{} distinct in {}", configs.len(), plural(trials.len(), "trial")),
        ));
    }
    rows
}

/// What was asked for beside what laws vary and what is told above, axis by axis.
fn setups(trials: &[TrialRow]) -> Vec<(String, String)> {
    let is_told = |path: &&str| matches!(*path, "parametrization" | "context");
    let paths = trials.iter().flat_map(|trial| trial.setup.keys()).map(String::as_str);
    let paths: BTreeSet<&str> = paths.filter(|path| !is_told(path)).collect();
    let value = |trial: &TrialRow, path: &str| Some(trial.setup.get(path)?.trim_matches('"').to_owned());
    paths
        .into_iter()
        .map(|path| (path.to_owned(), distinct(trials, |trial| value(trial, path))))
        .collect()
}

/// Distinct values; with their counts when there are several, and cut short when there are many.
fn distinct(trials: &[TrialRow], read: impl Fn(&TrialRow) -> Option<String>) -> String {
    const LISTED_MAX: usize = 6;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for value in trials.iter().filter_map(read).filter(|value| !value.is_empty()) {
        *counts.entry(value).or_default() += 1;
    }
    if let (1, Some((value, _))) = (counts.len(), counts.first_key_value()) {
        return value.clone();
    }
    let mut listed: Vec<String> = counts
        .iter()
        .take(LISTED_MAX)
        .map(|(value, count)| format!("{value} ({})", plural(*count, "trial")))
        .collect();
    if counts.len() > LISTED_MAX {
        listed.push(format!("{} more", counts.len() - LISTED_MAX));
    }
    listed.join(", ")
}
