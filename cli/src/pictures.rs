// SPDX-License-Identifier: MPL-2.0

//! Collects what a page shows: small copies of the analysed pictures, and the mel patches.

use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gstinstruments::fusion::Sample;
use gstinstruments::meta::{self, Features, Kind, Tags};

use crate::args::Modality;
use crate::extent::Extent;
use crate::report::{Picture, Report};
use crate::spectrogram::{Spectrogram, jpeg};

/// Pictures of a page.
const PICTURES: usize = 12;
/// Pixels of a picture's longer side.
const SIZE: u32 = 176;
const QUALITY: u8 = 68;

/// What passes the models of one input.
#[derive(Clone)]
pub struct Collector(Arc<Mutex<Collected>>);

struct Collected {
    extent: Extent,
    pictures: Sample<Picture>,
    spectrogram: Spectrogram,
    converter: Option<(
        gst_video::VideoInfo,
        gst_video::VideoInfo,
        gst_video::VideoConverter,
    )>,
}

impl Collector {
    /// Of the input that is known by its `extent`.
    pub fn new(extent: Extent) -> Self {
        Self(Arc::new(Mutex::new(Collected {
            extent,
            pictures: Sample::new(PICTURES),
            spectrogram: Spectrogram::default(),
            converter: None,
        })))
    }

    /// Looks at what the analysis of `tagger` makes of the stream of `output`, one of its pads.
    pub fn watch(&self, tagger: &gst::Element, output: &gst::Pad) {
        let (name, modality) = match output.name().as_str() {
            "audio_src" => ("classify-audio", Modality::Audio),
            _ => ("classify-video", Modality::Video),
        };
        let analysis = tagger.property::<Option<gst::Pipeline>>("analysis");
        let classify = analysis.and_then(|analysis| analysis.by_name(name));
        let Some(pad) = classify.and_then(|classify| classify.static_pad("src")) else {
            return;
        };
        let own = self.clone();
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(mask, move |pad, info| {
            let mut collected = own.0.lock().unwrap_or_else(PoisonError::into_inner);
            match (&info.data, modality) {
                (Some(gst::PadProbeData::Buffer(buffer)), Modality::Video)
                    if Tags::from_buffer(buffer).iter().any(|tags| tags.fresh) =>
                {
                    // A picture that cannot be converted is left out.
                    let _ = collected.picture(pad, buffer);
                }
                (Some(gst::PadProbeData::Buffer(buffer)), Modality::Audio) => {
                    collected.sound(pad, &Features::of_kind(buffer, Kind::Mel));
                }
                (Some(gst::PadProbeData::Event(event)), Modality::Audio) => {
                    if let Some((_, features)) = meta::from_event(event) {
                        collected.sound(pad, &features);
                    }
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Puts everything into the report, whose duration is known by now.
    pub fn finish(&self, report: &mut Report) {
        let collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        report.pictures = collected.pictures.items().cloned().collect();
        report.spectrogram = collected.spectrogram.jpeg(report.duration);
    }
}

impl Collected {
    fn picture(&mut self, pad: &gst::Pad, buffer: &gst::Buffer) -> Option<()> {
        let caps = pad.current_caps()?;
        let info = gst_video::VideoInfo::from_caps(&caps).ok()?;
        if self
            .converter
            .as_ref()
            .is_none_or(|(from, ..)| *from != info)
        {
            let (width, height) = size(&info);
            let to = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height)
                .build()
                .ok()?;
            // Interlaced pictures are shown as they are.
            let from = gst_video::VideoInfo::builder(info.format(), info.width(), info.height())
                .stride(&info.stride()[..info.n_planes() as usize])
                .offset(&info.offset()[..info.n_planes() as usize])
                .build()
                .ok()?;
            let converter = gst_video::VideoConverter::new(&from, &to, None).ok()?;
            self.converter = Some((info, to, converter));
        }
        let (from, to, converter) = self.converter.as_ref()?;
        let frame = gst_video::VideoFrame::from_buffer_readable(buffer.clone(), from).ok()?;
        let small = gst::Buffer::with_size(to.size()).ok()?;
        let mut small = gst_video::VideoFrame::from_buffer_writable(small, to).ok()?;
        converter.frame(&frame, &mut small);
        let (width, height) = (to.width() as usize, to.height() as usize);
        let lines = small.plane_data(0).ok()?.chunks(to.stride()[0] as usize);
        let pixels: Vec<u8> = lines
            .take(height)
            .flat_map(|line| &line[..3 * width])
            .copied()
            .collect();
        self.pictures.push(Picture {
            time: self.time(pad, buffer.pts())?,
            jpeg: jpeg(&pixels, width, height, QUALITY)?,
        });
        Some(())
    }

    /// Seconds from the input's start to what `pad` gives the timestamp `time`.
    fn time(&self, pad: &gst::Pad, time: Option<gst::ClockTime>) -> Option<f64> {
        let segment = pad.sticky_event::<gst::event::Segment>(0)?;
        let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
        let time = segment.to_stream_time(time)?;
        Some(self.extent.get().relative(time.seconds_f64()))
    }

    fn sound(&mut self, pad: &gst::Pad, features: &[Features]) {
        for patch in features
            .iter()
            .filter(|features| features.kind == Kind::Mel)
        {
            let number = |name: &str| {
                let field = patch.front_end.iter().find(|(key, _)| key == name)?;
                field.1.parse::<f64>().ok()
            };
            if let (Some(hop), Some(rate), Some(start), Some(duration)) = (
                number("hop"),
                number("rate"),
                self.time(pad, patch.start),
                patch.duration,
            ) {
                let bands = patch.dims.first().map_or(0, |bands| *bands as usize);
                let time = start..start + duration.seconds_f64();
                self.spectrogram.add(&patch.data, bands, time, hop / rate);
            }
        }
    }
}

/// The width and height of a small copy, with square pixels.
fn size(info: &gst_video::VideoInfo) -> (u32, u32) {
    let par = info.par();
    let width = f64::from(info.width()) * f64::from(par.numer()) / f64::from(par.denom().max(1));
    let height = f64::from(info.height());
    let scale = f64::from(SIZE) / width.max(height).max(1.0);
    let side = |length: f64| ((length * scale).round() as u32).max(2);
    (side(width), side(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_copies_have_the_pictures_shape() {
        gst::init().unwrap();
        let size = |width, height, par: (i32, i32)| {
            let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height);
            size(&info.par(gst::Fraction::new(par.0, par.1)).build().unwrap())
        };
        assert_eq!(size(1920, 1080, (1, 1)), (176, 99));
        assert_eq!(size(720, 576, (64, 45)), (176, 99));
        assert_eq!(size(1080, 1920, (1, 1)), (99, 176));
    }
}
