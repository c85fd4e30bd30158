//! How a test says that this machine cannot run it. It does not know why; the list of reasons is `allowed-skips.txt`.
//!
//! Everywhere a skip prints its reason. Where `SANDBOX_STRICT=1` (`.ci/run` sets it) a skip that is not on the list is
//! a failure, so that a test cannot fall asleep unseen. `#[ignore]` is not used: it would say nothing there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;

/// One line a test, `name: reason`; lines that begin with `#` are comments.
const ALLOWED: &str = include_str!("../allowed-skips.txt");

/// Says that the test `name` is skipped and why; to be followed by `return`.
#[expect(
    clippy::disallowed_methods,
    reason = "the one switch of the tests lives in the environment"
)]
#[expect(clippy::panic, reason = "a failing test panics")]
#[expect(clippy::print_stderr, reason = "a skip is to be seen")]
pub(crate) fn skip(name: &str, reason: &str) {
    let strict = std::env::var("SANDBOX_STRICT").is_ok_and(|value| value == "1");
    if let Err(why) = verdict(name, strict, ALLOWED) {
        panic!("{why} (it says: {reason})");
    }
    eprintln!("skipped {name}: {reason}");
}

fn verdict(name: &str, strict: bool, list: &str) -> Result<(), String> {
    if !strict || allowed(list)?.contains_key(name) {
        return Ok(());
    }
    Err(format!("`{name}` skips, and tests/allowed-skips.txt does not name it"))
}

fn allowed(list: &str) -> Result<BTreeMap<&str, &str>, String> {
    let entries = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    entries
        .map(|line| match line.split_once(": ") {
            Some((name, reason)) if !reason.trim().is_empty() => Ok((name.trim(), reason.trim())),
            Some(_) | None => Err(format!(
                "allowed-skips.txt: `{line}` gives no reason; write `name: reason`"
            )),
        })
        .collect()
}

/// Every Rust file below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of this checkout") {
        let path = entry.expect("a folder of this checkout").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_strict_run_lets_only_the_listed_tests_skip() {
    let list = "# why not\nneeds_a_card: the machines of the checks have none\n";
    assert_eq!(verdict("needs_a_card", true, list), Ok(()));
    assert!(verdict("another", true, list).unwrap_err().contains("`another` skips"));
    assert_eq!(verdict("another", false, list), Ok(()));
}

#[test]
fn an_allowed_skip_without_a_reason_is_refused() {
    for bare in ["needs_a_card", "needs_a_card:", "needs_a_card:  "] {
        assert!(allowed(bare).unwrap_err().contains("no reason"), "{bare}");
    }
}

#[test]
fn every_allowed_skip_is_of_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| sources(&root.join(folder)))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for name in allowed(ALLOWED).unwrap().into_keys() {
        let function = name.rsplit("::").next().unwrap_or(name);
        assert!(
            code.contains(&format!("fn {function}(")),
            "allowed-skips.txt names `{name}`, which is no test"
        );
    }
}

#[test]
fn no_test_is_ignored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // In two halves, or this file would find itself.
    let attribute = concat!("#[", "ignore");
    for file in ["src", "tests"].iter().flat_map(|folder| sources(&root.join(folder))) {
        let text = fs::read_to_string(&file).unwrap();
        let ignored = text.lines().any(|line| line.trim_start().starts_with(attribute));
        assert!(!ignored, "{} ignores a test: let it call `skip`", file.display());
    }
}
