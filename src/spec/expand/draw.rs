//! Values of random sweeps: a function of the sweep's seed, the axis and the index of the draw.
//!
//! Refuses to know the other axes: adding one, or reordering them, moves no draw, and a larger sweep begins with
//! the trials of a smaller one.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::spec::axes::Axis;
use crate::spec::kind::{Kind, Setting};
use crate::spec::read::parameters::{Distribution, Range};
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

/// Draws of a normal distribution that fall out of their range are made again, so often.
const DRAWS_MAX: u64 = 1000;

/// A value of an axis for one draw from a range; none where nothing of the range is a value of the axis.
pub(crate) fn setting(seed: u64, index: u64, range: Range, axis: &Axis) -> Option<Setting> {
    let of_attempt = |attempt: u64, what: &str| match attempt {
        0 => unit(seed, &format!("{}{what}", axis.path), index),
        _ => unit(seed, &format!("{}{what} {attempt}", axis.path), index),
    };
    let is_within = |number: f64| range.min <= number && number <= range.max;
    (0..DRAWS_MAX).find_map(|attempt| {
        let units = [of_attempt(attempt, ""), of_attempt(attempt, " second")];
        let number = number(units, range, axis);
        axis.kind.nearest(number).filter(|_| is_within(number))
    })
}

/// A number of a range, from one number in 0..1, or two.
fn number([unit, second]: [f64; 2], range: Range, axis: &Axis) -> f64 {
    let Range {
        min,
        max,
        step,
        distribution,
    } = range;
    let whole = match axis.kind {
        Kind::Count | Kind::Tokens | Kind::Length => true,
        Kind::Number(_) | Kind::Model | Kind::Word(_) | Kind::Data => false,
    };
    // Box and Muller 1958.
    let normal = || (-2.0 * (1.0 - unit).ln()).sqrt() * (std::f64::consts::TAU * second).cos();
    let drawn = match distribution {
        Distribution::LogUniform => (min.ln() + unit * (max.ln() - min.ln())).exp(),
        Distribution::Uniform if whole && step.is_none() => (min + (unit * (max - min + 1.0)).floor()).min(max),
        Distribution::Uniform => min + unit * (max - min),
        Distribution::Normal { mu, sigma } => mu + sigma * normal(),
        Distribution::LogNormal { mu, sigma } => (mu + sigma * normal()).exp(),
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
    match distribution {
        // Rounding must not lead out of the range.
        Distribution::Uniform | Distribution::LogUniform => rounded.clamp(min, max),
        Distribution::Normal { .. } | Distribution::LogNormal { .. } => rounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::axes::{AXES, find};

    fn draws(path: &str, range: Range) -> Vec<f64> {
        let axis = &AXES[find(path).expect(path)];
        (0..1000)
            .map(|i| {
                setting(7, i, range, axis)
                    .and_then(|setting| setting.number())
                    .expect(path)
            })
            .collect()
    }

    #[test]
    fn a_log_uniform_range_has_its_geometric_mean_in_the_middle() {
        let range = Range {
            min: 1e-4,
            max: 1e-2,
            distribution: Distribution::LogUniform,
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
            distribution: Distribution::Uniform,
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
            distribution: Distribution::LogUniform,
            step: Some(4096.0),
        };
        assert!(
            draws("batch_tokens", range)
                .iter()
                .all(|&n| [4096, 8192].contains(&(n as u64)))
        );
    }

    #[test]
    fn normal_draws_have_their_mean_and_deviation_and_stay_values_of_the_axis() {
        let range = |distribution, step| Range {
            distribution,
            min: f64::NEG_INFINITY,
            max: f64::INFINITY,
            step,
        };
        let about = |draws: &[f64], mean: f64, deviation: f64| {
            let count = draws.len() as f64;
            let found = draws.iter().sum::<f64>() / count;
            let spread = (draws.iter().map(|draw| (draw - found).powi(2)).sum::<f64>() / count).sqrt();
            assert!((found - mean).abs() < 0.1 * deviation, "{found}");
            assert!((spread / deviation - 1.0).abs() < 0.1, "{spread}");
        };
        let (mu, sigma) = (0.01, 0.002);
        about(&draws("lr", range(Distribution::Normal { mu, sigma }, None)), mu, sigma);
        let (mu, sigma) = (-5.0, 0.5);
        let logs: Vec<f64> = draws("lr", range(Distribution::LogNormal { mu, sigma }, None))
            .iter()
            .map(|lr| lr.ln())
            .collect();
        about(&logs, mu, sigma);
        // Half of these lie below 0, where no learning rate is.
        let wide = Distribution::Normal { mu: 0.0, sigma: 1.0 };
        assert!(draws("lr", range(wide, None)).iter().all(|&lr| lr > 0.0));
        let some = Range {
            min: 0.5,
            max: 0.7,
            ..range(wide, Some(0.1))
        };
        let found = draws("lr", some);
        assert!(
            found
                .iter()
                .all(|&lr| (lr * 10.0 - (lr * 10.0).round()).abs() < 1e-9 && (0.49..0.71).contains(&lr))
        );
    }

    #[test]
    fn weights_are_respected() {
        assert_eq!(index(0.0, 3, Some(&[0.0, 1.0, 0.0])), 1);
        assert_eq!(index(0.999_999, 3, Some(&[0.0, 1.0, 0.0])), 1);
        assert_eq!(index(0.999_999, 3, None), 2);
    }
}
