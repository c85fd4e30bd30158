//! A world of its own for each test: a folder, a home in it, and the real program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use serde_json::Value;

/// A folder that is gone after the test.
pub(crate) struct World {
    folder: tempfile::TempDir,
}

/// What the program did.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The one JSON value on stdout.
    pub(crate) fn json(&self) -> Value {
        let value = serde_json::from_str(&self.stdout);
        assert!(
            value.is_ok(),
            "no JSON: stdout `{}` stderr `{}`",
            self.stdout,
            self.stderr
        );
        value.unwrap_or_default()
    }

    /// The same, of a run that must have succeeded.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.code, 0, "stdout {} stderr {}", self.stdout, self.stderr);
        self.json()
    }

    /// The code of the error that the program printed as JSON.
    pub(crate) fn error(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .expect("an error has a code")
            .to_owned()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("created");
        fs::write(&path, text).expect("written");
        path
    }

    /// The program, in this world and its home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.command_typed(args);
        command.arg("--home").arg(self.home());
        command
    }

    /// The program in this world, asked for nothing but this, with nothing of the user's environment that it listens to.
    fn command_typed(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        command
            .current_dir(self.folder.path())
            .args(args)
            .env_remove("SANDBOX_HOME")
            .env_remove("SANDBOX_DB")
            .env_remove("SANDBOX_TOKEN");
        command.env("COLUMNS", "100");
        command
    }

    /// Runs the program with these arguments alone.
    pub(crate) fn run_typed(&self, args: &[&str]) -> Ran {
        ran(&self.command_typed(args).output().expect("the program starts"))
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        ran(&self.command(args).output().expect("the program starts"))
    }

    /// Prepares some text under the name `text`.
    pub(crate) fn prepare_text(&self) {
        for index in 0..60 {
            self.write(&format!("corpus/{index:02}.txt"), &document(index));
        }
        let corpus = self.path("corpus");
        let corpus = corpus.to_str().expect("a path is text");
        self.run(&[
            "data",
            "prepare",
            corpus,
            "--name",
            "text",
            "--tokenizer",
            "byte",
            "--held-out",
            "10%",
            "--json",
        ])
        .ok();
    }

    /// The digest of a finished sweep, whose database is sound.
    #[cfg(feature = "torch")]
    pub(crate) fn digest(&self) -> Value {
        let check = self.run(&["db", "check", "--json"]);
        assert_eq!(check.code, 0, "{}", check.stdout);
        self.run(&["db", "digest", "--json"]).ok()["digest"].clone()
    }

    /// Every file of the home with its size: what must not change when something is refused.
    pub(crate) fn files(&self) -> Vec<(PathBuf, u64)> {
        fn walk(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => walk(&path, found),
                    Ok(meta) => found.push((path, meta.len())),
                    Err(_) => {}
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.home(), &mut found);
        found.sort();
        found
    }
}

pub(crate) fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Text that a small model can learn something of: sentences of a few words, another order in every document.
fn document(index: usize) -> String {
    const WORDS: [&str; 16] = [
        "the", "model", "learns", "a", "small", "law", "from", "many", "runs", "and", "says", "how", "sure", "it",
        "is", "now",
    ];
    let mut state = index as u64 * 7919 + 17;
    let mut text = String::new();
    for place in 0..400 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 33) as usize % WORDS.len()]);
        text.push(if place % 9 == 8 { '\n' } else { ' ' });
    }
    text
}
