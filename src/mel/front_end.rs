// SPDX-License-Identifier: MPL-2.0

//! The parameters of a front end, by name.

use std::sync::LazyLock;

use serde_json::Value;

use super::parameters::{choices, parameters, presets};
use super::text::Text;

macro_rules! choice {
    ($type:ident, $property:literal, $doc:literal: $($variant:ident = $name:literal, $label:literal;)+) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $(#[doc = concat!($label, ".")] $variant),+ }

        impl Text for $type {
            fn text(&self) -> String {
                match self { $(Self::$variant => $name),+ }.to_owned()
            }

            fn parse(text: &str) -> Result<Self, &'static str> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(concat!("must be one of:" $(, " ", $name)+)),
                }
            }
        }
    };
}
choices!(choice);

macro_rules! preset {
    ($($variant:ident = $name:literal, $label:literal;)+) => {
        /// A front end named after the network that it was made for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Preset { $(#[doc = concat!($label, ".")] $variant),+ }

        impl Preset {
            /// All presets with their names.
            pub const ALL: &[(Self, &str)] = &[$((Self::$variant, $name)),+];
        }
    };
}
presets!(preset);

macro_rules! front_end {
    ($($field:ident: $type:ty = $key:literal, $doc:literal $(, most $most:expr)?;)+) => {
        /// The parameters of a mel front end; names and defaults are librosa's where it has them.
        #[derive(Debug, Clone, PartialEq)]
        pub struct FrontEnd { $(#[doc = concat!($doc, ".")] pub $field: $type,)+ }

        /// The names of the parameters in model cards, in the order of [`FrontEnd::fields`].
        pub const KEYS: &[&str] = &[$($key),+];

        impl FrontEnd {
            /// The parameters by name, as model cards have them; [`FrontEnd::from_fields`] reads them.
            pub fn fields(&self) -> Vec<(&'static str, String)> {
                vec![$(($key, self.$field.text())),+]
            }

            /// The front end that a model card describes: its keys without `instruments.frontend.`, and their values.
            ///
            /// All keys are required except `pad-mode`, whose default is `constant`. Errors name the key that is unknown or
            /// missing, or has an invalid value.
            pub fn from_fields<'a>(
                fields: impl IntoIterator<Item = (&'a str, &'a str)>,
            ) -> Result<Self, FrontEndError> {
                let fields: Vec<_> = fields.into_iter().collect();
                if let Some((name, _)) = fields.iter().find(|(key, _)| !KEYS.contains(key)) {
                    return Err(FrontEndError::Unknown { name: (*name).to_owned() });
                }
                let front_end = Self { $($field: field(&fields, $key)?,)+ };
                front_end.validate()?;
                Ok(front_end)
            }
        }
    };
}
parameters!(front_end);

/// The value of the parameter `name` among `fields`.
fn field<T: Text>(fields: &[(&str, &str)], name: &'static str) -> Result<T, FrontEndError> {
    let value = match (fields.iter().rev().find(|(key, _)| *key == name), name) {
        (Some((_, value)), _) => value.trim(),
        // Older model cards do not have this parameter.
        (None, "pad-mode") => "constant",
        (None, _) => return Err(FrontEndError::Missing { name }),
    };
    T::parse(value).map_err(|must| FrontEndError::value(name, value, must))
}

/// An error in a front end's parameters or in the options of a [`Patcher`](super::Patcher).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FrontEndError {
    /// An unknown parameter.
    #[error("The front end has no parameter \"{name}\": use {}", KEYS.join(", "))]
    Unknown {
        /// The given name.
        name: String,
    },
    /// A missing parameter.
    #[error("The front end's parameter \"{name}\" is missing: give all of {}", KEYS.join(", "))]
    Missing {
        /// The missing parameter.
        name: &'static str,
    },
    /// An invalid value.
    #[error("{name} is {value}, but {must}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        must: String,
    },
    /// A segmentation other than sliding for a stream of unknown length.
    #[error(
        "Central, uniform and ten-fold segmentation need the length of the stream, which is unknown: use sliding segmentation"
    )]
    UnknownLength,
}

impl FrontEndError {
    /// `name` is `value`, but `must`.
    pub(super) fn value(name: &'static str, value: impl ToString, must: impl Into<String>) -> Self {
        Self::Value {
            name,
            value: value.to_string(),
            must: must.into(),
        }
    }
}

/// The parameters of the presets, in the order of [`Preset::ALL`]: presets.json, which models/train reads too.
static PRESETS: LazyLock<Vec<FrontEnd>> = LazyLock::new(|| {
    let presets: Value =
        serde_json::from_str(include_str!("presets.json")).expect("presets.json is JSON");
    let front_end = |&(_, name): &(Preset, &str)| {
        let parameters = presets[name]
            .as_object()
            .expect("every preset is in presets.json");
        let texts = parameters.iter().map(|(key, value)| {
            let text = match value {
                Value::Null => "none".to_owned(),
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            (key.as_str(), text)
        });
        let texts: Vec<(&str, String)> = texts.collect();
        let fields = texts.iter().map(|(key, text)| (*key, text.as_str()));
        FrontEnd::from_fields(fields).expect("every preset can be computed")
    };
    Preset::ALL.iter().map(front_end).collect()
});

impl FrontEnd {
    /// The parameters of `preset`.
    pub fn preset(preset: Preset) -> Self {
        PRESETS[preset as usize].clone()
    }

    /// The parameters that make this front end's patches differ from `other`'s: name, our value, theirs.
    ///
    /// Parameters that this front end's compression and framing do not use are ignored.
    pub fn differences(&self, other: &FrontEnd) -> Vec<(&'static str, String, String)> {
        let used = |name: &str| match name {
            "reference" | "amin" | "top-db" => self.compression.is_db(),
            "offset" | "scale" => self.compression.is_log(),
            "pad-mode" => self.center,
            _ => true,
        };
        self.fields()
            .into_iter()
            .zip(other.fields())
            .filter(|((name, ours), (_, theirs))| ours != theirs && used(name))
            .map(|((name, ours), (_, theirs))| (name, ours, theirs))
            .collect()
    }

    /// Seconds of audio in a patch: its frames times the hop.
    pub fn patch_duration(&self) -> f64 {
        (self.patch_frames * self.hop) as f64 / f64::from(self.rate)
    }
}

impl Compression {
    pub(super) fn is_db(self) -> bool {
        matches!(self, Self::PowerDb | Self::AmplitudeDb)
    }

    pub(super) fn is_log(self) -> bool {
        matches!(self, Self::Ln | Self::Log10)
    }
}
