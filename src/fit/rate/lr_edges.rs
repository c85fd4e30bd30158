//! Minima at the edge of a grid of learning rates: which edge, what to add there, and whether enough minima are left.
//!
//! Refuses to move a minimum.

use crate::fit::Estimate;
use crate::fit::design::distinct;
use crate::fit::rate::lr_parabola::{Edge, LrGroup};
use crate::units::printed;

/// Sizes with a minimum below which their scatter says nothing of other sizes.
const SIZES_MIN: usize = 3;

/// Why the minima carry no interval; none: they do.
pub(crate) fn no_interval(groups: &[LrGroup]) -> Option<String> {
    let at_edge = groups.iter().filter(|group| group.edge.is_some()).count();
    if is_majority(at_edge, groups.len()) {
        let all = groups.len();
        return Some(format!(
            "{at_edge} of {all} minima lie at the edge of the grid: what the others say has no interval"
        ));
    }
    let sizes = distinct(groups.iter().filter(|it| it.best.is_some()).map(|it| it.params)).len();
    (sizes < SIZES_MIN).then(|| {
        let has = if sizes == 1 { "size has" } else { "sizes have" };
        format!("{sizes} {has} a minimum inside the grid: an interval needs {SIZES_MIN}")
    })
}

/// Whether most of the minima lie at an edge.
pub(crate) fn is_majority(at_edge: usize, groups: usize) -> bool {
    2 * at_edge > groups
}

/// Why the law has no interval where groups whose minimum lies at the edge speak against it; none: they do not.
///
/// Of such a group no more is known than that its best rate lies beyond the middle of the grid's last step. `one_more`: the
/// interval, by the law, of one more best rate at a size and a number of tokens. Where it does not reach that far, the groups
/// that were left out are not like those that entered, and what the latter scatter says nothing of them.
pub(crate) fn contradicted(groups: &[LrGroup], one_more: impl Fn(f64, f64) -> Option<[f64; 2]>) -> Option<String> {
    let at_edge = || groups.iter().filter(|group| group.edge.is_some());
    let speaks_against = |group: &&LrGroup| {
        let reached = one_more(group.params, group.tokens).zip(last_step(group));
        reached.is_some_and(|([low, high], middle)| match group.edge {
            Some(Edge::Low) => low > middle,
            Some(Edge::High | Edge::Stability) => high < middle,
            None => false,
        })
    };
    let count = at_edge().filter(speaks_against).count();
    (count > 0).then(|| {
        format!(
            "{count} of the {} minima at the edge of the grid lie beyond what the others say: the best rate has no interval",
            at_edge().count()
        )
    })
}

/// Why the mean of the best rates has no interval where they move and no law says how far; none: they do not, or one does.
///
/// `exponents`: of the size at equal tokens, of the tokens at equal size.
pub(crate) fn moves_without_law(
    groups: &[LrGroup],
    exponents: [(&str, Option<Estimate>); 2],
    has_law: bool,
) -> Option<String> {
    /// The factor over the sizes or budgets of the grid from which a movement matters.
    const MATTERS: f64 = 1.1;
    let values = [|group: &LrGroup| group.params, |group: &LrGroup| group.tokens];
    exponents.iter().zip(values).filter(|_| !has_law).find_map(|((what, exponent), of)| {
        let exponent = exponent.filter(Estimate::excludes_zero)?.value;
        let all = distinct(groups.iter().filter(|group| group.best.is_some()).map(of));
        let factor = (all.last()? / all.first()?).powf(exponent);
        (factor.ln().abs() > MATTERS.ln()).then(|| {
            format!(
                "the best rate moves with {what} (by a factor of {} over those with a minimum), and fewer than three sizes \
                 or budgets have one: what it is elsewhere has no interval",
                printed(factor, 2)
            )
        })
    })
}

/// The middle of the grid's step at the edge where the minimum lies; none of a grid of one rate.
fn last_step(group: &LrGroup) -> Option<f64> {
    let rates: Vec<f64> = group.points.iter().map(|point| point.0).collect();
    let pair = match group.edge? {
        Edge::Low => rates.first_chunk::<2>()?,
        Edge::High | Edge::Stability => rates.last_chunk::<2>()?,
    };
    Some((pair[0] * pair[1]).sqrt())
}

/// Where minima lie at an edge: which, in how many groups, and which rates to add; none where none does.
pub(crate) fn hit(groups: &[LrGroup]) -> Option<String> {
    let sides = [Edge::Low, Edge::High, Edge::Stability].map(|edge| side(groups, edge));
    let sides: Vec<String> = sides.into_iter().flatten().collect();
    (!sides.is_empty()).then(|| sides.join("; "))
}

fn side(groups: &[LrGroup], edge: Edge) -> Option<String> {
    let here: Vec<&LrGroup> = groups.iter().filter(|group| group.edge == Some(edge)).collect();
    let count = here.len();
    let rates = distinct(here.iter().flat_map(|group| group.points.iter().map(|point| point.0)));
    let (first, last) = (*rates.first()?, *rates.last()?);
    let step = match rates.len() {
        1 => 3.0,
        many => (last / first).powf(1.0 / (many - 1) as f64).max(1.5),
    };
    let two = |from: f64, step: f64| format!("{} and {}", printed(from * step, 2), printed(from * step * step, 2));
    Some(match edge {
        Edge::Low => format!("at the low edge in {count}: add {}", two(first, 1.0 / step)),
        Edge::High => format!("at the high edge in {count}: add {}", two(last, step)),
        Edge::Stability => {
            let cliff = here.iter().filter_map(|group| group.diverged_from).reduce(f64::min)?;
            let (last, cliff) = (printed(last, 2), printed(cliff, 2));
            format!("below the first rate that diverged in {count}: add rates between {last} and {cliff}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(params: f64, edge: Option<Edge>) -> LrGroup {
        LrGroup {
            model: "m".to_owned(),
            params,
            width: 16.0,
            tokens: 1e6,
            points: vec![(1e-3, 3.0), (3e-3, 2.9), (9e-3, 2.8)],
            diverged_from: Some(0.1),
            best: edge.is_none().then_some(3e-3),
            ci95: None,
            loss: None,
            curvature: None,
            edge,
        }
    }

    #[test]
    fn the_edge_that_was_hit_is_named_with_what_to_add() {
        let groups = [
            group(1e4, Some(Edge::High)),
            group(2e4, Some(Edge::High)),
            group(4e4, None),
        ];
        assert_eq!(
            hit(&groups).as_deref(),
            Some("at the high edge in 2: add 0.027 and 0.081")
        );
        let both = [group(1e4, Some(Edge::Low)), group(2e4, Some(Edge::Stability))];
        let words = "at the low edge in 1: add 0.00033 and 0.00011; below the first rate that diverged in 1: add rates \
                     between 0.009 and 0.1";
        assert_eq!(hit(&both).as_deref(), Some(words));
        assert_eq!(hit(&[group(1e4, None)]), None);
    }

    #[test]
    fn minima_at_the_edge_that_the_law_does_not_reach_speak_against_it() {
        let groups = [group(1e4, None), group(2e4, None), group(4e4, Some(Edge::Low))];
        let against = |low: f64, high: f64| contradicted(&groups, |_, _| Some([low, high]));
        // The middle of 0.001 and 0.003.
        assert_eq!(against(0.0017, 0.005), None);
        let words =
            "1 of the 1 minima at the edge of the grid lie beyond what the others say: the best rate has no interval";
        assert_eq!(against(0.0018, 0.005).as_deref(), Some(words));
        assert_eq!(contradicted(&groups[..2], |_, _| Some([1.0, 2.0])), None);
    }

    #[test]
    fn a_rate_that_moves_and_has_no_law_has_no_interval() {
        let groups = [group(1e4, None), group(2e4, None), group(4e4, None)];
        let of_size = |value: f64| {
            let ends = Some([value - 0.01, value + 0.01]);
            Estimate {
                value,
                se: None,
                ci95: ends,
            }
        };
        let why = |value: f64, has_law| {
            moves_without_law(&groups, [("size", Some(of_size(value))), ("tokens", None)], has_law)
        };
        assert!(why(-0.3, false).is_some_and(|why| why.contains("a factor of 0.66")));
        assert_eq!(why(-0.3, true), None, "a law says how far");
        assert_eq!(why(-0.05, false), None, "4 sizes apart that is 7 %");
        assert_eq!(why(0.005, false), None, "it may be zero");
    }

    #[test]
    fn most_minima_at_the_edge_or_two_sizes_carry_no_interval() {
        let inside = |sizes: &[f64]| -> Vec<LrGroup> { sizes.iter().map(|&size| group(size, None)).collect() };
        assert!(no_interval(&inside(&[1e4, 2e4])).is_some());
        let mut groups = inside(&[1e4, 2e4, 4e4]);
        assert_eq!(no_interval(&groups), None);
        groups.extend([1e4, 2e4, 4e4].map(|size| group(size, Some(Edge::Low))));
        assert_eq!(no_interval(&groups), None, "half is no majority");
        groups.push(group(8e4, Some(Edge::Low)));
        assert!(no_interval(&groups).is_some());
    }
}
