//! Runs far off the law that move it: found by a robust fit from which the worst run is taken again and again.
//!
//! Refuses to leave anything out of the fit that is printed.

use crate::fit::design::Design;
use crate::fit::loss::bootstrap_intervals::{CONFIGURATIONS_TO_RESAMPLE, DrawOptions};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::forms::{Role, Surface};
use crate::fit::loss::objective::Form;
use crate::fit::loss::point_fit::FittedConstants;
use crate::fit::numeric::statistics;
use crate::fit::refusal::Refusal;

/// What lies far off, and what the fit would be without it.
#[derive(Debug, Clone)]
pub(crate) struct Outliers<F> {
    /// The rows of the design.
    pub(crate) rows: Vec<usize>,
    /// The labels of the runs, in canonical order.
    pub(crate) labels: Vec<String>,
    /// The constants without them, by the objective of the fit.
    pub(crate) without: Result<F, Refusal>,
}

/// A run so many robust standard deviations off the law is looked at.
const SUSPECT_SD: f64 = 5.0;
/// So many off it is an outlier whether it moves the law or not: no scatter of runs reaches that far.
const FAR_SD: f64 = 12.0;
/// Suspects go back in, the mildest first, until together they move an exponent by this share of its standard error:
/// those that are left out then are outliers as well.
const INFLUENCE_SE: f64 = 0.6;
/// At most this share of the runs is suspected, but for one: with more, the law is wrong, not the runs.
const SUSPECT_SHARE_MAX: f64 = 0.1;
/// Draws for the standard error of the exponents.
const DRAWS: usize = 300;

/// Finds outliers; `None` without any. Where configurations are few, a law bends to each, and only those far off count.
pub(crate) fn find<F: Form<K>, const K: usize>(
    core: &FittedConstants<F, K>,
    draws: DrawOptions,
) -> Option<Outliers<F>> {
    let is_small = core.design.configurations < CONFIGURATIONS_TO_RESAMPLE;
    let (clean, suspects) = peel(core, if is_small { FAR_SD } else { SUSPECT_SD })?;
    let far = suspects.iter().take_while(|suspect| suspect.off > FAR_SD).count();
    let mut rows: Vec<usize> = suspects.iter().map(|suspect| suspect.row).collect();
    if !is_small {
        rows = influential(core, &clean, rows, far, draws)?;
    }
    if rows.is_empty() {
        return None;
    }
    rows.sort_unstable();
    Some(Outliers {
        labels: rows.iter().map(|&i| core.design.rows[i].label.clone()).collect(),
        without: FittedConstants::<F, K>::new(without(&core.design, &rows), core.table.objective())
            .map(|rest| rest.law),
        rows,
    })
}

/// Of the suspects, the worst first, those that move an exponent together; the first `far` of them stay in any case.
fn influential<F: Form<K>, const K: usize>(
    core: &FittedConstants<F, K>,
    clean: &FittedConstants<F, K>,
    mut suspects: Vec<usize>,
    far: usize,
    draws: DrawOptions,
) -> Option<Vec<usize>> {
    if suspects.len() == far {
        return Some(suspects);
    }
    let spread = clean.spread(&[], DrawOptions { count: DRAWS, ..draws });
    let at = clean.law.constants();
    let errors: Vec<(usize, f64)> = exponents::<F>()
        .map(|place| Some((place, spread.interval(at[place], |law| law.constants()[place])?.1)))
        .collect::<Option<_>>()?;
    while suspects.len() > far {
        let Some(mildest) = suspects.pop() else { break };
        let Ok(with) = FittedConstants::<F, K>::new(without(&core.design, &suspects), Objective::Huber) else {
            suspects.push(mildest);
            break;
        };
        let there = with.law.constants();
        let moved = errors.iter().map(|&(place, se)| (there[place] - at[place]).abs() / se);
        if moved.fold(0.0, f64::max) > INFLUENCE_SE {
            suspects.push(mildest);
            break;
        }
    }
    Some(suspects)
}

/// The places of a law's exponents among its constants.
fn exponents<F: Surface>() -> impl Iterator<Item = usize> {
    let places = F::CONSTANTS.iter().enumerate();
    places
        .filter(|(_, (_, role))| *role == Role::Exponent)
        .map(|(place, _)| place)
}

/// A run off the law of the others.
struct Suspect {
    row: usize,
    /// How far, in robust standard deviations.
    off: f64,
}

/// Takes the worst run out until none is suspect: the clean fit, and the suspects with the worst first; `None`
/// without suspects, or when they are too many or without them there is no law.
fn peel<F: Form<K>, const K: usize>(
    core: &FittedConstants<F, K>,
    suspect_sd: f64,
) -> Option<(FittedConstants<F, K>, Vec<Suspect>)> {
    let count = core.design.rows.len();
    let most = ((SUSPECT_SHARE_MAX * count as f64) as usize).max(1);
    let mut suspects: Vec<usize> = Vec::new();
    loop {
        let rest: Vec<usize> = (0..count).filter(|i| !suspects.contains(i)).collect();
        let fit = FittedConstants::<F, K>::new(without(&core.design, &suspects), Objective::Huber).ok()?;
        let off: Vec<f64> = (0..rest.len()).map(|i| fit.log_residual(i).abs()).collect();
        // Noise-free data have rounding for residuals.
        let sd = statistics::robust_scale(off.clone(), K)?.max(1e-9);
        let worst = (0..off.len()).max_by(|&a, &b| off[a].total_cmp(&off[b]))?;
        if off[worst] <= suspect_sd * sd {
            let measured = |row: usize| {
                let run = &core.design.rows[row];
                let off = (run.loss / fit.law.loss(run.params, run.tokens)).ln().abs() / sd;
                Suspect { row, off }
            };
            let suspects: Vec<Suspect> = suspects.into_iter().map(measured).collect();
            return (!suspects.is_empty()).then_some((fit, suspects));
        }
        suspects.push(rest[worst]);
        if suspects.len() > most {
            return None;
        }
    }
}

/// The design without some of its rows.
pub(crate) fn without(design: &Design, rows: &[usize]) -> Design {
    let mut index = 0;
    design.subset(|_| {
        index += 1;
        !rows.contains(&(index - 1))
    })
}
