//! Somebody else's runs: the columns of a table, told what they mean, into observations.
//!
//! Refuses to know laws. Every bad cell is named with its line; nothing is guessed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::fit::Warning;
use crate::fit::kept::{self, LeftOut};
use crate::fit::observation::Observation;
use crate::fit::sanity;
use crate::run::failure::{At, Failure};
use crate::run::fit::curve_files;
use crate::run::fit::file::{self, SHOWN};
use crate::run::fit::presets::{self, Preset};
use crate::run::fit::request::{CONDITION, nothing_matches};
use crate::spec::syntax::expressions::{Expr, Kind, Name, Value};
use crate::tables::read::TextTable;
use crate::units::parse_count;

/// What a column can be to a law.
pub const FIELDS: [&str; 9] = [
    "params", "tokens", "loss", "lr", "batch", "schedule", "seed", "label", "flops",
];

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
    /// What is odd about them.
    pub warnings: Vec<Warning>,
    /// Hash of the file.
    pub hash: String,
}

/// Reads the runs of a file.
pub fn read(path: &Path, mapping: &Mapping) -> Result<TableRuns, Failure> {
    let (table, hash) = file::read(path, &|name| mapping.is_wanted(name))?;
    let preset = Preset::of(&table);
    let mut reader = Reader::new(path, &table, mapping, preset)?;
    let hint = if curve_files::is_curve(&table) {
        "it looks like the log of a run, a loss curve: `sandbox fit FOLDER --law annealing --train FILE`"
    } else {
        "say which column it is: `--map params=COLUMN,tokens=COLUMN,loss=COLUMN`"
    };
    reader.must(path, &["params", "loss"], hint)?;
    // Compute and size give the tokens, by 6ND.
    if !reader.fields.contains_key("flops") {
        reader.must(path, &["tokens"], hint)?;
    }
    let (mut runs, mut left_out, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..table.lines.len() {
        let place = table.place(row);
        if !reader.counts(row) {
            left_out.push((place, CONDITION.to_owned()));
        } else if let Some(why) = preset.and_then(|preset| preset.why_not(&table, row)) {
            left_out.push((place, why));
        } else if let Some(field) = reader.empty(row) {
            left_out.push((place, format!("its `{field}` is empty")));
        } else if let Some(run) = reader.run(row, place) {
            runs.push(run);
            counted.push(row);
        }
    }
    let guessed = reader.guessed();
    let unlike = preset.and_then(|preset| preset.unlike(&table, &counted));
    if !reader.mistakes.is_empty() {
        return Err(reader.failure());
    }
    if runs.is_empty() {
        return Err(none_left(path, left_out));
    }
    let looked = sanity::look(runs);
    left_out.extend(looked.left_out);
    Ok(TableRuns {
        runs: looked.runs,
        left_out,
        warnings: guessed.into_iter().chain(unlike).chain(looked.warnings).collect(),
        hash,
    })
}

/// No row counts: for which reasons.
fn none_left(path: &Path, left_out: Vec<(String, String)>) -> Failure {
    let (file, rows) = (path.display(), left_out.len());
    if left_out.iter().all(|(_, why)| why == CONDITION) {
        return nothing_matches(rows, "rows", "compare it with the cells of the table");
    }
    let reasons: Vec<LeftOut> = left_out.into_iter().map(LeftOut::from).collect();
    let message = format!("no row of `{file}` counts; of {rows}, {}", kept::reasons(&reasons));
    Failure::invalid("no_runs", message, "fill in what is missing, or map other columns")
}

/// Reads the places of a file: parameters and tokens, in order; every bad cell is named.
pub fn places(path: &Path) -> Result<Vec<[f64; 2]>, Failure> {
    const PLACE: [&str; 2] = ["params", "tokens"];
    let (table, _) = file::read(path, &|name| PLACE.contains(&name))?;
    let mapping = Mapping::default();
    let mut reader = Reader::new(path, &table, &mapping, None)?;
    reader.must(path, &PLACE, "call its columns `params` and `tokens`")?;
    let mut places = Vec::new();
    for row in 0..table.lines.len() {
        let empty: Vec<&str> = PLACE
            .into_iter()
            .filter(|field| reader.cell(field, row).is_none())
            .collect();
        if empty.len() == PLACE.len() {
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

impl Mapping {
    /// Whether a column can mean something.
    fn is_wanted(&self, name: &str) -> bool {
        let is_mapped = self.columns.values().any(|column| column == name);
        let is_asked = self.condition.as_ref().is_some_and(|text| text.contains(name));
        is_mapped || is_asked || FIELDS.contains(&name) || presets::is_known(name)
    }
}

/// A field's column and its cells.
#[derive(Debug, Clone, Copy)]
struct Mapped<'a> {
    column: &'a str,
    cells: &'a [Option<String>],
}

struct Reader<'a> {
    file: String,
    table: &'a TextTable,
    mapping: &'a Mapping,
    preset: Option<&'static Preset>,
    fields: BTreeMap<&'static str, Mapped<'a>>,
    condition: Option<Expr>,
    mistakes: Vec<At>,
}

impl<'a> Reader<'a> {
    /// A field is the column that was named for it; else the one that this kind of table has for it, or one of its name.
    fn new(
        path: &Path,
        table: &'a TextTable,
        mapping: &'a Mapping,
        preset: Option<&'static Preset>,
    ) -> Result<Self, Failure> {
        let mut fields = BTreeMap::new();
        for field in FIELDS {
            let asked = mapping.columns.get(field).map(String::as_str);
            let known = match preset {
                Some(preset) => preset.column(table, field),
                None => table.names.iter().map(String::as_str).find(|name| *name == field),
            };
            // A column that nobody has named may hold anything.
            let known = known.filter(|column| table.columns.contains_key(*column));
            if let Some(column) = asked.or(known) {
                let hint = format!("say which column it is: `--map {field}=COLUMN`");
                let cells = file::cells(path, table, column, &hint)?;
                fields.insert(field, Mapped { column, cells });
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
            preset,
            fields,
            condition,
            mistakes: Vec::new(),
        })
    }

    /// Refuses a table without a column for one of these fields.
    fn must(&self, path: &Path, fields: &[&str], hint: &str) -> Result<(), Failure> {
        let missing = fields.iter().find(|field| !self.fields.contains_key(*field));
        missing.map_or(Ok(()), |field| file::cells(path, self.table, field, hint).map(|_| ()))
    }

    /// What the columns were taken for, where nobody has said it.
    fn guessed(&self) -> Option<Warning> {
        let kind = self.preset?.guessed?;
        let taken: Vec<String> = FIELDS
            .iter()
            .filter(|field| !self.mapping.columns.contains_key(**field))
            .filter_map(|field| Some(format!("{field} is `{}`", self.fields.get(field)?.column)))
            .collect();
        let text = format!("read as {kind}: {}; `--map` says otherwise", taken.join(", "));
        (!taken.is_empty()).then(|| Warning::new("recognised", text))
    }

    fn cell(&self, field: &str, row: usize) -> Option<&'a str> {
        let text = self.fields.get(field)?.cells.get(row)?.as_deref()?.trim();
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
        if let Some(mistake) = self.mistakes.last_mut() {
            mistake.suggestion = with_point(text);
        }
        None
    }

    fn mistake(&mut self, field: &str, row: usize, message: String) {
        let column = self.fields.get(field).map_or(field, |mapped| mapped.column);
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

/// `3,1` as half of the world writes it, with a point; none where that is no number either, or a comma more.
fn with_point(text: &str) -> Option<String> {
    let pointed = text.replacen(',', ".", 1);
    (pointed != text && pointed.parse::<f64>().is_ok()).then_some(pointed)
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
