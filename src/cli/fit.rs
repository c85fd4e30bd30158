//! `sandbox fit`: laws from a sweep, or from a table of anybody's runs.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use crate::cli::fit_text::{law_text, tried_text};
use crate::cli::mapping::MappingArgs;
use crate::cli::next;
use crate::cli::output::Output;
use crate::cli::predict::count;
use crate::fit::law::{Entry, Needs};
use crate::fit::laws::{self, LAWS};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::loss_law::HoldOut;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::file;
use crate::run::fit::source::Source;
use crate::run::fit::table::Mapping;
use crate::run::fit::{self, Counts, Request, Which};

#[derive(Debug, Args)]
pub(super) struct FitArgs {
    /// A sweep (default: the one that was run last), a name that was imported, or a table of anybody's runs: .csv,
    /// .tsv, .json, .jsonl, .parquet, also packed (.gz, .zst)
    #[arg(value_name = "SWEEP|FILE")]
    target: Option<String>,
    #[command(flatten)]
    mapping: MappingArgs,
    #[arg(long, value_delimiter = ',', help = law_help(), value_parser = PossibleValuesParser::new(law_names()))]
    law: Vec<String>,
    /// What is minimised: huber unless told otherwise; auto: what predicts the larger runs better, as for `--law auto`
    #[arg(long, value_enum)]
    objective: Option<ObjectiveArg>,
    /// What N counts, for trials of a sweep
    #[arg(long, value_enum, default_value_t = CountsArg::NonEmbedding, value_name = "COUNT")]
    params_count: CountsArg,
    /// Resamples for the intervals
    #[arg(long, default_value_t = 1000, value_name = "N")]
    bootstrap: usize,
    /// What a second fit predicts without having seen it: largest (size, or budget of equal compute), none, params>X, flops>X
    #[arg(long, default_value = "largest", value_parser = hold_out)]
    hold_out: HoldOut,
    /// Curves to fit (laws of curves): files with columns step, lr, loss in the folder that is the target, or logs of
    /// `transformers`, W&B or TensorBoard (`LOSS.csv+LR.csv` where a file has one quantity), or trials of the sweep that
    /// is the target, by default all others of its finished trials
    #[arg(long, value_name = "FILE|TRIAL", value_delimiter = ',')]
    train: Vec<String>,
    /// Curves to predict without having seen them (laws of curves)
    #[arg(long, value_name = "FILE|TRIAL", value_delimiter = ',')]
    predict: Vec<String>,
    /// Steps of warm-up that the curves do not show (laws of curves)
    #[arg(long, value_name = "STEPS", default_value_t = 0.0)]
    warmup: f64,
}

/// What each law tells, from the list of laws.
fn law_help() -> String {
    let each = LAWS
        .iter()
        .map(|law| format!("{}: {}", law.about.name, law.about.tells));
    format!(
        "Which law: auto (the default for a sweep; chinchilla is that of a table or an import) fits every law of loss that \
         the runs carry and takes the one that predicts larger runs best, the simplest of those within noise. {}. Of \
         several laws of loss, separated by commas, the one that best predicts the runs held out is \
         chosen",
        each.collect::<Vec<_>>().join("; ")
    )
}

/// What chooses among laws of loss.
pub(super) const AUTO: &str = "auto";

fn law_names() -> Vec<&'static str> {
    std::iter::once(AUTO).chain(laws::names(|_| true)).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ObjectiveArg {
    Huber,
    LeastSquares,
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CountsArg {
    NonEmbedding,
    Total,
}

impl ObjectiveArg {
    /// What is minimised; none where a hold-out chooses.
    pub(super) fn objective(self) -> Option<Objective> {
        match self {
            Self::Huber => Some(Objective::Huber),
            Self::LeastSquares => Some(Objective::LeastSquares),
            Self::Auto => None,
        }
    }
}

impl CountsArg {
    pub(super) fn counts(self) -> Counts {
        match self {
            Self::NonEmbedding => Counts::NonEmbedding,
            Self::Total => Counts::Total,
        }
    }
}

/// The table that is meant, if it is one: a file of that name, or whatever has columns that are mapped.
pub(super) fn table_of(target: &str, is_mapped: bool) -> Option<PathBuf> {
    let path = PathBuf::from(target);
    (is_mapped || (file::is_table(&path) && path.exists())).then_some(path)
}

fn hold_out(text: &str) -> Result<HoldOut, String> {
    let above = |rest: &str| count(rest.trim());
    match text {
        "largest" => Ok(HoldOut::Largest),
        "none" => Ok(HoldOut::None),
        _ => match (text.strip_prefix("params>"), text.strip_prefix("flops>")) {
            (Some(rest), _) => above(rest).map(HoldOut::ParamsAbove),
            (_, Some(rest)) => above(rest).map(HoldOut::FlopsAbove),
            (None, None) => Err("largest, none, params>X or flops>X".to_owned()),
        },
    }
}

impl FitArgs {
    fn request(&self) -> Request {
        Request {
            objective: self.objective.and_then(ObjectiveArg::objective),
            objective_by_hold_out: self.objective == Some(ObjectiveArg::Auto),
            counts: self.params_count.counts(),
            hold_out: self.hold_out,
            bootstrap: self.bootstrap,
            condition: self.mapping.condition.clone(),
            train: self.train.clone(),
            predict: self.predict.clone(),
            warmup: self.warmup,
        }
    }

    fn which(&self) -> Result<Which, Failure> {
        if self.law.iter().any(|name| name == AUTO) {
            return if self.law.len() == 1 {
                Ok(Which::Auto)
            } else {
                let message = "`auto` tries every law of loss by itself";
                Err(Failure::invalid("usage", message, "name `auto` alone"))
            };
        }
        let laws: Vec<&'static Entry> = self.law.iter().filter_map(|name| laws::named(name)).collect();
        Ok(if laws.is_empty() {
            Which::Default
        } else {
            Which::Named(laws)
        })
    }

    fn table(&self) -> Option<PathBuf> {
        table_of(self.target.as_deref()?, !self.mapping.map.is_empty())
    }
}

/// Whether a law is first of all one of trials, which only a home has.
fn is_of_home(law: &Entry) -> bool {
    law.about.beside.is_some() || law.about.needs == Needs::LearningRates
}

pub(super) async fn fit(context: &Context, args: &FitArgs, output: &Output) -> Result<u8, Failure> {
    let which = args.which()?;
    let laws: &[&'static Entry] = match &which {
        Which::Named(laws) => laws,
        Which::Default | Which::Auto => &[],
    };
    let mapping = args.mapping.mapping()?;
    let table = args.table();
    let is_of_curves = laws.iter().any(|law| law.about.needs == Needs::LossCurves);
    let folder = Path::new(args.target.as_deref().unwrap_or("."));
    let source = match &table {
        _ if is_of_curves && folder.is_dir() => Source::Folder(folder),
        Some(path) if !is_of_curves => Source::Table(path, &mapping),
        Some(_) | None => Source::Named(args.target.as_deref()),
    };
    refuse_idle_flags(source, &mapping)?;
    refuse_idle_count(args.params_count, matches!(source, Source::Named(_)))?;
    let mut store = match source {
        Source::Named(_) if laws.iter().take(1).all(|law| is_of_home(law)) => context.store().await?,
        Source::Named(_) | Source::Table(..) | Source::Folder(_) => context.store_or_new().await?,
    };
    let fitted = fit::fit(context, &mut store, &which, source, &args.request()).await?;
    if !fitted.tried.is_empty() {
        output.note(&tried_text(&fitted.tried));
    }
    if let Some(Err(refusal)) = fitted.beside.as_ref().and_then(|beside| beside.law.as_ref()) {
        let code = refusal.code();
        output.note(&format!("the law of the learning rate is refused ({code}): {refusal}"));
    }
    let name = &fitted.law.kept.fit;
    output.result(&fitted.body(), std::slice::from_ref(name), || {
        let below = fitted
            .beside
            .iter()
            .filter_map(|beside| beside.law.as_ref()?.as_ref().ok());
        let texts: Vec<String> = std::iter::once(&fitted.law).chain(below).map(law_text).collect();
        texts.join("\n\n")
    })?;
    if let Source::Named(sweep) = source {
        next::recipe(context, &mut store, sweep, output).await;
    }
    Ok(0)
}

/// Refuses a flag that would mean nothing here: who gives one expects another result.
pub(super) fn refuse_idle_flags(source: Source<'_>, mapping: &Mapping) -> Result<(), Failure> {
    let is_table = matches!(source, Source::Table(..));
    if !is_table && !mapping.scales.is_empty() {
        return Err(Failure::invalid(
            "usage",
            "--scale is for the columns of a table, and this is none",
            "give it to `sandbox import`, where the numbers of an import are read",
        ));
    }
    if matches!(source, Source::Folder(_)) && mapping.condition.is_some() {
        return Err(Failure::invalid(
            "usage",
            "--where chooses among runs, and a folder of curves has none",
            "name the files with `--train` and `--predict`",
        ));
    }
    Ok(())
}

/// The same of what N counts, where no trials are among the runs.
pub(super) fn refuse_idle_count(count: CountsArg, has_trials: bool) -> Result<(), Failure> {
    if count == CountsArg::Total && !has_trials {
        return Err(Failure::invalid(
            "usage",
            "--params-count is for trials of a sweep: a table's N is what its column holds",
            "map another column: `--map params=COLUMN`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use crate::cli::output::Output;
    use crate::cli::{Cli, dispatch};

    /// Runs a command in a home and gives its exit code.
    fn run(home: &std::path::Path, args: &[&str]) -> u8 {
        let home = ["sandbox", "--quiet", "--home", home.to_str().expect("a path in UTF-8")];
        let cli = Cli::try_parse_from(home.iter().chain(args)).expect("a command");
        dispatch(cli, &Output::new(false, true)).unwrap_or_else(|failure| failure.exit)
    }

    #[test]
    fn a_law_of_a_test_reaches_the_help_and_is_fitted_asked_and_put_on_a_page() {
        let command = Cli::command();
        let fit = command.find_subcommand("fit").expect("fit");
        let law = fit.get_arguments().find(|arg| arg.get_id() == "law").expect("--law");
        let values: Vec<String> = law
            .get_possible_values()
            .iter()
            .map(|it| it.get_name().to_owned())
            .collect();
        assert!(values.contains(&"mean-of-a-test".to_owned()), "{values:?}");
        let help = law.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("mean-of-a-test: the mean of all losses"), "{help}");

        let folder = tempfile::tempdir().expect("a folder");
        let (table, page) = (folder.path().join("runs.csv"), folder.path().join("page"));
        fs_err::write(&table, "params,tokens,loss\n1e6,1e8,3\n2e6,1e8,2\n").expect("a table");
        let (table, page_name) = (table.to_str().expect("UTF-8"), page.to_str().expect("UTF-8"));
        let home = folder.path().join("home");
        assert_eq!(run(&home, &["fit", table, "--law", "mean-of-a-test"]), 0);
        assert_eq!(run(&home, &["predict", "last", "--params", "1M", "--tokens", "1M"]), 0);
        assert_eq!(run(&home, &["report", "last", "--out", page_name]), 0);
        let text = fs_err::read_to_string(page.join("index.html")).expect("a page");
        assert!(
            text.contains("mean-of-a-test") && text.contains("L = m"),
            "the page shows the law"
        );
        assert_eq!(
            run(&home, &["fit", table, "--law", "batch"]),
            4,
            "another law refuses these runs"
        );
    }
}
