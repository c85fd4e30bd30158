//! The shape of the code, checked like any other behaviour: floors, guarded crates, first lines, circles, sizes.

mod circles;
mod sizes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;

/// Every module, the floor it stands on, and the outside crates that it alone may name.
///
/// A module may import only modules of a lower floor; two modules of one floor never meet.
const FLOORS: &[(&str, u8, &[&str])] = &[
    ("setup", 0, &[]),
    ("units", 0, &[]),
    ("words", 0, &[]),
    ("checkpoint", 1, &["safetensors"]),
    ("fault", 1, &[]),
    ("model", 1, &[]),
    ("stage", 1, &[]),
    ("tensorboard", 1, &[]),
    ("fit", 2, &[]),
    ("hugging_face", 2, &["safetensors"]),
    ("spec", 2, &[]),
    ("protocol", 2, &[]),
    ("plan", 3, &[]),
    ("recipe", 3, &[]),
    ("mailbox", 3, &[]),
    ("record", 3, &[]),
    ("queue", 4, &[]),
    ("sched", 4, &[]),
    ("study", 4, &[]),
    ("campaign", 5, &[]),
    ("report", 5, &[]),
    ("card", 6, &[]),
    ("packed", 6, &["flate2", "zstd"]),
    ("workdir", 6, &["fs_err"]),
    ("data", 7, &["fs_err", "memmap2", "polars", "tokenizers"]),
    ("worker_mailbox", 7, &["clap", "fs_err", "tokio"]),
    ("draw", 8, &["plotters"]),
    ("exec", 8, &["fs_err", "tokio"]),
    ("store", 8, &["sqlx"]),
    (
        "tables",
        8,
        &["polars", "polars_arrow", "polars_buffer", "polars_parquet"],
    ),
    ("train", 8, &["clap", "fs_err", "gemm", "rayon", "tch"]),
    ("run", 9, &["fs_err", "tokio"]),
    ("live", 10, &["axum", "fs_err", "tokio"]),
    ("cli", 11, &["clap", "fs_err", "indicatif", "tokio"]),
];

/// Outside crates that are not for everyone.
const GUARDED: &[&str] = &[
    "anyhow",
    "axum",
    "clap",
    "flate2",
    "fs_err",
    "gemm",
    "indicatif",
    "memmap2",
    "plotters",
    "polars",
    "polars_arrow",
    "polars_buffer",
    "polars_parquet",
    "rayon",
    "safetensors",
    "sqlx",
    "tch",
    "tokenizers",
    "tokio",
    "zstd",
];

/// What the pure floors must not touch: the world.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::net",
    "SystemTime",
    "Instant::now",
    "async fn",
];
/// Below this floor everything is pure.
const SHELL: u8 = 6;

#[test]
fn imports_go_down_only() {
    let floor: BTreeMap<&str, u8> = FLOORS.iter().map(|&(name, floor, _)| (name, floor)).collect();
    let mut wrong = Vec::new();
    for &(module, own, may) in FLOORS {
        let files = sources(&Path::new("src").join(module));
        assert!(!files.is_empty(), "{module} has a floor but no source");
        // The worker is a crate of its own: to it, the library is `sandbox::`, and `crate::` is itself.
        let library = if module == "train" { "sandbox::" } else { "crate::" };
        for file in files.into_iter().filter(|file| !is_test(file)) {
            let text = production(&file);
            for (line, used) in names_after(&text, library) {
                let other = floor.get(used.as_str()).copied();
                if used != module && other.is_none_or(|other| own <= other) {
                    wrong.push(format!("{}:{line}: {module} must not import {used}", file.display()));
                }
            }
            for (line, _) in names_after(&text, "super::super::") {
                wrong.push(format!(
                    "{}:{line}: name it from the crate, not by climbing",
                    file.display()
                ));
            }
            for guarded in GUARDED.iter().filter(|name| !may.contains(name)) {
                for (line, _) in names_after(&text, &format!("{guarded}::")) {
                    wrong.push(format!("{}:{line}: {module} must not name {guarded}", file.display()));
                }
            }
            if own < SHELL {
                let touched = IMPURE.iter().filter(|word| code(&text).contains(**word));
                wrong.extend(touched.map(|word| format!("{}: {module} is pure, no {word}", file.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_stands_on_a_floor() {
    let known: Vec<&str> = FLOORS.iter().map(|&(name, _, _)| name).collect();
    let homeless: Vec<PathBuf> = sources(Path::new("src"))
        .into_iter()
        .filter(|file| {
            let top = file.components().nth(1).expect("a source lies under src");
            let name = Path::new(top.as_os_str()).file_stem().expect("a source has a name");
            !known.iter().any(|known| name == *known) && !["lib", "main", "tests"].iter().any(|root| name == *root)
        })
        .collect();
    assert!(homeless.is_empty(), "give these a row in FLOORS: {homeless:?}");
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<PathBuf> = sources(Path::new("src"))
        .into_iter()
        .filter(|file| !fs::read_to_string(file).is_ok_and(|text| text.starts_with("//! ")))
        .collect();
    assert!(silent.is_empty(), "no //! on the first line of {silent:?}");
}

/// Whether a file holds nothing but tests, which may touch the world.
fn is_test(file: &Path) -> bool {
    file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests")
}

/// The text of a file up to its inline tests.
fn production(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a listed file can be read");
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

/// A text without its comments.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The `.rs` files of a module, be it one file or a folder, in a stable order.
fn sources(module: &Path) -> Vec<PathBuf> {
    let file = module.with_extension("rs");
    let mut found = if file.is_file() { vec![file] } else { Vec::new() };
    if module.is_dir() {
        for entry in fs::read_dir(module).expect("a source folder can be listed") {
            let path = entry.expect("a folder entry can be read").path();
            if path.is_dir() {
                found.extend(sources(&path));
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The identifiers that follow `prefix` in code lines, with their line numbers.
fn names_after(text: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices(prefix) {
            // `::tch::` is a path from the root, not the tail of another; anything else before it makes it a tail.
            let before = &code[..at];
            let rooted = before.ends_with("::")
                && !before[..before.len() - 2].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if rooted || !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                let rest = code[at + prefix.len()..].chars();
                found.push((
                    index + 1,
                    rest.take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
                ));
            }
        }
    }
    found
}

#[test]
fn a_path_from_the_root_is_seen_too() {
    assert_eq!(names_after("let x = ::tch::Tensor;", "tch::").len(), 1);
    assert_eq!(names_after("use tch::Tensor;", "tch::").len(), 1);
    assert_eq!(names_after("use sandbox::tch::Tensor; // tch::x", "tch::").len(), 0);
}

#[test]
fn every_warning_of_a_fit_is_in_the_readme() {
    let readme = fs::read_to_string("README.md").expect("a README");
    let mut codes = Vec::new();
    for file in sources(Path::new("src/fit"))
        .into_iter()
        .chain(sources(Path::new("src/recipe")))
    {
        let text = production(&file);
        for (at, _) in text.match_indices("Warning::new(").chain(text.match_indices("warn(\"")) {
            // The code is the first text in the call; a variable has none.
            let call: String = text[at..].chars().take(80).collect();
            let code = call.split('"').nth(1).unwrap_or_default();
            if !code.is_empty() && code.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                codes.push(code.to_owned());
            }
        }
    }
    assert!(codes.len() > 15, "{codes:?}");
    let missing: Vec<&String> = codes
        .iter()
        .filter(|code| !readme.contains(&format!("`{code}`")))
        .collect();
    assert!(missing.is_empty(), "say in README.md what these mean: {missing:?}");
}
