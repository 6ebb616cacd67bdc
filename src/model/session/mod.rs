// SPDX-License-Identifier: MPL-2.0
//! From a model's files to ONNX Runtime sessions that are checked and warm, and a [`Runner`] that runs them on batches.
//!
//! The CPU checks every model; `accelerator` then makes the sessions on a GPU, with `engines` for what TensorRT builds.
//! `batch` stacks inputs into the memory of `buffers`, runs a session, and splits what it gives.

mod accelerator;
mod batch;
mod buffers;
mod engines;
#[allow(unsafe_code)]
mod placement;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ort::{
    ep::{self, ExecutionProviderDispatch},
    logging::LogLevel,
    session::{
        RunOptions, Session,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
};

use self::{accelerator::Accelerator, batch::Lane};
use super::{
    card::{self, Card, Fields, Graph, file},
    error::Error,
    find::Files,
    options::{Options, Progress},
    provider::Provider,
    runtime::{self, Runtime},
};

pub use self::batch::Runner;

/// What can be said of an open model.
#[derive(Debug)]
pub struct About {
    pub card: Arc<Card>,
    pub path: PathBuf,
    /// What runs it, e.g. `cuda (NVIDIA H200, fp16)`.
    pub active_provider: String,
    /// The nodes that run on the CPU although another provider runs the model.
    pub cpu_nodes: usize,
    /// What the user should know though it works, each a sentence.
    pub notes: Vec<String>,
    pub batch_size: usize,
}

/// What a model is loaded from.
pub struct Load<'a> {
    pub files: &'a Files,
    pub options: &'a Options,
    pub runtime: &'a Runtime,
    /// What the sessions are run with.
    pub run: &'a RunOptions,
    pub progress: &'a dyn Fn(Progress),
}

impl Load<'_> {
    /// Loads it on the first provider that works.
    ///
    /// # Errors
    /// Any [`Error`] but those of single inputs.
    pub fn load(&self) -> Result<(Runner, About), Error> {
        let provider = self.options.provider;
        let mut candidates = provider.candidates(&self.runtime.path);
        let last = candidates.pop().unwrap_or(Provider::Cpu);
        for provider in candidates {
            match self.on(provider) {
                Ok(loaded) => return Ok(loaded),
                Err(error) => runtime::log(LogLevel::Warning, &error.to_string()),
            }
        }
        self.on(last)
    }

    fn on(&self, provider: Provider) -> Result<(Runner, About), Error> {
        let Self {
            options, runtime, ..
        } = *self;
        let path = self.files.pick(provider, options.precision)?;
        file::check(path)?;
        provider.find_library(&runtime.path)?;
        // The CPU checks the model whatever runs it, so that later failures are attributable to the provider.
        let mut session = cpu(path, options, runtime)?;
        let fields = Fields::read(path, metadata(&session))?;
        let graph = Graph::from(&session);
        let (card, layout) = card::verify(&fields, &graph, options.labels_file.as_deref())?;
        let batch_size = options.batch_size_on(provider);
        let most = batch::largest(&card);
        if layout.batches && batch_size > most {
            return Err(Error::Limit {
                name: "batch-size".into(),
                value: batch_size,
                most,
            });
        }
        batch::check(&mut session, &card, &layout, self.run)?;
        let card = Arc::new(card);
        let mut about = About {
            card: card.clone(),
            path: path.into(),
            active_provider: format!("cpu ({})", card.precision.as_str()),
            cpu_nodes: 0,
            notes: Vec::new(),
            batch_size,
        };
        let runner = |lanes| -> Result<Runner, Error> {
            let mut runner = Runner::new(provider, lanes, card.clone(), layout.clone());
            runner.warm(self.run)?;
            Ok(runner)
        };
        if provider == Provider::Cpu {
            let runner = runner(vec![Lane::any(session)])?;
            return Ok((runner, about));
        }
        drop(session);
        let mut accelerator = Accelerator {
            provider,
            path,
            card: &card,
            layout: &layout,
            options,
            runtime,
            replay: true,
        };
        accelerator.replay = accelerator.replays();
        let open = |accelerator: &Accelerator| {
            let opened = accelerator.open(self.progress)?;
            Ok((runner(opened.lanes)?, opened.summary))
        };
        let (runner, summary) = match open(&accelerator) {
            // What cannot be replayed may still be run.
            Err(error @ (Error::Provider { .. } | Error::Run { .. })) if accelerator.replay => {
                runtime::log(LogLevel::Info, &error.to_string());
                accelerator.replay = false;
                open(&accelerator)?
            }
            opened => opened?,
        };
        about.active_provider = summary.to_string();
        about.cpu_nodes = summary.placement.cpu_nodes();
        about.notes = summary.notes(&card.name);
        Ok((runner, about))
    }
}

/// Loads the model to run on the CPU.
///
/// # Errors
/// [`Error::Load`] when ONNX Runtime refuses it.
fn cpu(path: &Path, options: &Options, runtime: &Runtime) -> Result<Session, Error> {
    let open = || -> ort::Result<Session> {
        builder(options, runtime)?
            // A plan of the memory helps only where all runs are alike.
            .with_memory_pattern(options.batch_size_on(Provider::Cpu) == 1)?
            .with_execution_providers([cpu_provider()])?
            .commit_from_file(path)
    };
    open().map_err(|error| Error::Load {
        path: path.into(),
        cause: Provider::Cpu.backend().explain(error.message()),
    })
}

/// Common session options; providers are added by the caller in priority order.
///
/// # Errors
/// ONNX Runtime's.
fn builder(options: &Options, runtime: &Runtime) -> ort::Result<SessionBuilder> {
    let mut builder = Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_deterministic_compute(true)?
        // A pool that spins burns more CPU time after each inference than the inference takes.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?;
    #[cfg(feature = "gpu")]
    {
        // ort's default may pick another device by itself.
        let policy = ort::session::builder::AutoDevicePolicy::PreferCPU;
        builder = builder.with_auto_device(policy)?;
    }
    if options.threads > 0 {
        builder = builder.with_intra_threads(options.threads as usize)?;
    }
    Ok(builder)
}

/// The CPU as a provider. It takes every node that is left, so it goes last.
fn cpu_provider() -> ExecutionProviderDispatch {
    // Without the arena an inference takes a quarter to a half more CPU time, and the process is no smaller once the
    // allocator has adapted.
    ep::CPU::default().with_arena_allocator(true).build()
}

/// The keys and values of the file's `metadata_props`; none when they cannot be read.
fn metadata(session: &Session) -> Vec<(String, String)> {
    let Ok(metadata) = session.metadata() else {
        return Vec::new();
    };
    let keys = metadata.custom_keys().unwrap_or_default();
    keys.into_iter()
        .filter_map(|key| {
            let value = metadata.custom(&key)?;
            Some((key, value))
        })
        .collect()
}
