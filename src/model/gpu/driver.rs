// SPDX-License-Identifier: MPL-2.0
//! Who the GPU is, asked of the NVIDIA driver's own library.

use std::{
    ffi::{CStr, OsStr, c_char, c_int},
    fmt,
};

use libloading::{Library, Symbol};

/// The driver's library: part of the driver, never of CUDA's packages.
pub const LIBRARY: &str = "libcuda.so.1";

/// `CUdevice_attribute` (cuda.h).
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

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

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The GPU of that number, in CUDA's order and among those that CUDA_VISIBLE_DEVICES leaves visible.
///
/// # Errors
/// What is missing and what to do, as a part of a sentence.
pub fn gpu(device: u32) -> Result<Gpu, String> {
    gpu_of(LIBRARY.as_ref(), device)
}

fn gpu_of(library: &OsStr, device: u32) -> Result<Gpu, String> {
    // SAFETY: the driver's library may be loaded and initialised at any time, and stays loaded: closing it while
    // CUDA uses it would not be sound, so it is leaked. The signatures are those of cuda.h.
    unsafe {
        let library = Library::new(library).map_err(|error| {
            format!(
                "the NVIDIA driver is missing ({}); install it",
                cause(&error)
            )
        })?;
        let library: &'static Library = Box::leak(Box::new(library));
        let initialise: Symbol<unsafe extern "C" fn(u32) -> c_int> = symbol(library, "cuInit")?;
        check("cuInit", initialise(0))?;
        let get_count: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> =
            symbol(library, "cuDeviceGetCount")?;
        let get: Symbol<unsafe extern "C" fn(*mut c_int, c_int) -> c_int> =
            symbol(library, "cuDeviceGet")?;
        let get_name: Symbol<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int> =
            symbol(library, "cuDeviceGetName")?;
        let get_attribute: Symbol<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int> =
            symbol(library, "cuDeviceGetAttribute")?;
        let get_version: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> =
            symbol(library, "cuDriverGetVersion")?;

        let mut count = 0;
        check("cuDeviceGetCount", get_count(&mut count))?;
        let ordinal = c_int::try_from(device)
            .ok()
            .filter(|ordinal| *ordinal < count)
            .ok_or_else(|| {
                format!("`device` is {device}, but there are {count} GPU(s), counted from 0")
            })?;
        let mut handle = 0;
        check("cuDeviceGet", get(&mut handle, ordinal))?;
        let mut name = [0; 256];
        check("cuDeviceGetName", get_name(name.as_mut_ptr(), 256, handle))?;
        // The driver ends the name with a NUL, within the length that it was given.
        name[255] = 0;
        let name = CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
        let (mut major, mut minor, mut driver) = (0, 0, 0);
        check(
            "cuDeviceGetAttribute",
            get_attribute(&mut major, COMPUTE_CAPABILITY_MAJOR, handle),
        )?;
        check(
            "cuDeviceGetAttribute",
            get_attribute(&mut minor, COMPUTE_CAPABILITY_MINOR, handle),
        )?;
        check("cuDriverGetVersion", get_version(&mut driver))?;
        Ok(Gpu {
            name,
            capability: (major, minor),
            driver,
        })
    }
}

/// The version that a library of TensorRT's says it is (NvInferRuntime.h), `None` when it cannot be loaded.
pub fn tensorrt_version(library: &str) -> Option<i32> {
    // SAFETY: the library only answers, and is the one that the provider is loaded with.
    unsafe {
        let library = Library::new(library).ok()?;
        let version: Symbol<unsafe extern "C" fn() -> i32> =
            library.get(b"getInferLibVersion").ok()?;
        Some(version())
    }
}

/// # Safety
/// `T` must be the symbol's type.
unsafe fn symbol<T>(library: &'static Library, name: &str) -> Result<Symbol<'static, T>, String> {
    // SAFETY: promised by the caller.
    unsafe { library.get(name.as_bytes()) }.map_err(|error| {
        format!(
            "the NVIDIA driver lacks {name} ({}); install a newer one",
            cause(&error)
        )
    })
}

fn check(function: &str, result: c_int) -> Result<(), String> {
    match result {
        0 => Ok(()),
        // CUDA_ERROR_NO_DEVICE
        100 => Err(
            "the NVIDIA driver finds no GPU; see `nvidia-smi -L` and CUDA_VISIBLE_DEVICES".into(),
        ),
        803 => {
            Err("the parts of the NVIDIA driver do not belong together; restart the machine".into())
        }
        number => Err(format!(
            "the NVIDIA driver does not work ({function} gave {number}); see `nvidia-smi`"
        )),
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
        let error = gpu_of(library.as_os_str(), 1).unwrap_err();
        assert_eq!(
            error,
            "`device` is 1, but there are 1 GPU(s), counted from 0"
        );
        fs::remove_dir_all(library.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = gpu_of("/nowhere/libcuda.so.1".as_ref(), 0).unwrap_err();
        assert!(
            error.starts_with("the NVIDIA driver is missing (/nowhere/libcuda.so.1: "),
            "{error}"
        );
        let library = driver("without-gpu", 100);
        let error = gpu_of(library.as_os_str(), 0).unwrap_err();
        assert!(error.contains("finds no GPU"), "{error}");
        fs::remove_dir_all(library.parent().unwrap()).unwrap();
        let library = driver("broken", 999);
        let error = gpu_of(library.as_os_str(), 0).unwrap_err();
        assert!(error.contains("cuInit gave 999"), "{error}");
        fs::remove_dir_all(library.parent().unwrap()).unwrap();
    }
}
