//! `--where "lr >= 1e-2 and model == 9M"`: conditions on the columns of trials and on the axes of sweeps.
//!
//! Refuses to know which command filters.

use std::collections::BTreeMap;

use crate::record::{self, TrialRow};
use crate::spec;
use crate::spec::syntax::expressions::{Expr, ExprError, Kind, Name, Value};

/// The N of `20N`, as in sweep files.
const PARAMS: &str = "params";

/// A condition on trials; without one, every trial is meant.
#[derive(Debug)]
pub struct Filter(Option<Expr>);

impl Filter {
    /// Reads a condition on these trials: on their columns and on the axes that their sweeps vary.
    ///
    /// # Errors
    /// What cannot be read, and where in the text.
    pub fn new(text: Option<&str>, rows: &[TrialRow]) -> Result<Self, ExprError> {
        let Some(text) = text else { return Ok(Self(None)) };
        let mut kinds: BTreeMap<&str, Kind<'_>> = BTreeMap::new();
        for (name, value) in rows.iter().flat_map(|row| &row.axes) {
            let kind = if value.is_number() { Kind::Number } else { Kind::Text };
            kinds.insert(name, kind);
        }
        kinds.extend(TrialRow::COLUMNS.iter().map(|column| match column.kind {
            record::Kind::Count | record::Kind::Number => (column.name, Kind::Number),
            record::Kind::Text => (column.name, Kind::Text),
        }));
        kinds.insert(PARAMS, Kind::Number);
        let names: Vec<Name<'_>> = kinds.into_iter().map(|(name, kind)| Name { name, kind }).collect();
        let expr = Expr::parse(text, &names).map_err(|mut error| {
            // Columns are called as the axes are, or as the group of axes: `schedule` for `schedule.name`.
            let called = error.unknown.as_deref().and_then(spec::axis_called_elsewhere);
            let is_known = |called: &&str| names.iter().any(|name| name.name == *called);
            let group = |called: &'static str| called.split('.').next();
            if let Some(known) = called
                .filter(is_known)
                .or_else(|| called.and_then(group).filter(is_known))
            {
                error.suggestion = Some(known.to_owned());
            }
            error
        })?;
        Ok(Self(Some(expr)))
    }

    /// Whether a trial is meant.
    pub fn holds(&self, row: &TrialRow) -> bool {
        self.0.is_none() || self.holds_for(&serde_json::to_value(row).unwrap_or_default(), &row.axes)
    }

    /// Whether a run with these columns and axes is meant; a column that it lacks holds nothing.
    pub fn holds_for(&self, columns: &serde_json::Value, axes: &BTreeMap<String, serde_json::Value>) -> bool {
        self.0.as_ref().is_none_or(|expr| {
            expr.holds(&|name| {
                let column = if name == PARAMS { "params_non_embedding" } else { name };
                let found = columns.get(column).or_else(|| axes.get(name));
                found.and_then(value)
            })
        })
    }
}

fn value(value: &serde_json::Value) -> Option<Value> {
    match value {
        serde_json::Value::Number(number) => number.as_f64().map(Value::Number),
        serde_json::Value::String(text) => Some(Value::Text(text.clone())),
        serde_json::Value::Bool(flag) => Some(Value::Text(flag.to_string())),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    }
}
