// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime sessions on the CPU, and what all sessions have in common.

use std::path::Path;

use ort::{
    ep::{self, ExecutionProviderDispatch},
    session::{
        Session,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
};

use crate::model::{error::Error, options::Options, provider::Provider, runtime::Runtime};

/// Loads the model to run on the CPU.
///
/// # Errors
/// [`Error::Load`] when ONNX Runtime refuses it.
pub fn cpu(path: &Path, options: &Options, runtime: &Runtime) -> Result<Session, Error> {
    let open = || -> ort::Result<Session> {
        builder(options, runtime)?
            // A plan of the memory helps only where all runs are alike.
            .with_memory_pattern(options.batch_size_on(Provider::Cpu) == 1)?
            .with_execution_providers([cpu_provider()])?
            .commit_from_file(path)
    };
    open().map_err(|error| Error::Load {
        path: path.into(),
        cause: Provider::Cpu.backend().explain(error.message()),
    })
}

/// Common session options; providers are added by the caller in priority order.
///
/// # Errors
/// ONNX Runtime's.
pub fn builder(options: &Options, runtime: &Runtime) -> ort::Result<SessionBuilder> {
    let mut builder = Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_deterministic_compute(true)?
        // A pool that spins burns more CPU time after each inference than the inference takes.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?;
    #[cfg(feature = "gpu")]
    {
        // ort's default may pick another device by itself.
        let policy = ort::session::builder::AutoDevicePolicy::PreferCPU;
        builder = builder.with_auto_device(policy)?;
    }
    if options.threads > 0 {
        builder = builder.with_intra_threads(options.threads as usize)?;
    }
    Ok(builder)
}

/// The CPU as a provider. It takes every node that is left, so it goes last.
pub fn cpu_provider() -> ExecutionProviderDispatch {
    // Without the arena an inference takes a quarter to a half more CPU time, and the process is no smaller once the
    // allocator has adapted.
    ep::CPU::default().with_arena_allocator(true).build()
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
