// SPDX-License-Identifier: MPL-2.0

//! The fuzz targets over their corpus, over changed copies of it, and over random bytes.
//!
//! Each run takes other inputs. One that fails is kept in `fuzz/artifacts/TARGET/`: once the fault is mended it
//! goes to `fuzz/corpus/TARGET/`. `FUZZ_SECONDS=600` runs each target for ten minutes instead.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Longest input made here.
const LONGEST: u64 = 600;

/// Random numbers by the xorshift algorithm.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u64) -> usize {
        (self.next() % end) as usize
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.below(LONGEST);
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// `input` with some bytes changed, left out, doubled, or taken from `other`.
    fn change(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() as u64 + 1);
            let end = (at + self.below(16)).min(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.extend_from_within(at..end),
                3 => bytes.insert(at, self.next() as u8),
                4 => bytes.extend_from_slice(&other[other.len().min(at)..]),
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => (),
            }
        }
        bytes
    }
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(kind)
        .join(target)
}

/// Runs `target` over its corpus and `count` fresh inputs, or as many as `FUZZ_SECONDS` leaves time for.
fn run(name: &str, count: usize, target: fn(&[u8])) {
    let corpus: Vec<Vec<u8>> = fs::read_dir(folder("corpus", name))
        .unwrap_or_else(|error| panic!("the corpus of {name}: {error}"))
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!corpus.is_empty(), "the corpus of {name} is empty");
    let mut random = Random::new();
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("FUZZ_SECONDS is a number"));
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut runs = 0;
    let more = |index: &usize| end.map_or(*index < count, |end| Instant::now() < end);
    let fresh = (0..).take_while(more).map(|index| {
        let mut seed = || corpus[random.below(corpus.len() as u64)].as_slice();
        let (input, other) = (seed(), seed());
        match index % 2 {
            0 => random.change(input, other),
            _ => random.bytes(),
        }
    });
    let artifacts = folder("artifacts", name);
    fs::create_dir_all(&artifacts).unwrap();
    // What kills the process stays there under this name.
    let running = artifacts.join("running");
    for input in corpus.iter().cloned().chain(fresh) {
        fs::write(&running, &input).unwrap();
        runs += 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            let file = artifacts.join(format!("{:x}", RandomState::new().hash_one(&input)));
            fs::rename(&running, &file).unwrap();
            eprintln!("the input is kept in {}", file.display());
            resume_unwind(panic);
        }
    }
    let _ = fs::remove_file(running);
    println!("{name}: {runs} runs");
}

#[test]
fn cards_and_graphs() {
    run("card", 2000, targets::card);
}

#[test]
fn times_of_embeddings() {
    run("collector", 4000, targets::collector);
}

#[test]
fn front_ends() {
    run("front_end", 500, targets::front_end);
}

#[test]
fn label_files() {
    run("labels", 4000, targets::labels);
}

#[test]
fn onnx_files() {
    run("onnx", 4000, targets::onnx);
}

#[test]
fn patches_and_buffers() {
    run("patcher", 300, targets::patcher);
}

#[test]
fn pictures_of_any_caps() {
    run("picture", 1000, targets::picture);
}
