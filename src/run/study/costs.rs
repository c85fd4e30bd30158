//! What the sweeps of a study cost: as `plan` counts it, against what the home has trained.

use std::collections::BTreeMap;

use crate::campaign::cost::{Cost, Costs, Planning};
use crate::model::data_info::DataInfo;
use crate::plan::Known;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::store::Store;

/// Plans sweeps against what the home has trained.
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
        let planning = Planning {
            data: &self.data,
            device: self.context.device,
            trainer: self.context.trainer,
            known: &self.known,
            flops_per_second: self.flops_per_second,
        };
        planning.cost(texts)
    }
}
