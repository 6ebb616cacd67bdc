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
mod error;
mod find;
mod gpu;
mod graph;
mod keyfile;
mod onnx;
mod provider;
mod runtime;
mod session;
mod shared;
mod stats;
mod verify;
mod worker;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
};

pub use self::{
    card::{Activation, Card, Fit, Modality, Space},
    error::Error,
    find::set_plugin_dir,
    provider::Provider,
    runtime::{Log, set_log},
    stats::Stats,
};
pub use ort::logging::LogLevel;

use self::{
    batch::{Lane, Runner},
    card::Fields,
    find::Files,
    gpu::sessions::Request,
    graph::Graph,
    runtime::Runtime,
    stats::Recorder,
    worker::Worker,
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// What runs it.
    pub provider: Provider,
    /// Which GPU, from 0.
    pub device: u32,
    /// What it computes in.
    pub precision: Precision,
    /// Threads for one inference; 0: as many as ONNX Runtime thinks right, one a core.
    pub threads: u32,
    /// How many waiting inputs are run at once at most; 0: 1 on the processor, where batches save no time and cost
    /// memory, 8 on a GPU.
    pub batch_size: usize,
    /// Labels, one a line, instead of the card's.
    pub labels_file: Option<PathBuf>,
    /// Where the engines that TensorRT builds are kept; unset: `gst-instruments/engines` in XDG's folder for caches.
    pub engine_cache: Option<PathBuf>,
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

/// An open model. The last handle that is dropped ends its thread and frees its session.
pub struct Model {
    card: Arc<Card>,
    path: PathBuf,
    active_provider: String,
    cpu_nodes: usize,
    notes: Mutex<Vec<String>>,
    recorder: Arc<Mutex<Recorder>>,
    worker: Worker,
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

    /// [`open`](Self::open) that says what takes long.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(
        name_or_path: &str,
        options: &Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Self>, Error> {
        let files = find::model(name_or_path)?;
        shared::open(&files, options, || Self::load(&files, options, progress))
    }

    /// Loads it on the first provider that works.
    fn load(
        files: &Files,
        options: &Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let runtime = runtime::get()?;
        let mut candidates = options.provider.candidates(&runtime.path);
        let last = candidates.pop().unwrap_or(Provider::Cpu);
        for provider in candidates {
            match Self::load_on(provider, files, options, &runtime, progress) {
                Ok(model) => return Ok(model),
                Err(error) => runtime::log(LogLevel::Warning, &error.to_string()),
            }
        }
        Self::load_on(last, files, options, &runtime, progress)
    }

    fn load_on(
        provider: Provider,
        files: &Files,
        options: &Options,
        runtime: &Runtime,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let path = files.pick(provider, options.precision)?;
        onnx::check(path)?;
        provider.find_library(&runtime.path)?;
        // Whatever runs it, the processor tells what it is and whether it works: what then fails is the GPU's.
        let mut session = session::cpu(path, options, runtime)?;
        let fields = Fields::read(path, session::metadata(&session))?;
        let graph = Graph::from(&session);
        let (card, layout) = verify::verify(&fields, &graph, options.labels_file.as_deref())?;
        batch::check(&mut session, &card, &layout)?;
        let card = Arc::new(card);
        let batch_size = options.batch_size_on(provider);
        let recorder = Arc::new(Mutex::new(Recorder::new(batch_size)));
        let spawn = |lanes| {
            let runner = Runner::new(lanes, card.clone(), layout.clone());
            Worker::spawn(&card.name, runner, batch_size, recorder.clone())
        };
        let model = |worker, active_provider| Self {
            card: card.clone(),
            path: path.into(),
            active_provider,
            cpu_nodes: 0,
            notes: Mutex::default(),
            recorder: recorder.clone(),
            worker,
        };
        if provider == Provider::Cpu {
            let worker = spawn(vec![Lane::any(session)])?;
            return Ok(model(worker, format!("cpu ({})", card.precision.as_str())));
        }
        drop(session);
        let mut request = Request {
            provider,
            path,
            card: &card,
            layout: &layout,
            options,
            runtime,
            graphs: true,
        };
        request.graphs = request.replays();
        let mut open = |request: &Request| {
            let opened = request.open(progress)?;
            Ok((spawn(opened.lanes)?, opened.summary))
        };
        let (worker, summary) = match open(&request) {
            // What cannot be replayed may still be run.
            Err(error @ (Error::Provider { .. } | Error::Run { .. })) if request.graphs => {
                runtime::log(LogLevel::Info, &error.to_string());
                request.graphs = false;
                open(&request)?
            }
            opened => opened?,
        };
        Ok(Self {
            cpu_nodes: summary.placement.cpu_nodes(),
            notes: Mutex::new(summary.notes(&card.name)),
            ..model(worker, summary.to_string())
        })
    }

    /// What the model says of itself.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What runs the model, on which GPU, and in which precision, e.g. `cpu (fp32)` or `cuda (NVIDIA H200, fp16)`.
    pub fn active_provider(&self) -> &str {
        &self.active_provider
    }

    /// What the user should know though it works, each a sentence; nothing when they were taken already.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs the model on one input and waits for the result. Not to be called from a reply of
    /// [`submit`](Self::submit), which it would wait for.
    ///
    /// # Errors
    /// [`Error::WrongInput`], [`Error::NotFinite`] or [`Error::Run`].
    pub fn run(&self, input: Input) -> Result<Output, Error> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.submit(input, move |result| {
            // The receiver waits below for as long as this can be called.
            let _ = answer.send(result);
        });
        answered.recv().unwrap_or_else(|_| Err(self.ended()))
    }

    /// Runs the model on one input, together with others that are waiting, and returns at once. `reply` is called
    /// exactly once, on the model's thread, and must be short.
    pub fn submit(&self, input: Input, reply: impl FnOnce(Result<Output, Error>) + Send + 'static) {
        if let Err(reply) = self.worker.submit(input, Box::new(reply)) {
            reply(Err(self.ended()));
        }
    }

    /// What the model has done so far.
    pub fn stats(&self) -> Stats {
        let recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        Stats {
            cpu_nodes: self.cpu_nodes,
            ..recorder.stats()
        }
    }

    fn ended(&self) -> Error {
        Error::Run {
            model: self.card.name.clone(),
            cause: "its thread has ended; open it again".into(),
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("path", &self.path)
            .field("active_provider", &self.active_provider)
            .finish_non_exhaustive()
    }
}
