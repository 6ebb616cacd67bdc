// SPDX-License-Identifier: MPL-2.0

//! Tags the instruments in a video stream, an audio stream or both, encoded or raw. The streams pass through
//! unchanged: a copy is decoded and analysed inside, and the results are attached to the buffers that pass.
//!
//! ```sh
//! gst-launch-1.0 -m filesrc location=examples/media/band.mp4 ! qtdemux name=d \
//!     d.video_0 ! queue ! tagger.video tagger.video_src ! queue ! mux.video_0 \
//!     d.audio_0 ! queue ! tagger.audio tagger.audio_src ! queue ! mux.audio_0 \
//!     instrumenttagger name=tagger matroskamux name=mux ! filesink location=target/band.mkv
//! ```
//!
//! In a live pipeline media never waits: when the analysis falls behind, it skips media.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::branch::{Branch, end};
use super::key_frames::KeyFrames;
use super::results::Result as Finding;
use super::settings::{FORWARDED, FUSE, MODELS, OWN, PACE, Settings};
use super::streams::{Stream, Streams, other};
use super::{Decode, Riding};
use crate::elements::avfuse::{DEFAULT_FUSION_MODEL, DEFAULT_STRIDE, DEFAULT_WINDOW};
use crate::elements::frameclassify::{
    DEFAULT_AUDIO_MODEL, DEFAULT_INTERVAL, DEFAULT_VIDEO_MODEL, Scheduling,
};
use crate::elements::inference::Inference;
use crate::elements::melspec::{DEFAULT_PATCH_INTERVAL, MAX_TIME};
use crate::meta::{Source, Tags};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "instrumenttagger",
        gst::DebugColorFlags::empty(),
        Some("Instrument tags for encoded or raw streams"),
    )
});

/// The elements that both streams share.
struct Shared {
    fuse: gst::Element,
    sink: gst::Element,
}

/// See the module's documentation.
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::InstrumentTagger)]
pub struct InstrumentTagger {
    #[property(name = "audio-model", get, set, type = String, member = audio_model, default_value = Some(DEFAULT_AUDIO_MODEL), blurb = "Sound model: name of a model in the zoo, or path of an ONNX file")]
    #[property(name = "video-model", get, set, type = String, member = video_model, default_value = Some(DEFAULT_VIDEO_MODEL), blurb = "Picture model: name of a model in the zoo, or path of an ONNX file")]
    #[property(name = "fusion-model", get, set, type = String, member = fusion_model, default_value = Some(DEFAULT_FUSION_MODEL), mutable_ready, blurb = "Fusion model: name of a model in the zoo, or path of an ONNX file")]
    #[property(name = "low-delay", get, set = Self::set_low_delay, type = bool, member = low_delay, mutable_ready, blurb = "Tag sooner after a change, at the cost of CPU time and accuracy: sets 'window', 'stride', 'interval', 'patch-interval' and 'patch-duration', which can be set after it")]
    #[property(name = "window", get, set, type = u64, member = window, minimum = 1_000_000, default_value = DEFAULT_WINDOW, mutable_ready, blurb = "Length of the analysed time of a fused result in nanoseconds")]
    #[property(name = "stride", get, set, type = u64, member = stride, minimum = 1_000_000, default_value = DEFAULT_STRIDE, mutable_ready, blurb = "Time between two fused results in nanoseconds")]
    #[property(name = "interval", get, set, type = u64, member = interval, default_value = DEFAULT_INTERVAL, blurb = "Time between two analysed pictures in nanoseconds (0 = every decoded picture)")]
    #[property(name = "patch-interval", get, set, type = u64, member = patch_interval, minimum = 1_000_000, maximum = MAX_TIME, default_value = DEFAULT_PATCH_INTERVAL, mutable_ready, blurb = "Time between two sound results in nanoseconds")]
    #[property(name = "patch-duration", get, set, type = u64, member = patch_duration, maximum = MAX_TIME, mutable_ready, blurb = "Length of the analysed sound of a sound result in nanoseconds (0 = the maximum that the model takes)")]
    #[property(name = "decode", get, set, type = Decode, member = decode, default, mutable_ready, blurb = "Pictures of an encoded video that are decoded for the analysis")]
    #[property(name = "source", get, set, type = Riding, member = source, default, blurb = "Results that are attached to the buffers")]
    #[property(name = "scheduling", get, set, type = Scheduling, member = scheduling, default, blurb = "Whether media waits for the analysis when its backlog is full")]
    pub(super) settings: Mutex<Settings>,
    pub(super) inference: Mutex<Inference>,
    shared: OnceLock<Shared>,
    pub(super) streams: Mutex<Streams>,
    /// Whether media has passed since READY.
    pub(super) streaming: AtomicBool,
}

#[glib::object_subclass]
impl ObjectSubclass for InstrumentTagger {
    const NAME: &'static str = "GstInstrumentTagger";
    type Type = super::InstrumentTagger;
    type ParentType = gst::Bin;
}

impl ObjectImpl for InstrumentTagger {
    fn properties() -> &'static [glib::ParamSpec] {
        // The derive macro knows no properties of several elements.
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let derived = InstrumentTagger::derived_properties().iter().cloned();
            derived.chain(Inference::properties()).collect()
        });
        &PROPERTIES
    }

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if !self.inference.lock().unwrap().set(pspec.name(), value) {
            self.derived_set_property(id, value, pspec);
        }
        self.forward(pspec.name());
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let shared = self.inference.lock().unwrap().get(pspec.name());
        shared.unwrap_or_else(|| self.derived_property(id, pspec))
    }

    fn constructed(&self) {
        self.parent_constructed();
        match self.build() {
            Ok(shared) => {
                let _ = self.shared.set(shared);
            }
            Err(err) => gst::error!(CAT, imp = self, "{err}"),
        }
    }
}

impl GstObjectImpl for InstrumentTagger {}

impl ElementImpl for InstrumentTagger {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Instrument tagger",
                "Generic/Analyzer/Audio/Video",
                "Attaches instrument tags to encoded or raw streams, which pass through unchanged",
                "The gst-instruments developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            use gst::{PadDirection::*, PadPresence::*};
            let template = |name, direction, presence| {
                gst::PadTemplate::new(name, direction, presence, &gst::Caps::new_any())
                    .expect("a valid pad template")
            };
            vec![
                template("video", Sink, Request),
                template("audio", Sink, Request),
                template("video_src", Src, Sometimes),
                template("audio_src", Src, Sometimes),
            ]
        });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let source = match template.name_template() {
            "audio" => Source::Audio,
            _ => Source::Video,
        };
        match self.add(source, template) {
            Ok(pad) => Some(pad),
            Err(err) => {
                gst::element_imp_error!(self, gst::CoreError::Pad, ("{}", err));
                None
            }
        }
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let branch = {
            let mut streams = self.streams.lock().unwrap();
            [Source::Video, Source::Audio]
                .into_iter()
                .find_map(|source| {
                    streams
                        .slot(source)
                        .take_if(|branch| branch.sink.upcast_ref::<gst::Pad>() == pad)
                })
        };
        let Some(branch) = branch else { return };
        let element = self.obj();
        for pad in [&branch.sink, &branch.src] {
            let _ = pad.set_active(false);
            let _ = element.remove_pad(pad);
        }
        let fuse = branch.classify.static_pad("src").and_then(|pad| pad.peer());
        branch.remove(element.upcast_ref());
        if let Some(fuse) = fuse {
            self.fuse().release_request_pad(&fuse);
        }
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady && self.shared.get().is_none() {
            // What is missing is in the log; say the likeliest here.
            gst::element_imp_error!(
                self,
                gst::CoreError::MissingPlugin,
                ("instrumenttagger needs GStreamer's base and bad plugins (decodebin, errorignore): install gstreamer1.0-plugins-base and gstreamer1.0-plugins-bad")
            );
            return Err(gst::StateChangeError);
        }
        if transition == gst::StateChange::ReadyToPaused {
            self.streaming.store(false, Ordering::Relaxed);
            let branches: Vec<_> = {
                let mut streams = self.streams.lock().unwrap();
                streams.restart();
                streams.branches().cloned().collect()
            };
            // GstBin goes by links and knows none through decodebin: what follows it must be ready first.
            for element in [self.sink(), self.fuse()] {
                element.set_state(transition.next())?;
            }
            for branch in branches {
                branch.set_analysis_state(transition.next())?;
            }
        }
        self.set_decode_state(transition.next());
        self.parent_change_state(transition)
    }
}

impl BinImpl for InstrumentTagger {
    fn handle_message(&self, message: gst::Message) {
        let inside = message.src().and_then(|src| {
            let streams = self.streams.lock().unwrap();
            streams
                .branches()
                .find(|branch| branch.analyses(src))
                .cloned()
        });
        match message.view() {
            gst::MessageView::Element(_)
                if let Some((tags, clip)) = Tags::from_message(&message) =>
            {
                self.announce(&message, tags, clip);
            }
            // The tags of the analysed copy: the stream's own reach the application's sinks.
            gst::MessageView::Tag(_) if message.src() == Some(self.sink().upcast_ref()) => {}
            gst::MessageView::Error(err) if self.streaming.load(Ordering::Relaxed) => {
                let first = match inside {
                    Some(branch) => branch.give_up(),
                    None => self.end_analysis(),
                };
                if first {
                    gst::element_imp_warning!(
                        self,
                        gst::StreamError::Failed,
                        (
                            "Tagging has stopped, the media continues without tags: {}",
                            err.error()
                        ),
                        ["{}", err.debug().unwrap_or_default()]
                    );
                } else {
                    gst::info!(
                        CAT,
                        imp = self,
                        "After tagging has stopped: {}",
                        err.error()
                    );
                }
            }
            _ => self.parent_handle_message(message),
        }
    }
}

impl InstrumentTagger {
    /// The elements that both streams share, in the bin.
    fn build(&self) -> Result<Shared, glib::BoolError> {
        let fuse = gst::ElementFactory::make("avfuse").name(FUSE).build()?;
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()?;
        self.obj().add_many([&fuse, &sink])?;
        fuse.link(&sink)?;
        let weak = self.downgrade();
        let pad = sink.static_pad("sink").expect("a sink has a pad");
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(imp) = weak.upgrade()
                && let Some(event) = info.event()
            {
                match event.view() {
                    gst::EventView::Eos(_) => imp.release_ends(),
                    gst::EventView::StreamStart(_) => imp.streams.lock().unwrap().ended = false,
                    _ => (),
                }
            }
            gst::PadProbeReturn::Ok
        });
        Ok(Shared { fuse, sink })
    }

    fn fuse(&self) -> &gst::Element {
        &self
            .shared
            .get()
            .expect("a bin without its elements does not start")
            .fuse
    }

    fn sink(&self) -> &gst::Element {
        &self
            .shared
            .get()
            .expect("a bin without its elements does not start")
            .sink
    }

    /// Adds the pads and the elements of a `source` stream.
    fn add(
        &self,
        source: Source,
        template: &gst::PadTemplate,
    ) -> Result<gst::Pad, glib::BoolError> {
        if self.shared.get().is_none() {
            return Err(glib::bool_error!(
                "instrumenttagger cannot create the elements that it contains: see its debug log"
            ));
        }
        if self.streams.lock().unwrap().slot(source).is_some() {
            return Err(glib::bool_error!(
                "The pad '{0}' exists already: instrumenttagger takes one video and one audio stream",
                source.name()
            ));
        }
        let element = self.obj();
        let fuse = self
            .fuse()
            .request_pad_simple(source.name())
            .ok_or_else(|| glib::bool_error!("avfuse gives no pad '{}'", source.name()))?;
        let src = element
            .pad_template(&format!("{}_src", source.name()))
            .expect("each stream has a src template");
        let branch = Branch::new(element.upcast_ref(), source, (template, &src), &fuse)?;
        let tagger = element.downgrade();
        branch.thin_out(move || {
            let tagger = tagger.upgrade();
            let settings = tagger.map(|tagger| tagger.imp().settings.lock().unwrap().clone());
            let settings = settings.unwrap_or_default();
            KeyFrames::new(settings.decode, settings.window / 2)
        });
        branch.watch(Stream {
            tagger: element.downgrade(),
            source,
        });
        let (tagger, other) = (element.downgrade(), other(source));
        branch.connect_full(move || {
            let Some(tagger) = tagger.upgrade() else {
                return;
            };
            let imp = tagger.imp();
            let branch = |source| imp.streams.lock().unwrap().slot(source).clone();
            if let Some(full) = branch(source) {
                full.relieve(|| branch(other).is_some_and(|other| other.starves()));
            }
        });
        let tagger = element.downgrade();
        branch.listen(move |message| {
            if let Some(tagger) = tagger.upgrade() {
                tagger.imp().handle_decode_message(message);
            }
        });
        *self.streams.lock().unwrap().slot(source) = Some(branch.clone());
        self.configure();
        branch.sync_states();
        for pad in [&branch.sink, &branch.src] {
            pad.set_active(true)?;
            element.add_pad(pad)?;
        }
        Ok(branch.sink.upcast())
    }

    /// Passes the messages of decodebin on that say what failed or is missing; the others are about its own states.
    fn handle_decode_message(&self, message: gst::Message) {
        match message.type_() {
            gst::MessageType::Error | gst::MessageType::Warning | gst::MessageType::Element => {
                self.handle_message(message);
            }
            _ => (),
        }
    }

    fn set_low_delay(&self, low_delay: bool) {
        self.settings.lock().unwrap().set_low_delay(low_delay);
        PACE.iter().for_each(|name| self.forward(name));
    }

    /// Hands the property `name` to the elements inside that take it.
    fn forward(&self, name: &str) {
        let forwarded = FORWARDED.iter().find(|(own, ..)| *own == name);
        let (elements, inside) = match forwarded {
            Some(&(_, elements, inside)) => (elements, inside),
            None if self.inference.lock().unwrap().get(name).is_some() && !OWN.contains(&name) => {
                (MODELS, name)
            }
            None => return,
        };
        let bin = self.obj();
        for element in elements.iter().filter_map(|element| bin.by_name(element)) {
            element.set_property_from_value(inside, &bin.property_value(name));
        }
    }

    /// Hands all properties to the elements inside.
    fn configure(&self) {
        for pspec in Self::properties() {
            self.forward(pspec.name());
        }
    }

    fn set_decode_state(&self, state: gst::State) {
        let branches: Vec<_> = self.streams.lock().unwrap().branches().cloned().collect();
        for branch in branches {
            branch.set_decode_state(state);
        }
    }

    /// Passes a result of an element inside on: to the buffers that pass, and to the bus in the bin's name.
    fn announce(&self, message: &gst::Message, tags: Tags, clip: bool) {
        let riding = self.settings.lock().unwrap().source;
        let post = self.inference.lock().unwrap().post_messages;
        let structure = message.structure().expect("the message has tags");
        if clip && tags.source == riding.named() {
            for branch in self.streams.lock().unwrap().branches() {
                branch.results.lock().unwrap().clip = Some(tags.clone());
            }
        } else if !clip && riding.takes(tags.source) {
            let finding = Finding {
                running_time: structure.get("running-time").ok(),
                tags,
            };
            let streams = self.streams.lock().unwrap();
            for branch in streams.branches() {
                branch.results.lock().unwrap().push(finding.clone());
            }
        }
        if post {
            let message = gst::message::Element::builder(structure.to_owned())
                .src(&*self.obj())
                .seqnum(message.seqnum())
                .build();
            // Without a bus there is no reader.
            let _ = self.obj().post_message(message);
        }
    }

    /// Whether media must not wait for the analysis of a stream that comes in on `sink`.
    pub(super) fn is_live(&self, sink: &gst::GhostPad) -> bool {
        let scheduling = self.settings.lock().unwrap().scheduling;
        !scheduling.waits(sink)
    }

    /// Ends the analysis of both streams after a part that they share failed. Returns whether it ended just now.
    fn end_analysis(&self) -> bool {
        if std::mem::replace(&mut self.streams.lock().unwrap().failed, true) {
            return false;
        }
        self.obj().call_async(|element| {
            if let Some(pad) = element.imp().sink().static_pad("sink") {
                end(&pad);
            }
        });
        true
    }

    /// Lets the ends of the streams go that were held back: the analysis has ended.
    fn release_ends(&self) {
        let held: Vec<_> = {
            let mut streams = self.streams.lock().unwrap();
            streams.ended = true;
            let held = std::mem::take(&mut streams.held);
            held.into_iter()
                .filter_map(|(source, end)| Some((streams.slot(source).clone()?, end)))
                .collect()
        };
        let when = self.inference.lock().unwrap().stream_tags;
        for (branch, end) in held {
            branch.end(end, when);
        }
    }
}
