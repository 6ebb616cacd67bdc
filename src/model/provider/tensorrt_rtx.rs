// SPDX-License-Identifier: MPL-2.0
//! NVIDIA TensorRT for RTX, a plugin that any ONNX Runtime loads.

// Without the feature no library is found, and nothing below is called.
#![cfg_attr(not(feature = "gpu"), allow(dead_code, unused_imports))]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{
    environment::Environment,
    session::{Session, builder::SessionBuilder},
};

use super::{Backend, Device, Library, Memory, Setup, nvidia};
use crate::model::precision::Precision;

/// The name by which the plugin registers its provider, and by which it is registered here.
const NAME: &str = "NvTensorRTRTXExecutionProvider";
/// What the plugin needs and brings along, in the order of its own loading script.
const LIBRARIES: [&str; 3] = [
    "libcudart.so.13",
    "libtensorrt_rtx.so.1",
    "libtensorrt_onnxparser_rtx.so.1",
];

pub struct TensorRtRtx;

impl Backend for TensorRtRtx {
    fn library(&self) -> Option<Library> {
        Some(Library {
            file: "libonnxruntime_providers_nv_tensorrt_rtx.so",
            package: "the PyPI package onnxruntime-ep-nv-tensorrt-rtx-cu13",
            anywhere: true,
        })
    }

    fn is_automatic(&self) -> bool {
        false
    }

    fn precisions(&self) -> [Precision; 3] {
        nvidia::PRECISIONS
    }

    fn batch_size(&self) -> usize {
        nvidia::BATCH_SIZE
    }

    fn device(&self, number: u32) -> Result<Device, String> {
        nvidia::device(number)
    }

    #[cfg(feature = "gpu")]
    fn prepare(&self, environment: &Environment, library: &Path) -> Result<(), String> {
        static REGISTERED: Mutex<bool> = Mutex::new(false);
        let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        if *registered {
            return Ok(());
        }
        for name in LIBRARIES {
            // Loaded before, they are found wherever they lie; what fails is said by what needs them.
            if let Some(path) = beside(library, name) {
                let _ = ort::util::preload_dylib(path);
            }
        }
        environment
            .register_ep_library(NAME, library)
            .map_err(|error| self.explain(error.message()))?;
        *registered = true;
        Ok(())
    }

    #[cfg(not(feature = "gpu"))]
    fn register(&self, _: SessionBuilder, _: &Setup) -> ort::Result<SessionBuilder> {
        Err(ort::Error::new("it needs the feature `gpu`"))
    }

    #[cfg(feature = "gpu")]
    fn register(&self, builder: SessionBuilder, setup: &Setup) -> ort::Result<SessionBuilder> {
        let shapes = ["min", "opt", "max"]
            .into_iter()
            .zip(setup.shapes.iter().flatten());
        let shapes =
            shapes.map(|(which, shapes)| (format!("nv_profile_{which}_shapes"), shapes.clone()));
        let cache = setup.engines.clone();
        let cache = cache.map(|folder| ("nv_runtime_cache_path".to_owned(), folder));
        let options: Vec<(String, String)> = shapes
            .chain(cache)
            .map(|(name, value)| (format!("{NAME}.{name}"), value))
            .collect();
        let gpu = setup
            .environment
            .devices()
            .filter(|gpu| gpu.ep().is_ok_and(|name| name == NAME))
            .nth(setup.device as usize)
            .ok_or_else(|| {
                ort::Error::new(format!(
                    "it finds no GPU {} of the kinds that it supports, which are RTX GPUs of compute capability 8.6, 8.9, and 12.0 or newer",
                    setup.device
                ))
            })?;
        Ok(builder.with_devices([gpu], Some(&options))?)
    }

    fn memory(&self, session: &Session, setup: &Setup) -> ort::Result<Memory> {
        nvidia::memory(session, setup)
    }

    fn engines(&self) -> Option<String> {
        Some(nvidia::tensorrt_version("libtensorrt_rtx.so.1"))
    }

    fn explain(&self, message: &str) -> String {
        nvidia::explain(message)
    }
}

/// The file of that name, or of a version of it, in the directory of `library`.
fn beside(library: &Path, name: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(library.parent()?)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|file| file.to_str())
                .and_then(|file| file.strip_prefix(name))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .collect();
    found.sort();
    found.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_with_their_versions() {
        let dir = std::env::temp_dir().join(format!("instruments-rtx-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for name in ["libcudart.so.13.4.36", "libcudart.so.130", "provider.so"] {
            fs::write(dir.join(name), "").unwrap();
        }
        let library = dir.join("provider.so");
        let found = beside(&library, "libcudart.so.13");
        assert_eq!(found, Some(dir.join("libcudart.so.13.4.36")));
        assert_eq!(beside(&library, "libtensorrt_rtx.so.1"), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
