//! What the worker asks of the machine: signals, floating-point modes, libtorch's CUDA half, memory, names.
//!
//! The only place with unsafe code. Refuses to know about training.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sandbox::card;
use sandbox::protocol::Process;
use tch::{Cuda, Device};

/// `SIGINT` on every system that we build for.
const SIGINT: c_int = 2;
const SIG_IGN: usize = 1;
/// Resolve everything at once, for all who come later.
const RTLD_NOW_GLOBAL: c_int = 0x2 | 0x100;
/// Options of glibc's allocator.
#[cfg(target_env = "gnu")]
const M_TRIM_THRESHOLD: c_int = -1;
#[cfg(target_env = "gnu")]
const M_MMAP_THRESHOLD: c_int = -3;

#[expect(
    unsafe_code,
    reason = "four functions of the C library and one of libtorch, too few for a crate"
)]
unsafe extern "C" {
    safe fn signal(signal: c_int, handler: usize) -> usize;
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    #[cfg(target_env = "gnu")]
    safe fn mallopt(option: c_int, value: c_int) -> c_int;
    /// Version of libtorch, one byte a part from the top: 2.11.0 is `0x020b0000_00000000`.
    safe fn aoti_torch_abi_version() -> u64;
}

/// Leaves Ctrl-C to the orchestrator: a terminal sends it to the whole group of processes.
pub(crate) fn ignore_interrupts() {
    signal(SIGINT, SIG_IGN);
}

/// Keeps freed memory for the next step instead of giving it back to the system.
///
/// By default glibc maps every large block anew and the kernel zeroes its pages, which costs small proxies a good
/// part of their time.
pub(crate) fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        mallopt(M_MMAP_THRESHOLD, 1 << 30);
        mallopt(M_TRIM_THRESHOLD, c_int::MAX);
    }
}

/// Treats denormal numbers as zero, here and in every thread started later: they are slow and say nothing.
pub(crate) fn flush_denormals() {
    #[cfg(target_arch = "x86_64")]
    {
        // Flush-to-zero and denormals-are-zero.
        const FTZ_DAZ: u32 = 0x8040;
        let mut mode: u32 = 0;
        #[expect(unsafe_code, reason = "the mode register has no safe access")]
        // SAFETY: reads and writes MXCSR only; rounding and exception masks stay as they are.
        unsafe {
            std::arch::asm!("stmxcsr [{0}]", in(reg) &raw mut mode, options(nostack));
            mode |= FTZ_DAZ;
            std::arch::asm!("ldmxcsr [{0}]", in(reg) &raw const mode, options(nostack));
        }
    }
}

/// Loads libtorch's CUDA half where it lies beside the CPU half; without it only the CPU is there.
///
/// The worker is not linked to it, so that one build runs on machines without CUDA.
pub(crate) fn load_cuda() {
    let Some(library) = libtorch_folder().map(|folder| folder.join("libtorch_cuda.so")) else {
        return;
    };
    // Without a driver the load would fail after seconds of reading.
    if !library.exists() || !Path::new("/dev/nvidiactl").exists() {
        return;
    }
    if let Ok(name) = CString::new(library.as_os_str().as_bytes()) {
        #[expect(unsafe_code, reason = "libtorch registers its CUDA half when it is loaded")]
        // SAFETY: `name` ends with a zero byte; a failure is a null pointer, and then there is no CUDA.
        unsafe {
            dlopen(name.as_ptr(), RTLD_NOW_GLOBAL);
        }
    }
}

/// The folder that libtorch was loaded from, as the kernel tells.
fn libtorch_folder() -> Option<PathBuf> {
    let maps = fs_err::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    let path = line.get(line.find('/')?..)?;
    Path::new(path).parent().map(Path::to_owned)
}

/// Version of libtorch, such as `2.11.0`.
pub(crate) fn libtorch_version() -> String {
    let [major, minor, patch, ..] = aoti_torch_abi_version().to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

/// The most memory of the device that this process has used, in bytes: on the CPU since [`reset_peak`], on a card
/// since it started.
pub(crate) fn peak_bytes(device: Device) -> Option<u64> {
    if device.is_cuda() {
        return card::process_bytes(std::process::id());
    }
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Starts the peak anew, where the kernel allows it; else the peak is that of all jobs so far.
pub(crate) fn reset_peak() {
    if let Err(error) = fs_err::write("/proc/self/clear_refs", "5") {
        drop(error);
    }
}

/// This process, so that nobody takes another for it.
pub(crate) fn process() -> Process {
    Process::of(std::process::id(), &|path| fs_err::read_to_string(path).ok())
}

/// Name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A device by libtorch's name: `cpu`, `cuda:0`.
pub(crate) fn device(name: &str) -> Result<Device, String> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let index = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(index) => index.strip_prefix(':').and_then(|index| index.parse::<u32>().ok()),
        None => None,
    };
    let Some(index) = index else {
        return Err(format!("`{name}` is no device: use `cpu` or `cuda:0`"));
    };
    let count = if Cuda::is_available() { Cuda::device_count() } else { 0 };
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    if i64::try_from(index).is_ok_and(|index| index < count) {
        Ok(Device::Cuda(index))
    } else {
        Err(format!(
            "there is no device `{name}`: libtorch sees {count} CUDA devices here"
        ))
    }
}

/// A device with the model of its card or processor: `cpu (AMD EPYC 7B13)`.
pub(crate) fn describe(device: Device) -> String {
    let (name, model) = match device {
        Device::Cuda(index) => (format!("cuda:{index}"), card_model(index)),
        Device::Cpu | Device::Mps | Device::Vulkan => ("cpu".to_owned(), processor()),
    };
    match model {
        Some(model) => format!("{name} ({model})"),
        None => name,
    }
}

fn processor() -> Option<String> {
    let text = fs_err::read_to_string("/proc/cpuinfo").ok()?;
    value_of(&text, "model name")
}

/// Model of a card, as NVIDIA's driver tells; the driver counts in the order of the bus.
fn card_model(index: usize) -> Option<String> {
    let mut cards: Vec<PathBuf> = fs_err::read_dir("/proc/driver/nvidia/gpus")
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    cards.sort();
    let text = fs_err::read_to_string(cards.get(index)?.join("information")).ok()?;
    value_of(&text, "Model")
}

/// The value after `key :` in a text of such lines.
fn value_of(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

/// Memory of the machine in bytes.
pub(crate) fn memory_bytes() -> Option<u64> {
    let text = fs_err::read_to_string("/proc/meminfo").ok()?;
    let total = value_of(&text, "MemTotal")?;
    let kibibytes: u64 = total.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_are_not_there_are_named_in_the_refusal() {
        assert_eq!(device("cpu"), Ok(Device::Cpu));
        for name in ["gpu", "cuda:x", "cuda:999", "cpu:0"] {
            let refusal = device(name).expect_err(name);
            assert!(refusal.contains(name), "{refusal}");
        }
    }

    #[test]
    fn libtorch_is_the_version_that_tch_was_made_for() {
        assert!(libtorch_version().starts_with("2."), "{}", libtorch_version());
    }

    #[test]
    fn denormals_are_zero_once_asked_for() {
        let tiny = std::hint::black_box(f32::MIN_POSITIVE);
        flush_denormals();
        assert_eq!((std::hint::black_box(tiny) * 0.5).to_bits(), 0);
    }
}
