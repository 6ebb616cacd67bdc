// SPDX-License-Identifier: MPL-2.0

//! Choosing the widest vectors at run time.
//!
//! Inner loops are plain Rust over arrays of [`LANES`] values, which the compiler turns into vector
//! instructions. [`dispatch`] compiles such a loop for the target's baseline, for AVX2 with FMA and for
//! AVX-512, and picks by the machine it runs on; `GST_INSTRUMENTS_SIMD` (`portable`, `avx2`) keeps it from
//! picking better.

use std::sync::LazyLock;

/// Values that are computed side by side.
pub const LANES: usize = 16;

/// One value for each of [`LANES`] frames or taps.
pub type Lanes = [f32; LANES];

/// `a * b + c`, in one rounding where `FMA` says that the machine does so in one instruction.
#[inline(always)]
pub fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Instruction sets that inner loops are compiled for, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The target's baseline.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512F.
    Avx512,
}

/// The environment variable that names the best instruction set to use, in place of the machine's best.
const VARIABLE: &str = "GST_INSTRUMENTS_SIMD";

/// The instruction set in use.
pub fn level() -> Level {
    static LEVEL: LazyLock<Level> = LazyLock::new(|| {
        let allowed = match std::env::var(VARIABLE).as_deref() {
            Ok("portable") => Level::Portable,
            Ok("avx2") => Level::Avx2,
            _ => Level::Avx512,
        };
        allowed.min(best())
    });
    *LEVEL
}

/// The best instruction set that the machine has.
fn best() -> Level {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return if is_x86_feature_detected!("avx512f") {
            Level::Avx512
        } else {
            Level::Avx2
        };
    }
    Level::Portable
}

/// Defines the function `$name` as `$body::<FMA>`, compiled for several instruction sets.
macro_rules! dispatch {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$doc])*
        #[allow(unsafe_code)]
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512($($argument: $type),*) $(-> $result)? {
                    $body::<true>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) $(-> $result)? {
                    $body::<true>($($argument),*)
                }
                use crate::mel::simd::{Level, level};
                // SAFETY: the machine was found to have these features.
                match level() {
                    Level::Avx512 => return unsafe { avx512($($argument),*) },
                    Level::Avx2 => return unsafe { avx2($($argument),*) },
                    Level::Portable => (),
                }
            }
            $body::<false>($($argument),*)
        }
    };
}
pub(super) use dispatch;
