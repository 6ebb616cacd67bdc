// SPDX-License-Identifier: MPL-2.0

//! The analysis of one stream, from a copy of what passes to the fusion.
//!
//! ```text
//! feed ! queue ! decodebin ! funnel ! [melspec !] frameclassify ! avfuse
//! ```
//!
//! decodebin is a new one for each stream that begins and after each flush: it plugs its decoders only once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;

use super::decode::{Decoding, tune};
use super::imp::CAT;
use super::settings::{CLASSIFY_AUDIO, CLASSIFY_VIDEO, MELSPEC};
use crate::meta::Source;

/// Longest backlog of pictures before a live stream's are left out of the analysis, or a file's wait.
const BACKLOG: gst::ClockTime = gst::ClockTime::from_seconds(2);
/// The same for sound, in bytes: the fusion takes sound no further than pictures, which come as rarely as key frames do.
const SOUND_BACKLOG: u64 = 8 << 20;
/// Bytes of backlog beyond which media is left out of the analysis rather than kept for it.
const LARGEST_BACKLOG: u64 = 256 << 20;
/// How often a full backlog is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How long the analysis may lack the other stream before this one goes on.
const STARVED: Duration = Duration::from_millis(50);
/// The same where nothing is linked for the other stream: applications link a file's streams one after the other, while the
/// first already play.
const UNLINKED: Duration = Duration::from_secs(1);
/// How long the analysis may make no progress before media no longer waits for it.
pub const STALLED: Duration = Duration::from_secs(5);
/// How long the last pictures of a stream may take when another stream follows on the same pad.
const DRAIN: Duration = Duration::from_secs(5);

/// What becomes of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is analysed.
    Analysed,
    /// It is left out: the backlog is full.
    Dropped,
    /// The analysis has ended or failed.
    Closed,
}

/// The elements that analyse one stream.
pub struct Branch {
    pub source: Source,
    pub classify: gst::Element,
    /// The pad of the stream that passes.
    sink: glib::WeakRef<gst::Pad>,
    /// Where the copy comes in.
    feed: gst::Pad,
    queue: gst::Element,
    funnel: gst::Element,
    elements: Vec<gst::Element>,
    pipeline: glib::WeakRef<gst::Pipeline>,
    decoding: Box<dyn Fn() -> Decoding + Send + Sync>,
    decoder: Mutex<Option<Decoder>>,
    progress: Progress,
    /// Whether the analysis of this stream is over: it failed, is flushed, or stops.
    closed: AtomicBool,
    /// Whether a part of it failed.
    failed: AtomicBool,
    /// Whether that has ended it.
    over: AtomicBool,
    /// Whether media no longer waits, since nothing moved for [`STALLED`].
    stalled: AtomicBool,
    /// By how many times the backlog has grown.
    grown: AtomicU64,
    /// Whether units are left out until the next key frame.
    skipping: AtomicBool,
    /// Whether the fusion does not wait for this stream, of which nothing has come.
    left_out: AtomicBool,
    /// Whether the run ends. Locked while flushes begin and end: those of a seek may come from another thread than the
    /// one that stops the element.
    stopping: Mutex<bool>,
}

/// A decodebin, and what it decodes.
struct Decoder {
    bin: gst::Element,
    stream: Option<String>,
    caps: Option<gst::Caps>,
    drain: Arc<Drain>,
}

impl Decoder {
    /// Notes the stream, and returns whether it is another than before.
    fn is_other_stream(&mut self, id: &str) -> bool {
        self.stream.get_or_insert_with(|| id.into()) != id
    }

    /// Notes the caps of the stream, and returns whether what was plugged for those before cannot decode it.
    fn refuses(&mut self, caps: gst::Caps) -> bool {
        let Some(before) = self.caps.replace(caps.clone()) else {
            return false;
        };
        let names = [&before, &caps].map(|caps| caps.structure(0).map(|caps| caps.name()));
        if names[0] != names[1] {
            return true;
        }
        // Parsers may convert between formats: only what a decoder took directly counts. One for MPEG-1 layer 1 does not
        // take layer 2, and layer 1 is what a parser guesses that has seen only a gap.
        let bin = self.bin.downcast_ref::<gst::Bin>();
        let inside = bin.expect("decodebin is a bin").iterate_recurse();
        inside.into_iter().flatten().any(|element| {
            element.factory().is_some_and(|factory| {
                factory.has_type(gst::ElementFactoryType::DECODER)
                    && factory.can_sink_any_caps(&before)
                    && !factory.can_sink_any_caps(&caps)
            })
        })
    }
}

/// What is known about the end of a decodebin's stream where another one follows.
#[derive(Default)]
struct Drain {
    /// Whether the end of the stream is not the end of the analysis.
    waits: AtomicBool,
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Drain {
    /// Keeps from `funnel` what concerns decodebin alone, on its pad `decoded`: the end of a stream that another follows,
    /// and flushes, which reach the elements behind directly.
    fn watch(self: &Arc<Self>, decoded: &gst::Pad) {
        let drain = self.clone();
        let kinds = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
        decoded.add_probe(kinds, move |_, info| {
            let passes = match info.event().map(|event| event.type_()) {
                Some(gst::EventType::FlushStart | gst::EventType::FlushStop) => false,
                Some(gst::EventType::Eos) if drain.waits.load(Relaxed) => {
                    *drain.ended.lock().unwrap() = true;
                    drain.changed.notify_all();
                    false
                }
                _ => true,
            };
            if passes {
                return gst::PadProbeReturn::Ok;
            }
            info.data = None;
            gst::PadProbeReturn::Handled
        });
    }
}

/// Signals that something moved.
#[derive(Clone, Default)]
struct Progress(Arc<(Mutex<(u64, bool)>, Condvar)>);

impl Progress {
    /// Something moved; `busy` says whether a model runs from now on, `None` that this has not changed.
    fn moved(&self, busy: Option<bool>) {
        let mut state = self.0.0.lock().unwrap();
        state.0 += 1;
        state.1 = busy.unwrap_or(state.1);
        drop(state);
        self.0.1.notify_all();
    }

    /// How often something moved, and whether a model runs.
    fn get(&self) -> (u64, bool) {
        *self.0.0.lock().unwrap()
    }

    /// Waits for [`LOOK`] at most.
    fn wait(&self) {
        let state = self.0.0.lock().unwrap();
        let _ = self.0.1.wait_timeout(state, LOOK).unwrap();
    }
}

fn make(factory: &str) -> Result<gst::Element, glib::BoolError> {
    gst::ElementFactory::make(factory).build()
}

fn pad(element: &gst::Element, name: &str) -> gst::Pad {
    element
        .static_pad(name)
        .expect("a pad that the element always has")
}

fn has_ended(pad: &gst::Pad) -> bool {
    pad.sticky_event::<gst::event::Eos>(0).is_some()
}

/// Ends the stream that comes in on `pad`, which may not have begun.
fn end(pad: &gst::Pad) {
    if pad.sticky_event::<gst::event::StreamStart>(0).is_none() {
        pad.send_event(gst::event::StreamStart::new("none"));
    }
    pad.send_event(gst::event::Eos::new());
}

impl Branch {
    /// The elements of a `source` stream in `pipeline`, up to the pad `fuse` of the fusion. Queries about the stream go
    /// to the peer of `sink`, and `decoding` says how it is decoded.
    ///
    /// # Errors
    /// When one of GStreamer's own elements is not installed.
    pub fn new(
        pipeline: &gst::Pipeline,
        source: Source,
        sink: &gst::Pad,
        fuse: &gst::Pad,
        decoding: impl Fn() -> Decoding + Send + Sync + 'static,
    ) -> Result<Self, glib::BoolError> {
        // How much it holds is decided in front of it.
        let queue = gst::ElementFactory::make("queue")
            .property("max-size-buffers", 0u32)
            .property("max-size-bytes", 0u32)
            .property("max-size-time", 0u64)
            .property("silent", true)
            .build()?;
        // Its pad for decodebin comes with decodebin.
        let funnel = make("funnel")?;
        let classify = gst::ElementFactory::make("frameclassify")
            .name(match source {
                Source::Audio => CLASSIFY_AUDIO,
                _ => CLASSIFY_VIDEO,
            })
            .property_from_str("scheduling", "sync")
            .build()?;
        let mut elements = vec![queue.clone(), funnel.clone()];
        if source == Source::Audio {
            let melspec = gst::ElementFactory::make("melspec").name(MELSPEC);
            elements.push(melspec.build()?);
        }
        elements.push(classify.clone());
        pipeline.add_many(&elements)?;
        gst::Element::link_many(&elements[1..])?;
        let linked = pad(&classify, "src").link(fuse);
        linked.map_err(|err| glib::bool_error!("frameclassify cannot be linked: {err}"))?;
        let upstream = sink.downgrade();
        let feed = gst::Pad::builder(gst::PadDirection::Src)
            .name("feed")
            .query_function(move |pad, parent, query| {
                // The fusion asks whether the stream is live, melspec how long it is.
                let forwards = matches!(
                    query.type_(),
                    gst::QueryType::Latency | gst::QueryType::Duration
                );
                match upstream.upgrade() {
                    Some(sink) if forwards => sink.peer_query(query),
                    _ => gst::Pad::query_default(pad, parent, query),
                }
            })
            .build();
        feed.link(&pad(&queue, "sink"))
            .map_err(|err| glib::bool_error!("the queue cannot be linked: {err}"))?;
        let branch = Self {
            source,
            classify,
            sink: sink.downgrade(),
            feed,
            queue,
            funnel,
            elements,
            pipeline: pipeline.downgrade(),
            decoding: Box::new(decoding),
            decoder: Mutex::default(),
            progress: Progress::default(),
            closed: AtomicBool::new(true),
            failed: AtomicBool::default(),
            over: AtomicBool::default(),
            stalled: AtomicBool::default(),
            grown: AtomicU64::default(),
            skipping: AtomicBool::default(),
            left_out: AtomicBool::default(),
            stopping: Mutex::default(),
        };
        branch.watch();
        Ok(branch)
    }

    /// Notes what moves.
    fn watch(&self) {
        let data = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        for (pad, busy) in [
            (pad(&self.queue, "src"), None),
            (pad(&self.classify, "sink"), Some(true)),
            (pad(&self.classify, "src"), Some(false)),
        ] {
            let progress = self.progress.clone();
            pad.add_probe(data, move |_, _| {
                progress.moved(busy);
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// Watches for streams that follow one another on this pad.
    pub fn follow_streams(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let kinds = gst::PadProbeType::EVENT_DOWNSTREAM;
        pad(&self.queue, "src").add_probe(kinds, move |_, info| {
            if let Some(branch) = weak.upgrade()
                && let Some(event) = info.event()
                && branch.begins_anew(event)
            {
                branch.drain();
                branch.renew();
                branch.begins_anew(event);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Whether `event` begins something that another decodebin has to decode than the present one.
    fn begins_anew(&self, event: &gst::EventRef) -> bool {
        let mut decoder = self.decoder.lock().unwrap();
        decoder.as_mut().is_some_and(|decoder| match event.view() {
            gst::EventView::StreamStart(start) => decoder.is_other_stream(start.stream_id()),
            gst::EventView::Caps(caps) => decoder.refuses(caps.caps_owned()),
            _ => false,
        })
    }

    /// Begins a run: the pipeline plays.
    pub fn start(&self) -> Result<(), glib::BoolError> {
        *self.stopping.lock().unwrap() = false;
        self.reopen();
        self.renew();
        self.feed.set_active(true)
    }

    /// Takes media again, from its beginning.
    fn reopen(&self) {
        let flags = [
            &self.closed,
            &self.failed,
            &self.over,
            &self.stalled,
            &self.skipping,
            &self.left_out,
        ];
        for flag in flags {
            flag.store(false, Relaxed);
        }
        self.grown.store(0, Relaxed);
    }

    /// Lets go of whatever waits for this stream, and takes nothing more until [`resume`](Self::resume).
    pub fn interrupt(&self) {
        let _guard = self.stopping.lock().unwrap();
        self.flush();
    }

    /// Lets go of whatever waits for this stream, and takes nothing more in this run.
    pub fn close(&self) {
        let mut stopping = self.stopping.lock().unwrap();
        *stopping = true;
        self.flush();
    }

    fn flush(&self) {
        self.closed.store(true, Relaxed);
        self.failed.store(false, Relaxed);
        self.over.store(false, Relaxed);
        self.progress.moved(Some(false));
        pad(&self.funnel, "src").push_event(gst::event::FlushStart::new());
        self.feed.push_event(gst::event::FlushStart::new());
    }

    /// Ends a run: nothing moves any more.
    pub fn stop(&self) {
        // It is active, or was never.
        let _ = self.feed.set_active(false);
        self.remove_decoder();
    }

    /// Begins to decode anew, after a flush.
    pub fn resume(&self, flush_stop: &gst::Event) {
        let stopping = self.stopping.lock().unwrap();
        if *stopping {
            return;
        }
        self.reopen();
        self.renew();
        pad(&self.funnel, "src").push_event(flush_stop.clone());
        self.feed.push_event(flush_stop.clone());
    }

    /// Whether nothing of the stream was taken since the run began, or since a flush: its sticky events are missing.
    pub fn is_fresh(&self) -> bool {
        self.feed
            .sticky_event::<gst::event::StreamStart>(0)
            .is_none()
    }

    /// Whether nothing is linked, and the fusion waits for it.
    fn is_unlinked(&self) -> bool {
        let linked = self.sink.upgrade().is_some_and(|sink| sink.is_linked());
        !linked && self.is_fresh() && !self.closed.load(Relaxed) && !self.left_out.load(Relaxed)
    }

    /// Has the fusion not wait for this stream until something of it comes, if nothing is linked. Returns whether it did
    /// wait for it.
    pub fn leave_out(&self) -> bool {
        if !self.is_unlinked() || self.left_out.swap(true, Relaxed) {
            return false;
        }
        self.debug("Nothing is linked, the fusion does not wait for it");
        if let Some(fuse) = self.fuse_pad() {
            end(&fuse);
        }
        true
    }

    /// The fusion has forgotten that this stream is over or left out.
    pub fn fusion_restarted(&self) {
        self.left_out.store(false, Relaxed);
        if self.has_failed()
            && let Some(fuse) = self.fuse_pad()
        {
            end(&fuse);
        }
    }

    /// Hands `event` to the analysis.
    pub fn push_event(&self, event: gst::Event) {
        if !self.closed.load(Relaxed) {
            self.feed.push_event(event);
        }
    }

    /// Hands `buffer` to the analysis. Of a stream that is not `live`, it waits while the backlog is full, the analysis
    /// goes on, and it does not lack the media of `other`.
    pub fn push(&self, buffer: gst::Buffer, live: bool, other: Option<&Branch>) -> Admission {
        let is_delta = buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        if self.skipping.load(Relaxed) && is_delta {
            return Admission::Dropped;
        }
        if !self.has_room(live, other) {
            // What refers to it cannot be decoded either.
            if !self.skipping.swap(true, Relaxed) {
                self.debug("The backlog is full, media is left out until the next key frame that finds room");
            }
            return Admission::Dropped;
        }
        if self.skipping.swap(false, Relaxed) {
            self.debug("Media is analysed again");
        }
        if self.closed.load(Relaxed) {
            return Admission::Closed;
        }
        // What fails behind the queue is on the bus.
        let _ = self.feed.push(buffer);
        Admission::Analysed
    }

    /// Whether the backlog takes more, maybe after a while.
    fn has_room(&self, live: bool, other: Option<&Branch>) -> bool {
        let mut moved = (self.progress.get().0, Instant::now());
        let mut starved: Option<Instant> = None;
        let mut waits = false;
        loop {
            if self.closed.load(Relaxed) || !self.is_full() {
                return true;
            }
            if live {
                return false;
            }
            let (count, busy) = self.progress.get();
            if count != moved.0 || busy {
                moved = (count, Instant::now());
                self.stalled.store(false, Relaxed);
            }
            starved = other
                .filter(|other| self.waits() && other.starves())
                .map(|_| starved.unwrap_or_else(Instant::now));
            let unlinked = other.filter(|other| other.is_unlinked());
            let patience = if unlinked.is_some() {
                UNLINKED
            } else {
                STARVED
            };
            let lacks = starved.is_some_and(|since| since.elapsed() > patience);
            if lacks && unlinked.is_some_and(Branch::leave_out) {
                continue;
            }
            if !self.stalled.load(Relaxed) && moved.1.elapsed() > STALLED {
                gst::info!(
                    CAT,
                    obj = self.classify,
                    "No progress for {STALLED:?}, media no longer waits"
                );
                self.stalled.store(true, Relaxed);
            }
            if lacks || self.stalled.load(Relaxed) {
                // The source may have to get past this stream's media to reach the other's.
                let bytes = u64::from(self.queue.property::<u32>("current-level-bytes"));
                if bytes >= LARGEST_BACKLOG {
                    return false;
                }
                let times = 2 + self.grown.fetch_add(1, Relaxed);
                let why = if lacks {
                    "the other stream"
                } else {
                    "progress"
                };
                gst::debug!(
                    CAT,
                    obj = self.classify,
                    "The analysis lacks {why}: the backlog may be {times} times as large"
                );
                return true;
            }
            if !waits {
                self.debug("The backlog is full, media waits");
                waits = true;
            }
            self.progress.wait();
        }
    }

    fn debug(&self, what: &str) {
        gst::debug!(CAT, obj = self.classify, "{what}");
    }

    /// How much media waits for the analysis.
    pub fn backlog(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.queue.property("current-level-time"))
    }

    fn is_full(&self) -> bool {
        let times = 1 + self.grown.load(Relaxed);
        let bytes = u64::from(self.queue.property::<u32>("current-level-bytes"));
        match self.source {
            Source::Audio => bytes >= SOUND_BACKLOG * times,
            // Units without timestamps have no length.
            _ => self.backlog() >= BACKLOG * times || bytes >= LARGEST_BACKLOG,
        }
    }

    /// The pad of the fusion that this stream's analysis feeds.
    pub fn fuse_pad(&self) -> Option<gst::Pad> {
        pad(&self.classify, "src").peer()
    }

    /// The same, of a fusion that waits for both streams.
    fn waiting_pad(&self) -> Option<gst_base::AggregatorPad> {
        self.fuse_pad()?.downcast().ok()
    }

    /// Whether the fusion has nothing of this stream, and nothing is on the way.
    pub fn starves(&self) -> bool {
        let waited_for = |pad: gst_base::AggregatorPad| !pad.has_buffer() && !pad.is_eos();
        self.is_idle() && self.waiting_pad().is_some_and(waited_for)
    }

    /// Whether nothing of this stream waits for the analysis, and no model runs.
    pub fn is_idle(&self) -> bool {
        let empty = self.queue.property::<u32>("current-level-buffers") == 0;
        empty && !self.is_busy()
    }

    /// Whether the analysis of the whole stream has come to its end, or failed.
    pub fn is_done(&self) -> bool {
        self.has_failed() || has_ended(&pad(&self.classify, "src"))
    }

    /// Whether nothing is left to do before more of the stream comes.
    pub fn lacks_media(&self) -> bool {
        !self.is_done() && !has_ended(&self.feed) && self.is_idle()
    }

    /// Whether a model runs.
    pub fn is_busy(&self) -> bool {
        self.progress.get().1
    }

    /// How often something of this stream moved.
    pub fn progress(&self) -> u64 {
        self.progress.get().0
    }

    /// Whether the fusion keeps what it has of this stream, since it waits for the other one.
    fn waits(&self) -> bool {
        self.waiting_pad().is_some_and(|pad| pad.has_buffer())
    }

    /// Whether `object` is one of the elements that analyse this stream, or inside one.
    pub fn analyses(&self, object: &gst::Object) -> bool {
        let decoder = self.decoder.lock().unwrap();
        let decoder = decoder.as_ref().map(|decoder| &decoder.bin);
        decoder
            .into_iter()
            .chain(&self.elements)
            .any(|element| object == element || object.has_as_ancestor(element))
    }

    /// Whether the analysis has ended since a part of it failed.
    pub fn has_failed(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Notes that a part of the analysis failed. Returns whether it is the first one, and not for a flush or a stop.
    pub fn fail(&self) -> bool {
        !self.closed.load(Relaxed) && !self.failed.swap(true, Relaxed)
    }

    /// Ends the analysis of this stream, of which a part failed.
    pub fn give_up(self: &Arc<Self>) {
        self.debug("Giving up, media passes without analysis");
        self.failed.store(true, Relaxed);
        self.over.store(true, Relaxed);
        self.closed.store(true, Relaxed);
        self.progress.moved(Some(false));
        // Not from the failed streaming thread, which may hold the locks that this takes.
        let branch = self.clone();
        self.classify.call_async(move |_| {
            if let Some(fuse) = branch.fuse_pad() {
                end(&fuse);
            }
        });
    }

    /// Brings the elements into the state of the pipeline.
    pub fn sync_states(&self) -> Result<(), glib::BoolError> {
        let mut behind = self.elements.iter().rev();
        behind.try_for_each(|element| element.sync_state_with_parent())
    }

    /// Takes the elements out of `pipeline`.
    pub fn remove(&self, pipeline: &gst::Pipeline) {
        for element in &self.elements {
            element.set_locked_state(true);
            let _ = element.set_state(gst::State::Null);
        }
        // They are all in the pipeline.
        let _ = pipeline.remove_many(&self.elements);
    }

    /// Puts a new decodebin in place of the present one. What fails is on the bus.
    fn renew(&self) {
        self.debug("A new decodebin");
        self.remove_decoder();
        if let Err(err) = self.plug() {
            gst::element_error!(self.queue, gst::CoreError::Failed, ("{err}"));
        }
    }

    fn plug(&self) -> Result<(), glib::BoolError> {
        let pipeline = self
            .pipeline
            .upgrade()
            .ok_or_else(|| glib::bool_error!("the pipeline is gone"))?;
        let bin = make("decodebin")?;
        let decoding = (self.decoding)();
        bin.downcast_ref::<gst::Bin>()
            .expect("decodebin is a bin")
            .connect_deep_element_added(move |_, _, element| tune(element, decoding));
        let drain = Arc::<Drain>::default();
        let (funnel, own) = (self.funnel.downgrade(), drain.clone());
        let kind = match self.source {
            Source::Audio => "audio/x-raw",
            _ => "video/x-raw",
        };
        bin.connect_pad_added(move |_, decoded| {
            let Some(funnel) = funnel.upgrade() else {
                return;
            };
            // Streams of another kind in the same container stay unlinked.
            let caps = decoded
                .current_caps()
                .unwrap_or_else(|| decoded.query_caps(None));
            let is_ours = caps.structure(0).is_some_and(|caps| caps.name() == kind);
            if !is_ours || funnel.num_sink_pads() > 0 {
                return;
            }
            own.watch(decoded);
            if let Some(head) = funnel.request_pad_simple("sink_%u") {
                // What fails to link shows as an error of decodebin.
                let _ = decoded.link_full(&head, gst::PadLinkCheck::CAPS);
            }
        });
        let (funnel, source) = (self.funnel.downgrade(), self.source);
        bin.connect_no_more_pads(move |bin| {
            if funnel
                .upgrade()
                .is_none_or(|funnel| funnel.num_sink_pads() > 0)
            {
                return;
            }
            // The queue would report that nothing is linked, but only with the next buffer.
            let caps = bin.src_pads().first().and_then(|pad| pad.current_caps());
            let found = caps.as_ref().and_then(|caps| caps.structure(0));
            gst::element_error!(
                bin,
                gst::StreamError::WrongType,
                (
                    "the pad `{0}` needs {0}, but what comes is {1}",
                    source.name(),
                    found.map_or("unknown", |caps| caps.name())
                )
            );
        });
        pipeline.add(&bin)?;
        pad(&self.queue, "src")
            .link_full(&pad(&bin, "sink"), gst::PadLinkCheck::CAPS)
            .map_err(|err| glib::bool_error!("decodebin cannot be linked: {err}"))?;
        *self.decoder.lock().unwrap() = Some(Decoder {
            bin: bin.clone(),
            stream: None,
            caps: None,
            drain,
        });
        bin.sync_state_with_parent()
    }

    fn remove_decoder(&self) {
        let Some(Decoder { bin, .. }) = self.decoder.lock().unwrap().take() else {
            return;
        };
        let input = pad(&bin, "sink");
        let _ = pad(&self.queue, "src").unlink(&input);
        bin.set_locked_state(true);
        let _ = bin.set_state(gst::State::Null);
        for head in self.funnel.sink_pads() {
            self.funnel.release_request_pad(&head);
        }
        if let Some(pipeline) = self.pipeline.upgrade() {
            let _ = pipeline.remove(&bin);
        }
    }

    /// Waits until everything of the present stream has come out of its decoder; another follows.
    fn drain(&self) {
        let (input, drain) = {
            let decoder = self.decoder.lock().unwrap();
            let Some(decoder) = &*decoder else { return };
            (pad(&decoder.bin, "sink"), decoder.drain.clone())
        };
        if self.funnel.num_sink_pads() == 0 {
            return;
        }
        drain.waits.store(true, Relaxed);
        input.send_event(gst::event::Eos::new());
        let since = Instant::now();
        let mut ended = drain.ended.lock().unwrap();
        while !*ended && !self.closed.load(Relaxed) && since.elapsed() < DRAIN {
            ended = drain.changed.wait_timeout(ended, LOOK).unwrap().0;
        }
    }
}
