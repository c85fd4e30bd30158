//! Which trials of a sweep the page means, and a page of them.
//!
//! Refuses to know how they are drawn.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::live::database::{Database, known, opened};
use crate::record::{Column, Kind, TrialRow};
use crate::run::failure::Failure;
use crate::store::{LeanTrial, Store};
use crate::study::filter::Filter;

/// Trials on a page where nobody asks for another number.
const PAGE: usize = 50;
/// The most that can be asked for.
const PAGE_MAX: usize = 1000;

/// Which trials of a sweep are meant.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(rename = "where")]
    condition: Option<String>,
    sort: Option<String>,
    #[serde(default)]
    down: bool,
    #[serde(default)]
    offset: usize,
    pub(super) limit: Option<usize>,
    /// Trials of this budget alone, in tokens as asked.
    budget: Option<u64>,
    /// Trials of this batch alone, in tokens.
    batch: Option<u64>,
}

impl Which {
    /// Whether a trial is of the budget and batch that were asked for.
    fn is_of(&self, budget: u64, batch: u64) -> bool {
        self.budget.is_none_or(|asked| asked == budget) && self.batch.is_none_or(|asked| asked == batch)
    }
}

/// Some trials of a sweep.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    sweep: String,
    /// Trials of the sweep.
    total: usize,
    /// Trials for which the condition holds.
    matching: usize,
    offset: usize,
    trials: Vec<TrialRow>,
}

pub(super) async fn page(database: &Database, sweep: &str, which: &Which) -> Result<Page, Failure> {
    let limit = which.limit.unwrap_or(PAGE).min(PAGE_MAX);
    let mut reader = database.slow().await;
    let opened = opened(reader.open(database.context.workdir.database()).await?)?;
    known(&mut opened.store, sweep).await?;
    let condition = condition(which);
    let is_best_first = which.sort.as_deref() == Some("final_loss") && !which.down;
    let is_whole = condition.is_none() && which.budget.is_none() && which.batch.is_none();
    if is_whole && (which.sort.is_none() || is_best_first) {
        let total = opened.store.trial_count(sweep).await? as usize;
        let trials = opened
            .store
            .trial_page(sweep, which.offset as u64, limit as u64, is_best_first)
            .await?;
        return Ok(Page {
            sweep: sweep.to_owned(),
            total,
            matching: total,
            offset: which.offset,
            trials,
        });
    }
    let mut trials = opened.store.trials(Some(sweep)).await?;
    let total = trials.len();
    let filter = Filter::new(condition, &trials)?;
    trials.retain(|trial| filter.holds(trial) && which.is_of(trial.tokens_asked, trial.batch_tokens));
    let matching = trials.len();
    if let Some(sort) = &which.sort {
        order(&mut trials, sort, which.down)?;
    }
    Ok(Page {
        sweep: sweep.to_owned(),
        total,
        matching,
        offset: which.offset,
        trials: trials.into_iter().skip(which.offset).take(limit).collect(),
    })
}

fn condition(which: &Which) -> Option<&str> {
    which
        .condition
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

/// Orders trials by a column; what has no value comes last, either way.
fn order(trials: &mut [TrialRow], column: &str, down: bool) -> Result<(), Failure> {
    let name = if column == "params" {
        "params_non_embedding"
    } else {
        column
    };
    let is_ordered = |it: &&Column| it.name == name && (it.kind != Kind::Text || name == "state");
    let Some(found) = TrialRow::COLUMNS.iter().find(is_ordered) else {
        return Err(Failure::invalid(
            "unknown_column",
            format!("trials cannot be sorted by `{column}`"),
            "by state, params, or any column of numbers such as lr, tokens or final_loss",
        ));
    };
    let number = |row: &TrialRow| match found.kind {
        Kind::Text => Some(f64::from(row.state as u8)),
        Kind::Count | Kind::Number => (found.get)(row).number(),
    };
    trials.sort_by(|a, b| match (number(a), number(b)) {
        (Some(a), Some(b)) if down => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    Ok(())
}

/// The trials of a sweep for which the condition holds, of one budget and batch where these are given.
pub(super) async fn meant(
    store: &mut Store,
    sweep: &str,
    which: &Which,
    mut trials: Vec<LeanTrial>,
) -> Result<Vec<LeanTrial>, Failure> {
    if let Some(condition) = condition(which) {
        let rows = store.trials(Some(sweep)).await?;
        let filter = Filter::new(Some(condition), &rows)?;
        let meant: BTreeSet<&str> = rows
            .iter()
            .filter(|row| filter.holds(row))
            .map(|row| row.trial.as_str())
            .collect();
        trials.retain(|it| meant.contains(it.trial.as_str()));
    }
    trials.retain(|it| which.is_of(it.tokens_asked, it.batch_tokens));
    Ok(trials)
}
