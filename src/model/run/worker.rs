// SPDX-License-Identifier: MPL-2.0
//! The thread that a model runs on. The sessions are made, run and freed there: ONNX Runtime keeps what it records of
//! a GPU's work with the thread that ran it.

use std::{sync::Arc, thread, thread::ThreadId};

use super::{batch::Runner, queue::Queue};
use crate::model::{error::Error, item::Input};

/// Answers the requests until the queue is closed, then frees the sessions.
pub fn work(mut runner: Runner, batch_size: usize, queue: &Arc<Queue>) {
    let _end = End(queue);
    let fits = |runner: &Runner, first: &Input, other: &Input| {
        runner.batches() && first.lengths() == other.lengths() && runner.check(first).is_ok()
    };
    while let Some(inputs) = queue.take(batch_size, |first, other| fits(&runner, first, other)) {
        let checked = runner.check(&inputs[0]);
        let ran = checked.is_ok();
        let inputs: Vec<&Input> = inputs.iter().collect();
        let result = checked.and_then(|()| runner.run(&inputs, queue.run()));
        let answers = result.unwrap_or_else(|error| vec![Err(error); inputs.len()]);
        queue.finish(answers, ran);
    }
    drop(runner);
}

/// Closes the queue when the thread ends, also by a panic: nobody may wait for ever.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.close(Error::Run {
            model: self.0.model().into(),
            cause: "its thread has ended; open it again".into(),
        });
        self.0.end();
    }
}

/// Closes the queue of a model whose last handle is gone, and waits for its thread where that is another one.
pub fn stop(queue: &Queue, thread: ThreadId) {
    queue.close(queue.cancelled());
    // A reply may hold the last handle to its own model: then this is the model's thread.
    if thread::current().id() != thread {
        queue.wait_for_the_end();
    }
}
