// SPDX-License-Identifier: MPL-2.0
//! The requests to one model. Their owners submit and cancel them, the model's thread runs them as batches, and a second thread
//! ends runs at their time limit.
//!
//! The state's lock is never held while the model runs or a reply is called; within it only an owner's recorder is locked.

use std::{
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use ort::session::RunOptions;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{
    error::Error,
    item::{Input, Output},
    session::Runner,
    stats::{Recorder, Stats},
};

pub type Answer = Result<Output, Error>;
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// How long ONNX Runtime may take to end a run, which it does between two nodes of the graph.
pub const GRACE: Duration = Duration::from_secs(1);

/// Whose requests are cancelled and counted together.
#[derive(Debug)]
pub struct Owner {
    /// Written under the queue's lock.
    cancelled: AtomicBool,
    recorder: Mutex<Recorder>,
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
    tickets: Vec<Ticket>,
    /// When its time limit is over, and after that, when what waits behind it has waited long enough.
    deadline: Option<Instant>,
}

struct State {
    waiting: VecDeque<Request>,
    running: Option<Running>,
    /// Of all owners.
    recorder: Recorder,
    /// The answer to all requests, once none is taken any more.
    closed: Option<Error>,
    /// The model's thread has freed the sessions.
    ended: bool,
}

/// See the module's documentation.
pub struct Queue {
    /// The model's name.
    model: String,
    batch_size: usize,
    /// The time limit of a run; zero: none.
    limit: Duration,
    /// Ends the run under way.
    run: Arc<RunOptions>,
    state: Mutex<State>,
    /// Wakes the model's thread, and who waits for its end.
    changed: Condvar,
    /// Wakes the thread that watches the time.
    closing: Condvar,
}

impl Queue {
    pub fn new(model: &str, limit: Duration, run: Arc<RunOptions>, batch_size: usize) -> Arc<Self> {
        let queue = Arc::new(Self {
            model: model.into(),
            batch_size,
            limit,
            run,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                running: None,
                recorder: Recorder::new(batch_size),
                closed: None,
                ended: false,
            }),
            changed: Condvar::new(),
            closing: Condvar::new(),
        });
        if !limit.is_zero() {
            let watched = queue.clone();
            let watch = thread::Builder::new().name("model-limit".into());
            // Without a thread there is no time limit.
            let _ = watch.spawn(move || watched.watch());
        }
        queue
    }

    /// An owner without requests.
    pub fn owner(&self) -> Arc<Owner> {
        Arc::new(Owner {
            cancelled: AtomicBool::new(false),
            recorder: Mutex::new(Recorder::new(self.batch_size)),
        })
    }

    /// Counts and latencies of one owner, or of all.
    pub fn stats(&self, owner: Option<&Owner>) -> Stats {
        match owner {
            Some(owner) => owner.recorder.lock().stats(),
            None => self.state.lock().recorder.stats(),
        }
    }

    /// Adds a request; `reply` is called exactly once, at once where the owner is cancelled.
    pub fn submit(&self, owner: &Arc<Owner>, input: Input, reply: Reply) {
        self.add(owner, input, reply, false);
    }

    /// [`submit`](Self::submit), of at most two requests of the owner at a time: a third takes the place of the second, which
    /// is answered with [`Error::Superseded`].
    pub fn submit_newest(&self, owner: &Arc<Owner>, input: Input, reply: Reply) {
        self.add(owner, input, reply, true);
    }

    fn add(&self, owner: &Arc<Owner>, input: Input, reply: Reply, newest: bool) {
        let mut state = self.state.lock();
        let cancelled = owner.cancelled.load(Ordering::Relaxed);
        let refused = state.closed.clone().or(cancelled.then(|| self.cancelled()));
        if let Some(error) = refused {
            drop(state);
            return answer(reply, Err(error));
        }
        let request = Request {
            input,
            ticket: Ticket {
                owner: owner.clone(),
                since: Instant::now(),
                reply: Some(reply),
            },
        };
        let second = if newest { state.second(owner) } else { None };
        let Some(second) = second else {
            state.waiting.push_back(request);
            self.changed.notify_all();
            return;
        };
        let superseded = mem::replace(second, request);
        drop(state);
        let error = Error::Superseded {
            model: self.model.clone(),
        };
        answer_all(superseded.ticket.reply, &error);
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
    /// [`resume`](Self::resume), and ends the current run unless another owner waits for it.
    pub fn cancel(&self, owner: &Arc<Owner>) {
        let mut state = self.state.lock();
        owner.cancelled.store(true, Ordering::Relaxed);
        let replies = self.withdraw(&mut state, |ticket| Arc::ptr_eq(&ticket.owner, owner));
        drop(state);
        answer_all(replies, &self.cancelled());
    }

    /// Takes the owner's requests again.
    pub fn resume(&self, owner: &Owner) {
        let _state = self.state.lock();
        owner.cancelled.store(false, Ordering::Relaxed);
    }

    /// Answers everything with `error`, from now on too, and has both threads end.
    pub fn close(&self, error: &Error) {
        let mut state = self.state.lock();
        state.closed.get_or_insert_with(|| error.clone());
        let replies = self.withdraw(&mut state, |_| true);
        self.changed.notify_all();
        self.closing.notify_all();
        drop(state);
        answer_all(replies, error);
    }

    /// Waits until the model's thread has freed the sessions, at most for [`GRACE`].
    pub fn wait_for_the_end(&self) {
        let mut state = self.state.lock();
        let running = |state: &mut State| !state.ended;
        self.changed.wait_while_for(&mut state, running, GRACE);
    }

    /// Takes the replies of the tickets that `whose` holds for, and ends the run where none is left.
    fn withdraw(&self, state: &mut State, whose: impl Fn(&Ticket) -> bool) -> Vec<Reply> {
        let mut replies = Vec::new();
        if let Some(running) = &mut state.running {
            let ours = running.tickets.iter_mut().filter(|ticket| whose(ticket));
            replies.extend(ours.filter_map(|ticket| ticket.reply.take()));
            if running.tickets.iter().all(|ticket| ticket.reply.is_none()) {
                // ONNX Runtime cannot fail at setting a flag.
                let _ = self.run.terminate();
            }
        }
        state.waiting.retain_mut(|request| {
            let ours = whose(&request.ticket);
            if ours {
                replies.extend(request.ticket.reply.take());
            }
            !ours
        });
        replies
    }

    pub fn cancelled(&self) -> Error {
        Error::Cancelled {
            model: self.model.clone(),
        }
    }
}

/// The model's thread. ONNX Runtime keeps what it records of a GPU's work with the thread that ran it, so the sessions are
/// made, run and freed there.
impl Queue {
    /// Answers the requests until the queue is closed, then frees the sessions.
    pub fn work(&self, mut runner: Runner) {
        let _end = End(self);
        while let Some(inputs) = self.take(&runner) {
            let checked = runner.check(&inputs[0]);
            let ran = checked.is_ok();
            let inputs: Vec<&Input> = inputs.iter().collect();
            let result = checked.and_then(|()| runner.run(&inputs, &self.run));
            let answers = result.unwrap_or_else(|error| vec![Err(error); inputs.len()]);
            self.finish(answers, ran);
        }
        drop(runner);
    }

    /// Waits for requests and takes the first, with those that fit into one batch with it; `None` once the queue is closed.
    fn take(&self, runner: &Runner) -> Option<Vec<Input>> {
        let mut state = self.state.lock();
        let idle = |state: &mut State| state.closed.is_none() && state.waiting.is_empty();
        self.changed.wait_while(&mut state, idle);
        if state.closed.is_some() {
            return None;
        }
        let first = state.waiting.pop_front()?;
        let joins = self.batch_size > 1 && runner.batches() && runner.check(&first.input).is_ok();
        let most = if joins { self.batch_size } else { 1 };
        let mut batch = vec![first];
        let mut index = 0;
        while batch.len() < most && index < state.waiting.len() {
            if state.waiting[index].input.lengths() == batch[0].input.lengths() {
                batch.extend(state.waiting.remove(index));
            } else {
                index += 1;
            }
        }
        let of = |request: Request| (request.input, request.ticket);
        let (inputs, tickets) = batch.into_iter().map(of).unzip();
        // The flag is set and reset under the lock, so that it is of this run. ONNX Runtime cannot fail at either.
        let _ = self.run.unterminate();
        state.running = Some(Running {
            tickets,
            deadline: Instant::now().checked_add(self.limit),
        });
        Some(inputs)
    }

    /// Answers the requests that were taken; `ran` says that the model ran with them.
    fn finish(&self, answers: Vec<Answer>, ran: bool) {
        let mut state = self.state.lock();
        let Some(Running { tickets, .. }) = state.running.take() else {
            return;
        };
        if ran {
            state.recorder.batch(tickets.len());
            for (index, ticket) in tickets.iter().enumerate() {
                let same = |other: &Ticket| Arc::ptr_eq(&other.owner, &ticket.owner);
                if !tickets[..index].iter().any(same) {
                    ticket.owner.recorder.lock().batch(tickets.len());
                }
            }
        }
        let mut replies = Vec::new();
        for (mut ticket, answer) in tickets.into_iter().zip(answers) {
            if let Some(reply) = ticket.reply.take() {
                ticket.record(&mut state.recorder, answer.is_ok());
                replies.push((reply, answer));
            }
        }
        drop(state);
        for (reply, result) in replies {
            answer(reply, result);
        }
    }
}

/// The thread that watches the time.
impl Queue {
    /// Ends runs at their time limit until the queue is closed.
    fn watch(&self) {
        let mut state = self.state.lock();
        while state.closed.is_none() {
            let deadline = match &state.running {
                Some(running) => running.deadline,
                // What begins meanwhile is due later than this.
                None => Instant::now().checked_add(self.limit),
            };
            let Some(deadline) = deadline else {
                // A limit beyond what the system counts.
                return;
            };
            if !self.closing.wait_until(&mut state, deadline).timed_out() {
                continue;
            }
            let late = self.late(&mut state);
            let error = Error::TimedOut {
                model: self.model.clone(),
                limit: self.limit,
            };
            MutexGuard::unlocked(&mut state, || answer_all(late, &error));
        }
    }

    /// Ends a run whose time is over and takes its replies; of one that has not ended a [`GRACE`] later, those of all that
    /// waits behind it.
    fn late(&self, state: &mut State) -> Vec<Reply> {
        let is_late = |running: &&mut Running| {
            running
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
        };
        let State {
            waiting,
            running,
            recorder,
            ..
        } = state;
        let Some(running) = running.as_mut().filter(is_late) else {
            return Vec::new();
        };
        running.deadline = Instant::now().checked_add(GRACE);
        let _ = self.run.terminate();
        let mut take = |ticket: &mut Ticket| {
            let reply = ticket.reply.take()?;
            ticket.record(recorder, false);
            Some(reply)
        };
        let own = running.tickets.iter_mut();
        let replies: Vec<Reply> = own.filter_map(&mut take).collect();
        if !replies.is_empty() {
            return replies;
        }
        let behind = waiting.drain(..);
        behind
            .filter_map(|mut request| take(&mut request.ticket))
            .collect()
    }
}

impl State {
    /// The owner's last waiting request, unless that is its only request.
    fn second(&mut self, owner: &Arc<Owner>) -> Option<&mut Request> {
        let ours = |ticket: &Ticket| ticket.reply.is_some() && Arc::ptr_eq(&ticket.owner, owner);
        let mut running = self.running.iter().flat_map(|running| &running.tickets);
        let runs = running.any(ours);
        let mut waiting = self
            .waiting
            .iter_mut()
            .filter(|request| ours(&request.ticket));
        match runs {
            true => waiting.next_back(),
            false => waiting.nth(1),
        }
    }
}

impl Ticket {
    /// Counts the answer for its owner and, in `all`, for everybody.
    fn record(&self, all: &mut Recorder, success: bool) {
        let latency = self.since.elapsed();
        all.answer(success, latency);
        self.owner.recorder.lock().answer(success, latency);
    }
}

/// Closes the queue when the model's thread ends, also by a panic: nobody may wait for ever.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.close(&Error::Run {
            model: self.0.model.clone(),
            cause: "its thread has ended; open it again".into(),
        });
        self.0.state.lock().ended = true;
        self.0.changed.notify_all();
    }
}

/// One client's panic must not take the model from the others; the panic hook has reported it.
fn answer(reply: Reply, answer: Answer) {
    let _ = catch_unwind(AssertUnwindSafe(|| reply(answer)));
}

fn answer_all(replies: impl IntoIterator<Item = Reply>, error: &Error) {
    for reply in replies {
        answer(reply, Err(error.clone()));
    }
}
