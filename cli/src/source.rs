// SPDX-License-Identifier: MPL-2.0

//! From a URI to the streams that are tagged: GStreamer's own elements read, demultiplex and parse, and the chosen
//! streams go to `instrumenttagger`, still encoded.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gst::{glib, prelude::*};
use gst_base::functions::type_find_helper_for_data;

use crate::args::Modality;
use crate::extent::Extent;
use crate::inputs::path_of;
use crate::programs::Programs;
use crate::streams::{
    caps_of, describe, is_cover, is_decodable, is_default, is_encrypted, modality, modality_of,
    names, place, undecodable, whole_decoder,
};

/// Bytes by which the type of a file is found.
const HEAD: u64 = 65_536;
/// How long streams that have ended may be followed by others, as in chained Ogg files.
const FOLLOWED: Duration = Duration::from_millis(50);
/// The same for a stream beside which others go on.
const FOLLOWED_ALONE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Source(Arc<Shared>);

struct Shared {
    pipeline: glib::WeakRef<gst::Pipeline>,
    tagger: gst::Element,
    wanted: Wanted,
    extent: Extent,
    state: Mutex<State>,
    /// Held while it is decided about streams.
    choosing: Mutex<()>,
    programs: Mutex<Programs>,
    arrived: Arrived,
}

/// What of an input is tagged.
#[derive(Clone)]
pub struct Wanted {
    pub modalities: Vec<Modality>,
    /// Tracks that were asked for: their numbers from 1, languages or titles.
    pub audio: Option<String>,
    pub video: Option<String>,
    /// The number of a program.
    pub program: Option<u16>,
    /// How long nothing may arrive.
    pub timeout: Duration,
}

impl Wanted {
    fn track(&self, modality: Modality) -> Option<&str> {
        match modality {
            Modality::Audio => self.audio.as_deref(),
            Modality::Video => self.video.as_deref(),
        }
    }
}

/// What came from a server.
#[derive(Default)]
struct Arrived {
    /// Bytes that the source received.
    received: AtomicU64,
    /// Bytes that left the reader, the last of them when.
    passed: Mutex<(u64, Option<Instant>)>,
    /// Whether they are all.
    ended: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Whether anything was found behind the source.
    begun: bool,
    /// Streams that wait for the others of their container.
    waiting: Vec<(gst::Pad, gst::PadProbeId)>,
    /// Streams that are linked to the tagger as soon as data comes.
    held: Vec<(gst::Pad, Modality)>,
    streams: Vec<Stream>,
    /// Stream time at the running time 0.
    origin: Option<i128>,
    /// Streams of other kinds that have not ended, and those that are being placed.
    open: usize,
    /// When the latest stream ended.
    ended: Option<Instant>,
    /// Why the input is not tagged.
    refusal: Option<String>,
}

struct Stream {
    /// The pad that brings it, while it is there.
    pad: Option<gst::Pad>,
    modality: Modality,
    caps: gst::Caps,
    fate: Fate,
    ended: Arc<AtomicBool>,
    /// The program and the PID, of a stream from a transport stream.
    place: Option<(u16, u16)>,
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
        wanted: Wanted,
        extent: Extent,
    ) -> Result<Self> {
        let is_file = uri
            .get(..5)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"));
        let reader = if is_file {
            gst::Element::make_from_uri(gst::URIType::Src, uri, Some("reader"))?
        } else {
            gst::ElementFactory::make("urisourcebin")
                .name("reader")
                .property("uri", uri)
                .build()?
        };
        // The tagger has to be ready first: see `start`.
        reader.set_locked_state(true);
        pipeline.add(&reader)?;
        let source = Self(Arc::new(Shared {
            pipeline: pipeline.downgrade(),
            tagger: tagger.clone(),
            wanted,
            extent,
            state: Mutex::default(),
            choosing: Mutex::default(),
            programs: Mutex::default(),
            arrived: Arrived::default(),
        }));
        if is_file {
            return Ok(source);
        }
        let own = source.clone();
        reader.connect_pad_added(move |_, pad| own.guard(|own| own.parse(pad, false)));
        let own = source.clone();
        reader.connect("source-setup", false, move |values| {
            if let Ok(element) = values[1].get::<gst::Element>() {
                own.0.receive(&element);
            }
            None
        });
        Ok(source)
    }

    /// Begins to read, when the pipeline plays.
    pub fn start(&self) {
        self.guard(|own| {
            let reader = own.0.pipeline()?.by_name("reader");
            let reader = reader.context("there is no reader")?;
            reader.set_locked_state(false);
            if let Some(pad) = reader.static_pad("src") {
                reader.set_state(gst::State::Ready)?;
                own.parse(&pad, true)?;
            }
            // Failures are reported on the bus.
            let _ = reader.sync_state_with_parent();
            Ok(())
        });
    }

    /// Whether the input is not a file, and nothing arrives from where it is.
    pub fn is_silent(&self) -> bool {
        let is_remote = self.0.pipeline().is_ok_and(|pipeline| {
            let reader = pipeline.by_name("reader");
            reader.is_some_and(|reader| reader.is::<gst::Bin>())
        });
        let arrived = &self.0.arrived;
        let (passed, latest) = *lock(&arrived.passed);
        is_remote
            && !arrived.ended.load(Relaxed)
            && arrived.received.load(Relaxed) <= passed
            && latest.is_none_or(|latest| latest.elapsed() >= self.0.wanted.timeout)
    }

    /// Whether what reads has stopped before it found a stream. parsebin swallows errors that come while it plugs the
    /// element. One that has only read what is in front of the media, such as an ID3 tag, hands over to another.
    pub fn has_given_up(&self) -> bool {
        let Some(pipeline) = self.0.pipeline.upgrade() else {
            return false;
        };
        let elements = pipeline.iterate_recurse().into_iter().flatten();
        let tasks: Vec<_> = elements
            .filter(|element| !is_made_by(element, "typefind"))
            .flat_map(|element| element.sink_pads())
            .map(|pad| pad.task_state())
            .collect();
        !self.0.state().begun
            && tasks.contains(&gst::TaskState::Paused)
            && !tasks.contains(&gst::TaskState::Started)
    }

    /// Whether it is being decided about streams, or their models are opened.
    pub fn is_choosing(&self) -> bool {
        matches!(self.0.choosing.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Whether anything could be read.
    pub fn has_arrived(&self) -> bool {
        let arrived = &self.0.arrived;
        arrived.received.load(Relaxed) > 0 || lock(&arrived.passed).0 > 0
    }

    /// Whether what was asked for is there.
    ///
    /// # Errors
    /// When it is known that a track or a program is missing, or that the input cannot be read as it is.
    pub fn check_choice(&self) -> Result<()> {
        self.0.check_program()?;
        match &self.0.state().refusal {
            Some(refusal) => bail!("{refusal}"),
            None => Ok(()),
        }
    }

    /// Why nothing of it is tagged, if that is so; all streams are known by now.
    pub fn check(&self) -> Result<()> {
        self.check_choice()?;
        let state = self.0.state();
        let any = |fate| state.streams.iter().find(|stream| stream.fate == fate);
        if any(Fate::Tagged).is_some() {
            return Ok(());
        }
        if any(Fate::Encrypted).is_some() {
            bail!("is encrypted (DRM), and can be tagged only after decryption");
        }
        if let Some(stream) = any(Fate::Undecodable) {
            bail!("cannot be decoded: {}", undecodable(&stream.caps));
        }
        if let Some(stream) = any(Fate::Dropped) {
            let modality = stream.modality.name();
            bail!("has only {modality}, and --without {modality} leaves nothing to tag");
        }
        drop(state);
        if let Some(note) = self.0.program_notes().first() {
            bail!("cannot be decoded: {note}");
        }
        Ok(())
    }

    /// Whether it has streams that are tagged, or would be if they had data.
    pub fn has_streams(&self) -> bool {
        let state = self.0.state();
        let mut streams = state.streams.iter();
        streams.any(|stream| stream.fate == Fate::Tagged) || !state.waiting.is_empty()
    }

    /// What is not tagged though it was asked for, each a sentence.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let state = self.0.state();
        for &modality in &self.0.wanted.modalities {
            let name = modality.name();
            let own = || {
                state
                    .streams
                    .iter()
                    .filter(|stream| stream.modality == modality)
            };
            for stream in own() {
                let why = match stream.fate {
                    Fate::Undecodable => undecodable(&stream.caps),
                    Fate::Encrypted => "it is encrypted (DRM)".into(),
                    Fate::Tagged | Fate::Dropped => continue,
                };
                notes.push(format!("its {name} is not tagged: {why}"));
            }
            let dropped = own().filter(|stream| stream.fate == Fate::Dropped).count();
            if dropped > 0 && self.0.wanted.track(modality).is_none() {
                notes.push(format!(
                    "only one of its {} {name} streams is tagged: choose another with --{name}-track",
                    dropped + 1
                ));
            }
        }
        drop(state);
        notes.extend(self.0.program_notes());
        notes
    }

    /// Whether everything was read, and nothing of it is tagged.
    pub fn is_over(&self) -> bool {
        let mut state = self.0.state();
        let is_tagged = |stream: &Stream| stream.fate == Fate::Tagged;
        if !state.begun || state.streams.iter().any(is_tagged) {
            return false;
        }
        if state.ended.is_none() && state.streams.is_empty() && state.waiting.iter().all(is_empty) {
            // Headers without media.
            state.ended = Some(Instant::now());
        }
        state.is_over()
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
            self.0
                .wanted
                .modalities
                .iter()
                .filter(over)
                .copied()
                .collect()
        };
        for modality in over {
            self.0.end(modality);
        }
    }

    /// Ends all streams of the tagger: nothing more is read. A stream that is stuck is left behind.
    pub fn stop(&self) {
        for &modality in &self.0.wanted.modalities {
            let own = self.clone();
            std::thread::spawn(move || own.0.end(modality));
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
    fn parse(&self, pad: &gst::Pad, is_file: bool) -> Result<()> {
        self.0.look(pad);
        let file_type = is_file.then(|| self.0.file_type()).flatten();
        let decoder = file_type.as_ref().and_then(whole_decoder);
        let Some(decoder) = decoder else {
            return self.demultiplex(pad, is_file);
        };
        let decoder = decoder.create().build()?;
        self.0.pipeline()?.add(&decoder)?;
        self.wait(&decoder.static_pad("src").context("a decoder has pads")?);
        let sink = decoder.static_pad("sink");
        pad.link(&sink.context("a decoder has pads")?)?;
        // Failures are reported on the bus.
        let _ = decoder.sync_state_with_parent();
        Ok(())
    }

    /// Puts parsebin behind a pad of the reader.
    fn demultiplex(&self, pad: &gst::Pad, is_file: bool) -> Result<()> {
        let parser = gst::ElementFactory::make("parsebin").build()?;
        let own = Arc::downgrade(&self.0);
        select(&parser, move |factory| match own.upgrade() {
            Some(own) => own.accepts(factory, is_file),
            None => false,
        });
        let program = self.0.wanted.program;
        if let Some(bin) = parser.downcast_ref::<gst::Bin>() {
            bin.connect_element_added(move |bin, element| {
                if !is_made_by(element, "tsdemux") {
                    return;
                }
                // It gives new pads to a program that changes, in place of keeping silent about added streams.
                bin.unset_bin_flags(gst::BinFlags::STREAMS_AWARE);
                if let Some(program) = program {
                    element.set_property("program-number", i32::from(program));
                }
            });
        }
        let own = self.clone();
        parser.connect_pad_added(move |_, pad| own.wait(pad));
        let own = self.clone();
        parser.connect_pad_removed(move |_, pad| own.0.forget(pad));
        self.0.pipeline()?.add(&parser)?;
        let sink = parser.static_pad("sink");
        let sink = sink.context("parsebin has no sink pad")?;
        pad.link(&sink)?;
        // Failures are reported on the bus.
        let _ = parser.sync_state_with_parent();
        Ok(())
    }

    /// Keeps the stream of `pad` until data comes: then all streams of the container are there, and one can choose.
    fn wait(&self, pad: &gst::Pad) {
        let data = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        let chooser = self.clone();
        let hold = pad.add_probe(gst::PadProbeType::BLOCK | data, move |pad, _| {
            chooser.guard(|own| own.choose(pad));
            gst::PadProbeReturn::Remove
        });
        let mut state = self.0.state();
        state.begun = true;
        state.waiting.extend(hold.map(|hold| (pad.clone(), hold)));
    }

    /// Decides about the streams that wait, among them that of `first`, which goes on by itself.
    fn choose(&self, first: &gst::Pad) -> Result<()> {
        // Whoever comes second finds everything decided.
        let _choosing = lock(&self.0.choosing);
        if self.0.link_held(first)? {
            return Ok(());
        }
        let mut waiting = {
            let mut state = self.0.state();
            state.open += state.waiting.len();
            std::mem::take(&mut state.waiting)
        };
        let refused = self.0.refuse(&waiting);
        // What the container would play comes first, and pictures of a cover last.
        waiting.sort_by_key(|(pad, _)| (is_cover(pad), !is_default(pad)));
        for (pad, _) in &waiting {
            let placed = self.0.place(pad, refused.contains(pad));
            self.0.state().open -= 1;
            placed?;
        }
        for (pad, hold) in waiting {
            if pad == *first {
                self.0.link_held(&pad)?;
            } else if !self.0.state().held.iter().any(|(held, _)| *held == pad) {
                pad.remove_probe(hold);
            }
        }
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn pipeline(&self) -> Result<gst::Pipeline> {
        self.pipeline.upgrade().context("the pipeline is gone")
    }

    /// Counts what `element` receives from a server.
    fn receive(self: &Arc<Self>, element: &gst::Element) {
        if is_made_by(element, "souphttpsrc") {
            // It is noticed here first.
            let seconds = (self.wanted.timeout.as_secs() + 5).clamp(15, 3600);
            element.set_property("timeout", seconds as u32);
        }
        if let Some(pad) = element.static_pad("src") {
            let own = Arc::downgrade(self);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let (Some(own), Some(buffer)) = (own.upgrade(), info.buffer()) {
                    own.arrived
                        .received
                        .fetch_add(buffer.size() as u64, Relaxed);
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// Looks at what comes from `pad` of the reader.
    fn look(self: &Arc<Self>, pad: &gst::Pad) {
        let own = Arc::downgrade(self);
        let is_unknown = AtomicBool::new(true);
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |_, info| {
            let Some(own) = own.upgrade() else {
                return gst::PadProbeReturn::Remove;
            };
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    let mut passed = lock(&own.arrived.passed);
                    *passed = (passed.0 + buffer.size() as u64, Some(Instant::now()));
                    if is_unknown.load(Relaxed)
                        && let Ok(data) = buffer.map_readable()
                    {
                        is_unknown.store(lock(&own.programs).look(&data), Relaxed);
                    }
                }
                Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
                    own.arrived.ended.store(true, Relaxed);
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// The pads among those that wait whose tracks were not asked for.
    fn refuse(&self, waiting: &[(gst::Pad, gst::PadProbeId)]) -> Vec<gst::Pad> {
        let mut refused = Vec::new();
        for &modality in &self.wanted.modalities {
            let Some(wanted) = self.wanted.track(modality) else {
                continue;
            };
            let is_own = |pad: &gst::Pad| modality_of(pad) == Some(modality);
            let tracks: Vec<_> = waiting
                .iter()
                .map(|(pad, _)| pad)
                .filter(|pad| is_own(pad))
                .collect();
            let mut state = self.state();
            let before = state
                .streams
                .iter()
                .filter(|stream| stream.modality == modality && !stream.has_ended())
                .count();
            let is_chosen = |number: usize, pad: &gst::Pad| {
                wanted.parse() == Ok(before + number + 1)
                    || names(pad)
                        .iter()
                        .any(|name| name.eq_ignore_ascii_case(wanted))
            };
            let chosen = (0..tracks.len()).find(|&number| is_chosen(number, tracks[number]));
            if chosen.is_none() && before == 0 && !tracks.is_empty() {
                let name = modality.name();
                let list: Vec<_> = (1..)
                    .zip(&tracks)
                    .map(|(number, pad)| describe(number, pad))
                    .collect();
                state.refusal = Some(format!(
                    "has no {name} track `{wanted}`: its {name} tracks are {}",
                    list.join(", ")
                ));
            }
            let others = (0..tracks.len()).filter(|&number| Some(number) != chosen);
            refused.extend(others.map(|number| tracks[number].clone()));
        }
        refused
    }

    /// Whether the elements that read an input may be from `factory`.
    fn accepts(&self, factory: &gst::ElementFactory, is_file: bool) -> bool {
        // The newer ones of GStreamer 1.22 know HTTP alone.
        let other = match factory.name().as_str() {
            "hlsdemux2" => "hlsdemux",
            "dashdemux2" => "dashdemux",
            // It crashes when it cannot seek.
            "mxfdemux" if !is_file => {
                let refusal =
                    "is MXF from a server, which GStreamer cannot read: download it first";
                self.state().refusal = Some(refusal.into());
                return false;
            }
            _ => return true,
        };
        !is_file || gst::ElementFactory::find(other).is_none()
    }

    /// The type of the file by its first bytes.
    fn file_type(&self) -> Option<gst::Caps> {
        let reader = self.pipeline().ok()?.by_name("reader")?;
        let uri = reader.dynamic_cast_ref::<gst::URIHandler>()?.uri()?;
        let path = path_of(&uri)?;
        // What is read from a pipe is gone.
        let mut file = path.is_file().then(|| File::open(path).ok())??;
        let mut head = Vec::new();
        file.by_ref().take(HEAD).read_to_end(&mut head).ok()?;
        // The type is that of what follows an ID3 tag, whose length has 7 bits a byte.
        if let [b'I', b'D', b'3', _, _, _, length @ ..] = head.as_slice()
            && let Some(length) = length.first_chunk::<4>()
        {
            let length = length
                .iter()
                .fold(0, |sum, byte| sum << 7 | u64::from(*byte));
            file.seek(SeekFrom::Start(10 + length)).ok()?;
            head.clear();
            file.take(HEAD).read_to_end(&mut head).ok()?;
        }
        let found = type_find_helper_for_data(None::<&gst::Object>, &head);
        found.ok().map(|(caps, _)| caps)
    }

    /// The segment `event`, with stream times that go on where a demultiplexer begins anew with them.
    fn go_on(&self, event: &gst::event::Segment) -> Option<gst::Event> {
        let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
        let nanoseconds =
            |time: Option<gst::ClockTime>| time.map(|time| i128::from(time.nseconds()));
        let (time, base) = (nanoseconds(segment.time())?, nanoseconds(segment.base())?);
        let origin = *self.state().origin.get_or_insert(time - base);
        let next = u64::try_from(origin + base).ok()?;
        if i128::from(next) <= time {
            return None;
        }
        let mut segment = segment.clone();
        segment.set_time(gst::ClockTime::from_nseconds(next));
        let moved = gst::event::Segment::builder(&segment).seqnum(event.seqnum());
        Some(moved.build())
    }

    /// Whether the program that was asked for is there.
    fn check_program(&self) -> Result<()> {
        let numbers = lock(&self.programs).numbers();
        if let Some(wanted) = self.wanted.program
            && !numbers.is_empty()
            && !numbers.contains(&wanted)
        {
            bail!(
                "has no program {wanted}: its programs are {}",
                list(&numbers)
            );
        }
        Ok(())
    }

    /// What of a transport stream is not tagged since the demultiplexer does not know it, or it is of another program.
    fn program_notes(&self) -> Vec<String> {
        let places: Vec<_> = {
            let state = self.state();
            state
                .streams
                .iter()
                .filter_map(|stream| stream.place)
                .collect()
        };
        let programs = lock(&self.programs);
        let numbers = programs.numbers();
        let Some(&first) = numbers.first() else {
            return Vec::new();
        };
        let own = places.first().map_or(first, |place| place.0);
        let own = self.wanted.program.unwrap_or(own);
        let pids: Vec<_> = places.iter().map(|place| place.1).collect();
        let is_wanted = |modality: &Modality| self.wanted.modalities.contains(modality);
        let mut notes: Vec<_> = programs
            .unknown(own, &pids)
            .into_iter()
            .filter(|(modality, _)| modality.as_ref().is_none_or(is_wanted))
            .map(|(modality, what)| match modality {
                Some(modality) => format!(
                    "its {} is not tagged: GStreamer finds no {what} in transport streams",
                    modality.name()
                ),
                None => format!("{what} is not tagged"),
            })
            .collect();
        if numbers.len() > 1 && self.wanted.program.is_none() {
            notes.push(format!(
                "only program {own} of its programs {} is tagged: choose another with --program",
                list(&numbers)
            ));
        }
        notes
    }

    /// Sends the stream of `pad` to the tagger, or nowhere; `refused`: its track was not asked for.
    fn place(self: &Arc<Self>, pad: &gst::Pad, refused: bool) -> Result<()> {
        let caps = caps_of(pad);
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
            match info.event().map(|event| event.view()) {
                Some(gst::EventView::Eos(_)) => {}
                Some(gst::EventView::Segment(segment)) => {
                    let moved = own.upgrade().and_then(|own| own.go_on(segment));
                    if let Some(moved) = moved {
                        info.data = Some(gst::PadProbeData::Event(moved));
                    }
                    return gst::PadProbeReturn::Ok;
                }
                _ => return gst::PadProbeReturn::Ok,
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
        let fate = match modality {
            Some(modality) if !refused => self.fate(modality, &caps),
            _ => Fate::Dropped,
        };
        if fate == Fate::Tagged
            && let Some(modality) = modality
        {
            self.sink(modality)?;
            // It is linked when data comes: the caps of a stream that is late are not those of its parser yet.
            self.state().held.push((pad.clone(), modality));
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
                place: place(pad),
            });
        }
        Ok(())
    }

    fn fate(&self, modality: Modality, caps: &gst::Caps) -> Fate {
        let taken = |stream: &Stream| {
            stream.modality == modality && stream.fate == Fate::Tagged && !stream.has_ended()
        };
        if !self.wanted.modalities.contains(&modality) || self.state().streams.iter().any(taken) {
            Fate::Dropped
        } else if is_encrypted(caps) {
            Fate::Encrypted
        } else if !is_decodable(caps) {
            Fate::Undecodable
        } else {
            Fate::Tagged
        }
    }

    /// The pad of the tagger for that modality.
    fn sink(&self, modality: Modality) -> Result<gst::Pad> {
        let name = modality.name();
        if let Some(sink) = self.tagger.static_pad(name) {
            return Ok(sink);
        }
        let sink = self.tagger.request_pad_simple(name);
        let sink = sink.context("instrumenttagger gives no pad")?;
        self.extent.watch(&sink);
        Ok(sink)
    }

    /// Links `pad` to the tagger if it waits for that, in place of a stream that it follows. Returns whether it did.
    fn link_held(&self, pad: &gst::Pad) -> Result<bool> {
        let modality = {
            let mut state = self.state();
            let Some(index) = state.held.iter().position(|(held, _)| held == pad) else {
                return Ok(false);
            };
            state.held.swap_remove(index).1
        };
        if modality == Modality::Video {
            date_key_frames(pad);
        }
        let sink = self.sink(modality)?;
        if let Some(before) = sink.peer() {
            before.unlink(&sink)?;
        }
        pad.link(&sink)?;
        Ok(true)
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

/// Whether a stream that waits for its first data has ended.
fn is_empty((pad, _): &(gst::Pad, gst::PadProbeId)) -> bool {
    pad.pad_flags().contains(gst::PadFlags::EOS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives key frames that have only the time of decoding, as in AVI from a server, a time of presentation.
fn date_key_frames(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
            && buffer.pts().is_none()
            && !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
        {
            let time = buffer.dts();
            buffer.make_mut().set_pts(time);
        }
        gst::PadProbeReturn::Ok
    });
}

fn is_made_by(element: &gst::Element, factory: &str) -> bool {
    let own = element.factory();
    own.is_some_and(|own| own.name() == factory)
}

/// Has `parser` plug only elements that `accepts`.
fn select(
    parser: &gst::Element,
    accepts: impl Fn(&gst::ElementFactory) -> bool + Send + Sync + 'static,
) {
    parser.connect("autoplug-select", false, move |values| {
        let factory = values[3].get::<gst::ElementFactory>().ok()?;
        let result = if accepts(&factory) { "try" } else { "skip" };
        let type_ = glib::Type::from_name("GstAutoplugSelectResult")?;
        glib::EnumClass::with_type(type_)?.to_value_by_nick(result)
    });
}

fn list(numbers: &[u16]) -> String {
    let numbers: Vec<_> = numbers.iter().map(u16::to_string).collect();
    numbers.join(", ")
}
