//! Values of random sweeps: a function of the sweep's seed, the axis and the index of the draw.
//!
//! Refuses to know the other axes: adding one, or reordering them, moves no draw, and a larger sweep begins with
//! the trials of a smaller one.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::spec::axes::Axis;
use crate::spec::kind::Kind;
use crate::spec::read::parameters::Range;
use crate::units::significant;

/// Digits of a number that was drawn: enough for any learning rate, short enough for a table.
const DIGITS: i32 = 4;

/// A number in 0..1 for one draw of what is called `name`.
pub(crate) fn unit(seed: u64, name: &str, index: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"sandbox random sweep\n");
    hasher.update(&seed.to_le_bytes());
    hasher.update(name.as_bytes());
    let mut rng = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
    rng.set_stream(index);
    // 53 bits are what a double holds.
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// The index of one of `count` values, by weight if there are weights.
pub(crate) fn index(unit: f64, count: usize, weights: Option<&[f64]>) -> usize {
    let last = count.saturating_sub(1);
    let Some(weights) = weights else {
        return ((unit * count as f64) as usize).min(last);
    };
    let mut left = unit * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        if left < *weight {
            return index;
        }
        left -= weight;
    }
    // Rounding may leave a rest: it belongs to the last value that can be drawn.
    weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(last)
}

/// A number within a range.
pub(crate) fn within(unit: f64, range: Range, axis: &Axis) -> f64 {
    let Range { min, max, log, step } = range;
    let whole = match axis.kind {
        Kind::Count | Kind::Tokens | Kind::Length => true,
        Kind::Number(_) | Kind::Model | Kind::Word(_) | Kind::Data => false,
    };
    let drawn = if log {
        (min.ln() + unit * (max.ln() - min.ln())).exp()
    } else if whole && step.is_none() {
        (min + (unit * (max - min + 1.0)).floor()).min(max)
    } else {
        min + unit * (max - min)
    };
    let rounded = match step {
        Some(step) => {
            let multiple = (drawn / step).round() * step;
            let down = if multiple > max { multiple - step } else { multiple };
            if down < min { down + step } else { down }
        }
        None if whole => drawn.round(),
        None => significant(drawn, DIGITS),
    };
    rounded.clamp(min, max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::axes::{AXES, find};

    fn draws(path: &str, range: Range) -> Vec<f64> {
        let axis = &AXES[find(path).expect(path)];
        (0..1000).map(|i| within(unit(7, path, i), range, axis)).collect()
    }

    #[test]
    fn a_log_uniform_range_has_its_geometric_mean_in_the_middle() {
        let range = Range {
            min: 1e-4,
            max: 1e-2,
            log: true,
            step: None,
        };
        let below = draws("lr", range).iter().filter(|&&lr| lr < 1e-3).count();
        assert!((450..550).contains(&below), "{below}");
    }

    #[test]
    fn whole_numbers_and_multiples_stay_within_their_range() {
        let range = Range {
            min: 1.0,
            max: 3.0,
            log: false,
            step: None,
        };
        let drawn = draws("micro_batch", range);
        for value in [1.0, 2.0, 3.0] {
            assert!(
                drawn.iter().filter(|&&n| (n - value).abs() < 1e-9).count() > 250,
                "{value}"
            );
        }
        let range = Range {
            min: 4096.0,
            max: 10_000.0,
            log: true,
            step: Some(4096.0),
        };
        assert!(
            draws("batch_tokens", range)
                .iter()
                .all(|&n| [4096, 8192].contains(&(n as u64)))
        );
    }

    #[test]
    fn weights_are_respected() {
        assert_eq!(index(0.0, 3, Some(&[0.0, 1.0, 0.0])), 1);
        assert_eq!(index(0.999_999, 3, Some(&[0.0, 1.0, 0.0])), 1);
        assert_eq!(index(0.999_999, 3, None), 2);
    }
}
