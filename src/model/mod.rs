// SPDX-License-Identifier: MPL-2.0
//! ONNX models that describe themselves, run by ONNX Runtime. Knows no GStreamer.
//!
//! A [`Model`] is opened by name or path and options; whoever asks for the same gets the same [`Model`], with one
//! session and one thread that runs what is waiting as one batch. What a model takes and gives is in its [`Card`],
//! which is read from the ONNX file's metadata and checked against the graph.

mod arrange;
mod batch;
mod binding;
mod card;
mod client;
mod error;
mod find;
mod gpu;
mod graph;
mod keyfile;
mod limits;
mod load;
mod onnx;
mod open;
mod provider;
mod queue;
mod runtime;
mod session;
mod stats;
mod timer;
mod verify;
mod worker;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, ThreadId},
    time::Duration,
};

pub use self::{
    card::{Activation, Card, Fit, Modality, Space},
    client::Client,
    error::Error,
    find::set_plugin_dir,
    limits::{BATCH_SIZE as MAX_BATCH_SIZE, THREADS as MAX_THREADS},
    provider::Provider,
    runtime::{Log, set_log},
    stats::Stats,
};
pub use ort::logging::LogLevel;

use self::{
    load::About,
    queue::{Owner, Queue},
};

/// What a model computes in, and so which of a name's files is run: `NAME.onnx`, `NAME.fp16.onnx` or `NAME.int8.onnx`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// What is fastest where the model runs: int8 on the processor and fp16 on a GPU, where there is such a file.
    #[default]
    Auto,
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers.
    Int8,
}

impl Precision {
    /// The name that users give: `auto`, `fp32`, `fp16` or `int8`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

/// How a model is run. Models opened with equal options are shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    /// What runs it.
    pub provider: Provider,
    /// Which GPU, from 0.
    pub device: u32,
    /// What it computes in.
    pub precision: Precision,
    /// Threads for one inference, at most 1024; 0: as many as ONNX Runtime thinks right, one a core.
    pub threads: u32,
    /// How many waiting inputs are run at once at most, up to 1024; 0: 1 on the processor, where batches save no time and cost
    /// memory, 8 on a GPU.
    pub batch_size: usize,
    /// Labels, one a line, instead of the card's.
    pub labels_file: Option<PathBuf>,
    /// Where the engines that TensorRT builds are kept; unset: `gst-instruments/engines` in XDG's folder for caches.
    pub engine_cache: Option<PathBuf>,
    /// The longest time that one run may take, and that opening may take apart from building engines, before it ends
    /// with [`Error::TimedOut`]; zero: no limit.
    pub timeout: Duration,
}

/// The first provider that works, one thread a core, and a time limit of 30 s.
impl Default for Options {
    fn default() -> Self {
        Self {
            provider: Provider::default(),
            device: 0,
            precision: Precision::default(),
            threads: 0,
            batch_size: 0,
            labels_file: None,
            engine_cache: None,
            timeout: Duration::from_secs(30),
        }
    }
}

/// What takes long while a model is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It begins.
    Started(String),
    /// It is done.
    Finished(String),
    /// It failed.
    Failed(String),
}

impl Options {
    fn batch_size_on(&self, provider: Provider) -> usize {
        match (self.batch_size, provider) {
            (0, Provider::Cpu) => 1,
            (0, _) => 8,
            (size, _) => size,
        }
    }
}

/// What a model takes for one inference.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// RGB, `[height, width, 3]`, row-major.
    Frame(Vec<u8>),
    /// The compressed mel spectrogram of a patch, `[bands, frames]`, row-major.
    Mel(Arc<[f32]>),
    /// Embeddings of both modalities.
    Fusion {
        /// Picture embeddings, `[k, size]`, k ≥ 1; zeros when there are none.
        video: Vec<f32>,
        /// The audio embedding, `[size]`; zeros when there is none.
        audio: Vec<f32>,
        /// 1 for what is there and 0 for what is missing: video, audio.
        present: [f32; 2],
    },
}

impl Input {
    /// The lengths that items of one batch must share.
    fn lengths(&self) -> [usize; 2] {
        match self {
            Self::Frame(frame) => [frame.len(), 0],
            Self::Mel(mel) => [mel.len(), 0],
            Self::Fusion { video, audio, .. } => [video.len(), audio.len()],
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "a picture of {} bytes", frame.len()),
            Self::Mel(mel) => write!(f, "a mel patch of {} values", mel.len()),
            Self::Fusion { video, audio, .. } => write!(
                f,
                "picture embeddings of {} values and an audio embedding of {} values",
                video.len(),
                audio.len()
            ),
        }
    }
}

/// What a model gives for one inference; all values are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// One value a label, the card's [`Activation`] not yet applied.
    pub tags: Vec<f32>,
    /// The embedding, if the card names its space.
    pub embedding: Option<Arc<[f32]>>,
}

/// An open model. The last handle that is dropped cancels all requests, ends its thread and frees its session, within
/// a second even while it runs.
pub struct Model {
    about: About,
    notes: Mutex<Vec<String>>,
    queue: Arc<Queue>,
    /// The thread that it runs on.
    thread: ThreadId,
    /// Of the requests that are no client's.
    owner: Arc<Owner>,
}

impl Model {
    /// Finds the model, loads it, checks its card against the graph and runs it once; or returns the one that is
    /// open already with the same file and options. `name_or_path` is a path if it has a `/` or ends with `.onnx`,
    /// otherwise a name that is looked for in `GST_INSTRUMENTS_MODEL_PATH` and beside the plugin; of a name's files
    /// the one that suits the provider and the precision is taken.
    ///
    /// # Errors
    /// Any [`Error`] but those of single inputs; a later call tries again.
    pub fn open(name_or_path: &str, options: &Options) -> Result<Arc<Self>, Error> {
        Self::open_with(name_or_path, options, &mut |_| ())
    }

    /// [`open`](Self::open) that says what takes long. `progress` is called on this thread, with no lock held.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(
        name_or_path: &str,
        options: &Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Self>, Error> {
        limits::check(options)?;
        open::open(&find::model(name_or_path)?, options, progress)
    }

    /// A model whose queue this thread works through.
    fn new(mut about: About, queue: Arc<Queue>) -> Self {
        Self {
            notes: Mutex::new(std::mem::take(&mut about.notes)),
            owner: Owner::new(about.batch_size),
            thread: thread::current().id(),
            about,
            queue,
        }
    }

    /// What the model says of itself.
    pub fn card(&self) -> &Card {
        &self.about.card
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.about.path
    }

    /// What runs the model, on which GPU, and in which precision, e.g. `cpu (fp32)` or `cuda (NVIDIA H200, fp16)`.
    pub fn active_provider(&self) -> &str {
        &self.about.active_provider
    }

    /// The largest number of inputs that are run at once.
    pub fn batch_size(&self) -> usize {
        self.about.batch_size
    }

    /// What the user should know though it works, each a sentence; nothing when they were taken already.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// [`Client::run`] for a user who never cancels.
    ///
    /// # Errors
    /// Those of [`Client::run`] but [`Error::Cancelled`].
    pub fn run(&self, input: Input) -> Result<Output, Error> {
        self.queue.run_and_wait(&self.owner, input)
    }

    /// [`Client::submit`] for a user who never cancels.
    pub fn submit(&self, input: Input, reply: impl FnOnce(Result<Output, Error>) + Send + 'static) {
        self.queue.submit(&self.owner, input, Box::new(reply));
    }

    /// What the model has done since it was opened, for all who share it.
    pub fn stats(&self) -> Stats {
        Stats {
            cpu_nodes: self.about.cpu_nodes,
            ..self.queue.recorder().stats()
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        worker::stop(&self.queue, self.thread);
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("path", &self.about.path)
            .field("active_provider", &self.about.active_provider)
            .finish_non_exhaustive()
    }
}
