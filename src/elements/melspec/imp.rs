// SPDX-License-Identifier: MPL-2.0

//! Computes mel spectrogram patches of the audio that passes and attaches each to the buffer that
//! completes it; the audio itself stays untouched.
//!
//! ```sh
//! gst-launch-1.0 -m filesrc location=examples/media/band.mp4 ! decodebin ! melspec ! frameclassify ! fakesink
//! ```
//!
//! Parameters that are not set come from the model of the `frameclassify` downstream.

use std::sync::{Arc, LazyLock, Mutex};

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;

use super::downmix::Downmix;
use super::front_end::{
    AUTO, Center, Compression, MelNorm, MelScale, PadMode, Parameters, Trained, Window,
};
use super::{Partial, Preset, Segmentation};
use crate::elements::{FRONT_END_QUERY, MIN_FRAMES, always_pads, seconds};
use crate::mel::{FrontEnd, Patch, PatchOptions, Patcher};
use crate::meta::{self, Features, Kind};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "melspec",
        gst::DebugColorFlags::empty(),
        Some("Mel spectrogram patches as metadata"),
    )
});

const DEFAULT_PATCH_INTERVAL: u64 = 1_000_000_000;

/// Timestamps may be this far from the sample count before the stream counts as having jumped:
/// more than the rounding of containers, less than a buffer that got lost.
const JUMP: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// The same for buffers that don't say that they are discontinuous: only clear jumps count.
const UNFLAGGED_JUMP: gst::ClockTime = gst::ClockTime::SECOND;

#[derive(Debug, Clone)]
struct Settings {
    segmentation: Segmentation,
    partial: Partial,
    patch_interval: u64,
    patch_duration: u64,
    post_messages: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segmentation: Segmentation::default(),
            partial: Partial::default(),
            patch_interval: DEFAULT_PATCH_INTERVAL,
            patch_duration: 0,
            post_messages: false,
        }
    }
}

struct State {
    rate: u32,
    downmix: Downmix,
    patcher: Patcher,
    front_end: FrontEnd,
    /// Its parameters, which ride along with each patch.
    fields: Arc<[(String, String)]>,
    /// Timestamp of the patcher's sample 0; unset before the first timestamp.
    origin: Option<gst::ClockTime>,
    /// Samples pushed since then.
    samples: u64,
    mono: Vec<f32>,
    /// Patches that no buffer has taken along yet.
    ready: Vec<Features>,
}

/// See the module's documentation.
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::MelSpec)]
pub struct MelSpec {
    #[property(name = "preset", get, set, type = Preset, member = preset, default, blurb = "Front end to start from; the parameters below change it")]
    #[property(name = "rate", get, set, type = u32, member = rate, blurb = "Sample rate of the front end in Hz (0 = auto)")]
    #[property(name = "fft-size", get, set, type = u32, member = fft_size, blurb = "Length of the FFT in samples (0 = auto)")]
    #[property(name = "window-size", get, set, type = u32, member = window_size, blurb = "Length of the analysis window in samples (0 = auto)")]
    #[property(name = "hop", get, set, type = u32, member = hop, blurb = "Samples between two frames (0 = auto)")]
    #[property(name = "window", get, set, type = Window, member = window, default, blurb = "Shape of the analysis window")]
    #[property(name = "bands", get, set, type = u32, member = bands, blurb = "Number of mel bands (0 = auto)")]
    #[property(name = "fmin", get, set, type = f64, member = fmin, minimum = AUTO, default_value = AUTO, blurb = "Lowest frequency of the mel bands in Hz (-1 = auto)")]
    #[property(name = "fmax", get, set, type = f64, member = fmax, minimum = AUTO, default_value = AUTO, blurb = "Highest frequency of the mel bands in Hz (-1 = auto)")]
    #[property(name = "mel-scale", get, set, type = MelScale, member = mel_scale, default, blurb = "Frequency scale of the mel bands")]
    #[property(name = "mel-norm", get, set, type = MelNorm, member = mel_norm, default, blurb = "Normalisation of the mel filters")]
    #[property(name = "power", get, set, type = u32, member = power, maximum = 2, blurb = "Exponent of the magnitude: 1 magnitude, 2 power (0 = auto)")]
    #[property(name = "compression", get, set, type = Compression, member = compression, default, blurb = "Compression of the mel spectrogram")]
    #[property(name = "reference", get, set, type = f64, member = reference, minimum = AUTO, default_value = AUTO, blurb = "Value that is 0 dB (-1 = auto)")]
    #[property(name = "amin", get, set, type = f64, member = amin, minimum = AUTO, default_value = AUTO, blurb = "Smallest value before dB compression (-1 = auto)")]
    #[property(name = "offset", get, set, type = f64, member = offset, minimum = AUTO, default_value = AUTO, blurb = "Added before ln and log10 (-1 = auto)")]
    #[property(name = "scale", get, set, type = f64, member = scale, minimum = AUTO, default_value = AUTO, blurb = "Factor before ln and log10 (-1 = auto)")]
    #[property(name = "top-db", get, set, type = f64, member = top_db, minimum = AUTO, default_value = AUTO, blurb = "Range below a patch's maximum in dB, what is lower is clamped (0 = no clamping, -1 = auto)")]
    #[property(name = "center", get, set, type = Center, member = center, default, blurb = "Whether frames are centred on their time")]
    #[property(name = "pad-mode", get, set, type = PadMode, member = pad_mode, default, blurb = "Padding of the signal where frames are centred")]
    #[property(name = "patch-frames", get, set, type = u32, member = patch_frames, blurb = "Frames in a patch (0 = auto)")]
    parameters: Mutex<Parameters>,
    #[property(name = "segmentation", get, set, type = Segmentation, member = segmentation, default, blurb = "Which parts of the stream become patches")]
    #[property(name = "partial", get, set, type = Partial, member = partial, default, blurb = "What happens to a window that the start or the end of the stream cuts short")]
    #[property(name = "patch-interval", get, set, type = u64, member = patch_interval, minimum = 1_000_000, default_value = DEFAULT_PATCH_INTERVAL, blurb = "Time between two sliding patches in nanoseconds")]
    #[property(name = "patch-duration", get, set, type = u64, member = patch_duration, blurb = "Audio in a patch in nanoseconds; less than the front end's patch is filled up as 'partial' says (0 = the whole patch)")]
    #[property(name = "post-messages", get, set, type = bool, member = post_messages, blurb = "Post each patch as an element message 'instrument-features'")]
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
}

#[glib::object_subclass]
impl ObjectSubclass for MelSpec {
    const NAME: &'static str = "GstMelSpec";
    type Type = super::MelSpec;
    type ParentType = gst_base::BaseTransform;
}

#[glib::derived_properties]
impl ObjectImpl for MelSpec {}

impl GstObjectImpl for MelSpec {}

impl ElementImpl for MelSpec {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Mel spectrogram",
                "Filter/Analyzer/Audio",
                "Attaches mel spectrogram patches to the audio that passes",
                "The gst-instruments developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_audio::AudioCapsBuilder::new().build();
            always_pads(&caps, &caps)
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for MelSpec {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = true;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.state.lock().unwrap() = None;
        Ok(())
    }

    fn set_caps(&self, caps: &gst::Caps, _: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_audio::AudioInfo::from_caps(caps)
            .map_err(|_| gst::loggable_error!(CAT, "Unusable caps {caps}"))?;
        let before = {
            let mut state = self.state.lock().unwrap();
            if let Some(state) = state.as_mut().filter(|state| state.rate == info.rate()) {
                // Mono stays mono: windows run on over a change of format or channels.
                state.downmix = Downmix::new(info);
                return Ok(());
            }
            state.take()
        };
        // No lock is held while others are asked.
        match self.open(info) {
            Ok(opened) => {
                let ready = before.map_or_else(Vec::new, State::finish);
                *self.state.lock().unwrap() = Some(State { ready, ..opened });
            }
            // Refused caps would come again and again, each time with an error: the next buffer fails instead.
            Err(message) => {
                gst::element_imp_error!(self, gst::LibraryError::Settings, ("{}", message));
            }
        }
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStop(_) => {
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    state.restart();
                }
            }
            gst::EventView::Gap(gap) => {
                let (timestamp, duration) = gap.get();
                if let (Some(state), Some(duration)) =
                    (self.state.lock().unwrap().as_mut(), duration)
                {
                    state.silence(timestamp, duration);
                }
                self.push_ready();
            }
            gst::EventView::Eos(_) => {
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    state.end();
                }
                self.push_ready();
            }
            _ => (),
        }
        self.parent_sink_event(event)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(mut buffer) = self.take_queued_buffer() else {
            return Ok(GenerateOutputSuccess::NoOutput);
        };
        let ready = {
            let mut state = self.state.lock().unwrap();
            let state = state.as_mut().ok_or(gst::FlowError::Error)?;
            if let Err(message) = state.push(&buffer) {
                gst::warning!(
                    CAT,
                    imp = self,
                    "{message}: this buffer is passed on unanalysed"
                );
            }
            std::mem::take(&mut state.ready)
        };
        if !ready.is_empty() {
            self.post(&ready);
            Features::attach(&ready, buffer.make_mut());
        }
        Ok(GenerateOutputSuccess::Buffer(buffer))
    }
}

impl MelSpec {
    /// Makes the analysis of a stream described by `info`; errors are sentences for the user.
    fn open(&self, info: gst_audio::AudioInfo) -> Result<State, String> {
        let model = self.ask_downstream()?;
        let settings = self.settings.lock().unwrap().clone();
        let content = (settings.patch_duration > 0).then(|| seconds(settings.patch_duration));
        let parameters = self.parameters.lock().unwrap().clone();
        let front_end = parameters.resolve(model.as_ref(), content)?;
        let total = match settings.segmentation {
            Segmentation::Sliding => None,
            _ => {
                let duration = self
                    .obj()
                    .sink_pad()
                    .peer_query_duration::<gst::ClockTime>()
                    .ok_or("segmentation=central, uniform and ten need the stream's duration, which is not known here: use segmentation=sliding")?;
                let rate = u64::from(info.rate());
                duration
                    .mul_div_round(rate, gst::ClockTime::SECOND.nseconds())
                    .map(|samples| samples.nseconds())
            }
        };
        let options = PatchOptions {
            segmentation: settings.segmentation.into(),
            partial: settings.partial.into(),
            interval: seconds(settings.patch_interval),
            content,
            total,
        };
        let patcher =
            Patcher::new(&front_end, info.rate(), options).map_err(|err| err.to_string())?;
        gst::debug!(CAT, imp = self, "front end: {front_end:?}");
        Ok(State {
            rate: info.rate(),
            downmix: Downmix::new(info),
            patcher,
            fields: front_end
                .fields()
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            front_end,
            origin: None,
            samples: 0,
            mono: Vec::new(),
            ready: Vec::new(),
        })
    }

    /// What the model downstream was trained on; `None` when nobody knows of one.
    fn ask_downstream(&self) -> Result<Option<Trained>, String> {
        let mut query = gst::query::Custom::new(gst::Structure::new_empty(FRONT_END_QUERY));
        if !self.obj().src_pad().peer_query(&mut query) {
            return Ok(None);
        }
        let answer = query
            .structure()
            .expect("the query was made with a structure");
        let fields: Vec<(&str, &str)> = answer
            .iter()
            .filter_map(|(key, value)| Some((key.as_str(), value.get().ok()?)))
            .collect();
        let min_frames = answer.get::<u64>(MIN_FRAMES).ok();
        FrontEnd::from_fields(fields)
            .map(|front_end| {
                Some(Trained {
                    min_frames: min_frames.map_or(front_end.patch_frames, |least| least as usize),
                    front_end,
                })
            })
            .map_err(|err| format!("The model downstream describes its front end wrongly: {err}"))
    }

    /// Sends the patches that no buffer can take along downstream in an event.
    fn push_ready(&self) {
        let ready = self
            .state
            .lock()
            .unwrap()
            .as_mut()
            .map(|state| std::mem::take(&mut state.ready))
            .unwrap_or_default();
        if !ready.is_empty() {
            self.post(&ready);
            self.obj().src_pad().push_event(meta::event(&[], &ready));
        }
    }

    fn post(&self, patches: &[Features]) {
        gst::log!(CAT, imp = self, "{} patches", patches.len());
        if self.settings.lock().unwrap().post_messages {
            for patch in patches {
                let _ = self.obj().post_message(patch.message(&*self.obj()));
            }
        }
    }
}

impl State {
    /// Analyses the samples of `buffer`.
    fn push(&mut self, buffer: &gst::BufferRef) -> Result<(), String> {
        let mut mono = std::mem::take(&mut self.mono);
        let mixed = self.downmix.mix(buffer, &mut mono);
        if mixed.is_ok() {
            let jumps_allowed = buffer.flags().contains(gst::BufferFlags::DISCONT);
            self.follow(
                buffer.pts(),
                if jumps_allowed { JUMP } else { UNFLAGGED_JUMP },
            );
            self.analyse(&mono);
        }
        self.mono = mono;
        mixed
    }

    /// Analyses `duration` of silence from `timestamp`.
    fn silence(&mut self, timestamp: gst::ClockTime, duration: gst::ClockTime) {
        let samples = samples(duration, self.rate);
        if seconds(duration.nseconds()) > self.front_end.patch_duration() {
            // Longer than any window: what comes after has nothing to do with what was before.
            self.end();
            return;
        }
        self.follow(Some(timestamp), JUMP);
        let mut mono = std::mem::take(&mut self.mono);
        mono.clear();
        mono.resize(samples as usize, 0.0);
        self.analyse(&mono);
        self.mono = mono;
    }

    /// Ends the windows and starts anew when `timestamp` is further than `tolerance` from where the samples end.
    fn follow(&mut self, timestamp: Option<gst::ClockTime>, tolerance: gst::ClockTime) {
        let Some(timestamp) = timestamp else { return };
        match self.origin {
            None => self.origin = Some(timestamp.saturating_sub(time(self.samples, self.rate))),
            Some(origin) => {
                let expected = origin + time(self.samples, self.rate);
                if expected.absdiff(timestamp) > tolerance {
                    self.end();
                    self.origin = Some(timestamp);
                }
            }
        }
    }

    fn analyse(&mut self, mono: &[f32]) {
        self.samples += mono.len() as u64;
        let mut patches = Vec::new();
        self.patcher.push(mono, &mut |patch| patches.push(patch));
        self.keep(patches);
    }

    /// The stream, or what of it hangs together, is over.
    fn end(&mut self) {
        let mut patches = Vec::new();
        self.patcher.finish(&mut |patch| patches.push(patch));
        self.keep(patches);
        self.origin = None;
        self.samples = 0;
    }

    /// Forgets everything: what comes next is another part of the stream.
    fn restart(&mut self) {
        self.patcher.reset();
        self.origin = None;
        self.samples = 0;
        self.ready.clear();
    }

    fn finish(mut self) -> Vec<Features> {
        self.end();
        self.ready
    }

    fn keep(&mut self, patches: Vec<Patch>) {
        let origin = self.origin.unwrap_or_default();
        self.ready.extend(patches.into_iter().map(|patch| {
            let start = time(patch.start, self.rate);
            Features {
                id: "mel".to_owned(),
                kind: Kind::Mel,
                dims: vec![
                    self.front_end.bands as u32,
                    self.front_end.patch_frames as u32,
                ],
                data: patch.data,
                start: Some(origin + start),
                duration: Some(time(patch.end, self.rate) - start),
                media: 1.0,
                blank: false,
                front_end: self.fields.clone(),
            }
        }));
    }
}

/// The duration of `samples` at `rate`.
fn time(samples: u64, rate: u32) -> gst::ClockTime {
    gst::ClockTime::SECOND
        .mul_div_round(samples, u64::from(rate))
        .expect("a stream of less than centuries")
}

/// The samples in `duration` at `rate`.
fn samples(duration: gst::ClockTime, rate: u32) -> u64 {
    duration
        .nseconds()
        .mul_div_round(u64::from(rate), gst::ClockTime::SECOND.nseconds())
        .expect("a stream of less than centuries")
}
