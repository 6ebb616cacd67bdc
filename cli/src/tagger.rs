// SPDX-License-Identifier: MPL-2.0

//! Tags one input after the other in a GStreamer pipeline of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use gstinstruments::meta::Tags;

use crate::args::{Format, Modality, Models, Tag};
use crate::inputs::{Input, hide, redact};
use crate::pictures::Collector;
use crate::report::{Report, Window};
use crate::source::{Decoding, Source};

/// How long an input that is stopped may take for what it has read already.
const GRACE: Duration = Duration::from_secs(5);
/// A stream that has ended and of which nothing came out is given up after this.
const SILENCE: Duration = Duration::from_secs(10);
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
    /// The elements that run a model, kept in READY.
    warm: HashMap<String, gst::Element>,
    stop: &'a AtomicBool,
}

impl<'a> Tagger<'a> {
    pub fn new(options: &'a Tag, threads: u32, stop: &'a AtomicBool) -> Self {
        Self {
            options,
            threads,
            warm: HashMap::new(),
            stop,
        }
    }

    /// Tags an input to its end, or until it is stopped.
    pub fn tag(&mut self, input: &Input, watch: &dyn Watch) -> Result<Report> {
        let started = Instant::now();
        let pipeline = gst::Pipeline::new();
        let tagged = self.run(&pipeline, input, watch, started);
        self.keep_warm(&pipeline);
        pipeline.set_state(gst::State::Null)?;
        let mut report =
            tagged.map_err(|error| anyhow::anyhow!(hide(&format!("{error:#}"), &input.uri)))?;
        report.notes = report
            .notes
            .iter()
            .map(|note| hide(note, &input.uri))
            .collect();
        report.name = input.name.clone();
        report.uri = redact(&input.uri);
        report.elapsed = started.elapsed().as_secs_f64();
        Ok(report)
    }

    fn run(
        &self,
        pipeline: &gst::Pipeline,
        input: &Input,
        watch: &dyn Watch,
        started: Instant,
    ) -> Result<Report> {
        let collector = (self.options.format == Format::Html).then(Collector::new);
        let branches = Branches {
            collector: collector.clone(),
            pipeline: pipeline.downgrade(),
            options: self.options.clone(),
            threads: self.threads,
            going: Arc::default(),
        };
        if !self.options.models.unfused() {
            branches.add_fusion(pipeline)?;
        }
        let without = self.options.without;
        let wanted = [Modality::Audio, Modality::Video]
            .into_iter()
            .filter(|modality| Some(*modality) != without);
        let decoding = Decoding {
            mode: self.options.decode,
            interval: self.options.interval,
            longest: self.options.window / 2,
            threads: self.threads,
        };
        let open = Box::new(move |modality| branches.open(modality));
        let source = Source::add(pipeline, &input.uri, wanted.collect(), decoding, open)?;
        let mut report = Report::default();
        let timeout = Duration::from_nanos(self.options.timeout);
        let bus = pipeline.bus().context("a pipeline has a bus")?;
        let mut position = None;
        let mut moved = started;
        let mut stopped = None;
        // Failures to start are reported on the bus like any other.
        if pipeline.set_state(gst::State::Playing).is_ok() {
            let _ = source.start();
        }
        loop {
            if stopped.is_none() && self.stop.load(Ordering::Relaxed) {
                stopped = Some(Instant::now());
                report.interrupted = true;
                pipeline.send_event(gst::event::Eos::new());
            }
            let now = pipeline.query_position::<gst::ClockTime>();
            if now != position {
                (position, moved) = (now, Instant::now());
                if let Some((now, duration)) = now.zip(pipeline.query_duration::<gst::ClockTime>())
                {
                    watch.progress((now.seconds_f64() / duration.seconds_f64().max(1e-3)).min(1.0));
                }
            }
            let Some(message) = bus.timed_pop(gst::ClockTime::from_mseconds(100)) else {
                if stopped.is_some_and(|since| since.elapsed() > GRACE) {
                    break;
                }
                source.check(false)?;
                if moved.elapsed() > SILENCE {
                    source.end_silent();
                }
                if moved.elapsed() > timeout {
                    let seconds = timeout.as_secs_f64();
                    bail!("cannot be decoded: no progress for {seconds} s (--timeout)");
                }
                continue;
            };
            match message.view() {
                gst::MessageView::Eos(_) | gst::MessageView::Application(_) => break,
                gst::MessageView::Element(_) => {
                    if let Some((window, clip)) = result(&message) {
                        let results = if clip {
                            &mut report.clip
                        } else {
                            &mut report.windows
                        };
                        results.push(window);
                    }
                }
                gst::MessageView::Progress(_) => moved = Instant::now(),
                gst::MessageView::Warning(warning) => {
                    let note = warning.error().to_string();
                    if report.notes.len() < MOST_NOTES && !report.notes.contains(&note) {
                        report.notes.push(note);
                    }
                }
                // Errors that follow from an interruption are not the input's.
                gst::MessageView::Error(_) if stopped.is_some() => break,
                gst::MessageView::Error(error) => {
                    source.check(true)?;
                    return Err(failure(error));
                }
                _ => {}
            }
        }
        source.check(false).or_else(|error| {
            if stopped.is_some() {
                Ok(())
            } else {
                Err(error)
            }
        })?;
        report.notes.extend(source.notes());
        let ends = report
            .windows
            .iter()
            .chain(&report.clip)
            .map(|window| window.end);
        let known = pipeline
            .query_duration::<gst::ClockTime>()
            .filter(|_| stopped.is_none());
        let position = pipeline.query_position::<gst::ClockTime>().or(position);
        report.duration = match known.or(position) {
            Some(time) => time.seconds_f64(),
            None => ends.fold(0.0, f64::max),
        };
        if let Some(collector) = collector {
            collector.finish(&mut report);
        }
        Ok(report)
    }

    /// Keeps the elements with models in READY, so that these stay open for the next input.
    fn keep_warm(&mut self, pipeline: &gst::Pipeline) {
        let with_model = |element: &gst::Element| element.name().starts_with("model-");
        let _ = pipeline.set_state(gst::State::Ready);
        let elements = pipeline.iterate_elements().into_iter().flatten();
        for element in elements.filter(with_model) {
            if element.current_state() == gst::State::Ready {
                element.set_locked_state(true);
                if let Some(last) = self.warm.insert(element.name().into(), element) {
                    let _ = last.set_state(gst::State::Null);
                }
            }
        }
    }
}

impl Drop for Tagger<'_> {
    fn drop(&mut self) {
        for element in self.warm.values() {
            let _ = element.set_state(gst::State::Null);
        }
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

/// An error message as a sentence that names the failed element or input.
fn failure(error: &gst::message::Error) -> anyhow::Error {
    let cause = error.error();
    let source = error.src().cloned();
    let within = |name: &str| {
        let mut object = source.clone();
        while let Some(own) = object {
            if own.name().starts_with(name) {
                return true;
            }
            object = own.parent();
        }
        false
    };
    if within("model-") || within("tagger-") || cause.matches(gst::CoreError::Failed) {
        anyhow::anyhow!("{cause}")
    } else if cause.is::<gst::ResourceError>() || within("reader") {
        anyhow::anyhow!("cannot be read: {cause}")
    } else {
        anyhow::anyhow!("cannot be decoded: {cause}")
    }
}

/// Makes the elements that tag a stream.
struct Branches {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    options: Tag,
    threads: u32,
    collector: Option<Collector>,
    /// Sinks whose streams have not ended.
    going: Arc<AtomicUsize>,
}

impl Branches {
    /// The elements of one modality, from a funnel that waits for the decoded stream to the fusion, if there is one.
    fn open(&self, modality: Modality) -> Result<gst::Element> {
        let pipeline = self.pipeline.upgrade().context("the pipeline is gone")?;
        let options = &self.options;
        let funnel = gst::ElementFactory::make("funnel").build()?;
        let mut elements = vec![funnel.clone()];
        let name = modality.name();
        let classify = gst::ElementFactory::make("frameclassify")
            .name(format!("model-{name}"))
            .property_from_str("scheduling", "sync");
        if modality == Modality::Audio {
            let patch = options.window.min(PATCH);
            let mut melspec = gst::ElementFactory::make("melspec")
                .name("tagger-melspec")
                .property_from_str("partial", &options.partial);
            melspec = match options.segmentation.as_str() {
                "sliding" => melspec
                    .property("patch-duration", patch)
                    .property("patch-interval", patch),
                other => melspec.property_from_str("segmentation", other),
            };
            elements.push(melspec.build()?);
            elements.push(
                self.inference(classify, &options.models.audio_model)
                    .build()?,
            );
        } else {
            let classify = classify
                .property("interval", options.interval)
                .property("frames", options.frames.unwrap_or(0));
            elements.push(
                self.inference(classify, &options.models.video_model)
                    .build()?,
            );
        }
        if let (Some(collector), Some(classify)) = (&self.collector, elements.last()) {
            collector.watch(classify, modality);
        }
        let fuse = pipeline.by_name("model-fusion");
        if fuse.is_none() {
            elements.push(self.sink()?);
        }
        pipeline.add_many(&elements)?;
        gst::Element::link_many(&elements)?;
        if let (Some(fuse), Some(last)) = (fuse, elements.last()) {
            last.link_pads(Some("src"), &fuse, Some(name))?;
        }
        for element in elements.iter().rev() {
            element.sync_state_with_parent()?;
        }
        Ok(funnel)
    }

    fn add_fusion(&self, pipeline: &gst::Pipeline) -> Result<()> {
        let options = &self.options;
        let fuse = gst::ElementFactory::make("avfuse")
            .name("model-fusion")
            .property("window", options.window)
            .property("stride", options.stride)
            .property_if_some("frames", options.frames);
        let fuse = self.inference(fuse, &options.models.fusion_model).build()?;
        let sink = self.sink()?;
        pipeline.add_many([&fuse, &sink])?;
        fuse.link(&sink)?;
        Ok(())
    }

    /// Sets what all elements with a model have; every label is reported.
    fn inference<'b>(
        &'b self,
        builder: gst::element_factory::ElementBuilder<'b>,
        model: &'b Option<String>,
    ) -> gst::element_factory::ElementBuilder<'b> {
        let Models {
            provider,
            precision,
            ..
        } = &self.options.models;
        builder
            .property("threshold", 0f32)
            .property("max-tags", 0u32)
            .property("threads", self.threads)
            .property_from_str("execution-provider", provider)
            .property_from_str("precision", precision)
            .property_if_some("model", model.as_deref())
    }

    /// Takes what passes. When all of them have the end of their streams, an application message says so: the
    /// pipeline's own is lost if a decoder that was added meanwhile is still changing its state.
    fn sink(&self) -> Result<gst::Element> {
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()?;
        let pad = sink.static_pad("sink").context("no sink pad")?;
        self.going.fetch_add(1, Ordering::Relaxed);
        let (going, pipeline) = (self.going.clone(), self.pipeline.clone());
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            let is_end = |event: &gst::Event| event.type_() == gst::EventType::Eos;
            if info.event().is_some_and(is_end)
                && going.fetch_sub(1, Ordering::Relaxed) == 1
                && let Some(pipeline) = pipeline.upgrade()
            {
                let ended = gst::Structure::new_empty("ended");
                // Without a bus there is no loop to end.
                let _ = pipeline.post_message(gst::message::Application::new(ended));
            }
            gst::PadProbeReturn::Ok
        });
        Ok(sink)
    }
}
