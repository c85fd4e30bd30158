//! The program that people type.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::cli::main()
}
