//! How sets and cuts of an audit are called.

use crate::fit::audit::CutAudit;
use crate::report::text::{self, number};

/// The name of a file without its folders, where that says which file it is; else with the last of them.
pub fn short(source: &str) -> &str {
    let Some((folders, file)) = source.rsplit_once('/') else {
        return source;
    };
    if file.starts_with("trials.") {
        let from = folders.rfind('/').map_or(0, |at| at + 1);
        return &source[from..];
    }
    file
}

/// `800M parameters`, `1.2e20 FLOP`.
pub fn cut_value(cut: &CutAudit) -> String {
    if cut.by == "flops" {
        format!("{} FLOP", number(cut.at, 3))
    } else {
        format!("{} parameters", text::count(cut.at))
    }
}
