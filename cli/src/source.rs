// SPDX-License-Identifier: MPL-2.0

//! From a URI to its first audio and its first video stream, decoded.
//!
//! decodebin exposes all streams at once, as soon as each has data or its queues are full, and never a stream that
//! comes later: sound under the first seconds only, or from the middle on, is missed. Here demuxers are plugged one by
//! one and each stream gets a decodebin of its own whenever it appears. Streams that are not tagged are not decoded.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use gst::{glib, prelude::*};

use crate::args::{Decode, Modality};
use crate::keyframes::{Filter, Unit};

/// Buffers of a stream that wait for its decoder, and more while another stream has none.
const WAITING_BUFFERS: u32 = 60;
/// Encoded bytes of a stream that wait for its decoder at most: how far apart streams may lie in a file.
const WAITING_BYTES: u32 = 256 << 20;

/// Makes the elements that take a decoded stream, and returns the first of them, a funnel.
pub type Open = Box<dyn Fn(Modality) -> Result<gst::Element> + Send + Sync>;

/// How pictures are decoded.
#[derive(Debug, Clone, Copy)]
pub struct Decoding {
    pub mode: Decode,
    /// Nanoseconds between pictures that are needed.
    pub interval: u64,
    /// Nanoseconds that key frames may lie apart with [`Decode::Auto`].
    pub longest: u64,
    /// Threads of a decoder; 0: as many as it likes.
    pub threads: u32,
}

#[derive(Clone)]
pub struct Source(Arc<Shared>);

struct Shared {
    pipeline: glib::WeakRef<gst::Pipeline>,
    queue: gst::Element,
    open: Open,
    wanted: Vec<Modality>,
    /// What the file says that it has.
    promised: Vec<Modality>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Type finders and demuxers that may still bring a stream.
    pending: usize,
    begun: bool,
    streams: Vec<Stream>,
}

struct Stream {
    modality: Modality,
    caps: String,
    fate: Fate,
}

/// What becomes of a stream.
enum Fate {
    /// It is decoded into a branch.
    Tagged(Arc<Branch>),
    /// GStreamer has no decoder for it.
    Undecodable,
    /// It is not asked for, or another of its kind is tagged.
    Dropped,
}

struct Branch {
    /// The first element, without a sink pad until something is decoded.
    funnel: gst::Element,
    /// Whether the encoded stream has ended.
    eos: AtomicBool,
    /// Whether the branch was ended because nothing came out of the decoder.
    silent: AtomicBool,
}

impl Source {
    /// Puts the elements that read and decode `uri` into `pipeline`.
    pub fn add(
        pipeline: &gst::Pipeline,
        uri: &str,
        wanted: Vec<Modality>,
        decoding: Decoding,
        open: Open,
    ) -> Result<Self> {
        let queue = gst::ElementFactory::make("multiqueue")
            .property("max-size-buffers", WAITING_BUFFERS)
            .property("max-size-bytes", WAITING_BYTES)
            .property("max-size-time", 0u64)
            .build()?;
        let reader = if uri.starts_with("file:") {
            gst::Element::make_from_uri(gst::URIType::Src, uri, Some("reader"))?
        } else {
            let reader = gst::ElementFactory::make("urisourcebin").name("reader");
            reader.property("uri", uri).build()?
        };
        // It starts last: what it brings would be lost on elements that do not run yet.
        reader.set_locked_state(true);
        pipeline.add_many([&reader, &queue])?;
        let source = Self(Arc::new(Shared {
            pipeline: pipeline.downgrade(),
            queue,
            open,
            wanted,
            promised: promised(uri),
            state: Mutex::default(),
        }));
        let own = source.clone();
        reader.connect_pad_added(move |_, pad| own.guard(|own| own.find_type(pad)));
        pipeline.connect_deep_element_added(move |_, _, element| tune_decoder(element, decoding));
        Ok(source)
    }

    /// Begins to read, when the rest of the pipeline runs.
    pub fn start(&self) -> Result<()> {
        let reader = self.0.pipeline()?.by_name("reader");
        let reader = reader.context("the pipeline has no reader")?;
        reader.set_locked_state(false);
        if let Some(pad) = reader.static_pad("src") {
            reader.set_state(gst::State::Ready)?;
            self.find_type(&pad)?;
        }
        Ok(reader.sync_state_with_parent()?)
    }

    /// Whether it is known that nothing of it is tagged, and why; `failed`: GStreamer gave up, maybe before the last
    /// stream was known.
    pub fn check(&self, failed: bool) -> Result<()> {
        let state = self.0.state();
        let any = |fate: fn(&Fate) -> bool| state.streams.iter().find(|stream| fate(&stream.fate));
        let complete = state.begun && state.pending == 0;
        if !(complete || failed) || any(|fate| matches!(fate, Fate::Tagged(_))).is_some() {
            return Ok(());
        }
        if let Some(stream) = any(|fate| matches!(fate, Fate::Undecodable)) {
            bail!(
                "cannot be decoded: GStreamer has no decoder for {}",
                stream.caps
            );
        }
        if !complete {
            return Ok(());
        }
        if let Some(stream) = any(|fate| matches!(fate, Fate::Dropped)) {
            let modality = stream.modality.name();
            bail!("has only {modality}, and --without {modality} leaves nothing to tag");
        }
        bail!("has neither audio nor video");
    }

    /// What is not tagged though it was asked for, each a sentence.
    pub fn notes(&self) -> Vec<String> {
        let state = self.0.state();
        let mut notes = Vec::new();
        for &modality in &self.0.wanted {
            let of = |fate: fn(&Fate) -> bool| -> Vec<_> {
                let own = state
                    .streams
                    .iter()
                    .filter(|stream| stream.modality == modality);
                own.filter(|stream| fate(&stream.fate)).collect()
            };
            let name = modality.name();
            if self.0.promised.contains(&modality) && of(|_| true).is_empty() {
                notes.push(format!(
                    "its {name} is not tagged: it begins more than 6 s late, and GStreamer's flvdemux ignores such streams"
                ));
            }
            for stream in of(|fate| matches!(fate, Fate::Undecodable)) {
                notes.push(format!(
                    "its {name} is not tagged: GStreamer has no decoder for {}",
                    stream.caps
                ));
            }
            let dropped = of(|fate| matches!(fate, Fate::Dropped)).len();
            if dropped > 0 {
                notes.push(format!(
                    "only the first of its {} {name} streams is tagged",
                    dropped + 1
                ));
            }
            if !of(|fate| matches!(fate, Fate::Tagged(branch) if branch.silent.load(Ordering::Relaxed))).is_empty() {
                notes.push(format!("its {name} stream contains nothing that can be decoded"));
            }
        }
        notes
    }

    /// Ends the branches of streams that ended without anything decoded, for which fusion would wait for ever.
    pub fn end_silent(&self) {
        let branches: Vec<_> = {
            let state = self.0.state();
            let branch = |stream: &Stream| match &stream.fate {
                Fate::Tagged(branch) => Some(branch.clone()),
                _ => None,
            };
            state.streams.iter().filter_map(branch).collect()
        };
        for branch in branches {
            if branch.eos.load(Ordering::Relaxed)
                && branch.funnel.num_sink_pads() == 0
                && !branch.silent.swap(true, Ordering::Relaxed)
                && let Some(src) = branch.funnel.static_pad("src")
            {
                src.push_event(gst::event::StreamStart::new("none"));
                src.push_event(gst::event::Eos::new());
            }
        }
    }

    /// Runs `plug` and posts its error on the pipeline's bus.
    fn guard(&self, plug: impl FnOnce(&Self) -> Result<()>) {
        if let Err(error) = plug(self)
            && let Some(pipeline) = self.0.pipeline.upgrade()
        {
            gst::element_error!(pipeline, gst::CoreError::Failed, ("{error:#}"));
        }
    }

    fn find_type(&self, pad: &gst::Pad) -> Result<()> {
        self.0.state().begun = true;
        // urisourcebin has found the type already; a second search would send a second stream-start, after the end.
        let caps = pad.current_caps().or_else(|| Some(pad.query_caps(None)));
        if let Some(caps) = caps.filter(|caps| caps.is_fixed()) {
            return self.plug(pad, &caps);
        }
        let finder = self.0.add("typefind")?;
        self.0.state().pending += 1;
        let own = self.clone();
        finder.connect("have-type", false, move |values| {
            let finder = values[0].get::<gst::Element>().expect("the element itself");
            let caps = values[2].get::<gst::Caps>().expect("the caps found");
            let pad = finder.static_pad("src").expect("typefind has a source pad");
            own.guard(|own| own.plug(&pad, &caps));
            own.0.state().pending -= 1;
            None
        });
        pad.link(
            &finder
                .static_pad("sink")
                .context("typefind has no sink pad")?,
        )?;
        finder.sync_state_with_parent()?;
        Ok(())
    }

    /// Puts a demuxer or a decoder behind a pad of the given caps.
    fn plug(&self, pad: &gst::Pad, caps: &gst::Caps) -> Result<()> {
        if let Some(factory) = demuxer(caps) {
            let demuxer = factory.create().build()?;
            self.0.state().pending += 1;
            let own = self.clone();
            demuxer.connect_pad_added(move |_, pad| {
                let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
                own.guard(|own| own.plug(pad, &caps));
            });
            let own = self.clone();
            demuxer.connect_no_more_pads(move |_| {
                let mut state = own.0.state();
                state.pending = state.pending.saturating_sub(1);
            });
            return self.0.put_behind(pad, &demuxer);
        }
        // Pads of streams that are not tagged stay unlinked; demuxers continue as long as one is linked.
        let Some(modality) = modality(caps) else {
            return Ok(());
        };
        let fate = self.0.fate(modality, caps)?;
        let tagged = match &fate {
            Fate::Tagged(branch) => Some(branch.clone()),
            _ => None,
        };
        self.0.state().streams.push(Stream {
            modality,
            caps: caps
                .structure(0)
                .map_or(String::new(), |caps| caps.name().to_string()),
            fate,
        });
        match tagged {
            Some(branch) => self.0.decode(pad, &branch),
            None => Ok(()),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pipeline(&self) -> Result<gst::Pipeline> {
        self.pipeline.upgrade().context("the pipeline is gone")
    }

    fn add(&self, factory: &str) -> Result<gst::Element> {
        let element = gst::ElementFactory::make(factory).build()?;
        self.pipeline()?.add(&element)?;
        Ok(element)
    }

    fn put_behind(&self, pad: &gst::Pad, element: &gst::Element) -> Result<()> {
        if element.parent().is_none() {
            self.pipeline()?.add(element)?;
        }
        pad.link(&element.static_pad("sink").context("no sink pad")?)?;
        element.sync_state_with_parent()?;
        Ok(())
    }

    fn fate(&self, modality: Modality, caps: &gst::Caps) -> Result<Fate> {
        let taken =
            |stream: &Stream| stream.modality == modality && matches!(stream.fate, Fate::Tagged(_));
        if !self.wanted.contains(&modality) || self.state().streams.iter().any(taken) {
            return Ok(Fate::Dropped);
        }
        if !decodable(caps) {
            return Ok(Fate::Undecodable);
        }
        Ok(Fate::Tagged(Arc::new(Branch {
            funnel: (self.open)(modality)?,
            eos: false.into(),
            silent: false.into(),
        })))
    }

    /// Decodes the stream of a pad into a branch.
    fn decode(&self, pad: &gst::Pad, branch: &Arc<Branch>) -> Result<()> {
        let decoder = self.add("decodebin")?;
        let funnel = branch.funnel.clone();
        decoder.connect_pad_added(move |_, decoded| {
            // A stream within the stream, e.g. the other eye, is not looked at.
            if funnel.num_sink_pads() == 0
                && let Some(sink) = funnel.request_pad_simple("sink_%u")
            {
                // A pad that cannot be linked fails its stream, which is reported on the bus.
                let _ = decoded.link(&sink);
            }
        });
        let input = self
            .queue
            .request_pad_simple("sink_%u")
            .context("the queue takes no other stream")?;
        let output = self
            .queue
            .static_pad(&input.name().replace("sink", "src"))
            .context("the queue has no source pad")?;
        let branch = branch.clone();
        output.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if info
                .event()
                .is_some_and(|event| event.type_() == gst::EventType::Eos)
            {
                branch.eos.store(true, Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
        output.link(&decoder.static_pad("sink").context("no sink pad")?)?;
        decoder.sync_state_with_parent()?;
        pad.link(&input)?;
        Ok(())
    }
}

/// What the header of a Flash Video file says that it has; nothing for other files.
fn promised(uri: &str) -> Vec<Modality> {
    let header = || {
        let (path, _) = glib::filename_from_uri(uri).ok()?;
        let mut header = [0; 5];
        std::fs::File::open(path)
            .ok()?
            .read_exact(&mut header)
            .ok()?;
        header.starts_with(b"FLV").then_some(header[4])
    };
    let flags = header().unwrap_or_default();
    [(Modality::Audio, 4), (Modality::Video, 1)]
        .into_iter()
        .filter(|(_, flag)| flags & flag != 0)
        .map(|(modality, _)| modality)
        .collect()
}

/// What a stream of these caps is, if it is either.
fn modality(caps: &gst::CapsRef) -> Option<Modality> {
    let structure = caps.structure(0)?;
    let name = match structure.name().as_str() {
        "application/x-rtp" => structure.get::<&str>("media").ok()?,
        name => name.split('/').next()?,
    };
    match name {
        "audio" => Some(Modality::Audio),
        "video" | "image" => Some(Modality::Video),
        _ => None,
    }
}

/// The demuxer that GStreamer would choose; `None` when it would choose something else.
fn demuxer(caps: &gst::Caps) -> Option<gst::ElementFactory> {
    use gst::ElementFactoryType as Type;
    let all = gst::ElementFactory::factories_with_type(Type::DECODABLE, gst::Rank::MARGINAL);
    let best = all
        .into_iter()
        .filter(|factory| factory.can_sink_any_caps(caps))
        .max_by_key(|factory| factory.rank())?;
    let adds_pads = best.static_pad_templates().iter().any(|template| {
        template.direction() == gst::PadDirection::Src
            && template.presence() == gst::PadPresence::Sometimes
    });
    (best.has_type(Type::DEMUXER) && adds_pads).then_some(best)
}

/// Whether there is a decoder for these caps, or for what a parser or a depayloader makes of them.
fn decodable(caps: &gst::Caps) -> bool {
    use gst::ElementFactoryType as Type;
    if caps
        .structure(0)
        .is_some_and(|caps| caps.name().ends_with("/x-raw"))
    {
        return true;
    }
    let factories = |kind| gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    let decoders: Vec<_> = factories(Type::DECODER).into_iter().collect();
    let decoded = |caps: &gst::Caps| {
        decoders
            .iter()
            .any(|decoder| decoder.can_sink_any_caps(caps))
    };
    if decoded(caps) {
        return true;
    }
    let between = factories(Type::PARSER)
        .into_iter()
        .chain(factories(Type::DEPAYLOADER))
        .chain(factories(Type::DEMUXER));
    between
        .filter(|factory| factory.can_sink_any_caps(caps))
        .any(|factory| {
            factory.static_pad_templates().iter().any(|template| {
                let caps = template.caps();
                template.direction() == gst::PadDirection::Src && (caps.is_any() || decoded(&caps))
            })
        })
}

/// Limits a video decoder to the threads and the units that it needs.
fn tune_decoder(element: &gst::Element, decoding: Decoding) {
    let Some(factory) = element.factory() else {
        return;
    };
    if !factory.has_type(gst::ElementFactoryType::DECODER) {
        return;
    }
    if decoding.threads > 0
        && let Some(property) = element.find_property("max-threads")
        && property.value_type() == i32::static_type()
    {
        element.set_property("max-threads", decoding.threads as i32);
    }
    if decoding.mode == Decode::All || !factory.has_type(gst::ElementFactoryType::MEDIA_VIDEO) {
        return;
    }
    let Some(sink) = element.static_pad("sink") else {
        return;
    };
    let longest = (decoding.mode == Decode::Auto).then_some(decoding.longest);
    let filter = Mutex::new(Filter::<gst::Buffer>::new(decoding.interval, longest));
    let replaying = AtomicBool::new(false);
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_FLUSH;
    sink.add_probe(mask, move |pad, info| {
        let filter = || filter.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(info.data, Some(gst::PadProbeData::Event(_))) {
            filter().reset();
        }
        let buffer = match info.data.take() {
            Some(gst::PadProbeData::Buffer(buffer)) if !replaying.load(Ordering::Relaxed) => buffer,
            other => {
                info.data = other;
                return gst::PadProbeReturn::Ok;
            }
        };
        let unit = Unit {
            time: buffer.pts().or(buffer.dts()).map(gst::ClockTime::nseconds),
            // Headers are needed whatever comes after them.
            delta: buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
                && !buffer.flags().contains(gst::BufferFlags::HEADER),
        };
        let own = buffer.as_ptr();
        let mut passed = filter().push(unit, buffer);
        let last = passed.pop_if(|last| last.as_ptr() == own);
        // What was held back goes first, through this same pad.
        replaying.store(true, Ordering::Relaxed);
        let replayed = passed
            .into_iter()
            .try_for_each(|held| pad.chain(held).map(drop));
        replaying.store(false, Ordering::Relaxed);
        match (replayed, last) {
            (Ok(()), Some(buffer)) => {
                info.data = Some(gst::PadProbeData::Buffer(buffer));
                gst::PadProbeReturn::Ok
            }
            (replayed, _) => {
                info.flow_res = replayed.map(|()| gst::FlowSuccess::Ok);
                gst::PadProbeReturn::Handled
            }
        }
    });
}
