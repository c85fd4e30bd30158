//! Why a job ended without a result: a cause for the scheduler and a message for people.
//!
//! Refuses to know what was being done.

use std::io;

use sandbox::protocol::Cause;

/// The end of an attempt without a result.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    pub(crate) message: String,
}

impl Failure {
    /// A failure of a known cause.
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
        }
    }

    /// A job that this worker cannot do.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Cause::Refused, message)
    }

    /// A failure whose cause only the words of libtorch or of the allocator tell.
    pub(crate) fn from_message(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(cause_of(&message), message)
    }

    /// What a panic carried: libtorch's errors arrive this way.
    pub(crate) fn from_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("the worker panicked without a message");
        Self::from_message(message)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let cause = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::DiskFull,
            io::ErrorKind::OutOfMemory => Cause::OutOfMemory,
            _ => Cause::Other,
        };
        Self::new(cause, error.to_string())
    }
}

/// The cause that a message speaks of.
fn cause_of(message: &str) -> Cause {
    const MEMORY: [&str; 4] = [
        "out of memory",
        "can't allocate memory",
        "cannot allocate memory",
        "not enough memory",
    ];
    let lower = message.to_lowercase();
    if MEMORY.iter().any(|words| lower.contains(words)) {
        Cause::OutOfMemory
    } else if lower.contains("no space left on device") {
        Cause::DiskFull
    } else {
        Cause::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_libtorch_tell_a_full_memory_from_other_faults() {
        for words in [
            "Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB\")",
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
        ] {
            assert_eq!(Failure::from_message(words).cause, Cause::OutOfMemory);
        }
        let other = Failure::from_message("mat1 and mat2 shapes cannot be multiplied");
        assert_eq!(other.cause, Cause::Other);
    }

    #[test]
    fn an_error_of_libtorch_arrives_as_a_panic_with_its_words() {
        let payload = std::panic::catch_unwind(|| tch::Tensor::zeros([2], tch::kind::FLOAT_CPU).view([3]));
        let failure = Failure::from_panic(payload.expect_err("two are not three").as_ref());
        assert_eq!(failure.cause, Cause::Other);
        assert!(failure.message.contains("shape '[3]' is invalid"), "{failure}");
    }

    #[test]
    fn a_full_disk_is_told_by_its_error() {
        let error = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Failure::from(error).cause, Cause::DiskFull);
    }
}
