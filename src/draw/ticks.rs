//! Where the numbers of an axis stand and how they are written.
//!
//! A pure choice: as many round numbers as fit, the roundest first. Refuses to know pixels other than lengths.

use crate::report::text::{count, number};
use crate::report::view::{Axis, Numbers, Scale};

/// Most numbers on one axis.
const LABELS_MAX: usize = 8;
/// Fewest numbers that tell how an axis runs.
const LABELS_MIN: usize = 3;

/// One number on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    /// The number as it is written; empty for a mark without one.
    pub(crate) text: String,
}

/// Where a value stands between the ends of its axis: 0 is `from`, 1 is `to`.
pub(crate) fn share(axis: &Axis, value: f64) -> f64 {
    match axis.scale {
        Scale::Linear => (value - axis.from) / (axis.to - axis.from),
        Scale::Log => (value / axis.from).ln() / (axis.to / axis.from).ln(),
    }
}

/// The numbers of an axis of `length`, no two nearer than their `extent` (width or height) with a gap.
pub(crate) fn ticks(axis: &Axis, length: f64, extent: &dyn Fn(&str) -> f64) -> Vec<Tick> {
    let candidates = match axis.scale {
        Scale::Linear => linear_candidates(axis),
        Scale::Log => log_candidates(axis),
    };
    let fitting = |values: &Vec<f64>| {
        let ticks = write(axis, values);
        (values.len() <= LABELS_MAX && fits(axis, &ticks, length, extent)).then_some(ticks)
    };
    let fitted: Vec<Vec<Tick>> = candidates.iter().filter_map(fitting).collect();
    let enough = fitted.iter().find(|ticks| ticks.len() >= LABELS_MIN);
    let most = || fitted.iter().max_by_key(|ticks| ticks.len());
    enough.or_else(most).cloned().unwrap_or_default()
}

/// Marks without numbers: the whole multiples inside each decade of a log axis.
pub(crate) fn minor(axis: &Axis) -> Vec<f64> {
    match axis.scale {
        Scale::Log if (axis.to / axis.from).log10() < 6.0 => {
            decades(axis, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 1)
        }
        Scale::Log => decades(axis, &[1.0], 1),
        Scale::Linear => Vec::new(),
    }
}

fn inside(axis: &Axis, value: f64) -> bool {
    (-1e-9..=1.0 + 1e-9).contains(&share(axis, value))
}

/// `multiples` of every `every`-th power of ten.
fn decades(axis: &Axis, multiples: &[f64], every: i32) -> Vec<f64> {
    let first = axis.from.log10().floor() as i32;
    let last = axis.to.log10().ceil() as i32;
    (first..=last)
        .filter(|exponent| exponent.rem_euclid(every) == 0)
        .flat_map(|exponent| multiples.iter().map(move |multiple| scaled(*multiple, exponent)))
        .filter(|&value| inside(axis, value))
        .collect()
}

/// `multiple · 10^exponent`, exact for the powers of ten that floating point holds.
fn scaled(multiple: f64, exponent: i32) -> f64 {
    if exponent < 0 {
        multiple / 10f64.powi(-exponent)
    } else {
        multiple * 10f64.powi(exponent)
    }
}

/// From the choice that people know best to the one that always fits.
fn log_candidates(axis: &Axis) -> Vec<Vec<f64>> {
    let mut candidates = vec![
        decades(axis, &[1.0, 3.0], 1),
        decades(axis, &[1.0, 2.0, 5.0], 1),
        decades(axis, &[1.0], 1),
        decades(axis, &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0], 1),
        decades(axis, &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0], 1),
    ];
    candidates.extend((2..=8).map(|every| decades(axis, &[1.0], every)));
    // Less than half a decade: round numbers as on a linear axis.
    candidates.extend(linear_candidates(axis));
    candidates
}

/// From close to wide steps.
fn linear_candidates(axis: &Axis) -> Vec<Vec<f64>> {
    let span = axis.to - axis.from;
    let exponent = span.log10().floor() as i32;
    let steps =
        (exponent - 1..=exponent).flat_map(|exponent| [1.0, 2.0, 2.5, 5.0].map(|multiple| scaled(multiple, exponent)));
    steps
        .filter(|step| span / step <= 2.0 * LABELS_MAX as f64)
        .map(|step| {
            let first = (axis.from / step).ceil() as i64;
            let last = (axis.to / step).floor() as i64;
            (first..=last).map(|at| at as f64 * step).collect()
        })
        .collect()
}

/// Writes numbers; on a linear axis all with as many decimals as tell them apart.
fn write(axis: &Axis, values: &[f64]) -> Vec<Tick> {
    let step = values
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(f64::INFINITY, f64::min);
    let decimals = (0..=6)
        .find(|&decimals| {
            let scaled = step * 10f64.powi(decimals);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1.0) && scaled > 0.5
        })
        .unwrap_or(6) as usize;
    let text = |value: f64| match (axis.numbers, axis.scale) {
        (Numbers::Counts, _) => count(value),
        (Numbers::Plain, Scale::Log) => number(value, 3),
        (Numbers::Plain, Scale::Linear) => format!("{value:.decimals$}"),
        (Numbers::Signed, _) if value.abs() < step * 1e-6 => "0".to_owned(),
        (Numbers::Signed, _) => format!("{value:+.decimals$}").replace('-', "\u{2212}"),
        (Numbers::Percent, _) => format!("{}%", number(value * 100.0, 3)),
    };
    values
        .iter()
        .map(|&value| Tick {
            value,
            text: text(value),
        })
        .collect()
}

fn fits(axis: &Axis, ticks: &[Tick], length: f64, extent: &dyn Fn(&str) -> f64) -> bool {
    ticks.windows(2).all(|pair| {
        let distance = (share(axis, pair[1].value) - share(axis, pair[0].value)) * length;
        let needed = f64::midpoint(extent(&pair[0].text), extent(&pair[1].text));
        distance >= needed * 1.35
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn axis(scale: Scale, numbers: Numbers, from: f64, to: f64) -> Axis {
        Axis {
            label: String::new(),
            scale,
            numbers,
            from,
            to,
        }
    }

    fn texts(axis: &Axis) -> Vec<String> {
        ticks(axis, 320.0, &|text| 7.0 * text.len() as f64)
            .into_iter()
            .map(|tick| tick.text)
            .collect()
    }

    #[test]
    fn learning_rates_and_counts_are_written_as_people_write_them() {
        let rates = axis(Scale::Log, Numbers::Plain, 8e-4, 0.04);
        assert_eq!(texts(&rates), ["0.001", "0.003", "0.01", "0.03"]);
        let counts = axis(Scale::Log, Numbers::Counts, 2e5, 4e7);
        assert_eq!(texts(&counts), ["300k", "1M", "3M", "10M", "30M"]);
        let wide = axis(Scale::Log, Numbers::Plain, 1e12, 1e22);
        assert_eq!(texts(&wide), ["1e12", "1e14", "1e16", "1e18", "1e20", "1e22"]);
    }

    #[test]
    fn losses_have_as_many_decimals_as_tell_them_apart() {
        let losses = axis(Scale::Linear, Numbers::Plain, 3.97, 4.56);
        assert_eq!(texts(&losses), ["4.0", "4.1", "4.2", "4.3", "4.4", "4.5"]);
        let signed = axis(Scale::Linear, Numbers::Signed, -0.03, 0.03);
        assert!(texts(&signed).contains(&"0".to_owned()));
        assert!(texts(&signed).contains(&"\u{2212}0.02".to_owned()));
    }

    proptest! {
        #[test]
        fn every_axis_has_numbers_inside_it_that_do_not_touch(
            from in 1e-6f64..1e9,
            factor in 1.05f64..1e9,
            log in proptest::bool::ANY,
        ) {
            let scale = if log { Scale::Log } else { Scale::Linear };
            let axis = axis(scale, Numbers::Counts, from, from * factor);
            let extent = |text: &str| 7.0 * text.len() as f64;
            let found = ticks(&axis, 320.0, &extent);
            prop_assert!(!found.is_empty());
            prop_assert!(found.iter().all(|tick| inside(&axis, tick.value)));
            prop_assert!(fits(&axis, &found, 320.0, &extent));
        }
    }
}
