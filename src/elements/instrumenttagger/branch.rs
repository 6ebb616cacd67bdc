// SPDX-License-Identifier: MPL-2.0

//! One stream through the bin: the way on which the media passes, and the way on which a copy is analysed.
//!
//! ```text
//! sink ! tee ! identity ! src                                                          (passes)
//!        tee ! errorignore ! queue ! decodebin ! funnel ! [melspec !] frameclassify ! avfuse   (is analysed)
//! ```

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;

use super::key_frames::{KeyFrames, thin_out};
use super::results::Results;
use super::settings::{CLASSIFY_AUDIO, CLASSIFY_VIDEO, MELSPEC};
use crate::elements::inference::StreamTags;
use crate::meta::{self, Source, Tags};

/// Longest backlog of pictures before a live stream's are left out of the analysis, or a file's wait.
const BACKLOG: gst::ClockTime = gst::ClockTime::from_seconds(2);
/// The same for sound, in bytes: the fusion takes sound no further than pictures, which come as rarely as key frames do.
const SOUND_BACKLOG: u32 = 8 << 20;

/// Bytes of backlog beyond which a file's media is left out of the analysis rather than kept for it.
const LARGEST_BACKLOG: u32 = 256 << 20;
/// How often a full backlog is looked at, and after how many looks without progress it grows.
const LOOK: std::time::Duration = std::time::Duration::from_millis(2);
const LOOKS: u32 = 100;

/// The elements and pads of one stream.
#[derive(Clone)]
pub struct Branch {
    pub sink: gst::GhostPad,
    pub src: gst::GhostPad,
    pub classify: gst::Element,
    pub results: Arc<Mutex<Results>>,
    pass: gst::Element,
    /// Drops media instead of waiting when it is leaky.
    queue: gst::Element,
    decode: gst::Element,
    /// Whether media is left out of the analysis rather than kept waiting.
    leaky: Arc<AtomicBool>,
    /// Whether anything has passed in this run.
    begun: Arc<AtomicBool>,
    /// Whether a part of the analysis failed.
    failed: Arc<AtomicBool>,
    elements: Vec<gst::Element>,
}

/// What a branch asks of the bin when something passes.
pub trait Passing: Send + Sync + 'static {
    /// The first buffer of the stream is about to pass; returns whether the stream is live.
    fn begins(&self) -> bool;
    /// A buffer is about to pass: puts the tags on it that are known by now.
    fn pass(&self, buffer: &mut gst::Buffer);
    /// Whether the end of the stream is held back until the analysis has ended.
    fn holds_end(&self, end: &gst::Event) -> bool;
}

fn make(factory: &str) -> Result<gst::Element, glib::BoolError> {
    gst::ElementFactory::make(factory).build()
}

/// Ends the stream that comes in on `pad`, which may not have begun.
pub fn end(pad: &gst::Pad) {
    if pad.sticky_event::<gst::event::StreamStart>(0).is_none() {
        pad.send_event(gst::event::StreamStart::new("none"));
    }
    pad.send_event(gst::event::Eos::new());
}

/// Gives the analysis buffers of its own, which share the memory: some parsers set timestamps on buffers that others
/// hold too.
fn keep_apart(info: &mut gst::PadProbeInfo) {
    match &mut info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => *buffer = buffer.copy(),
        Some(gst::PadProbeData::BufferList(list)) => {
            *list = list.iter_owned().map(|buffer| buffer.copy()).collect();
        }
        _ => (),
    }
}

impl Branch {
    /// The elements of a `source` stream, linked and added to `bin`, up to the pad `fuse` of the fusion.
    ///
    /// # Errors
    /// When one of GStreamer's own elements is not installed.
    pub fn new(
        bin: &gst::Bin,
        source: Source,
        templates: (&gst::PadTemplate, &gst::PadTemplate),
        fuse: &gst::Pad,
    ) -> Result<Self, glib::BoolError> {
        let tee = make("tee")?;
        let gate = gst::ElementFactory::make("errorignore")
            .property("ignore-notlinked", true)
            .property("ignore-notnegotiated", true)
            .property("ignore-eos", true)
            .property_from_str("convert-to", "ok")
            .build()?;
        let queue = gst::ElementFactory::make("queue")
            .property("max-size-buffers", 0u32)
            .property(
                "max-size-bytes",
                if source == Source::Audio {
                    SOUND_BACKLOG
                } else {
                    0
                },
            )
            .property(
                "max-size-time",
                if source == Source::Audio {
                    gst::ClockTime::ZERO
                } else {
                    BACKLOG
                },
            )
            .build()?;
        let decode = make("decodebin")?;
        let classify = gst::ElementFactory::make("frameclassify")
            .name(if source == Source::Audio {
                CLASSIFY_AUDIO
            } else {
                CLASSIFY_VIDEO
            })
            .build()?;
        // The end of the stream can be held back here: a pad of the tee would count it as sent.
        let pass = make("identity")?;
        let mut elements = vec![tee.clone(), pass.clone(), gate.clone(), queue.clone()];
        let head = elements.len();
        // avfuse goes on without a branch that nothing feeds; a funnel counts as a source until decodebin is linked.
        let funnel = make("funnel")?;
        elements.push(funnel.clone());
        if source == Source::Audio {
            let melspec = gst::ElementFactory::make("melspec").name(MELSPEC);
            elements.push(melspec.build()?);
        }
        elements.push(classify.clone());
        bin.add_many(&elements)?;
        gate.link(&queue)?;
        gst::Element::link_many(&elements[head..])?;
        // decodebin is not in the bin, whose state would otherwise wait until decodebin has found what it decodes.
        let undecoded = queue.static_pad("src").expect("a queue has a src pad");
        undecoded
            .link_full(
                &decode.static_pad("sink").expect("decodebin has a sink pad"),
                gst::PadLinkCheck::CAPS,
            )
            .map_err(|err| glib::bool_error!("decodebin cannot be linked: {err}"))?;
        let tail = classify.static_pad("src").expect("a filter has a src pad");
        tail.link(fuse)
            .map_err(|err| glib::bool_error!("frameclassify cannot be linked: {err}"))?;
        decode.connect_pad_added(move |_, pad| {
            // Streams of another kind in the same container stay unlinked.
            let kind = if source == Source::Audio {
                "audio/x-raw"
            } else {
                "video/x-raw"
            };
            let is_ours = pad
                .current_caps()
                .unwrap_or_else(|| pad.query_caps(None))
                .structure(0)
                .is_some_and(|s| s.name() == kind);
            if is_ours
                && funnel.num_sink_pads() == 0
                && let Some(head) = funnel.request_pad_simple("sink_%u")
            {
                // What fails to link shows as an error of decodebin.
                let _ = pad.link_full(&head, gst::PadLinkCheck::CAPS);
            }
        });
        // The analysis comes first: what passes then cannot outrun it by more than the queue holds.
        let feed = tee.request_pad_simple("src_%u").expect("a tee has pads");
        let passing = tee.request_pad_simple("src_%u").expect("a tee has pads");
        feed.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            |_, info| {
                keep_apart(info);
                gst::PadProbeReturn::Ok
            },
        );
        feed.link(&gate.static_pad("sink").expect("errorignore has a sink pad"))
            .map_err(|err| glib::bool_error!("errorignore cannot be linked: {err}"))?;
        let sink = gst::GhostPad::builder_from_template_with_target(
            templates.0,
            &tee.static_pad("sink").expect("a tee has a sink pad"),
        )?
        .build();
        passing
            .link(&pass.static_pad("sink").expect("identity has a sink pad"))
            .map_err(|err| glib::bool_error!("identity cannot be linked: {err}"))?;
        let src = gst::GhostPad::builder_from_template_with_target(
            templates.1,
            &pass.static_pad("src").expect("identity has a src pad"),
        )?
        .build();
        Ok(Self {
            sink,
            src,
            classify,
            results: Arc::default(),
            pass,
            queue,
            decode,
            leaky: Arc::default(),
            begun: Arc::default(),
            failed: Arc::default(),
            elements,
        })
    }

    /// Calls `passing` for what passes.
    pub fn watch(&self, passing: impl Passing) {
        let target = self
            .pass
            .static_pad("sink")
            .expect("identity has a sink pad");
        let kinds = gst::PadProbeType::BUFFER
            | gst::PadProbeType::BUFFER_LIST
            | gst::PadProbeType::EVENT_DOWNSTREAM
            | gst::PadProbeType::EVENT_FLUSH;
        let results = self.results.clone();
        let queue = self.queue.clone();
        let (begun, leaky) = (self.begun.clone(), self.leaky.clone());
        target.add_probe(kinds, move |_, info| {
            if !begun.swap(true, Relaxed) {
                let leaves_out = passing.begins();
                leaky.store(leaves_out, Relaxed);
                queue.set_property_from_str("leaky", if leaves_out { "downstream" } else { "no" });
            }
            match &mut info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => passing.pass(buffer),
                Some(gst::PadProbeData::BufferList(list)) => {
                    list.make_mut().foreach_mut(|mut buffer, _| {
                        passing.pass(&mut buffer);
                        std::ops::ControlFlow::Continue(Some(buffer))
                    });
                }
                Some(gst::PadProbeData::Event(event)) => match event.view() {
                    gst::EventView::StreamStart(_) | gst::EventView::FlushStop(_) => {
                        results.lock().unwrap().clear();
                    }
                    gst::EventView::Segment(segment) => {
                        if let Some(segment) = segment.segment().downcast_ref() {
                            results.lock().unwrap().segment = segment.clone();
                        }
                    }
                    gst::EventView::Eos(_) if passing.holds_end(event) => {
                        return gst::PadProbeReturn::Handled;
                    }
                    _ => (),
                },
                _ => (),
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Has only those pictures of encoded video decoded that what `choose` makes takes.
    pub fn thin_out(&self, choose: impl Fn() -> KeyFrames + Send + Sync + 'static) {
        let bin = self
            .decode
            .downcast_ref::<gst::Bin>()
            .expect("decodebin is a bin");
        bin.connect_deep_element_added(move |_, _, element| {
            let is_decoder = element.factory().is_some_and(|factory| {
                factory.has_type(
                    gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO,
                )
            });
            if is_decoder {
                thin_out(element, choose());
            }
        });
    }

    /// Brings the elements into the state of the bin.
    pub fn sync_states(&self) {
        for element in &self.elements {
            // What fails is on the bus.
            let _ = element.sync_state_with_parent();
        }
    }

    /// Calls `handle` with the messages of decodebin.
    pub fn listen(&self, handle: impl Fn(gst::Message) + Send + Sync + 'static) {
        let bus = gst::Bus::new();
        bus.set_sync_handler(move |_, message| {
            handle(message.clone());
            gst::BusSyncReply::Drop
        });
        self.decode.set_bus(Some(&bus));
    }

    /// Brings the elements behind decodebin into `state`, the last one first.
    pub fn set_analysis_state(&self, state: gst::State) -> Result<(), gst::StateChangeError> {
        let behind = self.elements.iter().rev();
        for element in behind.take_while(|&element| *element != self.queue) {
            element.set_state(state)?;
        }
        Ok(())
    }

    /// Brings decodebin into the bin's state `state`.
    pub fn set_decode_state(&self, state: gst::State) {
        // What fails is on the bus.
        let _ = self.decode.set_state(state);
    }

    /// Forgets what belongs to the run before.
    pub fn restart(&self) {
        self.failed.store(false, Relaxed);
        self.begun.store(false, Relaxed);
        *self.results.lock().unwrap() = Results::default();
    }

    /// The pad of the fusion that this stream's analysis feeds.
    fn fuse_pad(&self) -> Option<gst_base::AggregatorPad> {
        self.classify.static_pad("src")?.peer()?.downcast().ok()
    }

    /// Whether the fusion has nothing of this stream, and nothing is on the way.
    pub fn starves(&self) -> bool {
        let empty = self.queue.property::<u32>("current-level-buffers") == 0;
        let waited_for = |pad: gst_base::AggregatorPad| !pad.has_buffer() && !pad.is_eos();
        empty && self.fuse_pad().is_some_and(waited_for)
    }

    /// Whether the fusion keeps what it has of this stream, since it waits for the other one.
    fn waits(&self) -> bool {
        self.fuse_pad().is_some_and(|pad| pad.has_buffer())
    }

    fn is_full(&self) -> bool {
        let full = |level: u64, most: u64| most > 0 && level >= most;
        let (queue, bytes) = (&self.queue, |name| {
            u64::from(self.queue.property::<u32>(name))
        });
        full(
            queue.property("current-level-time"),
            queue.property("max-size-time"),
        ) || full(bytes("current-level-bytes"), bytes("max-size-bytes"))
    }

    /// Called when the backlog of a stream that is not live is full: waits until it is not, or lets it grow while
    /// `other_starves`, since the source then has to get past this stream's media to reach the other's.
    pub fn relieve(&self, other_starves: impl Fn() -> bool) {
        let Some(pad) = self.queue.static_pad("sink") else {
            return;
        };
        let mut stuck = 0;
        while stuck < LOOKS {
            if self.leaky.load(Relaxed)
                || !self.is_full()
                || pad.pad_flags().contains(gst::PadFlags::FLUSHING)
            {
                return;
            }
            stuck = if self.waits() && other_starves() {
                stuck + 1
            } else {
                0
            };
            std::thread::sleep(LOOK);
        }
        let bytes = self.queue.property::<u32>("current-level-bytes");
        if bytes > LARGEST_BACKLOG {
            self.leaky.store(true, Relaxed);
            self.queue.set_property_from_str("leaky", "downstream");
        } else if self.queue.property::<u64>("max-size-time") > 0 {
            let time = self.queue.property::<u64>("current-level-time");
            self.queue
                .set_property("max-size-time", time + BACKLOG.nseconds());
        } else {
            self.queue
                .set_property("max-size-bytes", bytes + SOUND_BACKLOG);
        }
    }

    /// Calls `full` when the backlog is full.
    pub fn connect_full(&self, full: impl Fn() + Send + Sync + 'static) {
        self.queue.connect("overrun", false, move |_| {
            full();
            None
        });
    }

    /// Whether `object` is one of the elements that analyse this stream, or inside one.
    pub fn analyses(&self, object: &gst::Object) -> bool {
        let decode = std::iter::once(&self.decode);
        decode
            .chain(&self.elements)
            .any(|element| object == element || object.has_as_ancestor(element))
    }

    /// Ends the analysis of this stream, of which a part failed; the media passes on. Returns whether it ended just now.
    pub fn give_up(&self) -> bool {
        if self.failed.swap(true, Relaxed) {
            return false;
        }
        let tail = self
            .classify
            .static_pad("src")
            .expect("a filter has a src pad");
        // Not from the failed streaming thread, which may hold the locks that this takes.
        self.classify.call_async(move |_| {
            if let Some(fuse) = tail.peer() {
                end(&fuse);
            }
        });
        true
    }

    /// Sends the tag event on that `tags` ask for by `when`; `clip` says that they are about the whole stream.
    pub fn push_stream_tags(&self, when: StreamTags, tags: &Tags, clip: bool) {
        let (Some(passing), Some(target)) = (self.pass.static_pad("sink"), self.src.target())
        else {
            return;
        };
        let event = {
            let mut results = self.results.lock().unwrap();
            results.named.event(when, &passing, tags, clip)
        };
        if let Some(event) = event {
            target.push_event(event);
        }
    }

    /// Sends the results on that no buffer has carried, and the tag event at the end of the passing stream.
    pub fn push_rest(&self, when: StreamTags) {
        let (rest, clip) = {
            let mut results = self.results.lock().unwrap();
            (results.rest(), results.clip.take())
        };
        if let Some(target) = self.src.target()
            && !rest.is_empty()
        {
            target.push_event(meta::event(&rest, &[]));
        }
        if let Some(clip) = clip {
            self.push_stream_tags(when, &clip, true);
        }
    }

    /// Ends the passing stream with `end`, which was held back, after what [`push_rest`](Self::push_rest) sends.
    pub fn end(&self, end: gst::Event, when: StreamTags) {
        self.push_rest(when);
        if let Some(target) = self.src.target() {
            target.push_event(end);
        }
    }

    /// Takes the branch out of `bin`.
    pub fn remove(&self, bin: &gst::Bin) {
        self.set_decode_state(gst::State::Null);
        for element in &self.elements {
            let _ = element.set_state(gst::State::Null);
        }
        // They are all in the bin.
        let _ = bin.remove_many(&self.elements);
    }
}
