//! The figure of the best learning rates: where they lie at each size, and where a law puts them.
//!
//! Refuses to judge transfer: the verdict comes in.

use std::collections::BTreeSet;

use crate::report::axes::{Budgets, log_axis, positive_range};
use crate::report::figures::law_marks::curve;
use crate::report::study::{BestLr, LrBowl, RateLaw, Study, Transfer};
use crate::report::text::{self, number};
use crate::report::view::{Content, FigureView, Ink, Mark, Numbers, Panel, Shape, Stroke};

/// How far budgets at one size stand apart, so that their intervals do not hide each other.
const APART: f64 = 1.035;

/// Best learning rates by size, with the law of them.
pub(crate) fn best_rates(study: &Study<'_>) -> FigureView {
    let bowls: Vec<&LrBowl> = study.bowls.iter().filter(|bowl| bowl.best.is_some()).collect();
    let sizes: BTreeSet<u64> = bowls.iter().map(|bowl| bowl.params).collect();
    let budgets = Budgets::of(bowls.iter().map(|bowl| (bowl.params, bowl.tokens)));
    let panel = if sizes.len() > 1 {
        panel(&bowls, &budgets, study.rates)
    } else {
        None
    };
    let content = panel.map_or_else(
        || Content::Missing("Fewer than two sizes have a best learning rate inside their grid.".to_owned()),
        |panel| Content::Panels(vec![panel]),
    );
    FigureView {
        name: "best-lr",
        title: "Best learning rate by size".to_owned(),
        caption: caption(study.rates, &bowls),
        key: (0..budgets.len())
            .map(|at| (Ink::Kind(at), budgets.title(at)))
            .collect(),
        content,
        omitted: Vec::new(),
    }
}

/// What is said of the intervals of best rates: a parabola through three of them leaves none.
pub(crate) fn intervals<'a>(mut best: impl Iterator<Item = &'a BestLr>) -> &'static str {
    if best.any(|best| best.ci95.is_some()) {
        "with their 95 % intervals"
    } else {
        "(too few rates for intervals)"
    }
}

fn caption(law: Option<&RateLaw<'_>>, bowls: &[&LrBowl]) -> String {
    let mut caption = format!(
        "Diamonds are the best learning rates of a size and budget {}; budgets of one size stand a little apart.",
        intervals(bowls.iter().filter_map(|bowl| bowl.best.as_ref()))
    );
    if let Some(law) = law {
        caption.push_str(&format!(" Lines are the law: {}.", law.formula));
        if let Some(transfer) = &law.transfer {
            caption.push_str(&format!(" {}", verdict(transfer)));
        }
    }
    caption
}

/// The verdict on transfer as a sentence.
pub(crate) fn verdict(transfer: &Transfer) -> String {
    let factor = transfer.drift.map_or_else(String::new, |drift| {
        let interval = transfer.ci95.map_or_else(String::new, |[low, high]| {
            format!(" (95 % interval {} to {})", number(low, 3), number(high, 3))
        });
        format!(": the best rate changes by a factor of {}{interval}", number(drift, 3))
    });
    let widths = format!(
        "from width {} to {} {}",
        transfer.widths[0].round(),
        transfer.widths[1].round(),
        transfer.compared
    );
    let tolerance = number(transfer.tolerance, 2);
    match transfer.verdict.as_str() {
        "verified" => format!("Transfer is verified {widths}{factor}, within {tolerance}."),
        "drifts" => format!("The best rate drifts {widths}{factor}; transfer is not verified."),
        _ => {
            let upto = transfer.verified_to.map_or_else(String::new, |width| {
                format!("; it is verified up to width {}", width.round())
            });
            format!("Whether the rate transfers {widths} is not known within {tolerance}{factor}{upto}.")
        }
    }
}

fn panel(bowls: &[&LrBowl], budgets: &Budgets, law: Option<&RateLaw<'_>>) -> Option<Panel> {
    let mut marks = Vec::new();
    let reach = positive_range(bowls.iter().map(|bowl| bowl.params as f64))?;
    let ends = [reach[0] / 1.3, reach[1] * 1.3];
    if let Some(law) = law {
        let lines = if law.is_constant { 1 } else { budgets.len() };
        for at in 0..lines {
            marks.push(Mark::Line {
                points: curve(ends[0], ends[1], |params| {
                    Some((law.at)(params, budgets.tokens(at, params)))
                }),
                ink: if law.is_constant { Ink::Plain } else { Ink::Kind(at) },
                stroke: Stroke::Law,
                label: law.is_constant.then(|| "constant".to_owned()),
                hover: Some(law.formula.clone()),
            });
        }
    }
    let middle = (budgets.len() as f64 - 1.0) / 2.0;
    for bowl in bowls {
        let (Some(best), Some(at)) = (bowl.best, budgets.index(bowl.params, bowl.tokens)) else {
            continue;
        };
        let x = bowl.params as f64 * APART.powf(at as f64 - middle);
        let label = text::size_label(&bowl.model, bowl.params);
        let hover = format!(
            "{label}, {} tokens\nbest learning rate {}{}\nloss there {}",
            text::count(bowl.tokens as f64),
            number(best.lr, 3),
            best.ci95.map_or_else(String::new, |[low, high]| format!(
                " (95 % interval {} to {})",
                number(low, 3),
                number(high, 3)
            )),
            text::loss(best.loss)
        );
        marks.extend(best.ci95.map(|[low, high]| Mark::Span {
            from: [x, low],
            to: [x, high],
            ink: Ink::Kind(at),
            hover: Some(hover.clone()),
        }));
        marks.push(Mark::Dot {
            at: [x, best.lr],
            ink: Ink::Kind(at),
            shape: Shape::Diamond,
            hover: Some(hover),
        });
    }
    let best = bowls.iter().filter_map(|bowl| bowl.best);
    let rates = positive_range(best.flat_map(|best| best.ci95.unwrap_or([best.lr, best.lr])))?;
    Some(Panel {
        title: String::new(),
        x: log_axis("parameters N", Numbers::Counts, ends),
        y: log_axis(
            "best peak learning rate",
            Numbers::Plain,
            [rates[0] / 1.2, rates[1] * 1.2],
        ),
        marks,
    })
}

/// Where the law puts the best rates of a budget, at the losses of its bowls: a line through the bowls.
pub(crate) fn along(law: Option<&RateLaw<'_>>, bowls: &[LrBowl], budget: usize, budgets: &Budgets) -> Option<Mark> {
    let law = law?;
    let mut of_budget: Vec<&LrBowl> = bowls
        .iter()
        .filter(|bowl| budgets.index(bowl.params, bowl.tokens) == Some(budget))
        .collect();
    of_budget.sort_by_key(|bowl| bowl.params);
    let points: Vec<[f64; 2]> = of_budget
        .iter()
        .filter_map(|bowl| {
            let rate = (law.at)(bowl.params as f64, bowl.tokens as f64);
            Some([rate, bowl.best?.loss])
        })
        .collect();
    (points.len() > 1).then(|| Mark::Line {
        points,
        ink: Ink::Plain,
        stroke: Stroke::Law,
        label: None,
        hover: Some(law.formula.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_names_widths_and_factor() {
        let mut transfer = Transfer {
            verdict: "verified".to_owned(),
            widths: [64.0, 256.0],
            verified_to: Some(256.0),
            compared: "at equal tokens",
            drift: Some(1.04),
            ci95: Some([0.91, 1.18]),
            tolerance: 1.5,
        };
        assert_eq!(
            verdict(&transfer),
            "Transfer is verified from width 64 to 256 at equal tokens: the best rate changes by a factor of 1.04 (95 % \
             interval 0.91 to 1.18), within 1.5."
        );
        transfer.verdict = "not_known".to_owned();
        transfer.verified_to = Some(128.0);
        assert!(
            verdict(&transfer).contains("not known within 1.5"),
            "{}",
            verdict(&transfer)
        );
        assert!(verdict(&transfer).ends_with("verified up to width 128."));
    }
}
