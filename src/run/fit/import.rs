//! Keeps the runs of somebody's table in a home, under a name that `fit` knows.

use std::path::Path;

use serde::Serialize;

use crate::fit::Warning;
use crate::fit::law::LeftOut;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::table::{self, Mapping, TableRuns};
use crate::spec;
use crate::store::ImportRow;

/// Runs that were imported.
#[derive(Debug, Serialize)]
pub struct Imported {
    pub import: String,
    /// Whether others of that name were there before.
    pub replaced: bool,
    pub source: String,
    pub runs: usize,
    /// Rows that did not enter.
    pub left_out: Vec<LeftOut>,
    /// What is odd about the table.
    pub warnings: Vec<Warning>,
}

/// Keeps the runs of somebody's table under a name.
pub async fn import(context: &Context, path: &Path, mapping: &Mapping, name: &str) -> Result<Imported, Failure> {
    if let Err(wrong) = spec::check_name(name) {
        return Err(Failure::invalid("bad_name", wrong, "choose one with `--name`"));
    }
    let TableRuns {
        runs,
        left_out,
        warnings,
        hash,
    } = table::read(path, mapping)?;
    let mut store = context.store_or_new().await?;
    if store.sweeps().await?.iter().any(|row| row.sweep == name) {
        let message = format!("there is a sweep `{name}` in this home");
        return Err(Failure::invalid("name_taken", message, "choose another with `--name`"));
    }
    let replaced = store.imports().await?.iter().any(|known| known == name);
    let row = ImportRow {
        import: name.to_owned(),
        source: path.display().to_string(),
        source_hash: hash,
    };
    store.add_import(&context.now(), &row, &runs).await?;
    Ok(Imported {
        import: row.import,
        replaced,
        source: row.source,
        runs: runs.len(),
        left_out: left_out.into_iter().map(LeftOut::from).collect(),
        warnings,
    })
}
