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
//! | types | `error`, `card`, `precision`, `item`, `stats`, `plugin_dir` |
//! | what models run on | `provider`: one file each behind the trait `Backend`; `engines`, `options`, `limits` |
//! | running | `telemetry`, `library`, `runtime`; `run`: memory, batches, the queue of requests, the thread |
//! | loading | `load`: files, card against graph, sessions, engines |
//! | opening | `handle`, `client`, `open` |

#![deny(missing_docs)]

mod card;
mod client;
mod engines;
mod error;
mod handle;
mod item;
mod library;
mod load;
mod open;
mod options;
mod platform;
mod plugin_dir;
mod provider;
mod run;
mod runtime;
mod stats;
mod telemetry;

pub use self::{
    card::{Activation, Card, Fit, Modality, Space},
    client::Client,
    error::Error,
    handle::Model,
    item::{Input, Output},
    options::{MAX_BATCH_SIZE, MAX_THREADS, Options, Precision, Progress},
    plugin_dir::set_plugin_dir,
    provider::Provider,
    runtime::{Log, set_log},
    stats::Stats,
    telemetry::disable_telemetry,
};
pub use ort::logging::LogLevel;

/// What `fuzz/` feeds; no part of the API.
#[doc(hidden)]
pub use self::load::internals;
