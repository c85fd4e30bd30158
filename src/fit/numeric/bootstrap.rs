//! A bootstrap for laws that are cheap to fit again: things are drawn with replacement, the law is fitted to each draw.
//!
//! Draw `k` of seed `s` is a function of (s, k) alone. Refuses to know what is drawn and what is fitted.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fit::Estimate;
use crate::fit::numeric::statistics;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// How many draws; zero for no intervals.
    pub count: usize,
    pub seed: u64,
}

/// Fewer draws than this say little about a spread.
const DRAWS_MIN: usize = 20;

impl Draws {
    /// What `fit` makes of draws of so many things with replacement (Efron 1979), told how often each was drawn. A
    /// draw that cannot be fitted is left out; too few draws are none.
    pub(crate) fn resample<T>(self, things: usize, fit: impl Fn(&[f64]) -> Option<T>) -> Vec<T> {
        let draw = |index: usize| {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream(index as u64);
            let mut times = vec![0.0; things];
            for _ in 0..things {
                times[random.random_range(0..things)] += 1.0;
            }
            fit(&times)
        };
        let drawn: Vec<T> = (0..self.count).filter_map(draw).collect();
        if drawn.len() < DRAWS_MIN { Vec::new() } else { drawn }
    }
}

/// The covariance of some constants, from their draws; none of fewer than two.
pub(crate) fn covariance<const K: usize>(draws: &[[f64; K]]) -> Option<[[f64; K]; K]> {
    if draws.len() < 2 {
        return None;
    }
    let count = draws.len() as f64;
    let mean: [f64; K] = std::array::from_fn(|i| draws.iter().map(|draw| draw[i]).sum::<f64>() / count);
    let mut covariance = [[0.0; K]; K];
    for draw in draws {
        for i in 0..K {
            for j in 0..K {
                covariance[i][j] += (draw[i] - mean[i]) * (draw[j] - mean[j]) / (count - 1.0);
            }
        }
    }
    Some(covariance)
}

/// A value with the interval of Student's t that its variance gives.
pub(crate) fn estimate(value: f64, variance: Option<f64>, dof: f64) -> Estimate {
    let se = variance.map(|variance| variance.max(0.0).sqrt());
    Estimate {
        value,
        se,
        ci95: se.map(|se| {
            let half = se * statistics::t_975(dof);
            [value - half, value + half]
        }),
    }
}

/// The estimate of a positive number from that of its logarithm.
pub(crate) fn exponential(ln: Estimate) -> Estimate {
    Estimate {
        value: ln.value.exp(),
        se: ln.se.map(|se| se * ln.value.exp()),
        ci95: ln.ci95.map(|ends| ends.map(f64::exp)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_of_a_mean_have_its_standard_error() {
        let values: Vec<f64> = (0..50).map(f64::from).collect();
        let draws = Draws { count: 2000, seed: 7 };
        let mean = |times: &[f64]| Some([times.iter().zip(&values).map(|(t, v)| t * v).sum::<f64>() / 50.0]);
        let means = draws.resample(50, mean);
        assert_eq!(means, draws.resample(50, mean));
        let sd = covariance(&means).unwrap()[0][0].sqrt();
        assert!((sd / (833.0 / 4.0 / 50.0_f64).sqrt() - 1.0).abs() < 0.05, "{sd}");
        assert!(Draws { count: 19, seed: 7 }.resample(50, mean).is_empty());
        assert_eq!(covariance(&means[..1]), None);
    }
}
