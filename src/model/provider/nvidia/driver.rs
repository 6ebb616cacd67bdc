// SPDX-License-Identifier: MPL-2.0
//! Name, kind and driver of a GPU, from the NVIDIA driver's own library.

use std::ffi::{CStr, OsStr, c_char, c_int};

use libloading::{Library, Symbol};

use crate::model::platform::{CUDA_DRIVER, TENSORRT};

/// `CUdevice_attribute` (cuda.h).
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

/// Why a GPU cannot be used: what is missing and what to do, as a part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    #[error("the NVIDIA driver is missing ({0}); install it")]
    Missing(String),
    #[error("the NVIDIA driver lacks {function} ({cause}); install a newer one")]
    Lacks {
        function: &'static str,
        cause: String,
    },
    #[error("the NVIDIA driver finds no GPU; see `nvidia-smi -L` and CUDA_VISIBLE_DEVICES")]
    NoGpu,
    #[error("`device` is {device}, but there are {count} GPU(s), counted from 0")]
    NoSuchGpu { device: u32, count: c_int },
    #[error("the parts of the NVIDIA driver are of different versions; restart the machine")]
    Mixed,
    #[error("the NVIDIA driver does not work ({function} gave {number}); see `nvidia-smi`")]
    Broken {
        function: &'static str,
        number: c_int,
    },
}

type Result<T> = std::result::Result<T, DriverError>;

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// For example `NVIDIA H200`.
    pub name: String,
    /// For example 9 and 0.
    pub capability: (i32, i32),
    /// The newest CUDA that the driver knows, e.g. 13000 for 13.0.
    pub driver: i32,
}

/// The GPU of that number, in CUDA's order and among those that CUDA_VISIBLE_DEVICES leaves visible.
///
/// # Errors
/// [`DriverError`].
pub fn gpu(device: u32) -> Result<Gpu> {
    gpu_of(CUDA_DRIVER.as_ref(), device)
}

fn gpu_of(library: &OsStr, device: u32) -> Result<Gpu> {
    let driver = Driver::load(library)?;
    let count = driver.number("cuDeviceGetCount")?;
    let ordinal = c_int::try_from(device)
        .ok()
        .filter(|ordinal| *ordinal < count)
        .ok_or(DriverError::NoSuchGpu { device, count })?;
    let handle = driver.device(ordinal)?;
    Ok(Gpu {
        name: driver.name(handle)?,
        capability: (
            driver.attribute(COMPUTE_CAPABILITY_MAJOR, handle)?,
            driver.attribute(COMPUTE_CAPABILITY_MINOR, handle)?,
        ),
        driver: driver.number("cuDriverGetVersion")?,
    })
}

/// The driver's library, initialised. It stays loaded: closing it while CUDA uses it would not be sound.
struct Driver(&'static Library);

impl Driver {
    fn load(library: &OsStr) -> Result<Self> {
        let library = leak(library).map_err(|error| DriverError::Missing(cause(&error)))?;
        let driver = Self(library);
        // SAFETY: cuda.h's signature; the driver may be initialised at any time.
        let result = unsafe {
            let initialise: Symbol<unsafe extern "C" fn(u32) -> c_int> = driver.symbol("cuInit")?;
            initialise(0)
        };
        check("cuInit", result)?;
        Ok(driver)
    }

    /// What one of the functions answers that only give a number.
    fn number(&self, function: &'static str) -> Result<c_int> {
        let mut number = 0;
        // SAFETY: cuda.h's signature; it writes one number.
        let result = unsafe {
            let get: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> = self.symbol(function)?;
            get(&mut number)
        };
        check(function, result).map(|()| number)
    }

    fn device(&self, ordinal: c_int) -> Result<c_int> {
        let (function, mut device) = ("cuDeviceGet", 0);
        // SAFETY: cuda.h's signature; it writes one number.
        let result = unsafe {
            let get: Symbol<unsafe extern "C" fn(*mut c_int, c_int) -> c_int> =
                self.symbol(function)?;
            get(&mut device, ordinal)
        };
        check(function, result).map(|()| device)
    }

    fn name(&self, device: c_int) -> Result<String> {
        let (function, mut name) = ("cuDeviceGetName", [0; 256]);
        // SAFETY: cuda.h's signature; it writes a C string of at most 256 bytes.
        let result = unsafe {
            let get: Symbol<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int> =
                self.symbol(function)?;
            get(name.as_mut_ptr(), 256, device)
        };
        let name: Vec<u8> = name.iter().map(|character| *character as u8).collect();
        let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
        check(function, result).map(|()| name.to_string_lossy().into_owned())
    }

    fn attribute(&self, attribute: c_int, device: c_int) -> Result<c_int> {
        let (function, mut value) = ("cuDeviceGetAttribute", 0);
        // SAFETY: cuda.h's signature; it writes one number.
        let result = unsafe {
            let get: Symbol<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int> =
                self.symbol(function)?;
            get(&mut value, attribute, device)
        };
        check(function, result).map(|()| value)
    }

    /// # Safety
    /// `T` must be the symbol's type.
    unsafe fn symbol<T>(&self, function: &'static str) -> Result<Symbol<'static, T>> {
        // SAFETY: promised by the caller.
        unsafe { self.0.get(function.as_bytes()) }.map_err(|error| DriverError::Lacks {
            function,
            cause: cause(&error),
        })
    }
}

/// Loads a library for the rest of the process: others may use it by the time that it would be closed.
fn leak(library: &OsStr) -> std::result::Result<&'static Library, libloading::Error> {
    // SAFETY: the libraries of the driver and of TensorRT may be loaded at any time.
    let library = unsafe { Library::new(library) }?;
    Ok(Box::leak(Box::new(library)))
}

/// TensorRT's version (NvInferRuntime.h).
pub fn tensorrt_version() -> String {
    let version = || {
        let library = leak(TENSORRT.as_ref()).ok()?;
        // SAFETY: NvInferRuntime.h's signature; it only answers.
        unsafe {
            let version: Symbol<unsafe extern "C" fn() -> i32> =
                library.get(b"getInferLibVersion").ok()?;
            Some(version())
        }
    };
    version().map_or("unknown".into(), |version| version.to_string())
}

fn check(function: &'static str, result: c_int) -> Result<()> {
    match result {
        0 => Ok(()),
        // CUDA_ERROR_NO_DEVICE
        100 => Err(DriverError::NoGpu),
        803 => Err(DriverError::Mixed),
        number => Err(DriverError::Broken { function, number }),
    }
}

/// The loader's own words.
fn cause(error: &libloading::Error) -> String {
    use std::error::Error;
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf, process::Command};

    use super::*;

    /// A library that answers like a driver with one GPU, or with `result` where it is not 0.
    fn driver(test: &str, result: i32) -> PathBuf {
        let dir = env::temp_dir().join(format!("instruments-driver-{}-{test}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let library = dir.join("libcuda.so.1");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", &format!("-DRESULT={result}"), "-o"])
            .arg(&library)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/driver.c"))
            .status();
        assert!(compiled.unwrap().success());
        library
    }

    #[test]
    fn the_driver_says_who_the_gpu_is() {
        let library = driver("there", 0);
        let gpu = gpu_of(library.as_os_str(), 0).unwrap();
        assert_eq!(
            gpu,
            Gpu {
                name: "NVIDIA Test".into(),
                capability: (9, 1),
                driver: 13_000,
            }
        );
        let error = gpu_of(library.as_os_str(), 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "`device` is 1, but there are 1 GPU(s), counted from 0"
        );
        fs::remove_dir_all(library.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = gpu_of("/nowhere/libcuda.so.1".as_ref(), 0)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the NVIDIA driver is missing (/nowhere/libcuda.so.1: "),
            "{error}"
        );
        let library = driver("without-gpu", 100);
        let error = gpu_of(library.as_os_str(), 0).unwrap_err().to_string();
        assert!(error.contains("finds no GPU"), "{error}");
        fs::remove_dir_all(library.parent().unwrap()).unwrap();
        let library = driver("broken", 999);
        let error = gpu_of(library.as_os_str(), 0).unwrap_err().to_string();
        assert!(error.contains("cuInit gave 999"), "{error}");
        fs::remove_dir_all(library.parent().unwrap()).unwrap();
    }
}
