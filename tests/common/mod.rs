// SPDX-License-Identifier: MPL-2.0

//! What the tests of the elements share.

#![allow(dead_code)] // each test file uses its own part

pub mod place;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_check::Harness;
use gstinstruments::meta::{self, Features, Kind, Tags};
use gstinstruments::model::{Modality, Model, Options};

/// A test fails when it has to wait longer than this.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Initialises GStreamer with the plugin, this tree's models, the test models and its ONNX Runtime.
pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        let models = format!("{0}/models:{0}/tests/data/models", root().display());
        // SAFETY: no other thread of this process runs yet, or reads the environment.
        unsafe {
            std::env::set_var("GST_INSTRUMENTS_MODEL_PATH", models);
            if std::env::var_os("ORT_DYLIB_PATH").is_none() {
                std::env::set_var("ORT_DYLIB_PATH", root().join(".runtime/libonnxruntime.so"));
            }
        }
        gst::init().unwrap();
        gstinstruments::plugin_register_static().unwrap();
    });
}

/// A time in milliseconds.
pub fn ms(milliseconds: u64) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(milliseconds)
}

/// An empty folder for the test `name`.
pub fn folder(name: &str) -> PathBuf {
    let file = env!("CARGO_CRATE_NAME");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{file}-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// What the bus said until the end of the stream, or the first error.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The tags with `clip` set or not, in order, and the name of the element.
    pub tags: Vec<(String, Tags, bool)>,
    /// The first error's text, with the element's name.
    pub error: Option<(String, String)>,
    /// The warnings' texts.
    pub warnings: Vec<String>,
    /// How many messages of melspec's there were.
    pub features: usize,
}

impl Outcome {
    /// The clip-level tags of the element `name`.
    pub fn clip(&self, name: &str) -> Option<&Tags> {
        self.tags
            .iter()
            .find(|(element, _, clip)| element == name && *clip)
            .map(|(_, tags, _)| tags)
    }

    /// The tags over time of the element `name`.
    pub fn windows(&self, name: &str) -> Vec<&Tags> {
        self.tags
            .iter()
            .filter(|(element, _, clip)| element == name && !clip)
            .map(|(_, tags, _)| tags)
            .collect()
    }

    /// The text of the error that must have come.
    pub fn error_text(&self) -> &str {
        &self.error.as_ref().expect("an error").1
    }

    /// Reads `message`; true when it is the last: the end of the stream, or an error.
    pub fn read(&mut self, message: &gst::Message) -> bool {
        let source = message
            .src()
            .map(|src| src.name().to_string())
            .unwrap_or_default();
        match message.view() {
            gst::MessageView::Eos(_) => return true,
            gst::MessageView::Error(error) => {
                let text = format!("{} {}", error.error(), error.debug().unwrap_or_default());
                self.error.get_or_insert((source, text));
                return true;
            }
            gst::MessageView::Warning(warning) => self.warnings.push(warning.error().to_string()),
            gst::MessageView::Element(_) => {
                if let Some((tags, clip)) = Tags::from_message(message) {
                    self.tags.push((source, tags, clip));
                } else if message
                    .structure()
                    .is_some_and(|s| s.name() == meta::FEATURES_MESSAGE)
                {
                    self.features += 1;
                }
            }
            _ => (),
        }
        false
    }
}

/// Plays `pipeline` to its end, or to its first error, and stops it; panics when neither comes.
pub fn play(pipeline: &gst::Pipeline) -> Outcome {
    // What fails here is on the bus.
    let _ = pipeline.set_state(gst::State::Playing);
    let outcome = wait(pipeline);
    stop(pipeline);
    outcome
}

/// Waits for the end of the stream or an error.
pub fn wait(pipeline: &gst::Pipeline) -> Outcome {
    let bus = pipeline.bus().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut outcome = Outcome::default();
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        let timeout = ms(left.as_millis() as u64);
        let Some(message) = bus.timed_pop(timeout) else {
            break;
        };
        if outcome.read(&message) {
            return outcome;
        }
    }
    panic!("neither the end of the stream nor an error within {PATIENCE:?}: {outcome:?}");
}

/// Stops `pipeline`; panics when that hangs.
pub fn stop(pipeline: &gst::Pipeline) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let pipeline = pipeline.clone();
    std::thread::spawn(move || sender.send(pipeline.set_state(gst::State::Null)));
    let stopped = receiver.recv_timeout(PATIENCE);
    stopped.expect("the pipeline stops").unwrap();
}

/// A pipeline from a gst-launch description.
pub fn launch(description: &str) -> gst::Pipeline {
    init();
    gst::parse::launch(description)
        .unwrap_or_else(|err| panic!("{description}: {err}"))
        .downcast()
        .unwrap()
}

/// A Matroska file for the test `name` with the streams that `branches`, each to its end `mux.`, encode.
pub fn matroska(name: &str, branches: &[&str]) -> PathBuf {
    let file = folder(name).join("file.mkv");
    let branches = branches.join(" ");
    let outcome = play(&launch(&format!(
        "{branches} matroskamux name=mux ! filesink location={}",
        file.display()
    )));
    assert_eq!(outcome.error, None);
    file
}

/// What came to a sink.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<(Vec<gst::Buffer>, Vec<gst::Event>)>>);

impl Record {
    /// Records what comes to the element `sink` of `pipeline`.
    pub fn of(pipeline: &gst::Pipeline, sink: &str) -> Self {
        Self::at(&pipeline.by_name(sink).unwrap().static_pad("sink").unwrap())
    }

    /// Records what passes `pad`.
    pub fn at(pad: &gst::Pad) -> Self {
        let record = Self::default();
        let probe = record.clone();
        let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(types, move |_, info| {
            let mut record = probe.lock();
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => record.0.push(buffer.clone()),
                Some(gst::PadProbeData::Event(event)) => record.1.push(event.clone()),
                _ => (),
            }
            gst::PadProbeReturn::Ok
        });
        record
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<gst::Buffer>, Vec<gst::Event>)> {
        self.0.lock().unwrap()
    }

    /// The buffers so far.
    pub fn buffers(&self) -> Vec<gst::Buffer> {
        self.lock().0.clone()
    }

    /// The events so far.
    pub fn events(&self) -> Vec<gst::Event> {
        self.lock().1.clone()
    }

    /// The events so far that are a `kind`.
    pub fn count(&self, kind: gst::EventType) -> usize {
        self.events()
            .iter()
            .filter(|event| event.type_() == kind)
            .count()
    }

    /// The tags in events so far.
    pub fn event_tags(&self) -> Vec<Tags> {
        let events = self.events();
        let found = events.iter().filter_map(|event| meta::from_event(event));
        found.flat_map(|(tags, _)| tags).collect()
    }
}

/// What gst-launch describes, between a source and a sink pad that the test plays.
pub struct Bench {
    harness: Harness,
    bin: gst::Bin,
    bus: gst::Bus,
}

impl Bench {
    /// Elements from a gst-launch description, in a stream of `caps` that is not live.
    pub fn new(description: &str, caps: &str) -> Self {
        init();
        let bin = gst::parse::bin_from_description(description, true).unwrap();
        let bus = gst::Bus::new();
        bin.set_bus(Some(&bus));
        let mut harness = Harness::with_element(&bin, Some("sink"), Some("src"));
        harness.set_live(false);
        harness.set_src_caps_str(caps);
        Self { harness, bin, bus }
    }

    /// The element `name`.
    pub fn element(&self, name: &str) -> gst::Element {
        self.bin.by_name(name).unwrap()
    }

    /// Changes the caps in mid-stream.
    pub fn set_caps(&mut self, caps: &str) {
        self.harness.set_src_caps_str(caps);
    }

    /// What the elements add to the latency of a live pipeline.
    pub fn latency(&self) -> gst::ClockTime {
        self.harness.query_latency().unwrap()
    }

    pub fn push(&mut self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.harness.push(buffer)
    }

    /// The next buffer that came out.
    pub fn pull(&mut self) -> Option<gst::Buffer> {
        self.harness.try_pull()
    }

    /// Pushes `buffer` and takes what it became.
    pub fn pass(&mut self, buffer: gst::Buffer) -> gst::Buffer {
        self.push(buffer).unwrap();
        self.pull().expect("a buffer for the buffer")
    }

    pub fn send(&mut self, event: gst::Event) -> bool {
        self.harness.push_event(event)
    }

    /// Ends the stream.
    pub fn end(&mut self) {
        self.send(gst::event::Eos::new());
    }

    /// Flushes as a seek does; what comes next starts a segment of its own.
    pub fn flush(&mut self) {
        self.send(gst::event::FlushStart::new());
        self.send(gst::event::FlushStop::new(true));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.send(gst::event::Segment::new(&segment));
    }

    /// The events that came out and were not taken yet.
    pub fn events(&mut self) -> Vec<gst::Event> {
        std::iter::from_fn(|| self.harness.try_pull_event()).collect()
    }

    /// The tags and features in the events that came out.
    pub fn metadata(&mut self) -> (Vec<Tags>, Vec<Features>) {
        let all = self.events();
        let all = all.iter().filter_map(|event| meta::from_event(event));
        let (tags, features): (Vec<_>, Vec<_>) = all.unzip();
        (tags.concat(), features.concat())
    }

    /// What the bus said since the last call.
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(message) = self.bus.pop() {
            outcome.read(&message);
        }
        outcome
    }
}

/// A buffer of `bytes`.
pub fn buffer(
    bytes: Vec<u8>,
    pts: impl Into<Option<gst::ClockTime>>,
    duration: impl Into<Option<gst::ClockTime>>,
) -> gst::Buffer {
    init();
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let fields = buffer.get_mut().unwrap();
    fields.set_pts(pts);
    fields.set_duration(duration);
    buffer
}

/// An embedding, as frameclassify writes it.
pub fn embedding(
    id: &str,
    values: &[f32],
    start: gst::ClockTime,
    duration: gst::ClockTime,
) -> Features {
    Features {
        id: id.into(),
        kind: Kind::Embedding,
        dims: vec![values.len() as u32],
        data: values.into(),
        start: Some(start),
        duration: Some(duration),
        media: 1.0,
        blank: false,
        still: false,
        front_end: Default::default(),
    }
}

/// A mel patch for the model `audio` with band `n` at `values[n]`.
pub fn mel_patch(values: [f32; 4], start: gst::ClockTime) -> Features {
    init();
    let model = Model::open("audio", &Options::default()).unwrap();
    let Modality::Audio { front_end, .. } = &model.card().modality else {
        panic!("an audio model");
    };
    let fields = front_end.fields().into_iter();
    Features {
        id: "mel".into(),
        kind: Kind::Mel,
        dims: vec![4, 8],
        data: values.iter().flat_map(|&value| [value; 8]).collect(),
        start: Some(start),
        duration: Some(ms(128)),
        media: 1.0,
        blank: false,
        still: false,
        front_end: fields.map(|(key, value)| (key.into(), value)).collect(),
    }
}

/// Labels with their scores, for comparisons: rounded to thousandths.
pub fn rounded(tags: &Tags) -> Vec<(&str, f32)> {
    let round = |score: f32| (score * 1000.0).round() / 1000.0;
    tags.scores
        .iter()
        .map(|(label, score)| (label.as_str(), round(*score)))
        .collect()
}

/// Asserts that `ours` leaves `theirs` as it was, timestamps and bytes, and did not copy the bytes.
pub fn assert_untouched(ours: &gst::BufferRef, theirs: &gst::BufferRef) {
    let fields = |buffer: &gst::BufferRef| {
        (
            (buffer.pts(), buffer.dts(), buffer.duration()),
            (buffer.offset(), buffer.offset_end(), buffer.flags()),
        )
    };
    assert_eq!(fields(ours), fields(theirs));
    let (ours, theirs) = (ours.map_readable().unwrap(), theirs.map_readable().unwrap());
    assert_eq!(ours.as_slice(), theirs.as_slice());
    assert_eq!(ours.as_ptr(), theirs.as_ptr());
}
