// SPDX-License-Identifier: MPL-2.0
//! The requests to one model: clients submit and cancel them, the model's thread takes them as batches.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use ort::session::RunOptions;

use super::timer::{self, Alarm};
use crate::model::{
    error::Error,
    item::{Input, Output},
    stats::Recorder,
};

pub type Answer = Result<Output, Error>;
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// How long ONNX Runtime may take to end a run, which it does between two nodes of the graph.
pub const GRACE: Duration = Duration::from_secs(1);

/// Who submits requests: they are cancelled and counted together.
#[derive(Debug)]
pub struct Owner {
    /// Read and written under the queue's lock.
    cancelled: AtomicBool,
    recorder: Mutex<Recorder>,
}

impl Owner {
    pub fn new(batch_size: usize) -> Arc<Self> {
        Arc::new(Self {
            cancelled: AtomicBool::new(false),
            recorder: Mutex::new(Recorder::new(batch_size)),
        })
    }

    pub fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Request {
    input: Input,
    ticket: Ticket,
}

/// A request without its input.
struct Ticket {
    owner: Arc<Owner>,
    since: Instant,
    /// Unset once answered.
    reply: Option<Reply>,
}

/// The batch that the model's thread runs.
struct Running {
    number: u64,
    tickets: Vec<Ticket>,
    /// Ends the run at its time limit.
    _alarm: Option<Alarm>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    running: Option<Running>,
    /// How many runs there were.
    runs: u64,
    /// The answer to all requests, once none is taken any more.
    closed: Option<Error>,
    /// The model's thread has freed the sessions.
    ended: bool,
}

/// See the module's documentation.
pub struct Queue {
    /// The model's name.
    model: String,
    /// The time limit of a run; zero: none.
    limit: Duration,
    /// Ends the run under way.
    run: Arc<RunOptions>,
    /// Of all owners.
    recorder: Mutex<Recorder>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    pub fn new(model: &str, limit: Duration, run: Arc<RunOptions>, batch_size: usize) -> Arc<Self> {
        Arc::new(Self {
            model: model.into(),
            limit,
            run,
            recorder: Mutex::new(Recorder::new(batch_size)),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What the sessions are run with.
    pub fn run(&self) -> &RunOptions {
        &self.run
    }

    /// What was recorded of all owners.
    pub fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request; `reply` is called exactly once, at once where the owner is cancelled.
    pub fn submit(&self, owner: &Arc<Owner>, input: Input, reply: Reply) {
        let mut state = self.lock();
        let cancelled = owner.cancelled.load(Ordering::Relaxed);
        let refused = state.closed.clone().or(cancelled.then(|| self.cancelled()));
        if let Some(error) = refused {
            drop(state);
            reply(Err(error));
            return;
        }
        state.waiting.push_back(Request {
            input,
            ticket: Ticket {
                owner: owner.clone(),
                since: Instant::now(),
                reply: Some(reply),
            },
        });
        self.changed.notify_all();
    }

    /// Adds a request and waits for its answer.
    pub fn run_and_wait(&self, owner: &Arc<Owner>, input: Input) -> Answer {
        let (reply, answer) = mpsc::sync_channel(1);
        let reply = move |result| {
            // The receiver waits below for as long as this can be called.
            let _ = reply.send(result);
        };
        self.submit(owner, input, Box::new(reply));
        answer.recv().unwrap_or_else(|_| Err(self.cancelled()))
    }

    /// Answers all of the owner's requests with [`Error::Cancelled`], those to come too until
    /// [`resume`](Self::resume), and ends the current run unless another element waits for it.
    pub fn cancel(&self, owner: &Arc<Owner>) {
        let mut state = self.lock();
        owner.cancelled.store(true, Ordering::Relaxed);
        let replies = self.withdraw(&mut state, |ticket| Arc::ptr_eq(&ticket.owner, owner));
        drop(state);
        self.answer_all(replies, &self.cancelled());
    }

    /// Takes the owner's requests again.
    pub fn resume(&self, owner: &Owner) {
        let _state = self.lock();
        owner.cancelled.store(false, Ordering::Relaxed);
    }

    /// Answers everything with `error`, from now on too, and has the model's thread end.
    pub fn close(&self, error: Error) {
        let mut state = self.lock();
        state.closed.get_or_insert(error.clone());
        let replies = self.withdraw(&mut state, |_| true);
        self.changed.notify_all();
        drop(state);
        self.answer_all(replies, &error);
    }

    /// Waits until the model's thread has freed the sessions, at most for [`GRACE`].
    pub fn wait_for_the_end(&self) {
        let ended = self
            .changed
            .wait_timeout_while(self.lock(), GRACE, |state| !state.ended);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
    }

    /// Says that the model's thread has freed the sessions.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for requests and takes those that `fits` lets join the first, up to `batch_size`; `None` once the queue
    /// is closed. [`finish`](Self::finish) must follow.
    pub fn take(
        self: &Arc<Self>,
        batch_size: usize,
        fits: impl Fn(&Input, &Input) -> bool,
    ) -> Option<Vec<Input>> {
        let idle = |state: &mut State| state.closed.is_none() && state.waiting.is_empty();
        let waited = self.changed.wait_while(self.lock(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed.is_some() {
            return None;
        }
        let first = state.waiting.pop_front()?;
        let (mut inputs, mut tickets) = (vec![first.input], vec![first.ticket]);
        let mut rest = VecDeque::new();
        for request in state.waiting.drain(..) {
            if inputs.len() < batch_size && fits(&inputs[0], &request.input) {
                inputs.push(request.input);
                tickets.push(request.ticket);
            } else {
                rest.push_back(request);
            }
        }
        state.waiting = rest;
        state.runs += 1;
        let number = state.runs;
        // The flag is set and reset under the lock, so that it is of this run. ONNX Runtime cannot fail at either.
        let _ = self.run.unterminate();
        state.running = Some(Running {
            number,
            tickets,
            _alarm: self.alarm(number, self.limit),
        });
        Some(inputs)
    }

    /// Answers the requests that were taken; `ran` says that the model ran with them.
    pub fn finish(&self, answers: Vec<Answer>, ran: bool) {
        let running = self.lock().running.take();
        let Some(Running { tickets, .. }) = running else {
            return;
        };
        if ran {
            self.recorder().batch(tickets.len());
        }
        let mut counted: Vec<&Arc<Owner>> = Vec::new();
        for ticket in tickets.iter().filter(|_| ran) {
            if !counted
                .iter()
                .any(|owner| Arc::ptr_eq(owner, &ticket.owner))
            {
                ticket.owner.recorder().batch(tickets.len());
                counted.push(&ticket.owner);
            }
        }
        let mut replies = Vec::new();
        for (mut ticket, answer) in tickets.into_iter().zip(answers) {
            if let Some(reply) = ticket.reply.take() {
                self.record(&ticket, answer.is_ok());
                replies.push((reply, answer));
            }
        }
        for (reply, result) in replies {
            answer(reply, result);
        }
    }

    /// Ends the run of that number, which has reached its time limit. What it has not ended after [`GRACE`] takes what
    /// waits behind it with it.
    fn expire(self: &Arc<Self>, number: u64) {
        let mut state = self.lock();
        let Some(running) = state.running.as_mut().filter(|run| run.number == number) else {
            return;
        };
        let tickets: Vec<Ticket> = if running.tickets.iter().any(|ticket| ticket.reply.is_some()) {
            let taken = running.tickets.iter_mut().map(|ticket| Ticket {
                owner: ticket.owner.clone(),
                since: ticket.since,
                reply: ticket.reply.take(),
            });
            taken.collect()
        } else {
            let waiting = state.waiting.drain(..);
            waiting.map(|request| request.ticket).collect()
        };
        let _ = self.run.terminate();
        let alarm = self.alarm(number, GRACE);
        if let Some(running) = &mut state.running {
            running._alarm = alarm;
        }
        drop(state);
        let late = tickets.into_iter().filter_map(|mut ticket| {
            let reply = ticket.reply.take()?;
            self.record(&ticket, false);
            Some(reply)
        });
        self.answer_all(late.collect(), &self.timed_out());
    }

    fn alarm(self: &Arc<Self>, number: u64, delay: Duration) -> Option<Alarm> {
        if self.limit.is_zero() {
            return None;
        }
        let queue = Arc::downgrade(self);
        timer::after(delay, move || {
            if let Some(queue) = queue.upgrade() {
                queue.expire(number);
            }
        })
    }

    /// Takes the replies of the tickets that `whose` holds for out of the queue, and ends the run where none is left.
    fn withdraw(&self, state: &mut State, whose: impl Fn(&Ticket) -> bool) -> Vec<Reply> {
        let (withdrawn, kept): (VecDeque<Request>, _) = state
            .waiting
            .drain(..)
            .partition(|request| whose(&request.ticket));
        state.waiting = kept;
        let waiting = withdrawn
            .into_iter()
            .filter_map(|request| request.ticket.reply);
        let mut replies: Vec<Reply> = Vec::new();
        if let Some(running) = &mut state.running {
            let ours = running.tickets.iter_mut().filter(|ticket| whose(ticket));
            replies.extend(ours.filter_map(|ticket| ticket.reply.take()));
            if running.tickets.iter().all(|ticket| ticket.reply.is_none()) {
                let _ = self.run.terminate();
            }
        }
        replies.extend(waiting);
        replies
    }

    fn record(&self, ticket: &Ticket, success: bool) {
        let latency = ticket.since.elapsed();
        self.recorder().answer(success, latency);
        ticket.owner.recorder().answer(success, latency);
    }

    fn answer_all(&self, replies: Vec<Reply>, error: &Error) {
        for reply in replies {
            answer(reply, Err(error.clone()));
        }
    }

    pub fn cancelled(&self) -> Error {
        Error::Cancelled {
            model: self.model.clone(),
        }
    }

    fn timed_out(&self) -> Error {
        Error::TimedOut {
            model: self.model.clone(),
            limit: self.limit,
        }
    }
}

/// One client's panic must not take the model from the others; the panic hook has reported it.
fn answer(reply: Reply, answer: Answer) {
    let _ = catch_unwind(AssertUnwindSafe(|| reply(answer)));
}
