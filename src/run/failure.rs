//! The one shape in which anything that went wrong reaches the user: a code, a sentence, a way out.

use serde::Serialize;

use crate::exec::WorkersError;
use crate::exec::pool::PoolError;
use crate::spec::syntax::expressions::ExprError;
use crate::spec::syntax::mistakes::Mistake;
use crate::store::StoreError;
use crate::workdir::WorkdirError;

/// Exit codes (the contract of the command line).
pub mod exit {
    pub const INTERNAL: u8 = 1;
    /// Usage, invalid file, bad data.
    pub const INVALID: u8 = 2;
    /// Finished, some trials failed.
    pub const SOME_FAILED: u8 = 3;
    /// Fit, prediction or recipe refused.
    pub const REFUSED: u8 = 4;
    /// Another process holds the home.
    pub const HELD: u8 = 5;
    /// Disk full, no permission, damaged file, network file system, missing program.
    pub const ENVIRONMENT: u8 = 6;
    /// Stopped at a limit.
    pub const LIMIT: u8 = 7;
    /// Clean stop on SIGINT.
    pub const SIGINT: u8 = 130;
    /// Clean stop on SIGTERM.
    pub const SIGTERM: u8 = 143;
}

/// The code of a full disk.
const DISK_FULL: &str = "disk_full";
/// What to do about one.
const FREE_SPACE: &str =
    "free some space (`sandbox gc` removes what nothing needs), then run the same command again: nothing is lost";

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct At {
    /// The file, or `--set`.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The key that it is about.
    pub key: String,
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl From<Mistake> for At {
    fn from(mistake: Mistake) -> Self {
        Self {
            file: mistake.file,
            line: mistake.line,
            column: mistake.column,
            key: mistake.key,
            message: mistake.message,
            suggestion: mistake.suggestion,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub code: &'static str,
    /// One sentence, lower case, without a full stop.
    pub message: String,
    pub hints: Vec<String>,
    /// The mistakes of a file, one by one.
    pub at: Vec<At>,
    /// Sweep files that would mend it, in the order in which to run them; the hints name them.
    #[serde(skip)]
    pub next: Vec<String>,
    #[serde(skip)]
    pub exit: u8,
}

impl Failure {
    /// A failure with a hint.
    pub fn new(exit: u8, code: &'static str, message: impl Into<String>, hint: &str) -> Self {
        let hints = if hint.is_empty() {
            Vec::new()
        } else {
            vec![hint.to_owned()]
        };
        Self {
            code,
            message: message.into(),
            hints,
            at: Vec::new(),
            next: Vec::new(),
            exit,
        }
    }

    pub fn invalid(code: &'static str, message: impl Into<String>, hint: &str) -> Self {
        Self::new(exit::INVALID, code, message, hint)
    }

    pub fn environment(code: &'static str, message: impl Into<String>, hint: &str) -> Self {
        Self::new(exit::ENVIRONMENT, code, message, hint)
    }

    /// A sweep that this home does not know.
    pub fn unknown_sweep(name: &str, known: &[String]) -> Self {
        let nearest = known
            .iter()
            .map(|other| (strsim::jaro_winkler(name, other), other))
            .filter(|(score, _)| *score > 0.7)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match nearest {
            Some((_, other)) => format!("did you mean `{other}`?"),
            None if known.is_empty() => "nothing was run here yet: `sandbox run FILE`".to_owned(),
            None => format!("there are: {}", known.join(", ")),
        };
        Self::invalid(
            "unknown_sweep",
            format!("there is no sweep `{name}` in this home"),
            &hint,
        )
    }

    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        self.code == DISK_FULL
    }

    /// A law or a recipe that the data cannot carry.
    pub fn refused(code: &'static str, message: impl Into<String>, hint: &str) -> Self {
        Self::new(exit::REFUSED, code, message, hint)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let (code, hint) = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => (DISK_FULL, FREE_SPACE),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => (
                "no_permission",
                "choose a folder that you can write to with `--home DIR`",
            ),
            std::io::ErrorKind::NotFound => ("missing_file", ""),
            _ => ("io", ""),
        };
        Self::environment(code, error.to_string(), hint)
    }
}

impl From<ExprError> for Failure {
    /// The condition of `--where` cannot be read.
    fn from(error: ExprError) -> Self {
        let hint = error.suggestion.map(|word| format!("try: {word}"));
        let message = format!("--where, column {}: {}", error.column, error.message);
        Self::invalid("invalid_where", message, &hint.unwrap_or_default())
    }
}

impl From<WorkdirError> for Failure {
    fn from(error: WorkdirError) -> Self {
        match error {
            WorkdirError::Held { .. } => Self::new(
                exit::HELD,
                "home_held",
                error.to_string(),
                "wait for it, stop it, or use another home with `--home DIR`",
            ),
            WorkdirError::Io(error) => error.into(),
        }
    }
}

impl From<WorkersError> for Failure {
    fn from(error: WorkersError) -> Self {
        let message = error.to_string();
        match error {
            WorkersError::NoProgram { .. } => Self::environment(
                "no_worker",
                message,
                "build it with `make build`; `sandbox doctor` tells more",
            ),
            WorkersError::Io(error) => error.into(),
            WorkersError::Cluster {
                error: PoolError::Superseded { .. },
                ..
            } => Self::new(exit::HELD, "home_held", message, "one home has one orchestrator"),
            WorkersError::Cluster { system, .. } => Self::environment(
                system,
                message,
                &format!(
                    "`sandbox doctor --on {system}` says what is missing; nothing is lost, the same command goes on"
                ),
            ),
        }
    }
}

/// What came of something that may be refused; any other failure is one.
pub fn unless_refused<T>(outcome: Result<T, Failure>) -> Result<Result<T, Failure>, Failure> {
    match outcome {
        Err(failure) if failure.exit != exit::REFUSED => Err(failure),
        outcome => Ok(outcome),
    }
}

/// What to do about a database that cannot be read.
const MEND_DATABASE: &str = "put a copy in its place that `sandbox db backup` made; or save what can be read: \
                             `sqlite3 OLD .recover | sqlite3 NEW`, then `sandbox db check --db NEW`; or move the file \
                             away and run again: what was trained is trained anew";

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        if error.is_disk_full() {
            return Self::environment(DISK_FULL, message, FREE_SPACE);
        }
        if error.is_locked() {
            return Self::environment(
                "database_locked",
                message,
                "close the program that writes to it (`fuser FILE` names it), or put the database elsewhere with `--db FILE`",
            );
        }
        if error.is_read_only() {
            return Self::environment(
                "read_only_home",
                message,
                "it or its folder may not be written: copy the home to a place of your own, or put the database elsewhere with `--db FILE`",
            );
        }
        if error.is_malformed() {
            return Self::environment("damaged_database", message, MEND_DATABASE);
        }
        match error {
            StoreError::Missing { .. } => Self::invalid(
                "no_database",
                message,
                "run a sweep first: `sandbox init` writes one and `sandbox run sweep.yaml` trains it",
            ),
            StoreError::Network { .. } => Self::environment(
                "network_file_system",
                message,
                "put the database on a local disk with `--db FILE`; the rest of the home may stay",
            ),
            StoreError::OtherSchema { .. } => Self::environment(
                "other_schema",
                message,
                "`sandbox status` brings an older one up to date; a newer one needs the program that made it",
            ),
            StoreError::Unreadable { .. } | StoreError::Damaged(_) => {
                Self::environment("damaged_database", message, MEND_DATABASE)
            }
            StoreError::Sql(_) => Self::environment("database", message, ""),
        }
    }
}
