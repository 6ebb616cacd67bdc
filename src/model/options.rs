// SPDX-License-Identifier: MPL-2.0
//! How models are run, and the limits of that.

use std::{path::PathBuf, sync::LazyLock, time::Duration};

use super::{error::Error, provider::Provider};

/// Maximum batch size that can be asked for.
pub const MAX_BATCH_SIZE: usize = 1024;
/// Maximum number of threads for one inference that can be asked for.
pub const MAX_THREADS: u32 = 1024;

/// Number format that a model computes in, which selects the model's file: `NAME.onnx`, `NAME.fp16.onnx` or
/// `NAME.int8.onnx`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, glib::Enum)]
#[enum_type(name = "GstInstrumentsPrecision")]
pub enum Precision {
    /// The fastest for the provider: int8 on the CPU and fp16 on a GPU if the model has it, else fp32.
    #[default]
    #[enum_value(
        name = "The fastest for the provider: int8 on the CPU and fp16 on a GPU if the model has it, else fp32",
        nick = "auto"
    )]
    Auto,
    /// 32-bit floats.
    #[enum_value(name = "32-bit floats", nick = "fp32")]
    Fp32,
    /// 16-bit floats.
    #[enum_value(name = "16-bit floats", nick = "fp16")]
    Fp16,
    /// 8-bit integers.
    #[enum_value(name = "8-bit integers", nick = "int8")]
    Int8,
}

impl Precision {
    /// All but `auto`.
    pub const ALL: &[Self] = &[Self::Fp32, Self::Fp16, Self::Int8];

    /// The name that users give.
    pub fn as_str(self) -> &'static str {
        static CLASS: LazyLock<glib::EnumClass> = LazyLock::new(glib::EnumClass::new::<Precision>);
        CLASS.value(self as i32).map_or("", glib::EnumValue::nick)
    }
}

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
