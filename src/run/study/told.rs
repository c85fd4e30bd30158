//! The story of a study for its page.
//!
//! Refuses to draw.

use crate::campaign::decide::amount;
use crate::campaign::state::Made;
use crate::report::story::{self, Chapter};
use crate::report::view::Table;
use crate::run::failure::Failure;
use crate::spec::study_file::{self, Unit};
use crate::store::Store;
use crate::units::human_seconds;

/// What a page tells of a study.
pub(in crate::run) struct Told {
    /// What it asks, in the words of its file.
    pub(in crate::run) question: Option<String>,
    pub(in crate::run) table: Table,
}

/// The story of a study; none: there is no study of that name.
pub(in crate::run) async fn story(store: &mut Store, name: &str) -> Result<Option<Told>, Failure> {
    let Some(row) = store.study(name).await? else {
        return Ok(None);
    };
    let made = store.decisions(name).await?;
    let file = study_file::read(&row.spec, name).ok();
    Ok(Some(Told {
        question: file.and_then(|(study, _)| study.description),
        table: story::table(made.iter().map(chapter).collect()),
    }))
}

fn chapter(made: &Made) -> Chapter {
    let cost = match made.cost.trials {
        0 => String::new(),
        trials => format!(
            "{trials} trials, {}, about {}",
            amount(made.cost.tokens as f64, Unit::Tokens),
            human_seconds(made.cost.seconds)
        ),
    };
    Chapter {
        question: made.question.clone(),
        answer: made.outcome.clone().unwrap_or_else(|| "not done yet".to_owned()),
        evidence: format!("{}. {}", made.what, made.why),
        cost,
    }
}
