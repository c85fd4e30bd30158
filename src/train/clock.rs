//! Where the time of a job goes, part by part.
//!
//! Refuses to know what the parts do.

use std::time::Instant;

use sandbox::protocol::Spent;

/// A stop-watch: every moment since it began belongs to the part that ended last.
pub(crate) struct Clock {
    spent: Spent,
    last: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            spent: Spent::default(),
            last: Instant::now(),
        }
    }

    /// A part has ended: the time since the last one was its.
    pub(crate) fn lap(&mut self, part: fn(&mut Spent) -> &mut f64) {
        let now = Instant::now();
        *part(&mut self.spent) += (now - self.last).as_secs_f64();
        self.last = now;
    }

    /// All laps so far.
    pub(crate) fn spent(&self) -> Spent {
        self.spent
    }
}
