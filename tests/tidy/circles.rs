//! No circle of imports: of two files of one room, at most one imports the other, however long the way round.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{is_test, production, sources};

/// The path of a module from the root of the sources: `["fit", "loss", "hold_out"]`.
type Module = Vec<String>;

/// Which modules of its own room each module imports.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let files: BTreeMap<Module, PathBuf> = sources(Path::new("src"))
        .into_iter()
        .filter(|file| !is_test(file))
        .map(|file| (module_of(&file), file))
        .collect();
    let imports = imports(files.keys(), |module| production(&files[module]));
    let circles = circles(&imports);
    assert!(circles.is_empty(), "these import each other: {circles:#?}");
}

#[test]
fn a_circle_of_three_is_seen() {
    let text = |module: &Module| match module.last().map(String::as_str) {
        Some("a") => "use crate::room::b::{B, C};".to_owned(),
        Some("b") => "use super::c;".to_owned(),
        Some("c") => "use crate::room::{a::A, Root};".to_owned(),
        Some("d") => "use crate::room::a; // crate::room::d".to_owned(),
        _ => "pub mod a; pub mod b; pub mod c; pub mod d;".to_owned(),
    };
    let modules: Vec<Module> = ["room", "room::a", "room::b", "room::c", "room::d"].map(parts).to_vec();
    let found = circles(&imports(modules.iter(), text));
    assert_eq!(found, [["room::a", "room::b", "room::c"].map(parts).to_vec()]);
}

fn parts(path: &str) -> Module {
    path.split("::").map(str::to_owned).collect()
}

fn module_of(file: &Path) -> Module {
    let inside = file
        .strip_prefix("src")
        .expect("a source lies under src")
        .with_extension("");
    let mut parts: Module = inside
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let is_root = |parts: &Module| *parts == ["train", "main"] || parts.last().is_some_and(|last| last == "mod");
    if is_root(&parts) {
        parts.pop();
    }
    parts
}

fn imports<'a>(modules: impl Iterator<Item = &'a Module> + Clone, text: impl Fn(&Module) -> String) -> Imports {
    let known: BTreeSet<&Module> = modules.clone().collect();
    let of = |module: &Module| {
        let named = paths(&text(module), module);
        let files = named.into_iter().filter_map(|mut path| {
            while !path.is_empty() && !known.contains(&path) {
                path.pop();
            }
            (path.first() == module.first() && path != *module).then_some(path)
        });
        (module.clone(), files.collect())
    };
    modules.map(of).collect()
}

/// Every path in a text that begins with `crate::` or `super::`, from the root of the sources; groups are taken apart.
fn paths(text: &str, module: &Module) -> Vec<Module> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    // The worker is a crate of its own, whose root is `train`.
    let root: Module = module.iter().take(1).filter(|room| *room == "train").cloned().collect();
    let parent = module[..module.len() - 1].to_vec();
    let mut found = Vec::new();
    for (prefix, base) in [("crate::", &root), ("super::", &parent)] {
        for (at, _) in code.match_indices(prefix) {
            if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                tree(&code[at + prefix.len()..], base, &mut found);
            }
        }
    }
    found
}

/// Reads `a::b`, or `a::{b, c::{d}}`, and what of the text follows it.
fn tree<'a>(text: &'a str, base: &Module, found: &mut Vec<Module>) -> &'a str {
    let mut path = base.clone();
    let mut rest = text.trim_start();
    loop {
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        path.extend((end > 0).then(|| rest[..end].to_owned()));
        rest = &rest[end..];
        let Some(deeper) = rest.strip_prefix("::") else { break };
        rest = deeper;
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = tree(group, &path, found).trim_start();
                match group.strip_prefix(',') {
                    Some(more) => group = more,
                    None => return group.strip_prefix('}').unwrap_or(group),
                }
            }
        }
    }
    found.push(path);
    // `name as other`, up to the end of this member of a group.
    rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_' || c == ' ' || c == '*')
}

/// The sets of modules of which each reaches every other.
fn circles(imports: &Imports) -> Vec<Vec<Module>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> = imports
        .keys()
        .map(|module| (module, reached(imports, module)))
        .collect();
    let mut found = BTreeSet::new();
    for (module, reached) in &reach {
        if reached.contains(module) {
            let circle = reached.iter().filter(|other| reach[**other].contains(module));
            found.insert(circle.map(|other| (*other).clone()).collect::<Vec<_>>());
        }
    }
    found.into_iter().collect()
}

fn reached<'a>(imports: &'a Imports, from: &Module) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Module> = imports[from].iter().collect();
    while let Some(module) = open.pop() {
        if found.insert(module) {
            open.extend(&imports[module]);
        }
    }
    found
}
