//! The best learning rate over sizes and tokens: a minimum for each group of runs, and its drift.
//!
//! Under muP the rate should not move with width; whether it does is measured here and not assumed. Refuses to call
//! the edge of a grid a minimum, and to know what a recipe makes of it.

use serde::{Deserialize, Serialize};

use crate::fit::bowl::{BestLr, Bowl, Bracket, LrGroup, Noise};
use crate::fit::design::{SAME_SIZE, distinct};
use crate::fit::estimate::Estimate;
use crate::fit::linear;
use crate::fit::refusal::Refusal;
use crate::fit::stats;

/// What the groups say together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrLaw {
    /// Each group, by size and tokens.
    pub groups: Vec<BestLr>,
    /// How many of them bracket their minimum; only these enter what follows.
    pub bracketed: usize,
    /// The geometric mean of the best rates; the standard error is that of its logarithm.
    pub constant: Estimate,
    /// `η = c·N^a·D^b` (the form of Step Law, arXiv 2503.04715, equation 1); `None` when sizes and tokens are too few
    /// to tell a from b.
    pub power: Option<LrPower>,
    /// The slope of ln(η) over ln(N) among groups of equal tokens; `None` without two sizes at equal tokens.
    pub size_drift: Option<Estimate>,
    /// The slope of ln(η) over ln(D) among groups of equal size; `None` without two budgets at equal size.
    pub tokens_drift: Option<Estimate>,
    /// The slope of ln(η) over ln(width) among groups of equal tokens; `None` without two known widths.
    pub width_drift: Option<Estimate>,
    /// The smallest and the largest width with a bracketed minimum.
    pub verified_width_range: Option<[f64; 2]>,
    /// The smallest and the largest size with a bracketed minimum.
    pub verified_params_range: [f64; 2],
    /// The same of tokens.
    pub verified_tokens_range: [f64; 2],
}

/// `η = c·N^a·D^b`, written about the centre of the data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LrPower {
    /// The rate at one parameter and one token.
    pub c: f64,
    /// a.
    pub n_exponent: Estimate,
    /// b.
    pub d_exponent: Estimate,
    /// The means of ln(N) and ln(D), about which the errors of the three constants are independent of the first.
    centre: [f64; 2],
    /// ln(η) there.
    ln_rate: f64,
    /// The covariance of ln(η) at the centre, a and b.
    covariance: [[f64; 3]; 3],
    /// The standard deviation of ln(η) of one group about the law.
    scatter: f64,
    /// Degrees of freedom.
    dof: f64,
}

/// A best learning rate at a place, and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LrPrediction {
    /// The rate, with the interval in which the best rate of one more group would lie; the standard error is that of
    /// its logarithm.
    pub lr: Estimate,
    /// What it rests on.
    pub by: LrRule,
}

/// How the best rate moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrRule {
    /// It does not, as far as the groups show.
    Constant,
    /// By the power law: a 95 % interval of an exponent leaves zero out.
    Power,
}

impl LrLaw {
    /// The best rate at a size and a number of tokens: by the power law if one of its exponents is told apart from
    /// zero, else the constant.
    pub fn predict(&self, params: f64, tokens: f64) -> LrPrediction {
        let drifts =
            |power: &&LrPower| power.n_exponent.excludes_zero() || power.d_exponent.excludes_zero();
        if let Some(power) = self.power.as_ref().filter(drifts) {
            return LrPrediction {
                lr: power.predict(params, tokens),
                by: LrRule::Power,
            };
        }
        let count = self.bracketed as f64;
        // The error of the mean and the scatter of one more group.
        let se = self.constant.se.map(|se| se * (1.0 + count).sqrt());
        LrPrediction {
            lr: rate(self.constant.value.ln(), se, count - 1.0),
            by: LrRule::Constant,
        }
    }
}

impl LrPower {
    /// The best rate of one more group at a size and a number of tokens; the standard error is that of its logarithm.
    fn predict(&self, params: f64, tokens: f64) -> Estimate {
        let x = [
            1.0,
            params.ln() - self.centre[0],
            tokens.ln() - self.centre[1],
        ];
        let ln_rate = self.ln_rate + self.n_exponent.value * x[1] + self.d_exponent.value * x[2];
        let variance = self.scatter * self.scatter + linear::quadratic_form(&self.covariance, &x);
        rate(ln_rate, Some(variance.sqrt()), self.dof)
    }
}

/// Finds the best learning rate of each group and how it drifts.
///
/// # Errors
/// `optimum_at_edge` when no group brackets its minimum, `not_finished` when no group has two finished rates.
pub fn learning_rate_law(groups: &[LrGroup]) -> Result<LrLaw, Refusal> {
    let mut bowls: Vec<Bowl> = groups.iter().filter_map(Bowl::new).collect();
    if bowls.is_empty() {
        return Err(Refusal::NotFinished);
    }
    let noise = pooled(&bowls);
    let mut found: Vec<BestLr> = bowls.drain(..).map(|bowl| bowl.best(noise)).collect();
    found.sort_by(|a, b| {
        a.params
            .total_cmp(&b.params)
            .then(a.tokens.total_cmp(&b.tokens))
            .then(a.grid_lr.total_cmp(&b.grid_lr))
    });
    let points: Vec<Point> = found.iter().filter_map(Point::of).collect();
    let (Some(params), Some(tokens)) = (
        range(points.iter().map(|p| p.params.exp())),
        range(points.iter().map(|p| p.tokens.exp())),
    ) else {
        return Err(Refusal::OptimumAtEdge {
            what: "learning rate",
            groups: found.len(),
        });
    };
    let by_tokens = |p: &Point| p.tokens;
    let by_size = |p: &Point| p.params;
    let widths: Vec<(Point, f64)> = points
        .iter()
        .filter_map(|p| p.width.map(|width| (*p, width)))
        .collect();
    Ok(LrLaw {
        bracketed: points.len(),
        constant: constant(&points),
        power: power(&points),
        size_drift: drift(points.iter().map(|p| (by_tokens(p), p.params, p.lr))),
        tokens_drift: drift(points.iter().map(|p| (by_size(p), p.tokens, p.lr))),
        width_drift: drift(widths.iter().map(|(p, width)| (by_tokens(p), *width, p.lr))),
        verified_width_range: range(widths.iter().map(|(_, width)| width.exp())),
        verified_params_range: params,
        verified_tokens_range: tokens,
        groups: found,
    })
}

/// A bracketed minimum; all in logarithms.
#[derive(Debug, Clone, Copy)]
struct Point {
    params: f64,
    tokens: f64,
    width: Option<f64>,
    lr: f64,
}

impl Point {
    fn of(best: &BestLr) -> Option<Self> {
        let lr = match best.bracket {
            Bracket::Bracketed => best.lr?,
            Bracket::LowEdge | Bracket::HighEdge | Bracket::StabilityEdge => return None,
        };
        Some(Self {
            params: best.params.ln(),
            tokens: best.tokens.ln(),
            width: best.width.map(f64::ln),
            lr: lr.value.ln(),
        })
    }
}

/// The noise of one run's loss: of seeds where there are any, else of the grids about their parabolas.
fn pooled(bowls: &[Bowl]) -> Option<Noise> {
    let total = |pick: &dyn Fn(&Bowl) -> Noise| {
        bowls.iter().map(pick).fold((0.0, 0.0), |sum, noise| {
            (sum.0 + noise.squares, sum.1 + noise.dof)
        })
    };
    let seeds = total(&|bowl| bowl.noise().0);
    let (squares, dof) = if seeds.1 > 0.0 {
        seeds
    } else {
        total(&|bowl| bowl.noise().1)
    };
    (dof > 0.0).then_some(Noise { squares, dof })
}

/// A rate with its interval, from its logarithm.
fn rate(ln_rate: f64, se: Option<f64>, dof: f64) -> Estimate {
    Estimate {
        value: ln_rate.exp(),
        se,
        ci95: se.map(|se| {
            let half = se * stats::t_975(dof);
            [(ln_rate - half).exp(), (ln_rate + half).exp()]
        }),
    }
}

/// The geometric mean of the best rates: what to use if they do not drift.
fn constant(points: &[Point]) -> Estimate {
    let logarithms: Vec<f64> = points.iter().map(|p| p.lr).collect();
    let count = logarithms.len() as f64;
    let mean = logarithms.iter().sum::<f64>() / count;
    let se = stats::standard_deviation(&logarithms).map(|sd| sd / count.sqrt());
    rate(mean, se, count - 1.0)
}

/// The slope of y over x within blocks of equal first number, whose levels are free: what is compared differs in x
/// alone. `None` when no block holds two different x.
fn drift(rows: impl Iterator<Item = (f64, f64, f64)>) -> Option<Estimate> {
    let mut rows: Vec<(f64, f64, f64)> = rows.collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (mut xx, mut xy, mut yy, mut dof) = (0.0, 0.0, 0.0, -1.0);
    // Budgets within 2 % are one: whole steps round them.
    for block in rows.chunk_by(|a, b| (b.0 - a.0).abs() < SAME_SIZE.ln_1p()) {
        let count = block.len() as f64;
        let mean_x = block.iter().map(|r| r.1).sum::<f64>() / count;
        let mean_y = block.iter().map(|r| r.2).sum::<f64>() / count;
        for row in block {
            xx += (row.1 - mean_x).powi(2);
            xy += (row.1 - mean_x) * (row.2 - mean_y);
            yy += (row.2 - mean_y).powi(2);
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
            let half = se * stats::t_975(dof);
            [slope - half, slope + half]
        }),
    })
}

/// The power law in size and tokens by least squares on logarithms. `None` with fewer than three sizes or three
/// budgets, or when tokens follow size too closely to tell the two apart.
fn power(points: &[Point]) -> Option<LrPower> {
    const VALUES_MIN: usize = 3;
    /// 1 − R² of one variable on the other.
    const DISTINCTNESS_MIN: f64 = 0.02;
    let count = points.len() as f64;
    if distinct(points.iter().map(|p| p.params.exp())).len() < VALUES_MIN
        || distinct(points.iter().map(|p| p.tokens.exp())).len() < VALUES_MIN
        || points.len() < 4
    {
        return None;
    }
    let centre = [
        points.iter().map(|p| p.params).sum::<f64>() / count,
        points.iter().map(|p| p.tokens).sum::<f64>() / count,
    ];
    let row = |p: &Point| [1.0, p.params - centre[0], p.tokens - centre[1]];
    let mut gram = [[0.0; 3]; 3];
    let mut rhs = [0.0; 3];
    for point in points {
        let x = row(point);
        for i in 0..3 {
            rhs[i] += x[i] * point.lr;
            for j in 0..3 {
                gram[i][j] += x[i] * x[j];
            }
        }
    }
    if linear::distinctness(&gram) < DISTINCTNESS_MIN {
        return None;
    }
    let [ln_rate, a, b] = linear::solve(&gram, &rhs)?;
    let squares: f64 = points
        .iter()
        .map(|p| {
            let x = row(p);
            (p.lr - ln_rate - a * x[1] - b * x[2]).powi(2)
        })
        .sum();
    let dof = count - 3.0;
    let covariance = linear::inverse(&gram)?.map(|row| row.map(|entry| entry * squares / dof));
    let exponent = |value: f64, variance: f64| {
        let se = variance.sqrt();
        let half = se * stats::t_975(dof);
        Estimate {
            value,
            se: Some(se),
            ci95: Some([value - half, value + half]),
        }
    };
    Some(LrPower {
        c: (ln_rate - a * centre[0] - b * centre[1]).exp(),
        n_exponent: exponent(a, covariance[1][1]),
        d_exponent: exponent(b, covariance[2][2]),
        centre,
        ln_rate,
        covariance,
        scatter: (squares / dof).sqrt(),
        dof,
    })
}

/// The smallest and the largest value; `None` of none.
fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.fold(None, |ends: Option<[f64; 2]>, value| {
        Some(ends.map_or([value, value], |[low, high]| {
            [low.min(value), high.max(value)]
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::bowl::tests::parabola;
    use crate::fit::bowl::{LrPoint, Outcome};

    fn law(best: impl Fn(f64, f64) -> f64) -> LrLaw {
        let mut groups = Vec::new();
        for params in [1e6, 2e6, 4e6, 8e6] {
            for tokens in [2e7, 4e7, 8e7] {
                let mut group = parabola(params, tokens, best(params, tokens));
                group.width = Some(params.sqrt());
                groups.push(group);
            }
        }
        learning_rate_law(&groups).unwrap()
    }

    #[test]
    fn a_planted_power_law_comes_back() {
        let found = law(|n, d| 0.01 * (n / 3e6).powf(-0.3) * (d / 4e7).powf(0.2));
        let power = found.power.unwrap();
        assert!((power.n_exponent.value + 0.3).abs() < 1e-9);
        assert!((power.d_exponent.value - 0.2).abs() < 1e-9);
        let far = found.predict(3e9, 4e10);
        assert_eq!(far.by, LrRule::Power);
        assert!((far.lr.value / (0.01 * 1e3f64.powf(-0.3) * 1e3f64.powf(0.2)) - 1.0).abs() < 1e-6);
        assert!((found.size_drift.unwrap().value + 0.3).abs() < 1e-9);
        assert!((found.tokens_drift.unwrap().value - 0.2).abs() < 1e-9);
        assert!((found.width_drift.unwrap().value + 0.6).abs() < 1e-9);
        assert_eq!(found.bracketed, 12);
    }

    #[test]
    fn a_rate_that_does_not_drift_is_a_constant() {
        let found = law(|_, _| 0.011);
        assert!((found.constant.value / 0.011 - 1.0).abs() < 1e-9);
        assert!(found.size_drift.unwrap().value.abs() < 1e-9);
        let [low, high] = found.verified_width_range.unwrap();
        assert!((low - 1e3).abs() < 1e-6 && (high - 8e6_f64.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn groups_at_the_edge_of_their_grid_are_kept_apart() {
        let mut groups = vec![parabola(1e6, 2e7, 0.011), parabola(2e6, 2e7, 9.0)];
        let found = learning_rate_law(&groups).unwrap();
        assert_eq!((found.bracketed, found.groups.len()), (1, 2));
        assert_eq!(found.size_drift, None);
        assert_eq!(found.power, None);
        assert_eq!(found.constant.ci95, None);
        groups.remove(0);
        assert_eq!(
            learning_rate_law(&groups).unwrap_err().code(),
            "optimum_at_edge"
        );
        assert_eq!(learning_rate_law(&[]).unwrap_err().code(), "not_finished");
    }

    #[test]
    fn seeds_give_the_interval_and_it_covers() {
        // Two seeds at each rate, a tenth of a nat apart: the vertex is off by little, and the interval knows.
        let mut group = parabola(1e6, 2e7, 0.011);
        let shifted: Vec<LrPoint> = group
            .points
            .iter()
            .map(|point| LrPoint {
                lr: point.lr,
                outcome: match point.outcome {
                    Outcome::Finished(loss) => Outcome::Finished(loss + 0.1),
                    Outcome::Diverged => Outcome::Diverged,
                },
            })
            .collect();
        group.points.extend(shifted);
        let found = learning_rate_law(&[group]).unwrap();
        let [low, high] = found.groups[0].lr.unwrap().ci95.unwrap();
        assert!(
            low < 0.011 && 0.011 < high && high / low < 3.0,
            "{low} {high}"
        );
    }
}
