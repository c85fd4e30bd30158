//! The coordinate check tells muP from the standard parametrisation.

use sandbox::model::mup::{Multipliers, Parametrization};

use crate::coordinates::{STEPS, changes, measure, spread};

// Measured: with muP the stream 1.1, the logits 1.8 to 2.3 (the noise of the loud tied head falls with the root of
// the width; it does not grow); with the standard parametrisation 50 to 230 and 13 to 50.

#[test]
fn with_mup_changes_do_not_grow_with_the_width() {
    let found = changes(Parametrization::Mup, Multipliers::default()).expect("finite");
    for (steps, changes) in STEPS.iter().zip(found) {
        assert!(changes[3][1] < changes[0][1], "{steps} steps: {changes:?}");
    }
    let found = measure(Multipliers::default()).expect("finite");
    assert!(found.stream < 1.5 && found.logits < 2.8, "{found:?}");
}

#[test]
fn with_the_standard_parametrisation_changes_grow_with_the_width() {
    let found = changes(Parametrization::Standard, Multipliers::default()).expect("finite");
    for (steps, changes) in STEPS.iter().zip(found) {
        let [stream, logits] = spread(&changes);
        assert!(stream > 20.0 && logits > 8.0, "{steps} steps: {changes:?}");
        assert!(changes.is_sorted_by(|a, b| a[0] < b[0] && a[1] < b[1]), "{changes:?}");
    }
}
