//! How fast a home has worked over the last minutes, from when its attempts began and ended.
//!
//! Pure: the time now is passed in. Nothing is sampled, so a page that was just opened has the whole window.

use serde::Serialize;

/// Seconds that are looked back on.
pub(super) const WINDOW: f64 = 900.0;
/// Pieces of the window.
const BEATS: usize = 60;
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
    /// Its middle: seconds before now.
    pub(super) seconds_ago: f64,
    pub(super) tokens_per_second: f64,
    pub(super) flops_per_second: f64,
    /// Workers at work, on average.
    pub(super) busy: f64,
}

/// The window, the oldest piece first. An attempt has worked evenly from its beginning to its end.
pub(super) fn beats(now: f64, spans: &[Span]) -> Vec<Beat> {
    let length = WINDOW / BEATS as f64;
    let mut beats: Vec<Beat> = (0..BEATS)
        .map(|at| Beat {
            seconds_ago: WINDOW - (at as f64 + 0.5) * length,
            tokens_per_second: 0.0,
            flops_per_second: 0.0,
            busy: 0.0,
        })
        .collect();
    for span in spans {
        // What began and ended within one tick of the clock still counts.
        let to = span.to.max(span.from + 1e-3);
        let first = ((span.from - now + WINDOW) / length).floor().max(0.0) as usize;
        for (at, beat) in beats.iter_mut().enumerate().skip(first) {
            let begin = now - WINDOW + at as f64 * length;
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
        let length = WINDOW / BEATS as f64;
        let total = |spans: &[Span]| beats(now, spans).iter().map(|beat| beat.tokens_per_second).sum::<f64>() * length;
        assert!((total(&[span(9_500.0, 9_700.0), span(9_990.0, now)]) - 1200.0).abs() < 1e-6);
        assert!(
            (total(&[span(now - WINDOW - 100.0, now - WINDOW + 100.0)]) - 300.0).abs() < 1e-6,
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
        let beats = beats(1000.0, &[span, span]);
        assert!((beats[30].busy - 2.0).abs() < 1e-9);
        assert!((recent(1000.0, 0.0, &[span, span]).expect("worked") - 4.0).abs() < 1e-9);
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
