//! What is read at once stays small: files, and folders. (Functions: `too-many-lines-threshold` in clippy.toml.)

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{is_test, production, sources};

/// The most lines of a file, without its tests.
const LINES_MAX: usize = 500;
/// Files of more lines than this are exceptions.
const LINES_USUAL: usize = 400;
/// So many of them may be.
const EXCEPTIONS: usize = 10;
/// The most files of a folder. The command line has one for each command, and is excepted.
const FILES_MAX: usize = 16;

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let lengths: Vec<(PathBuf, usize)> = sources(Path::new("src"))
        .into_iter()
        .filter(|file| !is_test(file))
        .map(|file| (file.clone(), production(&file).lines().count()))
        .filter(|(_, lines)| *lines > LINES_USUAL)
        .collect();
    let long: Vec<_> = lengths.iter().filter(|(_, lines)| *lines > LINES_MAX).collect();
    assert!(long.is_empty(), "more than {LINES_MAX} lines: {long:?}");
    assert!(
        lengths.len() <= EXCEPTIONS,
        "more than {EXCEPTIONS} files of more than {LINES_USUAL} lines: {lengths:?}"
    );
}

#[test]
fn no_folder_has_too_many_files() {
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for file in sources(Path::new("src")).into_iter().filter(|file| !is_test(file)) {
        *folders
            .entry(file.parent().expect("a file has a folder").to_owned())
            .or_default() += 1;
    }
    let is_full =
        |folder: &Path, files: usize| files > FILES_MAX && folder != Path::new("src/cli") && folder != Path::new("src");
    let full: Vec<_> = folders
        .iter()
        .filter(|(folder, files)| is_full(folder, **files))
        .collect();
    assert!(full.is_empty(), "more than {FILES_MAX} files: {full:?}");
}
