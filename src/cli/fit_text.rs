//! How the laws that `sandbox fit` finds are shown to a person.
//!
//! Refuses to find any.

use crate::cli::output::{number, table};
use crate::fit::batch::equal_loss_curves::ReadFrom;
use crate::fit::batch::optimal_batch::Level;
use crate::fit::curve::Score;
use crate::fit::loss::isoflop::Agreement;
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::numeric::power_law::Power;
use crate::fit::rate::learning_rate::LrFit;
use crate::fit::rate::lr_batch::PowerLaw;
use crate::fit::rate::transfer::{Transfer, Verdict};
use crate::fit::{Estimate, Warning};
use crate::run::fit::batch::KeptBatch;
use crate::run::fit::cross_check::CrossCheck;
use crate::run::fit::curves::KeptCurves;
use crate::run::fit::loss::Kept;
use crate::run::fit::lr_batch::KeptLrBatch;
use crate::run::fit::three_term::{KeptThreeTerm, Tried};
use crate::units::{human_count, significant};

pub(super) fn loss_text(kept: &Kept<LossFit>) -> String {
    let law = &kept.law;
    let mut text = format!(
        "fit {} of {}: L(N, D) = E + A/N^alpha + B/D^beta over {} runs ({} left out), {}\n",
        kept.fit,
        kept.source,
        law.n,
        kept.left_out.len(),
        format!("{:?}", law.status).to_lowercase()
    );
    let rows: Vec<Vec<String>> = ["E", "A", "alpha", "B", "beta"]
        .iter()
        .map(|name| row(name, &law.parameters[*name]))
        .chain(
            law.allocation
                .iter()
                .map(|(name, estimate)| row(&format!("optimum: C^{name}"), estimate)),
        )
        .collect();
    text.push_str(&table(&["", "value", "se", "95 % from", "to"], &rows));
    if let Some(held) = &law.hold_out {
        text.push_str(&format!(
            "\nheld out: {} runs above {} {}, predicted to {:.2} %{}",
            held.n,
            human_count(held.above),
            held.by,
            held.mean_abs_rel_error * 100.0,
            held.covered.map_or_else(String::new, |share| format!(
                ", {:.0} % inside the interval",
                share * 100.0
            ))
        ));
    }
    text.push_str(&warnings_text(&law.warnings));
    text
}

pub(super) fn lr_text(kept: &Kept<LrFit>) -> String {
    let law = &kept.law;
    let mut text = format!("fit {}: the best learning rate by size and tokens\n", kept.fit);
    let rows: Vec<Vec<String>> = law
        .groups
        .iter()
        .map(|group| {
            let best = match (group.best, group.edge) {
                (Some(best), _) => format!("{best:.2e}"),
                (None, Some(edge)) => format!("{edge:?} edge of the grid").to_lowercase(),
                (None, None) => "no minimum".to_owned(),
            };
            vec![
                group.model.clone(),
                human_count(group.tokens),
                best,
                group.loss.map_or_else(String::new, |loss| format!("{loss:.4}")),
                group
                    .diverged_from
                    .map_or_else(String::new, |lr| format!("diverges from {lr:.0e}")),
            ]
        })
        .collect();
    text.push_str(&table(&["model", "tokens", "best lr", "loss", ""], &rows));
    text.push('\n');
    let mut rows = vec![row("best lr", &law.best)];
    rows.extend(law.size_exponent.iter().map(|it| row("moves as N^", it)));
    rows.extend(law.token_exponent.iter().map(|it| row("moves as D^", it)));
    text.push_str(&table(&["", "value", "se", "95 % from", "to"], &rows));
    text.push_str(&law.transfer.as_ref().map_or_else(String::new, transfer_text));
    text.push_str(&warnings_text(&law.warnings));
    text
}

fn transfer_text(transfer: &Transfer) -> String {
    let moved = transfer.drift.map_or_else(String::new, |drift| {
        let ends = drift
            .ci95
            .map_or_else(String::new, |[low, high]| format!(" (95 %: {low:.2} to {high:.2})"));
        format!(
            "; from the smallest to the largest width, {}, the best rate changes by ×{:.2}{ends}",
            transfer.compared.words(),
            drift.value
        )
    });
    let verdict = match (transfer.verdict, transfer.verified_to_width) {
        (Verdict::Verified, _) => "verified over all widths".to_owned(),
        (Verdict::Drifts, None) => "it drifts".to_owned(),
        (Verdict::NotKnown, None) => "not known".to_owned(),
        (_, Some(width)) => format!(
            "verified from width {:.0} up to {width:.0}, not beyond",
            transfer.from_width
        ),
    };
    format!("\ntransfer along the width: {verdict}{moved}")
}

pub(super) fn cross_check_text(check: &CrossCheck) -> String {
    format!(
        "\nat equal compute: N_opt ∝ C^{:.3} over {} budgets with a minimum; the law's exponent {}",
        check.exponent.value,
        check.bracketed,
        match check.verdict {
            Agreement::Agrees => "agrees",
            Agreement::Below => "is smaller than that allows",
            Agreement::Above => "is larger than that allows",
            Agreement::NotKnown => "cannot be compared",
        }
    )
}

pub(super) fn three_term_text(kept: &KeptThreeTerm) -> String {
    let law = &kept.three_term;
    let mut text = format!(
        "fit {} of {}: L(N, S, b) = E + A/N^alpha + B/S^beta + G/b^gamma with S = D/b, over {} of {} runs\n",
        kept.fit, kept.source, law.rows, kept.n
    );
    let names = ["E", "A", "alpha", "B", "beta", "G", "gamma"];
    let mut rows: Vec<Vec<String>> = names.iter().map(|name| row(name, &kept.parameters[*name])).collect();
    rows.push(row("best batch: D^", &law.batch_exponent));
    text.push_str(&table(&["", "value", "se", "95 % from", "to"], &rows));
    if let Some(held) = &kept.hold_out {
        text.push_str(&format!(
            "\nheld out: {} runs, predicted to {:.2} %",
            held.n,
            100.0 * held.mean_abs_rel_error
        ));
    }
    text + &warnings_text(&kept.warnings)
}

pub(super) fn tried_text(tried: &[Tried]) -> String {
    let row = |it: &Tried| {
        let error = it.hold_out.as_ref().map(|held| 100.0 * held.mean_abs_rel_error);
        vec![
            it.law.to_owned(),
            error.map_or_else(|| "–".to_owned(), |error| format!("{error:.3} %")),
            it.refused.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = tried.iter().map(row).collect();
    table(&["law", "misses the held-out runs by", ""], &rows)
}

fn row(name: &str, estimate: &Estimate) -> Vec<String> {
    let digits = |value: f64| significant(value, 4).to_string();
    let dash = || "–".to_owned();
    vec![
        name.to_owned(),
        digits(estimate.value),
        estimate.se.map_or_else(dash, digits),
        estimate.ci95.map_or_else(dash, |ends| digits(ends[0])),
        estimate.ci95.map_or_else(dash, |ends| digits(ends[1])),
    ]
}

/// `-3.1 (-4.2 to -2)`.
fn shown(estimate: Option<&Estimate>) -> String {
    match estimate {
        Some(Estimate {
            value,
            ci95: Some([low, high]),
            ..
        }) => format!("{value:.3} ({low:.3} to {high:.3})"),
        Some(estimate) => format!("{:.3}", estimate.value),
        None => "–".to_owned(),
    }
}

pub(super) fn batch_text(kept: &KeptBatch) -> String {
    let from = match kept.read_from {
        ReadFrom::FinalLosses => "final losses of several budgets",
        ReadFrom::TrainingLosses => "training losses along the runs",
    };
    let law = &kept.law;
    let row = |name: &str, power: &Power| {
        vec![
            name.to_owned(),
            significant(power.c, 4).to_string(),
            shown(Some(&power.exponent)),
        ]
    };
    let rows = [row("loss", &law.by_loss), row("tokens", &law.by_tokens)];
    let level = |it: &Level| {
        vec![
            human_count(it.params),
            format!("{:.3}", it.loss),
            human_count(it.batch_tokens),
            human_count(it.tokens),
        ]
    };
    let levels: Vec<Vec<String>> = law.levels.iter().map(level).collect();
    format!(
        "fit {} of {}: the batch that reaches a loss with the fewest tokens\n{} levels of loss, from {from} ({} trials)\n",
        kept.fit,
        kept.source,
        law.levels.len(),
        kept.trials.len()
    ) + &table(&["batch (tokens) by", "c", "exponent"], &rows)
        + "\n"
        + &table(&["params", "loss", "best batch", "tokens"], &levels)
        + &warnings_text(&law.warnings)
}

pub(super) fn lr_batch_text(kept: &KeptLrBatch) -> String {
    let used = kept.groups.iter().filter(|group| group.left_out.is_none()).count();
    let mut text = format!(
        "fit {} of {}: lr = c·N^a·D^b and batch = c·D^b over {} runs, {used} of {} groups\n",
        kept.fit,
        kept.source,
        kept.n,
        kept.groups.len()
    );
    let row = |name: &str, law: &PowerLaw| {
        vec![
            name.to_owned(),
            significant(law.c, 4).to_string(),
            shown(law.n_exponent.as_ref()),
            shown(Some(&law.d_exponent)),
        ]
    };
    let rows = [row("lr", &kept.laws.lr), row("batch (tokens)", &kept.laws.batch)];
    text.push_str(&table(&["", "c", "N^", "D^"], &rows));
    if let Some(law) = &kept.equal_loss {
        text.push_str(&format!(
            "\nat equal loss: batch = c·L^{}, or c·D^{}, from {} levels",
            shown(Some(&law.by_loss.exponent)),
            shown(Some(&law.by_tokens.exponent)),
            law.levels.len()
        ));
    }
    if let Some(regret) = &kept.hold_out {
        text.push_str(&format!(
            "\nheld out: {} groups; the prediction costs {:.3} % of the loss on average, {:.3} % at worst; a constant {:.3} %",
            regret.n,
            100.0 * regret.mean_regret,
            100.0 * regret.max_regret,
            100.0 * regret.constant_regret
        ));
    }
    text + &warnings_text(&kept.warnings)
}

pub(super) fn curves_text(kept: &KeptCurves) -> String {
    let constants: Vec<String> = kept
        .law
        .parameters
        .iter()
        .map(|(name, value)| format!("{name} {}", significant(*value, 5)))
        .collect();
    let row = |kind: &str, score: &Score| {
        vec![
            kind.to_owned(),
            score.name.clone(),
            score.n.to_string(),
            number(Some(score.r2), 4),
            number(Some(score.mae), 4),
            format!("{:.2} %", 100.0 * score.worst),
        ]
    };
    let seen = kept.law.train.iter().map(|score| row("fitted", score));
    let rows: Vec<Vec<String>> = seen
        .chain(kept.predict.iter().map(|score| row("predicted", score)))
        .collect();
    format!("fit {}: {}\n", kept.fit, constants.join(", "))
        + &table(&["", "curve", "rows", "R²", "MAE", "worst"], &rows)
        + &warnings_text(&kept.law.warnings)
}

pub(super) fn warnings_text(warnings: &[Warning]) -> String {
    warnings
        .iter()
        .map(|warning| format!("\nwarning {}: {}", warning.code, warning.text))
        .collect()
}
