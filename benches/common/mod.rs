// SPDX-License-Identifier: MPL-2.0

//! Jobs that are timed in turns, so that whatever else the machine does meets all of them alike.

use std::time::Duration;

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

    /// The CPU time of all threads, for doing the work once.
    fn run(&mut self) -> Duration {
        let begin = ProcessTime::now();
        (self.work)();
        begin.elapsed()
    }
}

/// Rounds of a table.
const ROUNDS: usize = 25;

/// Prints a table of the jobs, each with its speed against the first.
pub fn main(mut jobs: Vec<Job>) {
    let mut times = vec![Vec::new(); jobs.len()];
    for _ in 0..ROUNDS {
        for (job, times) in jobs.iter_mut().zip(&mut times) {
            times.push(job.run());
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
