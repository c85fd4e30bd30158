//! The few functions of statistics that the laws need: quantiles, Student's t and the F distribution.
//!
//! Refuses to know what the numbers measure.

/// The natural logarithm of the gamma function for `x > 0` (Lanczos' approximation, g = 7, nine terms;
/// relative error below 1e-14).
fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const C: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Euler's reflection formula.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let z = x - 1.0;
    let base = z + G + 0.5;
    let series: f64 = C
        .iter()
        .enumerate()
        .map(|(k, &c)| if k == 0 { c } else { c / (z + k as f64) })
        .sum();
    0.5 * (2.0 * std::f64::consts::PI).ln() + (z + 0.5) * base.ln() - base + series.ln()
}

/// The regularised incomplete beta function `I_x(a, b)`, by Lentz's continued fraction
/// (Press et al., Numerical Recipes, section 6.4).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    }
}

/// The continued fraction of the incomplete beta function.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    /// More than enough: the fraction converges in O(sqrt(max(a, b))) steps.
    const STEPS_MAX: u32 = 10_000;
    const TINY: f64 = 1e-300;
    let away_from_zero = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for step in 1..=STEPS_MAX {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        let factor = d * c;
        h *= factor;
        if (factor - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

/// The probability that a variable of Student's t with `dof` degrees of freedom lies beyond `±t`.
pub(crate) fn t_two_sided(t: f64, dof: f64) -> f64 {
    incomplete_beta(dof / 2.0, 0.5, dof / (dof + t * t))
}

/// The half-width of a 95 % interval in standard errors: the 97.5 % quantile of Student's t.
pub(crate) fn t_975(dof: f64) -> f64 {
    t_half_width(0.05, dof)
}

/// The half-width in standard errors of an interval that leaves the share `tail` out, by Student's t.
pub(crate) fn t_half_width(tail: f64, dof: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1e3);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if t_two_sided(middle, dof) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The half-width of a 95 % interval in standard errors when the standard error is known.
pub(crate) const Z_975: f64 = 1.959_963_984_540_054;

/// The probability that a variable of the F distribution exceeds `f`.
pub(crate) fn f_upper_tail(f: f64, dof_numerator: f64, dof_denominator: f64) -> f64 {
    if f <= 0.0 {
        return 1.0;
    }
    incomplete_beta(
        dof_denominator / 2.0,
        dof_numerator / 2.0,
        dof_denominator / (dof_denominator + dof_numerator * f),
    )
}

/// The quantile `p` of values in ascending order, linear between neighbours; `None` of no values.
pub(crate) fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = p.clamp(0.0, 1.0) * last as f64;
    let low = position.floor() as usize;
    let high = (low + 1).min(last);
    let share = position - low as f64;
    Some(sorted[low] + share * (sorted[high] - sorted[low]))
}

/// The interval that leaves 2.5 % of the values out at each end; `None` of fewer than 20, whose ends say little.
pub fn interval95(values: &[f64]) -> Option<[f64; 2]> {
    const VALUES_MIN: usize = 20;
    if values.len() < VALUES_MIN {
        return None;
    }
    let ascending = sorted(values.to_vec());
    Some([quantile(&ascending, 0.025)?, quantile(&ascending, 0.975)?])
}

/// The arithmetic mean; `None` of no values.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of a sample; `None` of fewer than two values.
pub(crate) fn standard_deviation(values: &[f64]) -> Option<f64> {
    let centre = mean(values)?;
    if values.len() < 2 {
        return None;
    }
    let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The standard deviation of a normal variable that residuals of a fit with so many constants show, whatever a few of
/// them are: from the median of their sizes (MAD), of which a fit to least absolute deviations makes as many zero as it
/// has constants. `None` of no values.
pub(crate) fn robust_scale(residuals: Vec<f64>, constants: usize) -> Option<f64> {
    // The median of |x| is 0.6745 standard deviations of a normal variable.
    const OF_MEDIAN: f64 = 1.4826;
    let off = sorted(residuals.into_iter().map(f64::abs).collect());
    let zeros = constants.min(off.len() / 2);
    quantile(&off[zeros..], 0.5).map(|median| OF_MEDIAN * median)
}

/// The values in ascending order.
pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_t_agrees_with_the_printed_tables() {
        for (dof, expected) in [(1.0, 12.706_205), (4.0, 2.776_445), (30.0, 2.042_272), (1e6, 1.959_966)] {
            assert!((t_975(dof) - expected).abs() < 2e-6, "{dof}: {}", t_975(dof));
        }
    }

    #[test]
    fn the_f_distribution_agrees_with_the_printed_tables() {
        // The 95 % point of F(3, 10) is 3.708.
        assert!((f_upper_tail(3.708_265, 3.0, 10.0) - 0.05).abs() < 1e-6);
        assert!((f_upper_tail(0.0, 3.0, 10.0) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn one_wrong_residual_moves_the_robust_scale_by_little() {
        let mut residuals: Vec<f64> = (0..40).map(|k| f64::from(k) - 20.0).collect();
        let scale = robust_scale(residuals.clone(), 2).unwrap();
        residuals[3] = 1e9;
        assert!((robust_scale(residuals, 2).unwrap() / scale - 1.0).abs() < 0.1);
        assert_eq!(robust_scale(Vec::new(), 2), None);
    }

    #[test]
    fn quantiles_are_linear_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
