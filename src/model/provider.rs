// SPDX-License-Identifier: MPL-2.0
//! What models run on, and the libraries that takes.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{Error, gpu::fault};

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
    /// An NVIDIA RTX GPU through TensorRT for RTX, a plugin of ONNX Runtime's.
    TensorRtRtx,
}

impl Provider {
    /// The name that users give: `auto`, `cpu`, `cuda`, `tensorrt` or `tensorrt-rtx`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::TensorRtRtx => "tensorrt-rtx",
        }
    }

    /// What to try, in order, with the ONNX Runtime at `runtime`: one that was asked for by name, or of `auto` those
    /// whose libraries are there.
    pub fn candidates(self, runtime: &Path) -> Vec<Self> {
        if self != Self::Auto {
            return vec![self];
        }
        [Self::TensorRt, Self::Cuda, Self::Cpu]
            .into_iter()
            .filter(|provider| provider.find_library(runtime).is_ok())
            .collect()
    }

    /// The provider's shared library; `None` for the processor, which is part of ONNX Runtime.
    pub fn library(self) -> Option<&'static str> {
        match self {
            Self::Auto | Self::Cpu => None,
            Self::Cuda => Some("libonnxruntime_providers_cuda.so"),
            Self::TensorRt => Some("libonnxruntime_providers_tensorrt.so"),
            Self::TensorRtRtx => Some("libonnxruntime_providers_nv_tensorrt_rtx.so"),
        }
    }

    /// The file of the provider's library, `None` where it has none: beside ONNX Runtime, where ONNX Runtime itself
    /// looks for its own; a plugin's also in the directories of LD_LIBRARY_PATH.
    ///
    /// # Errors
    /// [`Error::ProviderMissing`].
    pub fn find_library(self, runtime: &Path) -> Result<Option<PathBuf>, Error> {
        let Some(library) = self.library() else {
            return Ok(None);
        };
        let path_variable = env::var_os("LD_LIBRARY_PATH")
            .filter(|_| self == Self::TensorRtRtx)
            .unwrap_or_default();
        let directories = env::split_paths(&path_variable).filter(|dir| dir.is_absolute());
        [runtime.with_file_name(library)]
            .into_iter()
            .chain(directories.map(|dir| dir.join(library)))
            .find(|path| path.is_file())
            .map(Some)
            .ok_or_else(|| {
                let beside = runtime.with_file_name("");
                self.missing(format!("it is not in {}", beside.display()))
            })
    }

    /// That the provider is not to be had.
    pub fn missing(self, cause: String) -> Error {
        let library = self.library().unwrap_or_default();
        Error::ProviderMissing {
            provider: self.as_str(),
            library,
            package: fault::package(library),
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::*;

    #[test]
    fn auto_tries_what_lies_beside_the_runtime() {
        let dir = env::temp_dir().join(format!("instruments-provider-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        let runtime = dir.join("libonnxruntime.so.1.31.1");
        assert_eq!(Provider::Auto.candidates(&runtime), [Provider::Cpu]);
        for library in [
            "libonnxruntime_providers_cuda.so",
            "libonnxruntime_providers_tensorrt.so",
            "libonnxruntime_providers_nv_tensorrt_rtx.so",
        ] {
            fs::write(dir.join(library), "").unwrap();
        }
        assert_eq!(
            Provider::Auto.candidates(&runtime),
            [Provider::TensorRt, Provider::Cuda, Provider::Cpu]
        );
        fs::remove_dir_all(dir).unwrap();
        assert_eq!(Provider::Cuda.candidates(&runtime), [Provider::Cuda]);
        let error = Provider::TensorRtRtx.find_library(&runtime).unwrap_err();
        for part in [
            "`tensorrt-rtx`",
            "libonnxruntime_providers_nv_tensorrt_rtx.so",
            "onnxruntime-ep-nv-tensorrt-rtx-cu13",
        ] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
