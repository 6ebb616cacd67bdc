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

/// An open model. The last handle that is dropped cancels all requests, ends its thread and frees its session, within
/// a second even while it runs.
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

    /// [`Client::run`](super::Client::run) for a user who never cancels.
    ///
    /// # Errors
    /// Those of [`Client::run`](super::Client::run) but [`Error::Cancelled`].
    pub fn run(&self, input: Input) -> Result<Output, Error> {
        self.queue.run_and_wait(&self.owner, input)
    }

    /// [`Client::submit`](super::Client::submit) for a user who never cancels.
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
