//! Any text is a sweep or a list of mistakes with their places.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(mistakes) = pure::spec::read(text, "sweep.yaml", &[]) {
        assert!(!mistakes.is_empty() && mistakes.iter().all(|it| it.line > 0 && it.column > 0));
    }
});
