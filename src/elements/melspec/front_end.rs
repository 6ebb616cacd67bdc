// SPDX-License-Identifier: MPL-2.0

//! The front end's parameters as properties, and the front end that follows from them.

use gst::glib;
use gst::prelude::*;

use super::Preset;
use crate::elements::Trained;
use crate::mel::parameters::{choices, parameters};
use crate::mel::{self, FrontEnd};

/// Value of a number property that leaves the choice to the preset or the model.
const AUTO: f64 = -1.0;

/// The type of a parameter, as a property that can also leave the choice to the preset or the model.
trait Property: Sized {
    /// What the property holds.
    type Value: ToValue + for<'a> glib::value::FromValue<'a> + Copy;

    /// The value that leaves the choice to the preset or the model.
    const AUTO: Self::Value;

    /// The property `name`.
    fn spec(name: &str, blurb: &str, most: u32) -> glib::ParamSpec;

    /// What was chosen, if anything was.
    fn chosen(value: Self::Value) -> Option<Self>;
}

impl Property for u32 {
    type Value = u32;
    const AUTO: u32 = 0;

    fn spec(name: &str, blurb: &str, most: u32) -> glib::ParamSpec {
        let spec = glib::ParamSpecUInt::builder(name).maximum(most);
        let blurb = format!("{blurb} (0 = auto)");
        spec.blurb(&blurb).mutable_ready().build()
    }

    fn chosen(value: u32) -> Option<u32> {
        (value != 0).then_some(value)
    }
}

impl Property for usize {
    type Value = u32;
    const AUTO: u32 = 0;

    fn spec(name: &str, blurb: &str, most: u32) -> glib::ParamSpec {
        u32::spec(name, blurb, most)
    }

    fn chosen(value: u32) -> Option<usize> {
        (value != 0).then_some(value as usize)
    }
}

impl Property for f64 {
    type Value = f64;
    const AUTO: f64 = AUTO;

    fn spec(name: &str, blurb: &str, _: u32) -> glib::ParamSpec {
        let spec = glib::ParamSpecDouble::builder(name)
            .minimum(AUTO)
            .default_value(AUTO);
        let blurb = format!("{blurb} (-1 = auto)");
        spec.blurb(&blurb).mutable_ready().build()
    }

    fn chosen(value: f64) -> Option<f64> {
        (value != AUTO).then_some(value)
    }
}

/// 0 is none: no range of a patch is that small.
impl Property for Option<f64> {
    type Value = f64;
    const AUTO: f64 = AUTO;

    fn spec(name: &str, blurb: &str, most: u32) -> glib::ParamSpec {
        f64::spec(name, blurb, most)
    }

    fn chosen(value: f64) -> Option<Option<f64>> {
        f64::chosen(value).map(|value| (value != 0.0).then_some(value))
    }
}

/// Makes a set of names a property whose first value leaves the choice to the preset or the model.
macro_rules! choice {
    ($type:ident = $of:ty, $property:literal, $doc:literal: $($variant:ident = $value:expr, $name:literal, $label:literal;)+) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]
        #[enum_type(name = $property)]
        pub enum $type {
            /// From the preset or the model.
            #[enum_value(name = "From the preset or the model")]
            Auto,
            $(#[doc = $label] #[enum_value(name = $label, nick = $name)] $variant),+
        }

        impl Property for $of {
            type Value = $type;
            const AUTO: $type = $type::Auto;

            fn spec(name: &str, blurb: &str, _: u32) -> glib::ParamSpec {
                let spec = glib::ParamSpecEnum::builder_with_default(name, $type::Auto);
                spec.blurb(blurb).mutable_ready().build()
            }

            fn chosen(value: $type) -> Option<Self> {
                match value {
                    $type::Auto => None,
                    $($type::$variant => Some($value),)+
                }
            }
        }
    };
    ($type:ident, $property:literal, $doc:literal: $($variant:ident = $name:literal, $label:literal;)+) => {
        choice! { $type = mel::$type, $property, $doc: $($variant = Self::$variant, $name, $label;)+ }
    };
}
choices!(choice);
choice! { Center = bool, "GstMelSpecCenter", "Where frames are.":
    True = true, "true", "Frames are centred on their time";
    False = false, "false", "Frames begin at their time";
}

macro_rules! properties {
    ($($field:ident: $type:ty = $key:literal, $doc:literal $(, most $most:expr)?;)+) => {
        /// The parameters as the user set them.
        #[derive(Debug, Clone)]
        #[allow(missing_docs)]
        pub struct Parameters { $($field: <$type as Property>::Value),+ }

        impl Default for Parameters {
            fn default() -> Self {
                Self { $($field: <$type>::AUTO),+ }
            }
        }

        impl Parameters {
            /// The properties.
            pub fn specs() -> Vec<glib::ParamSpec> {
                vec![$(<$type>::spec($key, $doc, u32::MAX $(.min($most as u32))?)),+]
            }

            /// Sets the property `name`; false if it is none of these.
            pub fn set(&mut self, name: &str, value: &glib::Value) -> bool {
                match name {
                    $($key => self.$field = value.get().expect("a value of the property's type"),)+
                    _ => return false,
                }
                true
            }

            /// The value of the property `name`, if it is one of these.
            pub fn get(&self, name: &str) -> Option<glib::Value> {
                Some(match name {
                    $($key => self.$field.to_value(),)+
                    _ => return None,
                })
            }

            /// Puts the parameters that are set over those of `front_end`.
            fn apply(&self, front_end: &mut FrontEnd) {
                $(if let Some(value) = <$type>::chosen(self.$field) {
                    front_end.$field = value;
                })+
            }
        }
    };
}
parameters!(properties);

impl Parameters {
    /// The front end to use: `preset`'s, else `model`'s, else Choi's, with the parameters that are set put over it.
    ///
    /// Unless it is set, the length of a patch is `duration` in seconds, as far as `model` takes patches of that length.
    /// The preset does not determine the length if there is a model: networks with the same front end have different ones.
    ///
    /// Errors when parameters are inconsistent, or contradict what `model` was trained on.
    pub fn resolve(
        &self,
        preset: Preset,
        model: Option<&Trained>,
        duration: Option<f64>,
    ) -> Result<FrontEnd, String> {
        let mut front_end = match (preset, model) {
            (Preset::Auto, Some(model)) => model.front_end.clone(),
            _ => FrontEnd::preset(preset.named().unwrap_or(mel::Preset::Choi)),
        };
        if let Some(model) = model {
            front_end.patch_frames = model.front_end.patch_frames;
        }
        self.apply(&mut front_end);
        front_end.validate().map_err(|err| err.to_string())?;
        if let Some((model, duration)) = model.zip(duration)
            && self.patch_frames == usize::AUTO
        {
            let frames = duration * f64::from(front_end.rate) / front_end.hop as f64;
            let most = model.front_end.patch_frames;
            front_end.patch_frames = (frames.round() as usize).clamp(model.min_frames, most);
        }
        if let Some(contradictions) = model.and_then(|model| model.contradictions(&front_end)) {
            return Err(format!(
                "melspec contradicts the model downstream ({contradictions}): unset these properties, or choose a model that was trained on them"
            ));
        }
        Ok(front_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(preset: mel::Preset, min_frames: usize) -> Trained {
        let front_end = FrontEnd::preset(preset);
        Trained {
            front_end,
            min_frames,
        }
    }

    #[test]
    fn unset_parameters_come_from_the_model_then_from_choi() {
        let han = trained(mel::Preset::Han, 43);
        let parameters = Parameters::default();
        assert_eq!(
            parameters.resolve(Preset::Auto, Some(&han), None).unwrap(),
            han.front_end
        );
        assert_eq!(
            parameters.resolve(Preset::Auto, None, None).unwrap(),
            FrontEnd::preset(mel::Preset::Choi)
        );
    }

    #[test]
    fn a_patch_is_as_long_as_asked_where_the_model_takes_that() {
        let frames = |patch_frames, min_frames, seconds| {
            let parameters = Parameters {
                patch_frames,
                ..Default::default()
            };
            let han = trained(mel::Preset::Han, min_frames);
            let resolved = parameters.resolve(Preset::Auto, Some(&han), seconds);
            resolved.map(|front_end| front_end.patch_frames)
        };
        // 0.5 s * 22050 Hz / 512 = 21.5 frames.
        assert_eq!(frames(0, 10, Some(0.5)), Ok(22));
        assert_eq!(frames(0, 10, Some(0.1)), Ok(10));
        assert_eq!(frames(0, 10, Some(9.0)), Ok(43));
        assert_eq!(frames(0, 10, None), Ok(43));
        assert_eq!(frames(0, 43, Some(0.5)), Ok(43), "of one length only");
        assert_eq!(frames(30, 10, None), Ok(30));
        let error = frames(30, 43, None).unwrap_err();
        assert!(
            error.contains("patch-frames is 30, the model's is 43"),
            "{error}"
        );
    }

    #[test]
    fn explicit_parameters_win_over_the_preset() {
        let parameters = Parameters {
            bands: 64,
            mel_scale: MelScale::Htk,
            top_db: 0.0,
            ..Default::default()
        };
        let front_end = parameters.resolve(Preset::Han, None, None).unwrap();
        assert_eq!((front_end.bands, front_end.rate), (64, 22050));
        assert_eq!(front_end.mel_scale, mel::MelScale::Htk);
        assert_eq!(front_end.top_db, None);
    }

    #[test]
    fn a_preset_leaves_the_length_of_a_patch_to_the_model() {
        let mut model = trained(mel::Preset::Yamnet, 960);
        model.front_end.patch_frames = 960;
        let mut parameters = Parameters::default();
        let resolved = parameters.resolve(Preset::Yamnet, Some(&model), None);
        assert_eq!(resolved.unwrap(), model.front_end);
        let alone = parameters.resolve(Preset::Yamnet, None, None).unwrap();
        assert_eq!(alone.patch_frames, 96);
        parameters.patch_frames = 96;
        let error = parameters
            .resolve(Preset::Yamnet, Some(&model), None)
            .unwrap_err();
        assert!(
            error.contains("patch-frames is 96, the model's is 960"),
            "{error}"
        );
    }

    #[test]
    fn a_contradiction_names_both_values() {
        let parameters = Parameters {
            bands: 64,
            ..Default::default()
        };
        let error = parameters
            .resolve(Preset::Auto, Some(&trained(mel::Preset::Choi, 1366)), None)
            .unwrap_err();
        assert!(error.contains("bands is 64, the model's is 96"), "{error}");
    }

    /// The row of a property in `docs/elements.md`.
    fn row(spec: &glib::ParamSpec) -> String {
        let blurb = spec.blurb().unwrap();
        let description = blurb.split(" (0 = auto)").next().unwrap();
        let description = description.split(" (-1 = auto)").next().unwrap();
        let (default, names) = match glib::EnumClass::with_type(spec.value_type()) {
            None if spec.value_type() == u32::static_type() => ("0 (auto)", String::new()),
            None => ("-1 (auto)", String::new()),
            Some(class) => {
                let names = class.values().iter().skip(1);
                let names: Vec<_> = names.map(|value| format!("`{}`", value.nick())).collect();
                let names = match names.split_last().unwrap() {
                    (only, []) => only.clone(),
                    (last, others) => format!("{} or {last}", others.join(", ")),
                };
                ("auto", format!(": {names}"))
            }
        };
        format!("| `{}` | {default} | {description}{names} |", spec.name())
    }

    #[test]
    fn the_documentation_has_every_parameter() {
        let elements = include_str!("../../../docs/elements.md");
        let models = include_str!("../../../docs/your-model.md");
        for spec in Parameters::specs() {
            let row = row(&spec);
            assert!(elements.contains(&row), "docs/elements.md lacks:\n{row}");
            let named = ["", "frontend."].map(|prefix| format!("`{prefix}{}`", spec.name()));
            let found = named.iter().any(|name| models.contains(name));
            assert!(found, "docs/your-model.md lacks {}", named[1]);
        }
    }
}
