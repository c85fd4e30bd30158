//! Replays the forecasts of tables, imports and sweeps, and writes their page.
//!
//! Refuses to keep a fit: each serves its cut alone.

use std::path::Path;

use serde::Serialize;

use crate::draw;
use crate::fit::audit::{Ask, Audit, SetAudit, replay};
use crate::fit::law::{Data, Entry, Needs};
use crate::report::audit::AuditView;
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::figure_files::{FigureFiles, write_page};
use crate::run::fit::source::{self, Runs, Source};
use crate::run::fit::{Request, clock};

/// An audit and its page.
#[derive(Debug, Serialize)]
pub struct Audited {
    #[serde(flatten)]
    pub audit: Audit,
    pub html: String,
    /// The figures beside it.
    pub figures: Vec<FigureFiles>,
    /// Why there is nothing to show, where no cut of any set has a forecast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// How to replay.
#[derive(Debug)]
pub struct Replay<'a> {
    /// The laws to choose from.
    pub laws: &'a [&'static Entry],
    /// Cuts of each set, at most.
    pub cuts: usize,
    pub request: &'a Request,
}

/// Replays the forecasts of each source.
pub async fn audit(
    context: &Context,
    sources: &[Source<'_>],
    how: &Replay<'_>,
    folder: &Path,
) -> Result<Audited, Failure> {
    let clock = clock();
    let ask = Ask {
        laws: how.laws,
        objective: how.request.objective,
        cuts: how.cuts,
        bootstrap: how.request.bootstrap,
        threads: context.cores as usize,
        clock: &clock,
    };
    let mut sets = Vec::new();
    for source in sources {
        let runs = runs(context, *source, how.request).await?;
        let data = Data {
            source: Some(runs.name.clone()),
            convention: "as-given",
            runs: runs.observations,
            ..Data::default()
        };
        sets.push(replay(&runs.name, &data, &ask));
    }
    let audit = Audit::new(sets);
    let view = AuditView::new(&audit);
    let figures = draw::figures_of(&view.figures, &view.title).map_err(|error| drawing(&error.to_string()))?;
    let page = draw::audit_page(&view, &figures);
    let (html, figures) = write_page(folder, &page, &figures)?;
    Ok(Audited {
        error: nothing(&audit.sets),
        audit,
        html,
        figures,
    })
}

/// The runs of a source; a home is needed for those of a home alone.
async fn runs(context: &Context, source: Source<'_>, request: &Request) -> Result<Runs, Failure> {
    if let Source::Table(path, mapping) = source {
        return Runs::of_table(path, mapping);
    }
    let mut store = context.store().await?;
    source::runs(context, &mut store, Needs::Runs, source, request).await
}

fn drawing(cause: &str) -> Failure {
    Failure::new(exit::INTERNAL, "draw", cause, "please report this")
}

/// Why nothing could be forecast, where no set has a forecast.
fn nothing(sets: &[SetAudit]) -> Option<Failure> {
    let mut why = sets.iter().map(|set| set.refused.as_deref());
    if why.any(|why| why.is_none()) {
        return None;
    }
    let first = sets.first()?;
    let message = format!(
        "no cut of `{}` leaves runs that carry a law: {}",
        first.source,
        first.refused.as_deref().unwrap_or_default()
    );
    let hint = "an audit needs three sizes and three budgets to fit, and larger runs to forecast";
    Some(Failure::refused("not_identified", message, hint))
}
