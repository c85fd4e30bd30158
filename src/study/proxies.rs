//! What the proxies were trained with, beside what laws vary: the rest of a recipe.
//!
//! Refuses to know what a recipe makes of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::config::ADAM_EPS;
use crate::model::mup::Parametrization;
use crate::recipe::OptimizerItem;
use crate::recipe::TextShape;
use crate::recipe::evidence::{Annealing, Comparison, Proxies};
use crate::record::TrialRow;
use crate::spec::{self, ScheduleName, Settings};
use crate::study::LeftOut;
use crate::study::pairs::wsd_and_cosine;

/// The trials that a recipe takes its settings from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best<'a> {
    /// The best trial of the largest size.
    pub of_all: &'a TrialRow,
    /// The best that was trained with WSD; none: none was.
    pub decaying: Option<&'a TrialRow>,
}

/// The best of the trials on which the laws rest, of the parametrization of most of them; `left_out` are the others. Without a finished trial, how many of that parametrization there are.
///
/// # Errors
/// How many trials have not finished.
pub fn best<'a>(trials: &'a [TrialRow], left_out: &[LeftOut]) -> Result<Best<'a>, usize> {
    let out: BTreeSet<&str> = left_out.iter().map(|it| it.trial.as_str()).collect();
    let parametrization = parametrization(trials, left_out);
    let is_alike = |row: &&TrialRow| Some(row.parametrization) == parametrization && !out.contains(row.trial.as_str());
    let alike: Vec<&TrialRow> = trials.iter().filter(is_alike).collect();
    let is_wsd = |row: &&TrialRow| row.schedule == ScheduleName::Wsd;
    Ok(Best {
        of_all: lowest(alike.iter().copied()).ok_or(alike.len())?,
        decaying: lowest(alike.iter().copied().filter(is_wsd)),
    })
}

/// What a recipe takes from the best trial and its settings, and from those of the best that was trained with WSD.
/// `left_out`: what did not enter the law of the learning rate; the batch is that of the runs that did.
pub fn proxies(
    row: &TrialRow,
    best: &Settings,
    decaying: Option<&Settings>,
    trials: &[TrialRow],
    left_out: &[LeftOut],
) -> Proxies {
    let out: BTreeSet<&str> = left_out.iter().map(|it| it.trial.as_str()).collect();
    let entered = trials.iter().filter(|row| !out.contains(row.trial.as_str()));
    let batches: BTreeSet<u64> = entered.map(|row| row.batch_tokens).collect();
    Proxies {
        text: TextShape {
            vocab: row.vocab,
            context: row.context,
        },
        batch_tokens: batches.first().copied().filter(|_| batches.len() == 1),
        parametrization: best.parametrization,
        multipliers: best.multipliers,
        optimizer: OptimizerItem {
            beta1: best.beta1,
            beta2: best.beta2,
            eps: ADAM_EPS,
            weight_decay: best.weight_decay,
            clip: best.clip,
        },
        schedule: row.schedule,
        // Another schedule ends at a share of the peak, too.
        annealing: decaying
            .or((row.schedule != ScheduleName::Wsd).then_some(best))
            .map(|settings| Annealing {
                form: settings.schedule.decay,
                fraction: settings.schedule.decay_fraction,
                last: settings.schedule.final_fraction,
            }),
        differ_in: differences(trials),
        wsd_less_cosine: wsd_less_cosine(trials),
    }
}

fn parametrization(trials: &[TrialRow], left_out: &[LeftOut]) -> Option<Parametrization> {
    let out: BTreeSet<&str> = left_out.iter().map(|it| it.trial.as_str()).collect();
    let mut counts: BTreeMap<Parametrization, usize> = BTreeMap::new();
    let counts_here = |row: &&TrialRow| row.final_loss.is_some() && !out.contains(row.trial.as_str());
    for row in trials.iter().filter(counts_here) {
        *counts.entry(row.parametrization).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|&(kind, count)| (count, Reverse(kind.name())));
    most.map(|(kind, _)| kind)
}

/// The lowest final loss of the longest budget of the largest size that has one.
fn lowest<'a>(trials: impl Iterator<Item = &'a TrialRow>) -> Option<&'a TrialRow> {
    let finished = trials.filter_map(|row| Some((row, row.final_loss?)));
    let best = finished.max_by(|(a, loss_a), (b, loss_b)| {
        let size = a.params_non_embedding.cmp(&b.params_non_embedding);
        size.then(a.tokens_asked.cmp(&b.tokens_asked))
            .then(loss_b.total_cmp(loss_a))
    });
    best.map(|(row, _)| row)
}

/// The names of settings in which trials differ; of the schedule, what differs between WSD trials.
fn differences(trials: &[TrialRow]) -> Vec<String> {
    let of_decay = spec::axes_of_decay();
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in trials {
        let is_wsd = row.schedule == ScheduleName::Wsd;
        for (name, value) in &row.setup {
            if !name.starts_with("schedule.") || (is_wsd && of_decay.contains(&name.as_str())) {
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
    for (wsd, cosine) in wsd_and_cosine(trials) {
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
