// SPDX-License-Identifier: MPL-2.0

//! Tags one input after the other in a GStreamer pipeline of its own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use gstinstruments::meta::Tags;

use crate::args::{Format, Modality, Tag};
use crate::extent::{Extent, Passed};
use crate::failure::Failure;
use crate::inputs::{Input, hide, redact};
use crate::pictures::Collector;
use crate::report::{Report, Window, clock};
use crate::source::{Source, Wanted};

/// How long an input that is stopped may make no progress with what it has read already, how long it may take for it
/// when the process is to end, and how long one that seems to be damaged may make none: machines are busy.
const GRACE: Duration = Duration::from_secs(2);
/// How long a pipeline may take to stop before it is left behind.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long after an error nothing may move before it ends the input: other errors may say more, and what was read before
/// is on its way.
const SETTLING: Duration = Duration::from_millis(300);
/// Nanoseconds of a patch of sound, or the window where that is shorter. Patches lie side by side, so that each second is
/// analysed once, and a window takes the mean of those in it.
const PATCH: u64 = 5_000_000_000;
/// Notes of one input.
const MOST_NOTES: usize = 10;

/// What a tagger tells while it works.
pub trait Watch: Sync {
    /// How much of the input is tagged, from 0 to 1.
    fn progress(&self, share: f64);
}

/// Tags inputs. The models of the last one stay open, and all taggers of a process share them.
pub struct Tagger<'a> {
    options: &'a Tag,
    /// Threads of one inference and of one decoder; 0: as many as they like.
    threads: u32,
    /// The elements of the last inputs with sound and with pictures, kept in READY for their models.
    warm: [Option<gst::Element>; 2],
    stop: &'a AtomicBool,
}

impl<'a> Tagger<'a> {
    pub fn new(options: &'a Tag, threads: u32, stop: &'a AtomicBool) -> Self {
        Self {
            options,
            threads,
            warm: Default::default(),
            stop,
        }
    }

    /// Tags an input to its end, or until it is stopped.
    pub fn tag(&mut self, input: &Input, watch: &dyn Watch) -> Result<Report> {
        let started = Instant::now();
        let pipeline = gst::Pipeline::new();
        let tagger = self.element()?;
        pipeline.add(&tagger)?;
        let tagged = self.run(&pipeline, &tagger, input, watch);
        self.close(pipeline, tagger);
        let hidden = |text: &str| hide(text, &input.uri);
        let report = tagged.map_err(|error| anyhow::anyhow!(hidden(&format!("{error:#}"))))?;
        Ok(Report {
            notes: report.notes.iter().map(|note| hidden(note)).collect(),
            name: input.name.clone(),
            uri: redact(&input.uri),
            elapsed: started.elapsed().as_secs_f64(),
            ..report
        })
    }

    fn run(
        &self,
        pipeline: &gst::Pipeline,
        tagger: &gst::Element,
        input: &Input,
        watch: &dyn Watch,
    ) -> Result<Report> {
        let extent = Extent::default();
        let is_page = self.options.format == Format::Html;
        let collector = is_page.then(|| Collector::new(extent.clone()));
        let ends = Ends::default();
        ends.watch(pipeline, tagger, collector.clone());
        let without = self.options.without;
        let modalities = [Modality::Audio, Modality::Video]
            .into_iter()
            .filter(|modality| Some(*modality) != without);
        let wanted = Wanted {
            modalities: modalities.collect(),
            audio: self.options.audio_track.clone(),
            video: self.options.video_track.clone(),
            program: self.options.program,
            timeout: Duration::from_nanos(self.options.timeout),
        };
        let source = Source::add(pipeline, &input.uri, tagger, wanted, extent.clone())?;
        let mut progress = Progress {
            pipeline,
            source: &source,
            extent: &extent,
            ends: &ends,
            report: Report::default(),
            failures: Vec::new(),
            failure: Failure::default(),
            failed: None,
            stopped: None,
        };
        self.watch(&mut progress, watch)?;
        let Progress {
            mut report,
            failures,
            failure,
            ..
        } = progress;
        let error = failure.into_error(&input.uri);
        let passed = extent.get();
        if !report.interrupted {
            source.check()?;
        }
        let is_empty = report.windows.is_empty() && report.clip.is_empty();
        if !report.interrupted {
            match error {
                Some(error) if is_empty => return Err(error),
                None if !source.has_streams() => bail!("has neither audio nor video"),
                // Sound that is too short for the model gives no result.
                None if is_empty
                    && failures.is_empty()
                    && passed.duration().unwrap_or_default() <= 0.0 =>
                {
                    bail!("contains nothing that can be decoded")
                }
                _ => {}
            }
        }
        if is_empty && !failures.is_empty() {
            bail!("cannot be decoded: {}", failures.join("; "));
        }
        report.notes.splice(0..0, source.notes());
        if let Some(error) = error {
            let at = clock(passed.duration().unwrap_or_default());
            report.notes.push(format!("ends early, at {at}: {error:#}"));
        }
        place(&mut report, &passed);
        if let Some(collector) = collector {
            collector.finish(&mut report);
        }
        Ok(report)
    }

    /// Watches the pipeline until its end, or until it is stopped. After an error, what had been read is analysed.
    fn watch(&self, run: &mut Progress, watch: &dyn Watch) -> Result<()> {
        let timeout = Duration::from_nanos(self.options.timeout);
        let bus = run.pipeline.bus().context("a pipeline has a bus")?;
        let (mut moved, mut count) = (Instant::now(), (0, 0));
        // Failures to start are reported on the bus like any other.
        let _ = run.pipeline.set_state(gst::State::Playing);
        run.source.start();
        loop {
            if !run.report.interrupted && self.stop.load(Ordering::Relaxed) {
                run.report.interrupted = true;
                run.stop();
            }
            if let Some(since) = run.stopped {
                let since = match run.report.interrupted {
                    true => since,
                    false => since.max(moved),
                };
                if since.elapsed() > GRACE {
                    return Ok(());
                }
            }
            if run.stopped.is_none() {
                run.source.end_streams();
            }
            // What came before the end is on the bus by now.
            let over = run.ends.all() || run.source.is_over();
            let patience = gst::ClockTime::from_mseconds(if over { 0 } else { 20 });
            let message = bus.timed_pop(patience);
            if let Some(message) = &message {
                if matches!(message.type_(), gst::MessageType::Progress) {
                    moved = Instant::now();
                }
                run.handle(message);
            } else if over {
                return Ok(());
            }
            if run.source.is_choosing() {
                moved = Instant::now();
            }
            let passed = run.extent.get();
            if run.stopped.is_none()
                && let Some(failed) = run.failed
            {
                if run.failure.is_clear() && !run.source.has_arrived() {
                    return Ok(());
                }
                if failed.max(moved).elapsed() > SETTLING {
                    if passed.buffers == 0 {
                        return Ok(());
                    }
                    run.stop();
                }
            }
            if message.is_some() {
                continue;
            }
            let now = (passed.buffers, run.report.windows.len());
            if now != count {
                (count, moved) = (now, Instant::now());
                let all = run.pipeline.query_duration::<gst::ClockTime>();
                if let Some((now, all)) = passed.duration().zip(all) {
                    watch.progress((now / all.seconds_f64().max(1e-3)).min(1.0));
                }
            }
            run.source.check_choice()?;
            if moved.elapsed() > GRACE && run.failed.is_none() && run.source.has_given_up() {
                run.fail(anyhow::anyhow!(
                    "cannot be decoded: it is damaged, or not media that GStreamer knows"
                ));
            }
            if moved.elapsed() > timeout && run.stopped.is_none() {
                let seconds = timeout.as_secs_f64();
                run.fail(match run.source.is_silent() {
                    true => anyhow::anyhow!(
                        "cannot be read: nothing has arrived from the server for {seconds} s (--timeout)"
                    ),
                    false => anyhow::anyhow!(
                        "cannot be decoded: no progress for {seconds} s (--timeout)"
                    ),
                });
            }
        }
    }

    /// The element that tags, with the options.
    fn element(&self) -> Result<gst::Element> {
        let options = self.options;
        let models = &options.models;
        let patch = options.window.min(PATCH);
        let tagger = gst::ElementFactory::make("instrumenttagger")
            .name("tagger")
            .property_from_str("scheduling", "sync")
            .property_from_str("decode", options.decode.name())
            .property_from_str("segmentation", &options.segmentation)
            .property_from_str("partial", &options.partial)
            .property_from_str("execution-provider", &models.provider)
            .property_from_str("precision", &models.precision)
            .property("window", options.window)
            .property("stride", options.stride)
            .property("interval", options.interval)
            .property("frames", options.frames.unwrap_or(0))
            .property_if("patch-duration", patch, options.segmentation == "sliding")
            .property("patch-interval", patch)
            // Every label is reported.
            .property("threshold", 0f32)
            .property("max-tags", 0u32)
            .property("threads", self.threads)
            .property_if_some("audio-model", models.audio_model.as_deref())
            .property_if_some("video-model", models.video_model.as_deref())
            .property_if_some("fusion-model", models.fusion_model.as_deref())
            .build()?;
        Ok(tagger)
    }

    /// Stops `pipeline`, in a thread of its own: a decoder that never returns is left behind. The models of `tagger` stay
    /// open for the next input.
    fn close(&mut self, pipeline: gst::Pipeline, tagger: gst::Element) {
        // Nothing is sent unless it is received.
        let (done, closed) = mpsc::sync_channel(0);
        let element = tagger.clone();
        std::thread::spawn(move || {
            // What fails to stop is dropped all the same.
            let _ = pipeline.set_state(gst::State::Ready);
            let ready = element.current_state() == gst::State::Ready;
            element.set_locked_state(true);
            let _ = pipeline.set_state(gst::State::Null);
            let _ = pipeline.remove(&element);
            if !ready || done.send(()).is_err() {
                // It took too long: nobody waits for it, or keeps the element.
                let _ = element.set_state(gst::State::Null);
            }
        });
        let ready = closed.recv_timeout(PATIENCE).is_ok();
        let pads = ["audio", "video"].map(|name| tagger.static_pad(name).is_some());
        let mut old = Vec::new();
        for (slot, has) in self.warm.iter_mut().zip(pads) {
            if ready && has {
                old.extend(slot.replace(tagger.clone()));
            }
        }
        if ready {
            old.push(tagger);
        }
        self.cool(old);
    }

    /// Closes the models of those of `elements` that are not kept.
    fn cool(&self, elements: Vec<gst::Element>) {
        for element in elements {
            if !self.warm.iter().flatten().any(|warm| *warm == element) {
                let _ = element.set_state(gst::State::Null);
            }
        }
    }
}

impl Drop for Tagger<'_> {
    fn drop(&mut self) {
        let warm = std::mem::take(&mut self.warm);
        self.cool(warm.into_iter().flatten().collect());
    }
}

/// An input while it is tagged.
struct Progress<'a> {
    pipeline: &'a gst::Pipeline,
    source: &'a Source,
    extent: &'a Extent,
    ends: &'a Ends,
    report: Report,
    /// Why streams could not be tagged to their end.
    failures: Vec<String>,
    /// What ended the input early.
    failure: Failure,
    /// Since when that is known.
    failed: Option<Instant>,
    /// Since when nothing more is read.
    stopped: Option<Instant>,
}

impl Progress<'_> {
    /// Ends the input because of `error`.
    fn fail(&mut self, error: anyhow::Error) {
        self.failure.set(error);
        self.failed.get_or_insert_with(Instant::now);
        self.stop();
    }

    /// Reads no more; what had been read is analysed.
    fn stop(&mut self) {
        self.stopped = Some(Instant::now());
        self.source.stop();
    }

    fn handle(&mut self, message: &gst::Message) {
        match message.view() {
            gst::MessageView::Element(_) => {
                if let Some((window, clip)) = result(message) {
                    let report = &mut self.report;
                    let results = if clip {
                        &mut report.clip
                    } else {
                        &mut report.windows
                    };
                    results.push(window);
                }
            }
            gst::MessageView::Warning(warning) => {
                let note = match warning.details() {
                    Some(details) if details.name() == "instrumenttagger-failure" => {
                        let field = |name| details.get::<String>(name).unwrap_or_default();
                        let (stream, cause) = (field("stream"), field("cause"));
                        self.failures.push(cause.clone());
                        match stream.as_str() {
                            "" => format!("it is not tagged to its end: {cause}"),
                            _ => format!("its {stream} is not tagged to its end: {cause}"),
                        }
                    }
                    _ => warning.error().to_string(),
                };
                // Of sound without samples, which is an error.
                if note.contains("has no mel patches") {
                    return;
                }
                let notes = &mut self.report.notes;
                if notes.len() < MOST_NOTES && !notes.contains(&note) {
                    notes.push(note);
                }
            }
            // Errors that follow from a stop are not the input's.
            gst::MessageView::Error(error) if self.stopped.is_none() => {
                self.failure.add(error);
                self.failed.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
    }
}

/// The ends of the streams that leave the tagger.
#[derive(Clone, Default)]
struct Ends {
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Ends {
    /// Whether all streams have ended.
    fn all(&self) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        begun > 0 && begun == self.ended.load(Ordering::Relaxed)
    }

    /// Takes what leaves `tagger`; `collector` looks at what is analysed.
    fn watch(&self, pipeline: &gst::Pipeline, tagger: &gst::Element, collector: Option<Collector>) {
        let (own, pipeline) = (self.clone(), pipeline.downgrade());
        tagger.connect_pad_added(move |tagger, pad| {
            if let Some(pipeline) = pipeline.upgrade()
                && pad.direction() == gst::PadDirection::Src
            {
                own.begun.fetch_add(1, Ordering::Relaxed);
                // A pad without a sink fails its stream, which is reported on the bus.
                let _ = own.add_sink(&pipeline, pad);
                if let Some(collector) = &collector {
                    collector.watch(tagger, pad);
                }
            }
        });
    }

    fn add_sink(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<()> {
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()?;
        let input = sink.static_pad("sink").context("a sink has a pad")?;
        let ended = self.ended.clone();
        input.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            let is_end = |event: &gst::Event| event.type_() == gst::EventType::Eos;
            if info.event().is_some_and(is_end) {
                ended.fetch_add(1, Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
        pipeline.add(&sink)?;
        sink.sync_state_with_parent()?;
        pad.link(&input)?;
        Ok(())
    }
}

/// Has all times of `report` count from the input's start, and none lie beyond its end.
fn place(report: &mut Report, passed: &Passed) {
    let results = report.windows.iter_mut().chain(&mut report.clip);
    let last = results.fold(0f64, |last, result| {
        (result.start, result.end) = (passed.relative(result.start), passed.relative(result.end));
        last.max(result.end)
    });
    // Units of Monkey's Audio have no times, but what is decoded of them does.
    let duration = passed.duration().filter(|duration| *duration > 0.0);
    report.duration = duration.unwrap_or(last);
    report.frame_rate = passed.frame_rate;
    report.start_timecode = passed.start.map(|_| passed.offset());
    report.has_video = passed.has_video;
    for result in report.windows.iter_mut().chain(&mut report.clip) {
        result.start = result.start.min(report.duration);
        result.end = result.end.min(report.duration);
    }
}

/// What an element message holds, if it is a result, in stream time; whether it is about the whole stream.
fn result(message: &gst::MessageRef) -> Option<(Window, bool)> {
    let (tags, clip) = Tags::from_message(message)?;
    let stream_time = message.structure()?.get::<gst::ClockTime>("stream-time");
    let start = stream_time
        .ok()
        .or(tags.start)
        .unwrap_or_default()
        .seconds_f64();
    let window = Window {
        source: tags.source,
        model: tags.model,
        sources: tags.sources,
        start,
        end: start + tags.duration.unwrap_or_default().seconds_f64(),
        scores: tags.scores,
    };
    Some((window, clip))
}
