//! Distances from the data.

use super::*;

#[test]
fn inside_the_data_nothing_is_extrapolated() {
    let range = Range {
        params: [1e6, 1e7],
        tokens: [1e8, 1e9],
        flops: [6e14, 6e16],
    };
    let inside = range.extrapolation(2e6, 2e8);
    assert_eq!((inside.params, inside.tokens, inside.flops), (1.0, 1.0, 1.0));
    let outside = range.extrapolation(4e7, 5e7);
    assert!((outside.params - 4.0).abs() < 1e-12 && (outside.tokens - 0.5).abs() < 1e-12);
    assert!((outside.e_folds() - 4.0_f64.ln()).abs() < 1e-12);
}
