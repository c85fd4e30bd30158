//! The order of training windows: a fresh keyed permutation for each pass over the data.
//!
//! A batch is thereby a function of (data, seed, token offset): two runs with different batch sizes read the same
//! tokens in the same order, and a fork continues exactly where its trunk stopped. Nothing is stored and nothing is
//! shuffled. Refuses to know where the windows are kept and what is in them.

use std::ops::Range;

use crate::units::Tokens;

/// Rounds of the Feistel network; four make it a strong pseudo-random permutation of large domains (Luby and
/// Rackoff, 1988), more are for the small domains of small data.
const ROUNDS: usize = 8;
/// What the keys are derived for; a change of the permutation changes this text.
const CONTEXT: &str = "sandbox 2026 order of windows v1";

/// The order in which sequences read the windows of one data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowOrder {
    /// Number of windows, at least one.
    windows: u64,
    /// Bits of one half of the Feistel network's block.
    half_bits: u32,
    /// Key of the permutations of all passes.
    key: [u8; 32],
}

impl WindowOrder {
    /// The order over `windows` windows of the data of that hash, for a run of that seed.
    ///
    /// # Panics
    /// If there is no window: data shorter than one context cannot be trained on, and whoever plans says so first.
    pub fn new(windows: u64, seed: u64, data_hash: &str) -> Self {
        assert!(windows > 0, "an order needs at least one window");
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&seed.to_le_bytes());
        hasher.update(data_hash.as_bytes());
        Self {
            windows,
            half_bits: half_bits(windows),
            key: *hasher.finalize().as_bytes(),
        }
    }

    /// Number of windows in one pass.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// The window that a sequence of the run reads; sequences count from the run's beginning.
    ///
    /// Sequence i reads window `π_e(i mod windows)`, with a permutation of its own for each pass `e = i / windows`.
    pub fn window(&self, sequence: u64) -> u64 {
        let keys = self.round_keys(sequence / self.windows);
        let mut window = sequence % self.windows;
        // Cycle walking: the block is at most four times the domain, so this takes four turns on average, and it
        // ends because the walk comes back to its start, which is in the domain.
        loop {
            window = self.permute(window, &keys);
            if window < self.windows {
                return window;
            }
        }
    }

    /// One pass of the Feistel network over the block of `2 · half_bits` bits.
    fn permute(&self, value: u64, keys: &[u64; ROUNDS]) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let mut left = value >> self.half_bits;
        let mut right = value & mask;
        for key in keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }

    /// The keys of the permutation of one pass.
    fn round_keys(&self, pass: u64) -> [u64; ROUNDS] {
        let mut bytes = [0; 8 * ROUNDS];
        blake3::Hasher::new_keyed(&self.key)
            .update(&pass.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        let mut keys = [0; ROUNDS];
        for (key, chunk) in keys.iter_mut().zip(bytes.chunks_exact(8)) {
            *key = u64::from_le_bytes(chunk.try_into().expect("a chunk has eight bytes"));
        }
        keys
    }
}

/// The sequences of the batch that starts at a token offset; whole sequences of `context` tokens each.
pub fn batch_sequences(offset: Tokens, batch: Tokens, context: u64) -> Range<u64> {
    debug_assert!(offset.0.is_multiple_of(context) && batch.0.is_multiple_of(context));
    offset.0 / context..(offset.0 + batch.0) / context
}

/// Half the bits of the smallest block of an even number of bits that holds the domain.
fn half_bits(windows: u64) -> u32 {
    let bits = u64::BITS - (windows - 1).leading_zeros();
    bits.div_ceil(2).max(1)
}

/// Mixes all bits into all bits: the finaliser of `SplitMix64` (Steele, Lea and Flood, 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pass(order: &WindowOrder, pass: u64) -> Vec<u64> {
        let first = pass * order.windows();
        (first..first + order.windows())
            .map(|sequence| order.window(sequence))
            .collect()
    }

    proptest! {
        #[test]
        fn each_pass_reads_every_window_once(windows in 1u64..3000, seed: u64, epoch in 0u64..1000) {
            let order = WindowOrder::new(windows, seed, "data");
            let seen: BTreeSet<u64> = pass(&order, epoch).into_iter().collect();
            prop_assert_eq!(seen.len() as u64, windows);
            prop_assert_eq!(seen.last().copied(), Some(windows - 1));
        }

        #[test]
        fn two_batch_sizes_read_the_same_windows_in_the_same_order(
            windows in 1u64..500, seed: u64, small in 1u64..9, large in 1u64..9, context in 1u64..300,
        ) {
            let order = WindowOrder::new(windows, seed, "data");
            let read = |sequences: u64, steps: u64| -> Vec<u64> {
                let batch = Tokens(sequences * context);
                (0..steps)
                    .flat_map(|step| batch_sequences(Tokens(step * batch.0), batch, context))
                    .map(|sequence| order.window(sequence))
                    .collect()
            };
            prop_assert_eq!(read(small, 10 * large), read(large, 10 * small));
        }

        #[test]
        fn huge_data_stays_within_its_windows(windows in 1u64..=u64::MAX, seed: u64, sequence: u64) {
            let order = WindowOrder::new(windows, seed, "data");
            prop_assert!(order.window(sequence) < windows);
        }
    }

    #[test]
    fn passes_seeds_and_data_have_orders_of_their_own() {
        let order = WindowOrder::new(100, 1, "data");
        let first = pass(&order, 0);
        assert_ne!(first, pass(&order, 1));
        assert_ne!(first, pass(&WindowOrder::new(100, 2, "data"), 0));
        assert_ne!(first, pass(&WindowOrder::new(100, 1, "other"), 0));
        assert_eq!(first, pass(&WindowOrder::new(100, 1, "data"), 0));
    }

    #[test]
    fn windows_are_spread_evenly_over_the_places_of_a_pass() {
        // 4000 permutations of 5: each window stands in the first place 800 times, within five deviations (±126).
        let order = WindowOrder::new(5, 7, "data");
        let mut counts = [0u32; 5];
        for epoch in 0..4000 {
            counts[usize::try_from(order.window(epoch * 5)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (674..=926).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_order_never_changes_between_versions() {
        // Stored stages are named by their data and seed: another order under the same name would be a lie.
        let order = WindowOrder::new(10, 0, "golden");
        let read: Vec<u64> = (0..12).map(|sequence| order.window(sequence)).collect();
        assert_eq!(read, [0; 12]);
    }
}
