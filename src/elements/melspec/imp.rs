// SPDX-License-Identifier: MPL-2.0

//! Computes mel spectrogram patches of the audio that passes and attaches each to the buffer that
//! completes it; the audio itself stays untouched.
//!
//! ```sh
//! gst-launch-1.0 -m filesrc location=examples/media/band.mp4 ! decodebin3 ! melspec ! frameclassify ! fakesink
//! ```
//!
//! Parameters that are not set come from the model of the `frameclassify` downstream.

use std::sync::{LazyLock, Mutex};

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;

use super::front_end::Parameters;
use super::state::{State, samples};
use super::{Partial, Preset, Segmentation};
use crate::elements::{FRONT_END_QUERY, MIN_FRAMES, Trained, always_pads, is_live, phase, seconds};
use crate::mel::{self, FrontEnd, PatchOptions, Patcher};
use crate::meta::{self, Features};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "melspec",
        gst::DebugColorFlags::empty(),
        Some("Mel spectrogram patches as metadata"),
    )
});

pub(crate) const DEFAULT_PATCH_INTERVAL: u64 = 1_000_000_000;

/// Longest `patch-interval` and `patch-duration`.
pub(crate) const MAX_TIME: u64 = mel::MAX_INTERVAL as u64 * 1_000_000_000;

#[derive(Debug, Clone)]
struct Settings {
    preset: Preset,
    segmentation: Segmentation,
    partial: Partial,
    patch_interval: u64,
    patch_duration: u64,
    post_messages: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            segmentation: Segmentation::default(),
            partial: Partial::default(),
            patch_interval: DEFAULT_PATCH_INTERVAL,
            patch_duration: 0,
            post_messages: false,
        }
    }
}

/// See the module's documentation.
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::MelSpec)]
pub struct MelSpec {
    /// Properties of their own.
    parameters: Mutex<Parameters>,
    #[property(name = "preset", get, set, type = Preset, member = preset, default, blurb = "Front end to start from; other properties that are set replace its parameters", mutable_ready)]
    #[property(name = "segmentation", get, set, type = Segmentation, member = segmentation, default, blurb = "Which parts of the stream become patches", mutable_ready)]
    #[property(name = "partial", get, set, type = Partial, member = partial, default, blurb = "What happens to a window that the start or the end of the stream cuts short", mutable_ready)]
    #[property(name = "patch-interval", get, set, type = u64, member = patch_interval, minimum = 1_000_000, maximum = MAX_TIME, default_value = DEFAULT_PATCH_INTERVAL, blurb = "Time between two sliding patches in nanoseconds", mutable_ready)]
    #[property(name = "patch-duration", get, set, type = u64, member = patch_duration, maximum = MAX_TIME, blurb = "Audio in a patch in nanoseconds; shorter patches are padded according to 'partial' (0 = the whole patch)", mutable_ready)]
    #[property(name = "post-messages", get, set, type = bool, member = post_messages, blurb = "Post each patch as an element message 'instrument-features'", mutable_playing)]
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
}

#[glib::object_subclass]
impl ObjectSubclass for MelSpec {
    const NAME: &'static str = "GstMelSpec";
    type Type = super::MelSpec;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for MelSpec {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let mut properties = MelSpec::derived_properties().to_vec();
            properties.extend(Parameters::specs());
            properties
        });
        &PROPERTIES
    }

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if !self.parameters.lock().unwrap().set(pspec.name(), value) {
            self.derived_set_property(id, value, pspec);
        }
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let parameter = self.parameters.lock().unwrap().get(pspec.name());
        parameter.unwrap_or_else(|| self.derived_property(id, pspec))
    }
}

impl GstObjectImpl for MelSpec {}

impl ElementImpl for MelSpec {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Mel spectrogram",
                "Filter/Analyzer/Audio",
                "Attaches mel spectrogram patches to audio",
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
            if let Some(state) = state.as_mut().filter(|state| state.rate() == info.rate()) {
                // Mono stays mono: windows run on over a change of format or channels.
                gst::debug!(CAT, imp = self, "{caps}: the windows continue");
                state.set_info(info);
                return Ok(());
            }
            state.take()
        };
        gst::debug!(CAT, imp = self, "{caps}: windows begin");
        // Rejecting sticky caps repeats the error on every buffer; accept them and fail on the next buffer.
        self.renew(info, before);
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::StreamStart(_) => {
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    state.end_stream();
                }
                self.push_ready();
            }
            gst::EventView::FlushStop(_) => {
                gst::debug!(CAT, imp = self, "flush: the windows begin anew");
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    state.restart();
                }
            }
            gst::EventView::Gap(gap) => {
                let (timestamp, duration) = gap.get();
                gst::debug!(
                    CAT,
                    imp = self,
                    "gap at {timestamp} for {}",
                    duration.display()
                );
                if let (Some(state), Some(duration)) =
                    (self.state.lock().unwrap().as_mut(), duration)
                {
                    state.gap(timestamp.saturating_add(duration));
                }
                self.push_ready();
            }
            gst::EventView::Eos(_) => {
                gst::debug!(CAT, imp = self, "end of the stream: the windows end");
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
        self.renew_for_new_stream();
        let segment = self.obj().segment();
        let ready = {
            let mut state = self.state.lock().unwrap();
            let state = state.as_mut().ok_or(gst::FlowError::Error)?;
            if let Err(message) = state.push(self, &buffer, &segment) {
                gst::warning!(CAT, imp = self, "{message}: this buffer passes unanalysed");
            }
            state.take_ready()
        };
        if !ready.is_empty() {
            self.post(&ready);
            Features::attach(&ready, buffer.make_mut());
        }
        Ok(GenerateOutputSuccess::Buffer(buffer))
    }
}

impl MelSpec {
    /// Analyses a stream described by `info` from now on, with what `before` leaves.
    fn renew(&self, info: gst_audio::AudioInfo, before: Option<State>) {
        // No lock is held while others are asked.
        match self.open(info) {
            Ok(opened) => {
                let ready = before.map_or_else(Vec::new, State::finish);
                *self.state.lock().unwrap() = Some(opened.with_ready(ready));
            }
            Err(message) => {
                gst::element_imp_error!(self, gst::LibraryError::Settings, ("{}", message));
            }
        }
    }

    /// A stream that follows another without new caps has a duration of its own.
    fn renew_for_new_stream(&self) {
        let mut state = self.state.lock().unwrap();
        if state.as_ref().is_some_and(State::is_outdated)
            && let Some(before) = state.take()
        {
            drop(state);
            self.renew(before.info().clone(), Some(before));
        }
    }

    /// Makes the analysis of a stream described by `info`; errors are sentences for the user.
    fn open(&self, info: gst_audio::AudioInfo) -> Result<State, String> {
        let model = self.ask_downstream()?;
        let settings = self.settings.lock().unwrap().clone();
        let content = (settings.patch_duration > 0).then(|| seconds(settings.patch_duration));
        let parameters = self.parameters.lock().unwrap().clone();
        let front_end = parameters.resolve(settings.preset, model.as_ref(), content)?;
        let total = match settings.segmentation {
            Segmentation::Sliding => None,
            _ => {
                let duration = self
                    .obj()
                    .sink_pad()
                    .peer_query_duration::<gst::ClockTime>()
                    .ok_or("segmentation=central, uniform and ten need the stream's duration, which is unknown: use segmentation=sliding")?;
                Some(samples(duration, info.rate()))
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
        let patcher = match &model {
            Some(model) => patcher.with_min_frames(model.min_frames),
            None => patcher,
        };
        let patcher = if is_live(self.obj().sink_pad()) {
            patcher.with_phase(phase())
        } else {
            patcher
        };
        let origin = if model.is_some() {
            "the model's"
        } else {
            "the preset's"
        };
        gst::info!(CAT, imp = self, "{origin} front end: {front_end:?}");
        let whole_stream = settings.segmentation != Segmentation::Sliding;
        Ok(State::new(info, patcher, &front_end, whole_stream))
    }

    /// What the model downstream was trained on; `None` without a model downstream.
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
                    min_frames: min_frames.map_or(front_end.patch_frames, |least| {
                        front_end.patch_frames.min(least as usize)
                    }),
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
            .map(State::take_ready)
            .unwrap_or_default();
        if !ready.is_empty() {
            self.post(&ready);
            self.obj().src_pad().push_event(meta::event(&[], &ready));
        }
    }

    fn post(&self, patches: &[Features]) {
        for patch in patches {
            gst::debug!(
                CAT,
                imp = self,
                "patch at {} for {}, {:.0} % media",
                patch.start.display(),
                patch.duration.display(),
                patch.media * 100.0
            );
        }
        if self.settings.lock().unwrap().post_messages {
            for patch in patches {
                let _ = self.obj().post_message(patch.message(&*self.obj()));
            }
        }
    }
}
