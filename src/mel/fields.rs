// SPDX-License-Identifier: MPL-2.0

//! Front ends as text: the keys and values of model cards.

use std::str::FromStr;

use super::{FrontEnd, FrontEndError};

/// The parameters' names in model cards, in the order of [`FrontEnd::fields`].
pub const KEYS: [&str; 20] = [
    "rate",
    "fft-size",
    "window-size",
    "hop",
    "window",
    "bands",
    "fmin",
    "fmax",
    "mel-scale",
    "mel-norm",
    "power",
    "compression",
    "reference",
    "amin",
    "offset",
    "scale",
    "top-db",
    "center",
    "pad-mode",
    "patch-frames",
];

impl FrontEnd {
    /// The front end that a model card describes: its keys without `instruments.frontend.`, and their values.
    ///
    /// All keys must be there but `pad-mode`, which is `constant` where it is missing. Errors name the key that is
    /// unknown or missing, or whose value cannot be used.
    pub fn from_fields<'a>(
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, FrontEndError> {
        let mut values = KEYS.map(default);
        for (key, value) in fields {
            let Some(index) = KEYS.iter().position(|&known| known == key) else {
                return Err(FrontEndError::Unknown {
                    name: key.to_owned(),
                });
            };
            values[index] = Some(value);
        }
        for (name, value) in KEYS.iter().zip(values) {
            if value.is_none() {
                return Err(FrontEndError::Missing { name });
            }
        }
        let mut fields = KEYS.into_iter().zip(values.into_iter().flatten());
        let mut next = || fields.next().expect("as many values as keys");
        let front_end = Self {
            rate: parse(next(), INTEGER)?,
            fft_size: parse(next(), INTEGER)?,
            window_size: parse(next(), INTEGER)?,
            hop: parse(next(), INTEGER)?,
            window: choice(next())?,
            bands: parse(next(), INTEGER)?,
            fmin: parse(next(), NUMBER)?,
            fmax: parse(next(), NUMBER)?,
            mel_scale: choice(next())?,
            mel_norm: choice(next())?,
            power: parse(next(), INTEGER)?,
            compression: choice(next())?,
            reference: parse(next(), NUMBER)?,
            amin: parse(next(), NUMBER)?,
            offset: parse(next(), NUMBER)?,
            scale: parse(next(), NUMBER)?,
            top_db: match next() {
                (_, "none") => None,
                field => Some(parse(field, "must be a number of dB or none")?),
            },
            center: parse(next(), "must be true or false")?,
            pad_mode: choice(next())?,
            patch_frames: parse(next(), INTEGER)?,
        };
        front_end.validate()?;
        Ok(front_end)
    }

    /// The inverse of [`FrontEnd::from_fields`].
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let values = [
            self.rate.to_string(),
            self.fft_size.to_string(),
            self.window_size.to_string(),
            self.hop.to_string(),
            self.window.name().to_owned(),
            self.bands.to_string(),
            self.fmin.to_string(),
            self.fmax.to_string(),
            self.mel_scale.name().to_owned(),
            self.mel_norm.name().to_owned(),
            self.power.to_string(),
            self.compression.name().to_owned(),
            self.reference.to_string(),
            self.amin.to_string(),
            self.offset.to_string(),
            self.scale.to_string(),
            self.top_db.map_or("none".to_owned(), |db| db.to_string()),
            self.center.to_string(),
            self.pad_mode.name().to_owned(),
            self.patch_frames.to_string(),
        ];
        KEYS.into_iter().zip(values).collect()
    }

    /// The fields that make this front end's patches differ from `other`'s: name, our value, theirs.
    ///
    /// Parameters that do not matter to this front end's compression and framing don't count.
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
}

/// What a model card says that lacks a key: cards from before there was one describe front ends with this value.
fn default(key: &str) -> Option<&'static str> {
    (key == "pad-mode").then_some("constant")
}

const INTEGER: &str = "must be a whole number, 0 or above";
const NUMBER: &str = "must be a number";

fn parse<T: FromStr>((name, value): (&'static str, &str), must: &str) -> Result<T, FrontEndError> {
    value
        .trim()
        .parse()
        .map_err(|_| FrontEndError::value(name, value, must))
}

fn choice<T: FromStr<Err = &'static str>>(
    (name, value): (&'static str, &str),
) -> Result<T, FrontEndError> {
    value
        .trim()
        .parse()
        .map_err(|must: &str| FrontEndError::value(name, value, must))
}
