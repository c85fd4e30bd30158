//! Somebody else's runs: the columns of a table, told what they mean, into observations.
//!
//! Refuses to know laws. Every bad cell is named with its line; nothing is guessed.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;

use crate::fit::observation::Observation;
use crate::run::failure::{At, Failure};
use crate::spec::syntax::expressions::{Expr, Kind, Name, Value};
use crate::tables::read::{self, TextTable};
use crate::units::parse_count;

/// Why a run does not count that a condition does not hold for.
pub(in crate::run) const CONDITION: &str = "the condition leaves it out";

/// What a column can be to a law.
pub const FIELDS: [&str; 9] = [
    "params", "tokens", "loss", "lr", "batch", "schedule", "seed", "label", "flops",
];

/// Bad cells that are shown; more of the same would hide the first.
const SHOWN: usize = 20;

/// What the columns of a table mean.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    /// The column of each field.
    pub columns: BTreeMap<String, String>,
    /// What a column's numbers are multiplied by, by field.
    pub scales: BTreeMap<String, f64>,
    pub condition: Option<String>,
}

/// Runs of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRuns {
    pub runs: Vec<Observation>,
    /// Rows that did not enter: their place and the reason.
    pub left_out: Vec<(String, String)>,
    /// Hash of the file.
    pub hash: String,
}

/// Reads a file as a table of text; also gives its hash.
pub(in crate::run) fn table(path: &Path) -> Result<(TextTable, String), Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::invalid("missing_file", error.to_string(), ""))?;
    let hash = blake3::hash(&bytes).to_hex().to_string();
    // `/dev/stdin`, say, has no ending.
    let extension = path
        .extension()
        .map_or_else(|| "csv".into(), std::ffi::OsStr::to_string_lossy);
    let table = read::read(bytes, &extension.to_lowercase())
        .map_err(|error| Failure::invalid("bad_table", format!("`{}`: {error}", path.display()), ""))?;
    Ok((table, hash))
}

/// Reads the runs of a file.
pub fn read(path: &Path, mapping: &Mapping) -> Result<TableRuns, Failure> {
    let (table, hash) = table(path)?;
    let mut reader = Reader::new(path, &table, mapping, &["params", "loss"])?;
    // Compute and size give the tokens, by 6ND.
    if !reader.fields.contains_key("tokens") && !reader.fields.contains_key("flops") {
        return Err(missing(path, &table, "tokens", "tokens"));
    }
    let (mut runs, mut left_out) = (Vec::new(), Vec::new());
    for row in 0..table.lines.len() {
        let place = format!("line {}", table.lines[row]);
        if !reader.counts(row) {
            left_out.push((place, CONDITION.to_owned()));
        } else if let Some(field) = reader.empty(row) {
            left_out.push((place, format!("its `{field}` is empty")));
        } else if let Some(run) = reader.run(row, place) {
            runs.push(run);
        }
    }
    if !reader.mistakes.is_empty() {
        return Err(reader.failure());
    }
    Ok(TableRuns { runs, left_out, hash })
}

/// Reads the places of a file: parameters and tokens, in order; every bad cell is named.
pub fn places(path: &Path) -> Result<Vec<[f64; 2]>, Failure> {
    const FIELDS: [&str; 2] = ["params", "tokens"];
    let (table, _) = table(path)?;
    let mapping = Mapping::default();
    let mut reader = Reader::new(path, &table, &mapping, &FIELDS)?;
    let mut places = Vec::new();
    for row in 0..table.lines.len() {
        let empty: Vec<&str> = FIELDS
            .into_iter()
            .filter(|field| reader.cell(field, row).is_none())
            .collect();
        if empty.len() == FIELDS.len() {
            continue;
        }
        for field in empty {
            reader.mistake(field, row, format!("{field} is empty"));
        }
        if let (Some(params), Some(tokens)) = (reader.number("params", row), reader.number("tokens", row)) {
            places.push([params, tokens]);
        }
    }
    if !reader.mistakes.is_empty() {
        return Err(reader.failure());
    }
    Ok(places)
}

struct Reader<'a> {
    file: String,
    table: &'a TextTable,
    mapping: &'a Mapping,
    /// The cells of each field.
    fields: BTreeMap<&'static str, &'a [Option<String>]>,
    condition: Option<Expr>,
    mistakes: Vec<At>,
}

impl<'a> Reader<'a> {
    fn new(path: &Path, table: &'a TextTable, mapping: &'a Mapping, must: &[&str]) -> Result<Self, Failure> {
        let mut fields = BTreeMap::new();
        for field in FIELDS {
            let asked = mapping.columns.get(field);
            let column = asked.map_or(field, String::as_str);
            match table.columns.get(column) {
                Some(cells) => {
                    fields.insert(field, cells.as_slice());
                }
                None if asked.is_none() => {}
                None => return Err(missing(path, table, field, column)),
            }
        }
        for &field in must {
            if !fields.contains_key(field) {
                return Err(missing(path, table, field, field));
            }
        }
        let condition = mapping
            .condition
            .as_deref()
            .map(|text| condition(text, table))
            .transpose()?;
        Ok(Self {
            file: path.display().to_string(),
            table,
            mapping,
            fields,
            condition,
            mistakes: Vec::new(),
        })
    }

    fn cell(&self, field: &str, row: usize) -> Option<&'a str> {
        let text = self.fields.get(field)?.get(row)?.as_deref()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// Whether the condition holds for a row.
    fn counts(&self, row: usize) -> bool {
        let Some(condition) = &self.condition else { return true };
        condition.holds(&|name| {
            let text = self.table.columns.get(name)?.get(row)?.as_deref()?.trim();
            Some(
                text.parse()
                    .map_or_else(|_| Value::Text(text.to_owned()), Value::Number),
            )
        })
    }

    /// The first field that a run must have and this row has not.
    fn empty(&self, row: usize) -> Option<&'static str> {
        let must = ["params", "loss", "tokens", "flops"].into_iter();
        let mut must = must.filter(|field| self.fields.contains_key(field));
        must.find(|field| self.cell(field, row).is_none())
    }

    fn run(&mut self, row: usize, place: String) -> Option<Observation> {
        let params = self.number("params", row);
        let loss = self.number("loss", row);
        let flops = self.number("flops", row);
        let tokens = if self.fields.contains_key("tokens") {
            self.number("tokens", row)
        } else {
            flops.zip(params).map(|(flops, params)| flops / (6.0 * params))
        };
        let (lr, batch_tokens) = (self.number("lr", row), self.number("batch", row));
        let seed = self.seed(row);
        Some(Observation {
            label: self.cell("label", row).map_or(place, str::to_owned),
            params: params?,
            tokens: tokens?,
            loss: loss?,
            lr,
            batch_tokens,
            schedule: self.cell("schedule", row).map(str::to_owned),
            seed,
            flops,
            setup: None,
        })
    }

    /// A whole number; spreadsheets write it as `1.0`, too.
    fn seed(&mut self, row: usize) -> Option<u64> {
        let text = self.cell("seed", row)?;
        let whole = |number: &f64| number.fract() == 0.0 && (0.0..9e15).contains(number);
        let seed = text.parse().ok();
        let seed = seed.or_else(|| text.parse().ok().filter(whole).map(|number: f64| number as u64));
        // A column that happens to be called so may hold anything.
        if seed.is_none() && self.mapping.columns.contains_key("seed") {
            self.mistake("seed", row, format!("seed is `{text}`, which is no whole number"));
        }
        seed
    }

    /// A positive number; anything else is a mistake with its place.
    fn number(&mut self, field: &'static str, row: usize) -> Option<f64> {
        let text = self.cell(field, row)?;
        let number = text.parse().or_else(|_| parse_count(text).map(|count| count as f64));
        let what = match number {
            Ok(number) if number > 0.0 && f64::is_finite(number) => {
                return Some(number * self.mapping.scales.get(field).copied().unwrap_or(1.0));
            }
            Ok(number) => format!("{field} is {number}; it must be a positive number"),
            Err(_) => format!("{field} is `{text}`, which is no number"),
        };
        self.mistake(field, row, what);
        None
    }

    fn mistake(&mut self, field: &str, row: usize, message: String) {
        let column = self.mapping.columns.get(field).map_or(field, String::as_str);
        self.mistakes.push(At {
            file: self.file.clone(),
            line: self.table.lines[row],
            column: self.table.names.iter().position(|name| name == column).unwrap_or(0) + 1,
            key: column.to_owned(),
            message,
            suggestion: None,
        });
    }

    fn failure(self) -> Failure {
        let count = self.mistakes.len();
        let mut failure = Failure::invalid(
            "bad_row",
            format!("`{}` has {count} cell(s) that no run can have", self.file),
            "mend them, or leave the rows out",
        );
        failure.at = self.mistakes.into_iter().take(SHOWN).collect();
        failure
    }
}

fn missing(path: &Path, table: &TextTable, field: &str, column: &str) -> Failure {
    Failure::invalid(
        "missing_column",
        format!(
            "`{}` has no column `{column}` for {field}; it has {}",
            path.display(),
            table.names.join(", ")
        ),
        &format!("say which column it is: `--map {field}=COLUMN`"),
    )
}

fn condition(text: &str, table: &TextTable) -> Result<Expr, Failure> {
    let is_number = |cells: &[Option<String>]| {
        let mut there = cells
            .iter()
            .flatten()
            .map(|cell| cell.trim())
            .filter(|cell| !cell.is_empty());
        there.all(|cell| cell.parse::<f64>().is_ok())
    };
    let names: Vec<Name<'_>> = table
        .columns
        .iter()
        .map(|(name, cells)| Name {
            name,
            kind: if is_number(cells) { Kind::Number } else { Kind::Text },
        })
        .collect();
    Ok(Expr::parse(text, &names)?)
}
