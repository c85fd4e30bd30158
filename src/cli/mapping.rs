//! The flags that say what the columns of somebody's table mean.

use std::collections::BTreeMap;

use clap::Args;

use crate::cli::predict::count;
use crate::run::failure::Failure;
use crate::run::fit::table::{FIELDS, Mapping};

#[derive(Debug, Args)]
pub(super) struct MappingArgs {
    /// What the columns of a table mean: `--map params=N,tokens=D,loss=loss`; also lr, batch, schedule, seed, label,
    /// flops. A name that holds a comma stands between quotes: `--map 'loss="val,loss"'`. Exports of `sandbox export` and
    /// W&B's tables of runs need none
    #[arg(long, value_name = "FIELD=COLUMN", num_args = 1.., value_parser = pairs)]
    pub(super) map: Vec<Pairs>,
    /// What a column's numbers are multiplied by: `--scale tokens=1e9`
    #[arg(long, value_name = "FIELD=FACTOR", num_args = 1.., value_parser = pairs)]
    scale: Vec<Pairs>,
    /// Rows of a table, or trials of a sweep, that count: `--where "keep == 1"`
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) condition: Option<String>,
}

/// What one argument says of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pairs(Vec<(String, String)>);

impl MappingArgs {
    /// What was said about the columns.
    pub(super) fn mapping(&self) -> Result<Mapping, Failure> {
        let scale = |(field, factor): (String, String)| match count(&factor) {
            Ok(factor) => Ok((field, factor)),
            Err(error) => Err(usage(format!("--scale {field}={factor}: {error}"))),
        };
        Ok(Mapping {
            columns: once("--map", &self.map)?,
            scales: once("--scale", &self.scale)?
                .into_iter()
                .map(scale)
                .collect::<Result<_, _>>()?,
            condition: self.condition.clone(),
        })
    }
}

/// All pairs of a flag; a field has one column.
fn once(flag: &str, all: &[Pairs]) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    for (field, text) in all.iter().flat_map(|Pairs(pairs)| pairs) {
        if let Some(before) = found.insert(field.clone(), text.clone()) {
            return Err(usage(format!(
                "{flag} says two things of {field}: `{before}` and `{text}`"
            )));
        }
    }
    Ok(found)
}

fn usage(message: String) -> Failure {
    Failure::invalid("usage", message, "")
}

/// `FIELD=TEXT,FIELD=TEXT` with fields that laws know; text with a comma stands between quotes, a quote in it is doubled.
fn pairs(text: &str) -> Result<Pairs, String> {
    let mut pairs = Vec::new();
    let mut rest = text;
    loop {
        let Some((field, after)) = rest.split_once('=').filter(|(field, _)| !field.contains(',')) else {
            return Err(
                "write FIELD=COLUMN, as in params=N; a name that holds a comma stands between quotes, as in \
                        'loss=\"val,loss\"'"
                    .to_owned(),
            );
        };
        let field = field.trim();
        if !FIELDS.contains(&field) {
            return Err(format!("`{field}` is no field; there is {}", FIELDS.join(", ")));
        }
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            unquoted(quoted)?
        } else {
            let end = after.find(',').unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        pairs.push((field.to_owned(), value));
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(Pairs(pairs)),
            None => return Err(format!("`{after}` follows a closing quote; a comma must")),
        }
    }
}

/// The text up to the closing quote, and what follows it.
fn unquoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quote is opened that nothing closes")?;
        value.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Ok((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pairs, pairs};

    #[test]
    fn names_with_commas_stand_between_quotes() {
        let read = |text: &str| pairs(text).map(|Pairs(pairs)| pairs);
        let pair = |field: &str, column: &str| (field.to_owned(), column.to_owned());
        assert_eq!(
            read("params=size (B),loss=\"val,\"\"loss\"\"=x\",tokens=D"),
            Ok(vec![
                pair("params", "size (B)"),
                pair("loss", "val,\"loss\"=x"),
                pair("tokens", "D")
            ])
        );
        for wrong in [
            "params",
            "params=N,D",
            "loss=\"val",
            "loss=\"val\"x",
            "width=N",
            "params=N,",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("loss=val,loss").is_err_and(|why| why.contains("quotes")));
    }
}
