// SPDX-License-Identifier: MPL-2.0
//! What models run on: one file for each execution provider of ONNX Runtime, behind [`Backend`]. A new one is a file
//! here and a line in the table of [`with_providers`].

mod cpu;
mod cuda;
mod memory;
mod nvidia;
mod tensorrt;

use std::path::{Path, PathBuf};

use ort::session::{Session, builder::SessionBuilder};

use super::{error::Error, names::names, precision::Precision};

pub use memory::Memory;

/// Hands the providers to the macro `$with`: type, type of the property, description, and the variants with the names
/// that users give, their descriptions and [`Backend`]s. `auto` tries them from the last to the first.
macro_rules! with_providers {
    ($with:ident) => {
        $with! { model Provider, "GstInstrumentsExecutionProvider", "What runs a model.":
            Auto = "auto", "The first available of TensorRT, CUDA and the CPU", cpu::Cpu;
            Cpu = "cpu", "CPU: ONNX Runtime's own kernels", cpu::Cpu;
            Cuda = "cuda", "CUDA: an NVIDIA GPU", cuda::Cuda;
            TensorRt = "tensorrt", "TensorRT: an NVIDIA GPU", tensorrt::TensorRt;
        }
    };
}
with_providers!(names);
pub(crate) use with_providers;

macro_rules! backends {
    ($module:ident $type:ident, $property:literal, $doc:literal:
        $($variant:ident = $name:literal, $label:literal, $backend:path;)+) => {
        impl $type {
            /// How ONNX Runtime is asked to use it; the CPU's for `auto`.
            pub fn backend(self) -> &'static dyn Backend {
                match self { $(Self::$variant => &$backend),+ }
            }
        }
    };
}
with_providers!(backends);

/// A shared library that a provider needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Library {
    /// Its file's name.
    pub file: &'static str,
    /// The package that contains it.
    pub package: &'static str,
}

/// What a provider runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name for users, e.g. `NVIDIA H200`.
    pub name: String,
    /// Its kind, as far as engines depend on that, e.g. `NVIDIA H200 9.0`.
    pub kind: String,
    /// The version of its driver.
    pub driver: String,
}

/// How a session is to be made.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Number of the device.
    pub device: u32,
    /// What the session computes in.
    pub precision: Precision,
    /// The inputs with their shapes, at least, as a rule and at most, e.g. `frame:8x260x260x3`; unset where the
    /// inputs' names cannot be written so.
    pub shapes: Option<[String; 3]>,
    /// The folder for engines, if there is one.
    pub engines: Option<String>,
    /// Whether the device's work is recorded once and then replayed.
    pub replay: bool,
}

impl Setup {
    /// The device's number as ONNX Runtime takes it.
    fn device_id(&self) -> i32 {
        i32::try_from(self.device).unwrap_or(i32::MAX)
    }
}

/// An execution provider.
pub trait Backend: Sync {
    /// The provider's library; `None` for one that is part of ONNX Runtime.
    fn library(&self) -> Option<Library> {
        None
    }

    /// Which of a model's files is the fastest: the first that there is.
    fn precisions(&self) -> [Precision; 3];

    /// Whether it computes in 16 bits what a file has in 32.
    fn makes_half_floats(&self) -> bool {
        false
    }

    /// The maximum batch size unless the user sets one.
    fn batch_size(&self) -> usize;

    /// Whether its work can be recorded once and replayed, where all shapes are fixed.
    fn replays(&self) -> bool {
        false
    }

    /// The device of that number.
    ///
    /// # Errors
    /// What is missing and what to do, as a part of a sentence.
    fn device(&self, number: u32) -> Result<Device, String>;

    /// Adds the provider to a session. The CPU is added by the caller and runs what this one does not take.
    ///
    /// # Errors
    /// ONNX Runtime's, when it cannot load the library or what that needs.
    fn register(&self, builder: SessionBuilder, setup: &Setup) -> ort::Result<SessionBuilder>;

    /// The memory that a session's inputs and outputs go through.
    ///
    /// # Errors
    /// When the device's memory is unavailable.
    fn memory(&self, session: &Session, setup: &Setup) -> ort::Result<Memory>;

    /// The version of what builds engines for a device, which are worth keeping; `None` where none are built.
    fn engines(&self) -> Option<String> {
        None
    }

    /// A message of ONNX Runtime as a part of a sentence: first what it means and what to do, where that is known.
    fn explain(&self, message: &str) -> String;
}

impl Provider {
    /// What to try, in order, with the ONNX Runtime at `runtime`: one that was asked for by name, or of `auto` those
    /// whose libraries are found.
    pub fn candidates(self, runtime: &Path) -> Vec<Self> {
        if self != Self::Auto {
            return vec![self];
        }
        let all = Self::ALL.iter().rev().copied();
        all.filter(|provider| provider.find_library(runtime).is_ok())
            .collect()
    }

    /// The file of the provider's library, `None` where it has none.
    ///
    /// # Errors
    /// [`Error::ProviderMissing`].
    pub fn find_library(self, runtime: &Path) -> Result<Option<PathBuf>, Error> {
        let Some(library) = self.backend().library() else {
            return Ok(None);
        };
        if cfg!(not(feature = "gpu")) {
            return Err(self.missing("this plugin was built without the feature `gpu`".into()));
        }
        // ONNX Runtime looks for its own libraries only beside itself.
        let path = runtime.with_file_name(library.file);
        if path.is_file() {
            return Ok(Some(path));
        }
        let beside = runtime.with_file_name("");
        Err(self.missing(format!("it is not in {}", beside.display())))
    }

    /// That the provider is unavailable.
    pub fn missing(self, cause: String) -> Error {
        let library = self.backend().library();
        Error::ProviderMissing {
            provider: self.as_str(),
            library: library.map_or("ONNX Runtime", |library| library.file),
            package: library.map_or("the PyPI package onnxruntime", |library| library.package),
            cause,
        }
    }
}

/// A message of ONNX Runtime on one line, without its last full stop.
fn one_line(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

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
        ] {
            fs::write(dir.join(library), "").unwrap();
        }
        assert_eq!(
            Provider::Auto.candidates(&runtime),
            [Provider::TensorRt, Provider::Cuda, Provider::Cpu]
        );
        fs::remove_dir_all(dir).unwrap();
        assert_eq!(Provider::Cuda.candidates(&runtime), [Provider::Cuda]);
        let error = Provider::TensorRt.find_library(&runtime).unwrap_err();
        for part in [
            "`tensorrt`",
            "libonnxruntime_providers_tensorrt.so",
            "onnxruntime-gpu",
        ] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_machine_without_memory_is_no_gpu_without_memory() {
        let message = "Failed to allocate memory for requested buffer of size 1073741824";
        let explained = |provider: Provider| provider.backend().explain(message);
        assert!(explained(Provider::Cuda).starts_with("the GPU has no memory left;"));
        let cpu = explained(Provider::Cpu);
        assert!(
            cpu.starts_with("the machine has no memory left;") && !cpu.contains("GPU"),
            "{cpu}"
        );
        assert_eq!(
            Provider::Cpu.backend().explain(" Out\n of it. "),
            "Out of it"
        );
    }
}
