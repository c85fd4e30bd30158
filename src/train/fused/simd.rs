//! What vectorised loops share: dispatch on the processor, sums in lanes, a fast exponential; refuses to know models.

#![expect(
    clippy::inline_always,
    reason = "bodies are compiled anew for each set of instructions"
)]

/// Elements of a chunk, two registers of AVX2 or one of AVX-512.
pub(crate) const LANES: usize = 16;

pub(crate) type Lanes = [f32; LANES];

/// Makes `$name`, which runs the generic `$body` as compiled for the best set of instructions of this processor.
///
/// The body has one constant parameter: whether a product and a sum are one instruction. It must be
/// `#[inline(always)]`, so that it is compiled anew inside each caller.
macro_rules! dispatched {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$meta])*
        #[cfg_attr(
            target_arch = "x86_64",
            expect(unsafe_code, reason = "a function of more features than the caller's is called once they are known")
        )]
        $vis fn $name($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn widest($($arg: $type),*) $(-> $result)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn wide($($arg: $type),*) $(-> $result)? {
                    $body::<true>($($arg),*)
                }
                match $crate::fused::simd::level() {
                    // SAFETY: the level says that the processor has every feature of `widest`.
                    $crate::fused::simd::Level::Avx512 => return unsafe { widest($($arg),*) },
                    // SAFETY: the level says that the processor has AVX2 and FMA.
                    $crate::fused::simd::Level::Avx2 => return unsafe { wide($($arg),*) },
                    $crate::fused::simd::Level::Portable => {}
                }
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}
pub(crate) use dispatched;

/// Sets of instructions that loops are compiled for.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// AVX-512 (F, VL, DQ, BW) with AVX2 and FMA.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// What every processor has.
    Portable,
}

/// The level of this processor; the standard library remembers what it has asked.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn level() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        (false, _) => Level::Portable,
    }
}

/// `a · b + c`, in one rounding where the processor has that; elsewhere it would be a call.
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The sum of a chunk, halves first: always in the same order.
#[inline(always)]
pub(crate) fn sum(mut lanes: Lanes) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `Σ aᵢ bᵢ`.
#[inline(always)]
pub(crate) fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] = fma::<FMA>(a[i], b[i], lanes[i]);
        }
    }
    let rest = a_rest
        .iter()
        .zip(b_rest)
        .fold(0.0, |rest, (&a, &b)| fma::<FMA>(a, b, rest));
    sum(lanes) + rest
}

/// The largest element, `-∞` of none; what is not a number is passed over.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], chunk[i]);
        }
    }
    let rest = rest.iter().fold(f32::NEG_INFINITY, |a, &b| larger(a, b));
    lanes.iter().fold(rest, |a, &b| larger(a, b))
}

/// `eˣ` to about one unit in the last place; below -87.3 it stays at the smallest normal number's size, above 88.3 it
/// stays near the largest; what is not a number stays so.
#[expect(
    clippy::excessive_precision,
    reason = "the constants split ln 2 into a short and a long part"
)]
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to a whole number
    // Comparisons that are false of NaN, so that NaN goes through.
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -0.693_359_375, x);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_15e-4;
    for c in [1.398_199_95e-3, 8.333_451_9e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = fma::<FMA>(p, r, c);
    }
    let y = fma::<FMA>(p, r * r, r) + 1.0;
    // 2ⁿ from its bits: the low bits of `shifted` are n.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    y * power
}

/// `values[i] = e^(values[i] − shift)`; gives their sum.
#[inline(always)]
pub(crate) fn exp_and_sum<const FMA: bool>(values: &mut [f32], shift: f32) -> f32 {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for i in 0..LANES {
            chunk[i] = exp::<FMA>(chunk[i] - shift);
            lanes[i] += chunk[i];
        }
    }
    let mut total = 0.0;
    for value in rest {
        *value = exp::<FMA>(*value - shift);
        total += *value;
    }
    sum(lanes) + total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_good_to_two_units_in_the_last_place() {
        let worst = (-870_000..880_000)
            .map(|i| {
                let x = i as f32 * 1e-4;
                let exact = f64::from(x).exp();
                let ulp = f64::from(f32::EPSILON) * exact.log2().floor().exp2();
                let error = |y: f32| (f64::from(y) - exact).abs() / ulp;
                error(exp::<true>(x)).max(error(exp::<false>(x)))
            })
            .fold(0.0, f64::max);
        assert!(worst < 2.0, "{worst}");
        assert!(exp::<true>(f32::NAN).is_nan() && exp::<false>(f32::NAN).is_nan());
        assert!(exp::<true>(f32::NEG_INFINITY) < 1.3e-38 && exp::<true>(1e9) > 1e38);
    }

    #[test]
    fn sums_and_maxima_have_every_element() {
        let values: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert!((dot::<true>(&values, &[1.0; 37]) - 666.0).abs() < 1e-3);
        assert!((max(&values) - 36.0).abs() < 1e-6);
    }
}
