//! Unpacks gzip and zstd, which files say by their first bytes.
//!
//! Refuses to know what is in a file, and to believe its name.

use std::io::{self, BufRead, BufReader, Read};

/// The endings of packed files, after the ending that tells what is in them (`runs.csv.gz`).
pub const ENDINGS: [&str; 3] = ["gz", "zst", "zstd"];

/// What a reader gives, unpacked where it is packed.
///
/// # Errors
/// Those of the reader.
pub fn unpacked<'a>(packed: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut packed = BufReader::new(packed);
    Ok(match packed.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(packed))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(BufReader::new(zstd::Decoder::with_buffer(packed)?)),
        _ => Box::new(packed),
    })
}

/// The name of a file without the ending that says how it is packed.
pub fn stem(file: &str) -> &str {
    match file.rsplit_once('.') {
        Some((stem, ending)) if ENDINGS.contains(&ending.to_lowercase().as_str()) => stem,
        _ => file,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).expect("packed");
        packer.finish().expect("packed")
    }

    pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).expect("packed")
    }

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_cut_off_is_an_error() {
        let text = b"one\ntwo\n".repeat(1000);
        let (gzip, zstd) = (gzip(&text), zstd(&text));
        let twice = [gzip.clone(), gzip.clone()].concat();
        let read = |bytes: &[u8]| -> io::Result<Vec<u8>> {
            let mut all = Vec::new();
            unpacked(bytes)?.read_to_end(&mut all)?;
            Ok(all)
        };
        for packed in [&text, &gzip, &zstd] {
            assert_eq!(read(packed).expect("unpacked"), text);
        }
        assert_eq!(read(&twice).expect("both members"), text.repeat(2));
        assert_eq!(read(b"").expect("nothing"), b"");
        assert!(read(&gzip[..gzip.len() / 2]).is_err() && read(&zstd[..zstd.len() / 2]).is_err());
    }

    #[test]
    fn the_ending_of_the_packer_is_left_out() {
        let stems = ["a.csv.GZ", "a.csv", "b.jsonl.zst", "gz", "c.zstd"].map(stem);
        assert_eq!(stems, ["a.csv", "a.csv", "b.jsonl", "gz", "c"]);
    }
}
