//! What the fuzzers have found worth keeping goes through the readers again: no panic, and every mistake has a place.

use std::path::Path;

use fs_err as fs;
use sandbox::checkpoint::{EXP_AVG, State};

/// The files of a target's corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let files = fs::read_dir(folder).expect("a corpus").flatten();
    let bytes: Vec<Vec<u8>> = files.map(|file| fs::read(file.path()).expect("readable")).collect();
    assert!(bytes.len() > 10, "the corpus of {target} is gone");
    bytes
}

#[test]
fn any_text_is_a_sweep_or_mistakes_with_places() {
    for bytes in corpus("sweep_file") {
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        if let Err(mistakes) = sandbox::spec::read(text, "sweep.yaml", &[]) {
            assert!(!mistakes.is_empty() && mistakes.iter().all(|it| it.line > 0 && it.column > 0));
        }
    }
}

#[test]
fn any_text_of_a_worker_is_lines_and_a_rest_or_a_mistake() {
    for bytes in corpus("worker_lines") {
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        if let Ok((_, used)) = sandbox::protocol::read_lines(text, 1) {
            assert!(!text[used..].contains('\n'));
        }
    }
}

#[test]
fn any_bytes_are_a_state_or_unusable() {
    for bytes in corpus("checkpoint_header") {
        if let Ok(state) = State::read(&bytes) {
            drop(state.floats(EXP_AVG, 2));
        }
    }
}
