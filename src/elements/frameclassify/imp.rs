// SPDX-License-Identifier: MPL-2.0

//! Runs a model on one picture each `interval`, or on each mel patch, and attaches the tags and
//! the embedding to the buffers that pass; the media itself stays untouched.
//!
//! ```sh
//! gst-launch-1.0 -m filesrc location=examples/media/band.mp4 ! decodebin3 ! videoconvert ! frameclassify ! fakesink
//! ```
//!
//! On audio it needs `melspec` in front of it.

use std::marker::PhantomData;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard};

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;
use gst_video::VideoOrientationMethod;

use super::requests::Requests;
use super::settings::{DEFAULT_INTERVAL, MAX_FRAMES, Settings};
use super::state::{Branch, State, Stream};
use super::tagger::Media;
use super::{Activation, Scheduling};
use crate::elements::inference::{Inference, MAX_BATCH_SIZE};
use crate::elements::{FRONT_END_QUERY, MIN_FRAMES, always_pads, phase, video_caps};
use crate::grid::Grid;
use crate::meta::{self, Features, Tags};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "frameclassify",
        gst::DebugColorFlags::empty(),
        Some("Tags of pictures and mel patches as metadata"),
    )
});

/// See the module's documentation.
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::FrameClassify)]
pub struct FrameClassify {
    #[property(name = "model", get, set = Self::set_model, nullable, type = Option<String>, member = model, mutable_playing, blurb = "Name of a model in the zoo, or path of an ONNX file (unset = the default for audio or video). In a running stream, the new model replaces the old one when it is open")]
    #[property(name = "batch-size", get, set, type = u32, member = batch_size, maximum = MAX_BATCH_SIZE, mutable_ready, blurb = "Maximum batch size (0 = 1 on the CPU, where batches are no faster, 8 on a GPU)")]
    #[property(name = "interval", get, set, type = u64, member = interval, default_value = DEFAULT_INTERVAL, mutable_playing, blurb = "Time between two pictures in nanoseconds (0 = every picture)")]
    #[property(name = "frames", get, set, type = u32, member = frames, maximum = MAX_FRAMES, mutable_ready, blurb = "Number of pictures, spread evenly over the stream, whose mean is the result for the whole stream (the paper's k; 0 = all)")]
    #[property(name = "activation", get, set, type = Activation, member = activation, default, mutable_playing, blurb = "How the model's outputs become scores")]
    #[property(name = "scheduling", get, set, type = Scheduling, member = scheduling, default, mutable_ready, blurb = "Whether media waits for results")]
    pub(super) settings: Mutex<Settings>,
    #[property(name = "reload", get = |_| false, set = Self::reload, type = bool, mutable_playing, blurb = "Set to true to open the model's file again, for example after it has changed; the old model runs until the new one is open")]
    reload: PhantomData<bool>,
    #[property(name = "active-provider", get = Self::active_provider, type = Option<String>, blurb = "Execution provider, GPU and precision in use")]
    active_provider: PhantomData<Option<String>>,
    pub(super) inference: Mutex<Inference>,
    pub(super) requests: Requests,
    pub(super) state: Mutex<State>,
    /// Signalled when a model has been opened, and when the stream is interrupted.
    pub(super) changed: Condvar,
}

#[glib::object_subclass]
impl ObjectSubclass for FrameClassify {
    const NAME: &'static str = "GstFrameClassify";
    type Type = super::FrameClassify;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for FrameClassify {
    fn properties() -> &'static [glib::ParamSpec] {
        // The derive macro knows neither GstStructure nor properties of several elements.
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let stats = glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .blurb("Counts and latencies of the inferences of this element and of all elements that share its session")
                .read_only()
                .build();
            let derived = FrameClassify::derived_properties().iter().cloned();
            derived
                .chain(Inference::properties())
                .chain([stats])
                .collect()
        });
        &PROPERTIES
    }

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if !self.inference.lock().unwrap().set(pspec.name(), value) {
            self.derived_set_property(id, value, pspec);
        }
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.stats().to_value();
        }
        let shared = self.inference.lock().unwrap().get(pspec.name());
        shared.unwrap_or_else(|| self.derived_property(id, pspec))
    }
}

impl GstObjectImpl for FrameClassify {}

impl ElementImpl for FrameClassify {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Frame classifier",
                "Filter/Analyzer/Audio/Video",
                "Attaches a model's tags to pictures, or to audio with mel patches",
                "The gst-instruments developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let mut caps = video_caps();
            caps.merge(gst_audio::AudioCapsBuilder::new().build());
            always_pads(&caps, &caps)
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            // Pads may be linked and properties set in between.
            gst::StateChange::NullToReady | gst::StateChange::ReadyToPaused => {
                self.prepare().map_err(|err| {
                    self.post_model_error(&err);
                    gst::StateChangeError
                })?
            }
            // The base class waits for the streaming thread.
            gst::StateChange::PausedToReady => self.interrupt(),
            _ => (),
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::ReadyToNull {
            let tagger = self.state.lock().unwrap().tagger.take();
            drop(tagger);
        }
        Ok(success)
    }
}

impl BaseTransformImpl for FrameClassify {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = true;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let frames = self.settings.lock().unwrap().frames as usize;
        self.requests.restart();
        let mut state = self.state.lock().unwrap();
        state.failed = false;
        state.stream = Some(Stream::new(frames));
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let before = {
            let mut state = self.state.lock().unwrap();
            (state.stream, state.opening) = (None, None);
            state.before.take()
        };
        // Closing a model takes a while: no lock is held.
        drop(before);
        Ok(())
    }

    fn set_caps(&self, caps: &gst::Caps, _: &gst::Caps) -> Result<(), gst::LoggableError> {
        // Rejecting sticky caps repeats the error on every buffer: the next buffer fails instead.
        if let Err(message) = self.negotiate(caps) {
            gst::element_imp_error!(self, gst::LibraryError::Settings, ("{message}"));
        }
        Ok(())
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if direction == gst::PadDirection::Sink
            && let gst::QueryViewMut::Custom(query) = query.view_mut()
            && query
                .structure()
                .is_some_and(|s| s.name() == FRONT_END_QUERY)
        {
            let Some((front_end, min_frames)) = self.front_end() else {
                return false;
            };
            let structure = query.structure_mut();
            gst::debug!(
                CAT,
                imp = self,
                "melspec asks for the model's front end: {front_end:?}"
            );
            for (key, value) in front_end.fields() {
                structure.set(key, value);
            }
            structure.set(MIN_FRAMES, min_frames as u64);
            return true;
        }
        BaseTransformImplExt::parent_query(self, direction, query)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::StreamStart(_) => self.start_stream(event.seqnum()),
            gst::EventView::Segment(segment) => {
                if let Some(stream) = &mut self.state.lock().unwrap().stream {
                    stream.reverse = segment.segment().rate() < 0.0;
                }
            }
            gst::EventView::Tag(tags) => {
                // What a phone that is held upright records lies on its side, and says so.
                if let Some(orientation) = VideoOrientationMethod::from_tag(tags.tag())
                    && let Some(stream) = &mut self.state.lock().unwrap().stream
                {
                    gst::debug!(CAT, imp = self, "pictures are {orientation:?}");
                    stream.orientation = orientation;
                }
            }
            // A seek does not wait for the inference under way.
            gst::EventView::FlushStart(_) => self.interrupt(),
            gst::EventView::FlushStop(_) => {
                gst::debug!(CAT, imp = self, "flush: results so far are forgotten");
                if let Some(stream) = &mut self.state.lock().unwrap().stream {
                    stream.restart();
                }
                self.requests.resume();
            }
            gst::EventView::CustomDownstream(_) => {
                if let Some((_, features)) = meta::from_event(&event) {
                    let sent = self.parent_sink_event(event);
                    self.analyse_event(features);
                    return sent;
                }
            }
            gst::EventView::Eos(_) => self.end(),
            _ => (),
        }
        self.parent_sink_event(event)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(mut buffer) = self.take_queued_buffer() else {
            return Ok(GenerateOutputSuccess::NoOutput);
        };
        let interval = self.settings.lock().unwrap().interval;
        let interval = gst::ClockTime::from_nseconds(interval.min(gst::ClockTime::MAX.nseconds()));
        let (asked, starved, wait) = {
            let mut state = self.wait_for_model();
            let opening = state.opening.is_some();
            let Some(stream) = &mut state.stream else {
                return Err(gst::FlowError::Flushing);
            };
            if stream.branch.is_none() {
                return if self.requests.is_interrupted() {
                    Err(gst::FlowError::Flushing)
                } else if opening {
                    // Live media passes without tags until the model is open.
                    gst::log!(CAT, imp = self, "no model yet: {buffer:?} passes");
                    Ok(GenerateOutputSuccess::Buffer(buffer))
                } else {
                    // An error has said why.
                    Err(gst::FlowError::Error)
                };
            }
            let (starved, wait) = (stream.starved(&buffer), stream.wait);
            (state.read(&buffer, interval), starved, wait)
        };
        if starved {
            self.warn_unfed();
        }
        let asked = asked.map_err(|message| self.fail(message))?;
        // No lock is held while the model runs.
        let answers = if !wait {
            self.post_requests(asked);
            self.requests.take()
        } else if asked.is_empty() {
            Vec::new()
        } else {
            self.requests.ask(asked).ok_or(gst::FlowError::Flushing)?
        };
        let (fresh, embeddings) = self.accept(answers, buffer.pts())?;
        if !fresh.is_empty() {
            let buffer = buffer.make_mut();
            Tags::attach(&fresh, buffer);
            Features::attach(&embeddings, buffer);
        } else if let Some(latest) = self.latest(buffer.pts()) {
            Tags::attach(&[latest], buffer.make_mut());
        }
        Ok(GenerateOutputSuccess::Buffer(buffer))
    }
}

impl FrameClassify {
    fn negotiate(&self, caps: &gst::Caps) -> Result<(), String> {
        let scheduling = self.settings.lock().unwrap().scheduling;
        let wait = scheduling.waits(self.obj().sink_pad());
        let asked = self.asked(Media::of(caps));
        let mut guard = self.state.lock().unwrap();
        let state = &mut *guard;
        let (Some(stream), Some(asked)) = (&mut state.stream, asked) else {
            return Ok(());
        };
        (stream.caps, stream.wait) = (Some(caps.clone()), wait);
        let media = if wait { "waits" } else { "does not wait" };
        gst::debug!(CAT, imp = self, "{caps}: media {media} for results");
        if !wait && stream.branch.is_none() && Media::of(caps) == Some(Media::Video) {
            stream.grid = Grid::with_phase(phase());
        }
        let runs = stream.branch.take().is_some();
        self.ensure(state, asked);
        if let (Some(stream), Some(tagger)) = (&mut state.stream, &state.tagger)
            && (runs || state.opening.is_none())
        {
            stream.branch = Some(Branch::new(&tagger.card, caps)?);
        }
        Ok(())
    }

    /// The state, once a model is open that media waits for.
    pub(super) fn wait_for_model(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap();
        let waits = |state: &mut State| {
            let wait = state.stream.as_ref().is_some_and(|stream| stream.wait);
            wait && state.is_waiting() && !self.requests.is_interrupted()
        };
        self.changed.wait_while(state, waits).unwrap()
    }

    /// Has the streaming thread return at once, until the requests are resumed.
    fn interrupt(&self) {
        self.requests.interrupt();
        // With the lock, so that nobody begins to wait in between.
        let _state = self.state.lock().unwrap();
        self.changed.notify_all();
    }

    /// The latest tags for the buffer at `position`, unless they have expired.
    fn latest(&self, position: Option<gst::ClockTime>) -> Option<Tags> {
        let (repeat, lifetime) = {
            let inference = self.inference.lock().unwrap();
            (inference.repeat_tags, inference.tag_lifetime)
        };
        let state = self.state.lock().unwrap();
        let latest = state.stream.as_ref()?.latest.as_ref()?;
        latest.at(position, lifetime).filter(|_| repeat)
    }

    fn active_provider(&self) -> Option<String> {
        let state = self.state.lock().unwrap();
        let tagger = state.tagger.as_ref()?;
        Some(tagger.client.model().active_provider().to_owned())
    }
}
