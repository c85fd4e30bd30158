//! What the sweeps of a study cost: as `plan` counts it, against what the home has trained.

use std::collections::BTreeMap;

use crate::campaign::cost::{Cost, Costs};
use crate::model::data_info::DataInfo;
use crate::plan::resolve::Machine;
use crate::plan::{Known, StagePlan, tree};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::spec;
use crate::store::Store;

/// Plans sweeps and adds up what is missing.
pub(super) struct Planner<'a> {
    context: &'a Context,
    data: BTreeMap<String, DataInfo>,
    known: Known,
    /// FLOPs per second of the whole machine.
    flops_per_second: f64,
}

impl<'a> Planner<'a> {
    /// Of a home as it is now; `store`: none, where there is no database yet.
    pub(super) async fn new(
        context: &'a Context,
        store: Option<&mut Store>,
        data: DataInfo,
        flops_per_second: f64,
    ) -> Result<Self, Failure> {
        let known = match store {
            // Stages are known whatever sweep planned them; of no sweep have trials been taken out.
            Some(store) => store.known("").await?,
            None => Known::default(),
        };
        Ok(Self {
            context,
            data: BTreeMap::from([(data.name.clone(), data)]),
            known,
            flops_per_second,
        })
    }
}

impl Costs for Planner<'_> {
    fn of(&self, texts: &[&str]) -> Result<Cost, String> {
        let mut all: Option<spec::Sweep> = None;
        for text in texts {
            let (sweep, _) = spec::read(text, "step.yaml", &[])
                .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
            match &mut all {
                Some(all) => all.trials.extend(sweep.trials),
                None => all = Some(sweep),
            }
        }
        let Some(sweep) = all else {
            return Ok(Cost::default());
        };
        let machine = Machine {
            device: self.context.device,
            threads: sweep.resources.threads,
        };
        let plan = tree::plan(&sweep, &self.data, machine, self.context.trainer, &self.known)
            .map_err(|error| error.to_string())?;
        let missing = plan.missing(&self.known);
        // The sum of nothing is -0.0.
        let flops = missing.iter().map(|stage| StagePlan::flops(stage)).sum::<f64>() + 0.0;
        let trials = plan
            .trials
            .iter()
            .filter(|trial| !trial.missing(&self.known).is_empty());
        Ok(Cost {
            trials: trials.count() as u64,
            tokens: missing.iter().map(|stage| stage.tokens().0).sum(),
            flops,
            seconds: flops / self.flops_per_second.max(1.0),
        })
    }
}
