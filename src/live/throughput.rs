//! How fast a home has worked during its last run, from when its attempts began and ended.
//!
//! Pure: the time now is passed in. Nothing is sampled, so a page that was just opened has the whole window.

use serde::Serialize;

/// Seconds that are looked back on, at most.
pub(super) const WINDOW_MAX: f64 = 86_400.0;
/// Seconds that are shown of a run that has just begun.
const WINDOW_MIN: f64 = 60.0;
/// Pieces of the window, at most.
const BEATS: f64 = 60.0;
/// Seconds over which rates are averaged, at least.
const BEAT_MIN: f64 = 10.0;
/// Seconds without an attempt that part two runs.
const PAUSE: f64 = 300.0;
/// Seconds that a forecast rests on.
const RECENT: f64 = 300.0;
/// Seconds before which nothing is forecast.
const SETTLED: f64 = 5.0;

/// An attempt at work: seconds on any clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) tokens: f64,
    pub(super) flops: f64,
}

/// One piece of the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Beat {
    /// Its middle: seconds before the end of the window.
    pub(super) seconds_ago: f64,
    pub(super) tokens_per_second: f64,
    pub(super) flops_per_second: f64,
    /// Workers at work, on average.
    pub(super) busy: f64,
}

/// A piece of time, seconds on any clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Window {
    /// The run that began at `began`, up to now; where none is told, the last that there was.
    pub(super) fn of_run(now: f64, began: Option<f64>, spans: &[Span]) -> Self {
        let to = match began {
            Some(_) => now,
            None => spans.iter().map(|span| span.to).reduce(f64::max).unwrap_or(now),
        };
        let from = began.unwrap_or_else(|| first_of_the_last_run(to, spans));
        Self {
            from: from.clamp(to - WINDOW_MAX, to - WINDOW_MIN),
            to,
        }
    }

    /// Its last seconds, over which rates are averaged.
    pub(super) fn last(self) -> Self {
        Self {
            from: self.to - BEAT_MIN,
            ..self
        }
    }

    pub(super) fn seconds(self) -> f64 {
        self.to - self.from
    }
}

fn first_of_the_last_run(to: f64, spans: &[Span]) -> f64 {
    let mut latest_first: Vec<&Span> = spans.iter().collect();
    latest_first.sort_by(|a, b| b.to.total_cmp(&a.to));
    latest_first.iter().fold(to, |from, span| {
        if span.to >= from - PAUSE {
            from.min(span.from)
        } else {
            from
        }
    })
}

/// The window in pieces of ten seconds or more, the oldest first. An attempt has worked evenly from its beginning to its
/// end.
pub(super) fn beats(window: Window, spans: &[Span]) -> Vec<Beat> {
    let whole = window.seconds();
    let count = (whole / BEAT_MIN).floor().clamp(1.0, BEATS);
    let length = whole / count;
    let mut beats: Vec<Beat> = (0..count as usize)
        .map(|at| Beat {
            seconds_ago: whole - (at as f64 + 0.5) * length,
            tokens_per_second: 0.0,
            flops_per_second: 0.0,
            busy: 0.0,
        })
        .collect();
    for span in spans {
        // What began and ended within one tick of the clock still counts.
        let to = span.to.max(span.from + 1e-3);
        let first = ((span.from - window.from) / length).floor().max(0.0) as usize;
        for (at, beat) in beats.iter_mut().enumerate().skip(first) {
            let begin = window.from + at as f64 * length;
            let shared = to.min(begin + length) - span.from.max(begin);
            if shared <= 0.0 {
                break;
            }
            beat.busy += shared / length;
            beat.tokens_per_second += span.tokens * shared / (to - span.from) / length;
            beat.flops_per_second += span.flops * shared / (to - span.from) / length;
        }
    }
    beats
}

/// FLOPs per second over the last minutes of a run that began at `began`; none where that says nothing yet.
pub(super) fn recent(now: f64, began: f64, spans: &[Span]) -> Option<f64> {
    let from = began.max(now - RECENT);
    let worked = spans.iter().map(|span| {
        let length = (span.to - span.from).max(1e-3);
        let shared = (span.from + length).min(now) - span.from.max(from);
        span.flops * (shared / length).clamp(0.0, 1.0)
    });
    let flops: f64 = worked.sum();
    (now - from >= SETTLED && flops > 0.0).then(|| flops / (now - from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_trained_inside_the_window_adds_up() {
        let span = |from, to| Span {
            from,
            to,
            tokens: 600.0,
            flops: 6000.0,
        };
        let now = 10_000.0;
        let window = Window { from: 9_100.0, to: now };
        let total = |spans: &[Span]| {
            let beats = beats(window, spans);
            beats.iter().map(|beat| beat.tokens_per_second).sum::<f64>() * window.seconds() / beats.len() as f64
        };
        assert!((total(&[span(9_500.0, 9_700.0), span(9_990.0, now)]) - 1200.0).abs() < 1e-6);
        assert!(
            (total(&[span(9_000.0, 9_200.0)]) - 300.0).abs() < 1e-6,
            "half lies before"
        );
        assert!(
            (total(&[span(now - 3.0, now - 3.0)]) - 600.0).abs() < 1e-6,
            "no time at all is a moment"
        );
        assert!(total(&[span(1.0, 2.0)]).abs() < 1e-9);
    }

    #[test]
    fn two_workers_side_by_side_are_two() {
        let span = Span {
            from: 0.0,
            to: 1000.0,
            tokens: 1000.0,
            flops: 2000.0,
        };
        let window = Window {
            from: 100.0,
            to: 1000.0,
        };
        let beats = beats(window, &[span, span]);
        assert!((beats[30].busy - 2.0).abs() < 1e-9);
        assert!((recent(1000.0, 0.0, &[span, span]).expect("worked") - 4.0).abs() < 1e-9);
    }

    #[test]
    fn the_window_is_that_of_the_run_and_a_rate_is_the_mean_of_ten_seconds() {
        let span = |from, to| Span {
            from,
            to,
            tokens: 100.0,
            flops: 0.0,
        };
        let spans = [span(1000.0, 1400.0), span(5000.0, 5100.0), span(5300.0, 5320.0)];
        let ends = |now, began| {
            let window = Window::of_run(now, began, &spans);
            (window.from, window.to)
        };
        assert_eq!(ends(9000.0, None), (5000.0, 5320.0), "the run before lies an hour back");
        assert_eq!(ends(5330.0, Some(5000.0)), (5000.0, 5330.0));
        assert_eq!(ends(5010.0, Some(5000.0)), (4950.0, 5010.0), "a minute at least");
        let window = Window {
            from: 5000.0,
            to: 5320.0,
        };
        assert_eq!(beats(window, &spans).len(), 32, "ten seconds each");
        let last = beats(window.last(), &spans);
        assert!(
            last.len() == 1 && (last[0].tokens_per_second - 5.0).abs() < 1e-9,
            "{last:?}"
        );
    }

    #[test]
    fn a_forecast_rests_on_this_run_alone_and_waits_until_it_says_something() {
        let span = |from, to| Span {
            from,
            to,
            tokens: 0.0,
            flops: 600.0,
        };
        // Before a pause the last run was as fast; it must not count, nor the pause.
        let spans = [span(700.0, 760.0), span(940.0, 1000.0)];
        assert!((recent(1000.0, 940.0, &spans).expect("worked") - 10.0).abs() < 1e-9);
        assert_eq!(recent(1000.0, 998.0, &spans), None);
        assert_eq!(recent(1000.0, 940.0, &[]), None);
    }
}
