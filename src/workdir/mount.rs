//! What kind of file system a folder lies on, where several machines may share it.
//!
//! Refuses to know what for.

use std::path::Path;

/// File systems that several machines share, by the number that `statfs` gives (`linux/magic.h` and their own headers).
const SHARED: [(u64, &str); 11] = [
    (0x6969, "NFS"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x00C3_6400, "CephFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
];

/// The name of the shared file system that a path lies on; none: it is local, or nobody knows it (FUSE may be either).
fn shared_file_system(path: &Path) -> std::io::Result<Option<&'static str>> {
    let found = rustix::fs::statfs(path)?;
    // The type of the field differs between platforms.
    let kind = found.f_type as u64 & 0xFFFF_FFFF;
    Ok(SHARED.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name))
}

/// The same of a path that need not be there yet.
pub fn shared_file_system_of(path: &Path) -> std::io::Result<Option<&'static str>> {
    let there = path.ancestors().find(|place| place.exists());
    shared_file_system(there.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_shared_with_nobody() {
        assert_eq!(shared_file_system(Path::new("/proc")).expect("it is there"), None);
        assert!(shared_file_system(Path::new("/nowhere/at/all")).is_err());
        assert_eq!(
            shared_file_system_of(Path::new("/proc/nowhere")).expect("as /proc"),
            None
        );
    }
}
