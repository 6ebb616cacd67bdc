// SPDX-License-Identifier: MPL-2.0

//! The settings of `tagtext`.

use std::str::FromStr;

use gst::glib;
use gst::prelude::*;
use serde_json::{Map, Value, json};

use super::{Format, Source, Timing};
use crate::elements::inference::DEFAULT_THRESHOLD;
use crate::text;

pub const DEFAULT_HYSTERESIS: f32 = 0.1;

/// The values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub source: Source,
    pub format: Format,
    pub timing: Timing,
    pub only_changes: bool,
    pub events: bool,
    pub threshold: f32,
    pub hysteresis: f32,
    pub fields: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            source: Source::default(),
            format: Format::default(),
            timing: Timing::default(),
            only_changes: false,
            events: false,
            threshold: DEFAULT_THRESHOLD,
            hysteresis: DEFAULT_HYSTERESIS,
            fields: None,
        }
    }
}

impl Settings {
    /// Whether the properties go together; the error is a message for the user.
    pub fn check(&self) -> Result<(), String> {
        if self.events && matches!(self.format, Format::Text | Format::WebVtt) {
            return Err(
                "events=true needs format=json, id3 or klv: texts that are shown cannot overlap as events do"
                    .to_owned(),
            );
        }
        self.fields().map(drop)
    }

    /// The property `fields` as members of a JSON object; the error is a message for the user.
    pub fn fields(&self) -> Result<Map<String, Value>, String> {
        let Some(fields) = &self.fields else {
            return Ok(Map::new());
        };
        let structure = gst::Structure::from_str(&format!("fields,{fields}")).map_err(|_| {
            format!("tagtext cannot read fields=\"{fields}\": write NAME=VALUE,NAME=VALUE")
        })?;
        structure
            .iter()
            .map(|(name, value)| {
                if text::NAMES.contains(&name.as_str()) {
                    return Err(format!(
                        "fields=\"{fields}\" has the name '{name}', which tagtext sets itself: choose another name"
                    ));
                }
                Ok((name.to_string(), member(value)?))
            })
            .collect()
    }
}

/// A value as JSON: `int`, `double`, `boolean` and `string` keep their type, others become GStreamer's text form.
fn member(value: &glib::SendValue) -> Result<Value, String> {
    if let Ok(number) = value.get::<i32>() {
        return Ok(json!(number));
    }
    if let Ok(number) = value.get::<f64>() {
        return Ok(json!(number));
    }
    if let Ok(boolean) = value.get::<bool>() {
        return Ok(json!(boolean));
    }
    if let Ok(text) = value.get::<String>() {
        return Ok(json!(text));
    }
    let text = value
        .serialize()
        .map_err(|_| format!("tagtext cannot write {value:?} as JSON"))?;
    Ok(json!(text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Result<Value, String> {
        gst::init().unwrap();
        let settings = Settings {
            fields: Some(text.to_owned()),
            ..Settings::default()
        };
        settings.fields().map(Value::Object)
    }

    #[test]
    fn fields_keep_their_types() {
        let expected = json!({"channel": 7, "site": "Bergen north", "gain": 0.5, "live": true});
        let text = "channel=7, site=\"Bergen north\", gain=0.5, live=true";
        assert_eq!(fields(text), Ok(expected));
        for (text, part) in [("channel", "fields=\"channel\""), ("tags=1", "'tags'")] {
            let error = fields(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
