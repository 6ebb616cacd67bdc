// SPDX-License-Identifier: MPL-2.0

//! Jobs that are timed in turns, so that whatever else the machine does meets all of them alike.

use std::io::BufRead;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// Something to time: what it is called, and the work, which it does once.
pub struct Job {
    pub name: &'static str,
    pub work: Box<dyn FnMut()>,
}

impl Job {
    pub fn new(name: &'static str, work: impl FnMut() + 'static) -> Self {
        let work = Box::new(work);
        Self { name, work }
    }

    /// The CPU time of all threads and the time on the clock, for doing the work once.
    fn run(&mut self) -> [Duration; 2] {
        let (cpu, wall) = (ProcessTime::now(), Instant::now());
        (self.work)();
        [cpu.elapsed(), wall.elapsed()]
    }
}

/// Rounds of a table without `--serve`.
const ROUNDS: usize = 25;

/// Prints a table of the jobs, each with its speed against the first.
///
/// With the argument `--serve` it reads names of jobs instead, one a line, and answers each with the seconds that the
/// job just took, of CPU time and on the clock: so `benches/peers.py` takes turns with it.
pub fn main(mut jobs: Vec<Job>) {
    if std::env::args().any(|argument| argument == "--serve") {
        for name in std::io::stdin().lock().lines() {
            let name = name.expect("standard input is text");
            let job = jobs.iter_mut().find(|job| job.name == name);
            let job = job.unwrap_or_else(|| panic!("there is no job {name:?}"));
            let [cpu, wall] = job.run();
            println!("{} {}", cpu.as_secs_f64(), wall.as_secs_f64());
        }
        return;
    }
    let mut times = vec![Vec::new(); jobs.len()];
    for _ in 0..ROUNDS {
        for (job, times) in jobs.iter_mut().zip(&mut times) {
            times.push(job.run()[0]);
        }
    }
    let medians: Vec<_> = times
        .into_iter()
        .map(|mut times| {
            times.sort();
            times[ROUNDS / 2].as_secs_f64()
        })
        .collect();
    println!(
        "{:24}{:>12}{:>24}",
        "job", "CPU ms", "speed against the first"
    );
    for (job, median) in jobs.iter().zip(&medians) {
        let ratio = medians[0] / median;
        println!("{:24}{:12.3}{ratio:24.3}", job.name, median * 1e3);
    }
}
