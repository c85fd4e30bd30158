//! What has to be equal for two runs to compare, and what a comparison leaves free.
//!
//! Refuses to know which runs there are, and which factor is compared where.

use std::collections::{BTreeMap, BTreeSet};

/// What a comparison may leave free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// Shape and number of parameters.
    Size,
    /// Tokens that were asked for: whole batches make them another number at every batch size.
    Budget,
    LearningRate,
    /// Tokens of a batch.
    Batch,
    /// Name, warm-up and decay of the schedule.
    Schedule,
    /// Seed of the initial weights and of the order of the data.
    Seed,
}

use Factor::{Batch, Budget, LearningRate, Schedule, Seed, Size};

impl Factor {
    /// Whether a setting, by its path, belongs to it.
    fn has(self, path: &str) -> bool {
        match self {
            Size => matches!(path, "model" | "params"),
            Budget => path == "tokens_asked",
            LearningRate => path == "lr",
            Batch => path == "batch_tokens",
            Schedule => path == "schedule" || path.starts_with("schedule."),
            Seed => path == "seed",
        }
    }
}

/// The settings of a run by path, each as text: runs compare whose setups are equal without what is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setup(BTreeMap<String, String>);

impl Setup {
    /// A setup of these settings.
    pub fn new(settings: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(settings.into_iter().collect())
    }

    /// The same where some factors are free.
    #[must_use]
    pub fn without<const N: usize>(mut self, free: [Factor; N]) -> Self {
        self.0.retain(|path, _| free.iter().all(|factor| !factor.has(path)));
        self
    }

    /// The same without some paths.
    #[must_use]
    pub fn without_paths(mut self, out: &BTreeSet<&str>) -> Self {
        self.0.retain(|path, _| !out.contains(path.as_str()));
        self
    }

    /// Each setting with its value, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, value)| (path.as_str(), value.as_str()))
    }

    /// Whether both are of one size and one budget.
    pub fn is_of_point(&self, other: &Self) -> bool {
        ["params", "tokens_asked"]
            .iter()
            .all(|path| self.0.get(*path) == other.0.get(*path))
    }

    /// The paths of settings in which two differ.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let paths = self
            .0
            .keys()
            .chain(other.0.keys().filter(|path| !self.0.contains_key(*path)));
        paths
            .filter(|path| self.0.get(*path) != other.0.get(*path))
            .cloned()
            .collect()
    }
}
