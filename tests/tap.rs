// SPDX-License-Identifier: MPL-2.0

//! instrumenttagger as a tap: random orders of what applications and media do, of which each has a number. A failure
//! prints the number, and `INSTRUMENTS_ORDER=NUMBER cargo nextest run --test tap` runs that order alone.

mod common;

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

use common::{folder, launch, ms, play};
use gst::glib;
use gst::prelude::*;
use gstinstruments::meta::{Source, Tags};

/// How long NULL may take. The few that take longer on a machine that other tests use too are counted.
const NULL: Duration = Duration::from_secs(1);
/// How long anything else may take, on a machine that other tests use too.
const HANGS: Duration = Duration::from_secs(20);

/// Numbers that look random, the same for each seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea and Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Takes streams as far apart as they are in a file.
const QUEUE: &str = "queue max-size-time=0 max-size-buffers=0 max-size-bytes=0";
const PICTURES: &str = "pattern=spokes foreground-color=0xffcc9966
    ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 ! openh264enc gop-size=10 ! h264parse";
const SOUND: &str = "samplesperbuffer=1600 wave=white-noise ! audio/x-raw,rate=16000,channels=1 ! flacenc ! flacparse";

/// Media, as streams of the names `video` and `audio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Material {
    /// Six seconds of both.
    Both,
    /// The sound ends 1.5 s before the pictures.
    ShortSound,
    /// The sound begins 5 s after the pictures.
    LateSound,
    /// Pictures alone; nothing is ever linked to the requested audio pad.
    NoSound,
    /// Units are missing, and gap events come in their place.
    Gaps,
    /// Sound on the video pad, and pictures on the audio pad.
    Swapped,
    /// Codec, resolution and rate change.
    Changes,
    /// Nothing decodes it.
    Unknown,
    /// H.264 that is none.
    Broken,
    /// Cameras and microphones.
    Live,
}

use Material::*;

const MATERIALS: [Material; 10] = [
    Both, ShortSound, LateSound, NoSound, Gaps, Swapped, Changes, Unknown, Broken, Live,
];

impl Material {
    /// Whether it comes from a file, in which one can seek.
    fn is_file(self) -> bool {
        matches!(
            self,
            Both | ShortSound | LateSound | NoSound | Gaps | Swapped
        )
    }

    /// Whether there is something to tag.
    fn is_tagged(self) -> bool {
        !matches!(self, Swapped | Unknown | Broken)
    }

    /// What comes to queues with the names of the pads.
    fn describe(self, folder: &Path) -> String {
        if self.is_file() {
            let name = match self {
                ShortSound => "short",
                LateSound => "late",
                _ => "both",
            };
            let lost = match self {
                Gaps => 0.3,
                _ => 0.0,
            };
            let sound = match self {
                NoSound => String::new(),
                _ => format!("identity name=in-audio ! {QUEUE} name=audio"),
            };
            return format!(
                "filesrc location={}/{name}.mkv ! matroskademux name=d
                    identity name=in-video drop-probability={lost} ! {QUEUE} name=video {sound}",
                folder.display()
            );
        }
        match self {
            Changes => "appsrc name=changes-video format=time ! queue name=video
                appsrc name=changes-audio format=time ! queue name=audio".into(),
            Unknown => "fakesrc num-buffers=50 sizetype=fixed filltype=zero ! application/x-instruments-unknown ! queue name=video
                fakesrc num-buffers=50 sizetype=fixed filltype=zero ! application/x-instruments-unknown ! queue name=audio".into(),
            Broken => "fakesrc num-buffers=50 sizetype=fixed sizemax=500 filltype=random format=time datarate=5000
                    ! video/x-h264,stream-format=byte-stream,alignment=au,width=64,height=48 ! queue name=video
                fakesrc num-buffers=50 sizetype=fixed sizemax=500 filltype=random format=time datarate=5000
                    ! audio/mpeg,mpegversion=4,stream-format=adts,rate=16000,channels=1,framed=true ! queue name=audio".into(),
            _ => format!("videotestsrc is-live=true {PICTURES} ! queue name=video
                audiotestsrc is-live=true wave=white-noise ! audio/x-raw,rate=16000,channels=1 ! queue name=audio"),
        }
    }
}

/// Two streams of which the codec, the resolution and the rate change, made once.
fn changing(name: &str) -> &'static [gst::Sample] {
    static CHANGING: LazyLock<[Vec<gst::Sample>; 2]> = LazyLock::new(|| {
        let record = |parts: &[&str]| {
            let mut start = gst::ClockTime::ZERO;
            let mut all = Vec::new();
            for part in parts {
                let pipeline = launch(&format!("{part} ! appsink name=sink sync=false"));
                let sink = pipeline.by_name("sink").unwrap();
                let sink = sink.downcast::<gst_app::AppSink>().unwrap();
                pipeline.set_state(gst::State::Playing).unwrap();
                let mut end = start;
                while let Ok(sample) = sink.pull_sample() {
                    let mut buffer = sample.buffer_owned().unwrap();
                    let segment = sample.segment().unwrap();
                    let segment = segment.downcast_ref::<gst::ClockTime>().unwrap();
                    // Headers have no time.
                    let time = segment.to_running_time(buffer.pts()).unwrap_or_default() + start;
                    end = time + buffer.duration().unwrap_or_default();
                    let fields = buffer.make_mut();
                    fields.set_pts(time);
                    fields.set_dts(None);
                    let caps = sample.caps_owned().unwrap();
                    all.push(gst::Sample::builder().buffer(&buffer).caps(&caps).build());
                }
                start = end;
                common::stop(&pipeline);
            }
            all
        };
        let pictures = |size: &str, encoder: &str| {
            format!(
                "videotestsrc num-buffers=20 ! video/x-raw,format=I420,{size},framerate=10/1 ! {encoder}"
            )
        };
        let sound = |caps: &str, encoder: &str| {
            format!(
                "audiotestsrc num-buffers=20 samplesperbuffer=1600 wave=white-noise ! audio/x-raw,format=S16LE,{caps} ! {encoder}"
            )
        };
        [
            record(&[
                &pictures("width=64,height=48", "jpegenc"),
                &pictures("width=96,height=64", "jpegenc"),
                &pictures("width=96,height=64", "openh264enc ! h264parse"),
                &pictures("width=64,height=64", "identity"),
            ]),
            record(&[
                &sound("rate=16000,channels=1", "flacenc ! flacparse"),
                &sound("rate=16000,channels=1", "identity"),
                &sound("rate=8000,channels=2", "identity"),
                &sound("rate=8000,channels=2", "mulawenc"),
            ]),
        ]
    });
    &CHANGING[usize::from(name == "audio")]
}

/// Has the source of the stream `name` push what [`changing`] says, from the beginning in each run.
fn feed(pipeline: &gst::Pipeline, name: &'static str) {
    let Some(source) = pipeline.by_name(&format!("changes-{name}")) else {
        return;
    };
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    let pad = source.static_pad("src").unwrap();
    let next = Arc::new(AtomicU64::new(0));
    let count = next.clone();
    // A run begins.
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if info
            .event()
            .is_some_and(|event| event.type_() == gst::EventType::StreamStart)
        {
            count.store(0, Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
    let callbacks =
        gst_app::AppSrcCallbacks::builder().need_data(move |source, _| {
            match changing(name).get(next.fetch_add(1, Relaxed) as usize) {
                Some(sample) => drop(source.push_sample(sample)),
                None => drop(source.end_of_stream()),
            }
        });
    source.set_callbacks(callbacks.build());
}

/// The files of the materials, made once.
fn files() -> &'static Path {
    static FILES: LazyLock<PathBuf> = LazyLock::new(|| {
        // Tests may run in processes of their own at the same time.
        let folder = folder(&format!("materials-{}", std::process::id()));
        let write = |name: &str, sound: &str| {
            let outcome = play(&launch(&format!(
                "videotestsrc num-buffers=60 {PICTURES} ! queue ! mux. audiotestsrc {sound} {SOUND} ! queue ! mux.
                    matroskamux name=mux ! filesink location={}/{name}.mkv",
                folder.display()
            )));
            assert_eq!(outcome.error, None);
        };
        write("both", "num-buffers=60");
        write("short", "num-buffers=45");
        write("late", "num-buffers=30 timestamp-offset=5000000000");
        folder
    });
    &FILES
}

/// What is special about the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Models {
    Good,
    /// The sound model says NaN.
    Nan,
    /// The sound model fails.
    Fails,
    /// The picture model takes too long.
    Never,
    /// The picture model takes longer than the pictures.
    Slow,
}

impl Models {
    fn properties(self) -> &'static str {
        match self {
            Self::Good => "",
            Self::Nan => "audio-model=nan",
            Self::Fails => "audio-model=fails",
            Self::Never => "video-model=endless timeout=1000000000",
            Self::Slow => "video-model=slow",
        }
    }
}

/// One unit of a stream, to compare.
type Packet = (u64, [Option<gst::ClockTime>; 3], gst::BufferFlags);

/// The units that pass a pad.
#[derive(Clone, Default)]
struct Passed(Arc<Mutex<Vec<Packet>>>);

impl Passed {
    fn at(pad: &gst::Pad) -> Self {
        let passed = Self::default();
        let probe = passed.clone();
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::PUSH;
        pad.add_probe(kinds, move |_, info| {
            if let Some(buffer) = info.buffer() {
                probe.0.lock().unwrap().push(packet(buffer));
            }
            gst::PadProbeReturn::Ok
        });
        passed
    }

    fn take(&self) -> Vec<Packet> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn packet(buffer: &gst::BufferRef) -> Packet {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    buffer.map_readable().unwrap().hash(&mut hasher);
    let flags = buffer.flags() & !gst::BufferFlags::TAG_MEMORY;
    (
        hasher.finish(),
        [buffer.pts(), buffer.dts(), buffer.duration()],
        flags,
    )
}

/// What the bus said.
#[derive(Default)]
struct Said {
    errors: Vec<(String, String)>,
    warnings: Vec<String>,
    /// Starts of the fused results, and how many were about the whole stream.
    fused: Vec<Option<gst::ClockTime>>,
    clips: usize,
    ends: usize,
    /// Whether the pipeline goes down: applications see no errors from then on, and GStreamer has some.
    stops: bool,
}

/// A pipeline to which things happen.
struct Order {
    random: Random,
    log: String,
    material: Material,
    models: Models,
    pipeline: gst::Pipeline,
    tagger: gst::Element,
    streams: HashMap<&'static str, Stream>,
    said: Arc<Mutex<Said>>,
    /// Whether something happened for which sources post errors.
    cut: bool,
    /// How long each change to NULL took.
    stops: Vec<Duration>,
}

struct Stream {
    source: gst::Element,
    sink: gst::Element,
    came: Passed,
    left: Passed,
    /// How often something happened that may have taken a unit on its way.
    breaks: Arc<AtomicU64>,
}

/// Calls `work`, which must return in time.
#[track_caller]
fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    let result = result.recv_timeout(limit);
    result.unwrap_or_else(|_| panic!("{what} takes longer than {limit:?}"))
}

impl Drop for Order {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log);
            // It may hang.
            std::mem::forget(self.pipeline.clone());
        }
    }
}

impl Order {
    fn new(number: u64) -> Self {
        let mut random = Random(number);
        let material = random.pick(&MATERIALS);
        use Models::*;
        let models = random.pick(&[Good, Good, Good, Nan, Fails, Never, Slow]);
        // Now and then with the clock.
        let sync = material == Live || random.once_in(4);
        let pad_added = material.is_file() && random.once_in(3);
        Self::of(random.next(), material, models, sync, pad_added)
    }

    fn of(number: u64, material: Material, models: Models, sync: bool, pad_added: bool) -> Self {
        let description = format!(
            "{} instrumenttagger name=tagger video-model=video audio-model=audio fusion-model=fusion threshold=0
                window=2000000000 stride=2000000000 {}",
            material.describe(files()),
            models.properties()
        );
        let pipeline = launch(&description);
        let tagger = pipeline.by_name("tagger").unwrap();
        if let Some(demuxer) = pipeline.by_name("d") {
            link_demuxed(&demuxer, &pipeline, material == Swapped);
        }
        let said = Arc::new(Mutex::new(Said::default()));
        let sayings = said.clone();
        pipeline.bus().unwrap().set_sync_handler(move |_, message| {
            sayings.lock().unwrap().read(message);
            gst::BusSyncReply::Drop
        });
        let mut order = Self {
            random: Random(number),
            log: format!("{material:?} {models:?} sync={sync} pad-added={pad_added}"),
            material,
            models,
            pipeline,
            tagger,
            streams: HashMap::new(),
            said,
            cut: false,
            stops: Vec::new(),
        };
        for name in ["video", "audio"] {
            feed(&order.pipeline, name);
            order.add(name, sync, pad_added);
        }
        order
    }

    /// Puts the tagger between the queue and a sink, at once or when something comes.
    fn add(&mut self, name: &'static str, sync: bool, later: bool) {
        let Some(source) = self.pipeline.by_name(name) else {
            // Never linked.
            self.tagger.request_pad_simple(name).unwrap();
            return;
        };
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", sync)
            .property("async", true)
            .build()
            .unwrap();
        self.pipeline.add(&sink).unwrap();
        let out = source.static_pad("src").unwrap();
        let stream = Stream {
            came: Passed::at(&out),
            left: Passed::at(&sink.static_pad("sink").unwrap()),
            source,
            sink: sink.clone(),
            breaks: Arc::default(),
        };
        self.streams.insert(name, stream);
        if !later {
            link(&self.tagger, name, &out, &sink);
            return;
        }
        // As applications do that know the streams only then.
        let tagger = self.tagger.clone();
        let demuxer = self.pipeline.by_name("d").unwrap();
        let (out, sink) = (out.downgrade(), sink.downgrade());
        demuxer.connect_pad_added(move |_, _| {
            if let (Some(out), Some(sink)) = (out.upgrade(), sink.upgrade()) {
                link(&tagger, name, &out, &sink);
            }
        });
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        let _ = write!(self.log, ", {what}");
    }

    /// Something happens that may take a unit of each stream on its way.
    fn breaks(&self) {
        for stream in self.streams.values() {
            stream.breaks.fetch_add(1, Relaxed);
        }
    }

    fn set(&mut self, state: gst::State) {
        self.note(format!("{state:?}"));
        self.breaks();
        self.said.lock().unwrap().stops = state <= gst::State::Ready;
        let pipeline = self.pipeline.clone();
        let since = Instant::now();
        let result = within(HANGS, &format!("{state:?}"), move || {
            pipeline.set_state(state)
        });
        if state == gst::State::Null {
            let took = since.elapsed();
            self.stops.push(took);
            result.unwrap();
        }
    }

    /// Starts over, with nothing said and nothing passed.
    fn start_over(&mut self) {
        self.set(gst::State::Null);
        self.check();
        *self.said.lock().unwrap() = Said::default();
        let mut sources = self.streams.values().map(|stream| &stream.source);
        self.cut = !sources.all(|source| source.static_pad("src").unwrap().is_linked());
    }

    fn sleep(&mut self, limit: u64) {
        let time = self.random.below(limit);
        self.note(format!("{time} ms"));
        std::thread::sleep(Duration::from_millis(time));
    }

    /// Waits until the streams have ended, or an error ended them.
    fn wait_for_end(&mut self) {
        self.note("end");
        let deadline = Instant::now() + HANGS;
        loop {
            let said = self.said.lock().unwrap();
            if said.ends > 0 || !said.errors.is_empty() {
                return;
            }
            drop(said);
            assert!(
                Instant::now() < deadline,
                "the stream does not end: {}",
                self.tagger.property::<gst::Structure>("stats")
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether a seek works in GStreamer: where a link was cut while a sink held media, no flush reaches that sink.
    fn can_seek(&self) -> bool {
        self.material.is_file() && !self.cut
    }

    /// Plays from `time` on, in seconds.
    fn seek(&mut self, time: f64) {
        self.note(format!("seek {time:.1}"));
        self.breaks();
        {
            let mut said = self.said.lock().unwrap();
            said.ends = 0;
            said.fused.clear();
            said.clips = 0;
        }
        let flags = match self.random.once_in(2) {
            true => gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT,
            false => gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
        };
        let pipeline = self.pipeline.clone();
        // matroskademux of GStreamer 1.22 hangs in some of 300 seeks that come while it reads its headers, also without
        // the tagger.
        let _ = within(HANGS, "preroll", move || pipeline.state(ms(500)));
        let pipeline = self.pipeline.clone();
        // Not everything can be sought in at any time.
        let _ = within(HANGS, "a seek", move || {
            pipeline.seek_simple(flags, ms((time * 1000.0) as u64))
        });
    }

    /// Takes the tagger out of a stream, or puts it back.
    fn relink(&mut self) {
        let name = self.random.pick(&["video", "audio"]);
        let Some(stream) = self.streams.get(name) else {
            return;
        };
        stream.breaks.fetch_add(1, Relaxed);
        self.cut = true;
        let (out, sink) = (
            stream.source.static_pad("src").unwrap(),
            stream.sink.clone(),
        );
        let tagger = self.tagger.clone();
        let release = self.random.once_in(2);
        self.note(match (out.is_linked(), release) {
            (false, _) => format!("link {name}"),
            (true, true) => format!("release {name}"),
            (true, false) => format!("unlink {name}"),
        });
        within(HANGS, "linking", move || match tagger.static_pad(name) {
            Some(pad) if out.is_linked() => {
                let _ = out.unlink(&pad);
                if release {
                    tagger.release_request_pad(&pad);
                }
            }
            _ => link(&tagger, name, &out, &sink),
        });
    }

    /// Releases and requests the pads of a stream while its media is held back.
    fn exchange(&mut self) {
        let name = self.random.pick(&["video", "audio"]);
        let Some(stream) = self.streams.get(name) else {
            return;
        };
        let out = stream.source.static_pad("src").unwrap();
        let Some(pad) = out.peer() else { return };
        stream.breaks.fetch_add(1, Relaxed);
        let (sink, tagger) = (stream.sink.clone(), self.tagger.clone());
        self.note(format!("exchange {name}"));
        let (done, is_done) = mpsc::channel();
        let probe = out.add_probe(gst::PadProbeType::IDLE, move |out, _| {
            let _ = out.unlink(&pad);
            tagger.release_request_pad(&pad);
            link(&tagger, name, out, &sink);
            let _ = done.send(());
            gst::PadProbeReturn::Remove
        });
        // A sink that has its first picture and waits keeps the pad busy.
        if is_done.recv_timeout(Duration::from_millis(200)).is_err()
            && let Some(probe) = probe
        {
            out.remove_probe(probe);
        }
    }

    /// Fails unless what left is what came, but for a unit at each break.
    fn check(&mut self) {
        for (name, stream) in &self.streams {
            let (came, left) = (stream.came.take(), stream.left.take());
            let breaks = stream.breaks.swap(0, Relaxed) as usize;
            let missing = came.len().saturating_sub(left.len());
            let mut rest = came.iter();
            assert!(
                left.iter().all(|unit| rest.any(|other| other == unit)),
                "the {name} that left is not what came"
            );
            assert!(
                missing <= breaks,
                "{missing} units of the {name} are missing, with {breaks} breaks"
            );
        }
        let said = self.said.lock().unwrap();
        for (source, text) in &said.errors {
            assert!(source != "tagger", "error of the tagger: {text}");
            assert!(self.cut, "error of {source}: {text}");
        }
        let distinct: std::collections::HashSet<_> = said.warnings.iter().collect();
        assert!(
            distinct.len() <= 2,
            "more than one warning a stream: {:?}",
            said.warnings
        );
        for text in &said.warnings {
            assert!(
                text.starts_with("Tagging has stopped, the media continues without tags: "),
                "{text}"
            );
        }
    }

    /// Does something.
    fn act(&mut self) {
        match self.random.below(12) {
            0 => self.set(gst::State::Playing),
            1 => self.set(gst::State::Paused),
            2 => self.set(gst::State::Ready),
            3 => self.start_over(),
            // The sources and encoders of the others do not all seek.
            4 | 5 if self.can_seek() => {
                let time = self.random.below(60) as f64 / 10.0;
                self.seek(time);
            }
            6 => self.relink(),
            7 => self.exchange(),
            8 if self.can_seek() => {
                // "Play from there", right after the first picture is there.
                self.set(gst::State::Paused);
                let pipeline = self.pipeline.clone();
                let _ = within(HANGS, "preroll", move || pipeline.state(ms(500)));
                self.seek(2.0);
                self.set(gst::State::Playing);
            }
            9 => {
                self.set(gst::State::Playing);
                self.sleep(100);
            }
            _ => self.sleep(40),
        }
    }

    /// Plays everything, linked, from the start; after whatever was before, it is as it should be.
    fn last_run(&mut self) {
        self.start_over();
        self.cut = false;
        for (name, stream) in &self.streams {
            let out = stream.source.static_pad("src").unwrap();
            link(&self.tagger, name, &out, &stream.sink);
            stream.sink.set_property("sync", self.material == Live);
        }
        self.set(gst::State::Playing);
        if self.material == Live {
            let deadline = Instant::now() + HANGS;
            let done = |said: &Said| !said.fused.is_empty() || !said.warnings.is_empty();
            while !done(&self.said.lock().unwrap()) {
                assert!(Instant::now() < deadline, "no live tags");
                std::thread::sleep(Duration::from_millis(20));
            }
            self.start_over();
            return;
        }
        self.wait_for_end();
        let first = self.expect();
        if self.material.is_file() {
            for _ in 0..self.random.below(3) {
                // The loop: the second pass says what the first said.
                self.seek(0.0);
                self.wait_for_end();
                // Other units are lost each time.
                if self.models == Models::Good && self.material != Gaps {
                    let said = self.said.lock().unwrap();
                    assert_eq!((said.fused.clone(), said.clips), first, "the next pass");
                }
            }
        }
        self.start_over();
    }

    /// Fails unless tags came, or a warning that says why none came; returns the fused ones.
    fn expect(&self) -> (Vec<Option<gst::ClockTime>>, usize) {
        let said = self.said.lock().unwrap();
        let model = match self.models {
            Models::Nan => Some("NaN"),
            Models::Fails => Some("fails"),
            Models::Never => Some("endless"),
            _ => None,
        };
        match model {
            _ if !self.material.is_tagged() => {
                let why = match self.material {
                    Swapped => "needs",
                    _ => "",
                };
                assert!(
                    said.warnings.iter().any(|text| text.contains(why)),
                    "no warning says why there are no tags: {:?}",
                    said.warnings
                );
            }
            None => {
                assert!(said.warnings.is_empty(), "{:?}", said.warnings);
                assert!(said.fused.len() > 1, "tags: {:?}", said.fused);
                let several = self.material == Changes;
                assert!(
                    several || said.clips == 1,
                    "{} results over the whole stream",
                    said.clips
                );
            }
            // Without sound, no sound model.
            Some(_) if self.material == NoSound && self.models != Models::Never => (),
            Some(name) => assert!(
                said.warnings.iter().any(|text| text.contains(name)),
                "{name}: {:?}",
                said.warnings
            ),
        }
        (said.fused.clone(), said.clips)
    }
}

impl Said {
    fn read(&mut self, message: &gst::Message) {
        let source = || {
            message
                .src()
                .map_or_else(String::new, |src| src.name().into())
        };
        match message.view() {
            gst::MessageView::Eos(_) => self.ends += 1,
            gst::MessageView::Error(error) => {
                let text = format!("{} {}", error.error(), error.debug().unwrap_or_default());
                if !self.stops || source() == "tagger" {
                    self.errors.push((source(), text));
                }
            }
            gst::MessageView::Warning(warning) if source() == "tagger" => {
                self.warnings.push(warning.error().to_string());
            }
            gst::MessageView::Element(_) => match Tags::from_message(message) {
                Some((tags, false)) if tags.source == Source::Fused => self.fused.push(tags.start),
                Some((tags, true)) if tags.source == Source::Fused => self.clips += 1,
                _ => (),
            },
            _ => (),
        }
    }
}

/// Links the streams of `demuxer`, whenever they come, to the elements for their kind, or for the other kind.
fn link_demuxed(demuxer: &gst::Element, pipeline: &gst::Pipeline, swapped: bool) {
    let pipeline = pipeline.downgrade();
    demuxer.connect_pad_added(move |_, pad| {
        let video = pad.name().starts_with("video");
        let name = if video != swapped {
            "in-video"
        } else {
            "in-audio"
        };
        if let Some(element) = pipeline
            .upgrade()
            .and_then(|pipeline| pipeline.by_name(name))
        {
            pad.link(&element.static_pad("sink").unwrap()).unwrap();
        }
    });
}

/// Links the tagger's pads for the stream `name`, which are requested if need be, between `out` and `sink`.
fn link(tagger: &gst::Element, name: &str, out: &gst::Pad, sink: &gst::Element) {
    // The test and the demuxer may both see that it is not linked.
    static LINKING: Mutex<()> = Mutex::new(());
    let _linking = LINKING.lock().unwrap();
    let pad = tagger.static_pad(name).unwrap_or_else(|| {
        let pad = tagger.request_pad_simple(name).unwrap();
        let src = tagger.static_pad(&format!("{name}_src")).unwrap();
        src.link(&sink.static_pad("sink").unwrap()).unwrap();
        pad
    });
    if !out.is_linked() {
        out.link(&pad).unwrap();
    }
}

/// Fails unless nearly all changes to NULL took less than a second.
fn assert_quick(stops: &[Duration]) {
    let slow: Vec<_> = stops.iter().filter(|took| **took >= NULL).collect();
    let few = stops.len() / 50;
    assert!(slow.len() <= few, "{slow:?} of {} stops", stops.len());
}

/// Runs an order, and returns how long each change to NULL took.
fn run(number: u64) -> Vec<Duration> {
    let mut order = Order::new(number);
    order.log.insert_str(0, &format!("order {number}: "));
    for _ in 0..order.random.below(8) {
        order.act();
    }
    order.last_run();
    let tagger: glib::WeakRef<gst::Element> = order.tagger.downgrade();
    let analysis: gst::Pipeline = order.tagger.property("analysis");
    let inside = analysis.downgrade();
    drop(analysis);
    let (stops, log) = (std::mem::take(&mut order.stops), order.log.clone());
    drop(order);
    let deadline = Instant::now() + HANGS;
    while tagger.upgrade().is_some() || inside.upgrade().is_some() {
        assert!(Instant::now() < deadline, "leak: {log}");
        std::thread::sleep(Duration::from_millis(5));
    }
    stops
}

/// Plays and stops `count` times at random moments, files at their own speed and live media, in one pipeline each.
fn start_and_stop(count: u64) {
    let mut random = Random(count);
    for material in [Both, Live] {
        let mut order = Order::of(random.next(), material, Models::Good, true, false);
        for _ in 0..count / 2 {
            order.set(gst::State::Playing);
            let most = order.random.pick(&[1, 20, 200]);
            order.sleep(most);
            order.start_over();
            order.log.clear();
        }
        order.last_run();
        assert_quick(&order.stops);
    }
}

/// How many threads and descriptors this process has.
fn resources() -> [usize; 2] {
    ["/proc/self/task", "/proc/self/fd"].map(|list| std::fs::read_dir(list).unwrap().count())
}

/// Runs the orders from `first` on.
fn run_from(first: u64) {
    // Threads are counted for the whole process.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(|err| err.into_inner());
    if let Ok(number) = std::env::var("INSTRUMENTS_ORDER") {
        run(number.parse().expect("INSTRUMENTS_ORDER is a number"));
        return;
    }
    let mut before = [0; 2];
    let mut stops = Vec::new();
    for number in first..first + 50 {
        stops.extend(run(number));
        if number == first + 10 {
            before = resources();
        }
    }
    assert_quick(&stops);
    let after = resources();
    for (before, after) in before.iter().zip(after) {
        // A leak in each order would be 39; pools of threads may grow and shrink.
        assert!(
            after < before + 15,
            "{before} threads or descriptors became {after}"
        );
    }
}

#[test]
fn orders_from_0() {
    run_from(0);
}

#[test]
fn orders_from_50() {
    run_from(50);
}

#[test]
fn orders_from_100() {
    run_from(100);
}

#[test]
fn orders_from_150() {
    run_from(150);
}

#[test]
fn starts_and_stops_at_random_moments() {
    start_and_stop(60);
}

#[test]
#[ignore = "takes about two minutes"]
fn five_hundred_starts_and_stops_at_random_moments() {
    start_and_stop(1000);
}
