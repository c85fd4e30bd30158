//! The experiments to run next: the sweep of a study that says most of what is missing, widened and written down.
//!
//! Refuses to know why more is needed.

use std::collections::{BTreeMap, BTreeSet};

use crate::recipe::next::{self, Tried, Widening};
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::sweep_set::SweepSet;
use crate::spec;
use crate::store::SweepRow;
use crate::workdir::write_atomic;

/// Writes the experiments to run next.
pub(super) struct Nexts<'a> {
    context: &'a Context,
    bases: Vec<Base<'a>>,
}

/// A sweep that can be widened.
struct Base<'a> {
    sweep: &'a SweepRow,
    tried: Tried,
    trials: usize,
}

impl<'a> Base<'a> {
    fn new(sweep: &'a SweepRow, trials: &[TrialRow]) -> Self {
        let here: Vec<&TrialRow> = trials.iter().filter(|row| row.sweep == sweep.sweep).collect();
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
            tokens: rising(|row| row.tokens),
            seeds: rising(|row| row.seed),
            context: here.iter().map(|row| row.context).max().unwrap_or(0),
        };
        Self {
            sweep,
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
            Widening::Batches => tried.batches.len() as u64,
        }
    }
}

impl<'a> Nexts<'a> {
    pub(super) fn new(context: &'a Context, sweeps: &'a SweepSet, trials: &[TrialRow]) -> Self {
        Self {
            context,
            bases: sweeps.sweeps().iter().map(|row| Base::new(row, trials)).collect(),
        }
    }

    /// Of several sweeps, the one that says most of it; of equals the one that was named first.
    fn base(&self, widening: Widening) -> Option<&Base<'a>> {
        self.bases.iter().rev().max_by_key(|base| base.breadth(widening))
    }

    /// The grid of learning rates, widened where its best values lie: of each size and number of tokens.
    pub(super) fn beyond_the_best(trials: &[TrialRow]) -> Widening {
        let mut best: BTreeMap<(u64, u64), (f64, f64)> = BTreeMap::new();
        for row in trials {
            let Some(loss) = row.final_loss else { continue };
            let place = best
                .entry((row.params_non_embedding, row.tokens))
                .or_insert((loss, row.lr));
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

    /// What the trials lack for a law of loss: three sizes, and three budgets of some size.
    pub(super) fn for_a_law_of_loss(trials: &[TrialRow]) -> Vec<Widening> {
        const LEAST: usize = 3;
        let mut sizes: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for row in trials {
            sizes.entry(row.params_non_embedding).or_default().insert(row.tokens);
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

    /// Writes a sweep file and says where.
    pub(super) fn hint(&self, widenings: &[Widening], why: &str) -> Result<Option<String>, Failure> {
        let path = self.write(widenings, why)?;
        Ok(path.map(|path| format!("run next: {path}")))
    }

    /// Writes a sweep file and gives its path; none where the sweep's own file cannot be widened.
    pub(super) fn write(&self, widenings: &[Widening], why: &str) -> Result<Option<String>, Failure> {
        let Some((first, base)) = widenings.first().and_then(|first| Some((first, self.base(*first)?))) else {
            return Ok(None);
        };
        let Some(text) = next::widened(&base.sweep.sweep, &base.sweep.spec, &base.tried, widenings, why) else {
            return Ok(None);
        };
        let name = format!("{}-{}.yaml", base.sweep.sweep, first.name());
        let path = self.context.workdir.next_sweep(&name);
        let shown = path.display().to_string();
        // What cannot be read back, or asks for nothing more, is not handed out.
        if spec::read(&text, &shown, &[]).is_ok_and(|(sweep, _)| sweep.trials.len() > base.trials) {
            write_atomic(&path, text.as_bytes())?;
            return Ok(Some(shown));
        }
        Ok(None)
    }
}
