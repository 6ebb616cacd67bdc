// SPDX-License-Identifier: MPL-2.0
//! What ONNX Runtime's messages about a GPU mean, and what to do.

use std::fmt;

use crate::model::provider::one_line;

/// What is wrong with a GPU or its libraries.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    OutOfMemory,
    Lost,
    Busy,
    NoDevice,
    DriverTooOld,
    DriverMismatch,
    NotReady,
    Unsupported,
    /// A library that the loader did not find.
    Library(String),
}

impl Fault {
    /// The fault that a message of ONNX Runtime, CUDA or TensorRT is about.
    fn of(message: &str) -> Option<Self> {
        if let Some(library) = missing_library(message) {
            return Some(Self::Library(library.to_owned()));
        }
        if let Some(fault) = failure_number(message, "CUDA").and_then(Self::of_cuda) {
            return Some(fault);
        }
        let fault = PHRASES
            .iter()
            .find(|(phrase, _)| message.contains(phrase))?;
        Some(fault.1.clone())
    }

    /// By the numbers of `cudaError_t` (CUDA 13, driver_types.h).
    fn of_cuda(number: u32) -> Option<Self> {
        Some(match number {
            2 => Self::OutOfMemory,
            35 => Self::DriverTooOld,
            46 => Self::Busy,
            100 | 101 => Self::NoDevice,
            // No kernel image, no PTX for it, PTX of a newer CUDA.
            209 | 218 | 222 => Self::Unsupported,
            // ECC, NVLink, illegal address, time-out, stack, instruction, alignment, address space, program counter,
            // launch failure, contained error.
            214 | 220 | 226 | 700 | 702 | 714..=719 | 721 => Self::Lost,
            802 => Self::NotReady,
            803 | 804 => Self::DriverMismatch,
            _ => return None,
        })
    }
}

/// Words of messages that carry no number of CUDA's.
const PHRASES: [(&str, Fault); 9] = [
    (
        "Failed to allocate memory for requested buffer of size",
        Fault::OutOfMemory,
    ),
    ("Available memory of", Fault::OutOfMemory),
    ("BFC Arena ran out of memory", Fault::OutOfMemory),
    ("CUBLAS_STATUS_ALLOC_FAILED", Fault::OutOfMemory),
    ("CUDNN_STATUS_ALLOC_FAILED", Fault::OutOfMemory),
    ("OutOfMemory", Fault::OutOfMemory),
    ("out of memory", Fault::OutOfMemory),
    ("CUDA driver version is insufficient", Fault::DriverTooOld),
    ("no CUDA-capable device", Fault::NoDevice),
];

/// What is wrong and what to do, as a part of a sentence.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => {
                "the GPU has no memory left; lower `batch-size`, end other programs on it, or choose another `device`"
            }
            Self::Lost => {
                "the GPU failed and is unusable in this process; restart the application, and see `nvidia-smi` and the kernel's log"
            }
            Self::Busy => {
                "the GPU is busy or access is denied; end the program that holds it, or see its compute mode in `nvidia-smi`"
            }
            Self::NoDevice => {
                "there is no such GPU; see `nvidia-smi -L` and CUDA_VISIBLE_DEVICES for the GPUs, and set `device` to one"
            }
            Self::DriverTooOld => {
                "the NVIDIA driver is too old for the CUDA libraries; install a newer driver"
            }
            Self::DriverMismatch => {
                "the parts of the NVIDIA driver are of different versions, as after an upgrade; restart the machine"
            }
            Self::NotReady => {
                "the GPU is not ready; on machines with NVSwitch start the NVIDIA fabric manager"
            }
            Self::Unsupported => {
                "this provider does not support this GPU; set another `execution-provider`"
            }
            Self::Library(library) => {
                return write!(f, "{library} is missing, which is in {}", package(library));
            }
        })
    }
}

/// A message of ONNX Runtime as a part of a sentence, after what it means where that is known.
pub fn explain(message: &str) -> String {
    let message = one_line(message);
    match Fault::of(&message) {
        Some(fault) => format!("{fault} ({message})"),
        None => message,
    }
}

/// The name in the dynamic loader's `NAME: cannot open shared object file`.
fn missing_library(message: &str) -> Option<&str> {
    let (before, _) = message.split_once(": cannot open shared object file")?;
    before.rsplit([' ', '/']).next()
}

/// The 2 of `CUDA failure 2: out of memory` (onnxruntime/core/providers/cuda/cuda_call.cc).
fn failure_number(message: &str, library: &str) -> Option<u32> {
    let (_, rest) = message.split_once(&format!("{library} failure "))?;
    rest.split(':').next()?.trim().parse().ok()
}

/// Where a library comes from. The packages of CUDA, cuDNN and TensorRT are those of PyPI for CUDA 13.
fn package(library: &str) -> &'static str {
    const PACKAGES: [(&str, &str); 11] = [
        ("libcuda.", "the NVIDIA driver"),
        ("libnvidia-ml.", "the NVIDIA driver"),
        ("libcudart.", "the PyPI package nvidia-cuda-runtime"),
        ("libcublas", "the PyPI package nvidia-cublas"),
        ("libcudnn", "the PyPI package nvidia-cudnn-cu13"),
        ("libcufft", "the PyPI package nvidia-cufft"),
        ("libcurand", "the PyPI package nvidia-curand"),
        ("libnvrtc", "the PyPI package nvidia-cuda-nvrtc"),
        ("libnvinfer", "the PyPI package tensorrt-cu13-libs"),
        ("libnvonnxparser", "the PyPI package tensorrt-cu13-libs"),
        ("libonnxruntime", "the PyPI package onnxruntime-gpu"),
    ];
    PACKAGES
        .iter()
        .find(|(start, _)| library.starts_with(start))
        .map_or("an unknown package", |(_, package)| package)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as ONNX Runtime 1.31 writes them: its CUDA_CALL format with CUDA's own texts, its arena, the dynamic
    /// loader, and TensorRT's error recorder.
    #[test]
    fn messages_of_the_runtime_are_understood() {
        let call = |number: u32, text: &str| {
            format!(
                "CUDA failure {number}: {text} ; GPU=0 ; hostname=box ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_allocator.cc ; line=47 ; expr=cudaMalloc((void**)&p, size); "
            )
        };
        for (message, fault) in [
            (call(2, "out of memory"), Fault::OutOfMemory),
            (
                call(35, "CUDA driver version is insufficient for CUDA runtime version"),
                Fault::DriverTooOld,
            ),
            (
                call(46, "CUDA-capable device(s) is/are busy or unavailable"),
                Fault::Busy,
            ),
            (call(100, "no CUDA-capable device is detected"), Fault::NoDevice),
            (call(101, "invalid device ordinal"), Fault::NoDevice),
            (
                call(209, "no kernel image is available for execution on the device"),
                Fault::Unsupported,
            ),
            (call(214, "uncorrectable ECC error encountered"), Fault::Lost),
            (call(700, "an illegal memory access was encountered"), Fault::Lost),
            (call(719, "unspecified launch failure"), Fault::Lost),
            (call(802, "system not yet initialized"), Fault::NotReady),
            (
                call(803, "system has unsupported display driver / cuda driver combination"),
                Fault::DriverMismatch,
            ),
            (
                "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, onnxruntime::WaitNotificationFn) Failed to allocate memory for requested buffer of size 1073741824".into(),
                Fault::OutOfMemory,
            ),
            (
                "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=box ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; line=168 ; expr=cublasCreate(&cublas_handle_); ".into(),
                Fault::OutOfMemory,
            ),
            (
                "[defaultAllocator.cpp::allocate::20] Error Code 1: Cuda Runtime (out of memory)".into(),
                Fault::OutOfMemory,
            ),
            (
                "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file: No such file or directory".into(),
                Fault::Library("libcublasLt.so.13".into()),
            ),
            (
                "Failed to load library /opt/x/libonnxruntime_providers_cuda.so with error: /opt/x/libonnxruntime_providers_cuda.so: cannot open shared object file: No such file or directory".into(),
                Fault::Library("libonnxruntime_providers_cuda.so".into()),
            ),
        ] {
            assert_eq!(Fault::of(&message), Some(fault), "{message}");
        }
    }

    #[test]
    fn what_is_about_something_else_stays_as_it_is() {
        for message in [
            "Non-zero status code returned while running Log node",
            // A number that says nothing of what to do.
            "CUDA failure 1: invalid argument ; GPU=0 ; hostname=box",
            "CUDNN failure 5003: CUDNN_STATUS_EXECUTION_FAILED_CUBLAS ; GPU=0",
        ] {
            assert_eq!(Fault::of(message), None, "{message}");
            assert_eq!(explain(&format!(" {message}.\n")), message);
        }
    }

    #[test]
    fn an_explanation_says_what_to_do_and_keeps_the_message() {
        let text = explain("CUDA failure 2: out of memory ; GPU=0");
        assert!(text.contains("lower `batch-size`"), "{text}");
        assert!(
            text.ends_with("(CUDA failure 2: out of memory ; GPU=0)"),
            "{text}"
        );
    }

    #[test]
    fn libraries_are_named_with_their_packages() {
        for (library, package) in [
            ("libcuda.so.1", "the NVIDIA driver"),
            ("libcudart.so.13", "nvidia-cuda-runtime"),
            ("libcublasLt.so.13", "nvidia-cublas"),
            ("libcudnn.so.9", "nvidia-cudnn-cu13"),
            ("libnvinfer.so.10", "tensorrt-cu13-libs"),
            ("libonnxruntime_providers_tensorrt.so", "onnxruntime-gpu"),
        ] {
            let text = Fault::Library(library.into()).to_string();
            assert!(text.ends_with(package), "{text}");
        }
    }
}
