//! Unpacks gzip and zstd, which files say by their first bytes.

use std::io::Read;

use crate::tables::text::ReadError;

/// More than this is no table of runs: a small file can unpack to any size.
const UNPACKED_MAX: u64 = 1 << 30;

/// The bytes of a file, unpacked where they are packed.
pub(super) fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, ReadError> {
    let reader: Box<dyn Read + '_> = match bytes.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(bytes.as_slice())),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(bytes.as_slice())?),
        _ => return Ok(bytes),
    };
    let mut unpacked = Vec::new();
    reader.take(UNPACKED_MAX + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() as u64 > UNPACKED_MAX {
        return Err(ReadError::TooLarge(UNPACKED_MAX));
    }
    Ok(unpacked)
}
