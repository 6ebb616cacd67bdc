// SPDX-License-Identifier: MPL-2.0

//! The front end's parameters as properties, and the front end that follows from them.

use gst::glib;

use super::Preset;
use crate::elements::contradictions;
use crate::mel::{self, FrontEnd, FrontEndError};

/// Declares a property enum whose first value leaves the choice to the preset or the model; the
/// nicks of the others are the values that model cards use.
macro_rules! auto_enum {
    ($(#[$doc:meta])* $name:ident, $type_name:literal, $($variant:ident = $label:literal),+) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
        #[enum_type(name = $type_name)]
        pub enum $name {
            /// From the preset or the model.
            #[default]
            #[enum_value(name = "Auto: from the preset or the model")]
            Auto,
            $(#[allow(missing_docs)] #[enum_value(name = $label)] $variant),+
        }
    };
}

auto_enum!(
    /// Shape of the analysis window.
    Window, "GstMelSpecWindow", Hann = "Hann, periodic"
);
auto_enum!(
    /// Frequency scale of the mel bands.
    MelScale, "GstMelSpecMelScale", Slaney = "Slaney's Auditory Toolbox", Htk = "HTK"
);
auto_enum!(
    /// Normalisation of the mel filters.
    MelNorm, "GstMelSpecMelNorm", Slaney = "Slaney: unit area", None = "None: unit peak"
);
auto_enum!(
    /// Compression of the mel spectrogram.
    Compression, "GstMelSpecCompression",
    None = "None",
    PowerDb = "10 log10(max(amin, x) / reference), as librosa.power_to_db",
    AmplitudeDb = "20 log10(max(amin, x) / reference), as librosa.amplitude_to_db",
    Ln = "ln(offset + scale x)",
    Log10 = "log10(offset + scale x)"
);
auto_enum!(
    /// Whether frames are centred on their time.
    Center, "GstMelSpecCenter",
    True = "Frames are centred on their time, the signal padded as pad-mode says",
    False = "Frames start at their time"
);
auto_enum!(
    /// Padding of frames that are centred on their time.
    PadMode, "GstMelSpecPadMode",
    Constant = "Zeros around the stream",
    Reflect = "Each patch, mirrored around its ends"
);

/// Value of a number property that leaves the choice to the preset or the model.
pub const AUTO: f64 = -1.0;

/// What a model was trained on.
pub struct Trained {
    /// Its patches are the longest.
    pub front_end: FrontEnd,
    /// Frames in the shortest patch.
    pub min_frames: usize,
}

/// The front end's parameters as the user set them; 0, [`AUTO`] and `Auto` leave them to the preset or the model.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Parameters {
    pub preset: Preset,
    pub rate: u32,
    pub fft_size: u32,
    pub window_size: u32,
    pub hop: u32,
    pub window: Window,
    pub bands: u32,
    pub fmin: f64,
    pub fmax: f64,
    pub mel_scale: MelScale,
    pub mel_norm: MelNorm,
    pub power: u32,
    pub compression: Compression,
    pub reference: f64,
    pub amin: f64,
    pub offset: f64,
    pub scale: f64,
    pub top_db: f64,
    pub center: Center,
    pub pad_mode: PadMode,
    pub patch_frames: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            preset: Preset::Auto,
            rate: 0,
            fft_size: 0,
            window_size: 0,
            hop: 0,
            window: Window::Auto,
            bands: 0,
            fmin: AUTO,
            fmax: AUTO,
            mel_scale: MelScale::Auto,
            mel_norm: MelNorm::Auto,
            power: 0,
            compression: Compression::Auto,
            reference: AUTO,
            amin: AUTO,
            offset: AUTO,
            scale: AUTO,
            top_db: AUTO,
            center: Center::Auto,
            pad_mode: PadMode::Auto,
            patch_frames: 0,
        }
    }
}

impl Parameters {
    /// The parameters that are set, under the card's keys.
    fn explicit(&self) -> Vec<(&'static str, String)> {
        let integer = |value: u32| (value != 0).then(|| value.to_string());
        let number = |value: f64| (value != AUTO).then(|| value.to_string());
        fn choice<T: glib::value::ToValue + Default + PartialEq>(value: T) -> Option<String> {
            let (_, value) =
                (value != T::default())
                    .then(|| value.to_value())
                    .and_then(|value| {
                        glib::EnumValue::from_value(&value).map(|(c, v)| (c, v.nick().to_owned()))
                    })?;
            Some(value)
        }
        // Both norms and compressions may be "none"; of the numbers only top-db has no other word for it.
        let top_db = match self.top_db {
            0.0 => Some("none".to_owned()),
            value => number(value),
        };
        [
            ("rate", integer(self.rate)),
            ("fft-size", integer(self.fft_size)),
            ("window-size", integer(self.window_size)),
            ("hop", integer(self.hop)),
            ("window", choice(self.window)),
            ("bands", integer(self.bands)),
            ("fmin", number(self.fmin)),
            ("fmax", number(self.fmax)),
            ("mel-scale", choice(self.mel_scale)),
            ("mel-norm", choice(self.mel_norm)),
            ("power", integer(self.power)),
            ("compression", choice(self.compression)),
            ("reference", number(self.reference)),
            ("amin", number(self.amin)),
            ("offset", number(self.offset)),
            ("scale", number(self.scale)),
            ("top-db", top_db),
            ("center", choice(self.center)),
            ("pad-mode", choice(self.pad_mode)),
            ("patch-frames", integer(self.patch_frames)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }

    /// The front end to use: the preset's, else `model`'s, else Choi's, with the explicit parameters put over it.
    ///
    /// Unless it is set, the length of a patch is `duration` in seconds, as far as `model` takes patches of that length.
    /// It is no part of a preset where there is a model: networks of one front end have many.
    ///
    /// Errors when parameters don't make sense together, or contradict what `model` was trained on.
    pub fn resolve(
        &self,
        model: Option<&Trained>,
        duration: Option<f64>,
    ) -> Result<FrontEnd, String> {
        let mut base = match (self.preset, model) {
            (Preset::Auto, Some(model)) => model.front_end.clone(),
            (Preset::Auto | Preset::Choi | Preset::Custom, _) => {
                FrontEnd::preset(mel::Preset::Choi)
            }
            (Preset::Han, _) => FrontEnd::preset(mel::Preset::Han),
            (Preset::Yamnet, _) => FrontEnd::preset(mel::Preset::Yamnet),
            (Preset::Musicnn, _) => FrontEnd::preset(mel::Preset::Musicnn),
            (Preset::Ced, _) => FrontEnd::preset(mel::Preset::Ced),
        };
        if let Some(model) = model {
            base.patch_frames = model.front_end.patch_frames;
        }
        let mut fields = base.fields();
        for (key, value) in self.explicit() {
            if let Some(field) = fields.iter_mut().find(|field| field.0 == key) {
                field.1 = value;
            }
        }
        let mut front_end = FrontEnd::from_fields(fields.iter().map(|(k, v)| (*k, v.as_str())))
            .map_err(|err: FrontEndError| err.to_string())?;
        if let Some((model, duration)) = model.zip(duration)
            && self.patch_frames == 0
        {
            let frames = duration * f64::from(front_end.rate) / front_end.hop as f64;
            let most = model.front_end.patch_frames;
            front_end.patch_frames = (frames.round() as usize).clamp(model.min_frames, most);
        }
        let contradictions =
            model.and_then(|model| contradictions(&front_end, &model.front_end, model.min_frames));
        if let Some(contradictions) = contradictions {
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
        assert_eq!(parameters.resolve(Some(&han), None).unwrap(), han.front_end);
        assert_eq!(
            parameters.resolve(None, None).unwrap(),
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
            let resolved = parameters.resolve(Some(&han), seconds);
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
            preset: Preset::Han,
            bands: 64,
            mel_scale: MelScale::Htk,
            top_db: 0.0,
            ..Default::default()
        };
        let front_end = parameters.resolve(None, None).unwrap();
        assert_eq!((front_end.bands, front_end.rate), (64, 22050));
        assert_eq!(front_end.mel_scale, mel::MelScale::Htk);
        assert_eq!(front_end.top_db, None);
    }

    #[test]
    fn a_preset_leaves_the_length_of_a_patch_to_the_model() {
        let mut model = trained(mel::Preset::Yamnet, 960);
        model.front_end.patch_frames = 960;
        let mut parameters = Parameters {
            preset: Preset::Yamnet,
            ..Default::default()
        };
        let resolved = parameters.resolve(Some(&model), None);
        assert_eq!(resolved.unwrap(), model.front_end);
        let alone = parameters.resolve(None, None).unwrap();
        assert_eq!(alone.patch_frames, 96);
        parameters.patch_frames = 96;
        let error = parameters.resolve(Some(&model), None).unwrap_err();
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
            .resolve(Some(&trained(mel::Preset::Choi, 1366)), None)
            .unwrap_err();
        assert!(error.contains("bands is 64, the model's is 96"), "{error}");
    }
}
