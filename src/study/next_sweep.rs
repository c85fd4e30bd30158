//! What a study lacks, and the sweep to run next: of its sweeps the one that says most of what is missing, widened.
//!
//! Refuses to know why more is needed, and to write files.

use std::collections::{BTreeMap, BTreeSet};

use crate::recipe::evidence::BatchEdges;
use crate::recipe::next::{self, Tried, Widening};
use crate::record::TrialRow;
use crate::spec;

/// The sweeps of a study, any of which can be widened.
#[derive(Debug)]
pub struct NextSweep<'a> {
    bases: Vec<Base<'a>>,
}

/// A sweep that can be widened.
#[derive(Debug)]
struct Base<'a> {
    sweep: &'a str,
    spec: &'a str,
    tried: Tried,
    trials: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepFile {
    /// What it is called: `SWEEP-larger.yaml`.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

impl<'a> Base<'a> {
    fn new(sweep: &'a str, spec: &'a str, trials: &[TrialRow]) -> Self {
        let here: Vec<&TrialRow> = trials.iter().filter(|row| row.sweep == sweep).collect();
        let rising = |of: fn(&TrialRow) -> u64| -> Vec<u64> {
            let values: BTreeSet<u64> = here.iter().map(|row| of(row)).collect();
            values.into_iter().collect()
        };
        let mut lrs: Vec<f64> = here.iter().map(|row| row.lr).collect();
        lrs.sort_by(f64::total_cmp);
        lrs.dedup();
        let tried = Tried {
            lrs,
            largest: here.iter().map(|row| row.params_non_embedding).max().unwrap_or(0),
            batches: rising(|row| row.batch_tokens),
            tokens: rising(|row| row.tokens_asked),
            seeds: rising(|row| row.seed),
            context: here.iter().map(|row| row.context).max().unwrap_or(0),
        };
        Self {
            sweep,
            spec,
            tried,
            trials: here.len(),
        }
    }

    /// How much it says of what is to be widened.
    fn breadth(&self, widening: Widening) -> u64 {
        let tried = &self.tried;
        match widening {
            Widening::LearningRates { .. } | Widening::Seeds => tried.lrs.len() as u64,
            Widening::Sizes => tried.largest,
            Widening::Tokens => tried.tokens.len() as u64,
            Widening::Batches { .. } => tried.batches.len() as u64,
        }
    }
}

impl<'a> NextSweep<'a> {
    /// Of sweeps, by name and text of their files, and the trials of all of them.
    pub fn new(sweeps: impl Iterator<Item = (&'a str, &'a str)>, trials: &[TrialRow]) -> Self {
        Self {
            bases: sweeps.map(|(sweep, spec)| Base::new(sweep, spec, trials)).collect(),
        }
    }

    /// The sweep that says most of what is widened first (of equals the one that was named first), widened; none where
    /// its file cannot be.
    pub fn file(&self, widenings: &[Widening], why: &str) -> Option<SweepFile> {
        let first = widenings.first()?;
        let base = self.bases.iter().rev().max_by_key(|base| base.breadth(*first))?;
        let text = next::widened(base.sweep, base.spec, &base.tried, widenings, why)?;
        let name = format!("{}-{}.yaml", base.sweep, first.name());
        // What cannot be read back, or asks for nothing more, is not handed out.
        let (sweep, _) = spec::read(&text, &name, &[]).ok()?;
        (sweep.trials.len() > base.trials).then_some(SweepFile { name, text })
    }
}

/// The grid of learning rates, widened where its best values lie: of each size and budget.
pub fn beyond_the_best(trials: &[TrialRow]) -> Widening {
    let mut best: BTreeMap<(u64, u64), (f64, f64)> = BTreeMap::new();
    for row in trials {
        let Some(loss) = row.final_loss else { continue };
        let point = (row.params_non_embedding, row.tokens_asked);
        let place = best.entry(point).or_insert((loss, row.lr));
        if loss < place.0 {
            *place = (loss, row.lr);
        }
    }
    let is_best = |lr: Option<&f64>| best.values().any(|(_, best)| Some(best) == lr);
    let of_all: BTreeSet<u64> = trials.iter().map(|row| row.lr.to_bits()).collect();
    let [lowest, highest] = [of_all.first(), of_all.last()].map(|bits| bits.map(|&bits| f64::from_bits(bits)));
    let (below, above) = (is_best(lowest.as_ref()), is_best(highest.as_ref()));
    Widening::LearningRates {
        below: below || best.is_empty(),
        above: above || best.is_empty(),
        // Else the best is the last that did not diverge.
        between: !below && !above && !best.is_empty(),
    }
}

/// Where the best batches lie: of each size and budget at which several were tried.
pub fn batch_edges(trials: &[TrialRow]) -> BatchEdges {
    let mut places: BTreeMap<(u64, u64), BTreeMap<u64, f64>> = BTreeMap::new();
    for row in trials {
        let Some(loss) = row.final_loss else { continue };
        let of_place = places.entry((row.params_non_embedding, row.tokens_asked)).or_default();
        let best = of_place.entry(row.batch_tokens).or_insert(loss);
        *best = best.min(loss);
    }
    let several = places.values().filter(|batches| batches.len() > 1);
    let best: Vec<[bool; 2]> = several
        .filter_map(|batches| {
            let (best, _) = batches.iter().min_by(|a, b| a.1.total_cmp(b.1))?;
            let ends = [batches.first_key_value()?.0, batches.last_key_value()?.0];
            Some(ends.map(|end| end == best))
        })
        .collect();
    let at = |side: usize| best.is_empty() || best.iter().any(|ends| ends[side]);
    let smallest = trials.iter().min_by_key(|row| row.batch_tokens);
    BatchEdges {
        below: at(0),
        above: at(1),
        is_one_sequence: smallest.is_some_and(|row| row.batch_tokens % (2 * row.context.max(1)) != 0),
    }
}

/// What the trials lack for a law of loss: three sizes, and three budgets of some size.
pub fn for_a_law_of_loss(trials: &[TrialRow]) -> Vec<Widening> {
    const LEAST: usize = 3;
    let mut sizes: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for row in trials {
        let budgets = sizes.entry(row.params_non_embedding).or_default();
        budgets.insert(row.tokens_asked);
    }
    let mut widenings = Vec::new();
    if sizes.len() < LEAST {
        widenings.push(Widening::Sizes);
    }
    if sizes.values().all(|budgets| budgets.len() < LEAST) {
        widenings.push(Widening::Tokens);
    }
    if widenings.is_empty() {
        widenings.push(Widening::Sizes);
    }
    widenings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::tests::trial;

    const SPEC: &str = "name: sweep\ndata: text\nparameters:\n  model: [6K]\n  lr: {values: [1e-2]}\n  \
        tokens: [300000]\n  batch_tokens: [4096, 8192]\n  context: 128\n  schedule: {name: wsd, warmup: 2k}\n";

    fn batches() -> [TrialRow; 2] {
        let large = trial("large", |row| (row.batch_tokens, row.tokens) = (8192, 303_104));
        [trial("small", |_| {}), large]
    }

    #[test]
    fn a_budget_at_two_batches_is_widened_as_one() {
        let file = NextSweep::new([("sweep", SPEC)].into_iter(), &batches()).file(&[Widening::Tokens], "why");
        let file = file.expect("a file");
        assert_eq!(file.name, "sweep-longer.yaml");
        let (sweep, _) = spec::read(&file.text, &file.name, &[]).expect("a sweep");
        assert_eq!(sweep.trials.len(), 2 * 3, "300k, 600k and 1.2M: {}", file.text);
        assert!(
            file.text.contains("- 600000\n") && file.text.contains("- 1200000\n"),
            "{}",
            file.text
        );
    }

    #[test]
    fn one_budget_at_three_batches_is_too_few_for_a_law_of_loss() {
        let mut trials = batches().to_vec();
        trials.push(trial("rounded", |row| {
            (row.batch_tokens, row.tokens) = (65_536, 327_680);
        }));
        assert_eq!(for_a_law_of_loss(&trials), [Widening::Sizes, Widening::Tokens]);
    }

    #[test]
    fn the_best_rate_of_a_budget_is_that_over_all_batches() {
        let at = |lr: f64, batch: u64, tokens: u64, loss: f64| {
            trial("t", move |row| {
                (row.lr, row.batch_tokens, row.tokens, row.final_loss) = (lr, batch, tokens, Some(loss));
            })
        };
        // At the larger batch the highest rate is best, but the smaller batch does better at the rate below.
        let trials = [
            at(0.01, 4096, 299_008, 3.2),
            at(0.02, 4096, 299_008, 3.0),
            at(0.04, 4096, 299_008, 3.3),
            at(0.04, 8192, 303_104, 3.1),
        ];
        let Widening::LearningRates { below, above, between } = beyond_the_best(&trials) else {
            unreachable!("rates");
        };
        assert_eq!((below, above, between), (false, false, true));
    }

    #[test]
    fn the_side_at_which_the_best_batches_lie_is_the_one_to_extend() {
        let at = |batch: u64, loss: f64| {
            trial("t", move |row| {
                (row.batch_tokens, row.context, row.final_loss) = (batch, 128, Some(loss));
            })
        };
        let edges = |trials: &[TrialRow]| {
            let found = batch_edges(trials);
            [found.below, found.above, found.is_one_sequence]
        };
        assert_eq!(edges(&[at(128, 3.0), at(256, 3.1), at(512, 3.2)]), [true, false, true]);
        assert_eq!(
            edges(&[at(256, 3.2), at(512, 3.1), at(1024, 3.0)]),
            [false, true, false]
        );
        assert_eq!(
            edges(&[at(256, 3.2), at(512, 3.0), at(1024, 3.1)]),
            [false, false, false]
        );
        assert_eq!(edges(&[at(256, 3.2)]), [true, true, false], "one batch says nothing");
    }

    #[test]
    fn the_sweep_that_says_most_is_widened_and_of_equals_the_first() {
        let mut trials = batches().to_vec();
        trials.push(trial("other", |row| row.sweep = "other".to_owned()));
        let other = SPEC.replace("name: sweep", "name: other");
        let sweeps = [("other", other.as_str()), ("sweep", SPEC)];
        let next = NextSweep::new(sweeps.into_iter(), &trials);
        let name = |widening| next.file(&[widening], "why").expect("a file").name;
        let batches = Widening::Batches {
            below: true,
            above: true,
        };
        assert_eq!(name(batches), "sweep-batches.yaml");
        assert_eq!(name(Widening::Tokens), "other-longer.yaml");
        assert_eq!(next.file(&[], "why"), None);
    }
}
