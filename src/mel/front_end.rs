// SPDX-License-Identifier: MPL-2.0

//! The parameters of a front end, by name.

use std::str::FromStr;

/// A front end known by the network that it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Choi et al. 2016, and the paper's Xception: 12 kHz, 96 bands, 29.12 s patches, dB of the squared power.
    Choi,
    /// Han et al. 2016: 22.05 kHz, 128 bands, 1 s patches, dB.
    Han,
    /// YAMNet: 16 kHz, 64 HTK bands of the magnitude, 0.96 s patches, ln(x + 0.001).
    Yamnet,
    /// MusiCNN: 16 kHz, 96 bands, 3 s patches, log10(1 + 10000 x).
    Musicnn,
    /// CED: 16 kHz, 64 HTK bands, 10.08 s patches, dB, each patch mirrored around its ends.
    Ced,
}

/// Declares an enum whose variants have the names that model cards use.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[$variant_doc])* $variant),+ }

        impl $type {
            /// The name in model cards.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl FromStr for $type {
            type Err = &'static str;

            /// Errors with the list of names.
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(concat!("must be one of:" $(, " ", $name)+)),
                }
            }
        }
    };
}

named! {
    /// Shape of the analysis window.
    Window {
        /// Hann, periodic (`scipy.signal.get_window("hann", n)`).
        Hann = "hann",
    }
}

named! {
    /// Frequency scale on which the mel bands are evenly spaced.
    MelScale {
        /// Slaney's Auditory Toolbox: linear below 1 kHz, logarithmic above (librosa's default).
        Slaney = "slaney",
        /// HTK: 2595 log10(1 + f / 700).
        Htk = "htk",
    }
}

named! {
    /// Normalisation of the mel filters.
    MelNorm {
        /// Each triangle has unit area over Hz (librosa's default).
        Slaney = "slaney",
        /// Each triangle has unit peak.
        None = "none",
    }
}

named! {
    /// What lies beyond the ends of a signal whose frames are centred.
    PadMode {
        /// Zeros, before the start and after the end of the stream.
        Constant = "constant",
        /// The signal, mirrored around its first and its last sample; the signal is the patch, not the stream.
        Reflect = "reflect",
    }
}

named! {
    /// What is done to the values of the mel spectrogram.
    Compression {
        /// Nothing.
        None = "none",
        /// `10 log10(max(amin, x) / reference)`, clamped to `top_db` below the patch's maximum (`librosa.power_to_db`).
        PowerDb = "power-db",
        /// `20 log10(max(amin, x) / reference)`, clamped to `top_db` below the patch's maximum (`librosa.amplitude_to_db`).
        AmplitudeDb = "amplitude-db",
        /// `ln(offset + scale x)`.
        Ln = "ln",
        /// `log10(offset + scale x)`.
        Log10 = "log10",
    }
}

/// The parameters of a mel front end; names and defaults are librosa's where it has them.
#[derive(Debug, Clone, PartialEq)]
pub struct FrontEnd {
    /// Sample rate in Hz that the signal is resampled to.
    pub rate: u32,
    /// Length of the FFT in samples.
    pub fft_size: usize,
    /// Length of the window in samples; a shorter one than the FFT sits in its middle.
    pub window_size: usize,
    /// Samples between the starts of two frames.
    pub hop: usize,
    /// Shape of the window.
    pub window: Window,
    /// Number of mel bands.
    pub bands: usize,
    /// Lower edge of the first band in Hz.
    pub fmin: f64,
    /// Upper edge of the last band in Hz.
    pub fmax: f64,
    /// Frequency scale.
    pub mel_scale: MelScale,
    /// Normalisation of the filters.
    pub mel_norm: MelNorm,
    /// Exponent of the STFT's magnitude: 1 or 2.
    pub power: u32,
    /// What is done to the mel values.
    pub compression: Compression,
    /// Mel value of 0 dB.
    pub reference: f64,
    /// Smallest mel value that the dB scales tell apart.
    pub amin: f64,
    /// Added before `ln` and `log10`.
    pub offset: f64,
    /// Multiplies the mel values before `ln` and `log10`.
    pub scale: f64,
    /// dB below a patch's maximum at which its values are cut off; `None`: not at all.
    pub top_db: Option<f64>,
    /// Frame `n` is centred on sample `n * hop`, with padding around the signal, rather than starting there.
    pub center: bool,
    /// What the padding is.
    pub pad_mode: PadMode,
    /// Frames in a patch.
    pub patch_frames: usize,
}

/// What is wrong with a front end's parameters or with the options of a [`Patcher`](super::Patcher).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FrontEndError {
    /// A parameter that no front end has.
    #[error("The front end has no parameter \"{name}\": use {}", super::fields::KEYS.join(", "))]
    Unknown {
        /// What was given.
        name: String,
    },
    /// A parameter that was not given.
    #[error("The front end's parameter \"{name}\" is missing: give all of {}", super::fields::KEYS.join(", "))]
    Missing {
        /// What was not given.
        name: &'static str,
    },
    /// A value that cannot be used.
    #[error("{name} is {value}, but {must}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        must: String,
    },
    /// Another than sliding segmentation of a stream of unknown length.
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

impl FrontEnd {
    /// The parameters of `preset`.
    pub fn preset(preset: Preset) -> Self {
        let choi = Self {
            rate: 12000,
            fft_size: 512,
            window_size: 512,
            hop: 256,
            window: Window::Hann,
            bands: 96,
            fmin: 0.0,
            fmax: 6000.0,
            mel_scale: MelScale::Slaney,
            mel_norm: MelNorm::Slaney,
            power: 2,
            compression: Compression::AmplitudeDb,
            reference: 1.0,
            amin: 1e-5,
            offset: 0.0,
            scale: 1.0,
            top_db: Some(80.0),
            center: true,
            pad_mode: PadMode::Constant,
            patch_frames: 1366,
        };
        match preset {
            Preset::Choi => choi,
            Preset::Han => Self {
                rate: 22050,
                fft_size: 1024,
                window_size: 1024,
                hop: 512,
                bands: 128,
                fmax: 11025.0,
                compression: Compression::PowerDb,
                amin: 1e-10,
                patch_frames: 43,
                ..choi
            },
            Preset::Yamnet => Self {
                rate: 16000,
                window_size: 400,
                hop: 160,
                bands: 64,
                fmin: 125.0,
                fmax: 7500.0,
                mel_scale: MelScale::Htk,
                mel_norm: MelNorm::None,
                power: 1,
                compression: Compression::Ln,
                offset: 0.001,
                top_db: None,
                center: false,
                patch_frames: 96,
                ..choi
            },
            Preset::Musicnn => Self {
                rate: 16000,
                fmax: 8000.0,
                compression: Compression::Log10,
                offset: 1.0,
                scale: 10000.0,
                top_db: None,
                patch_frames: 187,
                ..choi
            },
            Preset::Ced => Self {
                rate: 16000,
                hop: 160,
                bands: 64,
                fmax: 8000.0,
                mel_scale: MelScale::Htk,
                mel_norm: MelNorm::None,
                compression: Compression::PowerDb,
                amin: 1e-10,
                top_db: None,
                pad_mode: PadMode::Reflect,
                patch_frames: 1008,
                ..choi
            },
        }
    }

    /// Seconds of audio that a patch stands for: its frames times the hop.
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
