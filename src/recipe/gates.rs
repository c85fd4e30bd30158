//! What a recipe has to pass before anybody should pay for it, and which experiment would answer a gate that fails.
//!
//! Refuses to change a number.

use crate::fit::Estimate;
use crate::fit::design::{Extrapolation, SAME_SIZE};
use crate::fit::law::OfLoss;
use crate::fit::rate::learning_rate::LrFit;
use crate::fit::rate::lr_parabola::Edge;
use crate::fit::rate::transfer::{TOLERANCE, Verdict as Transfers};
use crate::model::mup::Parametrization;
use crate::recipe::evidence::{BatchEdges, Evidence};
use crate::recipe::next::Widening;
use crate::recipe::reach::{Reach, RunSize};
use crate::recipe::{Gate, Verdict};
use crate::units::{human_count, significant};

/// The largest held-out error that passes, relative.
const HOLD_OUT_MAX: f64 = 0.01;
/// How many times more activations may change at one width than at another: under muP they do not grow, and with the
/// standard parametrisation they grow fiftyfold over the same widths.
const COORDINATES_MAX: f64 = 1.5;

/// A gate, and what to run if it fails.
pub(super) type Judged = (Gate, Option<Widening>);

/// `tokens`: none where they are withheld; `to_reach`: the run among the proxies that the target would need.
pub(super) fn gates(
    evidence: &Evidence<'_>,
    [params, tokens]: [f64; 2],
    reach: Option<&Reach>,
    to_reach: Option<RunSize>,
) -> Vec<Judged> {
    let is_mup = evidence.proxies.parametrization == Parametrization::Mup;
    let loss = evidence.loss.map(|it| it.1);
    let lr = evidence.lr.map(|it| it.1);
    let beyond = loss.map(|law| law.extrapolation(params, tokens));
    let spanned = |of: fn(&Extrapolation) -> f64, most: fn(&RunSize) -> f64, what: &str| match (&beyond, reach) {
        (Some(beyond), Some(reach)) => (
            of(beyond) <= most(&reach.factors) * (1.0 + SAME_SIZE),
            format!(
                "{} times the {what} that were seen; {}",
                human_count(significant(of(beyond), 3)),
                seen_ahead(most(&reach.factors))
            ),
        ),
        _ => (false, "no law of loss was fitted".to_owned()),
    };
    let BatchEdges { below, above, .. } = evidence.batch_edges;
    // Of a grid whose best batches lie inside, both sides say more.
    let batches = Widening::Batches {
        below: below || !above,
        above: above || !below,
    };
    let sizes = spanned(|it| it.params, |it| it.params, "largest parameters");
    let budgets = match spanned(|it| it.tokens, |it| it.tokens, "most tokens") {
        (false, why) => (
            false,
            to_reach.map_or(why.clone(), |run| format!("{why}; {}", verified_by(run))),
        ),
        passed => passed,
    };
    let gate = |name: &str, (passed, why): (bool, String), next: Option<Widening>| {
        let gate = Gate {
            name: name.to_owned(),
            passed,
            why,
            next: None,
        };
        (gate, next.filter(|_| !passed))
    };
    vec![
        gate("sizes_spanned", sizes, Some(Widening::Sizes)),
        gate("tokens_spanned", budgets, Some(Widening::Tokens)),
        gate("lr_bracketed", bracketed(lr), Some(edges(lr))),
        gate("lr_transfers", transfers(lr, is_mup), Some(more_widths(lr))),
        gate("coordinate_check", coordinates(evidence), None),
        gate("batch_law", batch_law(evidence), Some(batches)),
        gate("hold_out", held_out(loss), Some(Widening::Sizes)),
    ]
}

fn seen_ahead(factor: f64) -> String {
    if factor > 1.0 {
        format!("fits of smaller runs have seen {} times ahead", significant(factor, 2))
    } else {
        "no fit of smaller runs has seen ahead".to_owned()
    }
}

/// The run that would bring a target within what the study vouches for.
fn verified_by(run: RunSize) -> String {
    format!(
        "a proxy of {} parameters on {} tokens ({:.1e} FLOP) would verify the target",
        human_count(significant(run.params, 2)),
        human_count(significant(run.tokens, 2)),
        run.flops
    )
}

fn bracketed(lr: Option<&LrFit>) -> (bool, String) {
    match lr {
        Some(law) => (
            law.at_edge == 0,
            format!(
                "{} minima are bracketed, {} lie at the edge of the grid",
                law.bracketed, law.at_edge
            ),
        ),
        None => (false, "no law of the learning rate was fitted".to_owned()),
    }
}

/// The edges at which minima lie.
fn edges(lr: Option<&LrFit>) -> Widening {
    let at = |edge: Edge| lr.is_none_or(|law| law.groups.iter().any(|group| group.edge == Some(edge)));
    Widening::LearningRates {
        below: at(Edge::Low),
        above: at(Edge::High),
        between: lr.is_some() && at(Edge::Stability),
    }
}

fn transfers(lr: Option<&LrFit>, is_mup: bool) -> (bool, String) {
    let Some(law) = lr else {
        return (false, "no law of the learning rate was fitted".to_owned());
    };
    if !is_mup {
        return (false, "the proxies are not scaled by muP".to_owned());
    }
    let Some(transfer) = law.transfer else {
        return (false, "no minimum is known".to_owned());
    };
    let compared = transfer.compared.words();
    let widths = format!("widths {:.0} to {:.0}, {compared},", law.widths[0], law.widths[1]);
    let moved = match transfer.drift {
        Some(Estimate {
            value,
            ci95: Some([low, high]),
            ..
        }) => format!("over {widths} the best lr changes by ×{value:.2} (95 %: {low:.2} to {high:.2})"),
        Some(Estimate { value, .. }) => {
            format!("over {widths} the best lr changes by ×{value:.2}; too few minima for an interval")
        }
        None => "fewer than two widths have a minimum at equal tokens, or at equal tokens a parameter".to_owned(),
    };
    let limit = format!("; within ×{TOLERANCE} passes");
    let verified = match (transfer.verdict, transfer.verified_to_width) {
        (Transfers::Verified, _) => format!("; verified up to width {:.0}", law.widths[1]),
        (Transfers::Drifts | Transfers::NotKnown, Some(width)) => format!("; verified up to width {width:.0} only"),
        (Transfers::Drifts, None) => "; it drifts".to_owned(),
        (Transfers::NotKnown, None) => "; not known".to_owned(),
    };
    (transfer.verdict == Transfers::Verified, moved + &limit + &verified)
}

/// More widths where there are too few to tell, more seeds where they scatter.
fn more_widths(lr: Option<&LrFit>) -> Widening {
    let scatters = lr.is_some_and(|law| law.transfer.is_some_and(|it| it.drift.is_some()));
    if scatters { Widening::Seeds } else { Widening::Sizes }
}

fn coordinates(evidence: &Evidence<'_>) -> (bool, String) {
    match evidence.coordinates {
        Some(seen) => (
            seen.stream <= COORDINATES_MAX,
            format!(
                "over widths {} to {} the change of the activations differs by ×{:.2}; ×{COORDINATES_MAX} at most",
                seen.widths[0], seen.widths[1], seen.stream
            ),
        ),
        None => (
            false,
            "not measured with this build: `sandbox bench --coordinates` does it in seconds".to_owned(),
        ),
    }
}

fn batch_law(evidence: &Evidence<'_>) -> (bool, String) {
    if let Some((_, law)) = evidence.lr_batch {
        let held = law.hold_out.as_ref();
        let regret = held.map_or_else(
            || "; no group could be held out".to_owned(),
            |it| {
                format!(
                    "; held out, it costs {:.2} % of the loss, a constant {:.2} %",
                    100.0 * it.mean_regret,
                    100.0 * it.constant_regret
                )
            },
        );
        let exponent = law.batch.d_exponent.value;
        let is_better = held.is_some_and(|it| it.mean_regret <= it.constant_regret);
        return (is_better, format!("the best batch grows as D^{exponent:.2}{regret}"));
    }
    if let Some(equal) = &evidence.equal_loss {
        let law = &equal.law;
        let text = format!(
            "{} levels of equal loss have a minimum, {} do not; the best batch grows as D^{:.2}",
            law.levels.len(),
            law.not_bracketed,
            law.by_tokens.exponent.value
        );
        return (law.not_bracketed == 0, text);
    }
    let why = evidence
        .batch_refused
        .as_deref()
        .unwrap_or("one batch size says nothing");
    let tried = match evidence.batches {
        1 => "1 batch size was".to_owned(),
        more => format!("{more} batch sizes were"),
    };
    let edges = evidence.batch_edges;
    let shorter = if edges.below && edges.is_one_sequence {
        "; no smaller batch is whole sequences: shorten the context to try one"
    } else {
        ""
    };
    (
        false,
        format!("{tried} tried, the law of the batch was refused: {why}{shorter}"),
    )
}

fn held_out(loss: Option<&dyn OfLoss>) -> (bool, String) {
    match loss.and_then(|law| law.hold_out()) {
        Some(held) => {
            let error = held.mean_abs_rel_error;
            let text = format!(
                "the largest size was predicted to {:.2} % from the others; {:.0} % at most",
                error * 100.0,
                HOLD_OUT_MAX * 100.0
            );
            (error <= HOLD_OUT_MAX, text)
        }
        None => (false, "too few sizes to hold one out".to_owned()),
    }
}

/// How much of a recipe its gates verify.
pub(super) fn verdict(gates: &[Gate]) -> Verdict {
    let passed = |name: &str| gates.iter().any(|gate| gate.name == name && gate.passed);
    if gates.iter().all(|gate| gate.passed) {
        Verdict::Verified
    } else if passed("sizes_spanned") && passed("lr_bracketed") {
        Verdict::Partly
    } else {
        Verdict::Unverified
    }
}
