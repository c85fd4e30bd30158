//! What was asked: sweep files, read and expanded into trials.
//!
//! Refuses to know what a trial costs and whether it has run.

mod axes;
mod expand;
mod kind;
pub mod profile;
mod read;
pub mod resolve;
mod settings;
pub mod study_file;
mod sweep;
pub mod syntax;
#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what was written is what must come out, bit for bit")]
mod tests;

use std::path::Path;

pub use crate::spec::axes::{AxisHelp, setup};
pub use crate::spec::settings::{ScheduleName, ScheduleSettings, Settings};
pub use crate::spec::sweep::{Budget, DEFAULT_RETRIES, Resources, Sweep, TrialSpec};
use crate::spec::syntax::mistakes::{Findings, Mistake, Note, Place, Wrong};
use crate::spec::syntax::{edit, tree};

/// Refuses a name that no sweep could have; says what one looks like.
pub fn check_name(name: &str) -> Result<(), String> {
    match kind::read_name(name) {
        // `last` means the newest.
        Ok(name) if name == "last" => Err("`last` is no name: it means the newest".to_owned()),
        Ok(_) => Ok(()),
        Err(wrong) => Err(wrong.message),
    }
}

/// The commented sweep that `sandbox init` writes.
pub const TEMPLATE: &str = include_str!("template.yaml");

/// Every axis of a sweep, in the order of the table.
pub fn axes() -> Vec<AxisHelp> {
    axes::help(&resolve::of_template())
}

/// The axis that other programs call so: `learning_rate` is `lr`.
pub fn axis_called_elsewhere(name: &str) -> Option<&'static str> {
    axes::called_elsewhere(name)
}

/// The paths of the axes that say how WSD decays.
pub fn axes_of_decay() -> Vec<&'static str> {
    axes::of_decay(&resolve::of_template())
}

/// Reads the sweep in `text`, with the `--set` arguments put over it.
///
/// `file` is how the caller names the file; its stem names the sweep if the file does not. Gives the sweep with notes
/// on what means nothing, or all mistakes at once, in the order of the file.
pub fn read(text: &str, file: &str, sets: &[String]) -> Result<(Sweep, Vec<Note>), Vec<Mistake>> {
    let mut findings = Findings::new(file, sets);
    let sweep = read_sweep(text, file, sets, &mut findings);
    findings.conclude(sweep)
}

fn read_sweep(text: &str, file: &str, sets: &[String], findings: &mut Findings) -> Option<Sweep> {
    let root = tree::parse(text, None, findings);
    if findings.count() > 0 && root.is_none() {
        return None;
    }
    let Some(mut root) = root.filter(|root| !root.is_null()) else {
        let wrong = Wrong::new("the file is empty; `sandbox init` writes a sweep to start from");
        findings.mistake(Place::START, "", wrong);
        return None;
    };
    edit::apply(&mut root, sets, findings);
    let stem = Path::new(file)
        .file_stem()
        .map_or_else(|| "sweep".into(), |stem| stem.to_string_lossy());
    let draft = read::draft(&root, &stem, findings)?;
    let (trials, axes) = expand::expand(&draft, findings)?;
    Some(Sweep {
        name: draft.name,
        description: draft.description,
        trials,
        axes,
        run_cap: draft.run_cap,
        budget: draft.budget,
        retry: draft.retry,
        resources: draft.resources,
        target: draft.target,
    })
}
