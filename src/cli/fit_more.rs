//! `sandbox fit --law lr-batch|annealing|multi-power`: how these laws are shown.

use crate::cli::output::{number, table};
use crate::fit::curves::Score;
use crate::fit::lr_batch::PowerLaw;
use crate::fit::{Estimate, Warning};
use crate::run::curve_fitting::KeptCurves;
use crate::run::lr_batch_fitting::KeptLrBatch;
use crate::units::significant;

pub(super) fn lr_batch_text(kept: &KeptLrBatch) -> String {
    let used = kept.groups.iter().filter(|group| group.left_out.is_none()).count();
    let mut text = format!(
        "fit {} of {}: lr = c·N^a·D^b and batch = c·D^b over {} runs, {used} of {} groups\n",
        kept.fit,
        kept.source,
        kept.n,
        kept.groups.len()
    );
    let shown = |estimate: Option<&Estimate>| match estimate {
        Some(Estimate {
            value,
            ci95: Some([low, high]),
            ..
        }) => format!("{value:.3} ({low:.3} to {high:.3})"),
        Some(estimate) => format!("{:.3}", estimate.value),
        None => "–".to_owned(),
    };
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
