// SPDX-License-Identifier: MPL-2.0
//! One user of a model that others may share.

use std::sync::Arc;

use super::{
    error::Error,
    handle::Model,
    item::{Input, Output},
    run::queue::Owner,
    stats::Stats,
};

/// The requests of one user, for example of one element, to a [`Model`] that others may share: they are cancelled
/// together and counted apart. Dropping it cancels them.
#[derive(Debug)]
pub struct Client {
    model: Arc<Model>,
    owner: Arc<Owner>,
}

impl Client {
    /// A user of `model` without requests.
    pub fn new(model: Arc<Model>) -> Self {
        let owner = Owner::new(model.batch_size());
        Self { model, owner }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Runs the model on one input, together with others that are waiting, and returns at once. `reply` is called
    /// exactly once, on the model's thread or on that which cancels, without any lock of the model, and must return
    /// quickly.
    pub fn submit(&self, input: Input, reply: impl FnOnce(Result<Output, Error>) + Send + 'static) {
        self.model.queue.submit(&self.owner, input, Box::new(reply));
    }

    /// Runs the model on one input and waits for the result. Must not be called from a reply of
    /// [`submit`](Self::submit), which would deadlock.
    ///
    /// # Errors
    /// [`Error::WrongInput`], [`Error::NotFinite`] or [`Error::Run`]; [`Error::Cancelled`] as soon as another thread
    /// calls [`cancel`](Self::cancel), and [`Error::TimedOut`] after the options' time limit.
    pub fn run(&self, input: Input) -> Result<Output, Error> {
        self.model.queue.run_and_wait(&self.owner, input)
    }

    /// Answers all requests with [`Error::Cancelled`] before it returns, and each later one at once, until
    /// [`resume`](Self::resume). The current run ends unless another element waits for it.
    pub fn cancel(&self) {
        self.model.queue.cancel(&self.owner);
    }

    /// Accepts requests again.
    pub fn resume(&self) {
        self.model.queue.resume(&self.owner);
    }

    /// Counts and latencies of this user's requests. A batch with any of them counts, with all of its items.
    pub fn stats(&self) -> Stats {
        Stats {
            cpu_nodes: self.model.about.cpu_nodes,
            ..self.owner.recorder().stats()
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.cancel();
    }
}
