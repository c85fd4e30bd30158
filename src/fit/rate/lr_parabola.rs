//! The best learning rate of one group of runs that differ in it alone: a parabola in ln(lr) about the lowest loss
//! of the grid.
//!
//! A minimum at the edge of the grid is no minimum, and is called an edge. Refuses to compare groups.

use serde::{Deserialize, Serialize};

use crate::fit::numeric::linear_algebra;
use crate::fit::numeric::statistics;

/// One run at one learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrRun {
    /// Name of the model.
    pub model: String,
    pub params: f64,
    /// Width of the residual stream.
    pub width: f64,
    pub tokens: f64,
    pub lr: f64,
    /// Final loss; none: the run diverged.
    pub loss: Option<f64>,
}

/// The best learning rate of one size at one number of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrGroup {
    /// Name of the model.
    pub model: String,
    pub params: f64,
    /// Width of the residual stream.
    pub width: f64,
    pub tokens: f64,
    /// Mean loss at each learning rate, from small to large; a rate at which a seed diverged has none.
    pub points: Vec<(f64, f64)>,
    /// The smallest learning rate that diverged: the edge of stability is below it.
    pub diverged_from: Option<f64>,
    /// The best learning rate; none where the best point lies at the edge of the grid.
    pub best: Option<f64>,
    /// Its 95 % interval, from the scatter of seeds, else of grids about their parabolas; none where neither is known.
    pub ci95: Option<[f64; 2]>,
    /// Loss at the parabola's minimum.
    pub loss: Option<f64>,
    /// Half of the parabola's second derivative: nats for a factor e off the best.
    pub curvature: Option<f64>,
    /// Where the grid ends too early.
    pub edge: Option<Edge>,
}

/// Where the grid ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// Smaller learning rates are missing.
    Low,
    /// Larger learning rates are missing.
    High,
    /// The best point is the largest that did not diverge: rates between it and the cliff are missing.
    Stability,
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
pub(crate) struct LrParabola {
    group: LrGroup,
    /// The rate of the lowest point, about which the parabola is written.
    centre: f64,
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

impl LrParabola {
    /// Finds the lowest point of the runs of one size and number of tokens, and the parabola about it; none when no
    /// run finished.
    pub(crate) fn new(runs: &[&LrRun]) -> Option<Self> {
        let (means, seeds) = means(runs);
        let first = runs.first()?;
        let lowest = (0..means.len()).min_by(|&a, &b| means[a].loss.total_cmp(&means[b].loss))?;
        let diverged_from = runs
            .iter()
            .filter(|run| run.loss.is_none())
            .map(|run| run.lr)
            .reduce(f64::min);
        let edge = if lowest == 0 {
            Some(Edge::Low)
        } else if lowest + 1 < means.len() {
            None
        } else if diverged_from.is_some_and(|cliff| cliff > means[lowest].lr) {
            Some(Edge::Stability)
        } else {
            Some(Edge::High)
        };
        let parabola = match edge {
            None => Parabola::about(&means, lowest),
            Some(Edge::Low | Edge::High | Edge::Stability) => None,
        };
        Some(Self {
            group: LrGroup {
                model: first.model.clone(),
                params: first.params,
                width: first.width,
                tokens: first.tokens,
                points: means.iter().map(|mean| (mean.lr, mean.loss)).collect(),
                diverged_from,
                best: None,
                ci95: None,
                loss: None,
                curvature: None,
                edge,
            },
            centre: means[lowest].lr,
            parabola,
            seeds,
        })
    }

    /// The noise that this group shows: of its seeds, else of its grid about the parabola.
    pub(crate) fn noise(&self) -> (Noise, Noise) {
        let none = Noise { squares: 0.0, dof: 0.0 };
        (self.seeds, self.parabola.as_ref().map_or(none, |p| p.residuals))
    }

    /// The group with its best rate, and an interval from the noise of all groups together where it is known.
    pub(crate) fn group(self, noise: Option<Noise>) -> LrGroup {
        let mut group = self.group;
        let Some(parabola) = self.parabola else {
            return group;
        };
        let x = parabola.vertex();
        let rate = |x: f64| self.centre * x.exp();
        group.best = Some(rate(x));
        group.ci95 = noise.map(|noise| {
            let half = parabola.vertex_sd() * (noise.squares / noise.dof).sqrt() * statistics::t_975(noise.dof);
            [rate(x - half), rate(x + half)]
        });
        group.loss = Some(parabola.lowest());
        group.curvature = Some(parabola.coefficients[2]);
        group
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
            .filter(|&(i, mean)| i.abs_diff(lowest) <= 1 || (mean.lr / centre).ln().abs() <= WINDOW_FACTOR.ln())
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
        let coefficients = linear_algebra::solve(&gram, &rhs)?;
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
            covariance: linear_algebra::inverse(&gram)?,
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
        linear_algebra::quadratic_form(&self.covariance, &slope).sqrt()
    }
}

/// The mean loss at each rate, in ascending order of rates, and the scatter of seeds about it. A rate at which any
/// seed diverged is unstable, whatever its other seeds reached, and has no mean.
fn means(runs: &[&LrRun]) -> (Vec<Mean>, Noise) {
    let mut ordered = runs.to_vec();
    let loss = |run: &LrRun| run.loss.unwrap_or(f64::INFINITY);
    // Sums depend on their order in the last bits.
    ordered.sort_by(|a, b| a.lr.total_cmp(&b.lr).then(loss(a).total_cmp(&loss(b))));
    let mut noise = Noise { squares: 0.0, dof: 0.0 };
    let mut means = Vec::new();
    for at_one_rate in ordered.chunk_by(|a, b| a.lr.total_cmp(&b.lr).is_eq()) {
        let losses: Option<Vec<f64>> = at_one_rate.iter().map(|run| run.loss).collect();
        let Some(losses) = losses else { continue };
        let Some(loss) = statistics::mean(&losses) else {
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
mod tests {
    use super::*;

    fn runs(losses: &[(f64, Option<f64>)]) -> Vec<LrRun> {
        losses
            .iter()
            .map(|&(lr, loss)| LrRun {
                model: "m".to_owned(),
                params: 1e6,
                width: 64.0,
                tokens: 1e7,
                lr,
                loss,
            })
            .collect()
    }

    /// An exact parabola with its minimum at `best`, over rates from 2^-10 to 2^-4.
    fn parabola(best: f64) -> Vec<(f64, Option<f64>)> {
        (-10..=-4)
            .map(|k| {
                let lr = 2f64.powi(k);
                (lr, Some(3.0 + 0.1 * (lr / best).ln().powi(2)))
            })
            .collect()
    }

    fn group(losses: &[(f64, Option<f64>)]) -> LrGroup {
        let runs = runs(losses);
        LrParabola::new(&runs.iter().collect::<Vec<_>>()).unwrap().group(None)
    }

    #[test]
    fn an_exact_parabola_gives_its_lowest_point() {
        let found = group(&parabola(0.011));
        assert_eq!((found.edge, found.ci95), (None, None));
        assert!((found.best.unwrap() / 0.011 - 1.0).abs() < 1e-9);
        assert!((found.curvature.unwrap() - 0.1).abs() < 1e-9);
        assert!((found.loss.unwrap() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn the_edge_of_a_grid_is_no_minimum() {
        let low = group(&parabola(1e-5));
        assert_eq!((low.edge, low.best), (Some(Edge::Low), None));
        let high = group(&parabola(1.0));
        assert_eq!((high.edge, high.best), (Some(Edge::High), None));
    }

    #[test]
    fn divergence_above_the_best_rate_is_the_edge_of_stability() {
        let mut losses = parabola(0.1);
        losses.push((0.125, None));
        let found = group(&losses);
        assert_eq!(found.edge, Some(Edge::Stability));
        assert_eq!(found.diverged_from, Some(0.125));
        assert_eq!(found.best, None);
    }

    #[test]
    fn a_rate_at_which_a_seed_diverged_has_no_mean() {
        let unstable = 2f64.powi(-7);
        let mut losses = parabola(unstable);
        losses.push((unstable, None));
        assert!(
            group(&losses)
                .points
                .iter()
                .all(|(lr, _)| (lr / unstable).ln().abs() > 0.6)
        );
    }

    #[test]
    fn a_lopsided_bowl_keeps_its_minimum_between_the_neighbours() {
        let losses = [(1e-3, 3.3), (2e-3, 3.2), (4e-3, 3.0), (8e-3, 3.01), (16e-3, 6.0)];
        let best = group(&losses.map(|(lr, loss)| (lr, Some(loss)))).best.unwrap();
        assert!((2e-3..=8e-3).contains(&best), "{best}");
    }
}
