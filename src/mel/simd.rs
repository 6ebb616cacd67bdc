// SPDX-License-Identifier: MPL-2.0

//! Choosing the widest vectors at run time.
//!
//! Inner loops are plain Rust over arrays of [`LANES`] values, which the compiler turns into vector
//! instructions. [`dispatch`] compiles such a loop once for the target's baseline and once for AVX2 with
//! FMA, and picks by the machine it runs on.

/// Values that are computed side by side.
pub const LANES: usize = 16;

/// One value for each of [`LANES`] frames or taps.
pub type Lanes = [f32; LANES];

/// `a * b + c`, in one rounding where `FMA` says that the machine does so in one instruction.
#[inline(always)]
pub fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Defines the function `$name` as `$body::<FMA>`, compiled for several instruction sets.
macro_rules! dispatch {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$doc])*
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
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the machine was just found to have this feature.
                    return unsafe { avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the machine was just found to have these features.
                    return unsafe { avx2($($argument),*) };
                }
            }
            $body::<false>($($argument),*)
        }
    };
}
pub(super) use dispatch;
