//! The best learning rate of one group of runs that differ in it alone: a parabola in ln(lr) about the lowest loss
//! of the grid.
//!
//! A minimum at the edge of the grid is no minimum, and is called an edge. Refuses to compare groups.

use serde::{Deserialize, Serialize};

use crate::fit::estimate::Estimate;
use crate::fit::linear;
use crate::fit::stats;

/// How a run at one learning rate ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// With this final loss.
    Finished(f64),
    /// Its loss became non-finite.
    Diverged,
}

/// One run of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LrPoint {
    /// The peak learning rate.
    pub lr: f64,
    /// How the run ended.
    pub outcome: Outcome,
}

/// Runs of one size, tokens, batch and schedule over several learning rates. Several runs at one rate are seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct LrGroup {
    /// Parameters, by the convention of the fit.
    pub params: f64,
    /// Tokens trained on.
    pub tokens: f64,
    /// The width, where known.
    pub width: Option<f64>,
    /// The runs.
    pub points: Vec<LrPoint>,
}

/// Where the lowest loss of a grid lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bracket {
    /// Between higher losses: a minimum.
    Bracketed,
    /// At the lowest rate of the grid: the best rate may be lower.
    LowEdge,
    /// At the highest rate of the grid: the best rate may be higher.
    HighEdge,
    /// At the highest rate that did not diverge: the best rate lies below the edge of stability.
    StabilityEdge,
}

/// What one group of runs says about its best learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestLr {
    /// Parameters.
    pub params: f64,
    /// Tokens.
    pub tokens: f64,
    /// The width, where known.
    pub width: Option<f64>,
    /// Where the lowest loss lies.
    pub bracket: Bracket,
    /// The rate of the grid with the lowest mean loss.
    pub grid_lr: f64,
    /// Its mean loss.
    pub grid_loss: f64,
    /// The lowest point of the parabola; `None` unless the minimum is bracketed. The standard error is that of
    /// ln(lr).
    pub lr: Option<Estimate>,
    /// The loss of the parabola there.
    pub loss: Option<f64>,
    /// The second derivative of the loss by ln(lr) there: what a wrong rate costs is half of it times the square of
    /// the error in ln(lr).
    pub curvature: Option<f64>,
    /// The lowest rate at which a run diverged: the edge of stability is below it.
    pub diverged_from: Option<f64>,
    /// Finished runs.
    pub finished: usize,
    /// Diverged runs.
    pub diverged: usize,
}

/// Grid points within this factor of the lowest take part in the parabola; on the far side of a bowl the loss is no
/// parabola (and the neighbours always take part).
const WINDOW_FACTOR: f64 = 4.1;

/// The scatter of losses at one learning rate, with its degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Noise {
    /// The sum of squares about the means.
    pub(crate) squares: f64,
    /// The degrees of freedom.
    pub(crate) dof: f64,
}

/// A group whose runs are put in order, with its parabola.
#[derive(Debug, Clone)]
pub(crate) struct Bowl {
    best: BestLr,
    parabola: Option<Parabola>,
    seeds: Noise,
}

/// `loss = c0 + c1·x + c2·x²` with `x = ln(lr / grid_lr)`.
#[derive(Debug, Clone)]
struct Parabola {
    coefficients: [f64; 3],
    /// The inverse of the normal matrix: the covariance for noise of variance one.
    covariance: [[f64; 3]; 3],
    residuals: Noise,
}

/// The mean loss at one learning rate, from so many runs.
#[derive(Debug, Clone, Copy)]
struct Mean {
    lr: f64,
    loss: f64,
    runs: f64,
}

impl Bowl {
    /// Finds the lowest loss and the parabola about it; `None` when no run finished, or at one rate alone.
    pub(crate) fn new(group: &LrGroup) -> Option<Self> {
        let (means, seeds) = means(group);
        let lowest = (0..means.len()).min_by(|&a, &b| means[a].loss.total_cmp(&means[b].loss))?;
        if means.len() < 2 {
            return None;
        }
        let diverged: Vec<f64> = group
            .points
            .iter()
            .filter(|point| point.outcome == Outcome::Diverged)
            .map(|point| point.lr)
            .collect();
        let diverged_from = diverged.iter().copied().reduce(f64::min);
        let bracket = if lowest == 0 {
            Bracket::LowEdge
        } else if lowest + 1 < means.len() {
            Bracket::Bracketed
        } else if diverged_from.is_some_and(|edge| edge > means[lowest].lr) {
            Bracket::StabilityEdge
        } else {
            Bracket::HighEdge
        };
        let parabola = match bracket {
            Bracket::Bracketed => Parabola::about(&means, lowest),
            Bracket::LowEdge | Bracket::HighEdge | Bracket::StabilityEdge => None,
        };
        Some(Self {
            best: BestLr {
                params: group.params,
                tokens: group.tokens,
                width: group.width,
                bracket,
                grid_lr: means[lowest].lr,
                grid_loss: means[lowest].loss,
                lr: None,
                loss: None,
                curvature: None,
                diverged_from,
                finished: group.points.len() - diverged.len(),
                diverged: diverged.len(),
            },
            parabola,
            seeds,
        })
    }

    /// The noise that this group shows: of its seeds, else of its grid about the parabola.
    pub(crate) fn noise(&self) -> (Noise, Noise) {
        let none = Noise {
            squares: 0.0,
            dof: 0.0,
        };
        (
            self.seeds,
            self.parabola.as_ref().map_or(none, |p| p.residuals),
        )
    }

    /// The best rate, with an interval from the noise of all groups together where it is known.
    pub(crate) fn best(self, noise: Option<Noise>) -> BestLr {
        let mut best = self.best;
        let Some(parabola) = self.parabola else {
            return best;
        };
        let x = parabola.vertex();
        let se = noise.map(|noise| parabola.vertex_sd() * (noise.squares / noise.dof).sqrt());
        let half = se
            .zip(noise)
            .map(|(se, noise)| se * stats::t_975(noise.dof));
        best.lr = Some(Estimate {
            value: best.grid_lr * x.exp(),
            se,
            ci95: half.map(|half| [x - half, x + half].map(|bound| best.grid_lr * bound.exp())),
        });
        best.loss = Some(parabola.lowest());
        best.curvature = Some(2.0 * parabola.coefficients[2]);
        best
    }
}

impl Parabola {
    /// The parabola through the neighbourhood of the lowest point; where that is not a bowl with its lowest point
    /// between the neighbours, through the lowest point and its neighbours alone. `None` if these lie level.
    fn about(means: &[Mean], lowest: usize) -> Option<Self> {
        let centre = means[lowest].lr;
        let near: Vec<Mean> = means
            .iter()
            .enumerate()
            .filter(|&(i, mean)| {
                i.abs_diff(lowest) <= 1 || (mean.lr / centre).ln().abs() <= WINDOW_FACTOR.ln()
            })
            .map(|(_, mean)| *mean)
            .collect();
        let (low, high) = (
            (means[lowest - 1].lr / centre).ln(),
            (means[lowest + 1].lr / centre).ln(),
        );
        let between = |p: &Self| p.coefficients[2] > 0.0 && low <= p.vertex() && p.vertex() <= high;
        Self::through(&near, centre)
            .filter(between)
            .or_else(|| Self::through(&means[lowest - 1..=lowest + 1], centre).filter(between))
    }

    /// Least squares, each mean with the number of its runs.
    fn through(means: &[Mean], centre: f64) -> Option<Self> {
        let mut gram = [[0.0; 3]; 3];
        let mut rhs = [0.0; 3];
        for mean in means {
            let x = (mean.lr / centre).ln();
            let row = [1.0, x, x * x];
            for i in 0..3 {
                rhs[i] += mean.runs * row[i] * mean.loss;
                for j in 0..3 {
                    gram[i][j] += mean.runs * row[i] * row[j];
                }
            }
        }
        let coefficients = linear::solve(&gram, &rhs)?;
        let squares = means
            .iter()
            .map(|mean| {
                let x = (mean.lr / centre).ln();
                let [c0, c1, c2] = coefficients;
                mean.runs * (mean.loss - c0 - c1 * x - c2 * x * x).powi(2)
            })
            .sum();
        Some(Self {
            coefficients,
            covariance: linear::inverse(&gram)?,
            residuals: Noise {
                squares,
                dof: means.len() as f64 - 3.0,
            },
        })
    }

    /// The lowest point, as ln(lr / `grid_lr`).
    fn vertex(&self) -> f64 {
        -self.coefficients[1] / (2.0 * self.coefficients[2])
    }

    /// The loss at the lowest point.
    fn lowest(&self) -> f64 {
        let [c0, c1, c2] = self.coefficients;
        c0 - c1 * c1 / (4.0 * c2)
    }

    /// The standard deviation of the vertex for noise of variance one (the delta method).
    fn vertex_sd(&self) -> f64 {
        let [_, c1, c2] = self.coefficients;
        let slope = [0.0, -1.0 / (2.0 * c2), c1 / (2.0 * c2 * c2)];
        linear::quadratic_form(&self.covariance, &slope).sqrt()
    }
}

/// The mean loss at each rate, in ascending order of rates, and the scatter of seeds about it. A rate at which any
/// seed diverged is unstable, whatever its other seeds reached, and has no mean.
fn means(group: &LrGroup) -> (Vec<Mean>, Noise) {
    let mut ordered = group.points.clone();
    ordered.sort_by(|a, b| {
        let loss = |point: &LrPoint| match point.outcome {
            Outcome::Finished(loss) => loss,
            Outcome::Diverged => f64::INFINITY,
        };
        a.lr.total_cmp(&b.lr).then(loss(a).total_cmp(&loss(b)))
    });
    let mut noise = Noise {
        squares: 0.0,
        dof: 0.0,
    };
    let mut means = Vec::new();
    for at_one_rate in ordered.chunk_by(|a, b| a.lr.total_cmp(&b.lr).is_eq()) {
        let losses: Option<Vec<f64>> = at_one_rate
            .iter()
            .map(|point| match point.outcome {
                Outcome::Finished(loss) => Some(loss),
                Outcome::Diverged => None,
            })
            .collect();
        let Some(losses) = losses else { continue };
        let Some(loss) = stats::mean(&losses) else {
            continue;
        };
        noise.squares += losses.iter().map(|l| (l - loss).powi(2)).sum::<f64>();
        noise.dof += losses.len() as f64 - 1.0;
        means.push(Mean {
            lr: at_one_rate[0].lr,
            loss,
            runs: losses.len() as f64,
        });
    }
    (means, noise)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A group whose loss is an exact parabola with its minimum at `best`, over rates from 2^-10 to 2^-4.
    pub(crate) fn parabola(params: f64, tokens: f64, best: f64) -> LrGroup {
        let points = (-10..=-4)
            .map(|k| {
                let lr = 2f64.powi(k);
                LrPoint {
                    lr,
                    outcome: Outcome::Finished(3.0 + 0.1 * (lr / best).ln().powi(2)),
                }
            })
            .collect();
        LrGroup {
            params,
            tokens,
            width: None,
            points,
        }
    }

    fn only(group: &LrGroup) -> BestLr {
        Bowl::new(group).unwrap().best(None)
    }

    #[test]
    fn an_exact_parabola_gives_its_lowest_point() {
        let best = only(&parabola(1e6, 1e7, 0.011));
        assert_eq!(best.bracket, Bracket::Bracketed);
        let lr = best.lr.unwrap();
        assert!((lr.value / 0.011 - 1.0).abs() < 1e-9 && lr.ci95.is_none());
        assert!((best.curvature.unwrap() - 0.2).abs() < 1e-9);
        assert!((best.loss.unwrap() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn the_edge_of_a_grid_is_no_minimum() {
        let low = only(&parabola(1e6, 1e7, 1e-5));
        assert_eq!((low.bracket, low.lr), (Bracket::LowEdge, None));
        let high = only(&parabola(1e6, 1e7, 1.0));
        assert_eq!((high.bracket, high.lr), (Bracket::HighEdge, None));
    }

    #[test]
    fn divergence_above_the_best_rate_is_the_edge_of_stability() {
        let mut group = parabola(1e6, 1e7, 0.1);
        group.points.push(LrPoint {
            lr: 0.125,
            outcome: Outcome::Diverged,
        });
        let best = only(&group);
        assert_eq!(best.bracket, Bracket::StabilityEdge);
        assert_eq!(best.diverged_from, Some(0.125));
        assert_eq!((best.finished, best.diverged), (7, 1));
        assert_eq!(best.lr, None);
    }

    #[test]
    fn a_rate_at_which_a_seed_diverged_has_no_mean() {
        let mut group = parabola(1e6, 1e7, 0.0079);
        group.points.push(LrPoint {
            lr: 2f64.powi(-7),
            outcome: Outcome::Diverged,
        });
        let unstable = 2f64.powi(-7);
        assert!((only(&group).grid_lr / unstable).ln().abs() > 0.6);
    }

    #[test]
    fn a_lopsided_bowl_keeps_its_minimum_between_the_neighbours() {
        let losses = [3.3, 3.2, 3.0, 3.01, 6.0];
        let points = losses
            .iter()
            .zip([1e-3, 2e-3, 4e-3, 8e-3, 16e-3])
            .map(|(&loss, lr)| LrPoint {
                lr,
                outcome: Outcome::Finished(loss),
            })
            .collect();
        let best = only(&LrGroup {
            params: 1e6,
            tokens: 1e7,
            width: None,
            points,
        });
        let lr = best.lr.unwrap().value;
        assert!((2e-3..=8e-3).contains(&lr), "{lr}");
    }
}
