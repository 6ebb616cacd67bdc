// SPDX-License-Identifier: MPL-2.0

//! Parameters as text, as model cards have them.

/// A type of parameter that model cards hold as text.
pub trait Text: Sized {
    /// The value as text.
    fn text(&self) -> String;

    /// The value of `text`; an error says what the value must be.
    fn parse(text: &str) -> Result<Self, &'static str>;
}

macro_rules! text {
    ($($type:ty: $must:literal),+) => {
        $(impl Text for $type {
            fn text(&self) -> String {
                self.to_string()
            }

            fn parse(text: &str) -> Result<Self, &'static str> {
                text.parse().map_err(|_| $must)
            }
        })+
    };
}

text! {
    u32: "must be a whole number from 0 to 4294967295",
    usize: "must be a whole number, 0 or above",
    f64: "must be a number",
    bool: "must be true or false"
}

/// A number of dB, or none.
impl Text for Option<f64> {
    fn text(&self) -> String {
        self.map_or("none".to_owned(), |db| db.to_string())
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "none" => Ok(None),
            _ => text
                .parse()
                .map(Some)
                .map_err(|_| "must be a number of dB or none"),
        }
    }
}
