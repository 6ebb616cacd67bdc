// SPDX-License-Identifier: MPL-2.0

//! Runs a model on one picture each `interval`, or on each mel patch, and attaches the tags and
//! the embedding to the buffers that pass; the media itself stays untouched.
//!
//! ```sh
//! gst-launch-1.0 -m filesrc location=examples/media/band.mp4 ! decodebin ! videoconvert ! frameclassify ! fakesink
//! ```
//!
//! On audio it needs `melspec` in front of it.

use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, Mutex};

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;
use gst_video::VideoOrientationMethod;

use super::requests::{Answer, Requests};
use super::settings::{DEFAULT_AUDIO_MODEL, DEFAULT_INTERVAL, DEFAULT_VIDEO_MODEL, Settings};
use super::state::{Branch, State};
use super::{Activation, Scheduling};
use crate::elements::analysis::Analysis;
use crate::elements::inference::{
    DEFAULT_MAX_TAGS, DEFAULT_THRESHOLD, ExecutionProvider, Inference, Precision, open_model,
};
use crate::elements::{FRONT_END_QUERY, MIN_FRAMES, always_pads, model_error};
use crate::meta::{self, Features, Kind, Tags};
use crate::model::{self, Modality, Model};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
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
    #[property(name = "model", get, set, nullable, type = Option<String>, member = model, blurb = "Name of a model in the zoo, or path of an ONNX file (unset = the default for what comes in, audio or video)")]
    #[property(name = "batch-size", get, set, type = u32, member = batch_size, blurb = "Most waiting requests that the model takes as one batch (0 = 1 on the CPU, where batches gain nothing, 8 on a GPU)")]
    #[property(name = "interval", get, set, type = u64, member = interval, default_value = DEFAULT_INTERVAL, blurb = "Time between two pictures in nanoseconds (0 = every picture)")]
    #[property(name = "frames", get, set, type = u32, member = frames, blurb = "Pictures, spread evenly over the stream, whose mean is the result for all of it (the paper's k; 0 = all)")]
    #[property(name = "activation", get, set, type = Activation, member = activation, default, blurb = "How the model's outputs become scores")]
    #[property(name = "scheduling", get, set, type = Scheduling, member = scheduling, default, blurb = "Whether media waits for results")]
    settings: Mutex<Settings>,
    #[property(name = "labels-file", get, set, nullable, type = Option<String>, member = labels_file, blurb = "Text file with one label a line, in place of the model's own")]
    #[property(name = "execution-provider", get, set, type = ExecutionProvider, member = execution_provider, default, blurb = "Where the model runs")]
    #[property(name = "device", get, set, type = u32, member = device, blurb = "Number of the GPU")]
    #[property(name = "precision", get, set, type = Precision, member = precision, default, blurb = "What the model computes in, and so which of its files is run")]
    #[property(name = "engine-cache", get, set, nullable, type = Option<String>, member = engine_cache, blurb = "Folder for the engines that TensorRT builds (unset = gst-instruments/engines in XDG's folder for caches)")]
    #[property(name = "threads", get, set, type = u32, member = threads, blurb = "Threads of one inference on the CPU (0 = one a core)")]
    #[property(name = "threshold", get, set, type = f32, member = threshold, maximum = 1.0, minimum = 0.0, default_value = DEFAULT_THRESHOLD, blurb = "Lowest score of a tag")]
    #[property(name = "max-tags", get, set, type = u32, member = max_tags, default_value = DEFAULT_MAX_TAGS, blurb = "Most tags of one result (0 = all)")]
    #[property(name = "repeat-tags", get, set, type = bool, member = repeat_tags, default_value = true, blurb = "Put the latest tags on every buffer, not only on the first")]
    #[property(name = "post-messages", get, set, type = bool, member = post_messages, default_value = true, blurb = "Post each result as an element message 'instrument-tags'")]
    inference: Mutex<Inference>,
    #[property(name = "active-provider", get = Self::active_provider, type = Option<String>, blurb = "Where the model really runs, and in which precision")]
    active_provider: PhantomData<Option<String>>,
    model: Mutex<Option<Arc<Model>>>,
    state: Mutex<Option<State>>,
}

#[glib::object_subclass]
impl ObjectSubclass for FrameClassify {
    const NAME: &'static str = "GstFrameClassify";
    type Type = super::FrameClassify;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for FrameClassify {
    fn properties() -> &'static [glib::ParamSpec] {
        // The derive macro knows no GstStructure.
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let stats = glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .blurb("Counts and latencies of the inferences")
                .read_only()
                .build();
            let derived = FrameClassify::derived_properties().iter().cloned();
            derived.chain([stats]).collect()
        });
        &PROPERTIES
    }

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.derived_set_property(id, value, pspec)
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.stats().to_value(),
            _ => self.derived_property(id, pspec),
        }
    }
}

impl GstObjectImpl for FrameClassify {}

impl ElementImpl for FrameClassify {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Frame classifier",
                "Filter/Analyzer/Audio/Video",
                "Attaches a model's tags to the pictures, or to the audio with mel patches, that pass",
                "The gst-instruments developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let mut caps = gst_video::VideoCapsBuilder::new().build();
            caps.merge(gst_audio::AudioCapsBuilder::new().build());
            always_pads(&caps, &caps)
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        let model = self.settings.lock().unwrap().model.clone();
        if transition == gst::StateChange::NullToReady
            && let Some(name) = model
            && let Err(err) = self.open(&name)
        {
            self.post_model_error(&err);
            return Err(gst::StateChangeError);
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::ReadyToNull {
            *self.model.lock().unwrap() = None;
        }
        Ok(success)
    }
}

impl BaseTransformImpl for FrameClassify {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = true;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.state.lock().unwrap() = None;
        Ok(())
    }

    fn set_caps(&self, caps: &gst::Caps, _: &gst::Caps) -> Result<(), gst::LoggableError> {
        // Refused caps would come again and again, each time with an error: the next buffer fails instead.
        if let Err(message) = self.negotiate(caps) {
            *self.state.lock().unwrap() = None;
            self.post_error_message(message);
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
            // When there is no model, the caps that follow make that an error.
            if let Ok(model) = self.model_for(DEFAULT_AUDIO_MODEL)
                && let Modality::Audio {
                    front_end,
                    min_frames,
                    ..
                } = &model.card().modality
            {
                let structure = query.structure_mut();
                for (key, value) in front_end {
                    structure.set(key.as_str(), value);
                }
                structure.set(MIN_FRAMES, *min_frames as u64);
                return true;
            }
            return false;
        }
        BaseTransformImplExt::parent_query(self, direction, query)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::StreamStart(_) => {
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    state.take_clip();
                    state.orientation = VideoOrientationMethod::Identity;
                }
            }
            gst::EventView::Tag(tags) => {
                // What a phone that is held upright records lies on its side, and says so.
                if let Some(orientation) = VideoOrientationMethod::from_tag(tags.tag())
                    && let Some(state) = self.state.lock().unwrap().as_mut()
                {
                    state.orientation = orientation;
                }
            }
            gst::EventView::FlushStop(_) => {
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    state.restart();
                }
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
        let (asked, starved, requests, wait) = {
            let mut state = self.state.lock().unwrap();
            let state = state.as_mut().ok_or(gst::FlowError::Error)?;
            let interval = self.settings.lock().unwrap().interval;
            let asked = state.read(&buffer, interval);
            let starved = state.starved(&buffer);
            (asked, starved, state.requests.clone(), state.wait)
        };
        if starved {
            self.warn_unfed();
        }
        let asked = asked.map_err(|message| self.fail(message))?;
        // No lock is held while the model runs.
        let answers = if wait {
            if asked.is_empty() {
                Vec::new()
            } else {
                requests.ask(asked)
            }
        } else {
            asked.into_iter().for_each(|request| requests.post(request));
            requests.take()
        };
        let (fresh, embeddings) = self.accept(answers, buffer.pts())?;
        let repeated = || {
            let repeat = self.inference.lock().unwrap().repeat_tags;
            self.state
                .lock()
                .unwrap()
                .as_ref()
                .and_then(|state| state.last.clone())
                .filter(|_| repeat)
        };
        if !fresh.is_empty() {
            let buffer = buffer.make_mut();
            Tags::attach(&fresh, buffer);
            Features::attach(&embeddings, buffer);
        } else if let Some(last) = repeated() {
            Tags::attach(&[last], buffer.make_mut());
        }
        Ok(GenerateOutputSuccess::Buffer(buffer))
    }
}

impl FrameClassify {
    /// Opens the model `name`, which stays open until the element goes to NULL.
    fn open(&self, name: &str) -> Result<Arc<Model>, model::Error> {
        let batch_size = self.settings.lock().unwrap().batch_size;
        let options = self.inference.lock().unwrap().options(batch_size);
        let model = open_model(&*self.obj(), name, &options)?;
        gst::info!(CAT, imp = self, "{name} on {}", model.active_provider());
        *self.model.lock().unwrap() = Some(model.clone());
        Ok(model)
    }

    /// The model that is open, or the one that the user named, or `default`.
    fn model_for(&self, default: &str) -> Result<Arc<Model>, model::Error> {
        if let Some(model) = self.model.lock().unwrap().clone() {
            return Ok(model);
        }
        let name = self.settings.lock().unwrap().model.clone();
        self.open(name.as_deref().unwrap_or(default))
    }

    fn negotiate(&self, caps: &gst::Caps) -> Result<(), gst::ErrorMessage> {
        let structure = caps.structure(0).expect("fixed caps have a structure");
        let is_video = structure.name() == "video/x-raw";
        let default = if is_video {
            DEFAULT_VIDEO_MODEL
        } else {
            DEFAULT_AUDIO_MODEL
        };
        let model = self.model_for(default).map_err(|err| model_error(&err))?;
        let branch = Branch::new(model.card(), caps)
            .map_err(|message| gst::error_msg!(gst::LibraryError::Settings, ("{}", message)))?;
        let (scheduling, frames) = {
            let settings = self.settings.lock().unwrap();
            (settings.scheduling, settings.frames as usize)
        };
        let wait = match scheduling {
            Scheduling::Sync => true,
            Scheduling::Async => false,
            Scheduling::Auto => !self.is_live(),
        };
        let mut state = self.state.lock().unwrap();
        *state = Some(match state.take() {
            Some(mut state) => {
                (state.branch, state.wait) = (branch, wait);
                state
            }
            None => State::new(branch, Requests::new(model), wait, frames),
        });
        Ok(())
    }

    fn is_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        self.obj().sink_pad().peer_query(&mut query) && query.result().0
    }

    /// Turns answers into tags and embeddings, and announces them; an error was posted already.
    fn accept(
        &self,
        answers: Vec<Answer>,
        timestamp: Option<gst::ClockTime>,
    ) -> Result<(Vec<Tags>, Vec<Features>), gst::FlowError> {
        if answers.is_empty() {
            return Ok(Default::default());
        }
        let inference = self.inference.lock().unwrap().clone();
        let asked = self.settings.lock().unwrap().activation;
        let mut guard = self.state.lock().unwrap();
        let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
        let (source, requests) = (state.source(), state.requests.clone());
        let card = requests.model().card();
        let (mut tags, mut embeddings) = (Vec::new(), Vec::new());
        for (span, result) in answers {
            let output = match result {
                Ok(output) => output,
                Err(err) => {
                    drop(guard);
                    self.post_model_error(&err);
                    return Err(gst::FlowError::Error);
                }
            };
            let mut scores = output.tags;
            activation(asked, card.activation).apply(&mut scores);
            let analysis = Analysis {
                scores,
                sources: vec![source],
                start: span.start,
                duration: span.duration,
                media: 1.0,
            };
            state.add(&analysis);
            tags.push(inference.tags(&analysis, source, card));
            if let Some((space, data)) = card.embedding.as_ref().zip(output.embedding) {
                embeddings.push(Features {
                    id: space.id.clone(),
                    kind: Kind::Embedding,
                    dims: vec![space.size as u32],
                    data,
                    start: span.start,
                    duration: span.duration,
                    media: 1.0,
                    blank: false,
                    front_end: Default::default(),
                });
            }
        }
        state.last = tags.last().map(Tags::repeated);
        drop(guard);
        if inference.post_messages {
            for tags in &tags {
                self.post(tags, timestamp, false);
            }
        }
        Ok((tags, embeddings))
    }

    /// Analyses patches that came in an event and sends what follows from them on in another.
    fn analyse_event(&self, features: Vec<Features>) {
        let (asked, requests) = {
            let mut state = self.state.lock().unwrap();
            let Some(state) = state.as_mut() else { return };
            (state.patches(features), state.requests.clone())
        };
        match asked {
            Ok(asked) if asked.is_empty() => (),
            Ok(asked) => self.push_answers(requests.ask(asked)),
            Err(message) => {
                let _ = self.fail(message);
            }
        }
    }

    /// What is still under way at the end of the stream, and the result for all of it.
    fn end(&self) {
        let requests = self
            .state
            .lock()
            .unwrap()
            .as_ref()
            .map(|state| state.requests.clone());
        let Some(requests) = requests else { return };
        self.push_answers(requests.drain());
        let inference = self.inference.lock().unwrap().clone();
        let (clip, unfed) = {
            let mut state = self.state.lock().unwrap();
            let Some(state) = state.as_mut() else { return };
            let unfed = state.unfed();
            let source = state.source();
            let card = requests.model().card();
            let clip = state.take_clip();
            let clip = clip.map(|clip| inference.tags(&clip, source, card));
            (clip, unfed)
        };
        if unfed {
            self.warn_unfed();
        }
        if let Some(clip) = clip.filter(|_| inference.post_messages) {
            self.post(&clip, None, true);
        }
    }

    fn post(&self, tags: &Tags, timestamp: Option<gst::ClockTime>, clip: bool) {
        let element = self.obj();
        let message = tags.message(&*element, &element.segment(), timestamp, clip);
        // Without a bus nobody wants to know.
        let _ = element.post_message(message);
    }

    fn push_answers(&self, answers: Vec<Answer>) {
        if let Ok((tags, embeddings)) = self.accept(answers, None)
            && !tags.is_empty()
        {
            self.obj()
                .src_pad()
                .push_event(meta::event(&tags, &embeddings));
        }
    }

    fn warn_unfed(&self) {
        gst::element_imp_warning!(
            self,
            gst::StreamError::Failed,
            ("This audio carries no mel patches, so nothing is classified: put melspec in front of frameclassify")
        );
    }

    fn fail(&self, message: String) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Failed, ("{}", message));
        gst::FlowError::Error
    }

    fn post_model_error(&self, err: &model::Error) {
        self.post_error_message(model_error(err));
    }

    fn active_provider(&self) -> Option<String> {
        self.model
            .lock()
            .unwrap()
            .as_ref()
            .map(|model| model.active_provider().to_owned())
    }

    fn stats(&self) -> gst::Structure {
        let dropped = self
            .state
            .lock()
            .unwrap()
            .as_ref()
            .map_or(0, |state| state.requests.dropped());
        let stats = self
            .model
            .lock()
            .unwrap()
            .as_ref()
            .map(|model| model.stats())
            .unwrap_or_default();
        gst::Structure::builder("stats")
            .field("inferences", stats.inferences)
            .field("dropped", dropped)
            .field("mean-latency", stats.mean_latency.as_nanos() as u64)
            .field("p99-latency", stats.p99_latency.as_nanos() as u64)
            .field("batch-sizes", gst::Array::new(stats.batches))
            .field("cpu-nodes", stats.cpu_nodes as u64)
            .build()
    }
}

/// What the user asked for, else what the card says.
fn activation(asked: Activation, card: model::Activation) -> model::Activation {
    match asked {
        Activation::Auto => card,
        Activation::Softmax => model::Activation::Softmax,
        Activation::Sigmoid => model::Activation::Sigmoid,
        Activation::None => model::Activation::None,
    }
}
