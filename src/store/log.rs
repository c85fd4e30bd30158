//! The entries of the log.
//!
//! Refuses to know tables: `write` derives those, in the transaction that appends the entry.

use serde::{Deserialize, Serialize};

use crate::campaign::state::Made;
use crate::plan::StagePlan;
use crate::protocol::{Cause, Checkpoint, Process, Resume, Spent, Trainer};
use crate::stage::StageEvent;
use crate::units::{Params, StageId, Steps, TokenBudget};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// A sweep was planned: its file, its trials as rows.
    SweepPlanned {
        sweep: String,
        description: Option<String>,
        /// The size of the run that it is for.
        target_params: Option<u64>,
        /// The file, as it was.
        spec: String,
        /// Its trials, in order.
        trials: Vec<TrialEntry>,
    },
    /// A stage was named for the first time.
    StagePlanned {
        stage: Box<StagePlan>,
        /// Who is to train it.
        trainer: Trainer,
    },
    /// Something happened to a stage.
    Stage {
        stage: StageId,
        event: StageEvent,
        /// What else is known about it.
        detail: StageDetail,
    },
    /// A worker said that it has begun.
    Started {
        stage: StageId,
        attempt: u32,
        /// Steps done before the attempt's first; none: the first schema did not tell.
        #[serde(default)]
        from: Option<Steps>,
        /// Process of the worker.
        #[serde(flatten)]
        process: Process,
        /// Machine of the worker.
        host: String,
        /// Device of the worker.
        device: String,
        libtorch: Option<String>,
    },
    /// A worker left a state behind inside a stage.
    Left {
        stage: StageId,
        attempt: u32,
        /// Where, and the state.
        #[serde(flatten)]
        resume: Resume,
        /// Seconds of training in the attempt so far.
        seconds: f64,
    },
    /// States are no longer there: nothing needs them, or they were damaged.
    Dropped {
        stage: StageId,
        steps: Vec<Steps>,
        why: String,
    },
    /// A forecast was frozen: what runs after this entry cannot have been known.
    Registered { forecast: String, hash: String },
    /// A study was planned: its file and its frame.
    StudyPlanned {
        study: String,
        spec: String,
        /// Sizes, budgets and grids.
        frame: serde_json::Value,
    },
    /// A study has decided what to do next.
    Decided { study: String, decision: Made },
    /// A decision was carried out.
    Concluded {
        study: String,
        n: u64,
        /// What it changed.
        outcome: String,
    },
    /// Trials were taken out, or brought back.
    Cancelled {
        sweep: String,
        trials: Vec<String>,
        /// Whether they are brought back.
        #[serde(default)]
        undo: bool,
    },
}

/// A trial of a planned sweep: the columns of the table that do not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialEntry {
    /// The row, with no result in it.
    pub row: crate::record::TrialRow,
    /// Its stages, from the initial weights to its end.
    pub stages: Vec<StageId>,
    /// Training FLOPs per token.
    pub flops_per_token: f64,
    /// Whether its schedule ends with the run.
    pub decayed: bool,
    /// The held-out set of its final loss.
    pub held_out: String,
    /// What was asked, in full.
    pub settings: serde_json::Value,
}

impl Entry {
    /// An entry as it stands in the log; what an older version of the program did not write follows from the rest.
    pub(super) fn read(body: &str) -> Result<Self, serde_json::Error> {
        let mut entry: Self = serde_json::from_str(body)?;
        if let Self::SweepPlanned { trials, .. } = &mut entry {
            for trial in trials.iter_mut().filter(|trial| trial.row.tokens_asked == 0) {
                trial.row.tokens_asked = trial.tokens_asked();
            }
        }
        Ok(entry)
    }
}

impl TrialEntry {
    /// The budget that was asked, in tokens, as its settings have it.
    fn tokens_asked(&self) -> u64 {
        let budget = self.settings.get("tokens").cloned().map(serde_json::from_value);
        let params = Params(self.row.params_non_embedding);
        budget
            .and_then(Result::ok)
            .map_or(self.row.tokens, |budget: TokenBudget| budget.resolve(params).0)
    }
}

/// What is known beside an event of a stage; every field may be missing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StageDetail {
    /// Folder of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Worker of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<u64>,
    /// The state at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// Sequences in one forward pass, where they are fewer than planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<u64>,
    /// Seconds of training in the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Peak memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Where its time went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<Spent>,
    /// Bytes of what the worker was told and said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Steps done: where it diverged, or how far a lost attempt came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Why it ended without a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Version of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_version: Option<String>,
}
