//! The runs that a law of tuned and untuned runs alike rests on: of a sweep, of an import, or of a table.
//!
//! Refuses to choose among them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::fit::observation::Observation;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::loss::{self, Request};
use crate::run::fit::table::{self, CONDITION, Mapping};
use crate::run::sweep_set::SweepSet;
use crate::store::Store;
use crate::study::filter::Filter;

/// Where runs are taken from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A table, and what its columns mean.
    Table(&'a Path, &'a Mapping),
    /// A sweep, several, or an import; none: the sweep that was planned last.
    Named(Option<&'a str>),
}

/// The runs of a source.
#[derive(Debug)]
pub(super) struct Runs {
    /// What the source is called.
    pub name: String,
    /// What counts.
    pub observations: Vec<Observation>,
    /// What does not, with the reason.
    pub left_out: Vec<(String, String)>,
    /// The trials of a sweep, finished or not; none: the runs are of somebody else.
    pub trials: Option<Vec<TrialRow>>,
}

/// Reads the runs of a source.
pub(super) async fn runs(
    context: &Context,
    store: &mut Store,
    source: Source<'_>,
    request: &Request,
) -> Result<Runs, Failure> {
    match source {
        Source::Table(path, mapping) => {
            let table = table::read(path, mapping)?;
            Ok(Runs {
                name: path.display().to_string(),
                observations: table.runs,
                left_out: table.left_out,
                trials: None,
            })
        }
        Source::Named(Some(name)) if store.imports().await?.iter().any(|it| it == name) => {
            let (observations, left_out) = imported(store, name, request).await?;
            Ok(Runs {
                name: name.to_owned(),
                observations,
                left_out,
                trials: None,
            })
        }
        Source::Named(name) => {
            let sweeps = SweepSet::find(store, name).await?;
            let trials = loss::counting(store, &sweeps, request).await?;
            loss::check(&trials, context.trainer).map_err(|refusal| loss::refused(&refusal))?;
            let why = |row: &TrialRow| Some((row.trial.clone(), row.why_no_loss()?.to_owned()));
            Ok(Runs {
                name: sweeps.name().to_owned(),
                observations: trials.iter().filter_map(loss::observation).collect(),
                left_out: trials.iter().filter_map(why).collect(),
                trials: Some(trials),
            })
        }
    }
}

/// The runs of an import for which the condition holds, and the others with the reason.
pub(super) async fn imported(
    store: &mut Store,
    import: &str,
    request: &Request,
) -> Result<(Vec<Observation>, Vec<(String, String)>), Failure> {
    let filter = Filter::new(request.condition.as_deref(), &[])?;
    let runs = store.imported(import).await?;
    // Both in the order of the file.
    let rows = store.imported_trials(Some(import)).await?;
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for (run, row) in runs.into_iter().zip(rows) {
        let columns = serde_json::to_value(row).map_err(std::io::Error::other)?;
        if filter.holds_for(&columns, &BTreeMap::new()) {
            kept.push(run);
        } else {
            left_out.push((run.label, CONDITION.to_owned()));
        }
    }
    Ok((kept, left_out))
}
