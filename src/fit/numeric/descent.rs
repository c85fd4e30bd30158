//! The damping of a descent by Levenberg's and Marquardt's method: between Gauss-Newton's step (none) and a short step
//! along the gradient (much). Refuses to know the objective.

/// The damping of the next step. `kept` is the gain ratio, what came of the gain that the quadratic model promised
/// (Marquardt 1963; the rule of the gain ratio after Nielsen 1999): less damping near one, more where the step failed.
pub(crate) fn next_damping(damping: f64, kept: f64) -> f64 {
    if kept > 0.75 {
        (damping * 0.1).max(1e-12)
    } else if kept > 0.25 {
        damping
    } else if kept > 0.0 {
        damping * 3.0
    } else {
        damping * 8.0
    }
}
