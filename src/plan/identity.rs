//! Names from hashes: what determines a state, and nothing else, goes in.

use crate::model::config::RunConfig;
use crate::protocol::Trainer;
use crate::units::{StageId, Steps, TrialId};

/// Raised by hand when the meaning of the training code changes, so that old states are not taken for new ones.
///
/// 1: libtorch's own gradient; 2: the step by hand on the CPU.
pub const EPOCH: u64 = 2;

/// A value that has no stable name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a configuration with a number that is not finite has no name")]
pub struct NoName;

/// The name of the state of a run after `position` steps. Where the run is cut never enters.
pub fn stage_id(config: &RunConfig, trainer: Trainer, position: Steps) -> Result<StageId, NoName> {
    let text = format!(
        "stage/{EPOCH}/{}/{}/{}",
        trainer.name(),
        canonical(&config.prefix(position))?,
        position.0
    );
    Ok(StageId(short(&text, 16)))
}

/// The name of the run that a state at `position` belongs to, wherever it stands in it.
pub fn lineage(config: &RunConfig, trainer: Trainer, position: Steps) -> Result<String, NoName> {
    let text = format!(
        "run/{EPOCH}/{}/{}",
        trainer.name(),
        canonical(&config.prefix(position))?
    );
    Ok(short(&text, 16))
}

/// The hash of a whole trial.
pub fn config_hash(config: &RunConfig, trainer: Trainer, steps: Steps) -> Result<String, NoName> {
    Ok(short(
        &format!("trial/{EPOCH}/{}/{}/{}", trainer.name(), canonical(config)?, steps.0),
        32,
    ))
}

/// The name of a trial: the beginning of its hash.
pub fn trial_id(config_hash: &str) -> TrialId {
    TrialId(config_hash.chars().take(12).collect())
}

/// One spelling of a configuration: its fields in the order of their declaration, numbers in their shortest form.
fn canonical(config: &RunConfig) -> Result<String, NoName> {
    let value = serde_json::to_value(config).map_err(|_| NoName)?;
    // JSON has no word for NaN: serde writes `null`, which must not become a name.
    if has_null(&value) {
        return Err(NoName);
    }
    serde_json::to_string(config).map_err(|_| NoName)
}

fn has_null(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Array(items) => items.iter().any(has_null),
        serde_json::Value::Object(map) => map.values().any(has_null),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::String(_) => false,
    }
}

fn short(text: &str, digits: usize) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(digits).collect()
}
