// SPDX-License-Identifier: MPL-2.0
//! From a model's files to sessions that are checked and warm.

mod accelerator;
mod fields;
pub mod find;
mod graph;
mod keyfile;
mod onnx;
mod placement;
mod regular;
mod session;
mod verify;

use std::{path::PathBuf, sync::Arc};

use ort::{logging::LogLevel, session::RunOptions};

pub use self::fields::sidecar;

/// What `fuzz/` feeds; no part of the API.
pub mod internals {
    pub use super::{
        fields::{Fields, labels},
        graph::{Element, Graph, Port},
        keyfile::parse as parse_keyfile,
        onnx::check as check_onnx,
        verify::verify,
    };
}

use self::{accelerator::Accelerator, fields::Fields, find::Files, graph::Graph};
use super::{
    card::Card,
    error::Error,
    options::{Options, Progress},
    provider::Provider,
    run::{
        batch::{self, Lane, Runner},
        queue::Queue,
    },
    runtime::{self, Runtime},
};

/// A model that is ready to run.
pub struct Loaded {
    pub runner: Runner,
    pub queue: Arc<Queue>,
    pub about: About,
}

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
    /// What the sessions are run with, now and later.
    pub run: Arc<RunOptions>,
    pub progress: &'a dyn Fn(Progress),
}

impl Load<'_> {
    /// Loads it on the first provider that works.
    ///
    /// # Errors
    /// Any [`Error`] but those of single inputs.
    pub fn load(&self) -> Result<Loaded, Error> {
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

    fn on(&self, provider: Provider) -> Result<Loaded, Error> {
        let Self {
            options, runtime, ..
        } = *self;
        let path = self.files.pick(provider, options.precision)?;
        onnx::check(path)?;
        provider.find_library(&runtime.path)?;
        // The CPU checks the model whatever runs it, so that later failures are attributable to the provider.
        let mut session = session::cpu(path, options, runtime)?;
        let fields = Fields::read(path, session::metadata(&session))?;
        let graph = Graph::from(&session);
        let (card, layout) = verify::verify(&fields, &graph, options.labels_file.as_deref())?;
        let batch_size = options.batch_size_on(provider);
        let most = batch::largest(&card);
        if layout.batches && batch_size > most {
            return Err(Error::Limit {
                name: "batch-size".into(),
                value: batch_size,
                most,
            });
        }
        batch::check(&mut session, &card, &layout, &self.run)?;
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
            runner.warm(&self.run)?;
            Ok(runner)
        };
        if provider == Provider::Cpu {
            let runner = runner(vec![Lane::any(session)])?;
            return Ok(self.loaded(runner, about));
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
        Ok(self.loaded(runner, about))
    }

    fn loaded(&self, runner: Runner, about: About) -> Loaded {
        let limit = self.options.timeout;
        let queue = Queue::new(&about.card.name, limit, self.run.clone(), about.batch_size);
        Loaded {
            runner,
            queue,
            about,
        }
    }
}
