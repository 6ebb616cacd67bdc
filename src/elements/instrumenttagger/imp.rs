// SPDX-License-Identifier: MPL-2.0

//! Tags the instruments in a video stream, an audio stream or both, encoded or raw. The streams pass through
//! unchanged: a copy is decoded and analysed in a pipeline of its own, and the results are attached to the buffers that
//! pass.
//!
//! ```sh
//! gst-launch-1.0 -m filesrc location=examples/media/band.mp4 ! qtdemux name=d \
//!     d.video_0 ! queue ! tagger.video tagger.video_src ! queue ! mux.video_0 \
//!     d.audio_0 ! queue ! tagger.audio tagger.audio_src ! queue ! mux.audio_0 \
//!     instrumenttagger name=tagger matroskamux name=mux ! filesink location=target/band.mkv
//! ```
//!
//! In a live pipeline media never waits: when the analysis falls behind, it skips media. Media of files waits only while
//! the analysis makes progress.
//!
//! Locks are taken in this order, and none while something is pushed or posted: `taps`, `analysis`; `settings` and
//! `inference` alone.

use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::analysis::Analysis;
use super::branch::STALLED;
use super::decode::Decoding;
use super::results::Result as Finding;
use super::settings::{FORWARDED, FUSE, MODELS, OWN, PACE, Settings};
use super::tap::Tap;
use super::{Decode, Riding};
use crate::elements::avfuse::{
    DEFAULT_FRAMES, DEFAULT_FUSION_MODEL, DEFAULT_STRIDE, DEFAULT_WINDOW,
};
use crate::elements::frameclassify::{
    DEFAULT_AUDIO_MODEL, DEFAULT_INTERVAL, DEFAULT_VIDEO_MODEL, MAX_FRAMES, Scheduling,
};
use crate::elements::inference::Inference;
use crate::elements::melspec::{DEFAULT_PATCH_INTERVAL, MAX_TIME, Partial, Segmentation};
use crate::meta::{Source, Tags};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "instrumenttagger",
        gst::DebugColorFlags::empty(),
        Some("Instrument tags for encoded or raw streams"),
    )
});

/// The end of a stream waits for the analysis no longer than this after the analysis has nothing left to do.
const IDLE: Duration = Duration::from_millis(300);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);

type Flow = Result<gst::FlowSuccess, gst::FlowError>;

/// See the module's documentation.
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::InstrumentTagger)]
pub struct InstrumentTagger {
    #[property(name = "audio-model", get, set, type = String, member = audio_model, default_value = Some(DEFAULT_AUDIO_MODEL), blurb = "Sound model: name of a model in the zoo, or path of an ONNX file")]
    #[property(name = "video-model", get, set, type = String, member = video_model, default_value = Some(DEFAULT_VIDEO_MODEL), blurb = "Picture model: name of a model in the zoo, or path of an ONNX file")]
    #[property(name = "fusion-model", get, set, type = String, member = fusion_model, default_value = Some(DEFAULT_FUSION_MODEL), mutable_ready, blurb = "Fusion model: name of a model in the zoo, or path of an ONNX file; none: each stream has results of its own alone")]
    #[property(name = "low-delay", get, set = Self::set_low_delay, type = bool, member = low_delay, mutable_ready, blurb = "Tag sooner after a change, at the cost of CPU time and accuracy: sets 'window', 'stride', 'interval', 'patch-interval' and 'patch-duration', which can be set after it")]
    #[property(name = "window", get, set, type = u64, member = window, minimum = 1_000_000, default_value = DEFAULT_WINDOW, mutable_ready, blurb = "Length of the analysed time of a fused result in nanoseconds")]
    #[property(name = "stride", get, set, type = u64, member = stride, minimum = 1_000_000, default_value = DEFAULT_STRIDE, mutable_ready, blurb = "Time between two fused results in nanoseconds")]
    #[property(name = "interval", get, set, type = u64, member = interval, default_value = DEFAULT_INTERVAL, blurb = "Time between two analysed pictures in nanoseconds (0 = every decoded picture)")]
    #[property(name = "frames", get, set, type = u32, member = frames, maximum = MAX_FRAMES, mutable_ready, blurb = "Number of pictures, spread evenly over a window or the whole stream, that a result is based on (0 = all of the whole stream, and as many of a window as the fusion model takes)")]
    #[property(name = "patch-interval", get, set, type = u64, member = patch_interval, minimum = 1_000_000, maximum = MAX_TIME, default_value = DEFAULT_PATCH_INTERVAL, mutable_ready, blurb = "Time between two sound results in nanoseconds")]
    #[property(name = "patch-duration", get, set, type = u64, member = patch_duration, maximum = MAX_TIME, mutable_ready, blurb = "Length of the analysed sound of a sound result in nanoseconds (0 = the maximum that the model takes)")]
    #[property(name = "segmentation", get, set, type = Segmentation, member = segmentation, default, mutable_ready, blurb = "Which parts of the sound become patches")]
    #[property(name = "partial", get, set, type = Partial, member = partial, default, mutable_ready, blurb = "What happens to a window that the start or the end of the sound cuts short")]
    #[property(name = "decode", get, set, type = Decode, member = decode, default, mutable_ready, blurb = "Pictures of an encoded video that are decoded for the analysis")]
    #[property(name = "source", get, set, type = Riding, member = source, default, blurb = "Results that are attached to the buffers")]
    #[property(name = "scheduling", get, set, type = Scheduling, member = scheduling, default, blurb = "Whether media waits for the analysis when its backlog is full")]
    pub(super) settings: Mutex<Settings>,
    #[property(name = "analysis", get = Self::pipeline, type = Option<gst::Pipeline>, blurb = "The pipeline that analyses copies of the streams, for looking at it")]
    pipeline: PhantomData<Option<gst::Pipeline>>,
    pub(super) inference: Mutex<Inference>,
    taps: Mutex<[Option<Arc<Tap>>; 2]>,
    analysis: Mutex<Option<Arc<Analysis>>>,
    /// When the latest result came.
    latest: Mutex<Option<Instant>>,
}

#[glib::object_subclass]
impl ObjectSubclass for InstrumentTagger {
    const NAME: &'static str = "GstInstrumentTagger";
    type Type = super::InstrumentTagger;
    type ParentType = gst::Element;
}

impl ObjectImpl for InstrumentTagger {
    fn properties() -> &'static [glib::ParamSpec] {
        // The derive macro knows neither GstStructure nor properties of several elements.
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let stats = glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .blurb("For each stream since the element started: buffers passed, analysed and dropped, and the time that waits for the analysis; age of the latest result")
                .read_only()
                .build();
            let derived = InstrumentTagger::derived_properties().iter().cloned();
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
        self.forward(pspec.name());
        let unfused = self.settings.lock().unwrap().is_unfused();
        if self
            .analysis()
            .is_some_and(|analysis| analysis.is_unfused() != unfused)
        {
            self.replace();
        }
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.stats().to_value();
        }
        let shared = self.inference.lock().unwrap().get(pspec.name());
        shared.unwrap_or_else(|| self.derived_property(id, pspec))
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.build();
    }
}

impl GstObjectImpl for InstrumentTagger {}

impl ElementImpl for InstrumentTagger {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Instrument tagger",
                "Analyzer/Audio/Video",
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
                gst::element_imp_error!(self, gst::CoreError::Pad, ("{err}"));
                None
            }
        }
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let tap = {
            let mut taps = self.taps.lock().unwrap();
            taps.iter_mut()
                .find_map(|slot| slot.take_if(|tap| tap.sink == *pad))
        };
        let Some(tap) = tap else { return };
        gst::debug!(CAT, imp = self, "Releasing {}", pad.name());
        tap.drop_end();
        let branch = tap.branch();
        if let Some(branch) = &branch {
            // A buffer may wait for it.
            branch.close();
        }
        let pads = [&tap.sink, &tap.src].map(|pad| {
            let _ = self.obj().remove_pad(pad);
            pad.clone()
        });
        let deactivate = move || {
            for pad in pads {
                let _ = pad.set_active(false);
            }
        };
        if self.obj().current_state() < gst::State::Paused {
            // Also when the element is disposed of, maybe by a thread for which GStreamer waits at its own end.
            deactivate();
        } else {
            // This waits for a buffer that a sink downstream holds, maybe until the pipeline plays.
            self.obj().call_async(move |_| deactivate());
        }
        if let (Some(branch), Some(analysis)) = (branch, self.analysis())
            && !analysis.remove(&branch)
        {
            self.replace();
        }
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        gst::trace!(CAT, imp = self, "{transition:?}");
        match transition {
            gst::StateChange::NullToReady => {
                let analysis = self.analysis().or_else(|| self.build());
                let Some(analysis) = analysis else {
                    // What is missing is in the log; say the likeliest here.
                    gst::element_imp_error!(
                        self,
                        gst::CoreError::MissingPlugin,
                        ("instrumenttagger needs GStreamer's base plugins: install gstreamer1.0-plugins-base")
                    );
                    return Err(gst::StateChangeError);
                };
                analysis.open()?;
            }
            gst::StateChange::ReadyToPaused => self.start()?,
            gst::StateChange::PausedToPlaying => {
                if let Some(analysis) = self.analysis() {
                    let element = self.obj();
                    analysis.follow(element.clock().as_ref(), element.base_time());
                }
            }
            gst::StateChange::PausedToReady => {
                for tap in self.all_taps() {
                    tap.drop_end();
                }
                if let Some(analysis) = self.analysis() {
                    analysis.interrupt();
                }
            }
            _ => (),
        }
        let success = self.parent_change_state(transition)?;
        let stopped = match (transition, self.analysis()) {
            (gst::StateChange::PausedToReady, Some(analysis)) => analysis.stop(),
            (gst::StateChange::ReadyToNull, Some(analysis)) => analysis.close(),
            _ => true,
        };
        if !stopped {
            self.replace();
        }
        Ok(success)
    }
}

impl InstrumentTagger {
    fn analysis(&self) -> Option<Arc<Analysis>> {
        self.analysis.lock().unwrap().clone()
    }

    fn pipeline(&self) -> Option<gst::Pipeline> {
        Some(self.analysis()?.pipeline.clone())
    }

    fn tap(&self, source: Source) -> Option<Arc<Tap>> {
        let taps = self.taps.lock().unwrap();
        taps.iter()
            .flatten()
            .find(|tap| tap.source == source)
            .cloned()
    }

    fn all_taps(&self) -> Vec<Arc<Tap>> {
        self.taps
            .lock()
            .unwrap()
            .iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Makes the analysis; what is missing for that is in the log.
    fn build(&self) -> Option<Arc<Analysis>> {
        let (messages, ends) = (self.downgrade(), self.downgrade());
        let unfused = self.settings.lock().unwrap().is_unfused();
        let analysis = Analysis::new(
            unfused,
            move |message| {
                if let Some(imp) = messages.upgrade() {
                    imp.handle(message);
                }
            },
            move || {
                if let Some(imp) = ends.upgrade() {
                    imp.release_ends();
                }
            },
        );
        match analysis {
            Ok(analysis) => {
                *self.analysis.lock().unwrap() = Some(analysis.clone());
                self.configure();
                Some(analysis)
            }
            Err(err) => {
                gst::error!(CAT, imp = self, "{err}");
                None
            }
        }
    }

    /// Leaves the analysis behind, which does not stop or is of another kind, and makes another in the same state.
    fn replace(&self) {
        let before = self.analysis.lock().unwrap().take();
        gst::info!(
            CAT,
            imp = self,
            "Another analysis takes the place of the present one"
        );
        let Some(analysis) = self.build() else {
            return;
        };
        for tap in self.all_taps() {
            tap.set_branch(None);
            if let Err(err) = self.analyse(&tap) {
                gst::error!(CAT, imp = self, "{err}");
            }
        }
        let running = before.is_some_and(|before| {
            let running = before.is_running();
            before.abandon();
            running
        });
        if running && self.start_analysis(&analysis).is_ok() {
            let element = self.obj();
            analysis.follow(element.clock().as_ref(), element.base_time());
        }
    }

    /// Begins a run.
    fn start(&self) -> Result<(), gst::StateChangeError> {
        for tap in self.all_taps() {
            tap.restart();
        }
        *self.latest.lock().unwrap() = None;
        let analysis = self.analysis().ok_or(gst::StateChangeError)?;
        self.start_analysis(&analysis)
    }

    fn start_analysis(&self, analysis: &Analysis) -> Result<(), gst::StateChangeError> {
        analysis.start().map_err(|err| {
            gst::error!(CAT, imp = self, "{err}");
            gst::StateChangeError
        })
    }

    /// Adds the pads of a `source` stream, and its analysis.
    fn add(
        &self,
        source: Source,
        template: &gst::PadTemplate,
    ) -> Result<gst::Pad, glib::BoolError> {
        let element = self.obj();
        if self.tap(source).is_some() {
            return Err(glib::bool_error!(
                "The pad '{0}' exists already: instrumenttagger takes one video and one audio stream",
                source.name()
            ));
        }
        let src = element
            .pad_template(&format!("{}_src", source.name()))
            .expect("each stream has a src template");
        let tap = Arc::new(Tap::new(
            source,
            self.sink_pad(source, template),
            self.src_pad(source, &src),
        ));
        self.analyse(&tap)?;
        {
            let mut taps = self.taps.lock().unwrap();
            taps[usize::from(source == Source::Audio)] = Some(tap.clone());
        }
        gst::debug!(CAT, imp = self, "Adding {}", tap.sink.name());
        for pad in [&tap.src, &tap.sink] {
            if element.current_state() >= gst::State::Paused
                || element.pending_state() >= gst::State::Paused
            {
                pad.set_active(true)?;
            }
            element.add_pad(pad)?;
        }
        Ok(tap.sink.clone())
    }

    /// Adds the analysis of the stream that passes `tap`.
    fn analyse(&self, tap: &Tap) -> Result<(), glib::BoolError> {
        let analysis = self.analysis().ok_or_else(|| {
            glib::bool_error!(
                "instrumenttagger cannot create the elements that it contains: see its debug log"
            )
        })?;
        let weak = self.downgrade();
        let decoding = move || {
            let imp = weak.upgrade();
            let settings = imp.as_ref().map(|imp| imp.settings.lock().unwrap().clone());
            let settings = settings.unwrap_or_default();
            let threads = imp.map_or(0, |imp| imp.inference.lock().unwrap().threads);
            Decoding {
                mode: settings.decode,
                interval: settings.interval,
                longest: settings.window / 2,
                threads,
            }
        };
        let branch = analysis.add(tap.source, &tap.sink, decoding, || self.configure())?;
        tap.set_branch(Some(branch));
        Ok(())
    }

    fn sink_pad(&self, source: Source, template: &gst::PadTemplate) -> gst::Pad {
        gst::Pad::builder_from_template(template)
            .name(source.name())
            .flags(gst::PadFlags::PROXY_CAPS | gst::PadFlags::PROXY_ALLOCATION)
            .chain_function(move |_, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |imp| imp.chain(source, buffer),
                )
            })
            .chain_list_function(move |_, parent, list| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |imp| imp.chain_list(source, list),
                )
            })
            .event_function(move |pad, parent, event| {
                Self::catch_panic_pad_function(
                    parent,
                    || false,
                    |imp| imp.sink_event(source, pad, event),
                )
            })
            .iterate_internal_links_function(move |_, parent| {
                Self::catch_panic_pad_function(
                    parent,
                    || gst::Iterator::from_vec(Vec::new()),
                    |imp| {
                        let tap = imp.tap(source);
                        gst::Iterator::from_vec(
                            tap.map(|tap| tap.src.clone()).into_iter().collect(),
                        )
                    },
                )
            })
            .build()
    }

    fn src_pad(&self, source: Source, template: &gst::PadTemplate) -> gst::Pad {
        gst::Pad::builder_from_template(template)
            .name(format!("{}_src", source.name()))
            .flags(gst::PadFlags::PROXY_CAPS | gst::PadFlags::PROXY_ALLOCATION)
            .iterate_internal_links_function(move |_, parent| {
                Self::catch_panic_pad_function(
                    parent,
                    || gst::Iterator::from_vec(Vec::new()),
                    |imp| {
                        let tap = imp.tap(source);
                        gst::Iterator::from_vec(
                            tap.map(|tap| tap.sink.clone()).into_iter().collect(),
                        )
                    },
                )
            })
            .build()
    }

    fn chain(&self, source: Source, mut buffer: gst::Buffer) -> Flow {
        let tap = self.tap(source).ok_or(gst::FlowError::Flushing)?;
        self.release_end(&tap);
        self.feed(&tap, &buffer);
        self.attach(&tap, &mut buffer);
        tap.src.push(buffer)
    }

    fn chain_list(&self, source: Source, mut list: gst::BufferList) -> Flow {
        let tap = self.tap(source).ok_or(gst::FlowError::Flushing)?;
        self.release_end(&tap);
        for buffer in list.iter_owned() {
            self.feed(&tap, &buffer);
        }
        list.make_mut().foreach_mut(|mut buffer, _| {
            self.attach(&tap, &mut buffer);
            std::ops::ControlFlow::Continue(Some(buffer))
        });
        tap.src.push_list(list)
    }

    fn feed(&self, tap: &Tap, buffer: &gst::Buffer) {
        let interval = self.settings.lock().unwrap().interval;
        let live = self.is_live(tap);
        if live {
            self.leave_out_unlinked();
        }
        let other = self
            .analysis()
            .and_then(|analysis| analysis.beside(tap.source));
        tap.feed(buffer, interval, live, other.as_deref());
    }

    /// Has the analysis wait for no stream that nothing is linked to. Returns whether it did wait for one.
    fn leave_out_unlinked(&self) -> bool {
        let taps = self.all_taps();
        let branches = taps.iter().filter_map(|tap| tap.branch());
        branches.filter(|branch| branch.leave_out()).count() > 0
    }

    fn attach(&self, tap: &Tap, buffer: &mut gst::Buffer) {
        let named = self.settings.lock().unwrap().source.named();
        let (repeat, when) = {
            let inference = self.inference.lock().unwrap();
            let repeat = inference.repeat_tags.then_some(inference.tag_lifetime);
            (repeat, inference.stream_tags)
        };
        if let Some(latest) = tap.attach(buffer, named, repeat) {
            tap.push_stream_tags(when, &latest, false);
        }
    }

    fn sink_event(&self, source: Source, pad: &gst::Pad, event: gst::Event) -> bool {
        let element = self.obj();
        let Some(tap) = self.tap(source) else {
            return false;
        };
        let pass = |event| gst::Pad::event_default(pad, Some(&*element), event);
        match event.view() {
            gst::EventView::FlushStart(_) => {
                gst::debug!(CAT, imp = self, "Flush of the {}", source.name());
                tap.drop_end();
                if let Some(branch) = tap.branch() {
                    branch.interrupt();
                }
                pass(event)
            }
            gst::EventView::FlushStop(_) => {
                tap.flushed();
                if let (Some(branch), Some(analysis)) = (tap.branch(), self.analysis()) {
                    analysis.resume(&branch, &event);
                }
                pass(event)
            }
            gst::EventView::Eos(_) => {
                self.release_end(&tap);
                tap.feed_event(&event);
                self.end(&tap, event);
                true
            }
            _ if event.is_serialized() => {
                self.release_end(&tap);
                tap.feed_event(&event);
                pass(event)
            }
            _ => pass(event),
        }
    }

    /// Whether media must not wait for the analysis of the stream that passes `tap`.
    fn is_live(&self, tap: &Tap) -> bool {
        tap.is_live(|| {
            let scheduling = self.settings.lock().unwrap().scheduling;
            let live = !scheduling.waits(&tap.sink);
            gst::info!(CAT, imp = self, "{} is live: {live}", tap.source.name());
            live
        })
    }

    /// Ends the stream that passes `tap`: at once where media must not wait, else when the analysis has ended or lacks
    /// the other stream.
    fn end(&self, tap: &Arc<Tap>, end: gst::Event) {
        tap.hold_end(end);
        let analysis = self.analysis();
        let Some(analysis) = analysis.filter(|_| !self.is_live(tap)) else {
            self.leave_out_unlinked();
            self.release_end(tap);
            return;
        };
        let tap = tap.clone();
        // Both streams may come from the same thread, so this one must not wait.
        self.obj().call_async(move |element| {
            let imp = element.imp();
            let mut idle = (analysis.progress(), Instant::now());
            while !analysis.has_ended() && tap.holds_end() {
                let progress = analysis.progress();
                if progress != idle.0 || analysis.is_busy() {
                    idle = (progress, Instant::now());
                }
                let patience = if analysis.lacks_media() {
                    IDLE
                } else {
                    STALLED
                };
                if idle.1.elapsed() > patience {
                    if imp.leave_out_unlinked() {
                        idle.1 = Instant::now();
                        continue;
                    }
                    gst::info!(
                        CAT,
                        imp = imp,
                        "The end of the {} does not wait for the analysis any longer",
                        tap.source.name()
                    );
                    break;
                }
                std::thread::sleep(LOOK);
            }
            imp.release_end(&tap);
        });
    }

    fn release_end(&self, tap: &Tap) {
        if tap.holds_end() {
            let when = self.inference.lock().unwrap().stream_tags;
            tap.release_end(when);
        }
    }

    /// The analysis has ended.
    fn release_ends(&self) {
        gst::debug!(CAT, imp = self, "The analysis has ended");
        for tap in self.all_taps() {
            self.release_end(&tap);
        }
    }

    /// Handles a message of the analysis, in the thread that posts it.
    fn handle(&self, message: &gst::Message) {
        let Some(analysis) = self.analysis() else {
            return;
        };
        let own = |src: &gst::Object| src.has_as_ancestor(&analysis.pipeline);
        if !message.src().is_some_and(own) {
            // It comes from an analysis that was left behind.
            return;
        }
        match message.view() {
            gst::MessageView::Element(_) => match Tags::from_message(message) {
                Some((tags, clip)) => self.announce(message, tags, clip),
                None => self.post(message),
            },
            gst::MessageView::Progress(_) | gst::MessageView::Warning(_) => self.post(message),
            gst::MessageView::Error(err) if analysis.is_running() => self.give_up(&analysis, err),
            gst::MessageView::Error(_) if !analysis.is_stopping() => self.post(message),
            _ => (),
        }
    }

    fn post(&self, message: &gst::Message) {
        // Without a bus there is no reader.
        let _ = self.obj().post_message(message.clone());
    }

    /// Ends the analysis of the stream that the error is about, or of both, with one warning.
    fn give_up(&self, analysis: &Analysis, err: &gst::message::Error) {
        let branch = err.src().and_then(|src| analysis.branch_of(src));
        let first = match &branch {
            Some(branch) => branch.fail(),
            None => analysis.fail(),
        };
        if !first {
            gst::info!(
                CAT,
                imp = self,
                "After tagging has stopped: {}",
                err.error()
            );
            return;
        }
        let stream = branch.as_ref().map_or("", |branch| branch.source.name());
        gst::element_imp_warning!(
            self,
            gst::StreamError::Failed,
            (
                "Tagging has stopped, the media continues without tags: {}",
                err.error()
            ),
            ["{}", err.debug().unwrap_or_default()],
            details: gst::Structure::builder("instrumenttagger-failure")
                .field("stream", stream)
                .field("cause", err.error().to_string())
                .build()
        );
        // The end of the stream waits no longer, and comes after the warning.
        match branch {
            Some(branch) => branch.give_up(),
            None => analysis.give_up(),
        }
    }

    /// Passes a result on: to the buffers that pass, and to the bus in the element's name.
    fn announce(&self, message: &gst::Message, tags: Tags, clip: bool) {
        *self.latest.lock().unwrap() = Some(Instant::now());
        gst::debug!(
            CAT,
            imp = self,
            "Result of {:?} by {} from {}, whole stream: {clip}",
            tags.sources,
            tags.source.name(),
            tags.start.display()
        );
        let riding = self.settings.lock().unwrap().source;
        let post = self.inference.lock().unwrap().post_messages;
        let structure = message.structure().expect("the message has tags");
        for tap in self.all_taps() {
            let mut results = tap.results.lock().unwrap();
            if clip && tags.source == riding.named() {
                results.clip = Some(tags.clone());
            } else if !clip && riding.takes(tags.source) {
                results.push(Finding {
                    running_time: structure.get("running-time").ok(),
                    tags: tags.clone(),
                });
            }
        }
        if post {
            let message = gst::message::Element::builder(structure.to_owned())
                .src(&*self.obj())
                .seqnum(message.seqnum())
                .build();
            self.post(&message);
        }
    }

    fn stats(&self) -> gst::Structure {
        let mut stats = gst::Structure::new_empty("instrumenttagger-stats");
        for tap in self.all_taps() {
            stats.set(tap.source.name(), tap.stats());
        }
        if let Some(latest) = *self.latest.lock().unwrap() {
            let age = u64::try_from(latest.elapsed().as_nanos()).unwrap_or(u64::MAX);
            stats.set("age", gst::ClockTime::from_nseconds(age));
        }
        stats
    }

    fn set_low_delay(&self, low_delay: bool) {
        self.settings.lock().unwrap().set_low_delay(low_delay);
        PACE.iter().for_each(|name| self.forward(name));
    }

    /// Hands the property `name` to the elements of the analysis that take it.
    fn forward(&self, name: &str) {
        let Some(analysis) = self.pipeline() else {
            return;
        };
        let forwarded = FORWARDED.iter().find(|(own, ..)| *own == name);
        let (elements, inside) = match forwarded {
            Some(&(_, elements, inside)) => (elements, inside),
            None if self.inference.lock().unwrap().get(name).is_some() && !OWN.contains(&name) => {
                (MODELS, name)
            }
            None => return,
        };
        let value = self.obj().property_value(name);
        for element in elements
            .iter()
            .filter_map(|element| analysis.by_name(element))
        {
            // A funnel in place of the fusion has none of them.
            if element.find_property(inside).is_some() {
                element.set_property_from_value(inside, &value);
            }
        }
        if name == "frames"
            && let Some(fuse) = analysis.by_name(FUSE)
            && fuse.find_property(name).is_some()
        {
            let frames = match value.get() {
                Ok(frames) if frames > 0 => frames,
                _ => DEFAULT_FRAMES,
            };
            fuse.set_property("frames", frames);
        }
    }

    /// Hands all properties to the elements of the analysis.
    fn configure(&self) {
        for pspec in Self::properties() {
            self.forward(pspec.name());
        }
    }
}
