// SPDX-License-Identifier: MPL-2.0

//! Fuses the embeddings of pictures and sound over sliding windows and attaches the fused tags to
//! the video that passes, or to the audio when there is no video; the media itself stays untouched.
//!
//! ```sh
//! gst-launch-1.0 -m uridecodebin uri=file://$PWD/examples/media/band.mp4 name=d \
//!     d. ! queue ! frameclassify ! fuse.video \
//!     d. ! queue ! melspec ! frameclassify ! fuse.audio \
//!     avfuse name=fuse ! fakesink
//! ```

use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, Mutex};

use gst::glib;
use gst::prelude::*;
use gst_base::AggregatorPad;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;

use super::absence::{Absence, is_absent};
use super::pads::{self, Pads, running};
use super::settings::{DEFAULT_FRAMES, DEFAULT_MODEL, DEFAULT_STRIDE, DEFAULT_WINDOW, Settings};
use super::state::{PATCH_DELAY, State};
use crate::elements::inference::{Inference, open_model};
use crate::elements::model_error;
use crate::fusion::{self, Fusion};
use crate::meta;
use crate::model;

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "avfuse",
        gst::DebugColorFlags::empty(),
        Some("Late fusion of pictures and sound"),
    )
});

/// What `avfuse` adds to the latency of a live pipeline where it joins both modalities: until the sound of a picture's
/// time has become patches, and for the buffer of sound that this time is in the middle of.
const LATENCY: gst::ClockTime = gst::ClockTime::from_nseconds(PATCH_DELAY + 150_000_000);

pub(super) type Flow<T> = Result<T, gst::FlowError>;

/// See the module's documentation.
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::AvFuse)]
pub struct AvFuse {
    #[property(name = "model", get, set, type = String, member = model, default_value = Some(DEFAULT_MODEL), mutable_ready, blurb = "Name of a fusion model in the zoo, or path of an ONNX file")]
    #[property(name = "window", get, set, type = u64, member = window, minimum = 1_000_000, default_value = DEFAULT_WINDOW, mutable_ready, blurb = "Length of the analysed time of a result in nanoseconds")]
    #[property(name = "stride", get, set, type = u64, member = stride, minimum = 1_000_000, default_value = DEFAULT_STRIDE, mutable_ready, blurb = "Time between two results in nanoseconds")]
    #[property(name = "frames", get, set, type = u32, member = frames, minimum = 1, default_value = DEFAULT_FRAMES, mutable_ready, blurb = "Maximum number of pictures of a window, spread evenly over it (the paper's k)")]
    settings: Mutex<Settings>,
    pub(super) inference: Mutex<Inference>,
    #[property(name = "active-provider", get = Self::active_provider, type = Option<String>, blurb = "Execution provider, GPU and precision in use")]
    active_provider: PhantomData<Option<String>>,
    pub(super) pads: Mutex<Pads>,
    pub(super) absence: Mutex<Absence>,
    pub(super) fusion: Mutex<Option<Arc<Fusion>>>,
    pub(super) state: Mutex<Option<State>>,
}

#[glib::object_subclass]
impl ObjectSubclass for AvFuse {
    const NAME: &'static str = "GstAvFuse";
    type Type = super::AvFuse;
    type ParentType = gst_base::Aggregator;
}

impl ObjectImpl for AvFuse {
    fn properties() -> &'static [glib::ParamSpec] {
        // The derive macro knows no properties of several elements.
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let derived = AvFuse::derived_properties().iter().cloned();
            derived.chain(Inference::properties()).collect()
        });
        &PROPERTIES
    }

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if !self.inference.lock().unwrap().set(pspec.name(), value) {
            self.derived_set_property(id, value, pspec);
        }
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let shared = self.inference.lock().unwrap().get(pspec.name());
        shared.unwrap_or_else(|| self.derived_property(id, pspec))
    }
}

impl GstObjectImpl for AvFuse {}

impl ElementImpl for AvFuse {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Audio-visual fusion",
                "Filter/Analyzer/Audio/Video",
                "Attaches tags from late fusion of pictures and sound to the media",
                "The gst-instruments developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(pads::templates);
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady
            && let Err(err) = self.open()
        {
            self.post_error_message(model_error(&err));
            return Err(gst::StateChangeError);
        }
        if transition == gst::StateChange::PausedToReady {
            // A run under way would hold up what follows.
            self.cancel();
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::ReadyToNull {
            *self.fusion.lock().unwrap() = None;
        }
        Ok(success)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        self.pads.lock().unwrap().remove(pad);
        self.parent_release_pad(pad);
        self.update_latency();
    }
}

impl AggregatorImpl for AvFuse {
    fn create_new_pad(
        &self,
        template: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<AggregatorPad> {
        let name = template.name_template();
        if self.pads.lock().unwrap().slot(template).is_some() {
            gst::error!(
                CAT,
                imp = self,
                "The pad '{name}' exists already: avfuse takes one video and one audio stream"
            );
            return None;
        }
        // The base class makes a pad that it then owns; one made here would have one reference too many.
        let pad = self.parent_create_new_pad(template, None, None)?;
        pad.set_property("name", name);
        *self.pads.lock().unwrap().slot(template) = Some(pad.clone());
        self.update_latency();
        Some(pad)
    }

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *self.absence.lock().unwrap() = Absence::default();
        self.resume();
        self.restart();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.absence.lock().unwrap() = Absence::default();
        *self.state.lock().unwrap() = None;
        Ok(())
    }

    fn flush(&self) -> Flow<gst::FlowSuccess> {
        self.restart();
        Ok(gst::FlowSuccess::Ok)
    }

    fn negotiate(&self) -> bool {
        // The caps of the media are set when they arrive; there is nothing to choose.
        true
    }

    fn next_time(&self) -> Option<gst::ClockTime> {
        // The deadline of the buffers that wait. Without any there is none: it would pass again and again.
        let pads = self.pads.lock().unwrap().clone();
        let waiting = pads.all().filter_map(|pad| {
            let buffer = pad.peek_buffer()?;
            running(&pad, buffer.pts(), None)
                .map(|span| gst::ClockTime::from_nseconds(span.start))
                .or_else(|| self.obj().simple_get_next_time())
        });
        waiting.min()
    }

    fn sink_event_pre_queue(
        &self,
        pad: &AggregatorPad,
        event: gst::Event,
    ) -> Flow<gst::FlowSuccess> {
        self.watch(pad, &event);
        self.parent_sink_event_pre_queue(pad, event)
    }

    fn sink_event(&self, pad: &AggregatorPad, event: gst::Event) -> bool {
        let is_media = self.pads.lock().unwrap().is_media(pad);
        match event.view() {
            gst::EventView::StreamStart(start) if !is_absent(start) => {
                let source = self.source(pad);
                // Fails only once the element has stopped.
                if let Ok(number) = self.with_state(|state| state.begin(source, event.seqnum())) {
                    gst::debug!(CAT, obj = pad, "Stream {number} begins");
                }
            }
            gst::EventView::Caps(caps) if is_media => self.obj().set_src_caps(&caps.caps_owned()),
            gst::EventView::Segment(segment) if is_media => {
                let segment = segment.segment().downcast_ref::<gst::ClockTime>().cloned();
                self.obj().update_segment(&segment.unwrap_or_default());
            }
            gst::EventView::Tag(_) if is_media => self.push_event(event.clone()),
            gst::EventView::CustomDownstream(_) => {
                if let Some((_, features)) = meta::from_event(&event) {
                    let collected = self.collect(pad, &features);
                    let sent = self.parent_sink_event(pad, event);
                    return collected.is_ok() && sent;
                }
            }
            _ => (),
        }
        self.parent_sink_event(pad, event)
    }

    fn sink_query(&self, pad: &AggregatorPad, query: &mut gst::QueryRef) -> bool {
        let is_media = self.pads.lock().unwrap().is_media(pad);
        match query.view_mut() {
            gst::QueryViewMut::Caps(query) => {
                let downstream = self.obj().src_pad().clone().upcast();
                pads::answer_caps(pad, is_media.then_some(downstream), query);
                true
            }
            gst::QueryViewMut::Allocation(query) => {
                is_media && pads::answer_allocation(self.obj().src_pad().upcast_ref(), query)
            }
            _ => self.parent_sink_query(pad, query),
        }
    }

    fn src_query(&self, query: &mut gst::QueryRef) -> bool {
        let media = self.pads.lock().unwrap().media();
        match (query.view_mut(), media) {
            (gst::QueryViewMut::Caps(query), Some((media, _))) => {
                let caps = media.peer_query_caps(query.filter_owned().as_ref());
                query.set_result(&caps.intersect(&media.pad_template_caps()));
                true
            }
            // The base class says no.
            (gst::QueryViewMut::Seeking(_), Some((media, _))) => media.peer_query(query),
            _ => self.parent_src_query(query),
        }
    }

    fn aggregate(&self, timeout: bool) -> Flow<gst::FlowSuccess> {
        self.pass(timeout)
    }
}

impl AvFuse {
    fn open(&self) -> Result<(), model::Error> {
        let name = self.settings.lock().unwrap().model.clone();
        let options = self.inference.lock().unwrap().options(1);
        let model = open_model(&*self.obj(), &name, &options)?;
        gst::info!(CAT, imp = self, "{name} on {}", model.active_provider());
        *self.fusion.lock().unwrap() = Some(Arc::new(Fusion::new(model)?));
        Ok(())
    }

    /// Ends a run of the model under way, and refuses more of them.
    pub(super) fn cancel(&self) {
        gst::debug!(
            CAT,
            imp = self,
            "No more runs of the model: a flush or the end of the work"
        );
        if let Some(fusion) = &*self.fusion.lock().unwrap() {
            fusion.cancel();
        }
    }

    /// Lets the model run again.
    pub(super) fn resume(&self) {
        if let Some(fusion) = &*self.fusion.lock().unwrap() {
            fusion.resume();
        }
    }

    /// Begins a stream, or another part of one.
    fn restart(&self) {
        let settings = self.settings.lock().unwrap().clone();
        let frames = self
            .fusion
            .lock()
            .unwrap()
            .as_ref()
            .and_then(|fusion| fusion.frames());
        gst::debug!(
            CAT,
            imp = self,
            "Windows begin anew: {} each {}, of {frames:?} pictures",
            gst::ClockTime::from_nseconds(settings.window.min(gst::ClockTime::MAX.nseconds())),
            gst::ClockTime::from_nseconds(settings.stride.min(gst::ClockTime::MAX.nseconds())),
        );
        *self.state.lock().unwrap() = Some(State::new(&settings, frames));
    }

    /// Tells the base class how long the media waits for the other modality.
    fn update_latency(&self) {
        let pads = self.pads.lock().unwrap().clone();
        let latency = match pads.all().count() {
            2 => LATENCY,
            _ => gst::ClockTime::ZERO,
        };
        self.obj().set_latency(latency, latency);
    }

    pub(super) fn source(&self, pad: &AggregatorPad) -> fusion::Source {
        self.pads.lock().unwrap().source(pad)
    }

    /// Calls `f` with the state of the running stream.
    pub(super) fn with_state<T>(&self, f: impl FnOnce(&mut State) -> T) -> Flow<T> {
        let mut state = self.state.lock().unwrap();
        state.as_mut().map(f).ok_or(gst::FlowError::Flushing)
    }

    fn active_provider(&self) -> Option<String> {
        self.fusion
            .lock()
            .unwrap()
            .as_ref()
            .map(|fusion| fusion.model().active_provider().to_owned())
    }
}
