//! The frame of a study: which sizes, budgets and grids suit its target, its budget and the speed of the machine.
//!
//! Fixed once, before the first run. Refuses to know what the runs will say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::ladder::{self, LADDER};
use crate::spec::resolve;
use crate::spec::study_file::{Question, StudyFile};
use crate::units::significant;

/// Sizes, budgets and grids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The sizes of the laws, rising.
    pub models: Vec<String>,
    /// The larger size that is foretold; none: none is.
    pub ahead: Option<String>,
    /// Budgets, rising: all sizes share them, so that they share trunks.
    pub tokens: Vec<u64>,
    pub context: u64,
    pub batch_tokens: u64,
    /// Tokens of warm-up, at every batch.
    pub warmup: u64,
    pub decay_fraction: f64,
    /// Learning rates to begin with, rising.
    pub lrs: Vec<f64>,
    pub batches: Vec<u64>,
    pub decays: Vec<f64>,
    /// Constants that are tried beside the defaults, one at a time, by path of the axis.
    pub constants: BTreeMap<String, Vec<Value>>,
    /// FLOPs per second of the whole machine, as it was known at the beginning.
    pub flops_per_second: f64,
}

/// What a study is framed by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// FLOPs per second of the whole machine.
    pub flops_per_second: f64,
    /// Tokens of the training split; runs are no longer.
    pub train_tokens: u64,
}

/// Sizes of a law at most: more of them say little more.
const SIZES_MAX: usize = 5;
/// Sizes of a law at least.
const SIZES_MIN: usize = 3;
/// Neighbouring sizes differ by this factor at least.
const STEP_MIN: f64 = 1.6;
/// The run that is foretold is so many times larger, at least.
const AHEAD_MIN: f64 = 2.0;
/// Learning rates and batches to begin with differ by this factor.
const STEP: f64 = 2.0;
/// Steps of a run of the middle budget.
const STEPS: u64 = 256;
/// The least tokens of the longest run: shorter ones show little beyond the warm-up.
const TOKENS_MIN: f64 = 400e3;

impl Frame {
    /// Parameters without the embedding of a size on the ladder.
    pub fn params(model: &str) -> u64 {
        ladder::find(model).map_or(0, |rung| rung.shape.params_non_embedding().0)
    }

    /// The frames that suit a study, the most ambitious first; the last is the least that carries a law.
    pub fn all(study: &StudyFile, setting: &Setting) -> Vec<Self> {
        if let Some(models) = study.ranges.get("model") {
            return vec![Self::of_models(study, setting, named(models))];
        }
        let below: Vec<&str> = LADDER.iter().map(|rung| rung.name).collect();
        let below: Vec<&str> = below
            .into_iter()
            .filter(|name| Self::params(name) < study.target.params)
            .collect();
        let mut frames = Vec::new();
        for top in (1..below.len()).rev() {
            for count in (SIZES_MIN..=SIZES_MAX).rev() {
                let mut models = downwards(&below[..top], count);
                let last = Self::params(models.last().map_or("", String::as_str)) as f64;
                let ahead = below[top..]
                    .iter()
                    .find(|name| Self::params(name) as f64 >= AHEAD_MIN * last);
                if models.len() == count
                    && let Some(ahead) = ahead
                {
                    models.push((*ahead).to_owned());
                    frames.push(Self::of_models(study, setting, models));
                }
            }
        }
        if frames.is_empty() {
            // A target as small as the smallest rungs, or less text than these want: the smallest rungs all the same.
            let names = LADDER.iter().take(SIZES_MIN + 1).map(|rung| rung.name.to_owned());
            frames.push(Self::of_models(study, setting, names.collect()));
        }
        frames
    }

    /// Of sizes, rising, the last of which is foretold where there are more than a law needs.
    fn of_models(study: &StudyFile, setting: &Setting, mut models: Vec<String>) -> Self {
        let foretells = study.asks(Question::Forecast) && models.len() > SIZES_MIN;
        let ahead = if foretells { models.pop() } else { None };
        let tokens = study.numbers("tokens").map_or_else(
            || budgets(study, setting, &models),
            |all| all.into_iter().map(|count| count as u64).collect(),
        );
        let fixed = |path: &str| study.fixed.get(path).and_then(Value::as_f64);
        let context = fixed("context").map_or_else(|| context_of(&models), |context| context as u64);
        let (batch_tokens, batches) = batches(study, &tokens, context);
        let shortest = tokens.first().copied().unwrap_or(0);
        let warmup = (resolve::WARMUP_BATCHES * batch_tokens).min(shortest / resolve::WARMUP_PARTS);
        let decay_fraction = fixed("schedule.decay_fraction").unwrap_or(resolve::DECAY_FRACTION);
        let decays = match fixed("schedule.decay_fraction") {
            Some(one) => vec![one],
            None => study
                .numbers("schedule.decay_fraction")
                .unwrap_or_else(|| vec![0.05, 0.1, 0.2]),
        };
        let decay_fraction = nearest(&decays, decay_fraction);
        let around = |middle: f64| vec![middle / STEP, middle, middle * STEP];
        Self {
            models,
            ahead,
            context,
            batch_tokens,
            warmup,
            decay_fraction,
            lrs: study.numbers("lr").unwrap_or_else(|| around(resolve::LR)),
            batches,
            decays,
            constants: constants(study),
            flops_per_second: setting.flops_per_second,
            tokens,
        }
    }

    /// The longest budget.
    pub fn longest(&self) -> u64 {
        self.tokens.last().copied().unwrap_or(0)
    }

    /// The middle of the budgets, by ratio.
    pub fn middle_tokens(&self) -> f64 {
        let first = self.tokens.first().copied().unwrap_or(1) as f64;
        (first * self.longest() as f64).sqrt()
    }

    /// The sizes at which grids are trained: the smallest three, which cost least.
    pub fn small(&self) -> &[String] {
        &self.models[..self.models.len().min(SIZES_MIN)]
    }

    /// The size at which single questions are asked: the second, which costs little and is no extreme.
    pub fn probe(&self) -> &str {
        self.models.get(1).or(self.models.first()).map_or("", String::as_str)
    }
}

fn named(values: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    names.sort_by_key(|name| Frame::params(name));
    names.dedup();
    names
}

/// So many sizes from the last downwards, each smaller by [`STEP_MIN`] at least; rising.
fn downwards(below: &[&str], count: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in below.iter().rev() {
        let is_apart = found
            .last()
            .is_none_or(|last| Frame::params(last) as f64 >= STEP_MIN * Frame::params(name) as f64);
        if is_apart && found.len() < count {
            found.push((*name).to_owned());
        }
    }
    found.reverse();
    found
}

/// The tokens of the longest run: twice as many a parameter, at the middle size, as the target has.
fn wanted(study: &StudyFile, models: &[String]) -> f64 {
    const RATIO: [f64; 2] = [10.0, 100.0];
    let ratio = (study.target.tokens as f64 / study.target.params as f64).clamp(RATIO[0], RATIO[1]);
    let ends = [models.first(), models.last()].map(|name| name.map_or(1.0, |name| Frame::params(name) as f64));
    (2.0 * ratio * (ends[0] * ends[1]).sqrt()).max(TOKENS_MIN)
}

/// Three budgets, each twice the one before.
fn budgets(study: &StudyFile, setting: &Setting, models: &[String]) -> Vec<u64> {
    let longest = significant(wanted(study, models).min(setting.train_tokens.max(1) as f64), 2);
    [4.0, 2.0, 1.0].map(|part| (longest / part) as u64).into()
}

/// Longer sequences for larger sizes; short ones where a processor trains.
fn context_of(models: &[String]) -> u64 {
    match models.last().map_or(0, |name| Frame::params(name)) {
        small if small < 1_000_000 => 128,
        medium if medium < 20_000_000 => 256,
        _ => 512,
    }
}

/// The batch to begin with and the batches that are tried: whole sequences.
fn batches(study: &StudyFile, tokens: &[u64], context: u64) -> (u64, Vec<u64>) {
    if let Some(all) = study.numbers("batch_tokens") {
        let all: Vec<u64> = all.into_iter().map(|count| count as u64).collect();
        return (all[all.len() / 2], all);
    }
    let middle = tokens.get(tokens.len() / 2).copied().unwrap_or(0) / STEPS;
    // A power of two of sequences.
    let sequences = (middle / context.max(1)).max(4);
    let batch = context * (1 << sequences.ilog2());
    (batch, vec![batch / 2, batch, batch * 2])
}

fn nearest(values: &[f64], to: f64) -> f64 {
    let distance = |value: &f64| (value - to).abs();
    values
        .iter()
        .copied()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))
        .unwrap_or(to)
}

/// Axes of the ranges that no other question asks for; without any, the two that matter most to `MiniCPM` (section 3).
fn constants(study: &StudyFile) -> BTreeMap<String, Vec<Value>> {
    const OTHERS: [&str; 5] = ["model", "lr", "tokens", "batch_tokens", "schedule.decay_fraction"];
    let of_ranges = study.ranges.iter().filter(|(path, _)| !OTHERS.contains(&path.as_str()));
    let found: BTreeMap<String, Vec<Value>> = of_ranges.map(|(path, values)| (path.clone(), values.clone())).collect();
    if !found.is_empty() {
        return found;
    }
    let own = [("init_std", json!([0.05, 0.2])), ("scale_emb", json!([6.0, 24.0]))];
    let free = own.into_iter().filter(|(path, _)| !study.fixed.contains_key(*path));
    free.map(|(path, values)| (path.to_owned(), values.as_array().cloned().unwrap_or_default()))
        .collect()
}
