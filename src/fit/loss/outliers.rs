//! Runs far off the law that move it: found by a robust fit from which the worst run is taken again and again.
//!
//! Refuses to leave anything out of the fit that is printed.

use crate::fit::design::Design;
use crate::fit::loss::bootstrap_intervals::{CONFIGURATIONS_TO_RESAMPLE, DrawOptions};
use crate::fit::loss::chinchilla::{Law, Objective};
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::statistics;
use crate::fit::refusal::Refusal;

/// What lies far off, and what the fit would be without it.
#[derive(Debug, Clone)]
pub(crate) struct Outliers {
    /// The labels of the runs, in canonical order.
    pub(crate) labels: Vec<String>,
    /// The constants without them, by the objective of the fit.
    pub(crate) without: Result<Law, Refusal>,
}

/// A run so many robust standard deviations off the law is looked at.
const SUSPECT_SD: f64 = 5.0;
/// Suspects go back in, the mildest first, until together they move an exponent by this share of its standard error:
/// those that are left out then are the outliers.
const INFLUENCE_SE: f64 = 0.6;
/// At most this share of the runs is suspected: with more, the law is wrong, not the runs.
const SUSPECT_SHARE_MAX: f64 = 0.1;
/// Draws for the standard error of the exponents.
const DRAWS: usize = 300;

/// Finds outliers; `None` without any, and for few configurations, where a law bends to each.
pub(crate) fn find(core: &FittedConstants, draws: DrawOptions) -> Option<Outliers> {
    if core.design.configurations < CONFIGURATIONS_TO_RESAMPLE {
        return None;
    }
    let (clean, mut suspects) = peel(core)?;
    let spread = clean.spread(DrawOptions { count: DRAWS, ..draws });
    let (_, se_alpha) = spread.interval(clean.law.alpha, |c| c.alpha)?;
    let (_, se_beta) = spread.interval(clean.law.beta, |c| c.beta)?;
    while let Some(mildest) = suspects.pop() {
        let Ok(with) = FittedConstants::new(without(&core.design, &suspects), Objective::Huber) else {
            suspects.push(mildest);
            break;
        };
        let moved = f64::max(
            (with.law.alpha - clean.law.alpha).abs() / se_alpha,
            (with.law.beta - clean.law.beta).abs() / se_beta,
        );
        if moved > INFLUENCE_SE {
            suspects.push(mildest);
            break;
        }
    }
    if suspects.is_empty() {
        return None;
    }
    suspects.sort_unstable();
    Some(Outliers {
        labels: suspects.iter().map(|&i| core.design.rows[i].label.clone()).collect(),
        without: FittedConstants::new(without(&core.design, &suspects), core.table.objective()).map(|rest| rest.law),
    })
}

/// Takes the worst run out until none is suspect: the clean fit, and the suspects with the worst first; `None`
/// without suspects, or when they are too many or without them there is no law.
fn peel(core: &FittedConstants) -> Option<(FittedConstants, Vec<usize>)> {
    let mut suspects: Vec<usize> = Vec::new();
    loop {
        let rest: Vec<usize> = (0..core.design.rows.len()).filter(|i| !suspects.contains(i)).collect();
        let fit = FittedConstants::new(without(&core.design, &suspects), Objective::Huber).ok()?;
        let off: Vec<f64> = (0..rest.len()).map(|i| fit.log_residual(i).abs()).collect();
        // The median of |x| is 0.6745 standard deviations of a normal variable.
        let sd = 1.4826 * statistics::quantile(&statistics::sorted(off.clone()), 0.5)?;
        let worst = (0..off.len()).max_by(|&a, &b| off[a].total_cmp(&off[b]))?;
        // Noise-free data have rounding for residuals.
        if off[worst] <= (SUSPECT_SD * sd).max(1e-9) {
            return (!suspects.is_empty()).then_some((fit, suspects));
        }
        suspects.push(rest[worst]);
        if suspects.len() as f64 > SUSPECT_SHARE_MAX * core.design.rows.len() as f64 {
            return None;
        }
    }
}

/// The design without some of its rows.
fn without(design: &Design, rows: &[usize]) -> Design {
    let mut index = 0;
    design.subset(|_| {
        index += 1;
        !rows.contains(&(index - 1))
    })
}
