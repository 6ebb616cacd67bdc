// SPDX-License-Identifier: MPL-2.0
//! ONNX models that describe themselves, run by ONNX Runtime. Knows no GStreamer.
//!
//! [`Model::open`] opens a model by name or path and options; whoever asks for the same gets the same [`Model`], with one
//! session and one thread that runs the waiting requests as batches. [`Client`] is one user's requests to it. The
//! [`Card`] says what a model takes and gives; it is read from the ONNX file's metadata and checked against the graph.
//!
//! Each line imports only what is above it:
//!
//! | | |
//! | --- | --- |
//! | types | `error`, `item`, `stats`, `platform` |
//! | `provider` | what models run on: one file each behind the trait `Backend` |
//! | `options` | how a model is run |
//! | `find` | a name's files |
//! | `card` | what a model says of itself, read and checked against its graph |
//! | `runtime` | ONNX Runtime: found, examined, loaded |
//! | `session` | files to sessions, batches through them |
//! | `queue` | requests: submit, cancel, time limit, the thread that runs them |
//! | `model` | one open model for the same files and options, and its users |
//!
//! An input passes `model` ([`Client::submit`]), `queue`, `session` (`batch`, `buffers`) and `card::layout`.

#![deny(missing_docs)]
#![warn(clippy::unwrap_used)]

mod card;
mod error;
mod find;
mod item;
#[expect(clippy::module_inception)]
mod model;
mod options;
#[allow(unsafe_code)]
mod platform;
mod provider;
mod queue;
mod runtime;
mod session;
mod stats;

pub use self::{
    card::{Activation, Card, Fit, Modality, Space},
    error::Error,
    find::set_plugin_dir,
    item::{Input, Output},
    model::{Client, Model},
    options::{MAX_BATCH_SIZE, MAX_THREADS, Options, Progress},
    provider::{Precision, Provider},
    runtime::{Log, disable_telemetry, set_log},
    stats::Stats,
};
pub use ort::logging::LogLevel;

/// What `fuzz/` feeds; no part of the API.
#[doc(hidden)]
pub mod internals {
    pub use super::card::{
        Element, Fields, Graph, Port, file::check as check_onnx, labels, verify,
    };
}
