// SPDX-License-Identifier: MPL-2.0
//! The thread that a model runs on: it takes whatever requests are waiting as one batch.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SendError, Sender},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{Error, Input, Output, batch::Runner, stats::Recorder};

type Answer = Result<Output, Error>;
type Reply = Box<dyn FnOnce(Answer) + Send>;

struct Request {
    input: Input,
    reply: Reply,
    since: Instant,
}

/// Dropping it answers what was submitted, ends the thread and frees the session.
pub struct Worker {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread and waits until the sessions are warm: ONNX Runtime keeps what it records of a GPU's work
    /// with the thread that ran it.
    ///
    /// # Errors
    /// Those of [`Runner::warm`], and [`Error::Run`] when no thread can be started.
    pub fn spawn(
        name: &str,
        mut runner: Runner,
        batch_size: usize,
        recorder: Arc<Mutex<Recorder>>,
    ) -> Result<Self, Error> {
        let failed = |cause: String| Error::Run {
            model: name.to_owned(),
            cause,
        };
        let (requests, receiver) = mpsc::channel();
        let (warm, warmed) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            // The kernel shows 15 characters; a NUL in the name would panic.
            .name(format!("model:{}", name.replace('\0', "")))
            .spawn(move || {
                let result = runner.warm();
                let works = result.is_ok();
                // The receiver waits below.
                let _ = warm.send(result);
                if works {
                    work(runner, batch_size, &receiver, &recorder);
                }
            })
            .map_err(|error| failed(format!("no thread could be started for it: {error}")))?;
        let worker = Self {
            requests: Some(requests),
            thread: Some(thread),
        };
        warmed
            .recv()
            .unwrap_or_else(|_| Err(failed("its thread ended early".into())))?;
        Ok(worker)
    }

    /// Queues an input; gives the reply back when the thread has ended.
    pub fn submit(&self, input: Input, reply: Reply) -> Result<(), Reply> {
        let request = Request {
            input,
            reply,
            since: Instant::now(),
        };
        match &self.requests {
            Some(requests) => requests
                .send(request)
                .map_err(|SendError(request)| request.reply),
            None => Err(request.reply),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.requests.take());
        // A reply may hold the last handle to its own model: then this is the worker's thread.
        let other = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(thread) = self.thread.take().filter(other) {
            // The thread catches what replies panic with, so there is nothing to pass on.
            let _ = thread.join();
        }
    }
}

fn work(
    mut runner: Runner,
    batch_size: usize,
    requests: &Receiver<Request>,
    recorder: &Mutex<Recorder>,
) {
    while let Ok(first) = requests.recv() {
        let mut waiting = vec![first];
        waiting.extend(requests.try_iter().take(batch_size - 1));
        while !waiting.is_empty() {
            let batch = next_batch(&runner, &mut waiting);
            answer(&mut runner, batch, recorder);
        }
    }
}

/// Takes the first request, and with it those that can be stacked with its input.
fn next_batch(runner: &Runner, waiting: &mut Vec<Request>) -> Vec<Request> {
    let lengths = waiting[0].input.lengths();
    if !runner.batches() || runner.check(&waiting[0].input).is_err() {
        return vec![waiting.remove(0)];
    }
    let (batch, rest) = mem::take(waiting)
        .into_iter()
        .partition(|request| request.input.lengths() == lengths);
    *waiting = rest;
    batch
}

fn answer(runner: &mut Runner, batch: Vec<Request>, recorder: &Mutex<Recorder>) {
    let inputs: Vec<&Input> = batch.iter().map(|request| &request.input).collect();
    let run = runner.check(inputs[0]).map(|()| runner.run(&inputs));
    let ran = run.is_ok();
    let answers = match run.and_then(|result| result) {
        Ok(answers) => answers,
        Err(error) => vec![Err(error); batch.len()],
    };
    {
        let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
        if ran {
            recorder.batch(batch.len());
        }
        for (request, answer) in batch.iter().zip(&answers) {
            recorder.answer(answer.is_ok(), request.since.elapsed());
        }
    }
    for (request, answer) in batch.into_iter().zip(answers) {
        // One client's panic must not take the model from the others; the panic hook has reported it.
        let _ = catch_unwind(AssertUnwindSafe(|| (request.reply)(answer)));
    }
}
