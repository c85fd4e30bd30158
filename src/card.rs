//! What NVIDIA's driver tells of its cards: how many, their free memory, what a process holds of it.
//!
//! Asks `nvidia-smi`, which comes with every driver and needs no library of CUDA. Refuses to guess: what the driver
//! does not tell is none. Written from its manual and tried against a stand-in, not yet against a card.

use std::path::Path;
use std::process::{Command, Stdio};

/// More cards than any machine has.
const CARDS_MAX: usize = 64;

/// Cards of this machine.
pub fn count() -> usize {
    (0..CARDS_MAX)
        .take_while(|index| Path::new(&format!("/dev/nvidia{index}")).exists())
        .count()
}

/// Free memory of each card in bytes, in the driver's order; empty where it does not tell.
pub fn free_bytes() -> Vec<u64> {
    let answer = ask("--query-gpu=memory.free");
    answer.as_deref().and_then(free_of).unwrap_or_default()
}

/// Bytes that a process holds of the cards' memory.
///
/// libtorch keeps what it was given once, so at the end of a job this is the most that the process has ever used. None
/// where the driver does not know the process by that number, as in most containers.
pub fn process_bytes(pid: u32) -> Option<u64> {
    held_by(&ask("--query-compute-apps=pid,used_gpu_memory")?, pid)
}

fn ask(query: &str) -> Option<String> {
    let answer = Command::new("nvidia-smi")
        .args([query, "--format=csv,noheader,nounits"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    answer
        .status
        .success()
        .then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// A line a card, in mebibytes; none if any of them is not a number (`[N/A]`).
fn free_of(answer: &str) -> Option<Vec<u64>> {
    answer.lines().map(mebibytes).collect()
}

/// The sum over the cards that the process uses, from lines `pid, mebibytes`.
fn held_by(answer: &str, pid: u32) -> Option<u64> {
    let mut sum = None;
    for line in answer.lines() {
        let (its_pid, held) = line.split_once(',')?;
        if its_pid.trim().parse() == Ok(pid) {
            sum = Some(sum.unwrap_or(0) + mebibytes(held)?);
        }
    }
    sum
}

fn mebibytes(text: &str) -> Option<u64> {
    text.trim().parse::<u64>().ok()?.checked_mul(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_does_not_tell_is_none() {
        assert_eq!(free_of("80994\n 512\n"), Some(vec![80994 << 20, 512 << 20]));
        assert_eq!(free_of("80994\n[N/A]\n"), None);
        let apps = "4021, 1536\n77, [N/A]\n4021, 512\n";
        assert_eq!(held_by(apps, 4021), Some(2048 << 20));
        assert_eq!(
            (held_by(apps, 77), held_by(apps, 5), held_by("", 5)),
            (None, None, None)
        );
    }
}
