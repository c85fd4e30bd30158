//! Ranges, ranks and groups that several figures share.
//!
//! Refuses to know any one figure.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::TrialRow;
use crate::report::law_view::LawPoint;
use crate::report::study::Study;
use crate::report::text;
use crate::report::view::{Axis, Ink, Numbers, Omitted, Scale};

/// Room around the data, as a share of the range.
const PADDING: f64 = 0.06;
/// No axis runs farther from 1 than this factor, whatever a row holds.
const FARTHEST: f64 = 1e30;
/// Most panels side by side and below each other in one figure.
const PANELS_MAX: usize = 6;
/// Most entries of a key.
const KEY_MAX: usize = 12;
/// Most dots of one figure: more hide each other, and make a page heavy.
pub(crate) const DOTS_MAX: usize = 600;
/// Budgets within this factor are one: whole steps make `20N` a little more or less than 20.
const SAME_BUDGET: f64 = 1.06;
/// With more token counts than this, budgets are told apart by tokens for each parameter.
const TOKEN_COUNTS_MAX: usize = 4;

/// The smallest and the largest of the finite values.
pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> Option<[f64; 2]> {
    values
        .into_iter()
        .filter(|value| value.is_finite())
        .fold(None, |range, value| {
            let [low, high] = range.unwrap_or([value, value]);
            Some([f64::min(low, value), f64::max(high, value)])
        })
}

/// The same of the values above 0, for logarithmic axes.
pub(crate) fn positive_range(values: impl IntoIterator<Item = f64>) -> Option<[f64; 2]> {
    range(values.into_iter().filter(|&value| value > 0.0))
}

/// A logarithmic axis around values above 0.
pub(crate) fn log_axis(label: &str, numbers: Numbers, [low, high]: [f64; 2]) -> Axis {
    let low = low.clamp(1.0 / FARTHEST, FARTHEST);
    let high = high.clamp(low, FARTHEST);
    let spread = (high / low).ln().max(0.2);
    let pad = (spread * PADDING).exp();
    let middle = f64::midpoint(low.ln(), high.ln());
    Axis {
        label: label.to_owned(),
        scale: Scale::Log,
        numbers,
        from: (middle - spread / 2.0).exp() / pad,
        to: (middle + spread / 2.0).exp() * pad,
    }
}

/// A linear axis around values.
pub(crate) fn linear_axis(label: &str, numbers: Numbers, [low, high]: [f64; 2]) -> Axis {
    let low = low.clamp(-FARTHEST, FARTHEST);
    let high = high.clamp(low, FARTHEST);
    let spread = (high - low).max(1e-6 + 1e-3 * high.abs());
    let middle = f64::midpoint(low, high);
    Axis {
        label: label.to_owned(),
        scale: Scale::Linear,
        numbers,
        from: middle - spread * (0.5 + PADDING),
        to: middle + spread * (0.5 + PADDING),
    }
}

/// An axis of losses: logarithmic when they span more than a factor of 2.5, as training curves do.
pub(crate) fn loss_axis(label: &str, values: [f64; 2]) -> Axis {
    if values[0] > 0.0 && values[1] / values[0] > 2.5 {
        log_axis(label, Numbers::Plain, values)
    } else {
        linear_axis(label, Numbers::Plain, values)
    }
}

/// An axis of peak learning rates.
pub(crate) fn rate_axis(rates: [f64; 2]) -> Axis {
    log_axis("peak learning rate", Numbers::Plain, rates)
}

/// The mean over seeds at each learning rate.
pub(crate) fn mean_by_lr(mut points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    points
        .chunk_by(|a, b| a[0].total_cmp(&b[0]).is_eq())
        .map(|runs| {
            let sum: f64 = runs.iter().map(|run| run[1]).sum();
            [runs[0][0], sum / runs.len() as f64]
        })
        .collect()
}

/// The trials of a study by name, and their sizes as ranks from small to large.
pub(crate) struct Roster<'a> {
    ranks: BTreeMap<(u64, &'a str), usize>,
    by_name: BTreeMap<&'a str, &'a TrialRow>,
}

impl<'a> Roster<'a> {
    /// The roster of trials.
    pub(crate) fn of(trials: &'a [TrialRow]) -> Self {
        let names: BTreeSet<(u64, &str)> = trials
            .iter()
            .map(|trial| (trial.params_non_embedding, trial.model.as_str()))
            .collect();
        Self {
            ranks: names.into_iter().zip(0..).collect(),
            by_name: trials.iter().map(|trial| (trial.trial.as_str(), trial)).collect(),
        }
    }

    /// The roster of a study: of its trials, or of what its laws rest on.
    pub(crate) fn of_study(study: &Study<'a>) -> Self {
        if !study.is_law_alone() {
            return Self::of(study.trials);
        }
        let points = study.laws.iter().flat_map(|law| law.points);
        let names: BTreeSet<(u64, &str)> = points
            .map(|point| (point.params as u64, point.model.as_str()))
            .collect();
        // Sizes that differ by less than their name says are one.
        let mut ranks: BTreeMap<(u64, &str), usize> = BTreeMap::new();
        let mut seen: Vec<&str> = Vec::new();
        for (params, name) in names {
            if !seen.contains(&name) {
                ranks.insert((params, name), seen.len());
                seen.push(name);
            }
        }
        Self {
            ranks,
            by_name: BTreeMap::new(),
        }
    }

    /// What stands under the pointer at a trial; its bare name if it is not of this study.
    pub(crate) fn hover(&self, name: &str) -> String {
        self.by_name
            .get(name)
            .map_or_else(|| name.to_owned(), |trial| text::trial_hover(trial))
    }

    /// What stands under the pointer at a run of a law.
    pub(crate) fn hover_point(&self, point: &LawPoint) -> String {
        if self.by_name.contains_key(point.trial.as_str()) {
            return self.hover(&point.trial);
        }
        format!(
            "{}\n{} parameters, {} tokens\nloss {}",
            point.trial,
            text::count(point.params),
            text::count(point.tokens),
            text::loss(point.loss)
        )
    }

    /// The ink of a trial's size.
    pub(crate) fn ink(&self, trial: &TrialRow) -> Ink {
        self.ink_of(trial.params_non_embedding, &trial.model)
    }

    /// The ink of a size by its parameters and name; plain if no trial has it.
    pub(crate) fn ink_of(&self, params: u64, model: &str) -> Ink {
        let of = self.ranks.len();
        match self.ranks.get(&(params, model)) {
            Some(&rank) => Ink::Size { rank, of },
            None => self.ink_named(model),
        }
    }

    /// The ink of a size by its name alone.
    pub(crate) fn ink_named(&self, model: &str) -> Ink {
        let of = self.ranks.len();
        self.ranks
            .iter()
            .find(|((_, name), _)| *name == model)
            .map_or(Ink::Plain, |(_, &rank)| Ink::Size { rank, of })
    }

    /// Sizes with their inks, from small to large: every one, or as many as tell how the inks run.
    pub(crate) fn key(&self) -> Vec<(Ink, String)> {
        let of = self.ranks.len();
        let most = of.min(KEY_MAX);
        let told: BTreeSet<usize> = (0..most).map(|at| at * (of - 1) / (most - 1).max(1)).collect();
        self.ranks
            .iter()
            .filter(|(_, rank)| told.contains(rank))
            .map(|(&(params, model), &rank)| (Ink::Size { rank, of }, text::size_label(model, params)))
            .collect()
    }
}

/// The token budgets of a study: by tokens when the sizes share a few counts, else by tokens for each parameter.
pub(crate) struct Budgets {
    by_ratio: bool,
    /// The smallest amount of each, sorted, at most [`PANELS_MAX`]; the largest are kept.
    kept: Vec<f64>,
}

impl Budgets {
    /// The budgets among pairs of parameters and tokens.
    pub(crate) fn of(runs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let runs: BTreeSet<(u64, u64)> = runs.into_iter().collect();
        let counts = clusters(runs.iter().map(|&(_, tokens)| tokens as f64));
        let by_ratio = counts.len() > TOKEN_COUNTS_MAX;
        let mut kept = if by_ratio {
            clusters(runs.iter().map(|&(params, tokens)| ratio(params, tokens)))
        } else {
            counts
        };
        let surplus = kept.len().saturating_sub(PANELS_MAX);
        kept.drain(..surplus);
        Self { by_ratio, kept }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Which one a run belongs to; none if it was dropped.
    pub(crate) fn index(&self, params: u64, tokens: u64) -> Option<usize> {
        let amount = if self.by_ratio {
            ratio(params, tokens)
        } else {
            tokens as f64
        };
        self.kept
            .iter()
            .position(|&start| (start..=start * SAME_BUDGET).contains(&amount))
    }

    /// The tokens of a size in a budget.
    pub(crate) fn tokens(&self, index: usize, params: f64) -> f64 {
        let amount = self.kept[index];
        if self.by_ratio { amount * params } else { amount }
    }

    /// Its heading: `3.1M tokens`, `20 tokens per parameter`.
    pub(crate) fn title(&self, index: usize) -> String {
        let amount = self.kept[index];
        if self.by_ratio {
            format!("{} tokens per parameter", text::number(amount, 2))
        } else {
            format!("{} tokens", text::count(amount))
        }
    }
}

/// Tokens for each parameter.
fn ratio(params: u64, tokens: u64) -> f64 {
    tokens as f64 / params.max(1) as f64
}

/// The smallest value of each group of values that are the same budget.
fn clusters(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let mut starts: Vec<f64> = Vec::new();
    for value in sorted {
        if starts.last().is_none_or(|&start| value > start * SAME_BUDGET) {
            starts.push(value);
        }
    }
    starts
}

/// At most [`DOTS_MAX`] of the items, evenly among them; the first always.
pub(crate) fn evenly<T>(items: impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let stride = items.len().div_ceil(DOTS_MAX).max(1);
    items.step_by(stride).collect()
}

/// The trials that a figure does not show, by reason; `otherwise` is that of trials which have a final loss.
pub(crate) fn omitted(trials: &[TrialRow], shown: &BTreeSet<&str>, otherwise: &str) -> Vec<Omitted> {
    let left_out = trials.iter().filter(|trial| !shown.contains(trial.trial.as_str()));
    group(left_out.map(|trial| trial.why_no_loss().unwrap_or(otherwise).to_owned()))
}

/// Groups reasons: the most frequent first, equal ones by name.
pub(crate) fn group(reasons: impl IntoIterator<Item = String>) -> Vec<Omitted> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut groups: Vec<Omitted> = counts
        .into_iter()
        .map(|(reason, trials)| Omitted { trials, reason })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.trials));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_of_rounded_steps_fall_together() {
        let runs = [
            (1000, 20_100),
            (2000, 40_200),
            (3000, 60_050),
            (1000, 5_010),
            (2000, 10_050),
        ];
        let budgets = Budgets::of(runs);
        assert_eq!(budgets.len(), 2);
        assert_eq!(budgets.title(1), "20 tokens per parameter");
        assert_eq!(budgets.index(3000, 60_050), Some(1));
    }

    #[test]
    fn shared_token_counts_are_budgets_by_themselves() {
        let budgets = Budgets::of([(1000, 50_000), (2000, 50_000), (2000, 100_000)]);
        assert_eq!(budgets.title(0), "50k tokens");
        assert_eq!(budgets.index(1000, 100_000), Some(1));
        assert_eq!(budgets.index(1000, 7), None);
    }

    #[test]
    fn an_axis_of_one_value_has_a_length() {
        let axis = log_axis("tokens", Numbers::Counts, [100.0, 100.0]);
        assert!(axis.from < 100.0 && axis.to > 100.0);
        let axis = linear_axis("loss", Numbers::Plain, [3.0, 3.0]);
        assert!(axis.from < 3.0 && axis.to > 3.0);
    }

    #[test]
    fn seeds_of_one_learning_rate_are_averaged() {
        let runs = vec![[0.01, 4.0], [0.001, 6.0], [0.01, 5.0]];
        assert_eq!(mean_by_lr(runs), vec![[0.001, 6.0], [0.01, 4.5]]);
    }
}
