// SPDX-License-Identifier: MPL-2.0
//! How models are run, and the limits of that.

use std::{path::PathBuf, time::Duration};

use super::{
    error::Error,
    provider::{Precision, Provider},
};

/// Maximum batch size that can be asked for.
pub const MAX_BATCH_SIZE: usize = 1024;
/// Maximum number of threads for one inference that can be asked for.
pub const MAX_THREADS: u32 = 1024;

/// How a model is run. Models opened with equal options are shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    /// The execution provider.
    pub provider: Provider,
    /// Number of the GPU, from 0.
    pub device: u32,
    /// Number format that the model computes in.
    pub precision: Precision,
    /// Threads for one inference, at most 1024; 0: ONNX Runtime's default, one per core.
    pub threads: u32,
    /// Maximum batch size, at most 1024; 0: 1 on the CPU, where batches save no time and cost memory, 8 on a GPU.
    pub batch_size: usize,
    /// Text file with one label per line, instead of the card's labels.
    pub labels_file: Option<PathBuf>,
    /// Folder for the engines that TensorRT builds; unset: `$XDG_CACHE_HOME/gst-instruments/engines`.
    pub engine_cache: Option<PathBuf>,
    /// Time limit for one run, and for opening except for building engines, after which both end with
    /// [`Error::TimedOut`](super::Error::TimedOut); zero: no limit.
    pub timeout: Duration,
}

/// The first available provider, one thread per core, and a time limit of 30 s.
impl Default for Options {
    fn default() -> Self {
        Self {
            provider: Provider::default(),
            device: 0,
            precision: Precision::default(),
            threads: 0,
            batch_size: 0,
            labels_file: None,
            engine_cache: None,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// The maximum batch size on a provider.
    pub(super) fn batch_size_on(&self, provider: Provider) -> usize {
        match self.batch_size {
            0 => provider.backend().facts().batch_size,
            size => size,
        }
    }

    /// # Errors
    /// [`Error::Limit`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let within = |name: &str, value: usize, most: usize| {
            if value <= most {
                return Ok(());
            }
            Err(Error::Limit {
                name: name.into(),
                value,
                most,
            })
        };
        within("batch-size", self.batch_size, MAX_BATCH_SIZE)?;
        within("threads", self.threads as usize, MAX_THREADS as usize)
    }
}

/// A slow step while a model is opened, as part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The step begins.
    Started(String),
    /// The step is complete.
    Finished(String),
    /// The step failed.
    Failed(String),
}
