// SPDX-License-Identifier: MPL-2.0

//! A child process that tags a shard's inputs one after the other: what crashes it costs one input.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::formats::jsonl;
use crate::inputs::redact;
use crate::kind::Kind;

/// How long it may take until a stop is noticed.
const TICK: Duration = Duration::from_millis(100);

/// SIGHUP, SIGINT, SIGKILL and SIGTERM: nothing that a decoder does to itself.
const FROM_OUTSIDE: [i32; 4] = [1, 2, 9, 15];

pub struct Worker<'a> {
    /// Of the child's inferences and decoders.
    threads: u32,
    stop: &'a AtomicBool,
    running: Option<Running>,
}

struct Running {
    process: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
}

/// A record's text, and the kind of the cause if the input could not be tagged.
pub type Answer = (String, Option<Kind>);

impl<'a> Worker<'a> {
    pub fn new(threads: u32, stop: &'a AtomicBool) -> Self {
        Self {
            threads,
            stop,
            running: None,
        }
    }

    /// Ends the process; the next input gets a new one.
    pub fn end(&mut self) {
        self.running = None;
    }

    /// Tags an input; `None` if the command is stopped meanwhile.
    pub fn tag(&mut self, uri: &str) -> Option<Answer> {
        let fail = |kind: Kind, cause: &str| {
            let text = jsonl::failure(&redact(uri), cause, kind);
            Some((text, Some(kind)))
        };
        let started = match self.running.take() {
            Some(running) => Ok(running),
            None => Running::start(self.threads),
        };
        let mut running = match started {
            Ok(running) => running,
            Err(error) => {
                let cause = format!("no process can be started: {error}");
                return fail(Kind::Resources, &cause);
            }
        };
        // That the process has ended is noticed below.
        let _ = writeln!(running.stdin, "{uri}").and_then(|()| running.stdin.flush());
        let mut text = String::new();
        loop {
            match running.lines.recv_timeout(TICK) {
                Ok(line) => {
                    text += &line;
                    text.push('\n');
                    let line: Value = serde_json::from_str(&line).unwrap_or_default();
                    if line["interrupted"] == true {
                        text.clear();
                    } else if line["type"] == "file" {
                        self.running = Some(running);
                        return Some((text, Kind::of_record(&line)));
                    }
                }
                _ if self.stop.load(Ordering::Relaxed) => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let (kind, cause) = running.process.wait().map_or_else(
                        |error| (Kind::Resources, format!("its process is lost: {error}")),
                        ended,
                    );
                    return fail(kind, &cause);
                }
            }
        }
    }
}

/// Why a process gave no answer.
fn ended(status: ExitStatus) -> (Kind, String) {
    match status.signal() {
        Some(signal) if FROM_OUTSIDE.contains(&signal) => (
            Kind::Resources,
            format!("its process was killed by signal {signal}, as happens when memory runs out"),
        ),
        Some(signal) => (
            Kind::Crashed,
            format!("crashed the process that tagged it (signal {signal})"),
        ),
        None => (
            Kind::Resources,
            format!("the process that tagged it ended with an error ({status})"),
        ),
    }
}

impl Running {
    /// Starts this program with its arguments and `--worker`, which has it read inputs from its standard input.
    fn start(threads: u32) -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["tag", "--worker", &threads.to_string()])
            .args(std::env::args_os().skip(2))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a child has pipes");
        let stdin = process.stdin.take().ok_or_else(missing)?;
        let stdout = process.stdout.take().ok_or_else(missing)?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            process,
            stdin,
            lines,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has this process, a worker, end with the command that started it.
pub fn end_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_does_to_itself_is_a_crash() {
        for (raw, kind) in [
            (6, Kind::Crashed),
            (11, Kind::Crashed),
            (9, Kind::Resources),
            (15, Kind::Resources),
            (1 << 8, Kind::Resources),
        ] {
            assert_eq!(ended(ExitStatus::from_raw(raw)).0, kind, "{raw}");
        }
    }
}
