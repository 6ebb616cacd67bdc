// SPDX-License-Identifier: MPL-2.0
//! What the operating systems call libraries, and where a loaded one is: all that differs between them.

use std::{env::consts, path::PathBuf};

/// NVIDIA's driver: part of the driver, never of CUDA's packages.
pub const CUDA_DRIVER: &str = if cfg!(windows) {
    "nvcuda.dll"
} else {
    "libcuda.so.1"
};
/// TensorRT, by the name under which ONNX Runtime's provider loads it.
pub const TENSORRT: &str = if cfg!(windows) {
    "nvinfer_10.dll"
} else {
    "libnvinfer.so.10"
};

/// The file of a library: `libNAME.so`, `libNAME.dylib` or `NAME.dll`.
pub fn library(name: &str) -> String {
    format!("{}{name}{}", consts::DLL_PREFIX, consts::DLL_SUFFIX)
}

/// The file of a version of a library: `libNAME.so.1.31`, `libNAME.1.31.dylib`; `NAME.dll`, which has none in its name.
pub fn versioned(name: &str, version: &str) -> String {
    if cfg!(windows) {
        library(name)
    } else if cfg!(target_os = "macos") {
        library(&format!("{name}.{version}"))
    } else {
        format!("{}.{version}", library(name))
    }
}

/// The version in a library's file name, empty for a name without one; `None` for another library's file.
pub fn version<'a>(name: &str, file: &'a str) -> Option<&'a str> {
    let file = file.strip_prefix(consts::DLL_PREFIX)?.strip_prefix(name)?;
    if cfg!(target_os = "linux") {
        let version = file.strip_prefix(consts::DLL_SUFFIX)?;
        return version
            .strip_prefix('.')
            .or(version.is_empty().then_some(""));
    }
    let version = file.strip_suffix(consts::DLL_SUFFIX)?;
    version
        .strip_prefix('.')
        .or(version.is_empty().then_some(""))
}

/// The file of the library or program that has `address`; `None` where the system does not tell.
#[cfg(unix)]
pub fn file_of(address: *const ()) -> Option<PathBuf> {
    use std::{ffi::CStr, ffi::OsStr, mem::MaybeUninit, os::unix::ffi::OsStrExt, path::Path};
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: it takes any address, and writes what it knows of it, which is all pointers.
    let file = unsafe {
        (libc::dladdr(address.cast(), info.as_mut_ptr()) != 0)
            .then(|| info.assume_init().dli_fname)
            .filter(|file| !file.is_null())
            .map(|file| CStr::from_ptr(file))?
    };
    Path::new(OsStr::from_bytes(file.to_bytes()))
        .canonicalize()
        .ok()
}

/// The same where nothing tells.
#[cfg(not(unix))]
pub fn file_of(_address: *const ()) -> Option<PathBuf> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_address_is_this_program() {
        let file = file_of(file_of as *const ());
        assert_eq!(file, Some(std::env::current_exe().unwrap()));
        assert_eq!(file_of(std::ptr::null()), None);
    }

    #[test]
    fn versions_are_read_from_the_names_that_have_them() {
        let name = "onnxruntime";
        for wanted in ["1.31.1", "1"] {
            let file = versioned(name, wanted);
            assert_eq!(version(name, &file), Some(wanted), "{file}");
        }
        assert_eq!(version(name, &library(name)), Some(""));
        assert_eq!(version(name, &library("onnxruntime_providers_cuda")), None);
    }
}
