//! `sandbox data`: text into tokens, and a look at them.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use crate::cli::next;
use crate::cli::output::{Output, table};
use crate::data::corpus::Reading;
use crate::data::inspect::{self, Inspection};
use crate::data::prepare::{self, Outcome, Progress, Request, Summary};
use crate::data::source::Source;
use crate::data::tokenizer::TokenizerSpec;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::planning::data_failure;
use crate::units::{human_bytes, human_count, parse_count};

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// Turn text into tokens that sweeps can name
    Prepare(PrepareArgs),
    /// List what is prepared
    List,
    /// Show counts, hashes and a sample of one
    Inspect {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct PrepareArgs {
    /// Files (.txt, .json, .jsonl, also .gz or .zst; .parquet), folders, `rust-sources`, or a synthetic source
    #[arg(required = true)]
    paths: Vec<String>,
    /// The name that sweeps use
    #[arg(long)]
    name: String,
    /// `byte`, `bpe:VOCAB` (trained here), or a tokenizer.json
    #[arg(long, default_value = "byte")]
    tokenizer: String,
    /// The column of text in JSON and parquet files; in JSON also one inside others: `meta.content`
    #[arg(long, default_value = "text")]
    text_column: String,
    /// What a record does that has no readable text
    #[arg(long, value_enum, default_value_t = OnBadRecord::Stop)]
    on_bad_record: OnBadRecord,
    /// Held-out documents: a share (`1%`), or NAME=SHARE, or NAME=PATH; repeatable
    #[arg(long = "held-out", value_name = "SHARE|NAME=…")]
    held_out: Vec<String>,
    /// Take at most so many bytes of text, a fair sample of documents: 64MB, 32Mi
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_bytes: Option<u64>,
    /// Put it in place of other data of that name
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnBadRecord {
    /// It ends the command, and nothing is prepared
    Stop,
    /// It is left out, counted, and named if it is among the first ten
    Skip,
}

fn bytes(text: &str) -> Result<u64, String> {
    let count = text
        .strip_suffix("iB")
        .map_or_else(|| text.trim_end_matches('B').to_owned(), |rest| format!("{rest}i"));
    parse_count(&count).map_err(|error| error.to_string())
}

pub(super) fn data(context: &Context, command: DataCommand, output: &Output) -> Result<u8, Failure> {
    let root = context.workdir.data();
    match command {
        DataCommand::Prepare(args) => {
            prepare_data(&root, args, output)?;
            // A sweep names the data; `init` calls it so.
            next::say(context, output, "plan sweep.yaml");
        }
        DataCommand::List => list(&root, output)?,
        DataCommand::Inspect { name } => {
            let inspection = inspect::inspect(&root, &name).map_err(data_failure)?;
            output.result(&inspection, std::slice::from_ref(&name), || {
                inspection_text(&inspection)
            })?;
        }
    }
    Ok(0)
}

fn prepare_data(root: &Path, args: PrepareArgs, output: &Output) -> Result<(), Failure> {
    let request = Request {
        name: args.name,
        sources: args
            .paths
            .iter()
            .map(|path| Source::parse(path))
            .collect::<Result<_, _>>()
            .map_err(data_failure)?,
        tokenizer: TokenizerSpec::parse(&args.tokenizer).map_err(data_failure)?,
        reading: Reading {
            text_column: args.text_column,
            skips_bad: args.on_bad_record == OnBadRecord::Skip,
        },
        held_out: args
            .held_out
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(data_failure)?,
        bytes_max: args.max_bytes,
        force: args.force,
        cargo_home: cargo_home(),
    };
    let bar = if output.is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    let summary = prepare::prepare(&request, root, &mut |progress| {
        bar.set_message(progress_text(progress));
        bar.tick();
    });
    bar.finish_and_clear();
    let summary = summary.map_err(data_failure)?;
    let bad = &summary.bad_records;
    if bad.count > 0 {
        output.note(&format!(
            "{} records have no readable text and were left out; the first:",
            bad.count
        ));
        bad.first.iter().for_each(|why| output.note(why));
    }
    output.result(&summary, std::slice::from_ref(&summary.data), || summary_text(&summary))
}

/// Where cargo keeps its registry.
#[expect(clippy::disallowed_methods, reason = "the environment is read in cli")]
pub(super) fn cargo_home() -> PathBuf {
    let home = || std::env::var("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    std::env::var("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|_| home())
        .unwrap_or_else(|_| PathBuf::from(".cargo"))
}

fn progress_text(progress: Progress) -> String {
    match progress {
        Progress::Searching => "looking for the corpus".to_owned(),
        Progress::Reading(documents) => format!("{documents} documents read"),
        Progress::TrainingTokenizer => "training the tokenizer".to_owned(),
        Progress::Tokenizing { bytes, total } => {
            format!(
                "tokenizing {} of {}",
                human_bytes(bytes as f64),
                human_bytes(total as f64)
            )
        }
    }
}

fn summary_text(summary: &Summary) -> String {
    let splits: Vec<String> = summary
        .tokens
        .iter()
        .map(|(split, tokens)| format!("{split} {}", human_count(*tokens as f64)))
        .collect();
    let did = match summary.outcome {
        Outcome::Prepared => "prepared",
        Outcome::Unchanged => "was there already, unchanged:",
        Outcome::Replaced => "replaced",
    };
    format!(
        "{did} {} ({}, vocabulary {}): tokens: {}; {} documents, {} duplicates dropped; hash {}",
        summary.data,
        summary.tokenizer,
        summary.vocab,
        splits.join(", "),
        summary.documents,
        summary.duplicates_dropped,
        summary.hash
    )
}

fn list(root: &Path, output: &Output) -> Result<(), Failure> {
    let found = inspect::list(root).map_err(data_failure)?;
    let mut infos = Vec::new();
    for (name, info) in found {
        match info {
            Ok(info) => infos.push(info),
            Err(error) => output.note(&format!("{name}: {error}")),
        }
    }
    let ids: Vec<String> = infos.iter().map(|info| info.name.clone()).collect();
    output.result(&infos, &ids, || {
        if infos.is_empty() {
            return "nothing is prepared; `sandbox data prepare rust-sources --name rust-sources` is a beginning"
                .to_owned();
        }
        let rows: Vec<Vec<String>> = infos
            .iter()
            .map(|info| {
                let held_out: Vec<String> = info
                    .held_out
                    .iter()
                    .map(|(name, tokens)| format!("{name} {}", human_count(tokens.as_f64())))
                    .collect();
                vec![
                    info.name.clone(),
                    info.tokenizer.clone(),
                    info.vocab.to_string(),
                    human_count(info.train_tokens.as_f64()),
                    held_out.join(", "),
                    info.hash.clone(),
                ]
            })
            .collect();
        table(&["data", "tokenizer", "vocab", "train", "held out", "hash"], &rows)
    })
}

fn inspection_text(inspection: &Inspection) -> String {
    const SHOWN: usize = 160;
    let info = inspection.manifest.info();
    let mut text = format!(
        "{} ({}, vocabulary {}), hash {}\n",
        info.name, info.tokenizer, info.vocab, info.hash
    );
    for sample in &inspection.samples {
        let tokens = info.tokens(&sample.split).map_or(0.0, crate::units::Tokens::as_f64);
        let begins = sample.text.as_ref().map_or_else(
            || format!("{:?} …", &sample.tokens[..sample.tokens.len().min(24)]),
            |text| format!("{:?} …", text.chars().take(SHOWN).collect::<String>()),
        );
        text.push_str(&format!(
            "{}: {} tokens\n  {begins}\n",
            sample.split,
            human_count(tokens)
        ));
    }
    text
}
