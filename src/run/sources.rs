//! The runs that a law of tuned and untuned runs alike rests on: of a sweep, of an import, or of a table.
//!
//! Refuses to choose among them.

use std::path::Path;

use crate::fit::observation::Observation;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fitting::{self, Request};
use crate::run::table_runs::{self, Mapping};
use crate::store::Store;

/// Where runs are taken from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A table, and what its columns mean.
    Table(&'a Path, &'a Mapping),
    /// A sweep or an import; none: the sweep that was planned last.
    Named(Option<&'a str>),
}

/// The name of the source, its runs, and what does not count with the reason.
pub(super) type Runs = (String, Vec<Observation>, Vec<(String, String)>);

/// Reads the runs of a source.
pub(super) async fn runs(
    context: &Context,
    store: &mut Store,
    source: Source<'_>,
    request: &Request,
) -> Result<Runs, Failure> {
    match source {
        Source::Table(path, mapping) => {
            let table = table_runs::read(path, mapping)?;
            Ok((path.display().to_string(), table.runs, table.left_out))
        }
        Source::Named(Some(name)) if store.imports().await?.iter().any(|it| it == name) => {
            Ok((name.to_owned(), store.imported(name).await?, Vec::new()))
        }
        Source::Named(name) => {
            let sweep = fitting::sweep_name(store, name).await?;
            let trials = fitting::counting(store, &sweep, request).await?;
            fitting::check(&trials, context.trainer).map_err(|refusal| fitting::refused(&refusal))?;
            let runs = trials.iter().filter_map(fitting::observation).collect();
            let unfinished = trials.iter().filter(|row| row.final_loss.is_none());
            let left_out = unfinished.map(|row| (row.trial.clone(), fitting::unfinished(row).to_owned()));
            Ok((sweep, runs, left_out.collect()))
        }
    }
}
