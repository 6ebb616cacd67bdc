// SPDX-License-Identifier: MPL-2.0

//! One element's requests to its models, waited for or not.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::model::{Card, Client, Error, Input, Output};

use super::tagger::Tagger;

/// The time that a picture or a patch describes, and how much there was in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub start: Option<gst::ClockTime>,
    pub duration: Option<gst::ClockTime>,
    /// Share of the time that had media, from 0 to 1.
    pub media: f32,
    /// Whether the signal says nothing.
    pub blank: bool,
    /// Whether it is a picture that does not differ from the one before.
    pub still: bool,
    /// The same for pictures that do not differ; 0 for a patch.
    pub scene: u64,
}

/// A picture or a patch for a model.
pub struct Request {
    pub tagger: Tagger,
    pub span: Span,
    pub work: Work,
}

/// How a request is answered.
pub enum Work {
    Run(Input),
    /// By what the model made of the same picture before.
    Repeat(Output),
}

/// What a model made of a request.
pub struct Answer {
    /// The model's.
    pub card: Arc<Card>,
    pub span: Span,
    pub result: Result<Output, Error>,
}

/// Requests of one element.
#[derive(Clone, Default)]
pub struct Requests(Arc<(Mutex<Shared>, Condvar)>);

#[derive(Default)]
struct Shared {
    /// Requests without an answer.
    open: usize,
    /// Those that they are with.
    clients: Vec<Arc<Client>>,
    answers: Vec<Answer>,
    dropped: u64,
    /// Counts the flushes: answers from an older epoch are discarded.
    epoch: u64,
    /// Nothing is asked or waited for between [`Requests::interrupt`] and [`Requests::resume`].
    interrupted: bool,
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.0.lock().unwrap()
    }

    /// Has the models answer all `requests`, as one batch where they can; `None` when a flush interrupts that.
    pub fn ask(&self, requests: Vec<Request>) -> Option<Vec<Answer>> {
        let epoch = self.lock().epoch;
        for request in requests {
            self.submit(request, false);
        }
        self.wait(epoch)
    }

    /// Hands `request` to its model without waiting. While the model has one, it waits in the place of one that waits already.
    pub fn post(&self, request: Request) {
        self.submit(request, true);
    }

    /// The answers that have come since the last call, oldest first.
    pub fn take(&self) -> Vec<Answer> {
        mem::take(&mut self.lock().answers)
    }

    /// Waits for all answers that are still to come; `None` when a flush interrupts that.
    pub fn drain(&self) -> Option<Vec<Answer>> {
        let epoch = self.lock().epoch;
        self.wait(epoch)
    }

    fn wait(&self, epoch: u64) -> Option<Vec<Answer>> {
        let valid = |shared: &Shared| shared.epoch == epoch && !shared.interrupted;
        let waits = |shared: &mut Shared| shared.open > 0 && valid(shared);
        let mut shared = self.0.1.wait_while(self.lock(), waits).unwrap();
        valid(&shared).then(|| mem::take(&mut shared.answers))
    }

    /// Forgets what is under way, ends it where no other element waits for it, and counts it as
    /// dropped. Whoever waits for it returns at once.
    pub fn flush(&self) {
        self.forget(false);
    }

    /// [`flush`](Self::flush), after which nothing is asked until [`resume`](Self::resume).
    pub fn interrupt(&self) {
        self.forget(true);
    }

    fn forget(&self, interrupt: bool) {
        let mut shared = self.lock();
        shared.epoch += 1;
        shared.interrupted |= interrupt;
        let open = mem::take(&mut shared.open);
        let clients = mem::take(&mut shared.clients);
        shared.dropped += (open + mem::take(&mut shared.answers).len()) as u64;
        drop(shared);
        self.0.1.notify_all();
        for client in clients {
            client.cancel();
            client.resume();
        }
    }

    /// Takes requests again.
    pub fn resume(&self) {
        self.lock().interrupted = false;
    }

    pub fn is_interrupted(&self) -> bool {
        self.lock().interrupted
    }

    /// Forgets everything for another stream, and takes requests again.
    pub fn restart(&self) {
        self.forget(false);
        let mut shared = self.lock();
        (shared.dropped, shared.interrupted) = (0, false);
    }

    /// How many requests had no answer: a newer one replaced them, or a flush came.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn submit(&self, request: Request, newest: bool) {
        let Request { tagger, span, work } = request;
        let client = tagger.client.clone();
        let epoch = {
            let mut shared = self.lock();
            if shared.interrupted {
                return;
            }
            if newest && shared.open > 0 && matches!(work, Work::Repeat(_)) {
                // The model has the same picture, and its answer comes first.
                shared.dropped += 1;
                return;
            }
            shared.open += 1;
            let is_client = |known: &Arc<Client>| Arc::ptr_eq(known, &client);
            if !shared.clients.iter().any(is_client) {
                shared.clients.push(client.clone());
            }
            shared.epoch
        };
        let requests = self.clone();
        // With the tagger, whose requests are cancelled when it is dropped.
        let reply = move |result| requests.answered(tagger, span, epoch, result);
        match work {
            Work::Repeat(output) => reply(Ok(output)),
            Work::Run(input) if newest => client.submit_newest(input, reply),
            Work::Run(input) => client.submit(input, reply),
        }
    }

    fn answered(&self, tagger: Tagger, span: Span, epoch: u64, result: Result<Output, Error>) {
        let mut shared = self.lock();
        if shared.epoch != epoch {
            return;
        }
        shared.open -= 1;
        match result {
            Err(Error::Superseded { .. }) => shared.dropped += 1,
            result => shared.answers.push(Answer {
                card: tagger.card.clone(),
                span,
                result,
            }),
        }
        let done = shared.open == 0;
        let clients = done.then(|| mem::take(&mut shared.clients));
        self.0.1.notify_all();
        // They may hold the last handle of a model, which is not closed under a lock.
        drop(shared);
        drop(clients);
    }
}
