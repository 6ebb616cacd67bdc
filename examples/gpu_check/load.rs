// SPDX-License-Identifier: MPL-2.0

//! Load on an open model: as much as it takes, or what streams bring.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use gstinstruments::model::{Input, Modality, Model};

/// What a model did under load.
pub struct Speed {
    /// Items a second.
    pub rate: f64,
    /// From a request to its answer.
    pub p50: Duration,
    pub p99: Duration,
}

/// What one stream brings: values that are not all the same.
fn input(model: &Model) -> Result<Input> {
    let value = |index: usize| (index * 61 % 97) as f32;
    Ok(match &model.card().modality {
        Modality::Audio { front_end, .. } => {
            let count = front_end.bands * front_end.patch_frames;
            Input::Mel((0..count).map(value).collect())
        }
        &Modality::Video { width, height, .. } => {
            let count = width as usize * height as usize * 3;
            Input::Frame((0..count).map(|index| value(index) as u8).collect())
        }
        Modality::Fusion { .. } => bail!("a fusion model is not measured here"),
    })
}

/// Keeps twice `batch` requests waiting for so long.
pub fn saturate(model: &Arc<Model>, batch: usize, duration: Duration) -> Result<Speed> {
    let input = input(model)?;
    let (answer, answers) = mpsc::channel();
    let submit = || {
        let (answer, since) = (answer.clone(), Instant::now());
        model.submit(input.clone(), move |result| {
            // The receiver lives as long as this function, which may end before the last answers.
            let _ = answer.send(result.map(|_| since.elapsed()));
        });
    };
    for _ in 0..2 * batch {
        submit();
    }
    // The first round is not counted.
    for _ in 0..2 * batch {
        answers.recv()??;
        submit();
    }
    let started = Instant::now();
    let mut latencies = Vec::new();
    while started.elapsed() < duration {
        latencies.push(answers.recv()??);
        submit();
    }
    let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok(Speed {
        rate,
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
    })
}

/// The number of streams that is known to be carried.
pub struct Streams {
    pub streams: usize,
    pub p99: Duration,
}

/// The most streams of one item a second for each of `models` whose answers all come within a second: doubled until
/// one is late, then halved in between to a twentieth.
pub fn streams(models: &[Arc<Model>], duration: Duration) -> Result<Streams> {
    let inputs: Vec<Input> = models
        .iter()
        .map(|model| input(model))
        .collect::<Result<_>>()?;
    let mut best = Streams {
        streams: 0,
        p99: Duration::ZERO,
    };
    let (mut streams, mut late) = (1, None);
    loop {
        match carried(models, &inputs, streams, duration)? {
            Some(p99) => best = Streams { streams, p99 },
            None => late = Some(streams),
        }
        streams = match late {
            None => 2 * best.streams,
            Some(late) if late - best.streams <= (best.streams / 20).max(1) => return Ok(best),
            Some(late) => best.streams.midpoint(late),
        };
    }
}

/// The 99th percentile of the latencies, or `None` when an answer took more than a second.
fn carried(
    models: &[Arc<Model>],
    inputs: &[Input],
    streams: usize,
    duration: Duration,
) -> Result<Option<Duration>> {
    let (answer, answers) = mpsc::channel();
    let pause = Duration::from_secs(1).div_f64(streams as f64);
    let started = Instant::now();
    let mut due = Duration::ZERO;
    // Streams begin spread over a second, and each then comes once a second.
    while due < duration {
        thread::sleep(due.saturating_sub(started.elapsed()));
        for (model, input) in models.iter().zip(inputs) {
            let (answer, since) = (answer.clone(), started + due);
            model.submit(input.clone(), move |result| {
                let _ = answer.send(result.map(|_| since.elapsed()));
            });
        }
        due += pause;
    }
    drop(answer);
    let mut latencies: Vec<Duration> = answers.iter().collect::<Result<_, _>>()?;
    latencies.sort_unstable();
    let on_time = latencies
        .last()
        .is_some_and(|last| *last <= Duration::from_secs(1));
    Ok(on_time.then(|| percentile(&latencies, 99)))
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}
