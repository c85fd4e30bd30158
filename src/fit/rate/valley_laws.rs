//! The two laws that a valley makes: of the best learning rate and of the best batch, with what draws of groups leave open.
//!
//! Refuses to know which groups are held out.

use serde::{Deserialize, Serialize};

use crate::fit::Estimate;
use crate::fit::numeric::bootstrap::{self, Draws};
use crate::fit::numeric::linear_algebra;
use crate::fit::rate::batch_form::{self, BatchForm, FormTried};
use crate::fit::rate::lr_batch_surface::{self, Free, GROUPS_MIN, Group, Sums, VALUES_MIN, Valley};
use crate::fit::rate::over_tokens::{Batch, OverTokens};
use crate::fit::refusal::Refusal;

/// The constants of one of the two laws.
const CONSTANTS: f64 = 3.0;
/// Nothing moves: what the law has to beat.
const CONSTANT: Free = [true, false, false, true, false, false];

/// `c·N^a·D^b`, written about the centre of the groups.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// The value at one parameter and one token.
    pub c: f64,
    /// a; none where the form has none.
    pub n_exponent: Option<Estimate>,
    pub d_exponent: Estimate,
    /// The means of ln N and ln D.
    centre: [f64; 2],
    /// The logarithm of the value there, a and b.
    constants: [f64; 3],
    /// Their covariance; none without draws.
    covariance: Option<[[f64; 3]; 3]>,
    dof: f64,
}

impl PowerLaw {
    /// The value at a size and a number of tokens, with the interval of the law (a single grid scatters more).
    pub fn at(&self, params: f64, tokens: f64) -> Estimate {
        let x = [1.0, params.ln() - self.centre[0], tokens.ln() - self.centre[1]];
        let ln_value = x.iter().zip(&self.constants).map(|(x, c)| x * c).sum();
        let variance = self
            .covariance
            .map(|matrix| linear_algebra::quadratic_form(&matrix, &x));
        bootstrap::exponential(bootstrap::estimate(ln_value, variance, self.dof))
    }
}

/// The two laws of some groups.
pub(super) struct Laws {
    pub(super) lr: PowerLaw,
    pub(super) batch: PowerLaw,
    pub(super) form: BatchForm,
    pub(super) forms: Vec<FormTried>,
    pub(super) batch_size_exponent: Estimate,
    pub(super) over_tokens: Vec<OverTokens>,
    pub(super) rate_over_batch: Estimate,
    /// ln of the learning rate and of the batch if nothing moves.
    pub(super) constant: [f64; 2],
}

impl Laws {
    /// Fits groups that have a minimum.
    pub(super) fn new(groups: &[&Group], draws: Draws) -> Result<Self, Refusal> {
        let [sizes, budgets] = lr_batch_surface::sizes_and_budgets(groups);
        if sizes < VALUES_MIN {
            return Err(Refusal::TooFewSizes {
                found: sizes,
                needed: VALUES_MIN,
            });
        }
        if budgets < VALUES_MIN {
            return Err(Refusal::TooFewBudgets { found: budgets });
        }
        let why = "size and tokens move together, or loss shows no valley over learning rate and batch".to_owned();
        let refusal = Refusal::NotIdentified { why };
        if groups.len() < GROUPS_MIN {
            return Err(refusal);
        }
        let sums = Sums::new(groups);
        let fitted = |form: BatchForm| {
            Some(Fitted::new(
                form,
                sums.fit(form.free())?,
                sums.draws(form.free(), draws),
            ))
        };
        let (Some(both), Some(constant)) = (fitted(BatchForm::SizeAndTokens), sums.fit(CONSTANT)) else {
            return Err(refusal);
        };
        let Some(batch_size_exponent) = both.law(&sums, 1).n_exponent else {
            return Err(refusal);
        };
        let (form, forms) = batch_form::choose(&sums, groups);
        let best = match form {
            BatchForm::SizeAndTokens => both,
            BatchForm::Tokens => fitted(form).ok_or(refusal)?,
        };
        Ok(Self {
            lr: best.law(&sums, 0),
            batch: best.law(&sums, 1),
            form,
            forms,
            batch_size_exponent,
            over_tokens: best.over_tokens(&sums),
            rate_over_batch: best.estimate(&sums, Valley::rate_over_batch),
            constant: [0, 1].map(|axis| constant.place[3 * axis] + sums.centre[axis]),
        })
    }

    /// Refuses exponents that could be anything.
    pub(super) fn identified(&self) -> Result<(), Refusal> {
        let exponents = [
            ("of N of the best learning rate", self.lr.n_exponent),
            ("of D of the best learning rate", Some(self.lr.d_exponent)),
            ("of N of the best batch", self.batch.n_exponent),
            ("of D of the best batch", Some(self.batch.d_exponent)),
        ];
        let open = |(name, exponent): &(&str, Option<Estimate>)| exponent.and_then(|it| it.open_exponent(name));
        exponents
            .iter()
            .find_map(open)
            .map_or(Ok(()), |why| Err(Refusal::NotIdentified { why }))
    }
}

/// A form of the laws, and its valley with the draws of it.
struct Fitted {
    form: BatchForm,
    valley: Valley,
    drawn: Vec<Valley>,
}

impl Fitted {
    fn new(form: BatchForm, valley: Valley, drawn: Vec<Valley>) -> Self {
        Self { form, valley, drawn }
    }

    /// The law of the rate (axis 0) or of the batch (axis 1).
    fn law(&self, sums: &Sums, axis: usize) -> PowerLaw {
        let half = |valley: &Valley| -> [f64; 3] { std::array::from_fn(|i| valley.place[3 * axis + i]) };
        let drawn: Vec<[f64; 3]> = self.drawn.iter().map(half).collect();
        power_law(sums, axis, half(&self.valley), self.form.free()[3 * axis + 1], &drawn)
    }

    /// A number of the valley, with the interval that the draws give.
    fn estimate(&self, sums: &Sums, of: impl Fn(&Valley) -> f64) -> Estimate {
        let drawn: Vec<[f64; 1]> = self.drawn.iter().map(|valley| [of(valley)]).collect();
        let (groups, dof) = (sums.len() as f64, sums.len() as f64 - CONSTANTS);
        let variance = bootstrap::covariance(&drawn).map(|matrix| matrix[0][0] * groups / dof);
        bootstrap::estimate(of(&self.valley), variance, dof)
    }

    /// The exponents of tokens of the best rate: with the batch as it is, at its best, and per √batch.
    fn over_tokens(&self, sums: &Sums) -> Vec<OverTokens> {
        let rate = |valley: &Valley| valley.place[2];
        let batch = |valley: &Valley| valley.place[5];
        let exponent = |kind: Batch, of: &dyn Fn(&Valley) -> f64| OverTokens {
            batch: kind,
            exponent: self.estimate(sums, of),
        };
        vec![
            exponent(Batch::Fixed, &|it| rate(it) - it.rate_over_batch() * batch(it)),
            exponent(Batch::Best, &rate),
            exponent(Batch::PerRoot, &|it| rate(it) - 0.5 * batch(it)),
        ]
    }
}

/// One of the two laws, from where the valley lies about the centre and from draws of that.
fn power_law(sums: &Sums, axis: usize, place: [f64; 3], by_size: bool, draws: &[[f64; 3]]) -> PowerLaw {
    let [_, _, n, d] = sums.centre;
    let [level, a, b] = place;
    let level = level + sums.centre[axis];
    let groups = sums.len() as f64;
    let dof = groups - CONSTANTS;
    // Draws vary less than the law does, by the constants that bend to each of them.
    let covariance = bootstrap::covariance(draws).map(|matrix| matrix.map(|row| row.map(|v| v * groups / dof)));
    let exponent = |value, i: usize| bootstrap::estimate(value, covariance.map(|matrix| matrix[i][i]), dof);
    PowerLaw {
        c: (level - a * n - b * d).exp(),
        n_exponent: by_size.then(|| exponent(a, 1)),
        d_exponent: exponent(b, 2),
        centre: [n, d],
        constants: [level, a, b],
        covariance,
        dof,
    }
}
