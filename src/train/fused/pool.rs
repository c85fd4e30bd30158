//! The threads of a training step; refuses to know what they compute.

use rayon::prelude::*;

/// Elements that one task of an element-wise pass takes; sums are taken over such parts, whatever the threads.
pub(crate) const PART: usize = 1 << 15;

/// Threads that wait asleep; with one there is none and work is done by the caller.
///
/// Threads begin with the floating-point mode of the thread that makes the pool (flushing denormal numbers to zero).
#[derive(Debug)]
pub(crate) struct Pool {
    threads: Option<rayon::ThreadPool>,
}

impl Pool {
    /// A pool of `threads`, at least one.
    pub(crate) fn new(threads: usize) -> Self {
        let build = |threads| {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
            builder.thread_name(|index| format!("step-{index}")).build()
        };
        Self {
            threads: (threads > 1).then(|| build(threads).expect("threads can be started")),
        }
    }

    /// Does `work` with every item; which thread takes which item does not matter to the result.
    pub(crate) fn for_each<T: Send>(&self, items: Vec<T>, work: impl Fn(T) + Sync + Send) {
        match &self.threads {
            None => items.into_iter().for_each(work),
            Some(pool) => pool.install(|| items.into_par_iter().with_max_len(1).for_each(work)),
        }
    }

    /// `work` of every item, in the order of the items.
    pub(crate) fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
        match &self.threads {
            None => items.into_iter().map(work).collect(),
            Some(pool) => pool.install(|| items.into_par_iter().with_max_len(1).map(work).collect()),
        }
    }
}
