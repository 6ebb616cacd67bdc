// SPDX-License-Identifier: MPL-2.0

//! Hours of streams in minutes, with seeks, changes of caps, stalls, restarts and changes of the model mixed in:
//! what memory, descriptors and threads remain; or live streams for as long as the clock says. `scripts/soak` runs it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use gst::prelude::*;

/// A long-lived pipeline: pictures and sound through every element, with models that take no time.
///
/// Sources without a clock give as much as the elements take. The rates are low, since a leak a result, a caps
/// change or a seek counts here, and not how much media passes.
const PIPELINE: &str = "\
    videotestsrc name=video pattern=ball ! capsfilter name=pictures caps=video/x-raw,width=32,height=24,framerate=4/1 \
        ! queue ! frameclassify name=seen model=video threshold=0 ! fuse.video \
    audiotestsrc name=audio wave=pink-noise samplesperbuffer=800 ! capsfilter name=sounds caps=audio/x-raw,rate=8000,channels=1 \
        ! queue ! melspec ! frameclassify name=heard model=audio threshold=0 ! fuse.audio \
    avfuse name=fuse model=fusion threshold=0 ! tee name=t \
        t. ! queue ! identity name=stall ! fakesink name=sink \
        t. ! queue ! tagtext ! fakesink async=false";

/// Live streams, with the default models: their embeddings are what would pile up.
const LIVE: [&str; 3] = [
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=64,height=64,framerate=5/1 ! queue \
        ! frameclassify ! fuse.video avfuse name=fuse",
    "audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,rate=16000,channels=1 ! queue \
        ! melspec ! frameclassify ! fuse.audio avfuse name=fuse",
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=64,height=64,framerate=5/1 ! queue \
        ! frameclassify ! queue ! fuse.video \
        audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,rate=16000,channels=1 ! queue \
        ! melspec ! frameclassify ! queue ! fuse.audio \
        avfuse name=fuse ! tagtext",
];

const PICTURES: [&str; 3] = [
    "video/x-raw,format=I420,width=32,height=24,framerate=4/1",
    "video/x-raw,format=RGBA,width=48,height=20,framerate=4/1",
    "video/x-raw,format=NV12,width=24,height=32,framerate=5/1",
];
const SOUNDS: [&str; 3] = [
    "audio/x-raw,format=S16LE,rate=8000,channels=1",
    "audio/x-raw,format=F32LE,rate=8000,channels=2",
    "audio/x-raw,format=S16LE,rate=16000,channels=1",
];

/// What is left when the elements work for long.
#[derive(Parser)]
struct Args {
    /// How long it runs.
    #[arg(default_value_t = 5.0)]
    minutes: f64,
    /// The most that resident memory may grow for an hour of stream; of live ones, of which there are few hours, 512.
    #[arg(
        long,
        default_value_t = 4.0,
        default_value_if("live", clap::builder::ArgPredicate::IsPresent, "512")
    )]
    most_kib_per_hour: f64,
    /// Live streams of each kind (pictures, sound, both) instead, with the clock, and no changes.
    #[arg(long)]
    live: Option<usize>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    gst::init()?;
    let length = Duration::from_secs_f64(args.minutes * 60.0);
    let mut soak = match args.live {
        Some(count) => Soak::live(count)?,
        None => Soak::start()?,
    };
    // Caches, the allocator's pools and, of live streams, the pictures for their results fill up first.
    let warm_up = match args.live {
        Some(_) => (length / 2).min(WARM_UP),
        None => length / 5,
    };
    let begun = Instant::now();
    while begun.elapsed() < warm_up {
        soak.round()?;
    }
    let before = Usage::now(&soak)?;
    let mut usages = vec![before];
    println!(
        "{:>8} {:>12} {:>10} {:>11} {:>7}",
        "minutes", "stream hours", "memory KiB", "descriptors", "threads"
    );
    let mut reported = begun.elapsed();
    while begun.elapsed() < length {
        soak.round()?;
        usages.push(Usage::now(&soak)?);
        if begun.elapsed() >= reported + length / 10 {
            reported = begun.elapsed();
            usages[usages.len() - 1].print(reported);
        }
    }
    let after = *usages.last().unwrap_or(&before);
    after.print(begun.elapsed());
    soak.stop()?;

    let per_hour = slope(&usages);
    let rounds = soak.rounds;
    match args.live {
        Some(count) => println!("{} live streams", count * LIVE.len()),
        None => {
            println!("{rounds} rounds of seeks, caps changes, stalls, model changes and restarts");
        }
    }
    println!("{:.1} stream hours measured", after.hours - before.hours);
    println!("{per_hour:.2} KiB of resident memory per stream hour");
    if per_hour > args.most_kib_per_hour {
        bail!(
            "memory grows by more than {} KiB per stream hour",
            args.most_kib_per_hour
        );
    }
    // Models are opened and pipelines stopped beside the streams, so that single counts are higher.
    let part = usages.len().div_ceil(4);
    let (first, last) = (&usages[..part], &usages[usages.len() - part..]);
    for (what, count) in [
        (
            "descriptors",
            (|usage| usage.descriptors) as fn(&Usage) -> usize,
        ),
        ("threads", |usage| usage.threads),
    ] {
        let most_before = first.iter().map(count).max().unwrap_or_default();
        let least_after = last.iter().map(count).min().unwrap_or_default();
        if least_after > most_before {
            bail!("{most_before} {what} became {least_after}");
        }
    }
    Ok(())
}

/// What the process holds after some hours of stream.
#[derive(Clone, Copy)]
struct Usage {
    hours: f64,
    memory_kib: f64,
    descriptors: usize,
    threads: usize,
}

impl Usage {
    fn now(soak: &Soak) -> Result<Self> {
        #[cfg(target_env = "gnu")]
        {
            unsafe extern "C" {
                fn malloc_trim(pad: usize) -> std::ffi::c_int;
            }
            // SAFETY: glibc allows it at any time. Free memory that the allocator keeps is no leak.
            unsafe { malloc_trim(0) };
        }
        let status = fs::read_to_string("/proc/self/status")?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let resident = resident.and_then(|value| value.trim().strip_suffix(" kB"));
        Ok(Self {
            hours: soak.stream.load(Ordering::Relaxed) as f64 / 3.6e12,
            memory_kib: resident
                .context("no RssAnon in /proc/self/status")?
                .parse()?,
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            threads: fs::read_dir("/proc/self/task")?.count(),
        })
    }

    fn print(&self, time: Duration) {
        println!(
            "{:>8.1} {:>12.1} {:>10.0} {:>11} {:>7}",
            time.as_secs_f64() / 60.0,
            self.hours,
            self.memory_kib,
            self.descriptors,
            self.threads
        );
    }
}

/// KiB an hour: the slope of the line that fits best, which single peaks do not tilt.
fn slope(usages: &[Usage]) -> f64 {
    let count = usages.len() as f64;
    let mean = |value: fn(&Usage) -> f64| usages.iter().map(value).sum::<f64>() / count;
    let (hours, memory) = (mean(|usage| usage.hours), mean(|usage| usage.memory_kib));
    let (mut covariance, mut variance) = (0.0, 0.0);
    for usage in usages {
        covariance += (usage.hours - hours) * (usage.memory_kib - memory);
        variance += (usage.hours - hours).powi(2);
    }
    if variance > 0.0 {
        covariance / variance
    } else {
        0.0
    }
}

/// Live streams hold all that they will after this time: the pictures of the result for the whole stream.
const WARM_UP: Duration = Duration::from_secs(300);

struct Soak {
    is_live: bool,
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    /// Nanoseconds of media that came out.
    stream: Arc<AtomicU64>,
    rounds: usize,
}

impl Soak {
    fn start() -> Result<Self> {
        Self::of(PIPELINE, false)
    }

    /// `count` live streams of each kind.
    fn live(count: usize) -> Result<Self> {
        let kinds = (0..count).flat_map(|_| LIVE).enumerate();
        let streams = kinds.map(|(number, kind)| {
            let own = format!("fuse{number}");
            let kind = kind.replace("fuse.", &format!("{own}."));
            let kind = kind.replace("name=fuse", &format!("name={own}"));
            format!("{kind} ! fakesink async=false")
        });
        Self::of(&streams.collect::<Vec<_>>().join(" "), true)
    }

    fn of(description: &str, is_live: bool) -> Result<Self> {
        let pipeline = gst::parse::launch(description)?
            .downcast::<gst::Pipeline>()
            .map_err(|_| anyhow!("not a pipeline"))?;
        let stream = Arc::new(AtomicU64::new(0));
        for element in pipeline.iterate_elements() {
            let element = element?;
            if !element.name().starts_with("fuse") {
                continue;
            }
            let counter = stream.clone();
            let pad = element.static_pad("src").context("no source pad")?;
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                let duration = info.buffer().and_then(|buffer| buffer.duration());
                counter.fetch_add(duration.unwrap_or_default().nseconds(), Ordering::Relaxed);
                gst::PadProbeReturn::Ok
            });
        }
        let soak = Self {
            is_live,
            bus: pipeline.bus().context("no bus")?,
            pipeline,
            stream,
            rounds: 0,
        };
        soak.play()?;
        Ok(soak)
    }

    fn play(&self) -> Result<()> {
        self.pipeline.set_state(gst::State::Playing)?;
        let (reached, _, _) = self.pipeline.state(gst::ClockTime::from_seconds(30));
        self.check()?;
        reached.context("the pipeline does not start")?;
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        self.pipeline.set_state(gst::State::Null)?;
        Ok(())
    }

    /// Everything on the bus; an error ends the run.
    fn check(&self) -> Result<()> {
        while let Some(message) = self.bus.pop() {
            if let gst::MessageView::Error(error) = message.view() {
                bail!(
                    "{}: {}",
                    error.src().map(|src| src.name()).unwrap_or_default(),
                    error.error()
                );
            }
        }
        Ok(())
    }

    fn set(&self, element: &str, property: &str, value: &str) -> Result<()> {
        let element = self.pipeline.by_name(element).context("no such element")?;
        element.set_property_from_str(property, value);
        Ok(())
    }

    /// Lets media flow.
    fn flow(&self, milliseconds: u64) -> Result<()> {
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.check()
    }

    /// One of each thing that happens to streams.
    fn round(&mut self) -> Result<()> {
        let round = self.rounds;
        self.rounds += 1;
        if self.is_live {
            return self.flow(1000);
        }
        self.flow(100)?;
        let time = gst::ClockTime::from_seconds(round as u64 % 60);
        let sought = self.pipeline.seek_simple(gst::SeekFlags::FLUSH, time);
        self.check()?;
        sought?;
        self.flow(100)?;
        self.set("pictures", "caps", PICTURES[round % PICTURES.len()])?;
        self.set("sounds", "caps", SOUNDS[round % SOUNDS.len()])?;
        self.flow(100)?;
        // A sink that takes nothing for a while.
        self.set("stall", "sleep-time", "20000")?;
        self.flow(60)?;
        self.set("stall", "sleep-time", "0")?;
        self.flow(100)?;
        // The same model from two files of one name.
        self.set("seen", "model", ["varied", "video"][round % 2])?;
        self.flow(100)?;
        if round.is_multiple_of(4) {
            self.stop()?;
            self.play()?;
        }
        Ok(())
    }
}
