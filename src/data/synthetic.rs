//! A synthetic source whose entropy rate is known exactly, so that a fitted irreducible loss can be checked.
//!
//! `synthetic:markov?vocab=256&order=1&seed=0&tokens=4M&exponent=1.5` is a Markov chain. After each context of `order`
//! tokens the next token has the same probabilities `p_1 ≥ p_2 ≥ …` (a Zipf law, `p_j ∝ j^-exponent`), dealt to the
//! tokens in an order of the context's own. Every context thus has the same entropy `H(p)`, so the entropy rate is
//! `H(p)` whatever the stationary distribution is, and no model does better. Refuses to know files.

use rand::RngCore;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::error::DataError;
use crate::units;

/// How synthetic sources begin.
pub const PREFIX: &str = "synthetic:";
/// Most entries in the table of successors: 64 MiB.
const TABLE_MAX: u64 = 1 << 24;
/// The probabilities are whole parts of this, so that what is sampled is exactly what is summed up.
const PARTS: u64 = 1 << 32;

/// What defines a chain and how much of it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkovSpec {
    /// Size of the vocabulary.
    pub vocab: u64,
    /// Tokens of a context.
    pub order: u64,
    /// Seed of the chain and of what is drawn from it.
    pub seed: u64,
    /// Tokens of all splits together.
    pub tokens: u64,
    /// Exponent of the Zipf law of successors; 0: all alike.
    pub exponent: f64,
}

impl MarkovSpec {
    /// Reads `synthetic:markov?key=value&…`; keys may be left out.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let wrong = |why: String| DataError::BadSynthetic {
            text: text.to_owned(),
            why,
        };
        let rest = text.strip_prefix(PREFIX).unwrap_or(text);
        let (kind, query) = rest.split_once('?').unwrap_or((rest, ""));
        if kind != "markov" {
            return Err(wrong(format!("there is no kind `{kind}`, only `markov`")));
        }
        let mut spec = Self {
            vocab: 256,
            order: 1,
            seed: 0,
            tokens: 4_000_000,
            exponent: 1.5,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| wrong(format!("`{pair}` is not key=value")))?;
            spec.set(key, value).map_err(wrong)?;
        }
        spec.check().map_err(wrong)?;
        Ok(spec)
    }

    /// The source as it would be written in full.
    pub fn canonical(&self) -> String {
        let Self {
            vocab,
            order,
            seed,
            tokens,
            exponent,
        } = self;
        format!("{PREFIX}markov?vocab={vocab}&order={order}&seed={seed}&tokens={tokens}&exponent={exponent}")
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let count = || units::parse_count(value).map_err(|error| error.to_string());
        match key {
            "vocab" => self.vocab = count()?,
            "order" => self.order = count()?,
            "tokens" => self.tokens = count()?,
            "seed" => {
                self.seed = value
                    .parse()
                    .map_err(|_| format!("seed `{value}` is not a whole number"))?;
            }
            "exponent" => {
                self.exponent = value
                    .parse()
                    .map_err(|_| format!("exponent `{value}` is not a number"))?;
            }
            _ => {
                return Err(format!(
                    "there is no key `{key}`, only vocab, order, seed, tokens, exponent"
                ));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.vocab < 2 {
            return Err("a vocabulary has at least 2 tokens".to_owned());
        }
        if !(0.0..=4.0).contains(&self.exponent) {
            return Err("the exponent is between 0 and 4".to_owned());
        }
        let entries = u32::try_from(self.order + 1)
            .ok()
            .and_then(|power| self.vocab.checked_pow(power));
        match entries {
            Some(entries) if entries <= TABLE_MAX => Ok(()),
            Some(_) | None => Err(format!(
                "vocab^(order+1) is at most {TABLE_MAX}: ask for a smaller vocabulary or order"
            )),
        }
    }
}

/// A Markov chain: its table, and its probabilities in parts of 2³².
#[derive(Debug, Clone)]
pub struct Markov {
    spec: MarkovSpec,
    /// Parts of the j-th likeliest successor, and their running sums.
    parts: Vec<u64>,
    sums: Vec<u64>,
    /// `successors[context · vocab + j]`: the j-th likeliest token after a context.
    successors: Vec<u32>,
}

impl Markov {
    /// The chain of a specification.
    pub fn new(spec: &MarkovSpec) -> Self {
        let vocab = usize::try_from(spec.vocab).expect("a checked vocabulary is small");
        let parts = zipf_parts(vocab, spec.exponent);
        let sums = parts
            .iter()
            .scan(0, |sum, part| {
                *sum += part;
                Some(*sum)
            })
            .collect();
        let contexts = spec.vocab.pow(u32::try_from(spec.order).expect("checked"));
        let mut rng = ChaCha8Rng::seed_from_u64(spec.seed);
        let tokens: Vec<u32> = (0u32..).take(vocab).collect();
        let mut successors = Vec::new();
        for _ in 0..contexts {
            let mut row = tokens.clone();
            row.shuffle(&mut rng);
            successors.extend(row);
        }
        Self {
            spec: spec.clone(),
            parts,
            sums,
            successors,
        }
    }

    /// The entropy rate, in nats per token: no model's expected loss is below it.
    ///
    /// A model that sees the last `order` tokens can reach it; within a window of a higher order than 1, the first
    /// `order - 1` targets are seen with a shorter context and cost a little more.
    pub fn entropy_rate_nats(&self) -> f64 {
        let entropy = |&part: &u64| {
            let p = part as f64 / PARTS as f64;
            if part == 0 { 0.0 } else { -p * p.ln() }
        };
        self.parts.iter().map(entropy).sum()
    }

    /// A walk along the chain without end; equal (specification, stream) walk alike, streams are independent.
    pub fn walk(&self, stream: u64) -> Walk<'_> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.spec.seed);
        // Stream 0 has dealt the table.
        rng.set_stream(stream + 1);
        let contexts = self.successors.len() as u64 / self.spec.vocab;
        Walk {
            chain: self,
            contexts,
            // Not drawn from the stationary distribution: the entropy of a context does not depend on it.
            context: rng.next_u64() % contexts,
            rng,
        }
    }

    /// The probability of a token after a context of `order` tokens.
    pub fn probability(&self, context: &[u32], token: u32) -> f64 {
        let index = context
            .iter()
            .fold(0, |index, &token| index * self.spec.vocab + u64::from(token));
        let row = usize::try_from(index * self.spec.vocab).expect("a row of the table");
        let rank = self.successors[row..row + self.parts.len()]
            .iter()
            .position(|&successor| successor == token);
        rank.map_or(0.0, |rank| self.parts[rank] as f64 / PARTS as f64)
    }
}

/// An endless walk along a chain.
pub struct Walk<'a> {
    chain: &'a Markov,
    contexts: u64,
    /// The last tokens, as a number in base `vocab`.
    context: u64,
    rng: ChaCha8Rng,
}

impl Iterator for Walk<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let draw = u64::from(self.rng.next_u32());
        let rank = self.chain.sums.partition_point(|&sum| sum <= draw) as u64;
        let vocab = self.chain.spec.vocab;
        let place = usize::try_from(self.context * vocab + rank).expect("a place in the table");
        let token = self.chain.successors[place];
        self.context = (self.context * vocab + u64::from(token)) % self.contexts;
        Some(token)
    }
}

/// The Zipf law in whole parts of 2³², at least one each; what rounding leaves goes to the likeliest.
fn zipf_parts(vocab: usize, exponent: f64) -> Vec<u64> {
    let weights: Vec<f64> = (1..=vocab).map(|rank| (rank as f64).powf(-exponent)).collect();
    let total: f64 = weights.iter().sum();
    let mut parts: Vec<u64> = weights
        .iter()
        .map(|weight| ((weight / total * PARTS as f64).floor() as u64).max(1))
        .collect();
    let tail: u64 = parts[1..].iter().sum();
    parts[0] = PARTS - tail;
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(text: &str) -> Markov {
        Markov::new(&MarkovSpec::parse(text).unwrap())
    }

    fn sample(chain: &Markov, stream: u64, tokens: usize) -> Vec<u32> {
        chain.walk(stream).take(tokens).collect()
    }

    /// Mean of `-ln q` over a sample, for a model that sees the last token.
    fn loss(sample: &[u32], q: impl Fn(u32, u32) -> f64) -> f64 {
        let losses: f64 = sample.windows(2).map(|pair| -q(pair[0], pair[1]).ln()).sum();
        losses / (sample.len() - 1) as f64
    }

    #[test]
    fn the_true_model_loses_exactly_the_entropy_rate() {
        let chain = chain("synthetic:markov?vocab=32&seed=7");
        let sample = sample(&chain, 0, 200_000);
        let truth = loss(&sample, |context, token| chain.probability(&[context], token));
        // The deviation of -ln p is below 1.5 nats here, so that of the mean is below 0.0034.
        assert!((truth - chain.entropy_rate_nats()).abs() < 0.012, "{truth}");
    }

    #[test]
    fn a_model_learned_from_one_stretch_stays_above_the_rate_on_another() {
        let chain = chain("synthetic:markov?vocab=16&seed=3");
        let learn = |tokens: usize| {
            let mut counts = vec![1.0; 256];
            for pair in sample(&chain, 1, tokens).windows(2) {
                counts[pair[0] as usize * 16 + pair[1] as usize] += 1.0;
            }
            let row = |context: u32| counts[context as usize * 16..][..16].iter().sum::<f64>();
            let sample = sample(&chain, 2, 100_000);
            loss(&sample, |context, token| {
                counts[(context * 16 + token) as usize] / row(context)
            })
        };
        let (little, much) = (learn(1000), learn(200_000));
        let rate = chain.entropy_rate_nats();
        assert!(little > much + 0.02, "{little} {much}");
        assert!((much - rate).abs() < 0.02, "{much} {rate}");
    }

    #[test]
    fn equal_probabilities_have_the_entropy_of_the_vocabulary() {
        let rate = chain("synthetic:markov?vocab=64&exponent=0").entropy_rate_nats();
        assert!((rate - 64f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn the_probabilities_after_each_context_add_up_to_one() {
        let chain = chain("synthetic:markov?vocab=8&order=2");
        for context in [[0, 0], [3, 5], [7, 7]] {
            let sum: f64 = (0..8).map(|token| chain.probability(&context, token)).sum();
            assert!((sum - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn an_order_of_two_needs_both_tokens() {
        let chain = chain("synthetic:markov?vocab=8&order=2&seed=1");
        let sample = sample(&chain, 0, 50_000);
        let losses: f64 = sample.windows(3).map(|w| -chain.probability(&w[..2], w[2]).ln()).sum();
        let truth = losses / (sample.len() - 2) as f64;
        assert!((truth - chain.entropy_rate_nats()).abs() < 0.02, "{truth}");
    }

    #[test]
    fn streams_are_repeatable_and_apart() {
        let chain = chain("synthetic:markov?vocab=16");
        assert_eq!(sample(&chain, 1, 100), sample(&chain, 1, 100));
        assert_eq!(sample(&chain, 1, 50), sample(&chain, 1, 100)[..50]);
        assert_ne!(sample(&chain, 1, 100), sample(&chain, 2, 100));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("synthetic:zipf", "no kind `zipf`"),
            ("synthetic:markov?vocap=3", "no key `vocap`"),
            ("synthetic:markov?vocab=1", "at least 2"),
            ("synthetic:markov?vocab=5000&order=2", "at most"),
            ("synthetic:markov?exponent=NaN", "between 0 and 4"),
            ("synthetic:markov?seed", "key=value"),
        ] {
            let error = MarkovSpec::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_canonical_form_reads_back() {
        let spec = MarkovSpec::parse("synthetic:markov?tokens=1M&exponent=1.25").unwrap();
        assert_eq!(spec.tokens, 1_000_000);
        assert_eq!(MarkovSpec::parse(&spec.canonical()).unwrap(), spec);
    }
}
