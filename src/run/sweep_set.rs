//! The sweeps that a question is put to: one, or several whose trials are read as one study, `lr-transfer+batch-size`.
//!
//! Refuses to know what is made of their trials.

use std::collections::BTreeSet;

use crate::campaign::state::Made;
use crate::record::{PointRow, TrialRow};
use crate::run::failure::Failure;
use crate::spec::study_file::Question;
use crate::store::{Store, SweepRow};

/// What joins the names of sweeps; no name of a sweep has it.
const AND: char = '+';

/// The sweeps of a study whose runs compare with each other; those of single constants and decays do not.
pub(in crate::run) fn of_study(made: &[Made]) -> Vec<&str> {
    let apart = [Question::Constants.name(), Question::Decay.name()];
    let comparing = made
        .iter()
        .filter(|made| made.outcome.is_some() && !apart.contains(&made.question.as_str()));
    comparing.filter_map(|made| made.sweep.as_deref()).collect()
}

/// One sweep, or several of one home.
#[derive(Debug, Clone)]
pub struct SweepSet {
    name: String,
    sweeps: Vec<SweepRow>,
}

impl SweepSet {
    /// The sweeps that are named, those of a study that is named, or the one that was run last.
    pub async fn find(store: &mut Store, asked: Option<&str>) -> Result<Self, Failure> {
        let known = store.sweeps().await?;
        let names: Vec<String> = known.iter().map(|row| row.sweep.clone()).collect();
        let name = match asked {
            Some(name) => name.to_owned(),
            None => store
                .newest_sweep()
                .await?
                .ok_or_else(|| Failure::unknown_sweep("", &names))?,
        };
        let decisions = store.decisions(&name).await?;
        let of_study = of_study(&decisions);
        let parts: Vec<&str> = if of_study.is_empty() {
            name.split(AND).collect()
        } else {
            of_study
        };
        let is_study = !decisions.is_empty();
        let mut sweeps: Vec<SweepRow> = Vec::new();
        for part in parts {
            let row = known.iter().find(|row| row.sweep == part);
            let row = row.ok_or_else(|| Failure::unknown_sweep(part, &names))?;
            if sweeps.iter().all(|other| other.sweep != row.sweep) {
                sweeps.push(row.clone());
            }
        }
        let names: Vec<&str> = sweeps.iter().map(|row| row.sweep.as_str()).collect();
        Ok(Self {
            name: if is_study { name } else { names.join("+") },
            sweeps,
        })
    }

    /// What it is called: the names of the sweeps.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sweeps, in the order in which they were named.
    pub fn sweeps(&self) -> &[SweepRow] {
        &self.sweeps
    }

    /// The parameters of the run that the sweeps are meant for: of the largest that is named, else of MiniCPM-2.4B.
    pub fn target_params(&self) -> f64 {
        const MINICPM: f64 = 2.4e9;
        let targets = self.sweeps.iter().filter_map(|row| row.target_params);
        targets.max().map_or(MINICPM, |params| params as f64)
    }

    /// The trials, each once: as the first sweep has it that asks for it.
    pub async fn trials(&self, store: &mut Store) -> Result<Vec<TrialRow>, Failure> {
        let mut seen = BTreeSet::new();
        let mut trials = Vec::new();
        for row in &self.sweeps {
            let of_sweep = store.trials(Some(&row.sweep)).await?;
            trials.extend(of_sweep.into_iter().filter(|trial| seen.insert(trial.trial.clone())));
        }
        Ok(trials)
    }

    /// The points of some of these trials, one by one, trial after trial, by step and split.
    pub async fn each_point_of(
        &self,
        store: &mut Store,
        trials: &[TrialRow],
        wanted: &[String],
        take: &mut dyn FnMut(PointRow),
    ) -> Result<(), Failure> {
        let wanted: BTreeSet<&String> = wanted.iter().collect();
        for row in &self.sweeps {
            let here = |trial: &&TrialRow| trial.sweep == row.sweep && wanted.contains(&trial.trial);
            let names: Vec<String> = trials.iter().filter(here).map(|trial| trial.trial.clone()).collect();
            store.each_point_of(&row.sweep, &names, take).await?;
        }
        Ok(())
    }

    /// How many points the trials have; those of a shared trunk count for each.
    pub async fn count_points(&self, store: &mut Store) -> Result<u64, Failure> {
        let names: Vec<&str> = self.sweeps.iter().map(|row| row.sweep.as_str()).collect();
        Ok(store.count_points(&names).await?)
    }
}
