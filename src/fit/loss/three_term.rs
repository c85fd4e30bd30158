//! The law of loss for grids off the best batch: L = E + A/N^α + B/S^β + G/b^γ with steps S and batch b, so D = S·b
//! (model size, steps and batch apart, as Schaipp 2026, arXiv 2607.01487, proposes).
//!
//! At fixed D the last two terms trade off, and the best batch is c·D^(β/(β+γ)), whatever the size. Refuses to know how
//! the learning rate was chosen (the best of each size, tokens and batch enters), and to describe batches far off.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::fit::design::distinct;
use crate::fit::loss::bootstrap_intervals::{Drawn, Factors};
use crate::fit::loss::checks::hold_out::{Axis, Rolled, widening};
use crate::fit::loss::loss_fit::{Extrapolation, Prediction, Range, Scatter, Widening};
use crate::fit::numeric::bootstrap::{self, Draws};
use crate::fit::numeric::linear_algebra::{self, Normal};
use crate::fit::observation::{Observation, same_budget};
use crate::fit::refusal::Refusal;
use crate::fit::{Estimate, Warning};

/// E, and for each of the three terms the logarithm of its size at the centre and its exponent.
const CONSTANTS: usize = 7;
/// Batches within this share of the lowest loss at their size and tokens enter. Over all ten batches of Step Law's
/// grids the form is too stiff and its best batch grows as D^0.73; within 0.5 to 2 % it grows as D^0.55 to D^0.60, and
/// theirs as D^0.57.
const WINDOW: f64 = 0.015;
/// Of the constants, those that only groups of other size or tokens show; one such group more is the least.
const BETWEEN_GROUPS: usize = 5;
/// Values of size, steps and batch, at least.
const VALUES_MIN: usize = 3;
/// Exponents at which the search starts, for each of the three terms.
const STARTS: [f64; 7] = [0.1, 0.2, 0.3, 0.45, 0.65, 0.9, 1.3];
/// Best starts that are followed to their end.
const FOLLOWED: usize = 8;
/// The range in which an exponent makes sense.
const EXPONENTS: [f64; 2] = [0.01, 4.0];
/// Steps of the descent, at most.
const STEPS_MAX: usize = 300;

/// The exponents of size, steps and batch.
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
/// A term that is smaller than this at the centre, in nats per token, is not there.
const TERM_MIN: f64 = 1e-6;

/// The constants, about the centre of the runs.
type Theta = [f64; CONSTANTS];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreeTermLaw {
    /// E, nats per token.
    pub e: Estimate,
    /// A, B and G.
    pub coefficients: [f64; 3],
    /// α, β and γ.
    pub exponents: [Estimate; 3],
    /// β/(β+γ): how the best batch grows with D.
    pub batch_exponent: Estimate,
    /// Runs that entered: the best of each size, tokens and batch near the best batch.
    pub rows: usize,
    /// Groups of equal size and tokens.
    pub groups: usize,
    /// The standard deviation of a run about the law, nats per token.
    pub scatter: f64,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
    /// What intervals come from; fits of older programs have none.
    #[serde(default)]
    pub spread: Option<Spread>,
}

/// How sure a prediction of the law is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// E, the three coefficients and the three exponents of every draw.
    pub draws: Vec<[f64; CONSTANTS]>,
    pub factors: Factors,
    /// The range of the runs.
    pub seen: Range,
    pub widening: Option<Widening>,
}

/// One run: ln N, ln S and ln b about the centre, its loss, and the number of its group of equal size and tokens.
#[derive(Debug, Clone, Copy)]
struct Row {
    x: [f64; 3],
    loss: f64,
    group: usize,
}

impl ThreeTermLaw {
    /// The loss at a size, a number of tokens and a batch in tokens.
    pub fn loss(&self, params: f64, tokens: f64, batch_tokens: f64) -> f64 {
        loss(&self.constants(), [params, tokens, batch_tokens])
    }

    fn constants(&self) -> [f64; CONSTANTS] {
        let ([a, b, g], [alpha, beta, gamma]) = (self.coefficients, self.exponents.map(|exponent| exponent.value));
        [self.e.value, a, b, g, alpha, beta, gamma]
    }

    /// The loss there with its intervals, and how far beyond the runs that is.
    pub fn predict(&self, params: f64, tokens: f64, batch_tokens: f64) -> (Prediction, Option<Extrapolation>) {
        let mean = self.loss(params, tokens, batch_tokens);
        let Some(spread) = &self.spread else {
            return (Prediction::bare(mean), None);
        };
        let reach = spread.seen.extrapolation(params, tokens);
        let scatter = Scatter {
            factors: spread.factors,
            noise: self.scatter,
            widening: spread.widening.as_ref(),
        };
        let drawn = Drawn::new(&spread.draws, |draw| loss(draw, [params, tokens, batch_tokens]));
        (scatter.about(mean, &drawn, reach), Some(reach))
    }

    /// The batch, in tokens, with the lowest loss at a number of tokens: where β·B/S^β = γ·G/b^γ.
    pub fn best_batch(&self, tokens: f64) -> f64 {
        let [_, b, g] = self.coefficients;
        let [_, beta, gamma] = self.exponents.map(|exponent| exponent.value);
        (gamma * g / (beta * b) * tokens.powf(beta)).powf(1.0 / (beta + gamma))
    }
}

/// The loss by E, coefficients and exponents, of parameters, tokens and tokens of a batch.
fn loss(constants: &[f64; CONSTANTS], [params, tokens, batch]: [f64; 3]) -> f64 {
    let terms = [params, tokens / batch, batch];
    let term = |i: usize| constants[1 + i] * terms[i].powf(-constants[4 + i]);
    constants[0] + (0..3).map(term).sum::<f64>()
}

/// Fits the law by least squares on the loss; intervals come from draws of groups of equal size and
/// tokens, whose runs share their deviation from the law.
///
/// # Errors
/// `bad_observation`; `too_few_sizes` and `too_few_budgets`; `not_identified` where batches are too few, or the runs do
/// not tell the constants apart; `at_bound` where an exponent leaves the range that makes sense.
pub fn fit(runs: &[Observation], draws: Draws) -> Result<ThreeTermLaw, Refusal> {
    runs.iter().try_for_each(Observation::check)?;
    let best = best(runs);
    let groups: Vec<&[[f64; 4]]> = best.chunk_by(is_of_group).collect();
    let count = |of: fn(&[f64; 4]) -> f64| distinct(best.iter().map(of)).len();
    let (sizes, budgets, batches) = (count(|row| row[0]), count(|row| row[1]), count(|row| row[2]));
    if sizes < VALUES_MIN {
        return Err(Refusal::TooFewSizes {
            found: sizes,
            needed: VALUES_MIN,
        });
    }
    if budgets < VALUES_MIN {
        return Err(Refusal::TooFewBudgets { found: budgets });
    }
    if batches < VALUES_MIN || groups.len() <= BETWEEN_GROUPS || best.len() <= CONSTANTS {
        return Err(not_identified("too few batches or groups of equal size and tokens"));
    }
    let (rows, centre) = about_centre(&groups);
    let weights = vec![1.0; rows.len()];
    let theta = starts(&rows)
        .iter()
        .map(|start| descend(&rows, &weights, start))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(theta, _)| theta)
        .ok_or_else(|| not_identified("no term falls as it should"))?;
    for (i, exponent) in exponents(&theta).into_iter().enumerate() {
        let name = NAMES[i];
        if theta[1 + i] < TERM_MIN.ln() {
            return Err(not_identified(&format!("the term of {name} vanishes")));
        }
        let bound = EXPONENTS
            .into_iter()
            .find(|bound| (exponent / bound - 1.0).abs() < 1e-6);
        if let Some(bound) = bound {
            return Err(Refusal::AtBound { name, bound });
        }
    }
    let drawn: Vec<Theta> = draws.resample(groups.len(), |times| {
        let weights: Vec<f64> = rows.iter().map(|row| times[row.group]).collect();
        Some(descend(&rows, &weights, &theta).0)
    });
    let mut law = law(&rows, &centre, &theta, &drawn);
    law.spread = Some(Spread {
        draws: drawn.iter().map(|draw| natural(draw, &centre)).collect(),
        factors: Factors::of_resampling(groups.len(), BETWEEN_GROUPS, rows.len()),
        seen: Range::of_runs(runs),
        widening: (draws.count > 0).then(|| rolled(runs)).flatten(),
    });
    Ok(law)
}

/// Fits the smaller sizes and predicts the best batches of the larger ones.
fn rolled(runs: &[Observation]) -> Option<Widening> {
    let none = Draws { count: 0, seed: 0 };
    let fits = distinct(runs.iter().map(|run| run.params))
        .into_iter()
        .filter_map(|limit| {
            let (held, seen): (Vec<_>, Vec<_>) = runs.iter().cloned().partition(|run| run.params >= limit);
            let law = fit(&seen, none).ok()?;
            let range = Range::of_runs(&seen);
            let miss = |[params, tokens, batch, measured]: [f64; 4]| {
                let miss = law.loss(params, tokens, batch) / measured - 1.0;
                (miss, range.extrapolation(params, tokens).e_folds())
            };
            let misses: Vec<(f64, f64)> = best(&held).into_iter().map(miss).collect();
            let mean = seen.iter().map(|run| run.loss).sum::<f64>() / seen.len() as f64;
            Rolled::new(&misses, law.scatter / mean)
        });
    widening(&fits.collect::<Vec<_>>(), Axis::Params)
}

/// E, coefficients and exponents from constants about the centre.
fn natural(theta: &Theta, centre: &[f64; 3]) -> [f64; CONSTANTS] {
    let exponents = exponents(theta);
    let coefficient = |i: usize| (theta[1 + i] + exponents[i] * centre[i]).exp();
    let ([a, b, g], [alpha, beta, gamma]) = (std::array::from_fn(coefficient), exponents);
    [theta[0], a, b, g, alpha, beta, gamma]
}

/// A refusal of data that several laws explain.
fn not_identified(why: &str) -> Refusal {
    Refusal::NotIdentified { why: why.to_owned() }
}

/// Orders rows by their first columns.
fn compare(a: &[f64; 4], b: &[f64; 4], columns: usize) -> Ordering {
    let compared = a.iter().zip(b).take(columns).map(|(a, b)| a.total_cmp(b));
    compared.fold(Ordering::Equal, Ordering::then)
}

/// Whether two rows are of one size and one budget.
fn is_of_group(a: &[f64; 4], b: &[f64; 4]) -> bool {
    a[0].total_cmp(&b[0]).is_eq() && same_budget([a[1], a[2]], [b[1], b[2]])
}

/// Size, tokens, batch and the lowest loss of each of these, in order, near the lowest of each size and tokens.
fn best(runs: &[Observation]) -> Vec<[f64; 4]> {
    let mut rows: Vec<[f64; 4]> = runs
        .iter()
        .filter_map(|run| Some([run.params, run.tokens, run.batch_tokens?, run.loss]))
        .collect();
    rows.sort_by(|a, b| compare(a, b, 4));
    rows.dedup_by(|later, first| compare(later, first, 3).is_eq());
    rows.chunk_by(is_of_group)
        .flat_map(|group| {
            let lowest = group.iter().map(|row| row[3]).fold(f64::INFINITY, f64::min);
            group
                .iter()
                .copied()
                .filter(move |row| row[3] <= lowest * (1.0 + WINDOW))
        })
        .collect()
}

/// The rows in logarithms about their means, and the means.
fn about_centre(groups: &[&[[f64; 4]]]) -> (Vec<Row>, [f64; 3]) {
    let mut rows: Vec<Row> = Vec::new();
    for (group, runs) in groups.iter().enumerate() {
        rows.extend(runs.iter().map(|&[params, tokens, batch, loss]| Row {
            x: [params.ln(), (tokens / batch).ln(), batch.ln()],
            loss,
            group,
        }));
    }
    let centre: [f64; 3] = std::array::from_fn(|i| rows.iter().map(|row| row.x[i]).sum::<f64>() / rows.len() as f64);
    for row in &mut rows {
        row.x = std::array::from_fn(|i| row.x[i] - centre[i]);
    }
    (rows, centre)
}

/// The best of a grid of exponents, each with the constants that then fit best (non-negative least squares).
fn starts(rows: &[Row]) -> Vec<Theta> {
    let weights = vec![1.0; rows.len()];
    let mut found: Vec<(f64, Theta)> = Vec::new();
    for alpha in STARTS {
        for beta in STARTS {
            for gamma in STARTS {
                let exponents = [alpha, beta, gamma];
                let mut normal = Normal::empty();
                for row in rows {
                    let term = |i: usize| (-exponents[i] * row.x[i]).exp();
                    normal.add_row(&[1.0, term(0), term(1), term(2)], row.loss, 1.0);
                }
                let [e, a, b, g] = linear_algebra::non_negative(&normal.gram, &normal.rhs);
                // A term that is not there has no exponent; a trace of it keeps the descent free to find one.
                let ln = |size: f64| size.max(1e-3).ln();
                let theta = [e, ln(a), ln(b), ln(g), alpha.ln(), beta.ln(), gamma.ln()];
                found.push((squares(rows, &weights, &theta), theta));
            }
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.into_iter().take(FOLLOWED).map(|(_, theta)| theta).collect()
}

/// α, β and γ.
fn exponents(theta: &Theta) -> [f64; 3] {
    std::array::from_fn(|i| theta[4 + i].exp())
}

/// The three terms of a row.
fn terms(theta: &Theta, row: &Row) -> [f64; 3] {
    let exponents = exponents(theta);
    std::array::from_fn(|i| (theta[1 + i] - exponents[i] * row.x[i]).exp())
}

/// What the law leaves of a row's loss.
fn residual(theta: &Theta, row: &Row) -> f64 {
    row.loss - theta[0] - terms(theta, row).iter().sum::<f64>()
}

/// The weighted sum of squares.
fn squares(rows: &[Row], weights: &[f64], theta: &Theta) -> f64 {
    rows.iter()
        .zip(weights)
        .map(|(row, weight)| weight * residual(theta, row).powi(2))
        .sum()
}

/// Levenberg's and Marquardt's descent from a start: the constants and their sum of squares.
fn descend(rows: &[Row], weights: &[f64], start: &Theta) -> (Theta, f64) {
    let mut theta = *start;
    let mut lowest = squares(rows, weights, &theta);
    let mut damping = 1e-3;
    for _ in 0..STEPS_MAX {
        let mut normal = Normal::<CONSTANTS>::empty();
        let exponents = exponents(&theta);
        for (row, &weight) in rows.iter().zip(weights) {
            let [a, b, g] = terms(&theta, row);
            let slope = |i: usize, term: f64| -exponents[i] * row.x[i] * term;
            let gradient = [1.0, a, b, g, slope(0, a), slope(1, b), slope(2, g)];
            normal.add_row(&gradient, residual(&theta, row), weight);
        }
        for i in 0..CONSTANTS {
            normal.gram[i][i] *= 1.0 + damping;
        }
        let Some(step) = normal.solve() else {
            damping *= 10.0;
            continue;
        };
        let mut tried: Theta = std::array::from_fn(|i| theta[i] + step[i]);
        tried[0] = tried[0].max(0.0);
        for exponent in &mut tried[4..] {
            *exponent = exponent.clamp(EXPONENTS[0].ln(), EXPONENTS[1].ln());
        }
        let found = squares(rows, weights, &tried);
        if found < lowest {
            let gained = lowest - found;
            (theta, lowest) = (tried, found);
            damping *= 0.1;
            if gained <= 1e-13 * lowest {
                break;
            }
        } else {
            damping *= 10.0;
        }
        if damping > 1e12 {
            break;
        }
    }
    (theta, lowest)
}

/// The law from its constants about the centre and their draws.
fn law(rows: &[Row], centre: &[f64; 3], theta: &Theta, drawn: &[Theta]) -> ThreeTermLaw {
    let groups = rows.last().map_or(0, |row| row.group + 1);
    let count = groups as f64;
    let dof = count - BETWEEN_GROUPS as f64;
    let estimate = |of: &dyn Fn(&Theta) -> f64| {
        let values: Vec<[f64; 1]> = drawn.iter().map(|draw| [of(draw)]).collect();
        // Draws vary less than the law does, by the constants that bend to each of them.
        let variance = bootstrap::covariance(&values).map(|matrix| matrix[0][0] * count / dof);
        bootstrap::estimate(of(theta), variance, dof)
    };
    let exponents_found: [Estimate; 3] = std::array::from_fn(|i| estimate(&|theta| exponents(theta)[i]));
    let unresolved = |(name, exponent): (&&str, &Estimate)| {
        let text = format!("the 95 % interval of {name} holds zero: its term and E cannot be told apart");
        (exponent.ci95.is_some() && !exponent.excludes_zero()).then(|| Warning::new("exponent_not_resolved", text))
    };
    ThreeTermLaw {
        warnings: NAMES.iter().zip(&exponents_found).filter_map(unresolved).collect(),
        e: estimate(&|theta| theta[0]),
        coefficients: std::array::from_fn(|i| natural(theta, centre)[1 + i]),
        exponents: exponents_found,
        batch_exponent: estimate(&|theta| {
            let [_, beta, gamma] = exponents(theta);
            beta / (beta + gamma)
        }),
        rows: rows.len(),
        groups,
        spread: None,
        scatter: (squares(rows, &vec![1.0; rows.len()], theta) / (rows.len() - CONSTANTS) as f64).sqrt(),
    }
}

#[cfg(test)]
mod tests;
