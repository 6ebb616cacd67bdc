// SPDX-License-Identifier: MPL-2.0
//! What models run on: one file for each execution provider of ONNX Runtime, behind [`Backend`]. A new one is a file
//! here, a variant of [`Provider`] with its line in [`Provider::backend`], and a row in docs/deployment.md.

mod cpu;
mod cuda;
mod nvidia;
mod tensorrt;

use std::{
    error, fmt,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use ort::{
    memory::Allocator,
    session::{Session, builder::SessionBuilder},
};

use super::{error::Error, platform};

/// What runs a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, glib::Enum)]
#[enum_type(name = "GstInstrumentsExecutionProvider")]
pub enum Provider {
    /// The first available of TensorRT, CUDA and the CPU.
    #[default]
    #[enum_value(
        name = "The first available of TensorRT, CUDA and the CPU",
        nick = "auto"
    )]
    Auto,
    /// ONNX Runtime's own kernels.
    #[enum_value(name = "CPU: ONNX Runtime's own kernels", nick = "cpu")]
    Cpu,
    /// An NVIDIA GPU.
    #[enum_value(name = "CUDA: an NVIDIA GPU", nick = "cuda")]
    Cuda,
    /// An NVIDIA GPU, with engines that TensorRT builds.
    #[enum_value(name = "TensorRT: an NVIDIA GPU", nick = "tensorrt")]
    TensorRt,
}

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

/// What is known of a provider before it is used.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Its library; `None` for one that is part of ONNX Runtime.
    pub library: Option<Library>,
    /// Which of a model's files is the fastest: the first that there is.
    pub precisions: [Precision; 3],
    /// Whether it computes in 16 bits what a file has in 32.
    pub makes_half_floats: bool,
    /// The maximum batch size unless the user sets one.
    pub batch_size: usize,
    /// Whether its work can be recorded once and replayed, where all shapes are fixed.
    pub replays: bool,
    /// Whether it builds engines for a device, which are worth keeping.
    pub builds_engines: bool,
}

/// A shared library that a provider needs.
#[derive(Debug, Clone, Copy)]
pub struct Library {
    /// Its name, of which the system's file name is made.
    pub name: &'static str,
    /// The package that contains it.
    pub package: &'static str,
}

/// What a provider runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Its name for users, e.g. `NVIDIA H200`.
    pub name: String,
    /// Its kind, as far as engines depend on that, e.g. `NVIDIA H200 9.0`.
    pub kind: String,
    /// The versions of its driver and of what builds engines for it.
    pub versions: String,
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

/// Where the memory of a session's inputs and outputs is.
#[derive(Debug, Default)]
pub struct Memory {
    /// What this program writes to and reads from.
    pub host: Allocator,
    /// What the session reads from and writes to, where that must stay at one address; otherwise ONNX Runtime copies
    /// to and from memory of its own.
    pub device: Option<Allocator>,
}

/// An execution provider. What is not said here is as on the CPU.
pub trait Backend: Sync {
    fn facts(&self) -> Facts;

    /// The device of that number.
    ///
    /// # Errors
    /// What is missing and what to do, as a part of a sentence.
    fn device(&self, _number: u32) -> Result<Device, Box<dyn error::Error>> {
        Ok(Device::default())
    }

    /// Adds the provider to a session. The CPU is added by the caller and runs what this one does not take.
    ///
    /// # Errors
    /// ONNX Runtime's, when it cannot load the library or what that needs.
    fn register(&self, builder: SessionBuilder, setup: &Setup) -> ort::Result<SessionBuilder>;

    /// The memory that a session's inputs and outputs go through.
    ///
    /// # Errors
    /// When the device's memory is unavailable.
    fn memory(&self, _session: &Session, _setup: &Setup) -> ort::Result<Memory> {
        Ok(Memory::default())
    }

    /// A message of ONNX Runtime as a part of a sentence: first what it means and what to do, where that is known.
    fn explain(&self, message: &str) -> String;
}

impl Provider {
    /// All but `auto`, which tries them from the last to the first.
    pub const ALL: &[Self] = &[Self::Cpu, Self::Cuda, Self::TensorRt];

    /// How ONNX Runtime is asked to use it; the CPU's for `auto`.
    pub fn backend(self) -> &'static dyn Backend {
        match self {
            Self::Auto | Self::Cpu => &cpu::Cpu,
            Self::Cuda => &cuda::Cuda,
            Self::TensorRt => &tensorrt::TensorRt,
        }
    }

    /// The name that users give.
    pub fn as_str(self) -> &'static str {
        static CLASS: LazyLock<glib::EnumClass> = LazyLock::new(glib::EnumClass::new::<Provider>);
        CLASS.value(self as i32).map_or("", glib::EnumValue::nick)
    }

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
        let Some(library) = self.backend().facts().library else {
            return Ok(None);
        };
        if cfg!(not(feature = "gpu")) {
            return Err(self.missing("this plugin was built without the feature `gpu`"));
        }
        // ONNX Runtime looks for its own libraries only beside itself.
        let path = runtime.with_file_name(platform::library(library.name));
        if path.is_file() {
            return Ok(Some(path));
        }
        let beside = runtime.with_file_name("");
        Err(self.missing(format_args!("it is not in {}", beside.display())))
    }

    /// That the provider is unavailable.
    pub fn missing(self, cause: impl fmt::Display) -> Error {
        let library = self.backend().facts().library;
        Error::ProviderMissing {
            provider: self.as_str(),
            library: library.map_or("ONNX Runtime".into(), |its| platform::library(its.name)),
            package: library.map_or("the PyPI package onnxruntime", |its| its.package),
            cause: cause.to_string(),
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
    fn all_are_the_enum_s_values_but_auto() {
        let class = glib::EnumClass::new::<Provider>();
        let nicks: Vec<&str> = class.values().iter().map(|value| value.nick()).collect();
        let all = [Provider::Auto].iter().chain(Provider::ALL);
        let names: Vec<&str> = all.map(|provider| provider.as_str()).collect();
        assert_eq!(nicks, names);
        assert_eq!(nicks, ["auto", "cpu", "cuda", "tensorrt"]);
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
