// SPDX-License-Identifier: MPL-2.0

//! The analysis: a pipeline of its own, fed with copies of what passes. No state change, event or error of the host's
//! pipeline depends on it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;

use super::branch::Branch;
use super::decode::Decoding;
use super::imp::CAT;
use super::settings::FUSE;
use crate::meta::Source;

/// How long the elements may take to stop before they are left behind.
const PATIENCE: Duration = Duration::from_millis(800);

/// Runs the models over the streams.
pub struct Analysis {
    pub pipeline: gst::Pipeline,
    fuse: gst::Element,
    branches: Mutex<[Option<Arc<Branch>>; 2]>,
    /// Whether everything that came is analysed, and the streams have ended.
    ended: Arc<AtomicBool>,
    /// Whether a part that the streams share failed.
    failed: AtomicBool,
    running: AtomicBool,
}

impl Analysis {
    /// An analysis without streams, with a fusion unless `unfused`. `handle` gets the messages of its elements, and `ended` is called when the streams
    /// have ended.
    ///
    /// # Errors
    /// When an element is not installed.
    pub fn new(
        unfused: bool,
        handle: impl Fn(&gst::Message) + Send + Sync + 'static,
        ended: impl Fn() + Send + Sync + 'static,
    ) -> Result<Arc<Self>, glib::BoolError> {
        let pipeline = gst::Pipeline::with_name("analysis");
        // A funnel joins the streams, and waits for neither.
        let fuse = if unfused { "funnel" } else { "avfuse" };
        let fuse = gst::ElementFactory::make(fuse).name(FUSE).build()?;
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()?;
        pipeline.add_many([&fuse, &sink])?;
        fuse.link(&sink)?;
        // The host's times count.
        pipeline.set_start_time(gst::ClockTime::NONE);
        let bus = pipeline.bus().expect("a pipeline has a bus");
        bus.set_sync_handler(move |_, message| {
            handle(message);
            gst::BusSyncReply::Drop
        });
        let over = Arc::<AtomicBool>::default();
        let flag = over.clone();
        let pad = sink.static_pad("sink").expect("a sink has a pad");
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            match info.event().map(|event| event.type_()) {
                Some(gst::EventType::Eos) => {
                    flag.store(true, Relaxed);
                    ended();
                }
                Some(gst::EventType::StreamStart) => flag.store(false, Relaxed),
                _ => (),
            }
            gst::PadProbeReturn::Ok
        });
        Ok(Arc::new(Self {
            pipeline,
            fuse,
            branches: Mutex::default(),
            ended: over,
            failed: AtomicBool::default(),
            running: AtomicBool::default(),
        }))
    }

    /// Adds a `source` stream whose media passes `sink`, and which is decoded as `decoding` says.
    ///
    /// # Errors
    /// When an element is not installed, or a model cannot be opened.
    pub fn add(
        &self,
        source: Source,
        sink: &gst::Pad,
        decoding: impl Fn() -> Decoding + Send + Sync + 'static,
        configure: impl FnOnce(),
    ) -> Result<Arc<Branch>, glib::BoolError> {
        let name = if self.is_unfused() {
            "sink_%u"
        } else {
            source.name()
        };
        let fuse = self
            .fuse
            .request_pad_simple(name)
            .ok_or_else(|| glib::bool_error!("the fusion gives no pad '{name}'"))?;
        let branch = Arc::new(Branch::new(&self.pipeline, source, sink, &fuse, decoding)?);
        branch.follow_streams();
        configure();
        self.branches.lock().unwrap()[index(source)] = Some(branch.clone());
        branch.sync_states()?;
        if self.running.load(Relaxed) {
            branch.start()?;
        }
        Ok(branch)
    }

    /// Whether the streams have results of their own alone.
    pub fn is_unfused(&self) -> bool {
        self.fuse
            .factory()
            .is_some_and(|factory| factory.name() == "funnel")
    }

    /// The branch of the other modality than `source`.
    pub fn beside(&self, source: Source) -> Option<Arc<Branch>> {
        self.branches.lock().unwrap()[1 - index(source)].clone()
    }

    fn all(&self) -> Vec<Arc<Branch>> {
        let branches = self.branches.lock().unwrap();
        branches.iter().flatten().cloned().collect()
    }

    /// Opens the models.
    pub fn open(&self) -> Result<(), gst::StateChangeError> {
        self.pipeline.set_state(gst::State::Ready).map(drop)
    }

    /// Begins a run.
    pub fn start(&self) -> Result<(), glib::BoolError> {
        self.ended.store(false, Relaxed);
        self.failed.store(false, Relaxed);
        let playing = self.pipeline.set_state(gst::State::Playing);
        playing.map_err(|_| glib::bool_error!("the analysis cannot be started"))?;
        self.running.store(true, Relaxed);
        self.all().iter().try_for_each(|branch| branch.start())
    }

    /// Takes the running time from `clock` since `base_time`, as the host does: live, the fusion waits for no stream
    /// longer than its latency.
    pub fn follow(&self, clock: Option<&gst::Clock>, base_time: Option<gst::ClockTime>) {
        self.pipeline.use_clock(clock);
        // The fusion runs already.
        let _ = self.fuse.set_clock(clock);
        if let Some(base_time) = base_time {
            self.pipeline.set_base_time(base_time);
            self.fuse.set_base_time(base_time);
        }
    }

    /// Lets go of media that waits for the analysis, and takes no more in this run.
    pub fn interrupt(&self) {
        self.running.store(false, Relaxed);
        self.all().iter().for_each(|branch| branch.interrupt());
    }

    /// Ends a run, after [`interrupt`](Self::interrupt). Returns whether the elements stopped: one that does not return
    /// is left behind, and this analysis is of no more use.
    pub fn stop(self: &Arc<Self>) -> bool {
        let analysis = self.clone();
        in_time(move || {
            let _ = analysis.pipeline.set_state(gst::State::Ready);
            analysis.all().iter().for_each(|branch| branch.stop());
        })
    }

    /// Closes the models. Returns as [`stop`](Self::stop).
    pub fn close(self: &Arc<Self>) -> bool {
        let analysis = self.clone();
        in_time(move || {
            let _ = analysis.pipeline.set_state(gst::State::Null);
        })
    }

    /// Takes `branch` out.
    pub fn remove(&self, branch: &Arc<Branch>) {
        self.branches.lock().unwrap()[index(branch.source)] = None;
        branch.interrupt();
        let (own, pipeline, fuse) = (branch.clone(), self.pipeline.clone(), self.fuse.clone());
        in_time(move || {
            let pad = own.fuse_pad();
            own.stop();
            own.remove(&pipeline);
            if let Some(pad) = pad {
                fuse.release_request_pad(&pad);
            }
        });
    }

    /// The branch that `object` is a part of.
    pub fn branch_of(&self, object: &gst::Object) -> Option<Arc<Branch>> {
        self.all()
            .into_iter()
            .find(|branch| branch.analyses(object))
    }

    /// Notes that a part failed that the streams share. Returns whether it is the first one.
    pub fn fail(&self) -> bool {
        !self.failed.swap(true, Relaxed)
    }

    /// Ends the analysis of all streams.
    pub fn give_up(&self) {
        for branch in self.all() {
            branch.give_up();
        }
    }

    /// Whether no more results come: the streams have ended, or all of them failed.
    pub fn has_ended(&self) -> bool {
        let failed = self.all().iter().all(|branch| branch.has_failed());
        self.ended.load(Relaxed) || failed
    }

    /// Whether everything that came has been analysed as far as it can be now.
    pub fn is_idle(&self) -> bool {
        self.all().iter().all(|branch| branch.is_idle())
    }

    /// Whether a model runs.
    pub fn is_busy(&self) -> bool {
        self.all().iter().any(|branch| branch.is_busy())
    }

    /// How often something moved.
    pub fn progress(&self) -> u64 {
        self.all().iter().map(|branch| branch.progress()).sum()
    }
}

fn index(source: Source) -> usize {
    usize::from(source == Source::Audio)
}

/// Runs `work`, which may never return, in a thread of its own. Returns whether it has returned after [`PATIENCE`].
fn in_time(work: impl FnOnce() + Send + 'static) -> bool {
    let (done, returned) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        // Nobody waits any more if it took too long.
        let _ = done.send(());
    });
    let in_time = returned.recv_timeout(PATIENCE).is_ok();
    if !in_time {
        gst::warning!(
            CAT,
            "A part of the analysis does not stop and is left behind"
        );
    }
    in_time
}
