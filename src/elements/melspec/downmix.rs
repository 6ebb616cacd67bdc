// SPDX-License-Identifier: MPL-2.0

use gst_audio::{AudioFormat, AudioInfo, AudioLayout};

use crate::mel::{self, MidSide, SampleFormat};

/// Turns buffers of any raw audio format into mono float samples by averaging the channels. Of stereo whose channels
/// cancel each other, half the difference is used: see [`MidSide`].
///
/// The result never depends on how the stream is cut into buffers.
pub struct Downmix {
    info: AudioInfo,
    /// Samples in the format that GStreamer unpacks to (S32 or F64); reused.
    unpacked: Vec<u64>,
    sums: Vec<f64>,
    /// The differences in such a format, of two channels.
    differences: Vec<f64>,
    mid_side: MidSide,
}

impl Downmix {
    /// A downmix of streams described by `info`.
    pub fn new(info: AudioInfo) -> Self {
        Self {
            info,
            unpacked: Vec::new(),
            sums: Vec::new(),
            differences: Vec::new(),
            mid_side: MidSide::default(),
        }
    }

    /// Replaces `mono` by the samples of `buffer`, full scale being -1 to 1.
    pub fn mix(&mut self, buffer: &gst::BufferRef, mono: &mut Vec<f32>) -> Result<(), String> {
        mono.clear();
        let channels = self.info.channels() as usize;
        if self.info.layout() == AudioLayout::NonInterleaved {
            let planes = gst_audio::AudioBufferRef::from_buffer_ref_readable(buffer, &self.info)
                .map_err(|_| {
                    "The audio buffer cannot be read as its caps describe it".to_owned()
                })?;
            let width = (self.info.width() / 8) as usize;
            self.clear(0);
            for channel in 0..channels {
                let plane = planes
                    .plane_data(channel as u32)
                    .map_err(|_| format!("The audio buffer has no channel {channel}"))?;
                let plane = &plane[..plane.len().min(planes.n_samples() * width)];
                self.resize(plane.len() / width);
                self.add(plane, |index| (index, channel));
            }
            self.finish(mono);
            return Ok(());
        }
        let data = buffer
            .map_readable()
            .map_err(|_| "The audio buffer cannot be mapped".to_owned())?;
        let frame = self.info.bpf() as usize;
        let data = &data[..data.len() / frame * frame];
        let format = match self.info.format() {
            AudioFormat::S16le => SampleFormat::S16,
            AudioFormat::F32le => SampleFormat::F32,
            _ => {
                self.clear(data.len() / frame);
                self.add(data, |index| (index / channels, index % channels));
                self.finish(mono);
                return Ok(());
            }
        };
        mel::downmix(data, format, channels, mono);
        if channels == 2 {
            self.mid_side.choose(mono, |range, side| {
                mel::difference(&data[range.start * frame..range.end * frame], format, side);
            });
        }
        Ok(())
    }

    /// Begins with `frames` frames of silence.
    fn clear(&mut self, frames: usize) {
        self.sums.clear();
        self.differences.clear();
        self.resize(frames);
    }

    fn resize(&mut self, frames: usize) {
        self.sums.resize(frames, 0.0);
        if self.info.channels() == 2 {
            self.differences.resize(frames, 0.0);
        }
    }

    /// Adds samples, of which `place` gives the frame and the channel by the index.
    fn add(&mut self, data: &[u8], place: impl Fn(usize) -> (usize, usize)) {
        let Self {
            info,
            unpacked,
            sums,
            differences,
            ..
        } = self;
        unpack(info, data, unpacked, |index, sample| {
            let (frame, channel) = place(index);
            sums[frame] += sample;
            if let Some(difference) = differences.get_mut(frame) {
                *difference += if channel == 0 { sample } else { -sample };
            }
        });
    }

    /// Makes `mono` of what was added.
    fn finish(&mut self, mono: &mut Vec<f32>) {
        let channels = self.info.channels();
        let mean = |sum: &f64| (sum / f64::from(channels)) as f32;
        mono.extend(self.sums.iter().map(mean));
        if channels == 2 {
            let differences = &self.differences;
            self.mid_side.choose(mono, |range, side| {
                side.clear();
                side.extend(differences[range].iter().map(mean));
            });
        }
    }
}

/// Calls `each` with the index and the value of every sample in `data`.
fn unpack(
    info: &AudioInfo,
    data: &[u8],
    unpacked: &mut Vec<u64>,
    mut each: impl FnMut(usize, f64),
) {
    let format = info.format_info();
    let target = gst_audio::AudioFormatInfo::from_format(format.unpack_format());
    let samples = data.len() * 8 / info.width() as usize;
    let bytes = samples * target.width() as usize / 8;
    unpacked.clear();
    unpacked.resize(bytes.div_ceil(8), 0);
    let unpacked = &mut bytemuck::cast_slice_mut(unpacked)[..bytes];
    format.unpack(gst_audio::AudioPackFlags::TRUNCATE_RANGE, unpacked, data);
    if target.is_float() {
        for (index, &sample) in unpacked.as_chunks().0.iter().enumerate() {
            each(index, f64::from_ne_bytes(sample));
        }
    } else {
        for (index, &sample) in unpacked.as_chunks().0.iter().enumerate() {
            each(index, f64::from(i32::from_ne_bytes(sample)) / 2147483648.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(format: AudioFormat, channels: u32, data: Vec<u8>) -> Vec<f32> {
        gst::init().unwrap();
        let info = AudioInfo::builder(format, 48000, channels).build().unwrap();
        let mut mono = vec![9.0];
        Downmix::new(info)
            .mix(&gst::Buffer::from_slice(data), &mut mono)
            .unwrap();
        mono
    }

    #[test]
    fn averages_the_channels_in_every_format() {
        let expected = [0.25, -0.125];
        let frames = [[0.75, -0.25], [0.0, -0.25]];
        let samples = || frames.iter().flatten();
        let scaled =
            |bits: u32| samples().map(move |s: &f64| (s * f64::from(1u32 << (bits - 1))) as i32);
        let f = AudioFormat::F32le;
        assert_eq!(
            mix(
                f,
                2,
                samples().flat_map(|&s| (s as f32).to_le_bytes()).collect()
            ),
            expected
        );
        let f = AudioFormat::F64be;
        assert_eq!(
            mix(f, 2, samples().flat_map(|s| s.to_be_bytes()).collect()),
            expected
        );
        let f = AudioFormat::S16le;
        assert_eq!(
            mix(
                f,
                2,
                scaled(16).flat_map(|s| (s as i16).to_le_bytes()).collect()
            ),
            expected
        );
        let f = AudioFormat::S16be;
        assert_eq!(
            mix(
                f,
                2,
                scaled(16).flat_map(|s| (s as i16).to_be_bytes()).collect()
            ),
            expected
        );
        let f = AudioFormat::S2432le;
        assert_eq!(
            mix(f, 2, scaled(24).flat_map(|s| s.to_le_bytes()).collect()),
            expected
        );
        let f = AudioFormat::S24le;
        let data = scaled(24)
            .flat_map(|s| s.to_le_bytes()[..3].to_vec())
            .collect();
        assert_eq!(mix(f, 2, data), expected);
        let f = AudioFormat::U8;
        assert_eq!(
            mix(f, 2, samples().map(|s| (s * 128.0 + 128.0) as u8).collect()),
            expected
        );
    }

    #[test]
    fn opposite_phases_do_not_cancel_each_other_in_any_format() {
        const FRAMES: usize = 20_000;
        let left = |n: usize| (n as f64 * 0.1).sin() * 0.5;
        let samples = |n: usize| [left(n), -left(n)].into_iter();
        let s16 = |sample: f64| (sample * 32768.0) as i16;
        let all = || (0..FRAMES).flat_map(samples);
        for (format, data) in [
            (
                AudioFormat::S16le,
                all().flat_map(|s| s16(s).to_le_bytes()).collect(),
            ),
            (
                AudioFormat::S16be,
                all().flat_map(|s| s16(s).to_be_bytes()).collect(),
            ),
            (
                AudioFormat::F32le,
                all().flat_map(|s| (s as f32).to_le_bytes()).collect(),
            ),
            (
                AudioFormat::F64le,
                all().flat_map(f64::to_le_bytes).collect::<Vec<u8>>(),
            ),
        ] {
            let mono = mix(format, 2, data);
            let wrong = |n: &usize| (f64::from(mono[*n]) - left(*n)).abs() > 1e-4;
            assert_eq!((4096..FRAMES).find(wrong), None, "{format:?}");
        }
    }

    #[test]
    fn an_incomplete_last_frame_is_left_out() {
        assert_eq!(mix(AudioFormat::S16le, 2, vec![0; 7]).len(), 1);
    }
}
