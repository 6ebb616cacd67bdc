// SPDX-License-Identifier: MPL-2.0
//! From a model's files to sessions that are checked and warm.

use std::{path::PathBuf, sync::Arc};

use ort::{logging::LogLevel, session::RunOptions};

use super::{
    Error, Options, Provider,
    batch::{self, Lane, Runner},
    card::{Card, Fields},
    find::Files,
    gpu::sessions::Request,
    graph::Graph,
    onnx,
    open::Opening,
    queue::Queue,
    runtime::{self, Runtime},
    session, verify,
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
    /// The nodes that a GPU left to the processor.
    pub cpu_nodes: usize,
    /// What the user should know though it works, each a sentence.
    pub notes: Vec<String>,
    pub batch_size: usize,
}

/// Loads it on the first provider that works.
///
/// # Errors
/// Any [`Error`] but those of single inputs.
pub fn load(files: &Files, options: &Options, opening: &Opening) -> Result<Loaded, Error> {
    let runtime = runtime::get()?;
    let run = RunOptions::new().map_err(|error| Error::Run {
        model: files.name().into(),
        cause: error.message().into(),
    })?;
    let run = Arc::new(run);
    opening.stoppable(run.clone());
    let load = Load {
        files,
        options,
        runtime: &runtime,
        run,
        opening,
    };
    let mut candidates = options.provider.candidates(&runtime.path);
    let last = candidates.pop().unwrap_or(Provider::Cpu);
    for provider in candidates {
        match load.on(provider) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => runtime::log(LogLevel::Warning, &error.to_string()),
        }
    }
    load.on(last)
}

struct Load<'a> {
    files: &'a Files,
    options: &'a Options,
    runtime: &'a Runtime,
    run: Arc<RunOptions>,
    opening: &'a Opening,
}

impl Load<'_> {
    fn on(&self, provider: Provider) -> Result<Loaded, Error> {
        let Self {
            options, runtime, ..
        } = *self;
        let path = self.files.pick(provider, options.precision)?;
        onnx::check(path)?;
        provider.find_library(&runtime.path)?;
        // Whatever runs it, the processor tells what it is and whether it works: what then fails is the GPU's.
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
            let mut runner = Runner::new(lanes, card.clone(), layout.clone());
            runner.warm(&self.run)?;
            Ok(runner)
        };
        if provider == Provider::Cpu {
            let runner = runner(vec![Lane::any(session)])?;
            return Ok(self.loaded(runner, about));
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
        let open = |request: &Request| {
            let opened = request.open(&mut |progress| self.opening.progress(progress))?;
            Ok((runner(opened.lanes)?, opened.summary))
        };
        let (runner, summary) = match open(&request) {
            // What cannot be replayed may still be run.
            Err(error @ (Error::Provider { .. } | Error::Run { .. })) if request.graphs => {
                runtime::log(LogLevel::Info, &error.to_string());
                request.graphs = false;
                open(&request)?
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
