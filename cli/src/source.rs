// SPDX-License-Identifier: MPL-2.0

//! From a URI to the streams that are tagged: GStreamer's own elements read, demultiplex and parse, and the chosen
//! streams go to `instrumenttagger`, still encoded.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gst::{glib, prelude::*};

use crate::args::Modality;
use crate::extent::Extent;

/// How long streams that have ended may be followed by others, as in chained Ogg files.
const FOLLOWED: Duration = Duration::from_millis(50);
/// The same for a stream beside which others go on.
const FOLLOWED_ALONE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Source(Arc<Shared>);

struct Shared {
    pipeline: glib::WeakRef<gst::Pipeline>,
    tagger: gst::Element,
    wanted: Vec<Modality>,
    extent: Extent,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether anything was found behind the source.
    begun: bool,
    /// Streams that wait for the others of their container.
    waiting: Vec<(gst::Pad, gst::PadProbeId)>,
    streams: Vec<Stream>,
    /// Streams of other kinds that have not ended, and those that are being placed.
    open: usize,
    /// When the latest stream ended.
    ended: Option<Instant>,
}

struct Stream {
    /// The pad that brings it, while it is there.
    pad: Option<gst::Pad>,
    modality: Modality,
    caps: gst::Caps,
    fate: Fate,
    ended: Arc<AtomicBool>,
}

/// What becomes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Tagged,
    /// GStreamer has no decoder for it.
    Undecodable,
    Encrypted,
    /// It is not asked for, or another of its kind is tagged.
    Dropped,
}

impl State {
    /// Whether all streams have ended, and none follows.
    fn is_over(&self) -> bool {
        let is_empty = |(pad, _): &(gst::Pad, _)| pad.pad_flags().contains(gst::PadFlags::EOS);
        let ended = self.open == 0
            && self.streams.iter().all(Stream::has_ended)
            && self.waiting.iter().all(is_empty);
        ended && self.ended.is_some_and(|since| since.elapsed() > FOLLOWED)
    }
}

impl Stream {
    fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

impl Source {
    /// Puts the elements that read `uri` into `pipeline`, whose `tagger` gets the `wanted` streams.
    pub fn add(
        pipeline: &gst::Pipeline,
        uri: &str,
        tagger: &gst::Element,
        wanted: Vec<Modality>,
        extent: Extent,
    ) -> Result<Self> {
        let reader = gst::ElementFactory::make("urisourcebin")
            .name("reader")
            .property("uri", uri)
            .build()?;
        pipeline.add(&reader)?;
        let source = Self(Arc::new(Shared {
            pipeline: pipeline.downgrade(),
            tagger: tagger.clone(),
            wanted,
            extent,
            state: Mutex::default(),
        }));
        let own = source.clone();
        reader.connect_pad_added(move |_, pad| own.guard(|own| own.parse(pad)));
        Ok(source)
    }

    /// Why nothing of it is tagged, if that is so; all streams are known by now.
    pub fn check(&self) -> Result<()> {
        let state = self.0.state();
        let any = |fate| state.streams.iter().find(|stream| stream.fate == fate);
        if any(Fate::Tagged).is_some() {
            return Ok(());
        }
        if any(Fate::Encrypted).is_some() {
            bail!("is encrypted (DRM), and can be tagged only after decryption");
        }
        if let Some(stream) = any(Fate::Undecodable) {
            bail!("cannot be decoded: {}", no_decoder(&stream.caps));
        }
        if let Some(stream) = any(Fate::Dropped) {
            let modality = stream.modality.name();
            bail!("has only {modality}, and --without {modality} leaves nothing to tag");
        }
        Ok(())
    }

    /// Whether anything is tagged.
    pub fn is_tagged(&self) -> bool {
        let state = self.0.state();
        state
            .streams
            .iter()
            .any(|stream| stream.fate == Fate::Tagged)
    }

    /// What is not tagged though it was asked for, each a sentence.
    pub fn notes(&self) -> Vec<String> {
        let state = self.0.state();
        let mut notes = Vec::new();
        for &modality in &self.0.wanted {
            let name = modality.name();
            let own = || {
                state
                    .streams
                    .iter()
                    .filter(|stream| stream.modality == modality)
            };
            for stream in own() {
                let why = match stream.fate {
                    Fate::Undecodable => no_decoder(&stream.caps),
                    Fate::Encrypted => "it is encrypted (DRM)".into(),
                    Fate::Tagged | Fate::Dropped => continue,
                };
                notes.push(format!("its {name} is not tagged: {why}"));
            }
            let dropped = own().filter(|stream| stream.fate == Fate::Dropped).count();
            if dropped > 0 {
                notes.push(format!(
                    "only one of its {} {name} streams is tagged",
                    dropped + 1
                ));
            }
        }
        notes
    }

    /// Whether everything was read, and nothing of it is tagged.
    pub fn is_over(&self) -> bool {
        let state = self.0.state();
        let is_tagged = |stream: &Stream| stream.fate == Fate::Tagged;
        state.begun && !state.streams.iter().any(is_tagged) && state.is_over()
    }

    /// Ends the streams of the tagger whose own have ended and are not followed by others.
    pub fn end_streams(&self) {
        let over: Vec<_> = {
            let state = self.0.state();
            let Some(since) = state.ended.map(|since| since.elapsed()) else {
                return;
            };
            let all = state.is_over();
            let patience = if all { FOLLOWED } else { FOLLOWED_ALONE };
            let over = |modality: &&Modality| {
                let mut own = state
                    .streams
                    .iter()
                    .filter(|stream| stream.modality == **modality && stream.fate == Fate::Tagged);
                own.all(Stream::has_ended)
            };
            if since < patience {
                return;
            }
            self.0.wanted.iter().filter(over).copied().collect()
        };
        for modality in over {
            self.0.end(modality);
        }
    }

    /// Ends all streams of the tagger: nothing more is read.
    pub fn stop(&self) {
        for &modality in &self.0.wanted {
            self.0.end(modality);
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

    /// Finds out what comes from a pad of the reader.
    fn parse(&self, pad: &gst::Pad) -> Result<()> {
        let parser = gst::ElementFactory::make("parsebin").build()?;
        let own = self.clone();
        parser.connect_pad_added(move |_, pad| {
            own.0.state().begun = true;
            // Data comes when all streams of the container are there: now one can choose.
            let data = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
            let chooser = own.clone();
            let hold = pad.add_probe(gst::PadProbeType::BLOCK | data, move |pad, _| {
                chooser.guard(|own| own.choose(pad));
                gst::PadProbeReturn::Remove
            });
            if let Some(hold) = hold {
                own.0.state().waiting.push((pad.clone(), hold));
            }
        });
        let own = self.clone();
        parser.connect_pad_removed(move |_, pad| own.0.forget(pad));
        self.0.pipeline()?.add(&parser)?;
        parser.sync_state_with_parent()?;
        pad.link(
            &parser
                .static_pad("sink")
                .context("parsebin has no sink pad")?,
        )?;
        Ok(())
    }

    /// Decides about the streams that wait, among them that of `first`, which goes on by itself.
    fn choose(&self, first: &gst::Pad) -> Result<()> {
        let mut waiting = {
            let mut state = self.0.state();
            state.open += state.waiting.len();
            std::mem::take(&mut state.waiting)
        };
        // What the container would play comes first, and pictures of a cover last.
        waiting.sort_by_key(|(pad, _)| (is_cover(pad), !is_default(pad)));
        for (pad, _) in &waiting {
            let placed = self.0.place(pad);
            self.0.state().open -= 1;
            placed?;
        }
        for (pad, hold) in waiting {
            if pad != *first {
                pad.remove_probe(hold);
            }
        }
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pipeline(&self) -> Result<gst::Pipeline> {
        self.pipeline.upgrade().context("the pipeline is gone")
    }

    /// Sends the stream of `pad` to the tagger, or nowhere.
    fn place(self: &Arc<Self>, pad: &gst::Pad) -> Result<()> {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let empty = pad.sticky_event::<gst::event::Eos>(0).is_some();
        let ended = Arc::new(AtomicBool::new(empty));
        if empty {
            self.state().ended = Some(Instant::now());
        }
        let modality = modality(&caps);
        let is_other = modality.is_none() && !empty;
        if is_other {
            self.state().open += 1;
        }
        let (own, flag) = (Arc::downgrade(self), ended.clone());
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            let is_end = |event: &gst::Event| event.type_() == gst::EventType::Eos;
            if !info.event().is_some_and(is_end) {
                return gst::PadProbeReturn::Ok;
            }
            let again = flag.swap(true, Relaxed);
            if let Some(own) = own.upgrade() {
                let mut state = own.state();
                state.ended = Some(Instant::now());
                if is_other && !again {
                    state.open -= 1;
                }
            }
            // Another stream may follow: see `end_streams`.
            info.data = None;
            gst::PadProbeReturn::Handled
        });
        let fate = modality.map_or(Fate::Dropped, |modality| self.fate(modality, &caps));
        if fate == Fate::Tagged
            && let Some(modality) = modality
        {
            self.tag(pad, modality)?;
        } else {
            let sink = gst::ElementFactory::make("fakesink")
                .property("sync", false)
                .property("async", false)
                .build()?;
            self.pipeline()?.add(&sink)?;
            sink.sync_state_with_parent()?;
            pad.link(&sink.static_pad("sink").context("a sink has a pad")?)?;
        }
        if let Some(modality) = modality {
            self.state().streams.push(Stream {
                pad: Some(pad.clone()),
                modality,
                caps,
                fate,
                ended,
            });
        }
        Ok(())
    }

    fn fate(&self, modality: Modality, caps: &gst::Caps) -> Fate {
        let taken = |stream: &Stream| {
            stream.modality == modality && stream.fate == Fate::Tagged && !stream.has_ended()
        };
        if !self.wanted.contains(&modality) || self.state().streams.iter().any(taken) {
            Fate::Dropped
        } else if is_encrypted(caps) {
            Fate::Encrypted
        } else if !is_decodable(caps) {
            Fate::Undecodable
        } else {
            Fate::Tagged
        }
    }

    /// Links `pad` to the tagger, in place of a stream that it follows.
    fn tag(&self, pad: &gst::Pad, modality: Modality) -> Result<()> {
        let name = modality.name();
        let sink = match self.tagger.static_pad(name) {
            Some(sink) => {
                if let Some(before) = sink.peer() {
                    before.unlink(&sink)?;
                }
                sink
            }
            None => {
                let sink = self.tagger.request_pad_simple(name);
                let sink = sink.context("instrumenttagger gives no pad")?;
                self.extent.watch(&sink);
                sink
            }
        };
        pad.link(&sink)?;
        Ok(())
    }

    /// A pad went.
    fn forget(&self, pad: &gst::Pad) {
        let mut state = self.state();
        state.ended = Some(Instant::now());
        for stream in &mut state.streams {
            if stream.pad.as_ref() == Some(pad) {
                stream.ended.store(true, Relaxed);
                stream.pad = None;
            }
        }
    }

    /// Ends the tagger's stream of that modality.
    fn end(&self, modality: Modality) {
        if let Some(sink) = self.tagger.static_pad(modality.name())
            && !sink.pad_flags().contains(gst::PadFlags::EOS)
        {
            sink.send_event(gst::event::Eos::new());
        }
    }
}

/// What a stream of these caps is, if it is either.
fn modality(caps: &gst::CapsRef) -> Option<Modality> {
    let structure = caps.structure(0)?;
    let name = match structure.name().as_str() {
        "application/x-rtp" => structure.get::<&str>("media").ok()?,
        "application/x-cenc" | "application/x-cbcs" => {
            structure.get::<&str>("original-media-type").ok()?
        }
        name => name,
    };
    match name.split('/').next()? {
        "audio" => Some(Modality::Audio),
        "video" | "image" => Some(Modality::Video),
        _ => None,
    }
}

fn is_encrypted(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|caps| {
        matches!(
            caps.name().as_str(),
            "application/x-cenc" | "application/x-cbcs"
        )
    })
}

/// Whether a stream is a picture, e.g. of a cover.
fn is_cover(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps();
    caps.is_some_and(|caps| {
        caps.structure(0)
            .is_some_and(|caps| caps.name().starts_with("image/"))
    })
}

/// Whether the container says that a stream is one to play.
fn is_default(pad: &gst::Pad) -> bool {
    let start = pad.sticky_event::<gst::event::StreamStart>(0);
    start.is_some_and(|start| start.stream_flags().contains(gst::StreamFlags::SELECT))
}

/// Why a stream of these caps has no decoder, as a part of a sentence.
fn no_decoder(caps: &gst::CapsRef) -> String {
    let name = caps
        .structure(0)
        .map_or("unknown data", |caps| caps.name().as_str());
    format!("GStreamer has no decoder for {name}")
}

/// Whether there is a decoder for these caps, or for what a parser or a depayloader makes of them.
fn is_decodable(caps: &gst::Caps) -> bool {
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
        .chain(factories(Type::DEPAYLOADER));
    between
        .filter(|factory| factory.can_sink_any_caps(caps))
        .any(|factory| {
            factory.static_pad_templates().iter().any(|template| {
                let caps = template.caps();
                template.direction() == gst::PadDirection::Src && (caps.is_any() || decoded(&caps))
            })
        })
}
