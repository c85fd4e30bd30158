//! Asks the worker's program one question, such as how fast it trains.

use std::process::{Command, Stdio};

use crate::run::context::Context;
use crate::run::failure::{Failure, exit};

/// Asks the worker one question and reads its JSON answer.
pub fn ask_worker(context: &Context, flags: &[String]) -> Result<serde_json::Value, Failure> {
    let answer = Command::new(&context.worker)
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::environment(
                "no_worker",
                format!("the worker `{}` cannot be started: {error}", context.worker.display()),
                "build it with `make build`",
            )
        })?;
    if !answer.status.success() {
        let text = String::from_utf8_lossy(&answer.stderr);
        let last = text
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("no word")
            .to_owned();
        let code = if answer.status.code() == Some(i32::from(exit::INVALID)) {
            exit::INVALID
        } else {
            exit::ENVIRONMENT
        };
        return Err(Failure::new(
            code,
            "worker_refused",
            last.trim_start_matches("error: "),
            "",
        ));
    }
    serde_json::from_slice(&answer.stdout)
        .map_err(|error| Failure::new(exit::INTERNAL, "worker_answer", error.to_string(), "please report this"))
}
