// SPDX-License-Identifier: MPL-2.0
//! Calls at a later time, all on one thread of the process.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, LazyLock, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

type Call = Box<dyn FnOnce() + Send>;

/// When a call is due, and its number, which tells calls of the same time apart.
type Due = (Instant, u64);

/// A call that has yet to be made; dropping it revokes the call.
#[derive(Debug)]
pub struct Alarm(Due);

#[derive(Default)]
struct Timer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<Due, Call>,
    next: u64,
    started: bool,
}

static TIMER: LazyLock<Timer> = LazyLock::new(Timer::default);

/// Makes `call`, which must be short, after `delay`; never where no thread can be started or the time is beyond what
/// the system counts.
pub fn after(delay: Duration, call: impl FnOnce() + Send + 'static) -> Option<Alarm> {
    let when = Instant::now().checked_add(delay)?;
    let mut state = TIMER.state.lock().unwrap_or_else(PoisonError::into_inner);
    if !state.started {
        let thread = thread::Builder::new().name("model-timer".into());
        state.started = thread.spawn(|| TIMER.run()).is_ok();
    }
    let due = (when, state.next);
    state.next += 1;
    let first = state.calls.keys().next().is_none_or(|first| due < *first);
    state.calls.insert(due, Box::new(call));
    if first {
        TIMER.changed.notify_one();
    }
    Some(Alarm(due))
}

impl Timer {
    fn run(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            state = match state.calls.first_entry() {
                None => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
                Some(first) if first.key().0 > now => {
                    let left = first.key().0 - now;
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(first) => {
                    let call = first.remove();
                    drop(state);
                    // The panic hook has reported it; the other calls must still be made.
                    let _ = catch_unwind(AssertUnwindSafe(call));
                    self.state.lock().unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut state = TIMER.state.lock().unwrap_or_else(PoisonError::into_inner);
        let call = state.calls.remove(&self.0);
        drop(state);
        // What the call captured may set other alarms when it is dropped.
        drop(call);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn calls_are_made_in_the_order_of_their_times_unless_revoked() {
        let (sender, receiver) = mpsc::channel();
        let alarm = |milliseconds, value: u32| {
            let sender = sender.clone();
            after(Duration::from_millis(milliseconds), move || {
                sender.send(value).unwrap();
            })
        };
        let late = alarm(200, 2);
        let early = alarm(100, 1);
        drop(alarm(50, 0));
        let panics = after(Duration::ZERO, || panic!("on purpose, in a test"));
        let received = [receiver.recv().unwrap(), receiver.recv().unwrap()];
        assert_eq!(received, [1, 2]);
        drop((late, early, panics));
        assert!(after(Duration::MAX, || ()).is_none());
    }
}
