//! What the proxies were trained with, beside what laws vary: the rest of a recipe.
//!
//! Refuses to know what a recipe makes of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::fit::refusal::Refusal;
use crate::model::config::ADAM_EPS;
use crate::recipe::OptimizerItem;
use crate::recipe::build::{Annealing, Comparison, Proxies};
use crate::record::TrialRow;
use crate::report::settings::pairs_of;
use crate::run::failure::Failure;
use crate::run::fit::refused;
use crate::run::fit::sweep::Laws;
use crate::spec::{ScheduleName, Settings};
use crate::store::Store;

/// The settings that a recipe takes from the proxies: those of the best trial of the largest size.
pub(super) async fn proxies(store: &mut Store, laws: &Laws) -> Result<Proxies, Failure> {
    let parametrization = parametrization(laws);
    let alike: Vec<&TrialRow> = laws
        .trials()
        .iter()
        .filter(|row| Some(row.parametrization.as_str()) == parametrization)
        .collect();
    let best = best(alike.iter().copied());
    let best = best.ok_or_else(|| refused(&Refusal::NotFinished { left_out: alike.len() }))?;
    let Settings {
        parametrization,
        multipliers,
        beta1,
        beta2,
        weight_decay,
        clip,
        ..
    } = settings(store, best).await?;
    let decaying = alike
        .iter()
        .copied()
        .filter(|row| row.schedule == ScheduleName::Wsd.name());
    let annealing = match self::best(decaying) {
        Some(row) => {
            let schedule = settings(store, row).await?.schedule;
            Some(Annealing {
                form: schedule.decay,
                fraction: schedule.decay_fraction,
                last: schedule.final_fraction,
            })
        }
        None => None,
    };
    Ok(Proxies {
        parametrization,
        multipliers,
        optimizer: OptimizerItem {
            beta1,
            beta2,
            eps: ADAM_EPS,
            weight_decay,
            clip,
        },
        annealing,
        differ_in: differences(&laws.trials),
        wsd_less_cosine: wsd_less_cosine(&laws.trials),
    })
}

/// The data that the proxies were trained on.
pub async fn data_name(store: &mut Store, trials: &[TrialRow]) -> Result<String, Failure> {
    match trials.first() {
        Some(first) => Ok(settings(store, first).await?.data),
        None => Ok(String::new()),
    }
}

async fn settings(store: &mut Store, row: &TrialRow) -> Result<Settings, Failure> {
    let settings = store.settings(&row.sweep, &row.trial).await?;
    Ok(serde_json::from_value(settings).map_err(std::io::Error::other)?)
}

/// That of the finished trials on which the law of the learning rate rests; else that of most.
fn parametrization(laws: &Laws) -> Option<&str> {
    let out: BTreeSet<&str> = match &laws.lr {
        Ok(kept) => kept.left_out.iter().map(|it| it.trial.as_str()).collect(),
        Err(_) => BTreeSet::new(),
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let counts_here = |row: &&TrialRow| row.final_loss.is_some() && !out.contains(row.trial.as_str());
    for row in laws.trials().iter().filter(counts_here) {
        *counts.entry(row.parametrization.as_str()).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|&(name, count)| (count, Reverse(name)));
    most.map(|(name, _)| name)
}

/// The lowest final loss of the most tokens of the largest size that has one.
fn best<'a>(trials: impl Iterator<Item = &'a TrialRow>) -> Option<&'a TrialRow> {
    let finished = trials.filter_map(|row| Some((row, row.final_loss?)));
    let best = finished.max_by(|(a, loss_a), (b, loss_b)| {
        let size = a.params_non_embedding.cmp(&b.params_non_embedding);
        size.then(a.tokens.cmp(&b.tokens)).then(loss_b.total_cmp(loss_a))
    });
    best.map(|(row, _)| row)
}

/// The names of settings in which trials differ; of the schedule, what differs between WSD trials.
fn differences(trials: &[TrialRow]) -> Vec<String> {
    const OF_WSD: [&str; 3] = ["schedule.decay", "schedule.decay_fraction", "schedule.final_fraction"];
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in trials {
        let is_wsd = row.schedule == ScheduleName::Wsd.name();
        for (name, value) in &row.setup {
            if !name.starts_with("schedule.") || (is_wsd && OF_WSD.contains(&name.as_str())) {
                values.entry(name).or_default().insert(value);
            }
        }
    }
    let differs = values.into_iter().filter(|(_, values)| values.len() > 1);
    differs.map(|(name, _)| name.to_owned()).collect()
}

/// WSD and cosine runs that differ in nothing else.
fn wsd_less_cosine(trials: &[TrialRow]) -> Option<Comparison> {
    // Several decays may fit one cosine; the best of them is what WSD can do.
    let mut differences: BTreeMap<&str, f64> = BTreeMap::new();
    let mut rates = BTreeSet::new();
    for (wsd, cosine) in pairs_of(trials) {
        if let (Some(wsd), Some(less)) = (wsd.final_loss, cosine.final_loss) {
            let best = differences.entry(cosine.trial.as_str()).or_insert(wsd - less);
            *best = best.min(wsd - less);
            rates.insert(cosine.lr.to_bits());
        }
    }
    let pairs = differences.len() as u64;
    (pairs > 0).then(|| Comparison {
        pairs,
        rates: rates.len() as u64,
        mean: differences.values().sum::<f64>() / pairs as f64,
    })
}
