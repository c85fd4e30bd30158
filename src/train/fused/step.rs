//! Loss and gradient of a micro-batch over all threads; refuses to know the optimiser and where tokens come from.

use crate::fused::pool::{PART, Pool};
use crate::fused::spec::{Layout, ModelSpec};
use crate::fused::tile::Tile;

/// Tokens that go through the layers together, about: enough for full speed of products, few enough for the caches.
const TILE_ROWS: usize = 512;

#[derive(Debug)]
struct Worker {
    tile: Tile,
    /// Its own gradient, zero between calls; empty for the first, which writes to the caller's.
    grad: Vec<f32>,
}

/// A model's forward and backward pass with all its buffers.
///
/// Every thread takes a fixed share of the sequences and sums its own gradient; the sums are added in the order of the
/// threads. A result depends on the parameters, the tokens, the number of threads and the kind of processor alone.
#[derive(Debug)]
pub(crate) struct Engine {
    spec: ModelSpec,
    layout: Layout,
    micro_batch: usize,
    tile_sequences: usize,
    pool: Pool,
    workers: Vec<Worker>,
    tokens: Vec<u32>,
}

impl Engine {
    /// Buffers for `micro_batch` sequences at a time on `threads` threads; more threads than sequences stay idle.
    pub(crate) fn new(spec: &ModelSpec, micro_batch: usize, threads: usize) -> Self {
        spec.check();
        let layout = Layout::new(spec);
        let threads = threads.clamp(1, micro_batch.max(1));
        let share = micro_batch.max(1).div_ceil(threads);
        let tile_sequences = (TILE_ROWS / spec.context).clamp(1, share);
        let worker = |index| Worker {
            tile: Tile::new(spec, tile_sequences),
            grad: vec![0.0; if index == 0 { 0 } else { layout.numel() }],
        };
        Self {
            spec: *spec,
            layout,
            micro_batch: micro_batch.max(1),
            tile_sequences,
            pool: Pool::new(threads),
            workers: (0..threads).map(worker).collect(),
            tokens: Vec::with_capacity(micro_batch * (spec.context + 1)),
        }
    }

    /// The threads, for the optimiser's pass.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Summed cross-entropy in nats of `tokens`, at most `micro_batch` windows of `context + 1`.
    pub(crate) fn loss<T: Copy + TryInto<u32>>(&mut self, params: &[f32], tokens: &[T]) -> f64 {
        self.take(params, tokens);
        let step = self.tile_sequences * (self.spec.context + 1);
        let threads = self.workers.len();
        let shares = self
            .workers
            .iter_mut()
            .zip(shares(&self.tokens, self.spec.context + 1, threads))
            .collect();
        let losses = self.pool.map(shares, |(worker, tokens): (&mut Worker, &[u32])| {
            tokens
                .chunks(step)
                .map(|part| worker.tile.loss(params, part))
                .sum::<f64>()
        });
        losses.iter().sum()
    }

    /// As [`Self::loss`]; also adds `scale` times the gradient of that sum to `grad`.
    pub(crate) fn accumulate<T: Copy + TryInto<u32>>(
        &mut self,
        params: &[f32],
        grad: &mut [f32],
        tokens: &[T],
        scale: f32,
    ) -> f64 {
        self.take(params, tokens);
        assert_eq!(grad.len(), params.len(), "one gradient for each parameter");
        let step = self.tile_sequences * (self.spec.context + 1);
        let mut first = Some(&mut *grad);
        let mut shares_of_workers = Vec::with_capacity(self.workers.len());
        let all = shares(&self.tokens, self.spec.context + 1, self.workers.len());
        for (Worker { tile, grad }, tokens) in self.workers.iter_mut().zip(all) {
            shares_of_workers.push((tile, first.take().unwrap_or(grad), tokens));
        }
        let losses = self.pool.map(shares_of_workers, |(tile, grad, tokens)| {
            tokens
                .chunks(step)
                .map(|part| tile.accumulate(params, grad, part, scale))
                .sum::<f64>()
        });
        self.gather(grad);
        losses.iter().sum()
    }

    /// Keeps the tokens as the passes read them.
    fn take<T: Copy + TryInto<u32>>(&mut self, params: &[f32], tokens: &[T]) {
        assert_eq!(
            params.len(),
            self.layout.numel(),
            "as many parameters as the layout has"
        );
        let window = self.spec.context + 1;
        assert!(tokens.len().is_multiple_of(window), "tokens are whole windows");
        assert!(
            tokens.len() <= self.micro_batch * window,
            "at most a micro-batch of windows"
        );
        self.tokens.clear();
        self.tokens
            .extend(tokens.iter().map(|&token| token.try_into().unwrap_or(u32::MAX)));
        let vocab = self.spec.vocab;
        assert!(
            self.tokens.iter().all(|&token| (token as usize) < vocab),
            "tokens are of the vocabulary"
        );
    }

    /// Adds the other threads' gradients to `grad` in their order and leaves them zero.
    fn gather(&mut self, grad: &mut [f32]) {
        for worker in &mut self.workers[1..] {
            let parts = grad.chunks_mut(PART).zip(worker.grad.chunks_mut(PART)).collect();
            self.pool.for_each(parts, |(to, from): (&mut [f32], &mut [f32])| {
                for (to, from) in to.iter_mut().zip(from) {
                    *to += *from;
                    *from = 0.0;
                }
            });
        }
    }
}

/// Consecutive shares of whole windows, one for each of `parts`, as equal as can be.
fn shares(tokens: &[u32], window: usize, parts: usize) -> impl Iterator<Item = &[u32]> {
    let count = tokens.len() / window;
    let bound = move |index: usize| count * index / parts * window;
    (0..parts).map(move |index| &tokens[bound(index)..bound(index + 1)])
}
