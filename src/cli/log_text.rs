//! What a worker wrote of an attempt, in sentences; `--json` has the lines themselves.
//!
//! Refuses to know files.

use crate::protocol::{Line, Point, Split, read_lines};
use crate::run::home::status::AttemptLog;
use crate::units::{human_bytes, human_seconds, significant};

/// Training losses that have a sentence; the rest are counted.
const TOLD: usize = 20;

/// The attempts at the stages of a trial, one after another.
pub(super) fn logs_text(logs: &[AttemptLog]) -> String {
    logs.iter().map(attempt_text).collect()
}

fn attempt_text(log: &AttemptLog) -> String {
    let mut text = format!("# stage {} attempt {}\n", log.stage, log.attempt);
    let whole: String = log.lines.iter().map(|line| format!("{line}\n")).collect();
    match u32::try_from(log.attempt)
        .ok()
        .and_then(|number| read_lines(&whole, number).ok())
    {
        Some((lines, _)) => text.push_str(&sentences(&lines)),
        // What no worker of this version writes is shown as it is.
        None => text.push_str(&whole),
    }
    for line in &log.stderr {
        text.push_str(&format!("stderr: {line}\n"));
    }
    text + "\n"
}

fn sentences(lines: &[Line]) -> String {
    let is_step = |line: &Line| matches!(line, Line::Point(point) if point.split == Split::train());
    let steps = lines.iter().filter(|line| is_step(line)).count();
    let every = steps.div_ceil(TOLD).max(1);
    let (mut text, mut step) = (String::new(), 0);
    for line in lines {
        if is_step(line) {
            step += 1;
            // The first, the last, and some between.
            if step != 1 && step != steps && step % every != 0 {
                continue;
            }
        }
        text.push_str(&sentence(line));
        text.push('\n');
    }
    if every > 1 {
        text.push_str(&format!("({steps} steps in all; `--json` has a line for each)\n"));
    }
    text
}

fn sentence(line: &Line) -> String {
    match line {
        Line::Started {
            from,
            unusable,
            process,
            host,
            device,
            libtorch: _,
        } => {
            let begins = match from.0 {
                0 => "begins".to_owned(),
                from => format!("begins after step {from}"),
            };
            let unusable: String = unusable
                .iter()
                .map(|why| format!("; a state was of no use: {why}"))
                .collect();
            format!("{begins} on {device} (process {} of {host}){unusable}", process.pid)
        }
        Line::Point(point) => measured(point),
        Line::Left { resume, seconds } => format!(
            "leaves a state at step {} after {} of training ({})",
            resume.step.0,
            human_seconds(*seconds),
            human_bytes(resume.checkpoint.bytes as f64)
        ),
        Line::Diverged { step } => format!("diverged: the loss at step {step} is not finite"),
        Line::Finished {
            checkpoint,
            seconds,
            peak_bytes,
            spent: _,
        } => {
            let memory = peak_bytes.map(|bytes| format!(", at most {} of memory", human_bytes(bytes as f64)));
            let state = checkpoint.as_ref().map(|_| "; its state is kept");
            format!(
                "finished after {} of training{}{}",
                human_seconds(*seconds),
                memory.unwrap_or_default(),
                state.unwrap_or_default()
            )
        }
        Line::Failed { cause, message } => format!("failed ({}): {message}", cause.name()),
        Line::Stopped { seconds } => {
            format!(
                "was asked to stop, and did after {} of training",
                human_seconds(*seconds)
            )
        }
    }
}

fn measured(point: &Point) -> String {
    let mut text = format!("step {}: loss {:.4}", point.step, point.loss);
    if point.split != Split::train() {
        text.push_str(&format!(" on {}", point.split.0));
    }
    if let Some(bits) = point.bits_per_byte {
        text.push_str(&format!(", {bits:.4} bits a byte"));
    }
    if let Some(lr) = point.lr {
        text.push_str(&format!(", lr {}", significant(lr, 3)));
    }
    if let Some(norm) = point.grad_norm {
        text.push_str(&format!(", gradient {}", significant(norm, 3)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Cause, write_line};

    fn step(step: u64) -> Line {
        Line::Point(Point {
            step,
            split: Split::train(),
            loss: 3.0,
            lr: Some(0.01),
            grad_norm: None,
            bits_per_byte: None,
        })
    }

    fn log(lines: &[Line]) -> AttemptLog {
        let mut text = Vec::new();
        for line in lines {
            write_line(&mut text, 2, line).expect("a line is JSON");
        }
        AttemptLog {
            stage: "abc".to_owned(),
            attempt: 2,
            lines: String::from_utf8_lossy(&text).lines().map(str::to_owned).collect(),
            stderr: vec!["oh".to_owned()],
        }
    }

    #[test]
    fn many_steps_are_told_by_some_and_the_end_in_words() {
        let mut lines: Vec<Line> = (1..=1000).map(step).collect();
        lines.push(Line::Failed {
            cause: Cause::OutOfMemory,
            message: "no room".to_owned(),
        });
        let text = logs_text(&[log(&lines)]);
        assert!(text.contains("step 1: loss 3.0000, lr 0.01\n"), "{text}");
        assert!(text.contains("step 1000: ") && !text.contains("step 999: "), "{text}");
        assert!(
            text.contains("failed (out_of_memory): no room\n(1000 steps in all"),
            "{text}"
        );
        assert!(text.ends_with("stderr: oh\n\n") && text.lines().count() < 30, "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_it_is() {
        let mut odd = log(&[step(1)]);
        odd.lines.push("not a line".to_owned());
        assert!(logs_text(&[odd]).contains("not a line"));
    }
}
