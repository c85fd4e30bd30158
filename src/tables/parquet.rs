//! Parquet, column by column: only what is asked for is decoded, so that no other column can be in the way.

use std::collections::BTreeMap;
use std::io::Cursor;

use polars::prelude::{PolarsError, pf16};
use polars_arrow::array::{Array, BooleanArray, PrimitiveArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, Field};
use polars_buffer::Buffer;
use polars_parquet::read::{self, BasicDecompressor, ColumnChunkMetadata, PageReader};

use crate::tables::text::{Places, ReadError, TextTable};

type Cells = Vec<Option<String>>;

impl From<PolarsError> for ReadError {
    fn from(error: PolarsError) -> Self {
        Self::Parquet(error.to_string())
    }
}

/// Reads the columns that `is_wanted` accepts; those of a kind that is no number or text are named as unreadable.
pub(super) fn read(bytes: Vec<u8>, is_wanted: &dyn Fn(&str) -> bool) -> Result<TextTable, ReadError> {
    let metadata = read::read_metadata(&mut Cursor::new(bytes.as_slice()))?;
    let schema = read::infer_schema(&metadata)?;
    let bytes = Buffer::from(bytes);
    let (mut columns, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
    for field in schema.iter_values().filter(|field| is_wanted(field.name.trim())) {
        let name = field.name.trim().to_owned();
        if *field.dtype() == ArrowDataType::Null {
            columns.insert(name, vec![None; metadata.num_rows]);
            continue;
        }
        let Some(field) = decoded(field) else {
            unreadable.insert(name, format!("holds {}, and no numbers or text", kind(field.dtype())));
            continue;
        };
        let mut cells = Vec::with_capacity(metadata.num_rows);
        for group in &metadata.row_groups {
            let chunks = group.columns_under_root_iter(&field.name).into_iter().flatten();
            cells.extend(group_cells(&bytes, chunks, &field)?);
        }
        columns.insert(name, cells);
    }
    Ok(TextTable {
        columns,
        names: schema.iter_names().map(|name| name.trim().to_owned()).collect(),
        unreadable,
        lines: (1..=metadata.num_rows).collect(),
        places: Places::Rows,
    })
}

/// How a column is decoded: all text alike; none where it is neither number nor text.
fn decoded(field: &Field) -> Option<Field> {
    use ArrowDataType as Of;
    let dtype = match field.dtype().to_storage() {
        Of::Dictionary(_, values, _) if is_text(values) => Of::Utf8View,
        text if is_text(text) => Of::Utf8View,
        Of::Decimal32(precision, scale) | Of::Decimal64(precision, scale) => Of::Decimal(*precision, *scale),
        plain @ (Of::Boolean
        | Of::Int8
        | Of::Int16
        | Of::Int32
        | Of::Int64
        | Of::UInt8
        | Of::UInt16
        | Of::UInt32
        | Of::UInt64
        | Of::Float16
        | Of::Float32
        | Of::Float64
        | Of::Decimal(..)) => plain.clone(),
        _ => return None,
    };
    Some(Field::new(field.name.clone(), dtype, field.is_nullable))
}

fn is_text(dtype: &ArrowDataType) -> bool {
    matches!(
        dtype,
        ArrowDataType::Utf8 | ArrowDataType::LargeUtf8 | ArrowDataType::Utf8View
    )
}

/// What values are called that are not read.
fn kind(dtype: &ArrowDataType) -> &'static str {
    use ArrowDataType as Of;
    match dtype {
        Of::Date32 | Of::Date64 | Of::Timestamp(..) | Of::Time32(_) | Of::Time64(_) | Of::Duration(_) => {
            "dates or times"
        }
        Of::Struct(_) | Of::Map(..) => "structs",
        Of::List(_) | Of::LargeList(_) | Of::FixedSizeList(..) => "lists",
        Of::Binary | Of::LargeBinary | Of::BinaryView | Of::FixedSizeBinary(_) => "bytes",
        Of::Decimal256(..) => "decimals of more than 38 digits",
        _ => "values of another kind",
    }
}

/// The cells of a column in one group of rows.
fn group_cells<'a>(
    bytes: &Buffer<u8>,
    chunks: impl Iterator<Item = &'a ColumnChunkMetadata>,
    field: &Field,
) -> Result<Cells, ReadError> {
    let (mut pages, mut types) = (Vec::new(), Vec::new());
    for chunk in chunks {
        let range = chunk.byte_range();
        let range = range.start as usize..range.end as usize;
        if range.start > range.end || range.end > bytes.len() {
            return Err(ReadError::Parquet("it is cut off".to_owned()));
        }
        let reader = PageReader::new(Cursor::new(bytes.clone().sliced(range)), chunk, Vec::new(), usize::MAX);
        pages.push(BasicDecompressor::new(reader, Vec::new()));
        types.push(&chunk.descriptor().descriptor.primitive_type);
    }
    let (arrays, _) = read::column_iter_to_arrays(pages, types, field.clone(), None)?;
    arrays
        .iter()
        .map(|array| texts(array.as_ref(), field))
        .collect::<Result<Vec<_>, _>>()
        .map(|it| it.concat())
}

/// Matches an array against types in turn, whose values print as they were written.
macro_rules! printed {
    ($array:expr; $($kind:ty),+) => {
        $(if let Some(array) = $array.as_any().downcast_ref::<PrimitiveArray<$kind>>() {
            return Ok(array.iter().map(|value| value.map(ToString::to_string)).collect());
        })+
    };
}

fn texts(array: &dyn Array, field: &Field) -> Result<Cells, ReadError> {
    if let ArrowDataType::Decimal(_, scale) = field.dtype()
        && let Some(array) = array.as_any().downcast_ref::<PrimitiveArray<i128>>()
    {
        let text = |units: &i128| decimal(*units, *scale);
        return Ok(array.iter().map(|value| value.map(text)).collect());
    }
    if let Some(array) = array.as_any().downcast_ref::<BooleanArray>() {
        return Ok(array.iter().map(|value| value.map(|it| it.to_string())).collect());
    }
    if let Some(array) = array.as_any().downcast_ref::<Utf8ViewArray>() {
        return Ok(array.iter().map(|value| value.map(str::to_owned)).collect());
    }
    printed!(array; i8, i16, i32, i64, u8, u16, u32, u64, pf16, f32, f64);
    Err(ReadError::Parquet(format!(
        "column `{}` is not what its head says",
        field.name
    )))
}

/// `31415` of scale 4 is `3.1415`.
fn decimal(units: i128, scale: usize) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimals_keep_the_zeros_behind_the_point() {
        for (units, scale, text) in [
            (30_521, 4, "3.0521"),
            (521, 4, "0.0521"),
            (-5, 1, "-0.5"),
            (12, 0, "12"),
        ] {
            assert_eq!(decimal(units, scale), text);
        }
    }
}
