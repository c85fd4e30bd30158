//! The command that comes next: the last line of each, for people who do not know the way yet.
//!
//! Refuses to know what a command does.

use crate::cli::output::Output;
use crate::run::context::Context;
use crate::run::sweep_set::SweepSet;
use crate::store::Store;
use crate::units::human_count;

/// Parameters of the big run where no sweep names them: MiniCPM's.
const TARGET: f64 = 2.4e9;

/// Says which command comes next, with the flags that were given for the home and the trainer.
pub(super) fn say(context: &Context, output: &Output, command: &str) {
    output.aside(&format!("next: sandbox {command}{}", context.flags));
}

/// After the laws of sweeps: their recipe. A table of anybody's runs has none.
pub(super) async fn recipe(context: &Context, store: &mut Store, sweep: Option<&str>, output: &Output) {
    let Ok(sweeps) = SweepSet::find(store, sweep).await else {
        return;
    };
    let target = sweeps.sweeps().iter().find_map(|row| row.target_params);
    let params = target.map_or(TARGET, |params| params as f64);
    let command = format!("recipe --params {} --sweep {}", human_count(params), sweeps.name());
    say(context, output, &command);
}

/// A word as a shell takes it for one.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./+:,=@%~".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
