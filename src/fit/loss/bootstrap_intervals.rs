//! How sure the constants are: a bootstrap over configurations, and intervals from its draws.
//!
//! Draw `k` of seed `s` is a function of (data, s, k) alone, so the number of threads cannot matter. Refuses to
//! know which fit is the one that is printed.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::fit::design::Design;
use crate::fit::loss::chinchilla::{Law, Objective};
use crate::fit::loss::objective::{ObjectiveTable, Theta};
use crate::fit::loss::solver::{Minimum, descend};
use crate::fit::numeric::statistics;

/// The constants of the law of loss.
const CONSTANTS: usize = 5;

/// How a draw is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Configurations are drawn with replacement, each with all its runs (Efron 1979).
    Configurations,
    /// Each configuration keeps its place and gets a normal error of the size of the residuals. For few
    /// configurations: of those a draw with replacement loses the design, and five constants bend to any one.
    Residuals,
}

/// From so many configurations on they are resampled themselves.
pub const CONFIGURATIONS_TO_RESAMPLE: usize = 40;

/// How intervals follow from draws and noise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    /// How the draws were made.
    pub resampling: Resampling,
    /// How much more a quantity varies than its draws, for the five constants that bend to the data.
    pub shrinkage: f64,
    /// How much wider than that an interval is, for the few degrees of freedom (Student's t against the normal).
    pub student: f64,
    /// The half-width of a 95 % interval of a single run, in standard deviations of the noise.
    pub run: f64,
}

/// What the draws say.
#[derive(Debug, Clone)]
pub struct ParameterDraws {
    /// How intervals follow from them.
    pub(crate) factors: Factors,
    /// The standard deviation of a single run about the law, in log loss.
    pub(crate) noise: f64,
    /// Draws that did not come to rest and are left out.
    pub(crate) lost: usize,
    /// The constants of every draw.
    pub(crate) draws: Vec<Law>,
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

impl ParameterDraws {
    /// Draws from a fitted table.
    pub(crate) fn new(design: &Design, table: &ObjectiveTable, minimum: &Minimum, options: DrawOptions) -> Self {
        let configurations = design.configurations as f64;
        let dof = (configurations - CONSTANTS as f64).max(1.0);
        let student = statistics::t_975(dof) / statistics::Z_975;
        let (resampling, shrinkage) = if design.configurations >= CONFIGURATIONS_TO_RESAMPLE {
            (Resampling::Configurations, (configurations / dof).sqrt())
        } else {
            // The errors that are drawn have the degrees of freedom taken off already.
            (Resampling::Residuals, 1.0)
        };
        let source = Source::new(design, table, minimum, resampling);
        let draws = draw_all(&source, options);
        let row_dof = (design.rows.len() as f64 - CONSTANTS as f64).max(1.0);
        let squares: f64 = (0..table.len())
            .map(|i| (design.rows[i].loss / table.predicted(&minimum.theta, i)).ln().powi(2))
            .sum();
        Self {
            factors: Factors {
                resampling,
                shrinkage,
                student,
                run: statistics::t_975(row_dof),
            },
            noise: (squares / row_dof).sqrt(),
            lost: options.count - draws.len(),
            draws,
        }
    }

    /// [`interval`] of these draws.
    pub(crate) fn interval(&self, centre: f64, quantity: impl Fn(&Law) -> f64) -> Option<([f64; 2], f64)> {
        interval(&self.draws, self.factors, centre, quantity)
    }
}

impl Factors {
    /// The half-width of a 95 % interval of a quantity with this standard error.
    pub(crate) fn half_width(&self, se: f64) -> f64 {
        statistics::Z_975 * se * self.student
    }
}

/// The 95 % interval and the standard error of what `quantity` computes from the constants, about `centre`, its value
/// at the fit; none without draws.
pub(crate) fn interval(
    draws: &[Law],
    factors: Factors,
    centre: f64,
    quantity: impl Fn(&Law) -> f64,
) -> Option<([f64; 2], f64)> {
    let values = statistics::sorted(draws.iter().map(quantity).collect());
    let low = statistics::quantile(&values, 0.025)?;
    let high = statistics::quantile(&values, 0.975)?;
    let se = statistics::standard_deviation(&values)?;
    let expand = |bound: f64| centre + factors.student * factors.shrinkage * (bound - centre);
    // Draws may lie to one side of the fit; an interval holds its centre all the same.
    Some((
        [expand(low).min(centre), expand(high).max(centre)],
        se * factors.shrinkage,
    ))
}

/// What draws are made from.
struct Source<'a> {
    design: &'a Design,
    table: &'a ObjectiveTable,
    minimum: &'a Minimum,
    resampling: Resampling,
    /// The losses that the law gives, and by configuration the runs and the mean residual.
    predicted: Vec<f64>,
    runs: Vec<f64>,
    mean_residual: Vec<f64>,
    /// The standard deviation of one run's residual, from the means of configurations.
    sd: f64,
}

impl<'a> Source<'a> {
    fn new(design: &'a Design, table: &'a ObjectiveTable, minimum: &'a Minimum, resampling: Resampling) -> Self {
        let mut runs = vec![0.0; design.configurations];
        let mut mean_residual = vec![0.0; design.configurations];
        for (i, &c) in design.configuration.iter().enumerate() {
            runs[c] += 1.0;
            mean_residual[c] -= table.residual(&minimum.theta, i);
        }
        for (mean, count) in mean_residual.iter_mut().zip(&runs) {
            *mean /= count;
        }
        let squares: f64 = mean_residual
            .iter()
            .zip(&runs)
            .map(|(mean, count)| count * mean * mean)
            .sum();
        let dof = (design.configurations as f64 - CONSTANTS as f64).max(1.0);
        Self {
            design,
            table,
            minimum,
            resampling,
            predicted: (0..table.len()).map(|i| table.predicted(&minimum.theta, i)).collect(),
            runs,
            mean_residual,
            sd: (squares / dof).sqrt(),
        }
    }

    /// Draw number `index`; `None` when the solver does not come to rest.
    fn draw(&self, scratch: &mut ObjectiveTable, seed: u64, index: usize) -> Option<Theta> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(index as u64);
        let configuration = &self.design.configuration;
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
                    let residual = -self.table.residual(&self.minimum.theta, i);
                    shifted(self.table, self.predicted[i], residual + shifts[c])
                });
                scratch.set_losses(losses);
            }
        }
        let found = descend(scratch, &self.minimum.theta, DRAW_TOLERANCE);

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
fn draw_all(source: &Source<'_>, options: DrawOptions) -> Vec<Law> {
    let threads = options.threads.clamp(1, options.count.max(1));
    let share = options.count.div_ceil(threads);
    let part = |first: usize, last: usize| -> Vec<Law> {
        let mut scratch = source.table.clone();
        (first..last)
            .filter_map(|index| source.draw(&mut scratch, options.seed, index))
            .map(|theta| source.table.law(&theta))
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
