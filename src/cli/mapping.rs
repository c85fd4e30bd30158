//! The flags that say what the columns of somebody's table mean.

use clap::Args;

use crate::cli::predict::count;
use crate::run::failure::Failure;
use crate::run::fit::table::{FIELDS, Mapping};

#[derive(Debug, Args)]
pub(super) struct MappingArgs {
    /// What the columns of a table mean: `--map params=N,tokens=D,loss=loss`; also lr, batch, schedule, seed, label, flops
    #[arg(long, value_name = "FIELD=COLUMN", value_delimiter = ',', num_args = 1.., value_parser = pair)]
    pub(super) map: Vec<(String, String)>,
    /// What a column's numbers are multiplied by: `--scale tokens=1e9`
    #[arg(long, value_name = "FIELD=FACTOR", value_delimiter = ',', num_args = 1.., value_parser = pair)]
    scale: Vec<(String, String)>,
    /// Rows of a table, or trials of a sweep, that count: `--where "keep == 1"`
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) condition: Option<String>,
}

impl MappingArgs {
    /// What was said about the columns.
    pub(super) fn mapping(&self) -> Result<Mapping, Failure> {
        let scale = |(field, factor): &(String, String)| match count(factor) {
            Ok(factor) => Ok((field.clone(), factor)),
            Err(error) => Err(Failure::invalid(
                "usage",
                format!("--scale {field}={factor}: {error}"),
                "",
            )),
        };
        Ok(Mapping {
            columns: self.map.iter().cloned().collect(),
            scales: self.scale.iter().map(scale).collect::<Result<_, _>>()?,
            condition: self.condition.clone(),
        })
    }
}

/// `FIELD=TEXT` with a field that laws know.
fn pair(text: &str) -> Result<(String, String), String> {
    let (field, rest) = text.split_once('=').ok_or("write FIELD=COLUMN, as in params=N")?;
    if !FIELDS.contains(&field) {
        return Err(format!("`{field}` is no field; there is {}", FIELDS.join(", ")));
    }
    Ok((field.to_owned(), rest.to_owned()))
}
