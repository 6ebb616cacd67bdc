// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime sessions: options and execution providers.

use std::path::{Path, PathBuf};

use ort::{
    ep::{self, ExecutionProviderDispatch},
    logging::LogLevel,
    session::{
        Session,
        builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder},
    },
};

use super::{
    Error, Options,
    find::Files,
    onnx,
    runtime::{self, Runtime},
};

/// What runs a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The first of TensorRT, CUDA and CPU that works.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU through CUDA.
    Cuda,
    /// An NVIDIA GPU through TensorRT.
    TensorRt,
}

impl Provider {
    /// The name that users give: `auto`, `cpu`, `cuda` or `tensorrt`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }

    /// The shared library that ONNX Runtime loads from its own directory.
    fn library(self) -> Option<&'static str> {
        match self {
            Self::Auto | Self::Cpu => None,
            Self::Cuda => Some("libonnxruntime_providers_cuda.so"),
            Self::TensorRt => Some("libonnxruntime_providers_tensorrt.so"),
        }
    }
}

/// A session, what it runs on, and the file that it runs.
pub struct Opened {
    pub session: Session,
    pub provider: Provider,
    pub path: PathBuf,
}

/// Loads the model with the provider that was asked for, or with `auto` the first that works.
///
/// # Errors
/// [`Error::ProviderMissing`] when an asked-for provider is not to be had, [`Error::PrecisionMissing`] when there is no
/// file for the precision, those of [`onnx::check`], and [`Error::Load`] when ONNX Runtime refuses the model.
pub fn open(files: &Files, options: &Options, runtime: &Runtime) -> Result<Opened, Error> {
    let open = |provider| {
        let path = files.pick(provider, options.precision)?;
        onnx::check(path)?;
        Ok(Opened {
            session: open_with(provider, path, options, runtime)?,
            provider,
            path: path.into(),
        })
    };
    if options.provider != Provider::Auto {
        return open(options.provider);
    }
    for provider in [Provider::TensorRt, Provider::Cuda] {
        // Without its library beside ONNX Runtime there is nothing to try.
        let library = provider.library();
        if !library.is_some_and(|name| runtime.path.with_file_name(name).is_file()) {
            continue;
        }
        match open(provider) {
            Ok(opened) => return Ok(opened),
            Err(error) => runtime::log(LogLevel::Warning, &error.to_string()),
        }
    }
    open(Provider::Cpu)
}

fn open_with(
    provider: Provider,
    path: &Path,
    options: &Options,
    runtime: &Runtime,
) -> Result<Session, Error> {
    let refused = |error: ort::Error| Error::Load {
        path: path.into(),
        cause: one_line(error.message()),
    };
    let builder = builder(provider, options, runtime).map_err(refused)?;
    let Some(library) = provider.library() else {
        return { builder }.commit_from_file(path).map_err(refused);
    };
    let missing = |error: ort::Error| Error::ProviderMissing {
        provider: provider.as_str(),
        library,
        runtime: runtime.path.clone(),
        cause: one_line(error.message()),
    };
    let mut builder = builder
        .with_execution_providers(gpu(provider, options.device))
        .map_err(|error| missing(error.into()))?;
    match builder.commit_from_file(path) {
        Ok(session) => Ok(session),
        // A session that fails here failed either for the model or for the device; the processor tells which.
        Err(error) => open_with(Provider::Cpu, path, options, runtime).and(Err(missing(error))),
    }
}

/// Everything but the GPU providers.
fn builder(
    provider: Provider,
    options: &Options,
    runtime: &Runtime,
) -> ort::Result<SessionBuilder> {
    let mut builder = Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_deterministic_compute(true)?
        // A pool that spins burns more processor time after each inference than the inference takes.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // Without the arena an inference takes a quarter to a half more processor time, and the process is no smaller
        // once the allocator has adapted; a plan of the memory helps only where all runs are alike.
        .with_execution_providers([ep::CPU::default().with_arena_allocator(true).build()])?
        .with_memory_pattern(options.batch_size_on(provider) == 1)?
        // ort's default may pick another device by itself.
        .with_auto_device(AutoDevicePolicy::PreferCPU)?;
    if options.threads > 0 {
        builder = builder.with_intra_threads(options.threads as usize)?;
    }
    Ok(builder)
}

/// The providers that a GPU session uses, in order; what none of them takes runs on the processor.
fn gpu(provider: Provider, device: u32) -> Vec<ExecutionProviderDispatch> {
    let device = i32::try_from(device).unwrap_or(i32::MAX);
    let cuda = ep::CUDA::default()
        .with_device_id(device)
        .with_tf32(false)
        .build()
        .error_on_failure();
    match provider {
        Provider::TensorRt => vec![
            ep::TensorRT::default()
                .with_device_id(device)
                .build()
                .error_on_failure(),
            cuda.fail_silently(),
        ],
        _ => vec![cuda],
    }
}

/// ONNX Runtime's messages, some of several lines and with a full stop, as a part of a sentence.
pub fn one_line(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

/// The keys and values of the file's `metadata_props`; none when they cannot be read.
pub fn metadata(session: &Session) -> Vec<(String, String)> {
    let Ok(metadata) = session.metadata() else {
        return Vec::new();
    };
    let keys = metadata.custom_keys().unwrap_or_default();
    keys.into_iter()
        .filter_map(|key| {
            let value = metadata.custom(&key)?;
            Some((key, value))
        })
        .collect()
}
