// SPDX-License-Identifier: MPL-2.0

//! Fuses the embeddings of pictures and sound over sliding windows and attaches the fused tags to
//! the video that passes, or to the audio when there is no video; the media itself stays untouched.
//!
//! ```sh
//! gst-launch-1.0 -m uridecodebin uri=file://$PWD/examples/media/band.mp4 name=d \
//!     d. ! queue ! frameclassify ! fuse.video \
//!     d. ! queue ! melspec ! frameclassify ! fuse.audio \
//!     avfuse name=fuse ! videoconvert ! autovideosink
//! ```

use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, Mutex};

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_base::{AGGREGATOR_FLOW_NEED_DATA, AggregatorPad};

use super::pads::{self, Pads, is_fed, is_gap, running_time};
use super::settings::{DEFAULT_FRAMES, DEFAULT_MODEL, DEFAULT_STRIDE, DEFAULT_WINDOW, Settings};
use super::state::{State, analyse};
use crate::elements::inference::{
    DEFAULT_MAX_TAGS, DEFAULT_THRESHOLD, DEFAULT_TIMEOUT, ExecutionProvider, Inference, Precision,
    open_model,
};
use crate::elements::model_error;
use crate::fusion::{self, Fusion, Window};
use crate::meta::{self, Features, Kind, Source, Tags};
use crate::model;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "avfuse",
        gst::DebugColorFlags::empty(),
        Some("Late fusion of pictures and sound"),
    )
});

type Flow<T> = Result<T, gst::FlowError>;

/// See the module's documentation.
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::AvFuse)]
pub struct AvFuse {
    #[property(name = "model", get, set, type = String, member = model, default_value = Some(DEFAULT_MODEL), blurb = "Name of a fusion model in the zoo, or path of an ONNX file")]
    #[property(name = "window", get, set, type = u64, member = window, minimum = 1_000_000, default_value = DEFAULT_WINDOW, blurb = "Time that a result is about in nanoseconds")]
    #[property(name = "stride", get, set, type = u64, member = stride, minimum = 1_000_000, default_value = DEFAULT_STRIDE, blurb = "Time between two results in nanoseconds")]
    #[property(name = "frames", get, set, type = u32, member = frames, minimum = 1, default_value = DEFAULT_FRAMES, blurb = "Most pictures of a window, spread evenly over it (the paper's k)")]
    settings: Mutex<Settings>,
    #[property(name = "labels-file", get, set, nullable, type = Option<String>, member = labels_file, blurb = "Text file with one label a line, in place of the model's own")]
    #[property(name = "execution-provider", get, set, type = ExecutionProvider, member = execution_provider, default, blurb = "Where the model runs")]
    #[property(name = "device", get, set, type = u32, member = device, blurb = "Number of the GPU")]
    #[property(name = "precision", get, set, type = Precision, member = precision, default, blurb = "What the model computes in, and so which of its files is run")]
    #[property(name = "engine-cache", get, set, nullable, type = Option<String>, member = engine_cache, blurb = "Folder for the engines that TensorRT builds (unset = gst-instruments/engines in XDG's folder for caches)")]
    #[property(name = "threads", get, set, type = u32, member = threads, blurb = "Threads of one inference on the CPU (0 = one a core)")]
    #[property(name = "timeout", get, set, type = u64, member = timeout, default_value = DEFAULT_TIMEOUT, blurb = "Time limit of one run of the model, and of opening it apart from building engines, in nanoseconds (0 = none)")]
    #[property(name = "threshold", get, set, type = f32, member = threshold, minimum = 0.0, maximum = 1.0, default_value = DEFAULT_THRESHOLD, blurb = "Lowest score of a tag")]
    #[property(name = "max-tags", get, set, type = u32, member = max_tags, default_value = DEFAULT_MAX_TAGS, blurb = "Most tags of one result (0 = all)")]
    #[property(name = "repeat-tags", get, set, type = bool, member = repeat_tags, default_value = true, blurb = "Put the latest tags on every buffer, not only on the first")]
    #[property(name = "post-messages", get, set, type = bool, member = post_messages, default_value = true, blurb = "Post each result as an element message 'instrument-tags'")]
    inference: Mutex<Inference>,
    #[property(name = "active-provider", get = Self::active_provider, type = Option<String>, blurb = "Where the model really runs, and in which precision")]
    active_provider: PhantomData<Option<String>>,
    pads: Mutex<Pads>,
    fusion: Mutex<Option<Arc<Fusion>>>,
    state: Mutex<Option<State>>,
}

#[glib::object_subclass]
impl ObjectSubclass for AvFuse {
    const NAME: &'static str = "GstAvFuse";
    type Type = super::AvFuse;
    type ParentType = gst_base::Aggregator;
}

#[glib::derived_properties]
impl ObjectImpl for AvFuse {}

impl GstObjectImpl for AvFuse {}

impl ElementImpl for AvFuse {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Audio-visual fusion",
                "Filter/Analyzer/Audio/Video",
                "Attaches tags from the late fusion of pictures and sound to the media that passes",
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
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::ReadyToNull {
            *self.fusion.lock().unwrap() = None;
        }
        Ok(success)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        self.pads.lock().unwrap().remove(pad);
        self.parent_release_pad(pad);
    }
}

impl AggregatorImpl for AvFuse {
    fn create_new_pad(
        &self,
        template: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<AggregatorPad> {
        let created = self.pads.lock().unwrap().create(template);
        if created.is_none() {
            let name = template.name_template();
            gst::error!(
                CAT,
                imp = self,
                "There is a pad '{name}' already, avfuse takes one of each"
            );
        }
        created
    }

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        self.restart();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
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
        // The deadline of what is here. While nothing is, there is none: it would pass again and again.
        let pads = self.pads.lock().unwrap().clone();
        let waiting = pads.all().filter_map(|pad| {
            let buffer = pad.peek_buffer()?;
            running_time(&pad, buffer.pts()).or_else(|| self.obj().simple_get_next_time())
        });
        waiting.min()
    }

    fn sink_event_pre_queue(
        &self,
        pad: &AggregatorPad,
        event: gst::Event,
    ) -> Flow<gst::FlowSuccess> {
        if event.type_() == gst::EventType::Segment {
            self.end_unfed_pads(pad);
        }
        self.parent_sink_event_pre_queue(pad, event)
    }

    fn sink_event(&self, pad: &AggregatorPad, event: gst::Event) -> bool {
        let is_media = self.pads.lock().unwrap().is_media(pad);
        match event.view() {
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
            gst::QueryViewMut::Allocation(_) => is_media && self.obj().src_pad().peer_query(query),
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
            _ => self.parent_src_query(query),
        }
    }

    fn aggregate(&self, timeout: bool) -> Flow<gst::FlowSuccess> {
        let pads = self.pads.lock().unwrap().clone();
        let Some((media, other)) = pads.media() else {
            return Err(gst::FlowError::Eos);
        };
        if media.is_eos() {
            return self.outlast(other, timeout);
        }
        let Some(buffer) = media.peek_buffer() else {
            // The media is late: what the other pad brings would only pile up.
            if let Some(other) = other
                && let Some(buffer) = other.pop_buffer()
            {
                self.read(&other, &buffer)?;
                let tags = self.fuse_due(timeout, None)?;
                self.push_tags(tags);
            }
            return wait(timeout);
        };
        if let Some((other, now)) = other.zip(running_time(&media, buffer.pts())) {
            self.catch_up(&other, now, timeout)?;
        }
        drop(buffer);
        let Some(buffer) = media.pop_buffer() else {
            return Ok(gst::FlowSuccess::Ok);
        };
        self.read(&media, &buffer)?;
        self.forward(buffer, timeout)
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

    /// Begins a stream, or another part of one.
    fn restart(&self) {
        let settings = self.settings.lock().unwrap().clone();
        let frames = self
            .fusion
            .lock()
            .unwrap()
            .as_ref()
            .and_then(|fusion| fusion.frames());
        *self.state.lock().unwrap() = Some(State::new(&settings, frames));
    }

    /// Reads the other modality up to running time `now`.
    fn catch_up(&self, other: &AggregatorPad, now: gst::ClockTime, timeout: bool) -> Flow<()> {
        let source = self.source(other);
        let behind =
            || self.with_state(|state| state.position(source).is_none_or(|time| time <= now));
        while behind()? {
            let Some(buffer) = other.pop_buffer() else {
                if other.is_eos() || timeout {
                    break;
                }
                return Err(AGGREGATOR_FLOW_NEED_DATA);
            };
            self.read(other, &buffer)?;
            if buffer.pts().is_none() {
                // Without timestamps nobody knows how far it is.
                break;
            }
        }
        Ok(())
    }

    /// After the end of the media: what the other modality still brings, and the end.
    fn outlast(&self, other: Option<AggregatorPad>, timeout: bool) -> Flow<gst::FlowSuccess> {
        if let Some(other) = other.filter(|other| !other.is_eos()) {
            let Some(buffer) = other.pop_buffer() else {
                return wait(timeout);
            };
            self.read(&other, &buffer)?;
            let tags = self.fuse_due(false, None)?;
            self.push_tags(tags);
            return Ok(gst::FlowSuccess::Ok);
        }
        let windows = self.with_state(State::finish)?;
        let tags = self.fuse(windows, None, false)?;
        self.push_tags(tags);
        let whole = self.with_state(|state| state.whole.window())?;
        self.fuse(whole.into_iter().collect(), None, true)?;
        Err(gst::FlowError::Eos)
    }

    /// Sends a media buffer on, with the tags of the windows that have ended.
    fn forward(&self, mut buffer: gst::Buffer, timeout: bool) -> Flow<gst::FlowSuccess> {
        let fresh = self.fuse_due(timeout, buffer.pts())?;
        if is_gap(&buffer) {
            // The base class makes empty buffers of gap events; downstream gets the event back.
            self.push_tags(fresh);
            if let Some(pts) = buffer.pts() {
                self.push_event(
                    gst::event::Gap::builder(pts)
                        .duration(buffer.duration())
                        .build(),
                );
            }
            return Ok(gst::FlowSuccess::Ok);
        }
        let repeat = self.inference.lock().unwrap().repeat_tags;
        let repeated = || self.with_state(|state| state.last.clone()).ok().flatten();
        if !fresh.is_empty() {
            Tags::attach(&fresh, buffer.make_mut());
        } else if let Some(last) = repeated().filter(|_| repeat) {
            Tags::attach(&[last], buffer.make_mut());
        }
        if let Some(pts) = buffer.pts() {
            self.obj()
                .set_position(pts + buffer.duration().unwrap_or_default());
        }
        let finished = self.obj().finish_buffer(buffer)?;
        for event in self.with_state(|state| std::mem::take(&mut state.early))? {
            self.push_event(event);
        }
        Ok(finished)
    }

    /// Takes the embeddings that `buffer` carries, and its time.
    fn read(&self, pad: &AggregatorPad, buffer: &gst::BufferRef) -> Flow<()> {
        self.collect(pad, &Features::of_kind(buffer, Kind::Embedding))?;
        let end = |pts| pts + buffer.duration().unwrap_or_default();
        let start = running_time(pad, buffer.pts());
        let end = running_time(pad, buffer.pts().map(end)).or(start);
        if let Some((start, end)) = start.zip(end) {
            let source = self.source(pad);
            self.with_state(|state| state.advance(source, start, end))?;
        }
        Ok(())
    }

    fn collect(&self, pad: &AggregatorPad, features: &[Features]) -> Flow<()> {
        let source = self.source(pad);
        let fusion = self.fusion.lock().unwrap().clone();
        for features in features
            .iter()
            .filter(|features| features.kind == Kind::Embedding)
        {
            if let Some(fusion) = &fusion
                && let Err(err) = fusion.check(source, &features.id, features.data.len())
            {
                return Err(self.fail(&err));
            }
            let Some(start) = running_time(pad, features.start) else {
                gst::debug!(
                    CAT,
                    imp = self,
                    "An embedding without a running time is left out"
                );
                continue;
            };
            self.with_state(|state| state.collect(source, start, features))?;
        }
        Ok(())
    }

    fn source(&self, pad: &AggregatorPad) -> fusion::Source {
        self.pads.lock().unwrap().source(pad)
    }

    /// Calls `f` with the state of the running stream.
    fn with_state<T>(&self, f: impl FnOnce(&mut State) -> T) -> Flow<T> {
        let mut state = self.state.lock().unwrap();
        state.as_mut().map(f).ok_or(gst::FlowError::Flushing)
    }

    /// The tags of the windows for which all is there that will come.
    fn fuse_due(&self, timeout: bool, timestamp: Option<gst::ClockTime>) -> Flow<Vec<Tags>> {
        let (video, audio) = self.pads.lock().unwrap().going();
        let windows = self.with_state(|state| state.due(video, audio, timeout))?;
        self.fuse(windows, timestamp, false)
    }

    /// Runs the model over `windows` and announces the results; `clip` says that they are about the whole stream.
    fn fuse(
        &self,
        windows: Vec<Window>,
        timestamp: Option<gst::ClockTime>,
        clip: bool,
    ) -> Flow<Vec<Tags>> {
        let fusion = self.fusion.lock().unwrap().clone();
        let fusion = fusion.ok_or(gst::FlowError::Flushing)?;
        let inference = self.inference.lock().unwrap().clone();
        let segment = self.pads.lock().unwrap().segment();
        let mut fused = Vec::new();
        for window in &windows {
            let analysis = analyse(&fusion, window, &segment).map_err(|err| self.fail(&err))?;
            let tags = inference.tags(&analysis, Source::Fused, fusion.model().card());
            self.with_state(|state| state.last = Some(tags.repeated()))?;
            if inference.post_messages {
                let element = self.obj();
                let message = tags.message(&*element, segment.upcast_ref(), timestamp, clip);
                // Without a bus nobody wants to know.
                let _ = element.post_message(message);
            }
            fused.push(tags);
        }
        Ok(fused)
    }

    fn fail(&self, err: &model::Error) -> gst::FlowError {
        self.post_error_message(model_error(err));
        gst::FlowError::Error
    }

    /// Sends tags that no buffer can take along downstream in an event.
    fn push_tags(&self, tags: Vec<Tags>) {
        if !tags.is_empty() {
            self.push_event(meta::event(&tags, &[]));
        }
    }

    /// Sends `event` downstream. Before the base class has sent the events that start a stream, it waits
    /// for these if it tells of the stream, and is of no use to anybody otherwise.
    fn push_event(&self, event: gst::Event) {
        let src_pad = self.obj().src_pad().clone();
        if src_pad.sticky_event::<gst::event::Segment>(0).is_some() {
            src_pad.push_event(event);
        } else if event.is_sticky()
            && let Some(state) = self.state.lock().unwrap().as_mut()
        {
            state.early.push(event);
        }
    }

    /// Ends the pads, other than `pad`, that nothing feeds, so that nobody waits for them: in a
    /// gst-launch line both branches are there, whether or not the file has both modalities.
    fn end_unfed_pads(&self, pad: &AggregatorPad) {
        let pads = self.pads.lock().unwrap().clone();
        for other in pads
            .all()
            .filter(|other| other != pad && !is_fed(other.upcast_ref()))
        {
            let name = other.name();
            gst::info!(
                CAT,
                imp = self,
                "Nothing feeds the pad '{name}', going on without"
            );
            other.send_event(gst::event::StreamStart::new("none"));
            other.send_event(gst::event::Eos::new());
        }
    }

    fn active_provider(&self) -> Option<String> {
        self.fusion
            .lock()
            .unwrap()
            .as_ref()
            .map(|fusion| fusion.model().active_provider().to_owned())
    }
}

/// Has the base class wait for data, unless its deadline has passed.
fn wait(timeout: bool) -> Flow<gst::FlowSuccess> {
    if timeout {
        Ok(gst::FlowSuccess::Ok)
    } else {
        Err(AGGREGATOR_FLOW_NEED_DATA)
    }
}
