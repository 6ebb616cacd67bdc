// SPDX-License-Identifier: MPL-2.0
//! Enums whose values have names that users give.

/// Declares an enum whose first variant is the default.
macro_rules! names {
    ($module:ident $type:ident, $property:literal, $doc:literal:
        $first:ident = $first_name:literal, $first_label:literal $(, $first_backend:path)?;
        $($variant:ident = $name:literal, $label:literal $(, $backend:path)?;)+) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub enum $type {
            #[doc = concat!($first_label, ".")]
            #[default]
            $first,
            $(#[doc = concat!($label, ".")] $variant,)+
        }

        impl $type {
            /// All but `auto`.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name that users give.
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_name,
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}
pub(super) use names;
