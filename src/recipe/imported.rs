//! What published laws of the learning rate and of the batch say of the same run, beside what was measured here.
//!
//! Each keeps its own convention of N, C and L. Refuses to choose among them.

use crate::model::flops;
use crate::model::mup::Parametrization;
use crate::model::shape::Shape;
use crate::recipe::ImportedLaw;
use crate::recipe::evidence::TextShape;
use crate::recipe::published;

/// The run that is asked about, as the papers count it.
#[derive(Debug, Clone, Copy)]
struct Target {
    /// Parameters without any embedding.
    params: f64,
    /// The same with the head.
    params_with_head: f64,
    tokens: f64,
    /// FLOPs of the layers with attention, without the head.
    flops: f64,
    /// Loss in nats per token.
    loss: Option<f64>,
}

/// What is known of a published law.
struct Published {
    law: &'static str,
    is_lr: bool,
    at: fn(&Target) -> Option<f64>,
    formula: &'static str,
    source: &'static str,
    convention: &'static str,
}

/// Tokens in a sequence of Porian et al.
const PORIAN_SEQUENCE: f64 = 2048.0;
/// The size that Porian et al. measure theirs by.
const PORIAN_PARAMS: f64 = 108e6;

const LAWS: [Published; 8] = [
    Published {
        law: "Step Law",
        is_lr: true,
        at: |it| Some(1.79 * it.params.powf(-0.713) * it.tokens.powf(0.307)),
        formula: "1.79 N^-0.713 D^0.307",
        source: "Li et al. 2025, arXiv 2503.04715, equation 1",
        convention: STEP_LAW,
    },
    Published {
        law: "DeepSeek LLM",
        is_lr: true,
        at: |it| Some(0.3118 * it.flops.powf(-0.125)),
        formula: "0.3118 C^-0.125",
        source: "Bi et al. 2024, arXiv 2401.02954, equation 1",
        convention: DEEPSEEK,
    },
    Published {
        law: "Porian et al.",
        is_lr: true,
        at: |it| Some(0.0047 * (it.params_with_head / PORIAN_PARAMS).cbrt().recip()),
        formula: "0.0047 (N / 108e6)^(-1/3)",
        source: "Porian et al. 2024, arXiv 2406.19146, and the authors' code",
        convention: PORIAN,
    },
    Published {
        law: "MiniCPM",
        is_lr: true,
        at: |_| Some(published::LR),
        formula: "0.01",
        source: "Hu et al. 2024, arXiv 2404.06395, 3.3",
        convention: "one rate for all sizes under muP, of embedding and norms; WSD",
    },
    Published {
        law: "Step Law",
        is_lr: false,
        at: |it| Some(published::batch_tokens(it.tokens)),
        formula: "0.58 D^0.571",
        source: "Li et al. 2025, arXiv 2503.04715, equation 1",
        convention: STEP_LAW,
    },
    Published {
        law: "DeepSeek LLM",
        is_lr: false,
        at: |it| Some(0.292 * it.flops.powf(0.3271)),
        formula: "0.292 C^0.3271",
        source: "Bi et al. 2024, arXiv 2401.02954, equation 1",
        convention: DEEPSEEK,
    },
    Published {
        law: "Porian et al.",
        is_lr: false,
        at: |it| Some(160.0 * PORIAN_SEQUENCE * (it.params_with_head / PORIAN_PARAMS).powf(2.0 / 3.0)),
        formula: "160 \u{b7} 2048 (N / 108e6)^(2/3)",
        source: "Porian et al. 2024, arXiv 2406.19146, and the authors' code",
        convention: PORIAN,
    },
    Published {
        law: "MiniCPM",
        is_lr: false,
        at: |it| it.loss.map(|loss| 1.21e9 / loss.powf(6.24)),
        formula: "1.21e9 / L^6.24",
        source: "Hu et al. 2024, arXiv 2404.06395, 3.2",
        convention: "L in nats per token of C4 and its own tokenizer; here the predicted loss of the proxies' text stands in \
                     for it",
    },
];

const STEP_LAW: &str = "N without embeddings; AdamW, cosine to a fixed last rate, no muP; 60M to 1B";
const DEEPSEEK: &str =
    "C = M D with M = 6 FLOPs a weight of the layers and 12 L d T of attention, no head; multi-step, no muP";
const PORIAN: &str = "N with the head, without the input embedding; constant rate, no muP, at compute-optimal tokens";

/// What the published laws say of a run.
pub(super) fn imported(
    shape: Shape,
    text: TextShape,
    tokens: Option<f64>,
    loss: Option<f64>,
    parametrization: Parametrization,
) -> Vec<ImportedLaw> {
    let params = shape.params_non_embedding();
    // A law in tokens that are not known says nothing.
    let tokens = tokens.unwrap_or(f64::NAN);
    let target = Target {
        params: params.as_f64(),
        params_with_head: shape.params_total(text.vocab).as_f64(),
        tokens,
        flops: tokens * flops::per_token(shape, 0, text.context),
        loss,
    };
    let law = |it: &Published| {
        // Without muP one rate serves all matrices: under muP it is the rate of the layers that it compares with.
        let of_layers = parametrization == Parametrization::Mup && it.law != "MiniCPM";
        let item = match (it.is_lr, of_layers) {
            (true, true) => "lr_hidden",
            (true, false) => "lr",
            (false, _) => "batch_tokens",
        };
        Some(ImportedLaw {
            law: it.law.to_owned(),
            item: item.to_owned(),
            value: (it.at)(&target).filter(|value| value.is_finite())?,
            formula: it.formula.to_owned(),
            source: it.source.to_owned(),
            convention: it.convention.to_owned(),
        })
    };
    LAWS.iter().filter_map(law).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(law: &str, is_lr: bool, target: &Target) -> f64 {
        let of = LAWS.iter().find(|it| it.law == law && it.is_lr == is_lr);
        of.and_then(|it| (it.at)(target)).expect("a value")
    }

    #[test]
    fn each_law_gives_what_its_paper_gives() {
        let target = Target {
            params: 1e9,
            params_with_head: 864e6,
            tokens: 1e11,
            flops: 1e20,
            loss: Some(3.0),
        };
        let near = |law, is_lr, expected: f64| {
            let found = value(law, is_lr, &target);
            assert!((found / expected - 1.0).abs() < 5e-3, "{law}: {found} for {expected}");
        };
        // 1.79 · 10^(−.713·9 + .307·11) and .58 · 10^(.571·11)
        near("Step Law", true, 1.79 * 10f64.powf(-3.04));
        near("Step Law", false, 0.58 * 10f64.powf(6.281));
        near("DeepSeek LLM", true, 0.3118 * 10f64.powf(-2.5));
        near("DeepSeek LLM", false, 0.292 * 10f64.powf(6.542));
        // Eight times 108M.
        near("Porian et al.", true, 0.0047 / 2.0);
        near("Porian et al.", false, 4.0 * 160.0 * 2048.0);
        near("MiniCPM", true, 0.01);
        near("MiniCPM", false, 1.28e6);
    }

    #[test]
    fn without_a_loss_minicpms_batch_is_not_known_and_rates_without_mup_compare_with_the_layers() {
        let shape = crate::model::ladder::find("2.4B").expect("on the ladder").shape;
        let of = |loss, how| {
            imported(
                shape,
                TextShape {
                    vocab: 122_753,
                    context: 4096,
                },
                Some(1e12),
                loss,
                how,
            )
        };
        let mup = of(None, Parametrization::Mup);
        assert_eq!(mup.len(), 7);
        let items: Vec<&str> = mup.iter().map(|it| it.item.as_str()).collect();
        assert_eq!(items[..4], ["lr_hidden", "lr_hidden", "lr_hidden", "lr"]);
        let standard = of(Some(2.5), Parametrization::Standard);
        assert_eq!(standard.len(), 8);
        assert!(standard[..4].iter().all(|it| it.item == "lr"));
        assert!(
            standard
                .iter()
                .all(|it| !it.source.is_empty() && !it.convention.is_empty())
        );
    }
}
