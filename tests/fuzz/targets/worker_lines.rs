//! Any text is lines and a rest, or one mistake.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok((_, used)) = pure::protocol::read_lines(text, 1) {
        assert!(used <= text.len() && !text[used..].contains('\n'));
    }
});
