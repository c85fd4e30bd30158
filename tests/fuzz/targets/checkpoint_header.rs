//! Any bytes are a state or unusable.
#![no_main]

use pure::checkpoint::{EXP_AVG, State};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(state) = State::read(bytes) {
        let _ = state.floats(EXP_AVG, 2);
        assert!(state.about().stage.len() < bytes.len());
    }
});
