// SPDX-License-Identifier: MPL-2.0

//! Which front ends can be computed.

use super::filter_bank::FilterBank;
use super::{FrontEnd, FrontEndError};

// Limits that keep a mistaken or hostile model card from asking for all memory or time.

/// Maximum sample rate in Hz.
pub const MAX_RATE: u32 = 384_000;
/// Maximum length of the FFT in samples; also the maximum of the window, the hop and the number of mel bands.
pub const MAX_FFT_SIZE: usize = 1 << 16;
/// Maximum number of values in a patch, bands times frames: 16 MiB.
pub const MAX_PATCH_VALUES: usize = 1 << 22;
/// Maximum length of a patch in samples, frames times hop: 17 minutes at 16 kHz.
pub const MAX_PATCH_SAMPLES: usize = 1 << 24;

impl FrontEnd {
    /// Checks that the parameters can be used together.
    ///
    /// Limits: a rate of 1 to 384 kHz, FFTs of up to 65,536 samples and patches of up to 2^22 values and 2^24 samples.
    /// Each parameter is checked before memory that depends on it is allocated.
    ///
    /// Errors name the parameter, its value, and what it must be.
    pub fn validate(&self) -> Result<(), FrontEndError> {
        use FrontEndError as E;
        let within = |name, value: usize, least: usize, most: usize, what: &str| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            let must = format!("must be {least} to {most}{what}");
            Err(E::value(name, value, must))
        };
        within("rate", self.rate as usize, 1000, MAX_RATE as usize, " Hz")?;
        within("fft-size", self.fft_size, 2, MAX_FFT_SIZE, "")?;
        if !self.fft_size.is_multiple_of(2) {
            return Err(E::value("fft-size", self.fft_size, "must be even"));
        }
        within(
            "window-size",
            self.window_size,
            1,
            self.fft_size,
            " (the FFT's size)",
        )?;
        within("hop", self.hop, 1, self.fft_size, " (the FFT's size)")?;
        within("bands", self.bands, 1, self.fft_size, " (the FFT's size)")?;
        within("power", self.power as usize, 1, 2, "")?;
        within(
            "patch-frames",
            self.patch_frames,
            1,
            MAX_PATCH_VALUES / self.bands,
            " with this number of bands",
        )?;
        within(
            "patch-frames",
            self.patch_frames,
            1,
            MAX_PATCH_SAMPLES / self.hop,
            " with this hop",
        )?;

        let nyquist = f64::from(self.rate) / 2.0;
        if !(f64::MIN..=nyquist).contains(&self.fmax) {
            let must =
                format!("must be at most half the rate ({nyquist} Hz): lower fmax or raise rate");
            return Err(E::value("fmax", self.fmax, must));
        }
        if self.fmax <= 0.0 {
            return Err(E::value("fmax", self.fmax, "must be above 0"));
        }
        if !(0.0 <= self.fmin && self.fmin < self.fmax) {
            let must = format!("must be at least 0 and below fmax ({} Hz)", self.fmax);
            return Err(E::value("fmin", self.fmin, must));
        }
        if FilterBank::new(self).bins().is_empty() {
            let bins = f64::from(self.rate) / self.fft_size as f64;
            let must = format!(
                "must leave an FFT bin between it and fmin ({} Hz): bins are {bins} Hz apart; raise fmax or fft-size",
                self.fmin
            );
            return Err(E::value("fmax", self.fmax, must));
        }
        let positive = |name, value: f64| {
            if value >= f64::from(f32::MIN_POSITIVE) && value <= f64::from(f32::MAX) {
                return Ok(());
            }
            Err(E::value(name, value, "must be above 0 and finite"))
        };
        positive("reference", self.reference)?;
        positive("amin", self.amin)?;
        positive("scale", self.scale)?;
        if !(0.0..=f64::from(f32::MAX)).contains(&self.offset) {
            return Err(E::value(
                "offset",
                self.offset,
                "must be 0 or above and finite",
            ));
        }
        match self.top_db {
            Some(db) if !(db > 0.0 && db.is_finite()) => {
                Err(E::value("top-db", db, "must be above 0, or none"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Preset;
    use super::*;

    #[test]
    fn presets_are_valid_and_survive_the_card() {
        for &(preset, _) in Preset::ALL {
            let front_end = FrontEnd::preset(preset);
            let fields = front_end.fields();
            let fields = fields.iter().map(|(key, value)| (*key, value.as_str()));
            assert_eq!(FrontEnd::from_fields(fields), Ok(front_end));
        }
    }

    #[test]
    fn patches_are_as_long_as_the_papers() {
        let seconds = |preset| FrontEnd::preset(preset).patch_duration();
        assert!((seconds(Preset::Choi) - 29.14).abs() < 0.01);
        assert!((seconds(Preset::Han) - 1.0).abs() < 0.01);
        assert_eq!(seconds(Preset::Yamnet), 0.96);
        assert!((seconds(Preset::Musicnn) - 2.99).abs() < 0.01);
        assert_eq!(seconds(Preset::Ced), 10.08);
    }

    /// The error of Choi's card with one field changed, added or (an empty value) left out.
    fn error(key: &str, value: &str) -> String {
        let mut fields = FrontEnd::preset(Preset::Choi).fields();
        fields.retain(|field| field.0 != key);
        let mut fields: Vec<_> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        if !value.is_empty() {
            fields.push((key, value));
        }
        FrontEnd::from_fields(fields).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_parameter_the_value_and_what_to_do() {
        assert!(error("hop", "").starts_with("The front end's parameter \"hop\" is missing"));
        assert!(error("hopp", "3").starts_with("The front end has no parameter \"hopp\""));
        let cases = [
            (
                "hop",
                "0",
                "hop is 0, but must be 1 to 512 (the FFT's size)",
            ),
            ("fft-size", "511", "fft-size is 511, but must be even"),
            (
                "rate",
                "-1",
                "rate is -1, but must be a whole number from 0 to 4294967295",
            ),
            (
                "fmax",
                "8000",
                "fmax is 8000, but must be at most half the rate (6000 Hz): lower fmax or raise rate",
            ),
            (
                "fmax",
                "NaN",
                "fmax is NaN, but must be at most half the rate (6000 Hz): lower fmax or raise rate",
            ),
            ("fmax", "-1", "fmax is -1, but must be above 0"),
            (
                "fmin",
                "6000",
                "fmin is 6000, but must be at least 0 and below fmax (6000 Hz)",
            ),
            (
                "window",
                "hamming",
                "window is hamming, but must be one of: hann",
            ),
            (
                "mel-scale",
                "bark",
                "mel-scale is bark, but must be one of: slaney htk",
            ),
            ("amin", "0", "amin is 0, but must be above 0 and finite"),
            ("top-db", "-3", "top-db is -3, but must be above 0, or none"),
            (
                "top-db",
                "x",
                "top-db is x, but must be a number of dB or none",
            ),
            ("center", "yes", "center is yes, but must be true or false"),
            (
                "pad-mode",
                "edge",
                "pad-mode is edge, but must be one of: constant reflect",
            ),
            ("power", "3", "power is 3, but must be 1 to 2"),
            (
                "fmax",
                "20",
                "fmax is 20, but must leave an FFT bin between it and fmin (0 Hz): bins are 23.4375 Hz apart; raise fmax or fft-size",
            ),
            (
                "rate",
                "384001",
                "rate is 384001, but must be 1000 to 384000 Hz",
            ),
            (
                "fft-size",
                "65538",
                "fft-size is 65538, but must be 2 to 65536",
            ),
            (
                "window-size",
                "513",
                "window-size is 513, but must be 1 to 512 (the FFT's size)",
            ),
            (
                "bands",
                "513",
                "bands is 513, but must be 1 to 512 (the FFT's size)",
            ),
            (
                "patch-frames",
                "43691",
                "patch-frames is 43691, but must be 1 to 43690 with this number of bands",
            ),
            (
                "patch-frames",
                "68719476736",
                "patch-frames is 68719476736, but must be 1 to 43690 with this number of bands",
            ),
        ];
        for (key, value, expected) in cases {
            assert_eq!(error(key, value), expected);
        }
    }

    #[test]
    fn patches_are_limited_in_samples_too() {
        let long = FrontEnd {
            bands: 16,
            patch_frames: 65_537,
            ..FrontEnd::preset(Preset::Choi)
        };
        assert_eq!(
            long.validate().unwrap_err().to_string(),
            "patch-frames is 65537, but must be 1 to 65536 with this hop"
        );
    }

    /// Of each of these the filter bank is empty, and the analysis would panic.
    #[test]
    fn a_mel_range_without_an_fft_bin_is_an_error() {
        let tiny = FrontEnd {
            fft_size: 2,
            window_size: 2,
            hop: 1,
            bands: 2,
            ..FrontEnd::preset(Preset::Choi)
        };
        let between_bins = FrontEnd {
            fmin: 100.0,
            fmax: 101.0,
            ..FrontEnd::preset(Preset::Choi)
        };
        for front_end in [tiny, between_bins] {
            let error = front_end.validate().unwrap_err().to_string();
            assert!(error.starts_with("fmax is "), "{error}");
        }
        let one_bin = FrontEnd {
            fmin: 90.0,
            fmax: 100.0,
            bands: 1,
            ..FrontEnd::preset(Preset::Choi)
        };
        assert_eq!(one_bin.validate(), Ok(()));
    }

    #[test]
    fn differences_name_both_values_and_leave_out_what_the_compression_ignores() {
        let ours = FrontEnd::preset(Preset::Choi);
        let theirs = FrontEnd {
            bands: 64,
            offset: 5.0,
            ..ours.clone()
        };
        let expected = ("bands", "96".to_owned(), "64".to_owned());
        assert_eq!(ours.differences(&theirs), [expected]);
        assert!(ours.differences(&ours).is_empty());
    }
}
