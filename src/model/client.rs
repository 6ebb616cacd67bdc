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
    /// exactly once, on the model's thread or on that which cancels, with no lock of the model's held, and must be
    /// short.
    pub fn submit(&self, input: Input, reply: impl FnOnce(Result<Output, Error>) + Send + 'static) {
        self.model.queue.submit(&self.owner, input, Box::new(reply));
    }

    /// Runs the model on one input and waits for the result. Not to be called from a reply of
    /// [`submit`](Self::submit), which it would wait for.
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

    /// Takes requests again.
    pub fn resume(&self) {
        self.model.queue.resume(&self.owner);
    }

    /// What the model has done for this user. Its batches are those that any of its requests was in, counted with all
    /// of their items.
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
