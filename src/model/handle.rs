// SPDX-License-Identifier: MPL-2.0
//! An open model. [`open`](super::open) makes it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, ThreadId},
};

use super::{
    card::Card,
    error::Error,
    item::{Input, Output},
    load::About,
    run::{
        queue::{Owner, Queue},
        worker,
    },
    stats::Stats,
};

/// An open model. Dropping the last handle cancels all requests, ends the model's thread and frees its session, within
/// a second even during a run.
pub struct Model {
    pub(super) about: About,
    notes: Mutex<Vec<String>>,
    pub(super) queue: Arc<Queue>,
    /// The thread that it runs on.
    thread: ThreadId,
    /// Of the requests that are no client's.
    owner: Arc<Owner>,
}

impl Model {
    /// A model whose queue this thread works through.
    pub(super) fn new(mut about: About, queue: Arc<Queue>) -> Self {
        Self {
            notes: Mutex::new(std::mem::take(&mut about.notes)),
            owner: Owner::new(about.batch_size),
            thread: thread::current().id(),
            about,
            queue,
        }
    }

    /// The model's description of itself.
    pub fn card(&self) -> &Card {
        &self.about.card
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.about.path
    }

    /// Execution provider, GPU and precision in use, e.g. `cpu (fp32)` or `cuda (NVIDIA H200, fp16)`.
    pub fn active_provider(&self) -> &str {
        &self.about.active_provider
    }

    /// The maximum batch size.
    pub fn batch_size(&self) -> usize {
        self.about.batch_size
    }

    /// Warnings for the user, one sentence each; empty if they were taken already.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// [`Client::run`](super::Client::run) for a user who never cancels.
    ///
    /// # Errors
    /// Those of [`Client::run`](super::Client::run) except [`Error::Cancelled`].
    pub fn run(&self, input: Input) -> Result<Output, Error> {
        self.queue.run_and_wait(&self.owner, input)
    }

    /// [`Client::submit`](super::Client::submit) for a user who never cancels.
    pub fn submit(&self, input: Input, reply: impl FnOnce(Result<Output, Error>) + Send + 'static) {
        self.queue.submit(&self.owner, input, Box::new(reply));
    }

    /// Counts and latencies since the model was opened, of all its users together.
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
