//! Rows into tables (polars), tables into CSV and Parquet, and somebody's files into columns of text.
//!
//! Refuses to know where rows come from.

mod json;
mod parquet;
pub mod read;
mod separated;
mod text;

use std::collections::BTreeSet;
use std::io::Cursor;

use polars::prelude::{Column, CsvWriter, DataFrame, ParquetWriter, PolarsError, SerWriter};

use crate::record::{self, ImportedTrial, Kind, PointRow, StageRow, TrialRow, Value};

/// Formats of an exported table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values; missing is empty.
    Csv,
    Parquet,
}

impl Format {
    /// The ending of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// Why a table cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the table cannot be made: {0}")]
pub struct TableError(#[from] PolarsError);

/// Builds columns from rows: `columns!(rows; name = |row| value, …)`.
macro_rules! columns {
    ($rows:expr; $($name:ident = $value:expr),+ $(,)?) => {
        vec![$(Column::new(stringify!($name).into(), $rows.iter().map($value).collect::<Vec<_>>())),+]
    };
}

/// The table of trials, with one column an axis of the sweep.
pub fn trials(rows: &[TrialRow]) -> Result<DataFrame, TableError> {
    let mut columns: Vec<Column> = TrialRow::COLUMNS.iter().map(|it| trial_column(it, rows)).collect();
    let axes: BTreeSet<&String> = rows.iter().flat_map(|row| row.axes.keys()).collect();
    columns.extend(axes.into_iter().map(|axis| axis_column(axis, rows)));
    Ok(DataFrame::new(rows.len(), columns)?)
}

fn trial_column(column: &record::Column, rows: &[TrialRow]) -> Column {
    let values = rows.iter().map(column.get);
    let name = column.name.into();
    match column.kind {
        Kind::Count => Column::new(name, values.map(Value::count).collect::<Vec<_>>()),
        Kind::Number => Column::new(name, values.map(Value::number).collect::<Vec<_>>()),
        Kind::Text => Column::new(name, values.map(Value::text).collect::<Vec<_>>()),
    }
}

/// The same with runs of others below; a column that they know nothing of is empty there.
pub fn with_imported(table: &DataFrame, rows: &[ImportedTrial]) -> Result<DataFrame, TableError> {
    // Counts of others may have a fraction, which is of no account.
    let whole = |value: f64| value.round() as u64;
    let known = columns!(rows;
        trial = |row| row.trial.as_str(),
        sweep = |row| row.sweep.as_str(),
        slug = |row| row.slug.as_str(),
        state = |row| row.state.name(),
        trainer = |row| row.trainer.name(),
        params_non_embedding = |row| whole(row.params_non_embedding),
        lr = |row| row.lr,
        batch_tokens = |row| row.batch_tokens.map(whole),
        schedule = |row| row.schedule.as_deref(),
        tokens = |row| whole(row.tokens),
        seed = |row| row.seed,
        flops = |row| row.flops,
        final_loss = |row| row.final_loss,
        data_hash = |row| row.data_hash.as_str(),
    );
    let column = |of: &Column| {
        let found = known.iter().find(|known| known.name() == of.name()).cloned();
        found.unwrap_or_else(|| Column::full_null(of.name().clone(), rows.len(), of.dtype()))
    };
    let below = table.columns().iter().map(column).collect();
    Ok(table.vstack(&DataFrame::new(rows.len(), below)?)?)
}

/// A column of whole numbers, of numbers, or of text: the first that every value is.
fn axis_column(axis: &str, rows: &[TrialRow]) -> Column {
    let name = format!("axis.{axis}");
    let values: Vec<Option<&serde_json::Value>> = rows.iter().map(|row| row.axes.get(axis)).collect();
    if values.iter().flatten().all(|value| value.is_u64()) {
        let counts: Vec<Option<u64>> = values
            .iter()
            .map(|value| value.and_then(serde_json::Value::as_u64))
            .collect();
        return Column::new(name.into(), counts);
    }
    if values.iter().flatten().all(|value| value.is_number()) {
        let numbers: Vec<Option<f64>> = values
            .iter()
            .map(|value| value.and_then(serde_json::Value::as_f64))
            .collect();
        return Column::new(name.into(), numbers);
    }
    let texts: Vec<Option<String>> = values
        .iter()
        .map(|value| value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    Column::new(name.into(), texts)
}

/// The table of points: every one that was recorded.
pub fn points(rows: &[PointRow]) -> Result<DataFrame, TableError> {
    let columns = columns!(rows;
        trial = |row| row.trial.as_str(),
        stage = |row| row.stage.as_str(),
        step = |row| row.step,
        tokens = |row| row.tokens,
        flops = |row| row.flops,
        lr = |row| row.lr,
        split = |row| row.split.as_str(),
        loss = |row| row.loss,
        grad_norm = |row| row.grad_norm,
        seconds = |row| row.seconds,
        peak_lr = |row| row.peak_lr,
    );
    Ok(DataFrame::new(rows.len(), columns)?)
}

/// The table of stages.
pub fn stages(rows: &[StageRow]) -> Result<DataFrame, TableError> {
    let columns = columns!(rows;
        stage = |row| row.stage.as_str(),
        parent = |row| row.parent.as_deref(),
        kind = |row| row.kind.name(),
        from_tokens = |row| row.from_tokens,
        to_tokens = |row| row.to_tokens,
        state = |row| row.state.name(),
        attempts = |row| row.attempts,
        tokens_trained = |row| row.tokens_trained,
        seconds = |row| row.seconds,
        trials = |row| row.trials,
    );
    Ok(DataFrame::new(rows.len(), columns)?)
}

/// A table as the bytes of a file.
pub fn bytes(table: &mut DataFrame, format: Format) -> Result<Vec<u8>, TableError> {
    let mut buffer = Cursor::new(Vec::new());
    match format {
        Format::Csv => CsvWriter::new(&mut buffer).finish(table)?,
        Format::Parquet => {
            ParquetWriter::new(&mut buffer).finish(table)?;
        }
    }
    Ok(buffer.into_inner())
}
