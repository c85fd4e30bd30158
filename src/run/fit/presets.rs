//! Tables whose columns are known: the program's own exports, and W&B's table of runs.
//!
//! Refuses to guess where a table is none of them.

use std::collections::BTreeSet;

use crate::fit::Warning;
use crate::tables::read::TextTable;

/// What a column is to a law: one of the fields of a table.
type Field = &'static str;

/// A kind of table.
#[derive(Debug)]
pub(super) struct Preset {
    /// What its rows are called; none: it is our own, and nothing was guessed.
    pub(super) guessed: Option<&'static str>,
    /// The columns by which it is recognised.
    signs: &'static [&'static str],
    /// The columns that a field may have, the best first, in small letters.
    fields: &'static [(Field, &'static [&'static str])],
    /// Columns whose value says that a row does not count: the only values with which it does.
    counts: &'static [(&'static str, &'static [&'static str])],
    /// Columns of settings that no law looks at: where they differ, runs do not compare.
    alike: &'static [&'static str],
}

/// How the columns of axes begin in our own exports, and those that a law looks at.
const AXIS: &str = "axis.";
const SEEN: [&str; 6] = ["model", "lr", "batch_tokens", "tokens", "schedule.name", "seed"];

static PRESETS: [Preset; 2] = [
    // `sandbox export`, table `trials`. What a trial cost in full is no 6ND, so that `flops` is left alone.
    Preset {
        guessed: None,
        signs: &["trial", "params_non_embedding", "final_loss", "tokens"],
        fields: &[
            ("params", &["params_non_embedding"]),
            ("tokens", &["tokens"]),
            ("loss", &["final_loss"]),
            ("lr", &["lr"]),
            ("batch", &["batch_tokens"]),
            ("schedule", &["schedule"]),
            ("seed", &["seed"]),
            ("label", &["trial"]),
        ],
        counts: &[("state", &["complete"]), ("trainer", &["proxy", "imported"])],
        alike: &["parametrization", "context", "decay_fraction", "data_hash"],
    },
    // A table of runs as W&B exports it: what it knows of each run, its configuration, its summary. Names with a slash
    // are those of the integrations of `transformers` and others.
    Preset {
        guessed: Some("runs of W&B"),
        signs: &["name", "state", "created"],
        fields: &[
            (
                "params",
                &[
                    "params_non_embedding",
                    "non_embedding_params",
                    "model/num_parameters",
                    "num_parameters",
                    "n_parameters",
                    "num_params",
                    "n_params",
                    "model_params",
                    "total_params",
                    "parameters",
                    "params",
                ],
            ),
            (
                "tokens",
                &[
                    "train/num_input_tokens_seen",
                    "num_input_tokens_seen",
                    "train/tokens",
                    "train_tokens",
                    "tokens_seen",
                    "total_tokens",
                    "num_tokens",
                    "n_tokens",
                    "tokens",
                ],
            ),
            (
                "loss",
                &[
                    "final_loss",
                    "eval/loss",
                    "val/loss",
                    "valid/loss",
                    "validation/loss",
                    "eval_loss",
                    "val_loss",
                    "valid_loss",
                    "validation_loss",
                    "train/loss",
                    "train_loss",
                    "loss",
                ],
            ),
            // `train/learning_rate` is the last one of a run, not its peak.
            ("lr", &["peak_lr", "max_lr", "learning_rate", "lr", "optimizer.lr"]),
            ("batch", &["batch_tokens", "tokens_per_batch", "global_batch_tokens"]),
            (
                "schedule",
                &["lr_scheduler_type", "lr_schedule", "lr_scheduler", "schedule"],
            ),
            ("seed", &["seed"]),
            ("label", &["name"]),
        ],
        counts: &[("state", &["finished"])],
        alike: &[],
    },
];

/// The column of this name, whatever its case.
fn column<'a>(table: &'a TextTable, name: &str) -> Option<&'a str> {
    let found = table.names.iter().find(|other| other.to_lowercase() == name);
    found.map(String::as_str)
}

impl Preset {
    /// The kind that a table is of, if its columns are known.
    pub(super) fn of(table: &TextTable) -> Option<&'static Self> {
        PRESETS
            .iter()
            .find(|preset| preset.signs.iter().all(|sign| column(table, sign).is_some()))
    }

    /// The column that a field has in a table of this kind.
    pub(super) fn column<'a>(&self, table: &'a TextTable, field: &str) -> Option<&'a str> {
        let (_, names) = self.fields.iter().find(|(known, _)| *known == field)?;
        names.iter().find_map(|name| column(table, name))
    }

    /// Why a row does not count, where it says so itself.
    pub(super) fn why_not(&self, table: &TextTable, row: usize) -> Option<String> {
        self.counts.iter().find_map(|(name, good)| {
            let name = column(table, name)?;
            let value = table.columns.get(name)?[row].as_deref()?;
            (!good.contains(&value)).then(|| format!("its {name} is {value}"))
        })
    }

    /// Settings that differ among the rows that count, and that a law would take for noise.
    pub(super) fn unlike(&self, table: &TextTable, rows: &[usize]) -> Option<Warning> {
        let differs =
            |cells: &Vec<Option<String>>| rows.iter().map(|row| &cells[*row]).collect::<BTreeSet<_>>().len() > 1;
        let names: Vec<&str> = table
            .columns
            .iter()
            .filter(|(name, cells)| self.must_be_alike(name) && differs(cells))
            .map(|(name, _)| name.as_str())
            .collect();
        let text = format!(
            "the rows differ in {}, which a law of a table does not see; `--where` chooses among them",
            names.join(", ")
        );
        (!names.is_empty()).then(|| Warning::new("mixed_settings", text))
    }

    fn must_be_alike(&self, name: &str) -> bool {
        let axis = name.strip_prefix(AXIS).filter(|_| self.guessed.is_none());
        axis.is_some_and(|axis| !SEEN.contains(&axis)) || self.alike.contains(&name)
    }
}

/// Whether some kind of table has a column of this name.
pub(super) fn is_known(name: &str) -> bool {
    let name = name.to_lowercase();
    let fields = |preset: &'static Preset| preset.fields.iter().flat_map(|(_, names)| *names);
    let counts = |preset: &'static Preset| preset.counts.iter().map(|(name, _)| name);
    PRESETS
        .iter()
        .any(|preset| fields(preset).chain(counts(preset)).any(|known| *known == name) || preset.must_be_alike(&name))
}
