// SPDX-License-Identifier: MPL-2.0

//! One element's requests to its model, waited for or not.

use std::sync::{Arc, Condvar, Mutex};

use crate::model::{Error, Input, Model, Output};

/// The time that a picture or a patch describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: Option<gst::ClockTime>,
    pub duration: Option<gst::ClockTime>,
}

/// A picture or a patch for the model.
pub struct Request {
    pub span: Span,
    pub input: Input,
}

/// What the model made of a request.
pub type Answer = (Span, Result<Output, Error>);

/// Requests of one element: when they are not waited for, at most one is with the model and one waits.
#[derive(Clone)]
pub struct Requests {
    model: Arc<Model>,
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

#[derive(Default)]
struct Shared {
    running: usize,
    waiting: Option<Request>,
    answers: Vec<Answer>,
    dropped: u64,
    /// Counts the flushes: answers to requests from before one are nobody's.
    epoch: u64,
}

impl Requests {
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            shared: Arc::default(),
        }
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Has the model answer all `requests`, as one batch where it can.
    pub fn ask(&self, requests: Vec<Request>) -> Vec<Answer> {
        for request in requests {
            self.submit(request);
        }
        self.drain()
    }

    /// Hands `request` to the model without waiting; while another runs it waits, and replaces one that waits already.
    pub fn post(&self, request: Request) {
        let mut shared = self.shared.0.lock().unwrap();
        if shared.running > 0 {
            if shared.waiting.replace(request).is_some() {
                shared.dropped += 1;
            }
        } else {
            drop(shared);
            self.submit(request);
        }
    }

    /// The answers that have come since the last call, oldest first.
    pub fn take(&self) -> Vec<Answer> {
        std::mem::take(&mut self.shared.0.lock().unwrap().answers)
    }

    /// Waits for all answers that are still to come.
    pub fn drain(&self) -> Vec<Answer> {
        let (mutex, changed) = &*self.shared;
        let mut shared = changed
            .wait_while(mutex.lock().unwrap(), |shared| shared.running > 0)
            .unwrap();
        std::mem::take(&mut shared.answers)
    }

    /// Forgets what is under way.
    pub fn flush(&self) {
        let mut shared = self.shared.0.lock().unwrap();
        shared.epoch += 1;
        shared.waiting = None;
        shared.answers.clear();
    }

    /// How many requests a newer one replaced before the model took them.
    pub fn dropped(&self) -> u64 {
        self.shared.0.lock().unwrap().dropped
    }

    fn submit(&self, request: Request) {
        let epoch = {
            let mut shared = self.shared.0.lock().unwrap();
            shared.running += 1;
            shared.epoch
        };
        self.hand_over(request, epoch);
    }

    fn hand_over(&self, Request { span, input }: Request, epoch: u64) {
        let requests = self.clone();
        self.model.submit(input, move |result| {
            let mut shared = requests.shared.0.lock().unwrap();
            if shared.epoch == epoch {
                shared.answers.push((span, result));
            }
            if let Some(next) = shared.waiting.take() {
                let epoch = shared.epoch;
                drop(shared);
                requests.hand_over(next, epoch);
            } else {
                shared.running -= 1;
                requests.shared.1.notify_all();
            }
        });
    }
}
