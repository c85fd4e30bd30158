//! The command line: what people type, what they are shown, and the exit code.
//!
//! One file per command. Refuses to know how anything is carried out.

mod audit;
mod bench;
mod cancel;
mod cluster;
mod completions;
mod data;
mod db;
mod doctor;
mod export;
mod fit;
mod fit_text;
mod gc;
mod import;
mod init;
mod inspect;
mod log_text;
mod mapping;
mod next;
mod output;
mod plan;
mod predict;
mod progress;
mod recipe;
mod recipe_text;
mod report;
mod run;
mod score;
mod serve;
mod status;
mod study;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::card;
use crate::cli::output::Output;
use crate::fault::{self, Faults};
use crate::model::config::DeviceKind;
use crate::protocol::Trainer;
use crate::run::context::{Context, host_name};
use crate::run::failure::{Failure, exit};
use crate::run::train::toy;
use crate::workdir::Workdir;
use crate::worker_mailbox::Call;

/// The home where nothing else is said.
const HOME: &str = "experiments";

const ABOUT: &str = "Choose the recipe of a big language-model run from hundreds of tiny look-alikes";

const LONG_ABOUT: &str = "\
A model sandbox: it trains grids of tiny MiniCPM proxies over learning rate, batch size and schedule, records every \
loss in SQLite, fits scaling laws, and extrapolates a recipe for the big run.

  sandbox init                        write a commented sweep
  sandbox data prepare rust-sources --name rust-sources --tokenizer byte
  sandbox plan sweep.yaml             what it will cost, and why each trial runs
  sandbox run sweep.yaml              train what is missing; kill it and run it again as you like
  sandbox study study.yaml            all of it, within a budget: chooses and runs the sweeps itself
  sandbox serve                       watch it in the browser
  sandbox fit SWEEP                   the law of loss, the best learning rate by size
  sandbox recipe --params 2.4B        what to use at scale, and how sure that is
  sandbox report SWEEP                one page with everything";

const AFTER: &str = "\
Exit codes: 0 all complete · 1 internal · 2 usage, invalid file, bad data · 3 some trials failed · 4 fit, prediction or \
recipe refused · 5 another process holds the home · 6 the environment (disk, permission, missing program) · 7 stopped \
at a limit · 130/143 stopped by a signal. A diverged trial is a result, not a failure.";

#[derive(Debug, Parser)]
#[command(name = "sandbox", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The working home: database, prepared data, checkpoints, files of workers
    #[arg(
        long,
        global = true,
        env = "SANDBOX_HOME",
        default_value = HOME,
        value_name = "DIR"
    )]
    home: PathBuf,
    /// The database, if it is not in the home (on a local disk, please)
    #[arg(long, global = true, env = "SANDBOX_DB", value_name = "FILE")]
    db: Option<PathBuf>,
    /// Print exactly one JSON value on stdout; everything else goes to stderr
    #[arg(long, global = true)]
    json: bool,
    /// Print ids only
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Answer from a planted law instead of training (tests of everything around it)
    #[arg(long, global = true, hide = true)]
    toy: bool,
    /// Faults that are to come on purpose (tests of what survives them)
    #[arg(long, global = true, hide = true, env = fault::VARIABLE, hide_env = true, value_name = "FAULTS")]
    fail: Option<Faults>,
    /// Cards that are only pretended (tests of what is placed where; the toy needs none)
    #[arg(long, global = true, hide = true, env = "SANDBOX_FAKE_GPUS", hide_env = true)]
    fake_gpus: Option<usize>,
    /// Where to train
    #[arg(long, global = true, value_enum, default_value_t = DeviceArg::Auto)]
    device: DeviceArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DeviceArg {
    /// A GPU where there is one
    Auto,
    /// The processor
    Cpu,
    /// An NVIDIA GPU
    Cuda,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented sweep that runs
    Init(init::InitArgs),
    /// Turn text into tokens, and look at them
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Show what a sweep will train, what that costs, and why each trial runs
    Plan(plan::PlanArgs),
    /// Train what is missing of a sweep
    Run(run::RunArgs),
    /// From data, a target and a budget to a recipe that was tested: chooses, runs and explains the sweeps
    Study(study::StudyArgs),
    /// Show the sweeps of a home and what runs now
    Status(status::StatusArgs),
    /// Show a home in the browser while its sweeps run
    Serve(serve::ServeArgs),
    /// Show one trial: its settings, stages and attempts
    Show(inspect::ShowArgs),
    /// Print what the workers of a trial said
    Logs(inspect::LogsArgs),
    /// Take trials out of a sweep, or bring them back
    Cancel(cancel::CancelArgs),
    /// Remove what nothing needs: leftovers of crashes, and states if you say so
    Gc(gc::GcArgs),
    /// Check, hash or copy the database
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Keep anybody's runs in the home, to be fitted by name
    Import(import::ImportArgs),
    /// Fit the law of loss and the law of the learning rate
    Fit(fit::FitArgs),
    /// Predict a loss from a fit
    Predict(predict::PredictArgs),
    /// Say what to use at scale, with the origin of every number
    Recipe(recipe::RecipeArgs),
    /// Say how a registered forecast did
    Score(score::ScoreArgs),
    /// Replay forecasts on finished runs: hide the larger ones, fit, forecast, compare
    Audit(audit::AuditArgs),
    /// Write one page with everything, and the figures beside it
    Report(report::ReportArgs),
    /// Write the tables of trials, points and stages; event files for TensorBoard; a proxy for `transformers`
    Export(export::ExportArgs),
    /// Measure how fast proxies train here
    Bench(bench::BenchArgs),
    /// Check that everything that a run needs is there
    Doctor(doctor::DoctorArgs),
    /// Print what a shell needs to complete commands: `sandbox completions bash > …`
    Completions(completions::CompletionsArgs),
    /// Answer jobs from a planted law
    #[command(hide = true)]
    ToyWorker(ToyArgs),
}

#[derive(Debug, Args)]
struct ToyArgs {
    #[command(flatten)]
    call: Call,
    /// What is planted beside the law of loss, for tests: a JSON object
    #[arg(long, env = "SANDBOX_TOY", hide = true)]
    planted: Option<String>,
}

/// Runs the command line and gives the exit code.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let wants_json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&with_suggestion(error), wants_json),
    };
    let output = Output::new(cli.global.json, cli.global.quiet);
    match dispatch(cli, &output) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit)
        }
    }
}

/// What people type who know other programs, and what they mean here.
const OTHER_WORDS: [(&str, &str); 14] = [
    ("train", "run"),
    ("start", "run"),
    ("resume", "run"),
    ("launch", "run"),
    ("sweep", "run"),
    ("ls", "status"),
    ("list", "status"),
    ("ps", "status"),
    ("top", "status"),
    ("watch", "serve"),
    ("dashboard", "serve"),
    ("stop", "cancel"),
    ("predictions", "predict"),
    ("prepare", "data"),
];

/// The same, where a command is unknown whose meaning is known.
fn with_suggestion(mut error: clap::Error) -> clap::Error {
    let typed = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(typed)) => typed.clone(),
        Some(_) | None => return error,
    };
    if let Some((_, meant)) = OTHER_WORDS.iter().find(|(other, _)| *other == typed) {
        let meant = ContextValue::Strings(vec![(*meant).to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, meant);
    }
    error
}

/// clap's own words on a terminal; our shape where a program listens.
fn usage(error: &clap::Error, wants_json: bool) -> ExitCode {
    if !error.use_stderr() || !wants_json {
        return match error.print() {
            Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::INVALID)),
            Err(_) => ExitCode::from(exit::INTERNAL),
        };
    }
    let text = error.render().to_string();
    // What is missing stands in lines of its own, before the usage.
    let words: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty())
        .collect();
    let message = words.join(" ").trim_start_matches("error: ").to_owned();
    let failure = Failure::invalid("usage", message, "`sandbox --help` shows the commands");
    Output::new(true, false).failure(&failure);
    ExitCode::from(failure.exit)
}

fn dispatch(cli: Cli, output: &Output) -> Result<u8, Failure> {
    let context = context(&cli.global)?;
    match cli.command {
        Command::Init(args) => init::init(&context, &args, output),
        Command::Data(command) => data::data(&context, command, output),
        Command::Plan(args) => block_on(plan::plan(&context, &args, output)),
        Command::Run(args) => block_on(run::run(&context, &args, output)),
        Command::Study(args) => block_on(study::study(&context, &args, output)),
        Command::Status(args) => block_on(status::status(&context, &args, output)),
        Command::Serve(args) => block_on(serve::serve(&context, &args, output)),
        Command::Show(args) => block_on(inspect::show(&context, &args, output)),
        Command::Logs(args) => block_on(inspect::logs(&context, &args, output)),
        Command::Cancel(args) => block_on(cancel::cancel(&context, &args, output)),
        Command::Gc(args) => block_on(gc::gc(&context, &args, output)),
        Command::Db(command) => block_on(db::db(&context, &command, output)),
        Command::Import(args) => block_on(import::import(&context, &args, output)),
        Command::Fit(args) => block_on(fit::fit(&context, &args, output)),
        Command::Predict(args) => block_on(predict::predict(&context, &args, output)),
        Command::Recipe(args) => block_on(recipe::recipe(&context, &args, output)),
        Command::Score(args) => block_on(score::score(&context, &args, output)),
        Command::Audit(args) => block_on(audit::audit(&context, &args, output)),
        Command::Report(args) => block_on(report::report(&context, &args, output)),
        Command::Export(args) => block_on(export::export(&context, &args, output)),
        Command::Bench(args) => block_on(bench::bench(&context, &args, output)),
        Command::Doctor(args) => block_on(doctor::doctor(&context, &args, output)),
        Command::Completions(args) => completions::completions(&args),
        Command::ToyWorker(args) => toy::serve(&args.call, args.planted.as_deref())
            .map(|()| 0)
            .map_err(Failure::from),
    }
}

fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

/// Memory that is free, in bytes, as Linux tells.
fn free_memory() -> Option<u64> {
    let text = fs_err::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The flags that were given for the home and the trainer; what the environment says holds for the next command too.
fn flags(global: &Global) -> String {
    let is_of_environment = |name: &str, path: &Path| std::env::var_os(name).is_some_and(|value| path == value);
    let mut flags = String::new();
    if global.home != Path::new(HOME) && !is_of_environment("SANDBOX_HOME", &global.home) {
        flags.push_str(&format!(" --home {}", next::quoted(&global.home.display().to_string())));
    }
    if let Some(db) = global.db.as_ref().filter(|db| !is_of_environment("SANDBOX_DB", db)) {
        flags.push_str(&format!(" --db {}", next::quoted(&db.display().to_string())));
    }
    if global.toy {
        flags.push_str(" --toy");
    }
    flags
}

fn context(global: &Global) -> Result<Context, Failure> {
    let here = std::env::current_exe()?;
    let trainer = if global.toy { Trainer::Toy } else { Trainer::Proxy };
    let worker = match trainer {
        Trainer::Toy => here,
        Trainer::Proxy | Trainer::Imported => here.with_file_name("sandbox-worker"),
    };
    let fake_gpus = global.fake_gpus.filter(|_| global.toy);
    let gpus = fake_gpus.unwrap_or_else(card::count);
    let has_card = gpus > 0;
    let device = match global.device {
        DeviceArg::Cuda => DeviceKind::Cuda,
        DeviceArg::Auto if has_card && (!global.toy || fake_gpus.is_some()) => DeviceKind::Cuda,
        DeviceArg::Auto | DeviceArg::Cpu => DeviceKind::Cpu,
    };
    if global.device == DeviceArg::Cuda && !has_card {
        return Err(Failure::environment(
            "no_device",
            "there is no NVIDIA GPU here",
            "train with `--device cpu`; on a cluster the profile's `gpus` decides",
        ));
    }
    Ok(Context {
        memory: free_memory(),
        faults: global.fail.clone().unwrap_or_default(),
        flags: flags(global),
        workdir: Workdir::new(&global.home, global.db.as_deref()),
        trainer,
        device,
        gpus,
        worker,
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
        host: host_name(),
    })
}
