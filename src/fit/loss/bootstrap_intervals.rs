//! How sure the constants are: a bootstrap over configurations, and intervals from its draws.
//!
//! Draw `k` of seed `s` is a function of (data, s, k) alone, so the number of threads cannot matter. Refuses to
//! know which fit is the one that is printed.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::objective::{Form, ObjectiveTable};
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::loss::solver::descend;
use crate::fit::numeric::statistics;

/// How a draw is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Configurations are drawn with replacement, each with all its runs (Efron 1979).
    Configurations,
    /// Each configuration keeps its place and gets a normal error of the size of the residuals. For few
    /// configurations: of those a draw with replacement loses the design, and the constants bend to any one.
    Residuals,
}

/// From so many configurations on they are resampled themselves.
pub const CONFIGURATIONS_TO_RESAMPLE: usize = 40;

/// How intervals follow from draws and noise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    /// How the draws were made.
    pub resampling: Resampling,
    /// How much more a quantity varies than its draws, for the constants that bend to the data.
    pub shrinkage: f64,
    /// How much wider than that an interval is, for the few degrees of freedom (Student's t against the normal).
    pub student: f64,
    /// The half-width of a 95 % interval of a single run, in standard deviations of the noise.
    pub run: f64,
    /// The degrees of freedom of the two: those of configurations and those of runs. Fits of older programs do not
    /// tell.
    #[serde(default = "many")]
    pub dof: [f64; 2],
}

/// Degrees of freedom with which Student's t is the normal distribution.
fn many() -> [f64; 2] {
    [1e6; 2]
}

/// How sure an interval is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    /// The share that it leaves out.
    pub(crate) tail: f64,
    /// Its half-width in standard errors, where these are known.
    z: f64,
}

pub(crate) const CI50: Level = Level {
    tail: 0.5,
    z: 0.674_489_750_196_081_7,
};
pub(crate) const CI80: Level = Level {
    tail: 0.2,
    z: 1.281_551_565_544_600_4,
};
pub(crate) const CI95: Level = Level {
    tail: 0.05,
    z: statistics::Z_975,
};

/// What the draws say.
#[derive(Debug, Clone)]
pub struct ParameterDraws<F> {
    /// How intervals follow from them.
    pub(crate) factors: Factors,
    /// The standard deviation of a single run about the law, in log loss.
    pub(crate) noise: f64,
    /// Draws that did not come to rest and are left out.
    pub(crate) lost: usize,
    /// The constants of every draw.
    pub(crate) draws: Vec<F>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct DrawOptions {
    pub(crate) count: usize,
    pub(crate) seed: u64,
    /// On how many threads.
    pub(crate) threads: usize,
}

/// The relative accuracy of a draw's objective: draws differ by far more.
const DRAW_TOLERANCE: f64 = 1e-9;

impl<F: Form<K>, const K: usize> FittedConstants<F, K> {
    /// Draws of the constants. Rows that are `set_aside` are in them, but say nothing of how much runs scatter.
    pub(crate) fn spread(&self, set_aside: &[usize], options: DrawOptions) -> ParameterDraws<F> {
        let configurations = self.design.configurations as f64;
        let dof = (configurations - K as f64).max(1.0);
        let student = statistics::t_975(dof) / statistics::Z_975;
        let (resampling, shrinkage) = if self.design.configurations >= CONFIGURATIONS_TO_RESAMPLE {
            (Resampling::Configurations, (configurations / dof).sqrt())
        } else {
            // The errors that are drawn have the degrees of freedom taken off already.
            (Resampling::Residuals, 1.0)
        };
        let draws = draw_all(&Source::new(self, set_aside, resampling), options);
        let counted = (0..self.table.len()).filter(|row| !set_aside.contains(row));
        let row_dof = ((self.table.len() - set_aside.len()) as f64 - K as f64).max(1.0);
        let squares: f64 = counted.map(|row| self.log_residual(row).powi(2)).sum();
        ParameterDraws {
            factors: Factors {
                resampling,
                shrinkage,
                student,
                run: statistics::t_975(row_dof),
                dof: [dof, row_dof],
            },
            noise: (squares / row_dof).sqrt(),
            lost: options.count - draws.len(),
            draws,
        }
    }
}

impl<F: Copy> ParameterDraws<F> {
    /// The 95 % interval of these draws, and the standard error.
    pub(crate) fn interval(&self, centre: f64, quantity: impl Fn(&F) -> f64) -> Option<([f64; 2], f64)> {
        Drawn::new(&self.draws, quantity).about(centre, self.factors)
    }
}

impl Factors {
    /// Those of draws of so many things with replacement, for a law of so many constants, on so many runs.
    pub(crate) fn of_resampling(things: usize, constants: usize, runs: usize) -> Self {
        let free = |count: usize| count.saturating_sub(constants).max(1) as f64;
        let (dof, row_dof) = (free(things), free(runs));
        Self {
            resampling: Resampling::Configurations,
            shrinkage: (things as f64 / dof).sqrt(),
            student: statistics::t_975(dof) / statistics::Z_975,
            run: statistics::t_975(row_dof),
            dof: [dof, row_dof],
        }
    }

    /// The half-width of a 95 % interval of a quantity with this standard error.
    pub(crate) fn half_width(&self, se: f64) -> f64 {
        statistics::Z_975 * se * self.student
    }

    /// How much wider than that of the draws an interval of this level is.
    fn expansion(&self, level: Level) -> f64 {
        let student = if level == CI95 {
            self.student
        } else {
            statistics::t_half_width(level.tail, self.dof[0]) / level.z
        };
        student * self.shrinkage
    }

    /// The half-width of an interval of a single run, in standard deviations of the noise.
    pub(crate) fn of_run(&self, level: Level) -> f64 {
        if level == CI95 {
            self.run
        } else {
            statistics::t_half_width(level.tail, self.dof[1])
        }
    }
}

/// What draws of the constants make of a quantity, in ascending order.
pub(crate) struct Drawn(Vec<f64>);

impl Drawn {
    pub(crate) fn new<F>(draws: &[F], quantity: impl Fn(&F) -> f64) -> Self {
        Self(statistics::sorted(draws.iter().map(quantity).collect()))
    }

    /// The interval of this level about `centre`, the quantity at the fit; none without draws.
    pub(crate) fn interval(&self, centre: f64, factors: Factors, level: Level) -> Option<[f64; 2]> {
        let low = statistics::quantile(&self.0, 0.5 * level.tail)?;
        let high = statistics::quantile(&self.0, 1.0 - 0.5 * level.tail)?;
        let expand = |bound: f64| centre + factors.expansion(level) * (bound - centre);
        // Draws may lie to one side of the fit; an interval holds its centre all the same.
        Some([expand(low).min(centre), expand(high).max(centre)])
    }

    /// The 95 % interval and the standard error.
    pub(crate) fn about(&self, centre: f64, factors: Factors) -> Option<([f64; 2], f64)> {
        let se = statistics::standard_deviation(&self.0)?;
        Some((self.interval(centre, factors, CI95)?, se * factors.shrinkage))
    }
}

/// What draws are made from.
struct Source<'a, F, const K: usize> {
    fit: &'a FittedConstants<F, K>,
    resampling: Resampling,
    /// The losses that the law gives, and by configuration the runs and the mean residual.
    predicted: Vec<f64>,
    runs: Vec<f64>,
    mean_residual: Vec<f64>,
    /// The standard deviation of one run's residual, from the means of configurations.
    sd: f64,
}

impl<'a, F: Form<K>, const K: usize> Source<'a, F, K> {
    fn new(fit: &'a FittedConstants<F, K>, set_aside: &[usize], resampling: Resampling) -> Self {
        let (design, table, theta) = (&fit.design, &fit.table, &fit.minimum.theta);
        let mut runs = vec![0.0; design.configurations];
        let mut mean_residual = vec![0.0; design.configurations];
        let mut counts = vec![true; design.configurations];
        for (i, &c) in design.configuration.iter().enumerate() {
            runs[c] += 1.0;
            mean_residual[c] -= table.residual::<F, K>(theta, i);
            counts[c] &= !set_aside.contains(&i);
        }
        for (mean, count) in mean_residual.iter_mut().zip(&runs) {
            *mean /= count;
        }
        let squares: f64 = mean_residual
            .iter()
            .zip(&runs)
            .zip(&counts)
            .filter(|(_, counts)| **counts)
            .map(|((mean, count), _)| count * mean * mean)
            .sum();
        let counted = counts.iter().filter(|counts| **counts).count() as f64;
        let dof = (counted - K as f64).max(1.0);
        Self {
            fit,
            resampling,
            predicted: (0..table.len()).map(|i| table.predicted::<F, K>(theta, i)).collect(),
            runs,
            mean_residual,
            sd: (squares / dof).sqrt(),
        }
    }

    /// Draw number `index`; `None` when the solver does not come to rest.
    fn draw(&self, scratch: &mut ObjectiveTable, seed: u64, index: usize) -> Option<[f64; K]> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(index as u64);
        let (table, minimum) = (&self.fit.table, &self.fit.minimum);
        let configuration = &self.fit.design.configuration;
        match self.resampling {
            Resampling::Configurations => {
                let mut weights = vec![0.0; self.runs.len()];
                for _ in 0..weights.len() {
                    weights[random.random_range(0..self.runs.len())] += 1.0;
                }
                scratch.set_weights(configuration.iter().map(|&c| weights[c]));
            }
            Resampling::Residuals => {
                let shifts: Vec<f64> = self
                    .runs
                    .iter()
                    .zip(&self.mean_residual)
                    .map(|(count, mean)| normal(&mut random) * self.sd / count.sqrt() - mean)
                    .collect();
                let losses = configuration.iter().enumerate().map(|(i, &c)| {
                    let residual = -table.residual::<F, K>(&minimum.theta, i);
                    shifted(table, self.predicted[i], residual + shifts[c])
                });
                scratch.set_losses(losses);
            }
        }
        let found = descend::<F, K>(scratch, &minimum.theta, DRAW_TOLERANCE);
        found.converged.then_some(found.theta)
    }
}

/// The loss that is `residual` above the predicted one, in the scale of the objective.
fn shifted(table: &ObjectiveTable, predicted: f64, residual: f64) -> f64 {
    match table.objective() {
        Objective::Huber => predicted * residual.exp(),
        // A loss stays positive, however large the error that was drawn.
        Objective::LeastSquares => (predicted + residual).max(1e-6 * predicted),
    }
}

/// All draws, in order, on so many threads.
fn draw_all<F: Form<K>, const K: usize>(source: &Source<'_, F, K>, options: DrawOptions) -> Vec<F> {
    let threads = options.threads.clamp(1, options.count.max(1));
    let share = options.count.div_ceil(threads);
    let part = |first: usize, last: usize| -> Vec<F> {
        let mut scratch = source.fit.table.clone();
        (first..last)
            .filter_map(|index| source.draw(&mut scratch, options.seed, index))
            .map(|theta| F::law(&theta, source.fit.table.centre()))
            .collect()
    };
    let part = &part;
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|t| {
                let first = (t * share).min(options.count);
                let last = ((t + 1) * share).min(options.count);
                scope.spawn(move || part(first, last))
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().expect("a draw does not panic"))
            .collect()
    })
}

/// A standard normal variable (Box and Muller 1958).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}
