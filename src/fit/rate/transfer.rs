//! Whether the best learning rate of a narrow proxy serves a wide model: the verdict on muP's promise.
//!
//! Refuses to conclude from a drift that is merely not proven: what is not known within a factor is not known.

use serde::{Deserialize, Serialize};

use crate::fit::Estimate;
use crate::fit::design::{SAME_SIZE, distinct};
use crate::fit::numeric::statistics;

/// A learning rate that is off by this factor costs little: a grid's own step is wider.
pub const TOLERANCE: f64 = 1.5;

/// What the minima say about transfer along the width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Over the widths that were seen, the best rate stays within [`TOLERANCE`].
    Verified,
    /// It moves by more.
    Drifts,
    /// The minima are too few or too uncertain to say.
    NotKnown,
}

/// What else was equal where widths were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// The tokens: nothing but the size differs.
    #[default]
    EqualTokens,
    /// The tokens a parameter, as in `MiniCPM`'s study: the tokens grow with the size, as they will at scale.
    EqualTokensPerParameter,
}

impl Compared {
    pub fn words(self) -> &'static str {
        match self {
            Self::EqualTokens => "at equal tokens",
            Self::EqualTokensPerParameter => "at equal tokens a parameter",
        }
    }
}

/// The verdict with what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    pub verdict: Verdict,
    /// The smallest width with a minimum.
    pub from_width: f64,
    /// The largest width up to which transfer is verified; none: not even to the second.
    pub verified_to_width: Option<f64>,
    /// What else was equal.
    #[serde(default)]
    pub compared: Compared,
    /// By which factor the best rate changes from the smallest to the largest width.
    pub drift: Option<Estimate>,
}

impl Transfer {
    /// The same where too many minima are missing to say.
    pub(crate) fn unknown(self) -> Self {
        Self {
            verdict: Verdict::NotKnown,
            verified_to_width: None,
            drift: None,
            ..self
        }
    }
}

/// A quantity over a variable, in a block of runs that are alike else; all in logarithms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drifting {
    pub(crate) block: f64,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// The slope of y over x within blocks, whose levels are free: what is compared differs in x alone. `None` when no
/// block holds two different x.
pub(crate) fn drift(rows: impl IntoIterator<Item = Drifting>) -> Option<Estimate> {
    let mut rows: Vec<Drifting> = rows.into_iter().collect();
    rows.sort_by(|a, b| a.block.total_cmp(&b.block).then(a.x.total_cmp(&b.x)));
    let (mut xx, mut xy, mut yy, mut dof) = (0.0, 0.0, 0.0, -1.0);
    // Budgets within 2 % are one: whole steps round them.
    for block in rows.chunk_by(|a, b| (b.block - a.block).abs() < SAME_SIZE.ln_1p()) {
        let count = block.len() as f64;
        let mean_x = block.iter().map(|r| r.x).sum::<f64>() / count;
        let mean_y = block.iter().map(|r| r.y).sum::<f64>() / count;
        for row in block {
            xx += (row.x - mean_x).powi(2);
            xy += (row.x - mean_x) * (row.y - mean_y);
            yy += (row.y - mean_y).powi(2);
        }
        dof += count - 1.0;
    }
    if xx < 1e-6 {
        return None;
    }
    let slope = xy / xx;
    let se = (dof >= 1.0).then(|| ((yy - slope * xy).max(0.0) / dof / xx).sqrt());
    Some(Estimate {
        value: slope,
        se,
        ci95: se.map(|se| {
            let half = se * statistics::t_975(dof);
            [slope - half, slope + half]
        }),
    })
}

/// Judges minima, all in logarithms; none without any. `compared` says what their blocks are.
pub(crate) fn judge(minima: &[Drifting], compared: Compared) -> Option<Transfer> {
    // Widths are counts.
    let widths = distinct(minima.iter().map(|it| it.x.exp().round()));
    let (&from_width, &widest) = (widths.first()?, widths.last()?);
    let verified_to_width = widths[1..]
        .iter()
        .copied()
        .rfind(|&width| verdict(total(minima, from_width, width)) == Verdict::Verified);
    let drift = total(minima, from_width, widest);
    Some(Transfer {
        verdict: verdict(drift),
        from_width,
        verified_to_width,
        compared,
        drift,
    })
}

/// The factor by which the best rate changes between two widths, from the minima up to the second.
fn total(minima: &[Drifting], from: f64, to: f64) -> Option<Estimate> {
    // Widths within 2 % are one.
    let near = minima.iter().filter(|it| it.x.exp() <= to * 1.02).copied();
    let slope = drift(near)?;
    let span = (to / from).ln();
    let factor = |exponent: f64| (exponent * span).exp();
    Some(Estimate {
        value: factor(slope.value),
        se: slope.se.map(|se| se * span * factor(slope.value)),
        ci95: slope.ci95.map(|ends| ends.map(factor)),
    })
}

fn verdict(drift: Option<Estimate>) -> Verdict {
    let Some([low, high]) = drift.and_then(|drift| drift.ci95) else {
        return Verdict::NotKnown;
    };
    if low >= 1.0 / TOLERANCE && high <= TOLERANCE {
        Verdict::Verified
    } else if low > 1.0 || high < 1.0 {
        Verdict::Drifts
    } else {
        Verdict::NotKnown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minima(exponent: f64, jitter: f64) -> Vec<Drifting> {
        let mut sign = 1.0;
        let mut minima = Vec::new();
        for block in [1e6_f64, 4e6] {
            for width in [32.0_f64, 64.0, 128.0, 256.0] {
                sign = -sign;
                minima.push(Drifting {
                    block: block.ln(),
                    x: width.ln(),
                    y: -4.6 + exponent * width.ln() + sign * jitter,
                });
            }
        }
        minima
    }

    #[test]
    fn a_rate_that_stays_is_verified_to_the_widest() {
        let found = judge(&minima(0.0, 0.05), Compared::EqualTokens).expect("minima");
        assert_eq!(
            (found.verdict, found.verified_to_width.map(f64::round)),
            (Verdict::Verified, Some(256.0))
        );
        assert_eq!(found.from_width.round() as u64, 32);
    }

    #[test]
    fn a_rate_that_falls_with_the_width_drifts_and_one_that_scatters_is_not_known() {
        let found = judge(&minima(-0.5, 0.05), Compared::EqualTokens).expect("minima");
        assert_eq!(found.verdict, Verdict::Drifts);
        assert!((found.drift.expect("known").value - 8f64.powf(-0.5)).abs() < 0.05);
        let found = judge(&minima(0.0, 0.9), Compared::EqualTokens).expect("minima");
        assert_eq!((found.verdict, found.verified_to_width), (Verdict::NotKnown, None));
        assert_eq!(judge(&[], Compared::EqualTokens), None);
    }
}
