// SPDX-License-Identifier: MPL-2.0

//! What a front end and its patches can be asked for, each once.
//!
//! The struct, the keys of model cards, the properties of `melspec` and the rows of `docs/elements.md` are made of these
//! tables: a new parameter is a line here, and the code that heeds it.

/// Hands the parameters of a front end to the macro `$with`: field, type, name in model cards and of the property,
/// description and, of whole numbers, the most.
macro_rules! parameters {
    ($with:ident) => {
        $with! {
            rate: u32 = "rate", "Sample rate in Hz that the signal is resampled to", most $crate::mel::MAX_RATE;
            fft_size: usize = "fft-size", "Length of the FFT in samples, an even number", most $crate::mel::MAX_FFT_SIZE;
            window_size: usize = "window-size", "Length of the analysis window in samples; if shorter than the FFT, it is centred in the FFT's frame", most $crate::mel::MAX_FFT_SIZE;
            hop: usize = "hop", "Samples between the starts of two frames", most $crate::mel::MAX_FFT_SIZE;
            window: $crate::mel::Window = "window", "Shape of the analysis window";
            bands: usize = "bands", "Number of mel bands", most $crate::mel::MAX_FFT_SIZE;
            fmin: f64 = "fmin", "Lower edge of the first mel band in Hz";
            fmax: f64 = "fmax", "Upper edge of the last mel band in Hz";
            mel_scale: $crate::mel::MelScale = "mel-scale", "Frequency scale on which the mel bands are evenly spaced";
            mel_norm: $crate::mel::MelNorm = "mel-norm", "Normalisation of the mel filters";
            power: u32 = "power", "Exponent of the magnitude of the spectrum: 1 for magnitude, 2 for power", most 2u32;
            compression: $crate::mel::Compression = "compression", "Compression of the mel values x";
            reference: f64 = "reference", "Mel value that is 0 dB";
            amin: f64 = "amin", "Smallest mel value before dB compression";
            offset: f64 = "offset", "Added before ln and log10";
            scale: f64 = "scale", "Factor before ln and log10";
            top_db: Option<f64> = "top-db", "Range of a patch in dB: lower values are raised to this far below its maximum; without limit where 0 (in model cards none)";
            center: bool = "center", "Whether frame n is centred on sample n * hop, or begins there";
            pad_mode: $crate::mel::PadMode = "pad-mode", "Padding around the signal where frames are centred";
            patch_frames: usize = "patch-frames", "Frames in a patch", most $crate::mel::MAX_PATCH_VALUES;
        }
    };
}
pub(crate) use parameters;

/// Hands each set of names that a parameter of a front end takes to the macro `$with`: type, type of the property,
/// description, and the variants with their names and descriptions.
macro_rules! choices {
    ($with:ident) => {
        $with! { Window, "GstMelSpecWindow", "Shape of the analysis window.":
            Hann = "hann", "Hann, periodic";
        }
        $with! { MelScale, "GstMelSpecMelScale", "Frequency scale on which the mel bands are evenly spaced.":
            Slaney = "slaney", "Slaney's Auditory Toolbox: linear below 1 kHz, logarithmic above (librosa's default)";
            Htk = "htk", "HTK: 2595 log10(1 + f / 700)";
        }
        $with! { MelNorm, "GstMelSpecMelNorm", "Normalisation of the mel filters.":
            Slaney = "slaney", "Each filter has unit area over Hz (librosa's default)";
            None = "none", "Each filter has unit peak";
        }
        $with! { Compression, "GstMelSpecCompression", "Compression of the mel values x.":
            None = "none", "None";
            PowerDb = "power-db", "10 log10(max(amin, x) / reference), limited by top-db, as librosa.power_to_db";
            AmplitudeDb = "amplitude-db", "20 log10(max(amin, x) / reference), limited by top-db, as librosa.amplitude_to_db";
            Ln = "ln", "ln(offset + scale x)";
            Log10 = "log10", "log10(offset + scale x)";
        }
        $with! { PadMode, "GstMelSpecPadMode", "Padding around a signal whose frames are centred.":
            Constant = "constant", "Zeros before the start and after the end of the stream";
            Reflect = "reflect", "Each patch is a signal, mirrored around its first and its last sample";
        }
    };
}
pub(crate) use choices;

/// Hands the sets of names that say how a stream is cut to the macro `$with`: the module of the types, then as
/// [`choices`].
macro_rules! cuts {
    ($with:ident) => {
        $with! { mel Segmentation, "GstMelSpecSegmentation", "Which parts of a stream become patches.":
            Sliding = "sliding", "A window over the last audio, once each patch-interval";
            Central = "central", "One patch: the middle of the stream (the paper's CC)";
            Uniform = "uniform", "One patch, joined from the middles of ten equal parts of the stream (the paper's UC)";
            Ten = "ten", "Ten patches, spread evenly over the stream (Han et al.)";
        }
        $with! { mel Partial, "GstMelSpecPartial", "What becomes of a window that the start or the end of the stream cuts short.":
            Drop = "drop", "It gives no patch";
            Zero = "zero", "Silence fills the patch";
            Repeat = "repeat", "The audio is repeated until the patch is full";
        }
    };
}
pub(crate) use cuts;

/// Hands the presets to the macro `$with`: variant, name and description.
macro_rules! presets {
    ($with:ident) => {
        $with! {
            Choi = "choi", "Choi et al. 2016, and the paper's Xception: 12 kHz, 96 bands, patches of 29.12 s, dB of the squared power";
            Han = "han", "Han et al. 2016: 22.05 kHz, 128 bands, patches of 1 s, dB";
            Yamnet = "yamnet", "YAMNet: 16 kHz, 64 HTK bands of the magnitude, patches of 0.96 s, ln(x + 0.001)";
            Musicnn = "musicnn", "MusiCNN: 16 kHz, 96 bands, patches of 3 s, log10(1 + 10000 x)";
            Ced = "ced", "CED: 16 kHz, 64 HTK bands, patches of 10.08 s, each mirrored around its ends, dB";
        }
    };
}
pub(crate) use presets;
