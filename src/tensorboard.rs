//! Event files as TensorBoard reads them: scalars in, bytes out.
//!
//! A file is a chain of TFRecords, each around one protobuf `Event`; the first names the version of the format. Refuses
//! to know files, clocks, runs, and what a tag means.

use crc::{CRC_32_ISCSI, Crc, Table};

/// CRC-32C, which TFRecords are checked with; the wide table, because a sweep writes millions of small records.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The version that TensorBoard expects in the first event of a file.
const FILE_VERSION: &str = "brain.Event:2";

/// Keys of protobuf fields: number of the field times 8, plus how its value is written.
mod key {
    /// `Event.wall_time`, a double.
    pub(super) const WALL_TIME: u8 = 1 << 3 | 1;
    /// `Event.step`, a varint.
    pub(super) const STEP: u8 = 2 << 3;
    /// `Event.file_version`, a string.
    pub(super) const FILE_VERSION: u8 = 3 << 3 | 2;
    /// `Event.summary`, a message.
    pub(super) const SUMMARY: u8 = 5 << 3 | 2;
    /// `Summary.value`, a message.
    pub(super) const VALUE: u8 = 1 << 3 | 2;
    /// `Summary.Value.tag`, a string.
    pub(super) const TAG: u8 = 1 << 3 | 2;
    /// `Summary.Value.simple_value`, a float.
    pub(super) const SIMPLE_VALUE: u8 = 2 << 3 | 5;
}

/// A name that TensorBoard takes for an event file: it looks for `tfevents`, and reads the files of a folder by name.
///
/// `seconds` is the time of the header in seconds since 1970.
pub fn file_name(seconds: u64) -> String {
    format!("events.out.tfevents.{seconds:010}.sandbox")
}

/// The first record of a file, written at `wall_time` (seconds since 1970).
pub fn header(wall_time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    double(&mut event, key::WALL_TIME, wall_time);
    bytes(&mut event, key::FILE_VERSION, FILE_VERSION.as_bytes());
    let mut file = Vec::new();
    record(&mut file, &event);
    file
}

/// Appends one scalar to a file that begins with [`header`]. TensorBoard keeps scalars as float32, so does the file.
///
/// The event is in the form that TensorBoard's first version reads; later ones take it for a scalar by themselves.
pub fn scalar(file: &mut Vec<u8>, tag: &str, step: u64, wall_time: f64, value: f64) {
    let mut inner = Vec::new();
    bytes(&mut inner, key::TAG, tag.as_bytes());
    inner.push(key::SIMPLE_VALUE);
    inner.extend((value as f32).to_le_bytes());
    let mut summary = Vec::new();
    bytes(&mut summary, key::VALUE, &inner);
    let mut event = Vec::new();
    double(&mut event, key::WALL_TIME, wall_time);
    event.push(key::STEP);
    varint(&mut event, step);
    bytes(&mut event, key::SUMMARY, &summary);
    record(file, &event);
}

/// One TFRecord: length, its check, data, their check.
fn record(file: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked(&length));
    file.extend(data);
    file.extend(masked(data));
}

/// The check of TFRecords: rotated and shifted, so that a check of data that hold checks stays one.
fn masked(data: &[u8]) -> [u8; 4] {
    let check = CRC32C.checksum(data);
    check.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn double(message: &mut Vec<u8>, key: u8, value: f64) {
    message.push(key);
    message.extend(value.to_le_bytes());
}

fn bytes(message: &mut Vec<u8>, key: u8, value: &[u8]) {
    message.push(key);
    varint(message, value.len() as u64);
    message.extend(value);
}

/// Seven bits a byte, the low ones first; the top bit says that more follow.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_check_is_crc32c() {
        // The check value of the catalogue of CRCs.
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
    }

    /// Serialized by TensorBoard 2.21 itself: `event_pb2.Event` inside `record_writer.RecordWriter`.
    #[test]
    fn the_bytes_are_those_that_tensorboard_writes() {
        assert_eq!(
            hex(&header(1_700_000_000.25)),
            "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9"
        );
        let mut file = Vec::new();
        scalar(&mut file, "loss/train", 300, 1_700_000_001.5, 3.274);
        assert_eq!(
            hex(&file),
            "2100000000000000017becf60900006040fc54d94110ac022a130a110a0a6c6f73732f747261696e153789514055ab19db"
        );
    }

    #[test]
    fn records_follow_one_another_and_name_their_length() {
        let mut file = header(0.0);
        scalar(&mut file, &"long/".repeat(40), 1 << 40, 1.0, -1e-8);
        scalar(&mut file, "Verlust/größe", 0, 2.0, 0.0);
        let (mut rest, mut records) = (&file[..], 0);
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked(&rest[..8]));
            assert_eq!(rest[12 + length..16 + length], masked(&rest[12..12 + length]));
            rest = &rest[16 + length..];
            records += 1;
        }
        assert_eq!(records, 3);
    }

    #[test]
    fn varints_of_every_length_are_as_protobuf_has_them() {
        for (value, expected) in [
            (0, "00"),
            (127, "7f"),
            (128, "8001"),
            (300, "ac02"),
            (u64::MAX, "ffffffffffffffffff01"),
        ] {
            let mut message = Vec::new();
            varint(&mut message, value);
            assert_eq!(hex(&message), expected, "{value}");
        }
    }

    #[test]
    fn names_of_files_sort_by_time() {
        assert!(file_name(999_999_999) < file_name(1_000_000_000));
        assert!(file_name(0).contains("tfevents"));
    }
}
