//! A step of a study as a sweep file, and the rows of its trials.
//!
//! Refuses to know which question it serves.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::campaign::frame::Frame;
use crate::record::{TrialRow, TrialState};
use crate::spec;
use crate::spec::study_file::StudyFile;

/// The values of the axes of a step. What is not here is as the study has it.
#[derive(Debug, Clone, Default)]
pub struct Grid {
    /// Values by path of the axis, in every combination.
    pub axes: BTreeMap<String, Vec<Value>>,
    /// Mappings, each with every combination of the axes; none: one that is empty.
    pub variants: Vec<BTreeMap<String, Value>>,
    pub seeds: Vec<u64>,
}

impl Grid {
    /// The same with values of an axis.
    #[must_use]
    pub fn with<T: Into<Value>>(mut self, axis: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.axes.insert(axis.to_owned(), values);
        self
    }

    /// Its sweep file.
    pub fn text(&self, study: &StudyFile, frame: &Frame, name: &str, why: &str) -> String {
        let mut parameters: Map<String, Value> = Map::new();
        parameters.insert("context".to_owned(), json!(frame.context));
        parameters.insert("schedule.name".to_owned(), json!("wsd"));
        parameters.insert("schedule.warmup".to_owned(), json!(frame.warmup));
        parameters.insert("schedule.decay_fraction".to_owned(), json!(frame.decay_fraction));
        parameters.extend(study.fixed.iter().map(|(path, value)| (path.clone(), value.clone())));
        let varied = |path: &str| self.variants.iter().any(|variant| variant.contains_key(path));
        for (path, values) in &self.axes {
            let value = match values.as_slice() {
                [one] => one.clone(),
                many => json!(many),
            };
            parameters.insert(path.clone(), value);
        }
        parameters.retain(|path, _| !varied(path));
        let mut root = Map::new();
        root.insert("name".to_owned(), json!(name));
        root.insert("description".to_owned(), json!(why));
        root.insert("data".to_owned(), json!(study.data));
        if !self.variants.is_empty() {
            root.insert("method".to_owned(), json!("list"));
            root.insert("trials".to_owned(), json!(self.variants));
        }
        root.insert("parameters".to_owned(), Value::Object(parameters));
        root.insert(
            "seeds".to_owned(),
            json!(if self.seeds.is_empty() { &[0][..] } else { &self.seeds }),
        );
        root.insert("target".to_owned(), json!(study.target.params));
        let resources = serde_json::to_value(study.resources).unwrap_or_default();
        let given: Map<String, Value> = match resources {
            Value::Object(all) => all
                .into_iter()
                .filter(|(_, value)| !value.is_null() && value != false)
                .collect(),
            _ => Map::new(),
        };
        if !given.is_empty() {
            root.insert("resources".to_owned(), Value::Object(given));
        }
        serde_yaml::to_string(&root).unwrap_or_default()
    }
}

/// The trials that a sweep file asks for, each with its row among those that have ended; none where it is still to be
/// trained.
pub fn matched<'a>(text: &str, rows: &'a [TrialRow]) -> Vec<Option<&'a TrialRow>> {
    let Ok((sweep, _)) = spec::read(text, "step.yaml", &[]) else {
        return Vec::new();
    };
    let find = |trial: &spec::TrialSpec| {
        let settings = &trial.settings;
        let setup = TrialRow::setup_of(settings);
        let tokens = settings.tokens.resolve(settings.shape.params_non_embedding()).0;
        rows.iter().find(|row| {
            let has_ended = row.final_loss.is_some() || row.state == TrialState::Diverged;
            has_ended
                && row.seed == settings.seed
                && row.tokens_asked == tokens
                && row.batch_tokens == settings.batch_tokens.0
                && row.lr.to_bits() == settings.lr.to_bits()
                && row.params_non_embedding == settings.shape.params_non_embedding().0
                && row.setup == setup
        })
    };
    sweep.trials.iter().map(find).collect()
}
