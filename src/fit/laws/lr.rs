//! The law of the best learning rate over size and tokens, as it is kept and shown.
//!
//! Refuses to know how its constants are found.

use crate::fit::Warning;
use crate::fit::kept::hash_of;
use crate::fit::law::{About, Data, Fitted, Found, Law, LeftOutForm, Needs, Options, Place, Said};
use crate::fit::rate::learning_rate::{self, LrFit, LrRule};
use crate::fit::rate::lr_parabola::LrGroup;
use crate::fit::rate::transfer::{Transfer, Verdict};
use crate::fit::refusal::Refusal;
use crate::fit::view::{Constant, Rows, View, fact, with_interval};
use crate::units::{human_count, printed};

/// η = c·N^a·D^b, or a constant.
#[derive(Debug)]
pub struct Lr;

impl Law for Lr {
    type Fit = LrFit;
    const ABOUT: About = About {
        name: "lr",
        tells: "the best learning rate over size and tokens, and whether it carries over from narrow to wide",
        formula: "η = c · N^a · D^b",
        source: "Li et al. 2025 (Step Law), arXiv 2503.04715, equation 1",
        limits: "trials of a sweep, one schedule, batch and parametrization",
        needs: Needs::LearningRates,
        beside: None,
        compare: None,
        work_max: None,
        left_out: LeftOutForm::Objects,
    };

    fn fit(data: &Data, _options: &Options<'_>) -> Result<Found<LrFit>, Refusal> {
        let law = learning_rate::fit(&data.rates)?;
        let identity = law.clone();
        let mut found = Found::new(law, &identity, data.left_out.clone());
        found.data_hash = Some(hash_of(&data.rates));
        Ok(found)
    }
}

/// The law in letters, or the constant: `η = 3.1·N^a·D^b with a = -0.2, b = 0.1, at a fixed batch`.
pub fn formula(law: &LrFit) -> String {
    match &law.power {
        Some(power) if !law.is_constant() => format!(
            "\u{3b7} = {}\u{b7}N^a\u{b7}D^b with a = {}, b = {}, {}",
            printed(power.c, 3),
            with_interval(&power.n_exponent),
            with_interval(&power.d_exponent),
            law.tokens_at.words()
        ),
        Some(_) | None => format!("a constant {}", with_interval(&law.best)),
    }
}

impl LrFit {
    /// Whether the best rate is the same everywhere; the rule does not depend on the place.
    pub fn is_constant(&self) -> bool {
        self.predict(1e6, 1e6).by == LrRule::Constant
    }
}

impl Fitted for LrFit {
    fn at(&self, place: Place) -> Option<Said> {
        let found = self.predict(place.params, place.tokens);
        Some(Said {
            lr: Some(found.lr),
            lr_by: Some(found.by),
            ..Said::default()
        })
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn view(&self) -> View {
        let mut constants = vec![Constant::new("best lr", self.best)];
        constants.extend(self.size_exponent.map(|it| Constant::new("moves as N^", it)));
        let over_tokens = format!("moves as D^ {}", self.tokens_at.words());
        constants.extend(self.token_exponent.map(|it| Constant::new(over_tokens, it)));
        View {
            formula: formula(self),
            rests_on: format!("{} of {} groups", self.bracketed, self.groups.len()),
            constants,
            tables: vec![Rows {
                columns: &["model", "tokens", "best lr", "loss", ""],
                rows: self.groups.iter().map(row).collect(),
            }],
            facts: self.transfer.iter().map(transfer).collect(),
            ..View::default()
        }
    }
}

fn row(group: &LrGroup) -> Vec<String> {
    let best = match (group.best, group.edge) {
        (Some(best), _) => format!("{best:.2e}"),
        (None, Some(edge)) => format!("{edge:?} edge of the grid").to_lowercase(),
        (None, None) => "no minimum".to_owned(),
    };
    let diverged = |lr: f64| format!("diverges from {lr:.0e}");
    vec![
        group.model.clone(),
        human_count(group.tokens),
        best,
        group.loss.map_or_else(String::new, |loss| format!("{loss:.4}")),
        group.diverged_from.map_or_else(String::new, diverged),
    ]
}

fn transfer(transfer: &Transfer) -> (String, String) {
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
        (Verdict::Drifts | Verdict::NotKnown, Some(width)) => format!(
            "verified from width {:.0} up to {width:.0}, not beyond",
            transfer.from_width
        ),
    };
    fact("transfer along the width", verdict + &moved)
}
