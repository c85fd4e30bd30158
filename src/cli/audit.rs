//! `sandbox audit`: forecasts replayed on runs that have finished.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::cli::fit::{AUTO, CountsArg, ObjectiveArg, refuse_idle_count, refuse_idle_flags, table_of};
use crate::cli::mapping::MappingArgs;
use crate::cli::output::{Output, table};
use crate::fit::audit::{Audit, CutAudit, Figures, SetAudit};
use crate::fit::law::Entry;
use crate::fit::laws::{self, LAWS};
use crate::report::audit::{cut_value, short};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::fit::Request;
use crate::run::fit::audit::{Audited, Replay};
use crate::run::fit::source::Source;

/// Cuts of each set where nothing else is said.
const CUTS: usize = 5;

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Tables of finished runs, all with the same columns: .csv, .tsv, .json, .jsonl, .parquet, also packed (.gz, .zst);
    /// or sweeps and imports of the home (default: the sweep that was run last)
    #[arg(value_name = "FILE|SWEEP")]
    targets: Vec<String>,
    #[command(flatten)]
    mapping: MappingArgs,
    /// Cuts of each set, at most: evenly over the sizes (or the budgets of equal compute) below which a law can be
    /// fitted; what lies beyond a cut is hidden and forecast
    #[arg(long, default_value_t = CUTS, value_name = "K", value_parser = cuts)]
    cuts: usize,
    /// The law of loss to replay; auto, or several separated by commas: at each cut the one that `sandbox fit --law auto`
    /// takes from what is not hidden
    #[arg(long, value_delimiter = ',', default_value = AUTO, value_parser = PossibleValuesParser::new(names()))]
    law: Vec<String>,
    /// What is minimised: huber for a law that is named, else what predicts better
    #[arg(long, value_enum, default_value_t = ObjectiveArg::Auto)]
    objective: ObjectiveArg,
    /// What N counts, for trials of a sweep
    #[arg(long, value_enum, default_value_t = CountsArg::NonEmbedding, value_name = "COUNT")]
    params_count: CountsArg,
    /// Resamples for the intervals of each cut
    #[arg(long, default_value_t = 1000, value_name = "N")]
    bootstrap: usize,
    /// Folder for the page and its figures
    #[arg(long, default_value = "reports/audit", value_name = "DIR")]
    out: PathBuf,
}

fn names() -> Vec<&'static str> {
    std::iter::once(AUTO)
        .chain(laws::names(|about| about.compare.is_some()))
        .collect()
}

fn cuts(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("without a cut nothing is forecast".to_owned()),
        Ok(cuts) => Ok(cuts),
        Err(_) => Err("it must be a number of cuts".to_owned()),
    }
}

impl AuditArgs {
    fn laws(&self) -> Result<Vec<&'static Entry>, Failure> {
        if !self.law.iter().any(|name| name == AUTO) {
            return Ok(self.law.iter().filter_map(|name| laws::named(name)).collect());
        }
        if self.law.len() > 1 {
            let message = "`auto` tries every law of loss by itself";
            return Err(Failure::invalid("usage", message, "name `auto` alone"));
        }
        Ok(LAWS.iter().filter(|law| law.about.compare.is_some()).collect())
    }

    fn request(&self) -> Request {
        Request {
            objective: self.objective.objective(),
            counts: self.params_count.counts(),
            bootstrap: self.bootstrap,
            condition: self.mapping.condition.clone(),
            ..Request::default()
        }
    }
}

pub(super) async fn audit(context: &Context, args: &AuditArgs, output: &Output) -> Result<u8, Failure> {
    let mapping = args.mapping.mapping()?;
    let is_mapped = !args.mapping.map.is_empty();
    let paths: Vec<Option<PathBuf>> = args.targets.iter().map(|it| table_of(it, is_mapped)).collect();
    let mut sources: Vec<Source<'_>> = paths
        .iter()
        .zip(&args.targets)
        .map(|(path, name)| match path {
            Some(path) => Source::Table(path, &mapping),
            None => Source::Named(Some(name)),
        })
        .collect();
    if sources.is_empty() {
        sources.push(Source::Named(None));
    }
    let is_table = |source: &&Source<'_>| matches!(source, Source::Table(..));
    refuse_idle_flags(*sources.iter().find(is_table).unwrap_or(&sources[0]), &mapping)?;
    refuse_idle_count(args.params_count, !sources.iter().all(|source| is_table(&source)))?;
    let (laws, request) = (args.laws()?, args.request());
    let how = Replay {
        laws: &laws,
        cuts: args.cuts,
        request: &request,
    };
    let done = crate::run::fit::audit::audit(context, &sources, &how, &args.out).await?;
    output.result(&done, std::slice::from_ref(&done.html), || audit_text(&done))?;
    let Some(failure) = &done.error else { return Ok(0) };
    output.note(&format!("{}\nhint: {}", failure.message, failure.hints.join("; ")));
    Ok(exit::REFUSED)
}

/// A table for each set, one for all, and where the page is.
fn audit_text(done: &Audited) -> String {
    let Audit { sets, all } = &done.audit;
    let mut parts: Vec<String> = sets.iter().map(set_text).collect();
    if sets.len() > 1 {
        parts.push(sums_text(sets, all));
    }
    parts.push(format!("wrote {}", done.html));
    parts.join("\n\n")
}

/// The names of [`cells`].
const FIGURES: [&str; 7] = [
    "forecasts",
    "error",
    "bias",
    "in 50 %",
    "in 80 %",
    "in 95 %",
    "width/error",
];

/// How forecasts did, in words.
fn cells(figures: &Figures) -> Vec<String> {
    let dash = || "–".to_owned();
    let percent = |value: Option<f64>, decimals: usize| {
        value.map_or_else(dash, |value| format!("{:.decimals$} %", 100.0 * value))
    };
    vec![
        figures.n.map_or_else(dash, |n| n.to_string()),
        percent(figures.mean_abs_rel_error, 2),
        figures.bias.map_or_else(dash, |bias| format!("{:+.2} %", 100.0 * bias)),
        percent(figures.covered50, 0),
        percent(figures.covered80, 0),
        percent(figures.covered95, 0),
        figures.width_over_error.map_or_else(dash, |it| format!("{it:.1}")),
    ]
}

fn set_text(set: &SetAudit) -> String {
    let row = |cut: &CutAudit| {
        let mut row = vec![cut_value(cut), cut.seen.to_string(), cut.law.unwrap_or("–").to_owned()];
        row.extend(cells(&cut.figures));
        row
    };
    let mut text = set.source.clone();
    if let Some(why) = &set.refused {
        text.push_str(&format!("\nno forecast: {why}"));
    } else {
        let head: Vec<&str> = ["fitted up to", "runs", "law"].into_iter().chain(FIGURES).collect();
        text.push('\n');
        text.push_str(&table(&head, &set.cuts.iter().map(row).collect::<Vec<_>>()));
        for cut in &set.cuts {
            if let Some(why) = &cut.refused {
                text.push_str(&format!("\nup to {}: {why}", cut_value(cut)));
            }
        }
    }
    text
}

fn sums_text(sets: &[SetAudit], all: &Figures) -> String {
    let row = |name: &str, law: Option<&str>, figures: &Figures| {
        let mut row = vec![name.to_owned(), law.unwrap_or("–").to_owned()];
        row.extend(cells(figures));
        row
    };
    let mut rows: Vec<Vec<String>> = sets
        .iter()
        .map(|set| row(short(&set.source), set.law, &set.figures))
        .collect();
    rows.push(row("all", None, all));
    let head: Vec<&str> = ["set", "law"].into_iter().chain(FIGURES).collect();
    table(&head, &rows)
}
