//! One fit of one design: the constants, or why there are none.
//!
//! The printed fit, the hold-out's fit and every rolled one are this. Refuses to know which it is.

use crate::fit::design::{Design, Range};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::objective::{Form, ObjectiveTable};
use crate::fit::loss::solver::{self, Minimum};
use crate::fit::numeric::statistics;
use crate::fit::refusal::Refusal;

/// Below this share of the loss on every row a term is not there.
const TERM_SHARE_MIN: f64 = 1e-4;
/// Constants that are explained by the others to this degree cannot be told apart in double precision.
const DISTINCTNESS_MIN: f64 = 1e-11;

/// A design with its constants.
#[derive(Debug, Clone)]
pub(crate) struct FittedConstants<F, const K: usize> {
    pub(crate) design: Design,
    /// The same for the solver.
    pub(crate) table: ObjectiveTable,
    /// What the solver found.
    pub(crate) minimum: Minimum<K>,
    pub(crate) law: F,
}

impl<F: Form<K>, const K: usize> FittedConstants<F, K> {
    /// Fits a design.
    ///
    /// # Errors
    /// Refuses designs that cannot carry the law, exponents at the end of their range, and constants that
    /// cannot be told apart.
    pub(crate) fn new(design: Design, objective: Objective) -> Result<Self, Refusal> {
        let [sizes, configurations] = F::DESIGN_MIN;
        design.check(sizes, configurations)?;
        let rows: Vec<(f64, f64, f64)> = design
            .rows
            .iter()
            .map(|row| (row.params, row.tokens, row.loss))
            .collect();
        let table = ObjectiveTable::new(&rows, objective);
        let minimum = solver::minimise::<F, K>(&table).ok_or(Refusal::NotFinished { left_out: 0 })?;
        let core = Self {
            law: F::law(&minimum.theta, table.centre()),
            design,
            table,
            minimum,
        };
        core.check_trends()?;
        core.check_slopes()?;
        check_minimum::<F, K>(&core.table, &core.minimum)?;
        Ok(core)
    }

    /// Whether the irreducible loss is at its limit of zero.
    pub(crate) fn without_irreducible_loss(&self) -> bool {
        F::FLOOR.is_some_and(|place| self.minimum.theta[place] <= 0.0)
    }

    /// The relative residual ln(loss) − ln(predicted) of row `i`.
    pub(crate) fn log_residual(&self, i: usize) -> f64 {
        (self.design.rows[i].loss / self.table.predicted::<F, K>(&self.minimum.theta, i)).ln()
    }

    /// Refuses a term whose whole effect over the data is below the noise of a single run: it can be anything.
    fn check_trends(&self) -> Result<(), Refusal> {
        let off = (0..self.table.len()).map(|i| self.log_residual(i)).collect();
        let noise = statistics::robust_scale(off, K).unwrap_or(0.0);
        let range = Range::of(&self.design);
        let ([least_params, most_params], [least_tokens, most_tokens]) = (range.params, range.tokens);
        let least = self.law.loss(most_params, most_tokens);
        for (what, effect) in [
            ("size", self.law.loss(least_params, most_tokens) - least),
            ("tokens", self.law.loss(most_params, least_tokens) - least),
        ] {
            if effect < noise * least {
                return Err(Refusal::NotIdentified {
                    why: format!(
                        "over all the data {what} moves the loss by {effect:.2e}, less than the noise of one run; \
                         add runs further apart"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Refuses a law that bends up beyond the data: it fits them, and predicts nothing.
    fn check_slopes(&self) -> Result<(), Refusal> {
        let range = Range::of(&self.design);
        let at = |times: f64| self.law.loss(times * range.params[1], times * range.tokens[1]);
        if at(FALLS_TO) <= at(1.0) {
            return Ok(());
        }
        Err(Refusal::NotIdentified {
            why: format!("with {FALLS_TO} times the size and the tokens the loss would rise; add runs further apart"),
        })
    }
}

/// So many times beyond the data a law must still fall.
const FALLS_TO: f64 = 8.0;

/// Refuses what the solver came back with when it is no minimum that the data mean.
fn check_minimum<F: Form<K>, const K: usize>(table: &ObjectiveTable, minimum: &Minimum<K>) -> Result<(), Refusal> {
    let (size, data) = table.largest_shares::<F, K>(&minimum.theta);
    for (what, share) in [("size", size), ("tokens", data)] {
        if share < TERM_SHARE_MIN {
            return Err(Refusal::NotIdentified {
                why: format!("the loss does not depend on {what}; add runs further apart"),
            });
        }
    }
    let limits = F::limits(table);
    for &(name, place) in F::BOUNDED {
        let (bound, (low, high)) = (minimum.theta[place], limits[place]);
        if bound <= low || bound >= high {
            return Err(Refusal::AtBound { name, bound });
        }
    }
    if minimum.distinctness < DISTINCTNESS_MIN {
        return Err(Refusal::NotIdentified {
            why: "the objective is flat: other constants fit as well; add sizes or budgets further apart".to_owned(),
        });
    }
    if !minimum.converged {
        return Err(Refusal::NotIdentified {
            why: "the solver did not come to rest; add sizes or budgets further apart".to_owned(),
        });
    }
    Ok(())
}
