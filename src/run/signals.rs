//! The signals that ask this program to stop: Ctrl-C, SIGTERM, and a closed terminal.
//!
//! Refuses to know what is stopped.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Who asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM, and SIGHUP of a terminal that was closed.
    Terminate,
}

/// Hears signals from when it is made.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None where `nohup` asked that it be ignored.
    hang_up: Option<Signal>,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
        let hang_up = if ignores_hang_up(&status) {
            None
        } else {
            Some(signal(SignalKind::hangup())?)
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up,
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) -> Stop {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
            _ = hang_up => Stop::Terminate,
        }
    }
}

/// Whether SIGHUP was ignored when the program began, by what Linux says of it in `/proc/self/status`: a mask of the
/// ignored signals, of which SIGHUP is the first.
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_told_from_a_terminal() {
        assert!(ignores_hang_up(
            "Name:\tsandbox\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"
        ));
        assert!(!ignores_hang_up("SigIgn:\t0000000000001000\n") && !ignores_hang_up(""));
    }
}
