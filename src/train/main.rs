//! The worker: trains one stage after another and writes what happened as JSON lines.
//!
//! A program of its own, because one that is linked to libtorch starts slowly. It reads job files from standard
//! input, leaves lines and checkpoints beside them, and never opens the database.

mod bench;
mod checkpoint;
mod checkpointer;
mod clock;
mod coordinates;
mod failure;
mod fault_injection;
mod fused;
mod job;
mod lines;
mod loader;
mod serve;
mod system;
#[cfg(test)]
mod tests;
mod trainer;

use std::io::{BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sandbox::mailbox::Leaving;
use sandbox::model::mup::Multipliers;
use sandbox::protocol::{self, LINES_FILE, Line};
use sandbox::worker_mailbox::{self, Call};

use crate::failure::Failure;
use crate::job::{Shelf, VERSION};
use crate::lines::Lines;
use crate::serve::StdinJobs;

/// Trains stages for `sandbox`.
#[derive(Parser)]
#[command(name = "sandbox-worker", disable_version_flag = true)]
struct Arguments {
    /// Print the versions of the worker and of libtorch.
    #[arg(long)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Do the jobs whose files are named on standard input, one a line (the default), or that come into an inbox.
    Serve(Call),
    /// Do the jobs in these files.
    Job {
        /// Job files.
        files: Vec<PathBuf>,
    },
    /// Measure how fast a shape trains here.
    Bench(bench::Options),
    /// Measure muP's coordinate check: how the change of activations depends on the width.
    Coordinates,
    /// Say what this worker can use.
    Info {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Before anything slow: from here on Slurm's signals are heard.
    let joined = match &arguments.command {
        Some(Command::Serve(call)) if call.is_of_a_pool() => {
            Some(worker_mailbox::Mailbox::join(call, VERSION, &system::host()))
        }
        _ => None,
    };
    system::flush_denormals();
    system::keep_freed_memory();
    system::load_cuda();
    tch::set_num_interop_threads(1);
    let outcome = if arguments.version {
        say(&format!(
            "sandbox-worker {VERSION} (libtorch {})",
            system::libtorch_version()
        ))
    } else {
        match arguments.command {
            None | Some(Command::Serve(_)) => match joined {
                Some(inbox) => inbox.map_err(Failure::from).and_then(serve_pool),
                None => serve(),
            },
            Some(Command::Job { files }) => do_jobs(&files),
            Some(Command::Bench(options)) => bench(&options),
            Some(Command::Coordinates) => coordinates(),
            Some(Command::Info { json }) => say(&info(json)),
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            // The last word of a worker that can write nothing any more.
            ExitCode::from(protocol::exit_code(failure.cause))
        }
    }
}

/// Does the jobs that are named on standard input.
fn serve() -> Result<(), Failure> {
    system::ignore_interrupts();
    let mut inbox = StdinJobs::listen(BufReader::new(std::io::stdin()));
    let mut shelf = Shelf::default();
    while let Some(path) = inbox.next() {
        do_job(&path, &mut shelf, true, &|| inbox.stopped())?;
    }
    Ok(())
}

/// Does the jobs that come into the inbox of a pool; none: the pool is over.
fn serve_pool(inbox: Option<worker_mailbox::Mailbox>) -> Result<(), Failure> {
    let Some(mut inbox) = inbox else { return Ok(()) };
    let mut shelf = Shelf::default();
    while let Some(path) = inbox.next_job() {
        if let Err(failure) = do_job(&path, &mut shelf, false, &|| inbox.stopped()) {
            inbox.leave(Leaving::Failed);
            return Err(failure);
        }
    }
    Ok(())
}

/// Does the jobs that are named on the command line.
fn do_jobs(files: &[PathBuf]) -> Result<(), Failure> {
    let mut shelf = Shelf::default();
    files
        .iter()
        .try_for_each(|path| do_job(path, &mut shelf, false, &|| false))
}

/// Does one job; whatever goes wrong becomes its last line. An error means that not even that could be written.
fn do_job(path: &Path, shelf: &mut Shelf, has_bell: bool, stopped: &dyn Fn() -> bool) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let job = job::read(path);
    let attempt = match &job {
        Ok(job) => job.attempt,
        // Another version's job still says whose it is; without that there is nobody to answer.
        Err(_) => job::attempt(path)?,
    };
    let mut lines = Lines::open(&folder.join(LINES_FILE), attempt, has_bell)?;
    let outcome = job.and_then(|job| {
        // libtorch's errors arrive as panics; the next job must not suffer from them.
        catch_unwind(AssertUnwindSafe(|| {
            job::perform(&job, folder, &mut lines, shelf, stopped)
        }))
        .unwrap_or_else(|payload| Err(Failure::from_panic(payload.as_ref())))
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(failure) => {
            complain(&failure);
            lines.say(&Line::Failed {
                cause: failure.cause,
                message: failure.message,
            })
        }
    }
}

/// Measures a shape and says the result.
fn bench(options: &bench::Options) -> Result<(), Failure> {
    let report = bench::measure(options)?;
    let text = if options.json {
        serde_json::to_string(&report)
    } else {
        serde_json::to_string_pretty(&report)
    };
    say(&text.map_err(|error| Failure::from_message(error.to_string()))?)
}

/// Measures the coordinate check and says the result.
fn coordinates() -> Result<(), Failure> {
    let found = coordinates::measure(Multipliers::default())?;
    say(&serde_json::to_string(&found).map_err(|error| Failure::from_message(error.to_string()))?)
}

/// What this worker can use.
fn info(json: bool) -> String {
    let cuda = tch::Cuda::is_available();
    let mut devices = vec![serde_json::json!({
        "name": system::describe(tch::Device::Cpu), "index": null, "memory": system::memory_bytes(),
    })];
    let cards = if cuda { tch::Cuda::device_count() } else { 0 };
    for index in 0..usize::try_from(cards).unwrap_or(0) {
        devices.push(serde_json::json!({
            "name": system::describe(tch::Device::Cuda(index)), "index": index, "memory": null,
        }));
    }
    let info = serde_json::json!({
        "version": VERSION,
        "libtorch": system::libtorch_version(),
        "cuda_available": cuda,
        "devices": devices,
        "threads": std::thread::available_parallelism().map_or(1, usize::from),
    });
    if json { info.to_string() } else { format!("{info:#}") }
}

/// Prints a line; a reader that went away is no fault.
fn say(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Tells the log of the worker; a log that cannot be written must not stop the work.
fn complain(failure: &Failure) {
    drop(writeln!(std::io::stderr(), "sandbox-worker: {failure}"));
}
